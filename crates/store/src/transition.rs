//! What an outcome does to its subscription: the same in every store that reads its rows itself.

use hookcast_core::{
    clock::Timestamp,
    delivery::Next,
    id::{NoticeId, SubscriptionId},
    notice::NoticeKind,
    policy::HealthPolicy,
    subscription::Health,
};

use sha2::{Digest as _, Sha256};

use crate::engine::Outcome;

/// The reasons that notices give.
pub(crate) const GONE: &str = "the callback answered 410: it is gone for good";
pub(crate) const TOO_MANY: &str = "too many deliveries failed in a row, for too long";
pub(crate) const FAILING: &str =
    "deliveries fail; what waits is held back, and one at a time finds out when the callback is back";
pub(crate) const RECOVERED: &str = "a delivery got through; what waited goes out";

/// The id of the notice that tells of a change: of two changes of one subscription one comes later.
pub(crate) fn notice_id(subscription: SubscriptionId, kind: NoticeKind, now: Timestamp) -> NoticeId {
    let digest = Sha256::new().chain_update(subscription.to_bytes()).chain_update(kind.as_str()).finalize();
    let mut unique = [0; 10];
    unique.copy_from_slice(&digest[..10]);
    NoticeId::new(now, unique)
}

/// What an outcome does to its subscription.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transition {
    /// Its health afterwards.
    pub(crate) health: Health,
    /// The failures that a notice tells of: those up to now, or those that a success has ended.
    pub(crate) told: Health,
    /// What is to be told, and why.
    pub(crate) notice: Option<(NoticeKind, &'static str)>,
}

impl Transition {
    /// Judges an outcome that is recorded `now` for a subscription of this health.
    pub(crate) fn of(
        outcome: &Outcome,
        before: Health,
        is_active: bool,
        policy: &HealthPolicy,
        now: Timestamp,
    ) -> Self {
        if outcome.verdict.next == Next::Delivered {
            let notice = before.is_open().then_some((NoticeKind::Recovered, RECOVERED));
            return Self { health: before.after_success(now), told: before, notice };
        }
        // Failures are counted as of their own time: a retry queue that is drained late must not look like a long outage.
        let began = outcome.attempt.time;
        let ended = began.plus(std::time::Duration::from_millis(outcome.attempt.latency_ms.into()));
        let health = before.after_failure(began, ended, &policy.breaker);
        let notice = if is_active && outcome.verdict.gone {
            Some((NoticeKind::Deactivated, GONE))
        } else if is_active && health.is_beyond(policy.deactivation, now) {
            Some((NoticeKind::Deactivated, TOO_MANY))
        } else if health.is_open() && !before.is_open() {
            Some((NoticeKind::Failing, FAILING))
        } else {
            None
        };
        Self { health, told: health, notice }
    }

    /// Whether the subscription becomes inactive.
    pub(crate) fn deactivates(&self) -> bool {
        matches!(self.notice, Some((NoticeKind::Deactivated, _)))
    }
}
