//! Leases, and giving back what was held under them.

use std::time::Duration;

use hookcast_core::{clock::Timestamp, id::DeliveryId};
use tokio_postgres::{Row, types::Type};

use super::{
    Shared, catalogue,
    lanes::{self, Fewer, More},
    locks,
    pool::{Commit, Statement, Transaction, retrying},
    rows::{SubscriptionKey, get, integer, length, natural, single},
};
use crate::{
    engine::{Incarnation, Node, Role},
    error::StoreError,
};

const JOIN: Statement = Statement {
    sql: "INSERT INTO hookcast.incarnations (is_server, expires_at, node) VALUES ($1, $2, $3) RETURNING key",
    types: &[Type::BOOL, Type::INT8, Type::INT8],
};
const RENEW: Statement = Statement {
    sql: "UPDATE hookcast.incarnations SET expires_at = $2 WHERE key = $1 RETURNING key",
    types: &[Type::INT8, Type::INT8],
};
const NODES: Statement = Statement {
    sql: "SELECT count(DISTINCT node) FROM hookcast.incarnations WHERE expires_at > $1",
    types: &[Type::INT8],
};
/// Unless it has been renewed beyond a time, if one is given.
const END: Statement = Statement {
    sql: "DELETE FROM hookcast.incarnations WHERE key = $1 AND ($2::int8 IS NULL OR expires_at <= $2) RETURNING key",
    types: &[Type::INT8, Type::INT8],
};
const EXPIRED: Statement = Statement {
    sql: "SELECT key FROM hookcast.incarnations WHERE expires_at <= $1 ORDER BY key",
    types: &[Type::INT8],
};
const SERVERS: Statement =
    Statement { sql: "SELECT key FROM hookcast.incarnations WHERE is_server ORDER BY key", types: &[] };

/// The lanes of what a holder holds: of some deliveries, or with NULLs of all.
const LANES: Statement = Statement {
    sql: "SELECT DISTINCT subscription FROM hookcast.unfinished WHERE holder = $1
          AND ($2::int8[] IS NULL OR (time, position) IN (SELECT * FROM unnest($2, $3::int8[])))",
    types: &[Type::INT8, Type::INT8_ARRAY, Type::INT8_ARRAY],
};
/// Those that go one after the other are due when they are the first of their groups.
const GIVE_BACK: Statement = Statement {
    sql: "UPDATE hookcast.unfinished u SET holder = NULL, due_at = CASE WHEN u.order_group IS NULL THEN $4 END FROM hookcast.subscriptions s
          WHERE u.holder = $1 AND s.key = u.subscription AND s.deleted_at IS NULL
          AND ($2::int8[] IS NULL OR (u.time, u.position) IN (SELECT * FROM unnest($2, $3::int8[])))
          AND (SELECT e.extra->>'cancelled_at' FROM hookcast.events e WHERE e.time = u.time AND e.id = u.event) IS NULL
          RETURNING u.subscription, u.order_group, u.due_at",
    types: &[Type::INT8, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8],
};
/// What is still held then is a deleted subscription's, or a cancelled event's.
const CANCEL: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.unfinished u WHERE u.holder = $1
              AND ($2::int8[] IS NULL OR (u.time, u.position) IN (SELECT * FROM unnest($2, $3::int8[])))
              RETURNING time, position, subscription, event, attempts, log, order_group),
          kept AS (
              INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
              SELECT time, position, subscription, event, 5, attempts, log FROM gone)
          SELECT subscription, order_group FROM gone",
    types: &[Type::INT8, Type::INT8_ARRAY, Type::INT8_ARRAY],
};

pub(super) async fn join(
    shared: &Shared,
    role: Role,
    node: Option<Node>,
    lease: Duration,
    now: Timestamp,
) -> Result<Incarnation, StoreError> {
    if role == Role::OnlyServer {
        for dead in incarnations(shared, &SERVERS, &[]).await? {
            let freed = end(shared, dead, now, None).await?;
            tracing::warn!("the last server did not end well; took back {freed} deliveries that it was sending");
        }
    }
    if role != Role::Pass {
        catalogue::cancel_left_over(shared).await?;
    }
    let (expires_at, node) = (now.plus(lease).as_millis(), node.map(|node| node.0.cast_signed()));
    let mut transaction = shared.pool.begin(Commit::Durable).await?;
    let answers = transaction.finish(&[(&JOIN, &[&(role != Role::Pass), &expires_at, &node])]).await?;
    Ok(Incarnation(natural(single(answers.first().map_or(&[], Vec::as_slice))?)))
}

