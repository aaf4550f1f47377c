//! What is made at its first use and kept while it is used: bounded in number, and given up when it has not been used for long.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often what has not been used for long is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Tells one set of secrets from another without holding them.
pub(super) type Digest = [u8; 32];

/// Values by the digest of the secrets that they belong to.
#[derive(Debug)]
pub(super) struct Kept<V> {
    entries: Mutex<Entries<V>>,
    most: usize,
    idle: Duration,
}

#[derive(Debug)]
struct Entries<V> {
    by_digest: HashMap<Digest, (V, Instant)>,
    swept: Instant,
}

impl<V: Clone> Kept<V> {
    /// Keeps at most so many, and none that has not been used for so long.
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        let entries = Entries { by_digest: HashMap::new(), swept: Instant::now() };
        Self { entries: Mutex::new(entries), most, idle }
    }

    /// The value that is kept, or the one that is made now. It is made without the lock: if two make one at the same time, both
    /// get the first that is kept.
    pub(super) fn get_or_make<E>(&self, digest: Digest, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        if let Some(value) = self.with(|entries, now| entries.used(&digest, now)) {
            return Ok(value);
        }
        let made = make()?;
        Ok(self.with(|entries, now| {
            if let Some(value) = entries.used(&digest, now) {
                return value;
            }
            if entries.by_digest.len() >= self.most {
                entries.forget_oldest();
            }
            entries.by_digest.insert(digest, (made.clone(), now));
            made
        }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries<V>, Instant) -> T) -> T {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(entries.swept) >= SWEEP_EVERY {
            entries.swept = now;
            entries.by_digest.retain(|_, (_, used)| now.duration_since(*used) < self.idle);
        }
        work(&mut entries, now)
    }
}

impl<V: Clone> Entries<V> {
    fn used(&mut self, digest: &Digest, now: Instant) -> Option<V> {
        let (value, used) = self.by_digest.get_mut(digest)?;
        *used = now;
        Some(value.clone())
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_digest.iter().min_by_key(|(_, (_, used))| *used).map(|(digest, _)| *digest);
        oldest.and_then(|digest| self.by_digest.remove(&digest));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time;

    use super::*;

    impl Kept<u8> {
        /// Uses 1 to 3, and tells whether it was there; if it was not, it is from now on.
        fn had(&self, number: u8) -> bool {
            let mut had = true;
            let make = || {
                had = false;
                Ok::<_, Infallible>(number)
            };
            assert_eq!(self.get_or_make([number; 32], make), Ok(number));
            had
        }

        fn len(&self) -> usize {
            self.entries.lock().unwrap().by_digest.len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_used_longest_ago_makes_room() {
        let kept = Kept::new(2, Duration::from_secs(3600));
        for (number, had) in [(1, false), (2, false), (1, true), (3, false), (1, true), (3, true), (2, false)] {
            time::advance(Duration::from_millis(1)).await;
            assert_eq!(kept.had(number), had, "{number}");
            assert!(kept.len() <= 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_is_given_up() {
        let kept = Kept::new(10, Duration::from_secs(300));
        kept.had(1);
        for _ in 0..4 {
            time::advance(Duration::from_secs(100)).await;
            kept.had(2);
        }
        assert_eq!(kept.len(), 1);
        assert!(kept.had(2) && !kept.had(1));
    }

    #[test]
    fn what_cannot_be_made_is_not_kept() {
        let kept = Kept::<u8>::new(1, Duration::from_secs(1));
        assert_eq!(kept.get_or_make([0; 32], || Err("no")), Err("no"));
        assert_eq!(kept.len(), 0);
    }
}
