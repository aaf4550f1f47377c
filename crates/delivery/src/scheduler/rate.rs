//! How fast a lane may go.
//!
//! Limits are kept by the generic cell rate algorithm (ITU-T I.371): one time for each lane, at which its next attempt would be due
//! if attempts came evenly. An attempt may come before it by as much as the burst allows: a tenth of a second's worth, one attempt
//! at the least.

use std::time::Duration;

use tokio::time::Instant;

use super::LaneRules;

/// Room is given for what can be sent within this time; the rest is left to other nodes.
pub(super) const HORIZON: Duration = Duration::from_secs(1);

/// Over how long it is measured how many attempts end.
pub(super) const MEASURED_OVER: Duration = Duration::from_millis(100);

/// The slowest pace.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// While a lane recovers its rate doubles so often; so many times, and it is bounded no longer.
const RECOVERY_STEP: Duration = Duration::from_secs(10);
const RECOVERY_STEPS: u64 = 10;

/// Attempts of a lane that follow each other at an even pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    interval: Duration,
    /// How far before its time an attempt may come.
    tolerance: Duration,
}

impl Pace {
    /// The pace of one of `nodes` under these rules at this time; `None` where nothing bounds it.
    pub(crate) fn of(rules: &LaneRules, recovery_rate: f64, nodes: u32, now: Instant) -> Option<Self> {
        let recovery = rules.recovering_since.and_then(|since| {
            let steps = now.saturating_duration_since(since).as_secs() / RECOVERY_STEP.as_secs();
            (steps < RECOVERY_STEPS).then(|| recovery_rate * f64::from(1_u32 << steps))
        });
        let slower = [rules.rate_limit, recovery].into_iter().flatten().reduce(f64::min)?;
        Some(Self::per_second(slower / f64::from(nodes)))
    }

    /// So many attempts a second.
    pub(super) fn per_second(rate: f64) -> Self {
        let interval = Duration::try_from_secs_f64(rate.recip()).unwrap_or(LONGEST_INTERVAL);
        let interval = interval.clamp(Duration::from_nanos(1), LONGEST_INTERVAL);
        Self { interval, tolerance: (Duration::from_secs(1) / 10).saturating_sub(interval) }
    }
}

/// What a lane remembers of its attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// When the next attempt is due by the even pace.
    pub due: Option<Instant>,
}

impl Meter {
    /// When the attempt may start that comes after `ahead` others which have not started yet.
    pub(crate) fn ready_at(self, pace: Pace, ahead: usize, now: Instant) -> Instant {
        let due = self.due.unwrap_or(now).max(now);
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let due = due + pace.interval.saturating_mul(ahead).min(LONGEST_INTERVAL);
        due.checked_sub(pace.tolerance).unwrap_or(now).max(now)
    }

    /// How many attempts may start within the horizon.
    pub(crate) fn within_horizon(self, pace: Pace, now: Instant) -> usize {
        let due = self.due.unwrap_or(now).max(now);
        let time = (now + HORIZON + pace.tolerance).checked_duration_since(due);
        time.map_or(0, |time| 1 + usize::try_from(time.as_nanos() / pace.interval.as_nanos()).unwrap_or(usize::MAX - 1))
    }

    /// An attempt starts.
    pub(crate) fn take(&mut self, pace: Pace, now: Instant) {
        self.due = Some(self.due.unwrap_or(now).max(now) + pace.interval);
    }
}

/// How many attempts end in a second, as far as is known from the last ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throughput {
    since: Instant,
    count: u32,
    /// In the time before that. It halves at the most each time, so that a moment in which nothing ends is soon forgotten.
    per_second: f64,
}

impl Throughput {
    /// Nothing has ended yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0, per_second: 0.0 }
    }

    /// An attempt has ended.
    pub(super) fn count(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        if time >= MEASURED_OVER {
            *self = Self { since: now, count: 0, per_second: self.per_second(now) };
        }
        self.count += 1;
    }

    /// How many attempts end in a second, if it goes on like this.
    pub(super) fn per_second(&self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.since);
        if time < MEASURED_OVER {
            return self.per_second;
        }
        let measured = f64::from(self.count) / time.as_secs_f64();
        measured.max(self.per_second / (time.as_secs_f64() / MEASURED_OVER.as_secs_f64()).exp2())
    }
}
