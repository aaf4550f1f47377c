//! Accepting a batch: the duplicate checks, the events, their deliveries, in the transaction that makes them durable.

use std::collections::{BTreeMap, HashMap};

use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, EventId},
    policy::Deduplicate,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{
    fresh,
    known::Known,
    lanes::{self, More},
    rows::{SubscriptionKey, integer, receipts, receipts_text},
};
use crate::{
    Limits,
    code::extra_text,
    engine::{Accepted, Batch, Idempotency, NewEvent, Receipt},
    error::{AcceptError, StoreError},
};

/// About the bytes that an event takes up beside its payload, and those of a delivery, indexes included.
const EVENT_SIZE: usize = 256;
const DELIVERY_SIZE: usize = 128;

impl From<rusqlite::Error> for AcceptError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Stores a batch, or finds why not before it has written anything.
pub(super) fn accept(
    transaction: &Transaction<'_>,
    known: &mut Known,
    batch: &Batch,
    limits: Limits,
    now: Timestamp,
) -> Result<Accepted, AcceptError> {
    if let Some(idempotency) = &batch.idempotency
        && let Some(receipts) = earlier_receipts(transaction, idempotency, now)?
    {
        let held = vec![Vec::new(); receipts.len()];
        return Ok(Accepted { receipts, held, replayed: true });
    }
    if known.catalogue_version(transaction)? != batch.catalogue.0 {
        return Err(AcceptError::StaleCatalogue);
    }
    if !known.is_alive(transaction, batch.holder, now)? {
        return Err(AcceptError::LeaseLost);
    }
    check_size(transaction, approximate_size(batch), limits.max_size)?;

    let mut accepted = Accepted { receipts: Vec::new(), held: Vec::new(), replayed: false };
    let mut intake = Intake::new(transaction, known, batch);
    for new in &batch.events {
        if let Some((id, time)) = intake.first_of_content(new, now)? {
            accepted.held.push(Vec::new());
            accepted.receipts.push(Receipt::of(&new.event, 0).duplicate(id, time));
        } else {
            accepted.held.push(intake.store(new)?);
            accepted.receipts.push(Receipt::of(&new.event, new.recipients.len()));
        }
    }
    intake.settle_lanes(limits.max_waiting)?;
    if let Some(idempotency) = &batch.idempotency {
        remember(transaction, idempotency, &accepted.receipts, now)?;
    }
    Ok(accepted)
}

/// Refuses events that would make the file, by so many bytes more, larger than it may be. SQLite's own `max_page_count` would refuse everything from there
/// on, and so the outcomes of what was accepted, which then could never end.
pub(super) fn check_size(connection: &Connection, more: u64, max_size: u64) -> Result<(), StoreError> {
    if max_size == 0 {
        return Ok(());
    }
    let pragma = |sql: &str| -> Result<u64, StoreError> {
        Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(super::rows::natural)?)
    };
    let used = (pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?) * pragma("PRAGMA page_size")?;
    if used + more > max_size {
        return Err(StoreError::Full(format!("{used} bytes of {max_size} are taken")));
    }
    Ok(())
}

fn approximate_size(batch: &Batch) -> u64 {
    let size = |new: &NewEvent| EVENT_SIZE + new.event.payload.get().len() + DELIVERY_SIZE * new.recipients.len();
    u64::try_from(batch.events.iter().map(size).sum::<usize>()).unwrap_or(u64::MAX)
}

fn earlier_receipts(
    connection: &Connection,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Vec<Receipt>>, AcceptError> {
    let earlier: Option<([u8; 32], String)> = connection
        .prepare_cached("SELECT body_digest, receipts FROM idempotency_keys WHERE key = ? AND expires_at > ?")?
        .query_row((&idempotency.key, now.as_millis()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match earlier {
        None => Ok(None),
        Some((digest, _)) if digest != idempotency.body_digest => Err(AcceptError::KeyReused),
        Some((_, text)) => Ok(Some(receipts(&text)?)),
    }
}

fn remember(
    connection: &Connection,
    idempotency: &Idempotency,
    receipts: &[Receipt],
    now: Timestamp,
) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?)")?.execute((
        &idempotency.key,
        idempotency.body_digest,
        receipts_text(receipts)?,
        now.plus(idempotency.remember).as_millis(),
    ))?;
    Ok(())
}

/// Events on their way into the tables.
struct Intake<'t> {
    connection: &'t Connection,
    known: &'t mut Known,
    batch: &'t Batch,
    /// For each lane what more waits.
    waiting: BTreeMap<SubscriptionKey, More>,
    /// Contents met in this batch. What the table says of them was read or written already.
    seen: HashMap<[u8; 16], (EventId, Timestamp)>,
}

