//! The rules that decide what becomes of a delivery and of a subscription. Plain values, made from the configuration.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// When a failed delivery is tried again: one delay for each further attempt.
///
/// A schedule of *n* delays means at most *n* + 1 attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySchedule {
    /// The delay after the first failed attempt, after the second, and so on.
    pub delays: Vec<Duration>,
    /// How far a delay may stray to either side, as a share of it (0.1 is ±10%), so that what failed together does not
    /// come back together.
    pub jitter: f64,
}

impl RetrySchedule {
    /// The delay before the attempt that follows `failed_attempts` failures, or `None` when the schedule is used up.
    ///
    /// `chance` is a uniform random number of `0.0..1.0`; it picks the place within the jitter.
    #[must_use]
    pub fn delay_after(&self, failed_attempts: u32, chance: f64) -> Option<Duration> {
        let index = usize::try_from(failed_attempts.checked_sub(1)?).ok()?;
        let factor = 1.0 + self.jitter * (2.0 * chance - 1.0);
        self.delays.get(index).map(|delay| delay.mul_f64(factor.max(0.0)))
    }

    /// The delay before the attempt that follows, however many there were: the last one goes on for ever, and without any it is a
    /// minute.
    #[must_use]
    pub fn delay_for_ever(&self, failed_attempts: u32, chance: f64) -> Duration {
        let last = u32::try_from(self.delays.len()).unwrap_or(u32::MAX);
        self.delay_after(failed_attempts.min(last), chance).unwrap_or(Duration::from_secs(60))
    }

    /// The longest time from the first attempt to the last, without the time that the attempts themselves take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.delays.iter().sum::<Duration>().mul_f64(1.0 + self.jitter)
    }
}

/// When a subscription that keeps failing is made inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeactivationPolicy {
    /// Failures in a row that are still tolerated: one more may deactivate.
    pub max_failures: u32,
    /// How long the failures must have lasted as well. Zero: the count alone decides.
    pub after: Duration,
}

/// When a failing subscription's deliveries stop and only probes go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open the breaker. Zero: it never opens.
    pub failures: u32,
    /// The pause before the first probe; each one that fails doubles it.
    pub first_pause: Duration,
    /// The longest pause between probes.
    pub longest_pause: Duration,
}

impl BreakerPolicy {
    /// How long to wait for the next probe after so many failures in a row; `None` while the breaker stays closed.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Option<Duration> {
        let probes = failures.checked_sub(self.failures).filter(|_| self.failures > 0)?;
        let doubled = self.first_pause.saturating_mul(2_u32.saturating_pow(probes));
        Some(doubled.min(self.longest_pause))
    }
}

/// What a subscription's failures lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// When it becomes inactive.
    pub deactivation: DeactivationPolicy,
    /// When its deliveries stop for a while.
    pub breaker: BreakerPolicy,
}

/// Which answers count as a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuccessRule {
    /// Only `200`.
    #[default]
    #[serde(rename = "200")]
    Exactly200,
    /// Any status from 200 to 299.
    #[serde(rename = "2xx")]
    Any2xx,
}

impl SuccessRule {
    /// Whether an answer with this HTTP status is a success.
    #[must_use]
    pub fn accepts(self, status: u16) -> bool {
        match self {
            Self::Exactly200 => status == 200,
            Self::Any2xx => (200..300).contains(&status),
        }
    }
}

impl fmt::Display for SuccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exactly200 => "200",
            Self::Any2xx => "2xx",
        })
    }
}

/// Whether an event with the content of an earlier one is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deduplicate {
    /// Every trigger is a new event.
    #[default]
    Off,
    /// Not for this long after the first one.
    Within(Duration),
    /// Never.
    Forever,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seconds: &[u64], jitter: f64) -> RetrySchedule {
        RetrySchedule { delays: seconds.iter().map(|s| Duration::from_secs(*s)).collect(), jitter }
    }

    #[test]
    fn each_failure_takes_the_next_delay_until_none_is_left() {
        let schedule = schedule(&[5, 300], 0.0);
        assert_eq!(schedule.delay_after(1, 0.3), Some(Duration::from_secs(5)));
        assert_eq!(schedule.delay_after(2, 0.3), Some(Duration::from_secs(300)));
        assert_eq!(schedule.delay_after(3, 0.3), None);
        assert_eq!(schedule.delay_after(0, 0.3), None);
    }

    proptest::proptest! {
        #[test]
        fn jitter_stays_within_its_share(seconds in 0_u64..100_000, jitter in 0.0..=1.0_f64, chance in 0.0..1.0_f64) {
            let schedule = schedule(&[seconds], jitter);
            let delay = schedule.delay_after(1, chance).unwrap().as_secs_f64();
            let base = seconds as f64;
            proptest::prop_assert!(delay >= base * (1.0 - jitter) - 1e-6);
            proptest::prop_assert!(delay <= base * (1.0 + jitter) + 1e-6);
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        let breaker = BreakerPolicy { failures: 3, first_pause: seconds(5), longest_pause: seconds(60) };
        let pauses: Vec<_> = (2..=8).map(|failures| breaker.pause(failures)).collect();
        assert_eq!(pauses[0], None);
        assert_eq!(pauses[1..], [5, 10, 20, 40, 60, 60].map(|s| Some(seconds(s))));
        assert_eq!(breaker.pause(u32::MAX), Some(seconds(60)));
        assert_eq!(BreakerPolicy { failures: 0, ..breaker }.pause(100), None);
    }

    #[test]
    fn success_rules() {
        assert!(SuccessRule::Exactly200.accepts(200));
        assert!(!SuccessRule::Exactly200.accepts(201));
        assert!(SuccessRule::Any2xx.accepts(204));
        assert!(!SuccessRule::Any2xx.accepts(302));
    }
}