/// Renews a lease; answers how many nodes send.
pub(super) async fn renew(
    shared: &Shared,
    holder: Incarnation,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    let (key, expires_at, now) = (integer(holder.0), expires_at.as_millis(), now.as_millis());
    let answers = transaction.finish(&[(&RENEW, &[&key, &expires_at]), (&NODES, &[&now])]).await?;
    let [renewed, nodes] = answers.as_slice() else { return Err(StoreError::NotFound) };
    // Whoever ends a lease deletes its row. While it is there nobody has taken anything over, however late it is.
    if renewed.is_empty() {
        return Err(StoreError::NotFound);
    }
    Ok(u32::try_from(single::<i64>(nodes)?).unwrap_or(u32::MAX))
}

pub(super) async fn rescue(shared: &Shared, now: Timestamp) -> Result<u64, StoreError> {
    let mut rescued = 0;
    for dead in incarnations(shared, &EXPIRED, &[&now.as_millis()]).await? {
        rescued += end(shared, dead, now, Some(now)).await?;
    }
    if rescued > 0 {
        shared.hints.tell();
    }
    Ok(rescued)
}

async fn incarnations(
    shared: &Shared,
    statement: &Statement,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<Incarnation>, StoreError> {
    let rows = shared.pool.query(statement, parameters).await?;
    rows.iter().map(|row| Ok(Incarnation(natural(get(row, 0)?)))).collect()
}

/// Ends a lease, or only if it has run out by a time; answers how many deliveries are due again.
pub(super) async fn end(
    shared: &Shared,
    holder: Incarnation,
    now: Timestamp,
    if_expired_by: Option<Timestamp>,
) -> Result<u64, StoreError> {
    retrying(|| async {
        let transaction = shared.pool.begin(Commit::Durable).await?;
        let key = integer(holder.0);
        transaction.query(&locks::LEASE, &[&locks::lease(holder)]).await?;
        let expired_by = if_expired_by.map(Timestamp::as_millis);
        let ended = transaction.query(&END, &[&key, &expired_by]).await?;
        if ended.is_empty() && expired_by.is_some() {
            return transaction.rollback().await.map(|()| 0);
        }
        let due_again = give_back(&transaction, shared, holder, None, now).await?;
        transaction.commit().await?;
        Ok(due_again)
    })
    .await
}

pub(super) async fn release(
    shared: &Shared,
    holder: Incarnation,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> Result<(), StoreError> {
    retrying(|| async {
        let transaction = shared.pool.begin(Commit::Relaxed).await?;
        give_back(&transaction, shared, holder, Some(deliveries), now).await?;
        transaction.commit().await
    })
    .await
}

/// Makes what is held due at once; that of a deleted subscription or a cancelled event is cancelled. Answers how many are due.
async fn give_back(
    transaction: &Transaction,
    shared: &Shared,
    holder: Incarnation,
    which: Option<&[DeliveryId]>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let holder = integer(holder.0);
    let times: Option<Vec<i64>> = which.map(|ids| ids.iter().map(|id| id.time().as_millis()).collect());
    let positions: Option<Vec<i64>> = which.map(|ids| ids.iter().map(|id| integer(id.position())).collect());
    let lanes = transaction.query(&LANES, &[&holder, &times, &positions]).await?;
    let lanes: Vec<SubscriptionKey> = lanes.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let due = now.as_millis();
    let answers = transaction
        .all(&[
            (&locks::SHARE_CANCELLING, &[]),
            (&lanes::LOCK, &[&lanes]),
            (&lanes::HASTEN_PROBES, &[&lanes, &holder, &times, &positions, &due]),
            (&GIVE_BACK, &[&holder, &times, &positions, &due]),
            (&CANCEL, &[&holder, &times, &positions]),
        ])
        .await?;
    let (mut more, mut fewer) = (More::default(), Fewer::default());
    let [_, _, _, given_back, cancelled] = <[Vec<Row>; 5]>::try_from(answers).map_err(|_| StoreError::NotFound)?;
    for row in &given_back {
        more.add(get(row, 0)?, get(row, 2)?);
    }
    for row in given_back.iter().chain(&cancelled) {
        fewer.refresh_group(get(row, 0)?, get(row, 1)?);
    }
    more.settle(transaction, shared.limits.max_waiting).await?;
    fewer.settle(transaction).await?;
    Ok(natural(length(&given_back)))
}
