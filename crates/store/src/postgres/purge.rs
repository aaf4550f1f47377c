//! The end of what is old: whole days of it.

use hookcast_core::clock::Timestamp;
use tokio_postgres::{Row, types::Type};

use super::{
    Shared,
    lanes::{self, Fewer},
    locks,
    partitions::{self, Day},
    pool::{Commit, Pool, Statement, Transaction, retrying},
    rows::{SubscriptionKey, get, length, natural, single},
};
use crate::{error::StoreError, history::Purged};

/// Rows that go in one transaction where they do not go with their day.
const CHUNK: i64 = 10_000;

/// Events that go one by one in one call, of a day that cannot go whole.
const EVENTS: i64 = 200;

const FORGET_FINGERPRINTS: Statement = Statement {
    sql: "DELETE FROM hookcast.fingerprints WHERE md5 IN (
              SELECT md5 FROM hookcast.fingerprints WHERE expires_at <= $1 LIMIT $2)",
    types: &[Type::INT8, Type::INT8],
};
const FORGET_KEYS: Statement = Statement {
    sql: "DELETE FROM hookcast.idempotency_keys WHERE key IN (
              SELECT key FROM hookcast.idempotency_keys WHERE expires_at <= $1 LIMIT $2)",
    types: &[Type::INT8, Type::INT8],
};
/// Whether anything of a day is being sent.
const IS_HELD: Statement = Statement {
    sql: "SELECT EXISTS (SELECT FROM hookcast.unfinished WHERE holder IS NOT NULL AND time >= $1 AND time < $2)",
    types: &[Type::INT8, Type::INT8],
};
const IS_LEFT: Statement = Statement {
    sql: "SELECT EXISTS (SELECT FROM hookcast.unfinished WHERE time >= $1 AND time < $2)",
    types: &[Type::INT8, Type::INT8],
};
/// What waits of a day, the lanes of it.
const WAITING_LANES: Statement = Statement {
    sql: "SELECT DISTINCT subscription FROM (
              SELECT subscription FROM hookcast.unfinished WHERE holder IS NULL AND time >= $1 AND time < $2
              ORDER BY time, position LIMIT $3) u",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const EXPIRE_WAITING: Statement = Statement {
    sql: "DELETE FROM hookcast.unfinished WHERE ctid = ANY(ARRAY(
              SELECT ctid FROM hookcast.unfinished
              WHERE holder IS NULL AND time >= $1 AND time < $2 AND subscription = ANY($4)
              ORDER BY time, position LIMIT $3))
          RETURNING subscription, order_group",
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::INT8_ARRAY],
};
/// Events of a day of which nothing is being sent: their ends in the order of positions.
const FREE_EVENTS: Statement = Statement {
    sql: "SELECT id, time, first_delivery, first_delivery + deliveries FROM hookcast.events e
          WHERE time >= $1 AND time < $2 AND id NOT IN (
              SELECT event FROM hookcast.unfinished WHERE holder IS NOT NULL AND time >= $1 AND time < $2)
          ORDER BY time, id LIMIT $3",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const LANES_OF_EVENT: Statement = Statement {
    sql: "SELECT DISTINCT subscription FROM hookcast.unfinished WHERE time = $1 AND position >= $2 AND position < $3",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const IS_EVENT_HELD: Statement = Statement {
    sql: "SELECT EXISTS (SELECT FROM hookcast.unfinished
          WHERE time = $1 AND position >= $2 AND position < $3 AND holder IS NOT NULL)",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const EXPIRE_OF_EVENT: Statement = Statement {
    sql: "DELETE FROM hookcast.unfinished WHERE time = $1 AND position >= $2 AND position < $3 AND holder IS NULL
          RETURNING subscription, order_group",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const DELETE_FINISHED: Statement = Statement {
    sql: "DELETE FROM hookcast.finished WHERE time = $1 AND position >= $2 AND position < $3",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const DELETE_EVENT: Statement =
    Statement { sql: "DELETE FROM hookcast.events WHERE time = $1 AND id = $2", types: &[Type::INT8, Type::UUID] };
const COUNT_EXPIRED: Statement = Statement {
    sql: "UPDATE hookcast.lanes l SET expired = l.expired + e.count
          FROM unnest($1::int8[], $2::int8[]) AS e (subscription, count)
          WHERE l.subscription = e.subscription",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Takes away the oldest day before `before`, or of one of which something is being sent what can go.
pub(super) async fn purge(shared: &Shared, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
    let now = now.as_millis();
    for forget in [&FORGET_FINGERPRINTS, &FORGET_KEYS] {
        shared.pool.query(forget, &[&now, &CHUNK]).await?;
    }
    let mut old: Vec<Day> = partitions::days(&shared.pool).await?;
    old.retain(|day| day.ends() <= before.as_millis());
    let mut purged = Purged::default();
    for (index, day) in old.iter().enumerate() {
        let taken = purge_day(shared, *day).await?;
        if taken != Purged::default() {
            purged = taken;
            purged.more |= index + 1 < old.len();
            break;
        }
    }
    Ok(purged)
}

async fn purge_day(shared: &Shared, day: Day) -> Result<Purged, StoreError> {
    if single(&shared.pool.query(&IS_HELD, &[&day.begins(), &day.ends()]).await?)? {
        return purge_events(shared, day).await;
    }
    let mut expired = 0;
    loop {
        let chunk = retrying(|| expire(shared, day)).await?;
        expired += natural(chunk);
        if chunk == 0 {
            break;
        }
    }
    let events = drop_day(&shared.pool, day).await?;
    shared.partitions.forget(day);
    // A day without events is gone, too, and that is worth another look at the next one.
    Ok(Purged { events: events.unwrap_or(0), expired, more: events == Some(0) })
}

/// Gives up some of what waits of a day; answers how much.
async fn expire(shared: &Shared, day: Day) -> Result<i64, StoreError> {
    let (begins, ends) = (day.begins(), day.ends());
    let transaction = shared.pool.begin(Commit::Relaxed).await?;
    let lanes = transaction.query(&WAITING_LANES, &[&begins, &ends, &CHUNK]).await?;
    let lanes: Vec<SubscriptionKey> = lanes.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let answers =
        transaction.all(&[(&lanes::LOCK, &[&lanes]), (&EXPIRE_WAITING, &[&begins, &ends, &CHUNK, &lanes])]).await?;
    let expired = answers.get(1).map_or(&[][..], Vec::as_slice);
    count_expired(&transaction, expired).await?;
    transaction.commit().await?;
    Ok(length(expired))
}

/// Notes in the lanes, which must be locked, that deliveries of these lanes and groups wait no more.
async fn count_expired(transaction: &Transaction, expired: &[Row]) -> Result<(), StoreError> {
    let mut fewer = Fewer::default();
    for row in expired {
        fewer.add(get(row, 0)?, get(row, 1)?);
    }
    let (lanes, counts) = fewer.counts();
    transaction.query(&COUNT_EXPIRED, &[&lanes, &counts]).await?;
    fewer.settle(transaction).await
}

/// Drops a day's partitions, unless something of it is left to do or somebody reads it for long; answers how many events went.
/// One table after the other: who reads both may lock them in either order, and whoever wanted both alone would stand in a
/// circle with him. What has ended goes last, since it has to be there while an event of its day is.
async fn drop_day(pool: &Pool, day: Day) -> Result<Option<u64>, StoreError> {
    let events = retrying(|| drop_events(pool, day)).await?;
    if events.is_some() {
        retrying(|| drop_finished(pool, day)).await?;
    }
    Ok(events)
}

async fn drop_events(pool: &Pool, day: Day) -> Result<Option<u64>, StoreError> {
    let table = day.events();
    let transaction = pool.begin(Commit::Durable).await?;
    if !single::<bool>(&transaction.query(&locks::TRY_PURGE, &[]).await?)? {
        return transaction.rollback().await.map(|()| None);
    }
    // Another node may have dropped it since this one looked.
    if !is_there(&transaction, &table).await? {
        return transaction.rollback().await.map(|()| Some(0));
    }
    // Beforehand, since it may take long, and nobody adds to an old day.
    transaction.script("SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on").await?;
    let count = transaction.count(&table).await?;
    let dropped = async {
        lock(&transaction, "hookcast.events", &table).await?;
        let is_left: bool = single(&transaction.query(&IS_LEFT, &[&day.begins(), &day.ends()]).await?)?;
        if !is_left {
            transaction.script(&format!("DROP TABLE {table}")).await?;
        }
        Ok(!is_left)
    };
    let dropped = dropped.await;
    end(transaction, dropped).await.map(|dropped| dropped.then_some(natural(count)))
}

async fn drop_finished(pool: &Pool, day: Day) -> Result<(), StoreError> {
    let table = day.finished();
    let transaction = pool.begin(Commit::Durable).await?;
    let dropped = async {
        // Its events may have come back, and cannot while this lock is held.
        transaction.script(locks::PARTITIONS).await?;
        if is_there(&transaction, &day.events()).await? || !is_there(&transaction, &table).await? {
            return Ok(false);
        }
        lock(&transaction, "hookcast.finished", &table).await?;
        transaction.script(&format!("DROP TABLE {table}")).await?;
        Ok(true)
    };
    let dropped = dropped.await;
    end(transaction, dropped).await.map(drop)
}

async fn is_there(transaction: &Transaction, table: &String) -> Result<bool, StoreError> {
    single(&transaction.query(&partitions::IS_THERE, &[table]).await?)
}

/// Locks a partition against everybody, behind the whole table, as others do: who reads it holds a lock of the whole while he
/// waits for one of the day. Whoever waits for such a lock makes all others wait behind him, and so does not wait for long.
async fn lock(transaction: &Transaction, whole: &str, partition: &str) -> Result<(), StoreError> {
    let sql =
        format!("SET LOCAL lock_timeout = '200ms'; LOCK TABLE ONLY {whole}, {partition} IN ACCESS EXCLUSIVE MODE");
    transaction.script(&sql).await
}

/// Commits what was done, and takes it back otherwise. Whoever tries again must not find its own locks in the way: the server
/// tells of an error before it lets them go.
async fn end(transaction: Transaction, done: Result<bool, StoreError>) -> Result<bool, StoreError> {
    if done.is_ok() {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    done
}

/// Takes away some events of a day, those of which nothing is being sent.
async fn purge_events(shared: &Shared, day: Day) -> Result<Purged, StoreError> {
    let old = shared.pool.query(&FREE_EVENTS, &[&day.begins(), &day.ends(), &EVENTS]).await?;
    let mut purged = Purged { more: length(&old) == EVENTS, ..Purged::default() };
    for row in &old {
        let (id, time, first, end): (uuid::Uuid, i64, i64, i64) =
            (get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let expired = retrying(|| purge_event(shared, id, time, first, end)).await?;
        if let Some(expired) = expired {
            purged.events += 1;
            purged.expired += expired;
        }
    }
    Ok(purged)
}

/// Takes away an event, unless somebody has begun to send it; answers how many of its deliveries had not ended.
async fn purge_event(
    shared: &Shared,
    id: uuid::Uuid,
    time: i64,
    first: i64,
    end: i64,
) -> Result<Option<u64>, StoreError> {
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    let lanes = transaction.query(&LANES_OF_EVENT, &[&time, &first, &end]).await?;
    let lanes: Vec<SubscriptionKey> = lanes.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let answers = transaction.all(&[(&lanes::LOCK, &[&lanes]), (&IS_EVENT_HELD, &[&time, &first, &end])]).await?;
    if single(answers.get(1).map_or(&[], Vec::as_slice))? {
        return transaction.rollback().await.map(|()| None);
    }
    let expired = transaction.query(&EXPIRE_OF_EVENT, &[&time, &first, &end]).await?;
    count_expired(&transaction, &expired).await?;
    // What had failed may have been taken up again until it was deleted here, and not since.
    let answers = transaction
        .all(&[(&DELETE_FINISHED, &[&time, &first, &end]), (&IS_EVENT_HELD, &[&time, &first, &end])])
        .await?;
    if single(answers.get(1).map_or(&[], Vec::as_slice))? {
        return transaction.rollback().await.map(|()| None);
    }
    transaction.finish(&[(&DELETE_EVENT, &[&time, &id])]).await?;
    Ok(Some(natural(length(&expired))))
}
