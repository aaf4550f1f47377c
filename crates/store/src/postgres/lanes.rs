//! Lanes: what waits for each subscription, in short. Whoever changes it holds the lane's lock, which [`LOCK`] takes for
//! several lanes in the order of their keys, in a statement of its own: the next one then sees what others have done until now.

use std::collections::BTreeMap;

use tokio_postgres::types::{ToSql, Type};

use super::{
    order::{self, Groups},
    pool::{Call, Statement, Transaction},
    rows::{SubscriptionKey, get, integer, natural},
};
use crate::error::StoreError;

/// Takes the lanes' locks.
pub(super) const LOCK: Statement = Statement {
    sql: "SELECT FROM hookcast.lanes WHERE subscription = ANY($1) ORDER BY subscription FOR UPDATE",
    types: &[Type::INT8_ARRAY],
};

/// Takes the locks of lanes, and of those of `$2` that are failing; `subscription, parked` and their health.
pub(super) const LOCK_FAILING: Statement = Statement {
    sql: "SELECT subscription, parked, failure_count, failing_since, failed_at, probe_at, recovered_at
          FROM hookcast.lanes WHERE subscription = ANY($1 || ARRAY(
              SELECT subscription FROM hookcast.lanes WHERE subscription = ANY($2) AND failure_count > 0))
          ORDER BY subscription FOR UPDATE",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

const ADD: Statement = Statement {
    sql: "UPDATE hookcast.lanes AS l SET waiting = l.waiting + more.count, next_due = CASE
              WHEN more.due IS NULL THEN l.next_due ELSE GREATEST(LEAST(l.next_due, more.due), l.probe_at) END
          FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS more (subscription, count, due)
          WHERE l.subscription = more.subscription
          RETURNING l.subscription, l.waiting",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Notes that fewer deliveries wait, and when the next of the rest is due.
pub(super) const TAKE: Statement = Statement {
    sql: "UPDATE hookcast.lanes AS l SET waiting = l.waiting - fewer.count, next_due = (
              SELECT GREATEST(u.due_at, l.probe_at) FROM hookcast.unfinished u
              WHERE u.subscription = l.subscription AND u.holder IS NULL AND u.due_at IS NOT NULL
              ORDER BY u.due_at LIMIT 1)
          FROM unnest($1::int8[], $2::int8[]) AS fewer (subscription, count)
          WHERE l.subscription = fewer.subscription",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Opens the breakers of lanes until a time where they are open: their probes are on their way. [`TAKE`] must follow.
pub(super) const HOLD_PROBES: Statement = Statement {
    sql: "UPDATE hookcast.lanes SET probe_at = $2 WHERE subscription = ANY($1) AND probe_at IS NOT NULL",
    types: &[Type::INT8_ARRAY, Type::INT8],
};

/// Lets open breakers be probed now whose probes are about to be given back: until the time of such a one the breaker is held. Of
/// some deliveries of a holder, or with NULLs of all. More that waits must follow.
pub(super) const HASTEN_PROBES: Statement = Statement {
    sql: "UPDATE hookcast.lanes l SET probe_at = LEAST(l.probe_at, $5) FROM hookcast.unfinished u
          WHERE l.subscription = ANY($1) AND u.holder = $2 AND u.subscription = l.subscription AND u.due_at = l.probe_at
          AND ($3::int8[] IS NULL OR (u.time, u.position) IN (SELECT * FROM unnest($3, $4::int8[])))",
    types: &[Type::INT8_ARRAY, Type::INT8, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8],
};

/// The groups of what has expired. That the subscription is between itself and itself leaves the planner only the index that begins with it.
const EXPIRE_OLDEST: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.unfinished WHERE (time, position) IN (
                  SELECT time, position FROM hookcast.unfinished WHERE subscription BETWEEN $1 AND $1 AND holder IS NULL
                  ORDER BY subscription, time, position LIMIT $2)
              RETURNING time, position, subscription, event, attempts, log, order_group),
          kept AS (
              INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
              SELECT time, position, subscription, event, 4, attempts, log FROM gone RETURNING 1),
          counted AS (
              UPDATE hookcast.lanes SET expired = expired + (SELECT count(*) FROM kept) WHERE subscription = $1)
          SELECT order_group FROM gone",
    types: &[Type::INT8, Type::INT8],
};

