//! Events, deliveries and attempts as people read them, and their end.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, DeliveryState, Failure},
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
};
use rusqlite::{Connection, Row, Transaction};

use super::{
    SqliteStore, accept,
    cancellation::end_waiting,
    rows::{self, integer, natural, small, state_code, state_of},
};
use crate::{
    code::url,
    error::StoreError,
    history::{DeliveryRecord, EventQuery, EventRecord, History, Promise, Purged},
    location::StoreKind,
    page::{Cursor, Page, PageRequest},
};

/// Events that one purge takes away, so that no write waits long behind it.
const PURGE_EVENTS: i64 = 200;

/// About the bytes that a small event takes up.
const ROOM_FOR_ONE: u64 = 1024;

/// Pages that one purge gives back to the file system.
const VACUUM_PAGES: i64 = 500;

#[async_trait]
impl History for SqliteStore {
    async fn event(&self, id: EventId, deliveries: PageRequest) -> Result<EventRecord, StoreError> {
        self.read(move |connection| event(connection, id, deliveries)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection| events(connection, &query)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, StoreError> {
        let find = move |connection: &Connection| {
            records(connection, "d.position = ?1 AND e.time = ?2", (integer(id.position()), id.time().as_millis()), 1)
        };
        self.read(find).await?.items.pop().ok_or(StoreError::NotFound)
    }

    async fn deliveries(
        &self,
        subscription: SubscriptionId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        self.read(move |connection| {
            let before = page.cursor.map_or(i64::MAX, Cursor::key);
            let state = state.map(state_code);
            records(
                connection,
                "d.subscription = (SELECT key FROM subscriptions WHERE id = ?1) AND d.position < ?2
                 AND (?3 IS NULL OR d.state = ?3) ORDER BY d.position DESC LIMIT ?4",
                (subscription.to_bytes(), before, state, i64::from(page.limit) + 1),
                page.limit,
            )
        })
        .await
    }

    async fn purge(&self, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
        let purged = self.write_relaxed(move |transaction| purge(transaction, before, now)).await?;
        self.writer.vacuum(VACUUM_PAGES)?;
        Ok(purged)
    }

    async fn check(&self) -> Result<Promise, StoreError> {
        self.check_free_disk()?;
        let max_size = self.limits.max_size;
        // A transaction that writes nothing still takes the write lock.
        self.write_relaxed(move |transaction| accept::check_size(transaction, ROOM_FOR_ONE, max_size)).await?;
        Ok(Promise { store: StoreKind::Sqlite, survives_restart: true, survives_failover: false, remarks: Vec::new() })
    }
}

fn event(connection: &Connection, id: EventId, page: PageRequest) -> Result<EventRecord, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, type, time, md5, payload, order_key, extra, first_delivery, deliveries FROM events WHERE id = ?",
    )?;
    let mut found = statement.query([id.to_bytes()])?;
    let row = found.next()?.ok_or(StoreError::NotFound)?;
    let event = rows::event(row, 0)?;
    let (first, total): (i64, i64) = (row.get(7)?, row.get(8)?);
    let after = page.cursor.map_or(first - 1, Cursor::key);
    let deliveries = records(
        connection,
        "d.position > ?1 AND d.position >= ?2 AND d.position < ?3 ORDER BY d.position LIMIT ?4",
        (after, first, first + total, i64::from(page.limit) + 1),
        page.limit,
    )?;
    Ok(EventRecord { event, total: natural(total), deliveries })
}

fn events(connection: &Connection, query: &EventQuery) -> Result<Vec<Event>, StoreError> {
    let (first, end) = query.ids();
    let which = if query.source_id.is_some() {
        "extra IS NOT NULL AND json_extract(extra, '$.source_id') = ?1"
    } else {
        "?1 IS NULL"
    };
    let (follows, order, after) = if query.ascending {
        (">", "ASC", query.after.map_or([0; 16], EventId::to_bytes))
    } else {
        ("<", "DESC", query.after.map_or([u8::MAX; 16], EventId::to_bytes))
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, type, time, md5, payload, order_key, extra FROM events
         WHERE {which} AND id >= ?2 AND id < ?3 AND id {follows} ?4 ORDER BY id {order}"
    ))?;
    let mut found = statement.query((&query.source_id, first.to_bytes(), end.to_bytes(), after))?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < query.max_bytes
        && events.len() < query.limit as usize
        && let Some(row) = found.next()?
    {
        let event = rows::event(row, 0)?;
        bytes += event.payload.get().len();
        events.push(event);
    }
    Ok(events)
}

