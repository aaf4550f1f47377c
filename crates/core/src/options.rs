//! What a subscription's owner can choose about its deliveries. Whatever is not chosen is as the configuration says.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    callback_auth::CustomHeaders,
    format::Format,
    policy::{RetrySchedule, SuccessRule},
};

/// A subscription's own choices, as stores keep them: JSON, in which what is not chosen does not appear.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What a delivery's body looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// A JSONPath query that an event must satisfy; see [`Filter`](crate::filter::Filter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Which deliveries wait for each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// What an ordered delivery does to those behind it when its schedule is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Attempts that begin in a second, at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<f64>,
    /// Attempts in flight at the same time, at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// When a failed delivery is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Which answers count as a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_status: Option<SuccessRule>,
    /// The deadline of an attempt, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// Headers that every request has.
    #[serde(skip_serializing_if = "CustomHeaders::is_empty")]
    pub headers: CustomHeaders,
    /// The proof that a callback must give, at this URL and at any later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// The proof that the callback wants the events, if one is asked for, is still owed: nothing is sent until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Consent>,
}

/// Which deliveries to a subscription wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// None do.
    #[default]
    None,
    /// All of them, in the order in which their events were accepted.
    Subscription,
    /// Those of events with the same key.
    Key,
}

impl Ordering {
    /// The number of the group to which the delivery of an event with this key belongs: those of one group and one subscription
    /// go out one after the other. `None`: it waits for no other. That two keys have one number only makes them wait for each
    /// other (FNV-1a).
    #[must_use]
    pub fn group(self, key: Option<&str>) -> Option<i64> {
        match self {
            Self::None => None,
            Self::Subscription => Some(0),
            Self::Key => key.map(|key| {
                let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                });
                hash.cast_signed()
            }),
        }
    }
}

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Subscription => "subscription",
            Self::Key => "key",
        })
    }
}

/// What becomes of those behind an ordered delivery whose schedule is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They wait on: it is tried again and again, at the schedule's last delay.
    #[default]
    Block,
    /// It has failed, and they go on.
    Skip,
}

/// When a failed delivery is tried again, as it is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retries {
    /// One delay, in ms, for each further attempt.
    Delays(Vec<u64>),
    /// Delays that grow.
    Exponential {
        /// The first one, in ms.
        first: u64,
        /// Each one is so many times the one before it.
        factor: f64,
        /// None is longer, in ms.
        longest: u64,
        /// How many there are.
        count: u32,
    },
}

/// The most delays in a schedule, and the longest time that they may come to.
pub const MOST_RETRIES: u32 = 100;
/// See [`MOST_RETRIES`].
pub const LONGEST_RETRIES: Duration = Duration::from_secs(30 * 86_400);

impl Retries {
    /// The schedule, with the jitter that the configuration has.
    #[must_use]
    pub fn schedule(&self, jitter: f64) -> RetrySchedule {
        let delays = match self {
            Self::Delays(delays) => delays.iter().map(|millis| Duration::from_millis(*millis)).collect(),
            Self::Exponential { first, factor, longest, count } => {
                let longest = Duration::from_millis(*longest).as_secs_f64();
                let first = Duration::from_millis(*first).as_secs_f64();
                let delay = |n| Duration::from_secs_f64((first * factor.powi(n)).clamp(0.0, longest));
                (0..i32::try_from(*count).unwrap_or(i32::MAX)).map(delay).collect()
            }
        };
        RetrySchedule { delays, jitter }
    }

    /// Says what is wrong with it, if anything.
    ///
    /// # Errors
    /// The rule that it breaks, for people to read.
    pub fn check(&self) -> Result<(), String> {
        let count = match self {
            Self::Delays(delays) => u32::try_from(delays.len()).unwrap_or(u32::MAX),
            Self::Exponential { factor, .. } if !(1.0..=100.0).contains(factor) => {
                return Err("its `factor` must be from 1 to 100".into());
            }
            Self::Exponential { count, .. } => *count,
        };
        if count > MOST_RETRIES {
            return Err(format!("must have at most {MOST_RETRIES} delays"));
        }
        let each = Self::longest_delay(self);
        if each > LONGEST_RETRIES || self.schedule(0.0).longest() > LONGEST_RETRIES {
            return Err("must come to at most 30 days in all".into());
        }
        Ok(())
    }

    fn longest_delay(&self) -> Duration {
        Duration::from_millis(match self {
            Self::Delays(delays) => delays.iter().copied().max().unwrap_or(0),
            Self::Exponential { first, longest, .. } => *first.max(longest),
        })
    }
}

/// How a callback proves that it wants the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// The validation handshake of the CloudEvents HTTP webhook specification, section 4: an `OPTIONS` request.
    CloudEvents,
    /// A challenge that it sends back, as WebSub has it (section 5.3).
    Challenge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_chosen_does_not_appear() {
        assert_eq!(serde_json::to_string(&Options::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), Options::default());
        let options = Options { ordering: Some(Ordering::Key), rate_limit: Some(0.5), ..Options::default() };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(text, r#"{"ordering":"key","rate_limit":0.5}"#);
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
    }

    #[test]
    fn groups_are_by_key() {
        assert_eq!(Ordering::None.group(Some("a")), None);
        assert_eq!(Ordering::Subscription.group(None), Ordering::Subscription.group(Some("a")));
        assert_eq!(Ordering::Key.group(None), None);
        assert_eq!(Ordering::Key.group(Some("a")), Ordering::Key.group(Some("a")));
        assert_ne!(Ordering::Key.group(Some("a")), Ordering::Key.group(Some("b")));
    }

    #[test]
    fn delays_grow_to_the_longest() {
        let retries = Retries::Exponential { first: 1_000, factor: 3.0, longest: 10_000, count: 4 };
        assert!(retries.check().is_ok());
        assert_eq!(retries.schedule(0.0).delays, [1, 3, 9, 10].map(Duration::from_secs));
    }

    #[test]
    fn schedules_end_within_thirty_days() {
        let day = 86_400_000;
        assert!(Retries::Delays(vec![day; 30]).check().is_ok());
        assert!(Retries::Delays(vec![day; 31]).check().is_err());
        assert!(Retries::Delays(vec![u64::MAX; 2]).check().is_err());
        assert!(Retries::Delays(vec![1; 101]).check().is_err());
        let exponential = |first, factor, longest, count| Retries::Exponential { first, factor, longest, count };
        assert!(exponential(1, 2.0, day, 40).check().is_ok());
        assert!(exponential(1, 2.0, u64::MAX, 100).check().is_err());
        for factor in [f64::NAN, f64::INFINITY, -1.0, 0.5, 1e300] {
            assert!(exponential(1, factor, day, 3).check().is_err(), "{factor}");
        }
    }
}