/// So many deliveries of one lane expire at a time where a limit was lowered, so that nobody waits long for it.
const EXPIRE_AT_ONCE: u64 = 10_000;

/// More that waits: for each lane how many, and when the first of those that are due on their own is due, in ms.
#[derive(Default)]
pub(super) struct More(BTreeMap<SubscriptionKey, (i64, Option<i64>)>);

impl More {
    pub(super) fn add(&mut self, lane: SubscriptionKey, due: Option<i64>) {
        let (count, first) = self.0.entry(lane).or_default();
        *count += 1;
        *first = [*first, due].into_iter().flatten().min();
    }

    /// The lanes, in the order of their keys.
    pub(super) fn lanes(&self) -> impl Iterator<Item = SubscriptionKey> {
        self.0.keys().copied()
    }

    /// Notes it in the lanes, which must be locked, and lets the oldest expire where more wait than may.
    pub(super) async fn settle(self, transaction: &Transaction, max_waiting: u64) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lanes: Vec<SubscriptionKey> = self.lanes().collect();
        let (counts, dues): (Vec<i64>, Vec<Option<i64>>) = self.0.into_values().unzip();
        for row in transaction.query(&ADD, &[&lanes, &counts, &dues]).await? {
            let (lane, waiting): (SubscriptionKey, i64) = (get(&row, 0)?, get(&row, 1)?);
            let excess = natural(waiting).saturating_sub(max_waiting).min(EXPIRE_AT_ONCE);
            if excess > 0 {
                expire_oldest(transaction, lane, excess).await?;
            }
        }
        Ok(())
    }
}

async fn expire_oldest(transaction: &Transaction, lane: SubscriptionKey, count: u64) -> Result<(), StoreError> {
    let expired = transaction.query(&EXPIRE_OLDEST, &[&lane, &integer(count)]).await?;
    let mut fewer = Fewer::default();
    for row in &expired {
        fewer.add(lane, get(row, 0)?);
    }
    fewer.settle(transaction).await
}

/// What makes lanes another than they were, apart from [`More`]: how many fewer wait for each, and the groups whose first one may
/// have ended.
#[derive(Default)]
pub(super) struct Fewer {
    counts: BTreeMap<SubscriptionKey, i64>,
    groups: Groups,
}

impl Fewer {
    /// One that has waited does so no more.
    pub(super) fn add(&mut self, lane: SubscriptionKey, group: Option<i64>) {
        *self.counts.entry(lane).or_default() += 1;
        self.groups.add(lane, group);
    }

    /// Something of a group was sent and has ended, or waits again.
    pub(super) fn refresh_group(&mut self, lane: SubscriptionKey, group: Option<i64>) {
        if group.is_some() {
            self.refresh(lane);
            self.groups.add(lane, group);
        }
    }

    /// When the next one is due has changed.
    pub(super) fn refresh(&mut self, lane: SubscriptionKey) {
        self.counts.entry(lane).or_default();
    }

    /// The lanes, and how many of each.
    pub(super) fn counts(&self) -> (Vec<SubscriptionKey>, Vec<i64>) {
        self.counts.iter().map(|(lane, count)| (*lane, *count)).unzip()
    }

    /// Notes it in the lanes, which must be locked, and lets what is now the first of its group be due.
    pub(super) async fn settle(self, transaction: &Transaction) -> Result<(), StoreError> {
        let (lanes, counts) = self.counts();
        let (of, groups) = self.groups.columns();
        let mut calls: Vec<Call<'_>> = Vec::new();
        let promoted: [&(dyn ToSql + Sync); 2] = [&of, &groups];
        let taken: [&(dyn ToSql + Sync); 2] = [&lanes, &counts];
        if !groups.is_empty() {
            calls.push((&order::PROMOTE, &promoted));
        }
        if !lanes.is_empty() {
            calls.push((&TAKE, &taken));
        }
        transaction.all(&calls).await.map(drop)
    }
}
