//! Events, deliveries and attempts as people read them. What is left to do and what has ended are in tables of their own; lists
//! are made of both.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    PostgresStore, admission, durability, log,
    pool::Statement,
    purge,
    rows::{self, event_id, get, integer, natural, optional_time, state_code, state_of, subscription_id, time, uuid},
};
use crate::{
    code::url,
    error::StoreError,
    history::{DeliveryRecord, EventQuery, EventRecord, History, Promise, Purged},
    page::{Page, PageRequest},
};

const EVENT: Statement = Statement {
    sql: "SELECT id, type, time, md5, payload, order_key, extra::text, first_delivery, deliveries FROM hookcast.events
          WHERE time = $1 AND id = $2",
    types: &[Type::INT8, Type::UUID],
};

/// Events in the order of their places, bounded by the sizes of their payloads.
macro_rules! select_events {
    ($follows:literal, $order:literal, $which:literal) => {
        concat!(
            "SELECT id, type, time, md5, payload, order_key, extra::text FROM (
                 SELECT e.*, sum(octet_length(payload)) OVER (ORDER BY time ",
            $order,
            ", id ",
            $order,
            ") - octet_length(payload) AS bytes_before FROM (
                     SELECT * FROM hookcast.events
                     WHERE time >= $1 AND time < $2 AND (time, id) ",
            $follows,
            " ($3, $4) AND ",
            $which,
            " ORDER BY time ",
            $order,
            ", id ",
            $order,
            " LIMIT $5) e) e WHERE bytes_before < $6 ORDER BY time ",
            $order,
            ", id ",
            $order
        )
    };
}
const EVENTS_TYPES: &[Type] = &[Type::INT8, Type::INT8, Type::INT8, Type::UUID, Type::INT8, Type::INT8, Type::TEXT];
const OLDEST: Statement = Statement { sql: select_events!(">", "ASC", "$7::text IS NULL"), types: EVENTS_TYPES };
const NEWEST: Statement = Statement { sql: select_events!("<", "DESC", "$7::text IS NULL"), types: EVENTS_TYPES };
const OLDEST_OF_SOURCE: Statement = Statement {
    sql: select_events!(">", "ASC", "extra IS NOT NULL AND extra->>'source_id' = $7"),
    types: EVENTS_TYPES,
};
const NEWEST_OF_SOURCE: Statement = Statement {
    sql: select_events!("<", "DESC", "extra IS NOT NULL AND extra->>'source_id' = $7"),
    types: EVENTS_TYPES,
};

/// What [`record`] reads, from rows of `time, position, subscription, event, state, due_at, log` named `d`.
macro_rules! select_records {
    ($from:literal, $order:literal) => {
        select_records!(($from), $order)
    };
    (($($from:expr),+), $order:literal) => {
        concat!(
            "SELECT d.time, d.position, e.id, e.type, s.id, a.user_id, s.url, s.is_active, d.state, d.due_at, d.log, \
             (SELECT probe_at FROM hookcast.lanes WHERE subscription = s.key) FROM (",
            $($from,)+
            ") d JOIN hookcast.events e ON e.time = d.time AND e.id = d.event ",
            "JOIN hookcast.subscriptions s ON s.key = d.subscription JOIN hookcast.accounts a ON a.key = s.account ",
            $order
        )
    };
}

const OF_EVENT: Statement = Statement {
    sql: select_records!(
        "(SELECT time, position, subscription, event, CASE WHEN holder IS NULL THEN 0 ELSE 1 END::int2 AS state, due_at, log
          FROM hookcast.unfinished WHERE time = $1 AND position > $2 AND position < $3 ORDER BY position LIMIT $4)
         UNION ALL
         (SELECT time, position, subscription, event, state, NULL::int8, log
          FROM hookcast.finished WHERE time = $1 AND position > $2 AND position < $3 ORDER BY position LIMIT $4)
         ORDER BY position LIMIT $4",
        "ORDER BY d.position"
    ),
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::INT8],
};

