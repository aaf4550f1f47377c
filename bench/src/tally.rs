//! What the receiver remembers of the callbacks that arrived.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{clock::now_ns, message};

/// Room from the start for what a scenario usually brings, as growing would stop the receiver for milliseconds.
const ROOM: usize = 1 << 18;

/// Everything since the last reset.
pub struct Tally {
    seen: HashSet<(u32, Box<[u8]>)>,
    latencies_us: Vec<u32>,
    total: u64,
    first_after_mark_ns: Option<u64>,
    last_arrival_ns: u64,
}

/// How much arrived.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// All callbacks.
    pub total: u64,
    /// Different pairs of event and subscription among them.
    pub distinct: u64,
    /// The rest: repetitions, and callbacks without an id.
    pub duplicates: u64,
    /// When the first one came since the start or the last mark.
    pub first_after_mark_ns: Option<u64>,
    /// When the last one came.
    pub last_arrival_ns: u64,
}

/// How long it took from the trigger to the callback, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50_us: u32,
    /// Nine of ten were faster.
    pub p90_us: u32,
    /// All but one in a hundred were faster.
    pub p99_us: u32,
    /// All but one in a thousand were faster.
    pub p999_us: u32,
    /// The slowest.
    pub max_us: u32,
}

impl Latency {
    /// p50, p90, p99 and p99.9.
    pub fn milliseconds(&self) -> [f64; 4] {
        [self.p50_us, self.p90_us, self.p99_us, self.p999_us].map(|us| f64::from(us) / 1000.0)
    }
}

impl Tally {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            seen: HashSet::with_capacity(ROOM),
            latencies_us: Vec::with_capacity(ROOM),
            total: 0,
            first_after_mark_ns: None,
            last_arrival_ns: 0,
        }
    }

    /// Takes down a callback to `subscription`.
    pub fn record(&mut self, subscription: u32, id: Option<&[u8]>, body: &[u8]) {
        let now = now_ns();
        self.total += 1;
        self.first_after_mark_ns.get_or_insert(now);
        self.last_arrival_ns = now;
        if let Some(id) = id {
            self.seen.insert((subscription, id.into()));
        }
        if let Some(sent) = message::sent_ns(body) {
            self.latencies_us.push(u32::try_from(now.saturating_sub(sent) / 1000).unwrap_or(u32::MAX));
        }
    }

    /// How much arrived so far.
    pub fn stats(&self) -> Stats {
        let distinct = self.seen.len() as u64;
        Stats {
            total: self.total,
            distinct,
            duplicates: self.total - distinct,
            first_after_mark_ns: self.first_after_mark_ns,
            last_arrival_ns: self.last_arrival_ns,
        }
    }

    /// Waits for the next one to be the first again, and forgets nothing else.
    pub fn mark(&mut self) {
        self.first_after_mark_ns = None;
    }

    /// How fast it arrived.
    pub fn latency(&mut self) -> Latency {
        self.latencies_us.sort_unstable();
        let at = |share: f64| {
            let rank = (self.latencies_us.len() as f64 * share).ceil() as usize;
            self.latencies_us.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Latency { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_for_another_subscription_is_no_duplicate() {
        let mut tally = Tally::new();
        for (subscription, id) in [(0, "a"), (1, "a"), (0, "b"), (0, "a")] {
            tally.record(subscription, Some(id.as_bytes()), b"{}");
        }
        let stats = tally.stats();
        assert_eq!((stats.total, stats.distinct, stats.duplicates), (4, 3, 1));
    }

    #[test]
    fn a_mark_forgets_only_when_the_first_one_came() {
        let mut tally = Tally::new();
        tally.record(0, Some(b"a"), b"{}");
        assert_eq!(tally.stats().first_after_mark_ns, Some(tally.stats().last_arrival_ns));
        tally.mark();
        assert_eq!((tally.stats().first_after_mark_ns, tally.stats().total), (None, 1));
        tally.record(0, Some(b"a"), b"{}");
        assert_eq!((tally.stats().first_after_mark_ns.is_some(), tally.stats().duplicates), (true, 1));
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut tally = Tally { latencies_us: (1..=1000).rev().collect(), ..Tally::new() };
        let expected = Latency { p50_us: 500, p90_us: 900, p99_us: 990, p999_us: 999, max_us: 1000 };
        assert_eq!(tally.latency(), expected);
        assert_eq!(Tally::new().latency(), Latency::default());
    }
}
