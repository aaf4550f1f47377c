//! Lanes: what waits for each subscription, in short. Whoever changes it holds the lane's lock, which [`LOCK`] takes for
//! several lanes in the order of their keys, in a statement of its own: the next one then sees what others have done until now.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::{
    pool::{Statement, Transaction},
    rows::{SubscriptionKey, get, integer, natural},
};
use crate::error::StoreError;

/// Takes the lanes' locks and tells their health: `subscription, failure_count, failing_since`.
pub(super) const LOCK: Statement = Statement {
    sql: "SELECT subscription, failure_count, failing_since FROM hookcast.lanes WHERE subscription = ANY($1)
          ORDER BY subscription FOR UPDATE",
    types: &[Type::INT8_ARRAY],
};

const ADD: Statement = Statement {
    sql: "UPDATE hookcast.lanes AS l SET waiting = l.waiting + more.count, next_due = LEAST(l.next_due, more.due)
          FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS more (subscription, count, due)
          WHERE l.subscription = more.subscription
          RETURNING l.subscription, l.waiting",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Notes that fewer deliveries wait, and when the next of the rest is due.
pub(super) const TAKE: Statement = Statement {
    sql: "UPDATE hookcast.lanes AS l SET waiting = l.waiting - fewer.count, next_due = (
              SELECT u.due_at FROM hookcast.unfinished u WHERE u.subscription = l.subscription AND u.holder IS NULL
              ORDER BY u.due_at LIMIT 1)
          FROM unnest($1::int8[], $2::int8[]) AS fewer (subscription, count)
          WHERE l.subscription = fewer.subscription",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// That the subscription is between itself and itself leaves the planner only the index that begins with it.
const EXPIRE_OLDEST: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.unfinished WHERE (time, position) IN (
                  SELECT time, position FROM hookcast.unfinished WHERE subscription BETWEEN $1 AND $1 AND holder IS NULL
                  ORDER BY subscription, time, position LIMIT $2)
              RETURNING time, position, subscription, event, attempts, log),
          kept AS (
              INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
              SELECT time, position, subscription, event, 4, attempts, log FROM gone RETURNING 1),
          counted AS (SELECT count(*) AS count FROM kept)
          UPDATE hookcast.lanes SET expired = expired + counted.count FROM counted WHERE subscription = $1
          RETURNING counted.count",
    types: &[Type::INT8, Type::INT8],
};

/// So many deliveries of one lane expire at a time where a limit was lowered, so that nobody waits long for it.
const EXPIRE_AT_ONCE: u64 = 10_000;

/// More that waits: for each lane how many, and when the first of them is due, in ms.
#[derive(Default)]
pub(super) struct More(BTreeMap<SubscriptionKey, (i64, i64)>);

impl More {
    pub(super) fn add(&mut self, lane: SubscriptionKey, due: i64) {
        let (count, first) = self.0.entry(lane).or_insert((0, due));
        *count += 1;
        *first = due.min(*first);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lanes, in the order of their keys.
    pub(super) fn lanes(&self) -> Vec<SubscriptionKey> {
        self.0.keys().copied().collect()
    }

    /// Notes it in the lanes, which must be locked, and lets the oldest expire where more wait than may.
    pub(super) async fn settle(self, transaction: &Transaction, max_waiting: u64) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lanes = self.lanes();
        let (counts, dues): (Vec<i64>, Vec<i64>) = self.0.into_values().unzip();
        for row in transaction.query(&ADD, &[&lanes, &counts, &dues]).await? {
            let (lane, waiting): (SubscriptionKey, i64) = (get(&row, 0)?, get(&row, 1)?);
            let excess = natural(waiting).saturating_sub(max_waiting).min(EXPIRE_AT_ONCE);
            if excess > 0 {
                let expired = transaction.query(&EXPIRE_OLDEST, &[&lane, &integer(excess)]).await?;
                let expired: i64 = expired.first().map_or(Ok(0), |row| get(row, 0))?;
                transaction.query(&TAKE, &[&vec![lane], &vec![expired]]).await?;
            }
        }
        Ok(())
    }
}
