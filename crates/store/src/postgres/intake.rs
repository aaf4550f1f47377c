//! Admitted batches on their way into the tables.

use std::collections::{BTreeSet, HashMap};

use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, SubscriptionId},
};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{
    admission::Firsts,
    lanes::{self, More},
    order::{NewDelivery, Ordered},
    pool::{Call, Statement, Transaction},
    rows::{SubscriptionKey, integer, length, receipts_text, uuid},
};
use crate::{
    code::extra_text,
    engine::{Accepted, Batch, NewEvent, Receipt},
    error::StoreError,
    gather::Request,
};

/// Rows in one statement, and statements that are sent at once.
const ROWS: usize = 20_000;
const CALLS: usize = 4;

const INSERT_EVENTS: Statement = Statement {
    sql: "INSERT INTO hookcast.events (time, id, type, md5, first_delivery, deliveries, payload, order_key, extra)
          SELECT time, id, type, md5, first_delivery, deliveries, payload, order_key, extra::jsonb FROM unnest(
              $1::int8[], $2::uuid[], $3::text[], $4::bytea[], $5::int8[], $6::int8[], $7::text[], $8::text[], $9::text[])
              AS n (time, id, type, md5, first_delivery, deliveries, payload, order_key, extra)",
    types: &[
        Type::INT8_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::BYTEA_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
    ],
};
const INSERT_DELIVERIES: Statement = Statement {
    sql: "INSERT INTO hookcast.unfinished (time, position, subscription, event, due_at, holder)
          SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::uuid[], $5::int8[], $6::int8[])",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};
const REMEMBER: Statement = Statement {
    sql: "INSERT INTO hookcast.idempotency_keys (key, body_digest, receipts, expires_at)
          SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::int8[])
          ON CONFLICT (key) DO UPDATE SET body_digest = EXCLUDED.body_digest, receipts = EXCLUDED.receipts,
              expires_at = EXCLUDED.expires_at",
    types: &[Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
};

/// Columns of events.
#[derive(Default)]
struct Events<'b> {
    time: Vec<i64>,
    id: Vec<Uuid>,
    event_type: Vec<&'b str>,
    md5: Vec<Vec<u8>>,
    first_delivery: Vec<i64>,
    deliveries: Vec<i64>,
    payload: Vec<&'b str>,
    key: Vec<Option<&'b str>>,
    extra: Vec<Option<String>>,
}

/// Columns of deliveries.
#[derive(Default)]
struct Deliveries {
    time: Vec<i64>,
    position: Vec<i64>,
    subscription: Vec<SubscriptionKey>,
    event: Vec<Uuid>,
    due_at: Vec<Option<i64>>,
    holder: Vec<Option<i64>>,
}

/// Columns of idempotency keys.
#[derive(Default)]
struct Remembered<'b> {
    key: Vec<&'b str>,
    digest: Vec<&'b [u8]>,
    receipts: Vec<String>,
    expires_at: Vec<i64>,
}

/// Batches as rows.
pub(super) struct Intake<'b> {
    keys: &'b HashMap<SubscriptionId, SubscriptionKey>,
    firsts: &'b Firsts,
    next_position: u64,
    events: Vec<Events<'b>>,
    deliveries: Vec<Deliveries>,
    ordered: Ordered,
    remembered: Remembered<'b>,
    waiting: More,
    /// Something is due for an active subscription and held by nobody.
    leaves_work: bool,
}

impl<'b> Intake<'b> {
    /// An empty one that gives positions from this one on.
    pub(super) fn new(
        keys: &'b HashMap<SubscriptionId, SubscriptionKey>,
        firsts: &'b Firsts,
        first_position: u64,
    ) -> Self {
        Self {
            keys,
            firsts,
            next_position: first_position,
            events: Vec::new(),
            deliveries: Vec::new(),
            ordered: Ordered::default(),
            remembered: Remembered::default(),
            waiting: More::default(),
            leaves_work: false,
        }
    }

    /// Adds a batch; answers what its producer is told when it is stored.
    pub(super) fn add(&mut self, request: &'b Request) -> Result<Accepted, StoreError> {
        let batch = &request.batch;
        let mut accepted = Accepted { receipts: Vec::new(), held: Vec::new(), replayed: false };
        for new in &batch.events {
            let first =
                self.firsts.get(&new.event.fingerprint()).filter(|(id, _)| new.deduplicate && *id != new.event.id);
            if let Some((id, time)) = first {
                accepted.held.push(Vec::new());
                accepted.receipts.push(Receipt::of(&new.event, 0).duplicate(*id, *time));
            } else {
                accepted.held.push(self.add_event(batch, new)?);
                accepted.receipts.push(Receipt::of(&new.event, new.recipients.len()));
            }
        }
        self.remember(batch, &accepted.receipts, request.now)?;
        Ok(accepted)
    }

