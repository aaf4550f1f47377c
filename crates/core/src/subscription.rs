//! Subscriptions: what an account wants to get, and where.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    event::EventType,
    id::{AccountId, SubscriptionId},
    policy::DeactivationPolicy,
    signing::SigningSecret,
};

/// An account's wish to get one type of event at one URL.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The `user_id` of that account.
    pub user_id: String,
    /// The type of event that it gets.
    pub event: EventType,
    /// The callback, as its owner wrote it. Its query may hold a token: mask it wherever others may read it.
    pub url: String,
    /// Signs what is delivered.
    pub secret: SigningSecret,
    /// Whether deliveries are sent. Those of an inactive one wait.
    pub is_active: bool,
    /// Its record of failures.
    pub health: Health,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A subscription's failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failed attempts since the last success.
    pub failure_count: u32,
    /// When the first of them was; `None` while there is none.
    pub failing_since: Option<Timestamp>,
}

impl Health {
    /// The record after one more failed attempt.
    #[must_use]
    pub fn after_failure(self, now: Timestamp) -> Self {
        Self {
            failure_count: self.failure_count.saturating_add(1),
            failing_since: Some(self.failing_since.unwrap_or(now)),
        }
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

    fn failed(times: u32, first: Timestamp) -> Health {
        (0..times).fold(Health::default(), |health, _| health.after_failure(first))
    }

    #[test]
    fn the_count_must_be_exceeded_and_the_time_must_have_passed() {
        let policy = DeactivationPolicy { max_failures: 20, after: 5 * DAY };
        let start = Timestamp::from_millis(0);
        assert!(!failed(20, start).is_beyond(policy, start.plus(6 * DAY)));
        assert!(!failed(21, start).is_beyond(policy, start.plus(4 * DAY)));
        assert!(failed(21, start).is_beyond(policy, start.plus(5 * DAY)));
    }

    #[test]
    fn without_a_time_the_count_alone_decides() {
        let policy = DeactivationPolicy { max_failures: 2, after: Duration::ZERO };
        let now = Timestamp::from_millis(0);
        assert!(!failed(2, now).is_beyond(policy, now));
        assert!(failed(3, now).is_beyond(policy, now));
    }

    #[test]
    fn failing_since_is_the_first_failure() {
        let health = failed(1, Timestamp::from_millis(10)).after_failure(Timestamp::from_millis(99));
        assert_eq!(health, Health { failure_count: 2, failing_since: Some(Timestamp::from_millis(10)) });
    }
}
