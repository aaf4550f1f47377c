//! Values as SQLite keeps them.

use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    event::{Event, EventType},
    id::{AccountId, EventId, IdMap, SubscriptionId},
    sealing::Sealed,
    subscription::{Health, Subscription},
    token::AccessToken,
};
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::value::RawValue;

pub(super) use crate::code::{integer, natural, options, options_text, patterns, state_code, state_of};
use crate::{
    catalogue::SubscriptionStatus,
    code::{extra, scope, token_name, url},
    engine::Receipt,
    error::StoreError,
};

/// The number under which tables name a subscription.
pub(super) type SubscriptionKey = i64;

pub(super) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

/// The keys of subscriptions, looked up once for each job.
#[derive(Default)]
pub(super) struct Keys(IdMap<SubscriptionId, Option<SubscriptionKey>>);

impl Keys {
    /// The key of a subscription, the deleted ones included.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionKey>, StoreError> {
        if let Some(key) = self.0.get(&id) {
            return Ok(*key);
        }
        let key = connection
            .prepare_cached("SELECT key FROM subscriptions WHERE id = ?")?
            .query_row([id.to_bytes()], |row| row.get(0))
            .optional()?;
        self.0.insert(id, key);
        Ok(key)
    }
}

/// Reads `id, user_id, user_email, created_at` from column `at` on.
pub(super) fn account(row: &Row<'_>, at: usize) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId::from_bytes(row.get(at)?),
        user_id: row.get(at + 1)?,
        user_email: row.get(at + 2)?,
        created_at: Timestamp::from_millis(row.get(at + 3)?),
    })
}

/// Reads a token's `name, scope, created_at, expires_at` from column `at` on.
pub(super) fn token(row: &Row<'_>, at: usize) -> Result<AccessToken, StoreError> {
    Ok(AccessToken {
        name: token_name(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?)?,
        scope: scope(row.get_ref(at + 1)?.as_str().map_err(rusqlite::Error::from)?)?,
        created_at: Timestamp::from_millis(row.get(at + 2)?),
        expires_at: time(row, at + 3)?,
    })
}

/// What [`subscription_status`] reads. `s` is the subscription, `a` its account, `l` its lane.
pub(super) const STATUS_COLUMNS: &str = "s.id, a.id, a.user_id, s.event, s.url, s.secret, s.is_active, s.failure_count, \
     s.failing_since, s.created_at, s.failed_at, l.probe_at, s.recovered_at, s.options, s.version, l.waiting, l.expired";

/// How many columns these are.
pub(super) const STATUS_WIDTH: usize = 17;

/// The tables of [`STATUS_COLUMNS`].
pub(super) const STATUS_TABLES: &str =
    "subscriptions s JOIN accounts a ON a.key = s.account JOIN lanes l ON l.subscription = s.key";

pub(super) fn subscription_status(row: &Row<'_>) -> Result<SubscriptionStatus, StoreError> {
    let subscription = Subscription {
        id: SubscriptionId::from_bytes(row.get(0)?),
        account: AccountId::from_bytes(row.get(1)?),
        user_id: row.get(2)?,
        events: patterns(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
        url: url(row.get(4)?),
        secrets: Sealed::from_bytes(row.get(5)?),
        is_active: row.get(6)?,
        health: Health {
            failure_count: row.get(7)?,
            failing_since: time(row, 8)?,
            failed_at: time(row, 10)?,
            probe_at: time(row, 11)?,
            recovered_at: time(row, 12)?,
        },
        created_at: Timestamp::from_millis(row.get(9)?),
        options: options(row.get_ref(13)?.as_str().map_err(rusqlite::Error::from)?)?,
        version: natural(row.get(14)?),
    };
    Ok(SubscriptionStatus { subscription, waiting: natural(row.get(15)?), expired: natural(row.get(16)?) })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

fn event_type(text: &str) -> Result<EventType, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an event type is malformed".into()))
}

/// Reads `id, type, time, md5, payload, key, extra` from column `at` on.
pub(super) fn event(row: &Row<'_>, at: usize) -> Result<Event, StoreError> {
    Ok(Event {
        id: EventId::from_bytes(row.get(at)?),
        event_type: event_type(row.get_ref(at + 1)?.as_str().map_err(rusqlite::Error::from)?)?,
        time: Timestamp::from_millis(row.get(at + 2)?),
        md5: ContentMd5::from_bytes(row.get(at + 3)?),
        payload: RawValue::from_string(row.get(at + 4)?)
            .map_err(|_| StoreError::Corrupt("an event's payload is no JSON".into()))?,
        key: row.get(at + 5)?,
        extra: extra(row.get_ref(at + 6)?.as_str_or_null().map_err(rusqlite::Error::from)?)?,
    })
}

/// Reads the receipts of an idempotency key.
pub(super) fn receipts(text: &str) -> Result<Vec<Receipt>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("an idempotency key's receipts: {error}")))
}

/// How the receipts of an idempotency key are kept.
pub(super) fn receipts_text(receipts: &[Receipt]) -> Result<String, StoreError> {
    serde_json::to_string(receipts).map_err(|error| StoreError::Corrupt(error.to_string()))
}