fn records(
    connection: &Connection,
    condition: &str,
    parameters: impl rusqlite::Params,
    limit: u32,
) -> Result<Page<DeliveryRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT d.position, e.time, e.id, e.type, s.id, a.user_id, s.url, s.is_active, d.state, d.due_at,
             (SELECT probe_at FROM lanes WHERE subscription = s.key)
         FROM deliveries d JOIN events e ON e.key = d.event JOIN subscriptions s ON s.key = d.subscription
             JOIN accounts a ON a.key = s.account
         WHERE {condition}"
    ))?;
    let mut found = statement.query(parameters)?;
    let mut records = Vec::new();
    while let Some(row) = found.next()? {
        let position: i64 = row.get(0)?;
        let state = state_of(row.get(8)?)?;
        let while_waiting = |index| -> Result<Option<Timestamp>, StoreError> {
            let time: Option<i64> = row.get(index)?;
            Ok(time.filter(|_| state == DeliveryState::Waiting).map(Timestamp::from_millis))
        };
        let record = DeliveryRecord {
            id: DeliveryId::from_position(Timestamp::from_millis(row.get(1)?), natural(position)),
            event: EventId::from_bytes(row.get(2)?),
            event_type: row.get(3)?,
            subscription: SubscriptionId::from_bytes(row.get(4)?),
            user_id: row.get(5)?,
            url: url(row.get(6)?),
            is_active: row.get(7)?,
            state,
            due_at: while_waiting(9)?,
            probe_at: while_waiting(10)?,
            attempts: attempts(connection, position)?,
        };
        records.push((natural(position), record));
    }
    Ok(Page::from_rows(records, limit))
}

/// A delivery's attempts, the first one first.
pub(super) fn attempts(connection: &Connection, position: i64) -> Result<Vec<Attempt>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, time, latency_ms, status, failure, detail FROM attempts WHERE delivery = ? ORDER BY number",
    )?;
    let mut found = statement.query([position])?;
    let mut attempts = Vec::new();
    while let Some(row) = found.next()? {
        attempts.push(Attempt {
            number: small(row.get(0)?),
            time: Timestamp::from_millis(row.get(1)?),
            latency_ms: small(row.get(2)?),
            result: attempt_result(row)?,
        });
    }
    Ok(attempts)
}

fn attempt_result(row: &Row<'_>) -> Result<AttemptResult, StoreError> {
    let detail = row.get(5)?;
    if let Some(status) = row.get(3)? {
        return Ok(AttemptResult::Answered(Answer { status, excerpt: detail, retry_after: None }));
    }
    let name: String = row.get(4)?;
    let failure = Failure::ALL
        .into_iter()
        .find(|failure| failure.as_str() == name)
        .ok_or_else(|| StoreError::Corrupt(format!("an attempt has the unknown failure `{name}`")))?;
    Ok(AttemptResult::Unanswered { failure, detail })
}

fn purge(transaction: &Transaction<'_>, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
    for table in ["fingerprints", "idempotency_keys"] {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE expires_at <= ?"))?
            .execute([now.as_millis()])?;
    }
    // Keys follow the time of acceptance, so that the oldest events are the first ones. Those that are being sent are
    // passed over, or enough of them would keep all others.
    let old: Vec<(i64, i64, i64)> = transaction
        .prepare_cached(
            "SELECT key, first_delivery, first_delivery + deliveries FROM
                 (SELECT * FROM events WHERE key NOT IN (SELECT event FROM deliveries WHERE holder IS NOT NULL)
                  ORDER BY key LIMIT ?)
             WHERE time < ?",
        )?
        .query_map((PURGE_EVENTS, before.as_millis()), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut purged = Purged { more: old.len() == usize::try_from(PURGE_EVENTS).unwrap_or(0), ..Purged::default() };
    for (event, first, end) in old {
        purged.expired += expire(transaction, first, end)?;
        for sql in [
            "DELETE FROM attempts WHERE delivery >= ? AND delivery < ?",
            "DELETE FROM deliveries WHERE position >= ? AND position < ?",
        ] {
            transaction.prepare_cached(sql)?.execute((first, end))?;
        }
        transaction.prepare_cached("DELETE FROM events WHERE key = ?")?.execute([event])?;
        transaction.prepare_cached("UPDATE retention SET purged_to = MAX(purged_to, ?)")?.execute([end - 1])?;
        purged.events += 1;
    }
    Ok(purged)
}

/// Takes what still waits among these deliveries out of the lanes, counted as expired.
fn expire(transaction: &Transaction<'_>, first: i64, end: i64) -> Result<u64, StoreError> {
    let mut expired = 0;
    for (lane, count) in end_waiting(transaction, first..end, DeliveryState::Expired, i64::MAX)? {
        transaction
            .prepare_cached("UPDATE lanes SET expired = expired + ?2 WHERE subscription = ?1")?
            .execute((lane, count))?;
        expired += natural(count);
    }
    Ok(expired)
}
