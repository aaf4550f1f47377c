//! Subscriptions: what an account wants to get, and where.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    id::{AccountId, SubscriptionId},
    options::Options,
    pattern::EventPatterns,
    policy::{BreakerPolicy, DeactivationPolicy},
    sealing::Sealed,
};

/// An account's wish to get some types of event, at one URL or when it asks for them.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The `user_id` of that account.
    pub user_id: String,
    /// The types of event that it gets.
    pub events: EventPatterns,
    /// The callback, as its owner wrote it. Its query may hold a token: mask it wherever others may read it. `None`: nothing is sent,
    /// and its owner fetches what waits. Such a one is never active.
    pub url: Option<String>,
    /// How its owner wants deliveries to be.
    pub options: Options,
    /// What signs and authenticates, which nobody gets to see; see [`Secrets`](crate::secrets::Secrets).
    pub secrets: Sealed,
    /// Whether deliveries are sent. Those of an inactive one wait.
    pub is_active: bool,
    /// Its record of failures.
    pub health: Health,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows with every change of it; a new one's is of no account.
    pub version: u64,
}

/// A subscription's failures in a row. Attempts that fail side by side count once, so that the count means the same however
/// many deliveries go out at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures since the last success.
    pub failure_count: u32,
    /// When the first of them began; `None` while there is none.
    pub failing_since: Option<Timestamp>,
    /// When the last one that was counted ended.
    pub failed_at: Option<Timestamp>,
    /// The breaker is open: nothing is sent before this time, and then one delivery to find out. `None` while it is closed.
    pub probe_at: Option<Timestamp>,
    /// When the breaker last closed.
    pub recovered_at: Option<Timestamp>,
}

impl Health {
    /// The record after a failed attempt that lasted from `began` to `ended`. One that began before the last failure had ended is
    /// not counted.
    #[must_use]
    pub fn after_failure(self, began: Timestamp, ended: Timestamp, breaker: &BreakerPolicy) -> Self {
        if self.failed_at.is_some_and(|failed_at| began < failed_at) {
            return self;
        }
        let failure_count = self.failure_count.saturating_add(1);
        Self {
            failure_count,
            failing_since: Some(self.failing_since.unwrap_or(began)),
            failed_at: Some(ended),
            probe_at: breaker.pause(failure_count).map(|pause| ended.plus(pause)).or(self.probe_at),
            recovered_at: self.recovered_at,
        }
    }

    /// The record after a success.
    #[must_use]
    pub fn after_success(self, now: Timestamp) -> Self {
        let recovered_at = if self.is_open() { Some(now) } else { self.recovered_at };
        Self { recovered_at, ..Self::default() }
    }

    /// Whether the breaker is open.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.probe_at.is_some()
    }

    /// Whether so many failures, for so long, make the subscription inactive.
    #[must_use]
    pub fn is_beyond(self, policy: DeactivationPolicy, now: Timestamp) -> bool {
        let lasted = self.failing_since.map_or(Duration::ZERO, |since| now.since(since));
        self.failure_count > policy.max_failures && lasted >= policy.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const BREAKER: BreakerPolicy =
        BreakerPolicy { failures: 3, first_pause: Duration::from_secs(5), longest_pause: Duration::from_secs(60) };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Failures that each take no time.
    fn failed(times: u32, when: Timestamp) -> Health {
        (0..times).fold(Health::default(), |health, _| health.after_failure(when, when, &BREAKER))
    }

    #[test]
    fn the_count_must_be_exceeded_and_the_time_must_have_passed() {
        let policy = DeactivationPolicy { max_failures: 20, after: 5 * DAY };
        let start = at(0);
        assert!(!failed(20, start).is_beyond(policy, start.plus(6 * DAY)));
        assert!(!failed(21, start).is_beyond(policy, start.plus(4 * DAY)));
        assert!(failed(21, start).is_beyond(policy, start.plus(5 * DAY)));
    }

    #[test]
    fn without_a_time_the_count_alone_decides() {
        let policy = DeactivationPolicy { max_failures: 2, after: Duration::ZERO };
        assert!(!failed(2, at(0)).is_beyond(policy, at(0)));
        assert!(failed(3, at(0)).is_beyond(policy, at(0)));
    }

    #[test]
    fn failing_since_is_the_first_failure() {
        let health = failed(1, at(10)).after_failure(at(99), at(100), &BREAKER);
        assert_eq!((health.failure_count, health.failing_since, health.failed_at), (2, Some(at(10)), Some(at(100))));
    }

    #[test]
    fn failures_side_by_side_count_once() {
        let health = Health::default().after_failure(at(0), at(100), &BREAKER);
        let side_by_side = (1..50).fold(health, |health, n| health.after_failure(at(n), at(100 + n), &BREAKER));
        assert_eq!(side_by_side, health);
        assert_eq!(side_by_side.after_failure(at(100), at(200), &BREAKER).failure_count, 2);
    }

    #[test]
    fn the_breaker_opens_and_a_success_closes_it() {
        assert!(!failed(2, at(0)).is_open());
        let open = failed(3, at(0));
        assert_eq!(open.probe_at, Some(at(5_000)));
        assert_eq!(open.after_failure(at(5_000), at(5_001), &BREAKER).probe_at, Some(at(15_001)));
        let closed = open.after_success(at(7));
        assert_eq!(closed, Health { recovered_at: Some(at(7)), ..Health::default() });
        assert_eq!(closed.after_success(at(9)).recovered_at, Some(at(7)));
    }
}