impl<'t> Intake<'t> {
    fn new(connection: &'t Connection, known: &'t mut Known, batch: &'t Batch) -> Self {
        Self { connection, known, batch, waiting: BTreeMap::new(), seen: HashMap::new() }
    }

    /// The first event of this content within the window, if this one is not to be sent again. Otherwise this one is the
    /// first from now on, unless it overrides the rule while an earlier one still counts.
    fn first_of_content(&mut self, new: &NewEvent, now: Timestamp) -> Result<Option<(EventId, Timestamp)>, StoreError> {
        let window_begins = match self.batch.deduplicate {
            Deduplicate::Off => return Ok(None),
            Deduplicate::Within(window) => now.minus(window),
            Deduplicate::Forever => Timestamp::from_millis(i64::MIN),
        };
        let md5 = new.event.fingerprint();
        let first = match self.seen.get(&md5) {
            Some(first) => Some(*first),
            None => self
                .connection
                .prepare_cached("SELECT event, first_at FROM fingerprints WHERE md5 = ? AND first_at > ?")?
                .query_row((md5, window_begins.as_millis()), |row| {
                    Ok((EventId::from_bytes(row.get(0)?), Timestamp::from_millis(row.get(1)?)))
                })
                .optional()?,
        };
        if let Some(first) = first {
            self.seen.insert(md5, first);
            return Ok(new.deduplicate.then_some(first));
        }
        let expires_at = match self.batch.deduplicate {
            Deduplicate::Within(window) => Some(new.event.time.plus(window).as_millis()),
            Deduplicate::Off | Deduplicate::Forever => None,
        };
        self.connection.prepare_cached("INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?)")?.execute((
            md5,
            new.event.id.to_bytes(),
            new.event.time.as_millis(),
            expires_at,
        ))?;
        self.seen.insert(md5, (new.event.id, new.event.time));
        Ok(None)
    }

    /// Stores an event and its deliveries; answers those that the holder holds.
    fn store(&mut self, new: &NewEvent) -> Result<Vec<DeliveryId>, StoreError> {
        let event = &new.event;
        let mut next = self.known.next(self.connection)?;
        let key = next.event;
        next.event += 1;
        self.connection.prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute((
            key,
            event.id.to_bytes(),
            event.event_type.as_str(),
            event.time.as_millis(),
            event.md5.to_bytes(),
            integer(next.position),
            i64::try_from(new.recipients.len()).unwrap_or(i64::MAX),
            event.payload.get(),
            &event.key,
            extra_text(event)?,
        ))?;

        let first = next.position;
        let mut lanes = Vec::with_capacity(new.recipients.len());
        let mut held = Vec::with_capacity(new.reserved.len());
        let mut reserved = new.reserved.iter().copied().peekable();
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO deliveries (position, event, subscription, state, due_at, order_group, sequence)
             VALUES (?, ?, ?, 0, ?, ?, ?)",
        )?;
        for (index, recipient) in (0_u32..).zip(new.recipients.iter()) {
            let Some(lane) = self.known.keys.of(self.connection, recipient.subscription)? else {
                return Err(StoreError::Corrupt(format!("{} is not in the catalogue", recipient.subscription)));
            };
            lanes.push(lane);
            let position = next.position;
            next.position += 1;
            if reserved.next_if_eq(&index).is_some() {
                held.push(DeliveryId::from_position(event.time, position));
            } else {
                let position = integer(position);
                let group = new.group(recipient);
                let waits_for_others = match group {
                    Some(group) => lanes::has_earlier(self.connection, lane, group, position)?,
                    None => false,
                };
                let due = (!waits_for_others).then(|| event.due_at().as_millis());
                insert.execute((position, key, lane, due, group, group.map(|_| position)))?;
                self.waiting.entry(lane).or_default().add(due);
            }
        }
        self.known.go_on_at(next);
        if let Some(lane) = lanes.first() {
            let holder = (!held.is_empty()).then_some(self.batch.holder);
            let fresh = fresh::keep(self.connection, integer(first), key, holder, &lanes)?;
            self.known.listing.add(fresh, &new.reserved, *lane);
        }
        Ok(held)
    }

    fn settle_lanes(self, max_waiting: u64) -> Result<(), StoreError> {
        for (lane, more) in self.waiting {
            lanes::add_waiting(self.connection, lane, more, max_waiting)?;
        }
        Ok(())
    }
}
