//! What waits of an event and is to go no more.

use std::collections::BTreeSet;

use hookcast_core::{clock::Timestamp, id::EventId};
use tokio_postgres::types::Type;

use super::{
    Shared,
    lanes::{self, Fewer},
    locks,
    pool::{Commit, Statement, retrying},
    rows::{SubscriptionKey, get, length, natural, uuid},
};
use crate::error::StoreError;

/// So many deliveries are cancelled in a transaction, so that nobody waits long for it.
const AT_ONCE: i64 = 2_000;

const POSITIONS: Statement = Statement {
    sql: "SELECT first_delivery, first_delivery + deliveries FROM hookcast.events WHERE time = $1 AND id = $2",
    types: &[Type::INT8, Type::UUID],
};
const MARK: Statement = Statement {
    sql: "UPDATE hookcast.events SET extra = COALESCE(extra, '{}') || jsonb_build_object('cancelled_at', $3::int8)
          WHERE time = $1 AND id = $2 AND extra->>'cancelled_at' IS NULL",
    types: &[Type::INT8, Type::UUID, Type::INT8],
};
const WAITING: Statement = Statement {
    sql: "SELECT position, subscription FROM hookcast.unfinished
          WHERE time = $1 AND position >= $2 AND position < $3 AND holder IS NULL ORDER BY position LIMIT $4",
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::INT8],
};
/// Of lanes whose locks are held.
const CANCEL: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.unfinished WHERE time = $1 AND position = ANY($2) AND holder IS NULL
              RETURNING time, position, subscription, event, attempts, log, order_group),
          kept AS (
              INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
              SELECT time, position, subscription, event, 5, attempts, log FROM gone)
          SELECT subscription, order_group FROM gone",
    types: &[Type::INT8, Type::INT8_ARRAY],
};

pub(super) async fn cancel(shared: &Shared, event: EventId, now: Timestamp) -> Result<u64, StoreError> {
    let time = event.time().as_millis();
    let found = shared.pool.query(&POSITIONS, &[&time, &uuid(event.to_bytes())]).await?;
    let row = found.first().ok_or(StoreError::NotFound)?;
    let (first, end): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    retrying(|| mark(shared, event, now)).await?;
    let mut cancelled = 0;
    loop {
        let (looked_at, part) = retrying(|| cancel_some(shared, time, first, end)).await?;
        cancelled += natural(part);
        if looked_at < AT_ONCE {
            return Ok(cancelled);
        }
    }
}

/// Marks an event as cancelled, unless it is.
async fn mark(shared: &Shared, event: EventId, now: Timestamp) -> Result<(), StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let key = uuid(event.to_bytes());
    transaction
        .all(&[(&locks::CANCELLING, &[]), (&MARK, &[&event.time().as_millis(), &key, &now.as_millis()])])
        .await?;
    transaction.commit().await
}

/// Cancels the first ones of those that wait; answers how many were found, and how many of them still waited.
async fn cancel_some(shared: &Shared, time: i64, first: i64, end: i64) -> Result<(i64, i64), StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let found = transaction.query(&WAITING, &[&time, &first, &end, &AT_ONCE]).await?;
    let positions: Vec<i64> = found.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let lanes: BTreeSet<SubscriptionKey> = found.iter().map(|row| get(row, 1)).collect::<Result<_, _>>()?;
    let lanes: Vec<SubscriptionKey> = lanes.into_iter().collect();
    let answers = transaction.all(&[(&lanes::LOCK, &[&lanes]), (&CANCEL, &[&time, &positions])]).await?;
    let cancelled = answers.get(1).map(Vec::as_slice).unwrap_or_default();
    let mut fewer = Fewer::default();
    for row in cancelled {
        fewer.add(get(row, 0)?, get(row, 1)?);
    }
    fewer.settle(&transaction).await?;
    transaction.commit().await?;
    Ok((length(&found), length(cancelled)))
}
