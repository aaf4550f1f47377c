//! Processes that use the store, and the attempts that they make.

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, Failure, Next, Verdict},
    id::{DeliveryId, SubscriptionId},
    policy::{BreakerPolicy, DeactivationPolicy, HealthPolicy},
    subscription::Subscription,
};

use crate::{
    Store, StoreError,
    engine::{Claim, Claimed, Finished, Incarnation, Outcome, Pass, Role, Which},
};

/// A breaker that never opens.
pub(crate) const NO_BREAKER: BreakerPolicy =
    BreakerPolicy { failures: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };

/// Deactivates nothing.
pub(crate) const NEVER: DeactivationPolicy = DeactivationPolicy { max_failures: u32::MAX, after: Duration::ZERO };

/// All that waits.
pub(crate) const EVERYTHING: Pass = Pass { due_by: None, failed: false, event: None, since: None, after: None };

/// A process with a handle on the store and a lease.
pub(crate) struct Process {
    pub store: Arc<dyn Store>,
    pub holder: Incarnation,
}

impl Process {
    pub(crate) async fn join(store: Arc<dyn Store>, role: Role, lease: Duration, now: Timestamp) -> Self {
        let holder = store.join(role, None, lease, now).await.unwrap();
        Self { store, holder }
    }

    /// Claims what is due from some subscriptions, at most so many from each.
    pub(crate) async fn claim_all<'s>(
        &self,
        from: impl IntoIterator<Item = &'s Subscription>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Claimed> {
        let claim = self.wish(from, limit, Which::DueBy(now));
        self.store.claim(claim, now).await.unwrap()
    }

    pub(crate) async fn claim(&self, from: &Subscription, limit: usize, now: Timestamp) -> Vec<Claimed> {
        self.claim_all([from], limit, now).await
    }

    /// Claims the one delivery that is due.
    pub(crate) async fn claim_one(&self, from: &Subscription, now: Timestamp) -> Claimed {
        let mut claimed = self.claim(from, 10, now).await;
        assert_eq!(claimed.len(), 1);
        claimed.remove(0)
    }

    pub(crate) async fn pass(&self, from: &Subscription, limit: usize, pass: Pass, now: Timestamp) -> Vec<Claimed> {
        let claim = self.wish([from], limit, Which::Pass(pass));
        self.store.claim(claim, now).await.unwrap()
    }

    pub(crate) fn wish<'s>(
        &self,
        from: impl IntoIterator<Item = &'s Subscription>,
        limit: usize,
        which: Which,
    ) -> Claim {
        let wanted = from.into_iter().map(|subscription| (subscription.id, limit)).collect();
        Claim { holder: self.holder, wanted, which, max_bytes: usize::MAX }
    }

    pub(crate) async fn finish(&self, outcomes: impl Into<Arc<[Outcome]>>, now: Timestamp) -> Finished {
        self.finish_under(NEVER, outcomes, now).await
    }

    pub(crate) async fn finish_under(
        &self,
        deactivation: DeactivationPolicy,
        outcomes: impl Into<Arc<[Outcome]>>,
        now: Timestamp,
    ) -> Finished {
        let policy = HealthPolicy { deactivation, breaker: NO_BREAKER };
        self.store.finish(self.holder, outcomes.into(), policy, now).await.unwrap()
    }

    /// Records outcomes under a policy that deactivates nothing and has this breaker.
    pub(crate) async fn finish_with(
        &self,
        breaker: BreakerPolicy,
        outcomes: impl Into<Arc<[Outcome]>>,
        now: Timestamp,
    ) -> Finished {
        let policy = HealthPolicy { deactivation: NEVER, breaker };
        self.store.finish(self.holder, outcomes.into(), policy, now).await.unwrap()
    }

    pub(crate) async fn release(&self, deliveries: &[Claimed], now: Timestamp) {
        self.store.release(self.holder, ids(deliveries), now).await.unwrap();
    }

    pub(crate) async fn renew(&self, lease: Duration, now: Timestamp) -> Result<u32, StoreError> {
        self.store.renew(self.holder, lease, now).await
    }

    pub(crate) async fn leave(&self, now: Timestamp) {
        self.store.leave(self.holder, now).await.unwrap();
    }
}

pub(crate) fn ids(claimed: &[Claimed]) -> Vec<DeliveryId> {
    claimed.iter().map(|claimed| claimed.id).collect()
}

/// A delivery on its next attempt.
#[derive(Clone, Copy)]
pub(crate) struct Trying {
    pub delivery: DeliveryId,
    subscription: SubscriptionId,
    group: Option<i64>,
    number: u32,
}

impl From<&Claimed> for Trying {
    fn from(claimed: &Claimed) -> Self {
        Self {
            delivery: claimed.id,
            subscription: claimed.subscription,
            group: claimed.group,
            number: claimed.attempts + 1,
        }
    }
}

/// One that was reserved when it was accepted, and so has had no attempt.
impl From<(DeliveryId, &Subscription)> for Trying {
    fn from((delivery, subscription): (DeliveryId, &Subscription)) -> Self {
        Self { delivery, subscription: subscription.id, group: None, number: 1 }
    }
}

fn outcome(trying: Trying, time: Timestamp, status: u16, next: Next) -> Outcome {
    let result = AttemptResult::Answered(Answer { status, excerpt: format!("says {status}"), retry_after: None });
    Outcome {
        delivery: trying.delivery,
        subscription: trying.subscription,
        group: trying.group,
        // No time at all for a failure, so that one that begins at the same time counts as one that follows.
        attempt: Attempt { number: trying.number, time, latency_ms: if status == 200 { 12 } else { 0 }, result },
        verdict: Verdict { next, gone: status == 410 },
    }
}

pub(crate) fn delivered(trying: impl Into<Trying>, time: Timestamp) -> Outcome {
    outcome(trying.into(), time, 200, Next::Delivered)
}

/// A failure that is followed by another try.
pub(crate) fn retried(trying: impl Into<Trying>, time: Timestamp, next: Timestamp) -> Outcome {
    outcome(trying.into(), time, 500, Next::RetryAt(next))
}

/// The last failure of a schedule.
pub(crate) fn failed(trying: impl Into<Trying>, time: Timestamp) -> Outcome {
    outcome(trying.into(), time, 500, Next::Failed)
}

/// The callback says that it is gone for good.
pub(crate) fn gone(trying: impl Into<Trying>, time: Timestamp, next: Timestamp) -> Outcome {
    outcome(trying.into(), time, 410, Next::RetryAt(next))
}

/// No answer, for this reason; another try follows.
pub(crate) fn unanswered(trying: impl Into<Trying>, time: Timestamp, failure: Failure, next: Timestamp) -> Outcome {
    let mut outcome = outcome(trying.into(), time, 0, Next::RetryAt(next));
    outcome.attempt.result = AttemptResult::Unanswered { failure, detail: format!("it was {}", failure.as_str()) };
    outcome
}
