//! Outcomes: what came of attempts, as far as the deliveries were held by those who made them.

use std::collections::BTreeSet;

use hookcast_core::{
    clock::Timestamp,
    delivery::{Attempt, AttemptResult, DeliveryState, Next},
    policy::DeactivationPolicy,
    subscription::Health,
};
use rusqlite::{Connection, Transaction};

use super::{
    catalogue::deactivate,
    lanes,
    rows::{Keys, SubscriptionKey, integer, state_code},
};
use crate::{
    engine::{Finished, Incarnation, Outcome},
    error::StoreError,
};

/// Outcomes on their way into the tables.
pub(super) struct Outcomes<'t> {
    transaction: &'t Transaction<'t>,
    holder: Incarnation,
    policy: DeactivationPolicy,
    now: Timestamp,
    max_waiting: u64,
    keys: Keys,
    /// Subscriptions that are known to have no failures: a success tells nothing new of them.
    healthy: BTreeSet<SubscriptionKey>,
}

impl<'t> Outcomes<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        holder: Incarnation,
        policy: DeactivationPolicy,
        now: Timestamp,
        max_waiting: u64,
    ) -> Self {
        let (keys, healthy) = (Keys::default(), BTreeSet::new());
        Self { transaction, holder, policy, now, max_waiting, keys, healthy }
    }

    pub(super) fn record(mut self, outcomes: &[Outcome]) -> Result<Finished, StoreError> {
        let mut finished = Finished::default();
        for outcome in outcomes {
            match self.keys.of(self.transaction, outcome.subscription)? {
                Some(lane) if self.settle(outcome, lane)? => {
                    insert_attempt(self.transaction, integer(outcome.delivery.position()), &outcome.attempt)?;
                    if !self.update_health(outcome, lane)? {
                        finished.deactivated.push(outcome.subscription);
                    }
                }
                _ => finished.ignored += 1,
            }
        }
        Ok(finished)
    }

    /// Gives the delivery its new state, if it is held; answers whether it was. One that would be tried again for a deleted
    /// subscription is cancelled.
    fn settle(&self, outcome: &Outcome, lane: SubscriptionKey) -> Result<bool, StoreError> {
        let (state, due) = match outcome.verdict.next {
            Next::Delivered => (DeliveryState::Delivered, None),
            Next::Failed => (DeliveryState::Failed, None),
            Next::RetryAt(_) if is_deleted(self.transaction, lane)? => (DeliveryState::Cancelled, None),
            Next::RetryAt(time) => (DeliveryState::Waiting, Some(time.as_millis())),
        };
        let settled = self
            .transaction
            .prepare_cached(
                "UPDATE deliveries SET state = ?, attempts = ?, due_at = ?, holder = NULL
                 WHERE position = ? AND state = 1 AND holder = ?",
            )?
            .execute((
                state_code(state),
                outcome.attempt.number,
                due,
                integer(outcome.delivery.position()),
                integer(self.holder.0),
            ))?;
        if let (1, Some(due)) = (settled, due) {
            lanes::add_waiting(self.transaction, lane, 1, due, self.max_waiting)?;
        }
        Ok(settled == 1)
    }

    /// Keeps the subscription's record of failures; answers whether it stays as active as it was.
    fn update_health(&mut self, outcome: &Outcome, lane: SubscriptionKey) -> Result<bool, StoreError> {
        if outcome.verdict.next == Next::Delivered {
            if self.healthy.insert(lane) {
                self.transaction
                    .prepare_cached(
                        "UPDATE subscriptions SET failure_count = 0, failing_since = NULL
                         WHERE key = ? AND failure_count > 0",
                    )?
                    .execute([lane])?;
            }
            return Ok(true);
        }
        self.healthy.remove(&lane);
        let (before, is_active) = self
            .transaction
            .prepare_cached("SELECT failure_count, failing_since, is_active FROM subscriptions WHERE key = ?")?
            .query_row([lane], |row| {
                let failing_since = row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis);
                Ok((Health { failure_count: row.get(0)?, failing_since }, row.get::<_, bool>(2)?))
            })?;
        // Failures are counted as of their own time: a retry queue that is drained late must not look like a long outage.
        let health = before.after_failure(outcome.attempt.time);
        self.transaction
            .prepare_cached("UPDATE subscriptions SET failure_count = ?, failing_since = ? WHERE key = ?")?
            .execute((health.failure_count, health.failing_since.map(Timestamp::as_millis), lane))?;
        if is_active && (outcome.verdict.gone || health.is_beyond(self.policy, self.now)) {
            deactivate(self.transaction, lane)?;
            return Ok(false);
        }
        Ok(true)
    }
}

/// Stores an attempt of the delivery at `position`.
pub(super) fn insert_attempt(connection: &Connection, position: i64, attempt: &Attempt) -> Result<(), StoreError> {
    let (status, failure, detail) = match &attempt.result {
        AttemptResult::Answered(answer) => (Some(answer.status), None, &answer.excerpt),
        AttemptResult::Unanswered { failure, detail } => (None, Some(failure.as_str()), detail),
    };
    connection.prepare_cached("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute((
        position,
        attempt.number,
        attempt.time.as_millis(),
        attempt.latency_ms,
        status,
        failure,
        detail,
    ))?;
    Ok(())
}

fn is_deleted(connection: &Connection, lane: SubscriptionKey) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT deleted_at IS NOT NULL FROM subscriptions WHERE key = ?")?
        .query_row([lane], |row| row.get(0))?)
}
