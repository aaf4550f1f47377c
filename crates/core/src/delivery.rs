//! Deliveries: one event on its way to one subscription, attempt by attempt.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::{
    clock::Timestamp,
    policy::{RetrySchedule, SuccessRule},
};

/// The longest pause that an answer's `Retry-After` can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Waits for its first try or for another one.
    Waiting,
    /// A process holds it and sends it.
    Sending,
    /// The callback took it.
    Delivered,
    /// Its schedule is used up. It can be sent again.
    Failed,
    /// It was given up unsent: too old, or too many others waited behind it.
    Expired,
    /// Its subscription was deleted.
    Cancelled,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Sending, Self::Delivered, Self::Failed, Self::Expired, Self::Cancelled];

    /// The state's name, as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|state| format!("`{state}`")).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// One try at delivering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u32,
    /// When it began.
    pub time: Timestamp,
    /// How long it took, in milliseconds.
    pub latency_ms: u32,
    /// How it ended.
    pub result: AttemptResult,
}

/// How an attempt ended. A failure is a value here, never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The callback answered.
    Answered(Answer),
    /// There was no whole answer.
    Unanswered {
        /// At what stage it failed.
        failure: Failure,
        /// More about it, for people to read.
        detail: String,
    },
}

/// What the callback answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The first 1,024 bytes of the body, with what is not UTF-8 replaced.
    pub excerpt: String,
    /// The pause that `Retry-After` asked for.
    pub retry_after: Option<Duration>,
}

/// At what stage an attempt without an answer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The host's name did not resolve.
    Dns,
    /// The address is one that callbacks may not reach.
    AddressRefused,
    /// No connection came about.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The credentials were not to be had: no token came from where tokens are given out, or a key cannot be used.
    Auth,
    /// The deadline passed.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Protocol,
}

impl Failure {
    /// Every stage.
    pub const ALL: [Self; 7] =
        [Self::Dns, Self::AddressRefused, Self::Connect, Self::Tls, Self::Auth, Self::Timeout, Self::Protocol];

    /// The stage's name, as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the delivery.
    pub next: Next,
    /// The callback said that it is gone for good (410): the subscription becomes inactive at once.
    pub gone: bool,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Delivered,
    /// It is tried again, not before this time.
    RetryAt(Timestamp),
    /// Its schedule is used up.
    Failed,
}

/// Decides what follows from an attempt that ended `now`.
///
/// A `Retry-After` on 429 and 503 lengthens the schedule's pause, up to [`RETRY_AFTER_MAX`], and never shortens it: a
/// callback that always answers `Retry-After: 1` must not burn through days of schedule in seconds. `chance` is a uniform
/// random number of `0.0..1.0` for the jitter.
#[must_use]
pub fn judge(
    attempt: &Attempt,
    schedule: &RetrySchedule,
    success: SuccessRule,
    now: Timestamp,
    chance: f64,
) -> Verdict {
    let answer = match &attempt.result {
        AttemptResult::Answered(answer) => Some(answer),
        AttemptResult::Unanswered { .. } => None,
    };
    if answer.is_some_and(|answer| success.accepts(answer.status)) {
        return Verdict { next: Next::Delivered, gone: false };
    }
    let asked = answer
        .filter(|answer| matches!(answer.status, 429 | 503))
        .and_then(|answer| answer.retry_after)
        .unwrap_or_default()
        .min(RETRY_AFTER_MAX);
    let next = match schedule.delay_after(attempt.number, chance) {
        Some(delay) => Next::RetryAt(now.plus(delay.max(asked))),
        None => Next::Failed,
    };
    Verdict { next, gone: answer.is_some_and(|answer| answer.status == 410) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn judged(number: u32, result: AttemptResult) -> Verdict {
        let schedule = RetrySchedule { delays: vec![Duration::from_secs(5), Duration::from_secs(60)], jitter: 0.0 };
        let attempt = Attempt { number, time: NOW, latency_ms: 3, result };
        judge(&attempt, &schedule, SuccessRule::Exactly200, NOW, 0.5)
    }

    fn answered(status: u16, retry_after: Option<u64>) -> AttemptResult {
        let retry_after = retry_after.map(Duration::from_secs);
        AttemptResult::Answered(Answer { status, excerpt: String::new(), retry_after })
    }

    fn retry_in(seconds: u64) -> Verdict {
        Verdict { next: Next::RetryAt(NOW.plus(Duration::from_secs(seconds))), gone: false }
    }

    #[test]
    fn only_200_is_a_success_by_default() {
        assert_eq!(judged(1, answered(200, None)).next, Next::Delivered);
        for status in [201, 204, 301, 302, 400, 404, 500] {
            assert_eq!(judged(1, answered(status, None)), retry_in(5), "{status}");
        }
    }

    #[test]
    fn the_schedule_is_followed_and_then_used_up() {
        let timeout = || AttemptResult::Unanswered { failure: Failure::Timeout, detail: String::new() };
        assert_eq!(judged(1, timeout()), retry_in(5));
        assert_eq!(judged(2, timeout()), retry_in(60));
        assert_eq!(judged(3, timeout()).next, Next::Failed);
    }

    #[test]
    fn retry_after_lengthens_the_pause_but_never_shortens_it() {
        assert_eq!(judged(1, answered(429, Some(30))), retry_in(30));
        assert_eq!(judged(1, answered(503, Some(1))), retry_in(5));
        assert_eq!(judged(1, answered(500, Some(30))), retry_in(5));
        assert_eq!(judged(1, answered(503, Some(u64::MAX))), retry_in(24 * 60 * 60));
    }

    #[test]
    fn gone_is_gone() {
        assert!(judged(1, answered(410, None)).gone);
        assert!(!judged(1, answered(404, None)).gone);
    }

    #[test]
    fn names_of_states_read_back() {
        for state in DeliveryState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("lost".parse::<DeliveryState>().unwrap_err().contains("`delivered`"));
    }
}
