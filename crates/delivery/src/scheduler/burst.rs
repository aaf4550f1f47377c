//! Attempts begin no faster than the processors can work on them.
//!
//! What waits for an answer takes no processor. What has only just begun does, and as long as the processors are busy with that, more of
//! it only makes everything slower: each attempt then comes to a connection, and to memory, that has not been touched for long.

use std::time::Duration;

use tokio::time::Instant;

/// For so many ms, the one that has begun included, an attempt counts as one that has just begun.
const RECENT: u64 = 3;

/// Counts attempts that have just begun and not ended.
#[derive(Debug)]
pub(super) struct Burst {
    /// How many there may be.
    most: usize,
    since: Instant,
    /// How many began in each of the last ms, and have not ended.
    begun: [(u64, usize); RECENT as usize],
    /// When more may begin, if more were to.
    next: Option<Instant>,
}

impl Burst {
    /// Of which there are at most `most`.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Self { most, since: now, begun: [(0, 0); RECENT as usize], next: None }
    }

    /// Whether one more may begin. If not, [`next`](Self::next) tells when.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let time = self.ms(now);
        let recent = self.begun.iter().filter(|(begun, count)| *count > 0 && begun + RECENT > time);
        let (count, oldest) =
            recent.fold((0, u64::MAX), |(all, oldest), (begun, count)| (all + count, oldest.min(*begun)));
        let has_room = count < self.most;
        self.next = (!has_room).then(|| self.since + Duration::from_millis(oldest.saturating_add(RECENT)));
        has_room
    }

    /// When more may begin, if the last one that was to begin had to wait.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The time has come at which more were to begin.
    pub(super) fn wake(&mut self) {
        self.next = None;
    }

    /// One begins.
    pub(super) fn begin(&mut self, now: Instant) {
        let time = self.ms(now);
        let (begun, count) = self.begun_in(time);
        if *begun != time {
            (*begun, *count) = (time, 0);
        }
        *count += 1;
    }

    /// One ends that began at a time.
    pub(super) fn end(&mut self, begun_at: Instant) {
        let time = self.ms(begun_at);
        let (begun, count) = self.begun_in(time);
        if *begun == time {
            *count = count.saturating_sub(1);
        }
    }

    fn ms(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }

    fn begun_in(&mut self, ms: u64) -> &mut (u64, usize) {
        let index = usize::try_from(ms % RECENT).unwrap_or(0);
        &mut self.begun[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_begin_when_some_end_or_have_waited_for_a_while() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        let mut burst = Burst::new(2, begun);
        for ms in [0, 1] {
            assert!(burst.has_room(after(ms)) && burst.next().is_none());
            burst.begin(after(ms));
        }
        assert!(!burst.has_room(after(1)));
        assert_eq!(burst.next(), Some(after(3)), "the first one has not just begun then");
        assert!(!burst.has_room(after(2)));
        burst.end(after(1));
        assert!(burst.has_room(after(2)) && burst.next().is_none());
        burst.begin(after(2));
        assert!(!burst.has_room(after(2)));
        assert!(burst.has_room(after(3)));
        burst.begin(after(3));
        // The end of one that has begun long ago makes no room.
        burst.end(after(0));
        assert!(!burst.has_room(after(4)));
        assert_eq!(burst.next(), Some(after(5)));
        assert!(burst.has_room(after(60 * 24 * 3_600_000)));
    }
}