const ONE: Statement = Statement {
    sql: select_records!(
        "(SELECT time, position, subscription, event, CASE WHEN holder IS NULL THEN 0 ELSE 1 END::int2 AS state, due_at, log
          FROM hookcast.unfinished WHERE time = $1 AND position = $2)
         UNION ALL
         (SELECT time, position, subscription, event, state, NULL::int8, log
          FROM hookcast.finished WHERE time = $1 AND position = $2)",
        ""
    ),
    types: &[Type::INT8, Type::INT8],
};

/// Makes a list of a subscription's deliveries, the newest first, before a time and a position. The subscription is compared as
/// a part of the order and not by itself: the planner then has only the index that begins with it, and cannot prefer to look
/// through what all subscriptions have, in the hope that this one is soon among it.
macro_rules! newest {
    ($columns:literal, $table:literal, $which:literal) => {
        concat!(
            "(SELECT time, position, subscription, event, ",
            $columns,
            ", log FROM hookcast.",
            $table,
            " WHERE (subscription, time, position) < ($1, $2, $3) AND subscription >= $1 AND ",
            $which,
            " ORDER BY subscription DESC, time DESC, position DESC LIMIT $4)"
        )
    };
}

macro_rules! waiting {
    () => {
        newest!("0::int2 AS state, due_at", "unfinished", "holder IS NULL")
    };
}

/// What is sent is never much, and in no order.
macro_rules! sending {
    () => {
        "(SELECT * FROM (
              SELECT time, position, subscription, event, 1::int2 AS state, due_at, log
              FROM hookcast.unfinished WHERE subscription = $1 AND holder IS NOT NULL OFFSET 0) h
          WHERE (time, position) < ($2, $3) ORDER BY time DESC, position DESC LIMIT $4)"
    };
}

macro_rules! list {
    ($($from:expr),+) => {
        select_records!(
            ($($from),+),
            "ORDER BY d.time DESC, d.position DESC"
        )
    };
}

const LIST_TYPES: &[Type] = &[Type::INT8, Type::INT8, Type::INT8, Type::INT8];

/// Those that wait, those that are sent, and those that have ended.
const ALL: Statement = Statement {
    sql: list!(
        waiting!(),
        " UNION ALL ",
        sending!(),
        " UNION ALL ",
        newest!("state, NULL::int8 AS due_at", "finished", "true"),
        " ORDER BY time DESC, position DESC LIMIT $4"
    ),
    types: LIST_TYPES,
};
const WAITING: Statement = Statement { sql: list!(waiting!()), types: LIST_TYPES };
const SENDING: Statement = Statement { sql: list!(sending!()), types: LIST_TYPES };
const DELIVERED: Statement =
    Statement { sql: list!(newest!("state, NULL::int8 AS due_at", "finished", "state = 2")), types: LIST_TYPES };
/// The states that few are in have an index of their own.
const OTHERS: Statement = Statement {
    sql: list!(
        "(SELECT time, position, subscription, event, state, NULL::int8 AS due_at, log FROM hookcast.finished
          WHERE (subscription, state, time, position) < ($1, $5, $2, $3) AND subscription >= $1 AND state = $5 AND state <> 2
          ORDER BY subscription DESC, state DESC, time DESC, position DESC LIMIT $4)"
    ),
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::INT2],
};

#[async_trait]
impl History for PostgresStore {
    async fn event(&self, id: EventId, page: PageRequest) -> Result<EventRecord, StoreError> {
        let pool = &self.shared.pool;
        let found = pool.query(&EVENT, &[&id.time().as_millis(), &uuid(id.to_bytes())]).await?;
        let row = found.first().ok_or(StoreError::NotFound)?;
        let event = rows::event(row, 0)?;
        let (first, total): (i64, i64) = (get(row, 7)?, get(row, 8)?);
        let after = page.cursor.map_or(first - 1, |cursor| place(cursor.0).1.max(first - 1));
        let (end, limit) = (first + total, i64::from(page.limit) + 1);
        let found = pool.query(&OF_EVENT, &[&event.time.as_millis(), &after, &end, &limit]).await?;
        let deliveries = found.iter().map(record).collect::<Result<_, _>>()?;
        Ok(EventRecord { event, total: natural(total), deliveries: Page::from_rows(deliveries, page.limit) })
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        let (statement, beyond) = match (query.ascending, query.source_id.is_some()) {
            (true, false) => (&OLDEST, EventId::from_bytes([0; 16])),
            (false, false) => (&NEWEST, EventId::from_bytes([u8::MAX; 16])),
            (true, true) => (&OLDEST_OF_SOURCE, EventId::from_bytes([0; 16])),
            (false, true) => (&NEWEST_OF_SOURCE, EventId::from_bytes([u8::MAX; 16])),
        };
        let after = query.after.unwrap_or(beyond);
        let (since, until) = (query.since.as_millis(), query.until.as_millis());
        let (time, id) = (after.time().as_millis(), uuid(after.to_bytes()));
        let (limit, bytes) = (i64::from(query.limit), i64::try_from(query.max_bytes).unwrap_or(i64::MAX));
        let found =
            self.shared.pool.query(statement, &[&since, &until, &time, &id, &limit, &bytes, &query.source_id]).await?;
        found.iter().map(|row| rows::event(row, 0)).collect()
    }

