//! Outcomes: what came of attempts, as far as the deliveries were held by those who made them.

use hookcast_core::{
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, DeliveryState, Next},
    policy::HealthPolicy,
    subscription::Health,
};
use rusqlite::{Connection, Statement, Transaction};

use super::{
    bulk::Insert,
    cancellation,
    catalogue::{deactivate, touch},
    known::Known,
    lanes::{self, More},
    notices,
    rows::{self, SubscriptionKey, integer, state_code},
};
use crate::{
    engine::{Finished, Incarnation, Outcome},
    error::StoreError,
    transition::{Transition, notice_id},
};

/// Outcomes on their way into the tables.
pub(super) struct Outcomes<'t> {
    transaction: &'t Transaction<'t>,
    holder: Incarnation,
    policy: HealthPolicy,
    now: Timestamp,
    max_waiting: u64,
    known: &'t mut Known,
}

impl<'t> Outcomes<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        known: &'t mut Known,
        holder: Incarnation,
        policy: HealthPolicy,
        now: Timestamp,
        max_waiting: u64,
    ) -> Self {
        Self { transaction, known, holder, policy, now, max_waiting }
    }

    pub(super) fn record(mut self, outcomes: &[Outcome]) -> Result<Finished, StoreError> {
        let mut finished = Finished::default();
        let mut ended = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let Some(lane) = self.known.keys.of(self.transaction, outcome.subscription)? else {
                finished.ignored += 1;
                continue;
            };
            let is_held = match self.ended(outcome, lane) {
                Some(row) => {
                    ended.push(row);
                    true
                }
                None => self.settle(outcome, lane)?,
            };
            if is_held {
                self.update_health(outcome, lane, &mut finished)?;
            } else {
                finished.ignored += 1;
            }
        }
        self.write_ended(ended)?;
        if finished.changes_catalogue() {
            self.known.forget_catalogue_version();
        }
        Ok(finished)
    }

    /// The row of a delivery that is done for good, if it is known that it has none.
    fn ended<'o>(&mut self, outcome: &'o Outcome, lane: SubscriptionKey) -> Option<Ended<'o>> {
        let state = match outcome.verdict.next {
            Next::Delivered => DeliveryState::Delivered,
            Next::Failed => DeliveryState::Failed,
            Next::RetryAt(_) => return None,
        };
        let first = FirstAttempt::of(&outcome.attempt)?;
        let position = integer(outcome.delivery.position());
        let event = self.known.listing.end(position, self.holder)?;
        Some(Ended { position, event, lane, state, first })
    }

    fn write_ended(&mut self, mut rows: Vec<Ended<'_>>) -> Result<(), StoreError> {
        rows.sort_unstable_by_key(|row| row.position);
        let written = ENDED.all(self.transaction, &rows, Ended::bind)?;
        if written < rows.len() {
            // What was known was wrong. Once nothing is known they are looked for one by one.
            self.known.lose();
            return Err(StoreError::Busy("deliveries had been written that were taken not to be".into()));
        }
        Ok(())
    }

    /// Gives the delivery its new state, if it is held; answers whether it was. One that would be tried again is cancelled where its
    /// subscription is deleted, or its event cancelled.
    fn settle(&mut self, outcome: &Outcome, lane: SubscriptionKey) -> Result<bool, StoreError> {
        let (state, due) = match outcome.verdict.next {
            Next::Delivered => (DeliveryState::Delivered, None),
            Next::Failed => (DeliveryState::Failed, None),
            Next::RetryAt(_) if self.is_given_up(outcome, lane)? => (DeliveryState::Cancelled, None),
            Next::RetryAt(time) => (DeliveryState::Waiting, Some(time.as_millis())),
        };
        if !self.write_fresh(outcome, lane, state, due)? && !self.update(outcome, state, due)? {
            return Ok(false);
        }
        if due.is_some() {
            lanes::add_waiting(self.transaction, lane, More { count: 1, due }, self.max_waiting)?;
        } else if let Some(group) = outcome.group {
            lanes::promote_head(self.transaction, lane, group)?;
            lanes::refresh(self.transaction, lane)?;
        }
        Ok(true)
    }

    /// Writes a delivery that was sent as soon as it was accepted, and with it its attempt; answers whether it is one.
    fn write_fresh(
        &mut self,
        outcome: &Outcome,
        lane: SubscriptionKey,
        state: DeliveryState,
        due: Option<i64>,
    ) -> Result<bool, StoreError> {
        let position = integer(outcome.delivery.position());
        let fresh = self.known.listing.event_at(self.transaction, position)?;
        let Some(fresh) = fresh.filter(|fresh| fresh.is_sent_by(self.holder)) else { return Ok(false) };
        let first = FirstAttempt::of(&outcome.attempt);
        let written = self
            .transaction
            .prepare_cached(
                "INSERT INTO deliveries
                     (position, event, subscription, state, attempts, due_at, tried_at, latency_ms, status, answer)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (position) DO NOTHING",
            )?
            .execute((
                position,
                fresh.event,
                lane,
                state_code(state),
                outcome.attempt.number,
                due,
                first.map(|first| first.time.as_millis()),
                first.map(|first| first.latency_ms),
                first.map(|first| first.answer.status),
                first.map(|first| &first.answer.excerpt),
            ))?;
        if written == 0 {
            return Ok(false);
        }
        if first.is_none() {
            insert_attempt(self.transaction, position, &outcome.attempt)?;
        }
        self.known.listing.note_written(&fresh, position);
        Ok(true)
    }

    /// Gives a written delivery its new state, if it is held; answers whether it was.
    fn update(&self, outcome: &Outcome, state: DeliveryState, due: Option<i64>) -> Result<bool, StoreError> {
        let position = integer(outcome.delivery.position());
        let updated = self
            .transaction
            .prepare_cached(
                "UPDATE deliveries SET state = ?, attempts = ?, due_at = ?, holder = NULL
                 WHERE position = ? AND state = 1 AND holder = ?",
            )?
            .execute((state_code(state), outcome.attempt.number, due, position, integer(self.holder.0)))?;
        if updated > 0 {
            insert_attempt(self.transaction, position, &outcome.attempt)?;
        }
        Ok(updated > 0)
    }

    fn is_given_up(&self, outcome: &Outcome, lane: SubscriptionKey) -> Result<bool, StoreError> {
        let position = integer(outcome.delivery.position());
        Ok(is_deleted(self.transaction, lane)? || cancellation::is_cancelled(self.transaction, position)?)
    }

    /// Keeps the subscription's health, and notes what changes with it.
    fn update_health(
        &mut self,
        outcome: &Outcome,
        lane: SubscriptionKey,
        finished: &mut Finished,
    ) -> Result<(), StoreError> {
        let is_success = outcome.verdict.next == Next::Delivered;
        if is_success && self.known.healthy.contains(&lane) {
            return Ok(());
        }
        let (before, is_active) = self.health(lane)?;
        let transition = Transition::of(outcome, before, is_active, &self.policy, self.now);
        if is_success {
            self.known.healthy.insert(lane);
        } else {
            self.known.healthy.remove(&lane);
        }
        if transition.health != before {
            self.set_health(lane, before, transition.health)?;
        }
        match (before.is_open(), transition.health.is_open()) {
            (false, true) => finished.opened.push(outcome.subscription),
            (true, false) => finished.closed.push(outcome.subscription),
            _ => {}
        }
        if let Some((kind, reason)) = transition.notice {
            let id = notice_id(outcome.subscription, kind, self.now);
            notices::leave(self.transaction, lane, id, kind, reason, transition.told, self.now)?;
        }
        if transition.deactivates() {
            deactivate(self.transaction, lane)?;
            finished.deactivated.push(outcome.subscription);
        }
        Ok(())
    }

    /// The subscription's health, and whether it is active.
    ///
    /// In two steps, as SQLite plans a join of the two tables anew for each subscription.
    fn health(&self, lane: SubscriptionKey) -> Result<(Health, bool), StoreError> {
        let probe_at = self
            .transaction
            .prepare_cached("SELECT probe_at FROM lanes WHERE subscription = ?")?
            .query_row([lane], |row| rows::time(row, 0))?;
        Ok(self
            .transaction
            .prepare_cached(
                "SELECT failure_count, failing_since, failed_at, recovered_at, is_active FROM subscriptions WHERE key = ?",
            )?
            .query_row([lane], |row| {
                let health = Health {
                    failure_count: row.get(0)?,
                    failing_since: rows::time(row, 1)?,
                    failed_at: rows::time(row, 2)?,
                    probe_at,
                    recovered_at: rows::time(row, 3)?,
                };
                Ok((health, row.get(4)?))
            })?)
    }

    fn set_health(&self, lane: SubscriptionKey, before: Health, after: Health) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached(
                "UPDATE subscriptions SET failure_count = ?, failing_since = ?, failed_at = ?, recovered_at = ? WHERE key = ?",
            )?
            .execute((
                after.failure_count,
                after.failing_since.map(Timestamp::as_millis),
                after.failed_at.map(Timestamp::as_millis),
                after.recovered_at.map(Timestamp::as_millis),
                lane,
            ))?;
        if before.probe_at != after.probe_at {
            lanes::set_probe(self.transaction, lane, after.probe_at)?;
        }
        if before.is_open() != after.is_open() {
            touch(self.transaction, lane)?;
        }
        Ok(())
    }
}

