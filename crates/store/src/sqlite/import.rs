//! What the store takes in from another one.

use std::collections::BTreeMap;

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::{AccountId, EventId},
};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{
    access,
    catalogue::next_version,
    documents,
    lanes::{self, More},
    outcomes::{FirstAttempt, insert_attempt},
    rows::{Keys, SubscriptionKey, integer, options_text, receipts_text, state_code},
};
use crate::{
    code::{extra_text, url_text},
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, DocumentItem, EventItem, FingerprintItem, IdempotencyKeyItem, Item, NoticeItem,
        SubscriptionItem, TokenItem,
    },
};

/// Items on their way into the tables.
pub(super) struct Import<'t> {
    transaction: &'t Transaction<'t>,
    keys: Keys,
    /// The event that the last delivery belonged to, and its key: an event's deliveries follow each other.
    event: Option<(EventId, i64)>,
    /// For each lane what more waits.
    waiting: BTreeMap<SubscriptionKey, More>,
}

impl<'t> Import<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>) -> Self {
        Self { transaction, keys: Keys::default(), event: None, waiting: BTreeMap::new() }
    }

    /// Stores an item unless it is there.
    pub(super) fn store(&mut self, item: &Item) -> Result<(), StoreError> {
        match item {
            Item::Account(item) => self.account(item),
            Item::Token(item) => self.token(item),
            Item::Subscription(item) => self.subscription(item),
            Item::Event(item) => self.event(item),
            Item::Delivery(item) => self.delivery(item),
            Item::Fingerprint(item) => self.fingerprint(item),
            Item::IdempotencyKey(item) => self.idempotency_key(item),
            Item::Notice(item) => self.notice(item),
            Item::Document(item) => self.document(item),
        }
    }

    /// Notes in the lanes what waits. However much that is, none of it expires: the copy must be like its source.
    pub(super) fn settle_lanes(self) -> Result<(), StoreError> {
        for (lane, more) in self.waiting {
            lanes::add_waiting(self.transaction, lane, more, u64::MAX)?;
        }
        Ok(())
    }

    fn account(&self, item: &AccountItem) -> Result<(), StoreError> {
        let AccountItem { account, deleted_at } = item;
        self.transaction
            .prepare_cached(
                "INSERT INTO accounts (id, user_id, user_email, token_hash, created_at, deleted_at)
                 VALUES (?1, ?2, ?3, ?1, ?4, ?5)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute((
                account.id.to_bytes(),
                &account.user_id,
                &account.user_email,
                account.created_at.as_millis(),
                deleted_at.map(Timestamp::as_millis),
            ))?;
        Ok(())
    }

    fn token(&self, item: &TokenItem) -> Result<(), StoreError> {
        let account = self.account_key(item.account)?;
        let is_there = self
            .transaction
            .prepare_cached("SELECT 1 FROM tokens WHERE account = ? AND name = ? AND hash = ?")?
            .exists((account, item.token.name.as_str(), item.hash.to_bytes()))?;
        if is_there { Ok(()) } else { access::insert(self.transaction, account, &item.token, item.hash) }
    }

    fn account_key(&self, id: AccountId) -> Result<i64, StoreError> {
        self.transaction
            .prepare_cached("SELECT key FROM accounts WHERE id = ?")?
            .query_row([id.to_bytes()], |row| row.get(0))
            .optional()?
            .ok_or_else(|| missing(&id))
    }

    fn subscription(&self, item: &SubscriptionItem) -> Result<(), StoreError> {
        let SubscriptionItem { subscription, deleted_at, expired } = item;
        if Keys::default().of(self.transaction, subscription.id)?.is_some() {
            return Ok(());
        }
        let account = self.account_key(subscription.account)?;
        self.transaction
            .prepare_cached(
                "INSERT INTO subscriptions (id, account, event, url, options, secret, is_active, failure_count,
                     failing_since, failed_at, recovered_at, created_at, deleted_at, version)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                subscription.id.to_bytes(),
                account,
                subscription.events.to_string(),
                url_text(subscription),
                options_text(&subscription.options)?,
                subscription.secrets.as_bytes(),
                subscription.is_active,
                subscription.health.failure_count,
                subscription.health.failing_since.map(Timestamp::as_millis),
                subscription.health.failed_at.map(Timestamp::as_millis),
                subscription.health.recovered_at.map(Timestamp::as_millis),
                subscription.created_at.as_millis(),
                deleted_at.map(|time| time.as_millis()),
                next_version(self.transaction)?,
            ))?;
        self.transaction
            .prepare_cached("INSERT INTO lanes (subscription, parked, expired, probe_at) VALUES (?, ?, ?, ?)")?
            .execute((
                self.transaction.last_insert_rowid(),
                !subscription.is_active,
                integer(*expired),
                subscription.health.probe_at.map(Timestamp::as_millis),
            ))?;
        Ok(())
    }

    fn event(&self, item: &EventItem) -> Result<(), StoreError> {
        let EventItem { event, first_delivery, deliveries } = item;
        self.transaction
            .prepare_cached(
                "INSERT INTO events (id, type, time, md5, first_delivery, deliveries, payload, order_key, extra)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute((
                event.id.to_bytes(),
                event.event_type.as_str(),
                event.time.as_millis(),
                event.md5.to_bytes(),
                integer(*first_delivery),
                integer(*deliveries),
                event.payload.get(),
                &event.key,
                extra_text(event)?,
            ))?;
        Ok(())
    }

    fn delivery(&mut self, item: &DeliveryItem) -> Result<(), StoreError> {
        let event = self.event_key(item.event)?;
        let lane = self.keys.of(self.transaction, item.subscription)?.ok_or_else(|| missing(&item.subscription))?;
        let position = integer(item.id.position());
        let due = item.due_at.map(|time| time.as_millis());
        let first = item.attempts.first().and_then(FirstAttempt::of);
        let inserted = self
            .transaction
            .prepare_cached(
                "INSERT INTO deliveries (position, event, subscription, state, attempts, due_at, order_group, sequence,
                     tried_at, latency_ms, status, answer)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (position) DO NOTHING",
            )?
            .execute((
                position,
                event,
                lane,
                state_code(item.state),
                item.attempts.last().map_or(0, |attempt| attempt.number),
                due,
                item.place.map(|place| place.group),
                item.place.map(|place| integer(place.sequence)),
                first.map(|first| first.time.as_millis()),
                first.map(|first| first.latency_ms),
                first.map(|first| first.answer.status),
                first.map(|first| &first.answer.excerpt),
            ))?;
        if inserted == 0 {
            return Ok(());
        }
        self.transaction.prepare_cached("INSERT INTO listed VALUES (?, ?)")?.execute([lane, position])?;
        for attempt in item.attempts.iter().skip(usize::from(first.is_some())) {
            insert_attempt(self.transaction, position, attempt)?;
        }
        if item.state == DeliveryState::Waiting {
            self.waiting.entry(lane).or_default().add(due);
        }
        Ok(())
    }

    fn event_key(&mut self, id: EventId) -> Result<i64, StoreError> {
        if let Some((last, key)) = self.event
            && last == id
        {
            return Ok(key);
        }
        let key = event_key(self.transaction, id)?.ok_or_else(|| missing(&id))?;
        self.event = Some((id, key));
        Ok(key)
    }

    fn fingerprint(&self, item: &FingerprintItem) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached("INSERT INTO fingerprints VALUES (?, ?, ?, ?) ON CONFLICT (md5) DO NOTHING")?
            .execute((
            item.md5.to_bytes(),
            item.event.to_bytes(),
            item.first_at.as_millis(),
            item.expires_at.map(|time| time.as_millis()),
        ))?;
        Ok(())
    }

    fn idempotency_key(&self, item: &IdempotencyKeyItem) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached("INSERT INTO idempotency_keys VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING")?
            .execute((&item.key, item.body_digest, receipts_text(&item.receipts)?, item.expires_at.as_millis()))?;
        Ok(())
    }

    fn document(&self, item: &DocumentItem) -> Result<(), StoreError> {
        let DocumentItem { kind, name, body } = item;
        if documents::present(self.transaction, *kind, name)?.is_none() {
            documents::put(self.transaction, *kind, name, body)?;
        }
        Ok(())
    }

    fn notice(&mut self, item: &NoticeItem) -> Result<(), StoreError> {
        let subscription =
            self.keys.of(self.transaction, item.subscription)?.ok_or_else(|| missing(&item.subscription))?;
        self.transaction
            .prepare_cached(
                "INSERT INTO notices
                     (id, subscription, kind, time, reason, failure_count, failing_since, due_at, mail_begun)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            )?
            .execute((
                item.id.to_bytes(),
                subscription,
                item.kind.as_str(),
                item.time.as_millis(),
                &item.reason,
                item.failure_count,
                item.failing_since.map(Timestamp::as_millis),
                item.due_at.as_millis(),
                item.mail_begun,
            ))?;
        Ok(())
    }
}

fn event_key(connection: &Connection, id: EventId) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT key FROM events WHERE id = ?")?
        .query_row([id.to_bytes()], |row| row.get(0))
        .optional()?)
}

fn missing(id: &impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("an item refers to {id}, which is not there"))
}