    async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, StoreError> {
        let place: [&(dyn ToSql + Sync); 2] = [&id.time().as_millis(), &integer(id.position())];
        let found = self.shared.pool.query(&ONE, &place).await?;
        found.first().map(record).ok_or(StoreError::NotFound)?.map(|(_, record)| record)
    }

    async fn deliveries(
        &self,
        subscription: SubscriptionId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        let keys = self.shared.keys.of(&self.shared.pool, &[subscription]).await?;
        let Some(key) = keys.get(&subscription) else { return Ok(Page { items: Vec::new(), next: None }) };
        let (time, position) = page.cursor.map_or((i64::MAX, i64::MAX), |cursor| place(cursor.0));
        let (limit, pool) = (i64::from(page.limit) + 1, &self.shared.pool);
        let place: [&(dyn ToSql + Sync); 4] = [key, &time, &position, &limit];
        let found = match state {
            None => pool.query(&ALL, &place).await?,
            Some(DeliveryState::Waiting) => pool.query(&WAITING, &place).await?,
            Some(DeliveryState::Sending) => pool.query(&SENDING, &place).await?,
            Some(DeliveryState::Delivered) => pool.query(&DELIVERED, &place).await?,
            Some(state @ (DeliveryState::Failed | DeliveryState::Expired | DeliveryState::Cancelled)) => {
                pool.query(&OTHERS, &[key, &time, &position, &limit, &state_code(state)]).await?
            }
        };
        Ok(Page::from_rows(found.iter().map(record).collect::<Result<_, _>>()?, page.limit))
    }

    async fn purge(&self, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
        purge::purge(&self.shared, before, now).await
    }

    async fn check(&self) -> Result<Promise, StoreError> {
        if self.shared.limits.max_size > 0 {
            let used = natural(rows::single(&self.shared.pool.query(&admission::SIZE, &[]).await?)?);
            admission::check_size(used, ROOM_FOR_ONE, self.shared.limits)?;
        }
        durability::check(&self.shared.pool).await
    }
}

/// About the bytes that a small event takes up.
const ROOM_FOR_ONE: u64 = 1024;

/// The place of a delivery in lists: the time of its event and its position.
fn place(cursor: u128) -> (i64, i64) {
    let half = |bits: u128| i64::try_from(bits & u128::from(u64::MAX)).unwrap_or(i64::MAX);
    (half(cursor >> 64), half(cursor))
}

fn record(row: &Row) -> Result<(u128, DeliveryRecord), StoreError> {
    let (time, position) = (time(row, 0)?, natural(get(row, 1)?));
    let state = state_of(get(row, 8)?)?;
    let record = DeliveryRecord {
        id: DeliveryId::from_position(time, position),
        event: event_id(row, 2)?,
        event_type: get(row, 3)?,
        subscription: subscription_id(row, 4)?,
        user_id: get(row, 5)?,
        url: url(get(row, 6)?),
        is_active: get(row, 7)?,
        state,
        due_at: optional_time(row, 9)?.filter(|_| state == DeliveryState::Waiting),
        probe_at: optional_time(row, 11)?.filter(|_| state == DeliveryState::Waiting),
        attempts: log::read(get(row, 10)?)?,
    };
    let time = u128::try_from(time.as_millis()).unwrap_or(0);
    Ok((time << 64 | u128::from(position), record))
}