/// A delivery that was written nowhere before it ended, with its first and only attempt.
struct Ended<'o> {
    position: i64,
    event: i64,
    lane: SubscriptionKey,
    state: DeliveryState,
    first: FirstAttempt<'o>,
}

const ENDED: Insert = Insert {
    before: "INSERT INTO deliveries (position, event, subscription, state, attempts, tried_at, latency_ms, status, answer)",
    after: "ON CONFLICT (position) DO NOTHING",
    columns: 9,
};

impl Ended<'_> {
    fn bind(statement: &mut Statement<'_>, at: usize, row: &Self) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(at, row.position)?;
        statement.raw_bind_parameter(at + 1, row.event)?;
        statement.raw_bind_parameter(at + 2, row.lane)?;
        statement.raw_bind_parameter(at + 3, state_code(row.state))?;
        statement.raw_bind_parameter(at + 4, 1)?;
        statement.raw_bind_parameter(at + 5, row.first.time.as_millis())?;
        statement.raw_bind_parameter(at + 6, row.first.latency_ms)?;
        statement.raw_bind_parameter(at + 7, row.first.answer.status)?;
        statement.raw_bind_parameter(at + 8, &row.first.answer.excerpt)
    }
}

/// A delivery's first attempt, where it goes into the delivery's own row: it was answered.
#[derive(Clone, Copy)]
pub(super) struct FirstAttempt<'a> {
    pub(super) time: Timestamp,
    pub(super) latency_ms: u32,
    pub(super) answer: &'a Answer,
}

impl<'a> FirstAttempt<'a> {
    pub(super) fn of(attempt: &'a Attempt) -> Option<Self> {
        match &attempt.result {
            AttemptResult::Answered(answer) if attempt.number == 1 => {
                Some(Self { time: attempt.time, latency_ms: attempt.latency_ms, answer })
            }
            _ => None,
        }
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
