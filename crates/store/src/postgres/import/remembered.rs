//! What is imported besides the catalogue and the history.

use std::collections::HashMap;

use hookcast_core::{clock::Timestamp, id::SubscriptionId};
use tokio_postgres::types::{ToSql, Type};

use super::{column, missing};
use crate::{
    error::StoreError,
    postgres::{
        documents,
        pool::{Statement, Transaction},
        rows::{SubscriptionKey, receipts_text, uuid},
    },
    transfer::{DocumentItem, FingerprintItem, IdempotencyKeyItem, NoticeItem},
};

const INSERT_FINGERPRINTS: Statement = Statement {
    sql: "INSERT INTO hookcast.fingerprints (md5, event, first_at, expires_at)
          SELECT * FROM unnest($1::bytea[], $2::uuid[], $3::int8[], $4::int8[]) ON CONFLICT (md5) DO NOTHING",
    types: &[Type::BYTEA_ARRAY, Type::UUID_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY],
};
const INSERT_KEYS: Statement = Statement {
    sql: "INSERT INTO hookcast.idempotency_keys (key, body_digest, receipts, expires_at)
          SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::int8[]) ON CONFLICT (key) DO NOTHING",
    types: &[Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY],
};
const INSERT_NOTICES: Statement = Statement {
    sql: "INSERT INTO hookcast.notices
              (id, subscription, kind, time, reason, failure_count, failing_since, due_at, mail_begun)
          SELECT * FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::int8[], $7::int8[],
              $8::int8[], $9::bool[]) ON CONFLICT (id) DO NOTHING",
    types: &[
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::BOOL_ARRAY,
    ],
};
pub(super) async fn fingerprints(transaction: &Transaction, items: &[&FingerprintItem]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let contents = column(items, |item| item.md5.to_bytes().to_vec());
    let events = column(items, |item| uuid(item.event.to_bytes()));
    let firsts = column(items, |item| item.first_at.as_millis());
    let expiries = column(items, |item| item.expires_at.map(|time| time.as_millis()));
    transaction.query(&INSERT_FINGERPRINTS, &[&contents, &events, &firsts, &expiries]).await.map(drop)
}

pub(super) async fn idempotency_keys(
    transaction: &Transaction,
    items: &[&IdempotencyKeyItem],
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let keys = column(items, |item| item.key.as_str());
    let digests = column(items, |item| item.body_digest.as_slice());
    let receipts: Vec<String> = items.iter().map(|item| receipts_text(&item.receipts)).collect::<Result<_, _>>()?;
    let expiries = column(items, |item| item.expires_at.as_millis());
    transaction.query(&INSERT_KEYS, &[&keys, &digests, &receipts, &expiries]).await.map(drop)
}

pub(super) async fn notices(
    transaction: &Transaction,
    items: &[&NoticeItem],
    keys: &HashMap<SubscriptionId, SubscriptionKey>,
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let key = |id: SubscriptionId| keys.get(&id).copied().ok_or_else(|| missing(&id));
    let subscriptions: Vec<_> = items.iter().map(|item| key(item.subscription)).collect::<Result<_, _>>()?;
    let ids = column(items, |item| uuid(item.id.to_bytes()));
    let kinds = column(items, |item| item.kind.as_str());
    let times = column(items, |item| item.time.as_millis());
    let reasons = column(items, |item| item.reason.as_str());
    let failures = column(items, |item| i64::from(item.failure_count));
    let failing = column(items, |item| item.failing_since.map(Timestamp::as_millis));
    let dues = column(items, |item| item.due_at.as_millis());
    let begun = column(items, |item| item.mail_begun);
    let columns: [&(dyn ToSql + Sync); 9] =
        [&ids, &subscriptions, &kinds, &times, &reasons, &failures, &failing, &dues, &begun];
    transaction.query(&INSERT_NOTICES, &columns).await.map(drop)
}

/// Stores documents one by one: they are few, and each takes a version of its kind.
pub(super) async fn documents(transaction: &Transaction, items: &[&DocumentItem]) -> Result<(), StoreError> {
    for DocumentItem { kind, name, body } in items {
        let (version, present) = documents::change(transaction, *kind, name).await?;
        if present.is_none() {
            documents::write(transaction, *kind, name, version, body).await?;
        }
    }
    Ok(())
}
