//! How much this process does: what is counted of its work, and how fast that grew over the last minute.
//!
//! Counting is an addition for each batch that is accepted or recorded. Everything else is done by a chore now and then, and by whoever
//! asks.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What rates are over, as soon as the process is as old.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What rates are over at the least: one event in the first millisecond is not a thousand a second.
const SHORTEST: Duration = Duration::from_secs(1);

/// Counts what this process does.
#[derive(Debug)]
pub struct Meter {
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// The oldest first, which is the last that is as old as the window where there is one.
    samples: Mutex<VecDeque<Sample>>,
}

/// What had been counted at a time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Instant,
    accepted: u64,
    delivered: u64,
    failed: u64,
}

/// How much this process has done in a second, on the average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Over which time, up to now: [`WINDOW`] and what it is to the sample before, or since the process has started.
    pub window: Duration,
    /// Events of producers that were stored, per second.
    pub accepted: f64,
    /// Deliveries that their callbacks took, per second.
    pub delivered: f64,
    /// Attempts that failed, per second.
    pub failed: f64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let start = Sample { time: Instant::now(), accepted: 0, delivered: 0, failed: 0 };
        Self {
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            samples: Mutex::new(VecDeque::from([start])),
        }
    }

    pub(crate) fn count_accepted(&self, events: u64) {
        self.accepted.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn count_attempts(&self, delivered: u64, failed: u64) {
        self.delivered.fetch_add(delivered, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Keeps what is counted by now, for rates from now on, and forgets what no rate needs any more.
    pub(crate) fn sample(&self) {
        let mut samples = self.samples();
        let now = self.now();
        samples.push_back(now);
        while samples.get(1).is_some_and(|second| now.time - second.time >= WINDOW) {
            samples.pop_front();
        }
    }

    /// The rates up to now.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let samples = self.samples();
        let now = self.now();
        let is_old = |sample: &&Sample| now.time - sample.time >= WINDOW;
        let since = samples.iter().rev().find(is_old).or_else(|| samples.front()).copied().unwrap_or(now);
        drop(samples);
        let window = (now.time - since.time).max(SHORTEST);
        #[expect(clippy::cast_precision_loss, reason = "nobody counts that far in a minute")]
        let rate = |count: u64, before: u64| (count - before) as f64 / window.as_secs_f64();
        Rates {
            window,
            accepted: rate(now.accepted, since.accepted),
            delivered: rate(now.delivered, since.delivered),
            failed: rate(now.failed, since.failed),
        }
    }

    fn now(&self) -> Sample {
        Sample {
            time: Instant::now(),
            accepted: self.accepted.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many seconds pass, with a sample every five.
    async fn pass(meter: &Meter, seconds: u64) {
        for _ in 0..seconds / 5 {
            tokio::time::advance(Duration::from_secs(5)).await;
            meter.sample();
        }
        tokio::time::advance(Duration::from_secs(seconds % 5)).await;
    }

    fn rates(window: u64, accepted: f64, delivered: f64, failed: f64) -> Rates {
        Rates { window: Duration::from_secs(window), accepted, delivered, failed }
    }

    #[tokio::test(start_paused = true)]
    async fn a_young_process_tells_of_its_whole_life_and_of_a_second_at_the_least() {
        let meter = Meter::new();
        meter.count_accepted(3);
        assert_eq!(meter.rates(), rates(1, 3.0, 0.0, 0.0));
        meter.count_attempts(6, 12);
        pass(&meter, 12).await;
        assert_eq!(meter.rates(), rates(12, 0.25, 0.5, 1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_forgotten() {
        let meter = Meter::new();
        meter.count_accepted(1_000);
        pass(&meter, 60).await;
        meter.count_accepted(128);
        pass(&meter, 64).await;
        assert_eq!(meter.rates(), rates(64, 2.0, 0.0, 0.0));
        assert_eq!(meter.samples().len(), 13);
        pass(&meter, 60).await;
        assert_eq!(meter.rates(), rates(64, 0.0, 0.0, 0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_chore_that_was_held_up_makes_the_window_longer() {
        let meter = Meter::new();
        pass(&meter, 60).await;
        meter.count_attempts(100, 0);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(meter.rates(), rates(60, 0.0, 100.0 / 60.0, 0.0));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(meter.rates(), rates(100, 0.0, 1.0, 0.0));
    }
}