    fn remember(&mut self, batch: &'b Batch, receipts: &[Receipt], now: Timestamp) -> Result<(), StoreError> {
        let Some(idempotency) = &batch.idempotency else { return Ok(()) };
        self.remembered.key.push(&idempotency.key);
        self.remembered.digest.push(&idempotency.body_digest);
        self.remembered.receipts.push(receipts_text(receipts)?);
        self.remembered.expires_at.push(now.plus(idempotency.remember).as_millis());
        Ok(())
    }

    /// Adds an event with its deliveries; answers those that the holder holds.
    fn add_event(&mut self, batch: &Batch, new: &'b NewEvent) -> Result<Vec<DeliveryId>, StoreError> {
        let event = &new.event;
        let (time, due, id) = (event.time.as_millis(), event.due_at().as_millis(), uuid(event.id.to_bytes()));
        let rows = last(&mut self.events, |rows| rows.id.len());
        rows.time.push(time);
        rows.id.push(id);
        rows.event_type.push(event.event_type.as_str());
        rows.md5.push(event.md5.to_bytes().to_vec());
        rows.first_delivery.push(integer(self.next_position));
        rows.deliveries.push(length(&new.recipients));
        rows.payload.push(event.payload.get());
        rows.key.push(event.key.as_deref());
        rows.extra.push(extra_text(event)?);

        let mut held = Vec::with_capacity(new.reserved.len());
        let mut reserved = new.reserved.iter().copied().peekable();
        for (index, recipient) in (0_u32..).zip(new.recipients.iter()) {
            let Some(lane) = self.keys.get(&recipient.subscription).copied() else { return Err(StoreError::NotFound) };
            let position = self.next_position;
            self.next_position += 1;
            let is_held = reserved.next_if_eq(&index).is_some();
            if let Some(group) = new.group(recipient).filter(|_| !is_held) {
                self.ordered.add(NewDelivery { time, due, position: integer(position), lane, event: id }, group);
                self.leaves_work |= recipient.is_active;
                continue;
            }
            let rows = last(&mut self.deliveries, |rows| rows.position.len());
            rows.time.push(time);
            rows.position.push(integer(position));
            rows.subscription.push(lane);
            rows.event.push(id);
            rows.due_at.push((!is_held).then_some(due));
            rows.holder.push(is_held.then(|| integer(batch.holder.0)));
            if is_held {
                held.push(DeliveryId::from_position(event.time, position));
            } else {
                self.waiting.add(lane, Some(due));
                self.leaves_work |= recipient.is_active;
            }
        }
        Ok(held)
    }

    /// Writes all of it and commits; answers whether there is work for whoever has time.
    pub(super) async fn write(mut self, mut transaction: Transaction, max_waiting: u64) -> Result<bool, StoreError> {
        let lanes: BTreeSet<SubscriptionKey> = self.waiting.lanes().chain(self.ordered.lanes()).collect();
        let lanes: Vec<SubscriptionKey> = lanes.into_iter().collect();
        let events: Vec<[&(dyn ToSql + Sync); 9]> = self
            .events
            .iter()
            .map(|e| -> [&(dyn ToSql + Sync); 9] {
                [&e.time, &e.id, &e.event_type, &e.md5, &e.first_delivery, &e.deliveries, &e.payload, &e.key, &e.extra]
            })
            .collect();
        let deliveries: Vec<[&(dyn ToSql + Sync); 6]> = self
            .deliveries
            .iter()
            .map(|d| -> [&(dyn ToSql + Sync); 6] {
                [&d.time, &d.position, &d.subscription, &d.event, &d.due_at, &d.holder]
            })
            .collect();
        let keys = &self.remembered;
        let remembered: [&(dyn ToSql + Sync); 4] = [&keys.key, &keys.digest, &keys.receipts, &keys.expires_at];
        let locked: [&(dyn ToSql + Sync); 1] = [&lanes];

        let mut calls: Vec<Call<'_>> = Vec::new();
        calls.extend(events.iter().map(|row| -> Call<'_> { (&INSERT_EVENTS, row) }));
        calls.extend(deliveries.iter().map(|row| -> Call<'_> { (&INSERT_DELIVERIES, row) }));
        if !keys.key.is_empty() {
            calls.push((&REMEMBER, &remembered));
        }
        while calls.len() > CALLS {
            transaction.all(&calls.drain(..CALLS).collect::<Vec<_>>()).await?;
        }
        if lanes.is_empty() {
            transaction.finish(&calls).await?;
        } else {
            calls.push((&lanes::LOCK, &locked));
            transaction.all(&calls).await?;
            self.ordered.write(&transaction, &mut self.waiting).await?;
            self.waiting.settle(&transaction, max_waiting).await?;
            transaction.commit().await?;
        }
        Ok(self.leaves_work)
    }
}

/// The columns that have room for one more row.
fn last<T: Default>(columns: &mut Vec<T>, rows: impl Fn(&T) -> usize) -> &mut T {
    if columns.last().is_none_or(|last| rows(last) >= ROWS) {
        columns.push(T::default());
    }
    let index = columns.len() - 1;
    &mut columns[index]
}
