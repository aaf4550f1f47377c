//! Values as PostgreSQL keeps them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    event::{Event, EventType},
    id::{AccountId, EventId, NoticeId, SubscriptionId},
    sealing::Sealed,
    subscription::{Health, Subscription},
    token::AccessToken,
};
use serde_json::value::RawValue;
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};
use uuid::Uuid;

use super::pool::{Pool, Statement};
pub(super) use crate::code::{integer, natural, options_text, state_code, state_of};
use crate::{
    catalogue::SubscriptionStatus,
    code::{extra, options, patterns, scope, token_name, url},
    engine::Receipt,
    error::StoreError,
};

/// The number under which tables name a subscription.
pub(super) type SubscriptionKey = i64;

pub(super) fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row, at: usize) -> Result<Timestamp, StoreError> {
    get(row, at).map(Timestamp::from_millis)
}

pub(super) fn optional_time(row: &Row, at: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, at)?.map(Timestamp::from_millis))
}

/// Reads a column. What is not of its type is no row of ours.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The only column of the only row.
pub(super) fn single<T: for<'a> FromSql<'a>>(rows: &[Row]) -> Result<T, StoreError> {
    get(rows.first().ok_or(StoreError::NotFound)?, 0)
}

macro_rules! ids {
    ($($read:ident: $id:ty),*) => {$(
        pub(super) fn $read(row: &Row, at: usize) -> Result<$id, StoreError> {
            Ok(<$id>::from_bytes(get::<Uuid>(row, at)?.into_bytes()))
        }
    )*};
}
ids!(account_id: AccountId, subscription_id: SubscriptionId, event_id: EventId, notice_id: NoticeId);

/// Reads a token's `name, scope, created_at, expires_at` from column `at` on.
pub(super) fn token(row: &Row, at: usize) -> Result<AccessToken, StoreError> {
    Ok(AccessToken {
        name: token_name(get(row, at)?)?,
        scope: scope(get(row, at + 1)?)?,
        created_at: time(row, at + 2)?,
        expires_at: optional_time(row, at + 3)?,
    })
}

/// An id as a parameter.
pub(super) fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

/// Reads `id, user_id, user_email, created_at` from column `at` on.
pub(super) fn account(row: &Row, at: usize) -> Result<Account, StoreError> {
    Ok(Account {
        id: account_id(row, at)?,
        user_id: get(row, at + 1)?,
        user_email: get(row, at + 2)?,
        created_at: time(row, at + 3)?,
    })
}

/// What [`subscription_status`] reads. `s` is the subscription, `a` its account, `l` its lane.
macro_rules! select_status {
    ($rest:literal) => {
        concat!(
            "SELECT s.key, s.id, a.id, a.user_id, s.event, s.url, s.secret, s.is_active, s.created_at, s.options, s.version, ",
            "l.waiting, l.expired, s.deleted_at, l.failure_count, l.failing_since, l.failed_at, l.probe_at, l.recovered_at ",
            "FROM hookcast.subscriptions s ",
            "JOIN hookcast.accounts a ON a.key = s.account JOIN hookcast.lanes l ON l.subscription = s.key ",
            $rest
        )
    };
}
pub(super) use select_status;

pub(super) fn subscription_status(row: &Row) -> Result<SubscriptionStatus, StoreError> {
    let subscription = Subscription {
        id: subscription_id(row, 1)?,
        account: account_id(row, 2)?,
        user_id: get(row, 3)?,
        events: patterns(get(row, 4)?)?,
        url: url(get(row, 5)?),
        options: options(get(row, 9)?)?,
        secrets: Sealed::from_bytes(get(row, 6)?),
        is_active: get(row, 7)?,
        health: health(row, 14)?,
        created_at: time(row, 8)?,
        version: natural(get(row, 10)?),
    };
    Ok(SubscriptionStatus { subscription, waiting: natural(get(row, 11)?), expired: natural(get(row, 12)?) })
}

/// Reads `failure_count, failing_since, failed_at, probe_at, recovered_at` from column `at` on.
pub(super) fn health(row: &Row, at: usize) -> Result<Health, StoreError> {
    Ok(Health {
        failure_count: failures(row, at)?,
        failing_since: optional_time(row, at + 1)?,
        failed_at: optional_time(row, at + 2)?,
        probe_at: optional_time(row, at + 3)?,
        recovered_at: optional_time(row, at + 4)?,
    })
}

/// Reads a number of failures.
pub(super) fn failures(row: &Row, at: usize) -> Result<u32, StoreError> {
    Ok(u32::try_from(get::<i64>(row, at)?).unwrap_or(u32::MAX))
}

fn event_type(text: &str) -> Result<EventType, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an event type is malformed".into()))
}

/// Reads `id, type, time, md5, payload, order_key, extra::text` from column `at` on.
pub(super) fn event(row: &Row, at: usize) -> Result<Event, StoreError> {
    Ok(Event {
        id: event_id(row, at)?,
        event_type: event_type(get(row, at + 1)?)?,
        time: time(row, at + 2)?,
        md5: ContentMd5::from_bytes(md5(row, at + 3)?),
        payload: RawValue::from_string(get(row, at + 4)?)
            .map_err(|_| StoreError::Corrupt("an event's payload is no JSON".into()))?,
        key: get(row, at + 5)?,
        extra: extra(get(row, at + 6)?)?,
    })
}

pub(super) fn md5(row: &Row, at: usize) -> Result<[u8; 16], StoreError> {
    get::<&[u8]>(row, at)?.try_into().map_err(|_| StoreError::Corrupt("an md5 has not 16 bytes".into()))
}

/// Reads the receipts of an idempotency key.
pub(super) fn receipts(text: &str) -> Result<Vec<Receipt>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("an idempotency key's receipts: {error}")))
}

/// How the receipts of an idempotency key are kept.
pub(super) fn receipts_text(receipts: &[Receipt]) -> Result<String, StoreError> {
    serde_json::to_string(receipts).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The keys of subscriptions, which never change.
#[derive(Default)]
pub(super) struct Keys {
    known: RwLock<HashMap<SubscriptionId, SubscriptionKey>>,
}

const KEYS: Statement =
    Statement { sql: "SELECT key, id FROM hookcast.subscriptions WHERE id = ANY($1)", types: &[Type::UUID_ARRAY] };

impl Keys {
    /// The keys of these subscriptions, the deleted ones included; none for one that never was.
    pub(super) async fn of(
        &self,
        pool: &Pool,
        ids: &[SubscriptionId],
    ) -> Result<HashMap<SubscriptionId, SubscriptionKey>, StoreError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            for id in ids {
                match known.get(id) {
                    Some(key) => drop(found.insert(*id, *key)),
                    None => missing.push(uuid(id.to_bytes())),
                }
            }
        }
        if !missing.is_empty() {
            for row in pool.query(&KEYS, &[&missing]).await? {
                let (key, id) = (get(&row, 0)?, subscription_id(&row, 1)?);
                found.insert(id, key);
                self.learn(id, key);
            }
        }
        Ok(found)
    }

    pub(super) fn learn(&self, id: SubscriptionId, key: SubscriptionKey) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(id, key);
    }
}
