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
    fresh::{self, Fresh},
    rows::{self, Keys, SubscriptionKey, integer, natural, small, state_code, state_of},
    writer::Durability,
};
use crate::{
    code::url,
    error::StoreError,
    history::{DeliveryRecord, EventQuery, EventRecord, History, Promise, Purged},
    location::StoreKind,
    page::{Cursor, Page, PageRequest},
};

/// Events that one purge takes away, so that no write waits long behind it.
const PURGE_EVENTS: usize = 200;

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
        self.read(move |connection| {
            let record = record(connection, integer(id.position()))?;
            record.filter(|record| record.id == id).ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn deliveries(
        &self,
        subscription: SubscriptionId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        self.read(move |connection| {
            let Some(lane) = Keys::default().of(connection, subscription)? else {
                return Ok(Page { items: Vec::new(), next: None });
            };
            let before = page.cursor.map_or(i64::MAX, Cursor::key);
            let one_more = usize::try_from(page.limit).unwrap_or(usize::MAX).saturating_add(1);
            let positions = latest(connection, lane, state, before, one_more)?;
            records(connection, positions, page.limit)
        })
        .await
    }

    async fn purge(&self, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
        let purged =
            self.write_deliveries(Durability::Relaxed, move |transaction| purge(transaction, before, now)).await?;
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
    let begin = page.cursor.map_or(first, |cursor| cursor.key().saturating_add(1)).max(first);
    let end = (first + total).min(begin.saturating_add(i64::from(page.limit) + 1));
    let deliveries = records(connection, begin..end, page.limit)?;
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

/// The positions of a subscription's deliveries before a position, the last ones first.
fn latest(
    connection: &Connection,
    lane: SubscriptionKey,
    state: Option<DeliveryState>,
    before: i64,
    limit: usize,
) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT l.position FROM listed l JOIN deliveries d ON d.position = l.position
         WHERE l.subscription = ?1 AND l.position < ?2 AND (?3 IS NULL OR d.state = ?3) ORDER BY l.position DESC LIMIT ?4",
    )?;
    let limit_of_listed = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut listed = statement
        .query_map((lane, before, state.map(state_code), limit_of_listed), |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?
        .into_iter()
        .peekable();
    let mut unlisted = fresh::unlisted(connection, lane, before)?.into_iter().peekable();
    let mut latest = Vec::new();
    while latest.len() < limit {
        let next = listed.peek().copied();
        match unlisted.next_if(|position| next.is_none_or(|next| *position > next)) {
            Some(position) if is_in_state(connection, position, state)? => latest.push(position),
            Some(_) => {}
            None => match listed.next() {
                Some(position) => latest.push(position),
                None => break,
            },
        }
    }
    Ok(latest)
}

/// Deliveries by their positions.
fn records(
    connection: &Connection,
    positions: impl IntoIterator<Item = i64>,
    limit: u32,
) -> Result<Page<DeliveryRecord>, StoreError> {
    let mut records = Vec::new();
    for position in positions {
        records.extend(record(connection, position)?.map(|record| (natural(position), record)));
    }
    Ok(Page::from_rows(records, limit))
}

/// What is written of a delivery, or what its fresh event says of it.
struct Written {
    /// Its event's key.
    event: i64,
    lane: SubscriptionKey,
    state: DeliveryState,
    due_at: Option<Timestamp>,
}

impl Written {
    fn at(connection: &Connection, position: i64) -> Result<Option<Self>, StoreError> {
        let mut statement = connection
            .prepare_cached("SELECT event, subscription, state, due_at FROM deliveries WHERE position = ?")?;
        if let Some(row) = statement.query([position])?.next()? {
            let (event, lane, state) = (row.get(0)?, row.get(1)?, state_of(row.get(2)?)?);
            return Ok(Some(Self { event, lane, state, due_at: rows::time(row, 3)? }));
        }
        let Some(fresh) = Fresh::at(connection, position)? else { return Ok(None) };
        let lane = fresh.positions().zip(fresh.lanes(connection)?).find(|(other, _)| *other == position);
        let sending = |(_, lane)| Self { event: fresh.event, lane, state: DeliveryState::Sending, due_at: None };
        Ok(lane.map(sending))
    }
}

fn is_in_state(connection: &Connection, position: i64, state: Option<DeliveryState>) -> Result<bool, StoreError> {
    let Some(state) = state else { return Ok(true) };
    Ok(Written::at(connection, position)?.is_some_and(|written| written.state == state))
}

/// The delivery at a position, if there is one.
fn record(connection: &Connection, position: i64) -> Result<Option<DeliveryRecord>, StoreError> {
    let Some(Written { event, lane, state, due_at }) = Written::at(connection, position)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT e.time, e.id, e.type, s.id, a.user_id, s.url, s.is_active, l.probe_at
         FROM subscriptions s JOIN accounts a ON a.key = s.account JOIN lanes l ON l.subscription = s.key, events e
         WHERE s.key = ? AND e.key = ?",
    )?;
    let mut found = statement.query([lane, event])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let while_waiting = |time: Option<Timestamp>| time.filter(|_| state == DeliveryState::Waiting);
    Ok(Some(DeliveryRecord {
        id: DeliveryId::from_position(Timestamp::from_millis(row.get(0)?), natural(position)),
        event: EventId::from_bytes(row.get(1)?),
        event_type: row.get(2)?,
        subscription: SubscriptionId::from_bytes(row.get(3)?),
        user_id: row.get(4)?,
        url: url(row.get(5)?),
        is_active: row.get(6)?,
        state,
        due_at: while_waiting(due_at),
        probe_at: while_waiting(rows::time(row, 7)?),
        attempts: attempts(connection, position)?,
    }))
}

/// A delivery's attempts, the first one first.
pub(super) fn attempts(connection: &Connection, position: i64) -> Result<Vec<Attempt>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 AS number, tried_at, latency_ms, status, NULL, answer FROM deliveries
         WHERE position = ?1 AND tried_at IS NOT NULL
         UNION ALL SELECT number, time, latency_ms, status, failure, detail FROM attempts WHERE delivery = ?1
         ORDER BY number",
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
    let old = oldest(transaction, before)?;
    let mut purged = Purged { more: old.len() == PURGE_EVENTS, ..Purged::default() };
    for (event, first, end) in old {
        purged.expired += expire(transaction, first, end)?;
        for sql in [
            "DELETE FROM attempts WHERE delivery >= ? AND delivery < ?",
            "DELETE FROM listed WHERE (subscription, position) IN (
                 SELECT subscription, position FROM deliveries WHERE position >= ? AND position < ?)",
            "DELETE FROM fresh WHERE first_delivery >= ? AND first_delivery < ?",
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

/// The first of the events that were accepted before a time: key, position of the first delivery and that behind the last. Those that
/// are being sent are passed over, or enough of them would keep all others.
fn oldest(connection: &Connection, before: Timestamp) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    // Keys follow the time of acceptance, so that the oldest events are the first ones.
    let mut statement = connection.prepare_cached(
        "SELECT key, first_delivery, first_delivery + deliveries, time FROM events
         WHERE key NOT IN (SELECT event FROM deliveries WHERE holder IS NOT NULL) ORDER BY key",
    )?;
    let mut found = statement.query([])?;
    let mut oldest = Vec::new();
    while oldest.len() < PURGE_EVENTS
        && let Some(row) = found.next()?
        && row.get::<_, i64>(3)? < before.as_millis()
    {
        let first = row.get(1)?;
        let is_sent = match Fresh::at(connection, first)? {
            Some(fresh) => !fresh.is_written(connection)?,
            None => false,
        };
        if !is_sent {
            oldest.push((row.get(0)?, first, row.get(2)?));
        }
    }
    Ok(oldest)
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
