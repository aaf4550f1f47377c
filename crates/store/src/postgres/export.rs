//! What the store gives away, a part of a section at a time.

use std::str::FromStr;

use hookcast_core::{canonical::ContentMd5, delivery::DeliveryState, id::DeliveryId, token::TokenHash};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    log, notices,
    pool::{Pool, Statement},
    rows::{
        self, account_id, event_id, failures, get, md5, natural, notice_id, optional_time, receipts, select_status,
        state_of, subscription_id, subscription_status, time,
    },
};
use crate::{
    catalogue::SubscriptionStatus,
    documents::Kind,
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, DocumentItem, EventItem, Exported, FingerprintItem, IdempotencyKeyItem, Item,
        NoticeItem, Place, PlaceInOrder, Portion, Section, SubscriptionItem, TokenItem,
    },
};

/// At most `$1` rows, and no more once their sizes come to `$2` bytes: the server sends nothing that there is no room for.
macro_rules! bounded {
    ($columns:literal, $rows:literal, $key:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT r.*, sum(size) OVER (ORDER BY ",
            $key,
            ") - size AS bytes_before FROM (SELECT ",
            $rows,
            " ORDER BY ",
            $key,
            " LIMIT $1) r) r WHERE bytes_before < $2 ORDER BY ",
            $key
        )
    };
}

const ACCOUNTS: Statement = Statement {
    sql: "SELECT key, id, user_id, user_email, created_at, deleted_at FROM hookcast.accounts
          WHERE key > $2 ORDER BY key LIMIT $1",
    types: &[Type::INT8, Type::INT8],
};
const TOKENS: Statement = Statement {
    sql: "SELECT t.key, a.id, t.name, t.scope, t.created_at, t.expires_at, t.hash
          FROM hookcast.tokens t JOIN hookcast.accounts a ON a.key = t.account
          WHERE t.key > $2 ORDER BY t.key LIMIT $1",
    types: &[Type::INT8, Type::INT8],
};
const SUBSCRIPTIONS: Statement =
    Statement { sql: select_status!("WHERE s.key > $2 ORDER BY s.key LIMIT $1"), types: &[Type::INT8, Type::INT8] };
const EVENTS: Statement = Statement {
    sql: bounded!(
        "id, type, time, md5, payload, order_key, extra::text, first_delivery, deliveries",
        "*, octet_length(payload) AS size FROM hookcast.events WHERE (time, id) > ($3, $4) AND time >= $3",
        "time, id"
    ),
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::UUID],
};
/// Those that are left to do and those that have ended, one list in the order of their events. Of one that is sent the sequence of
/// the first one in its group, which may be it.
const DELIVERIES: Statement = Statement {
    sql: bounded!(
        "time, position, event, id, state, due_at, is_deleted, log, order_group, sequence, head",
        "d.*, s.id, s.deleted_at IS NOT NULL AS is_deleted, octet_length(d.log) AS size,
             CASE WHEN d.state = 1 THEN (
                 SELECT u.sequence FROM hookcast.unfinished u
                 WHERE u.subscription = d.subscription AND u.order_group = d.order_group
                 ORDER BY u.subscription, u.order_group, u.sequence LIMIT 1) END AS head
         FROM (
             (SELECT time, position, subscription, event, CASE WHEN holder IS NULL THEN 0 ELSE 1 END::int2 AS state,
                  due_at, log, order_group, sequence
              FROM hookcast.unfinished WHERE (time, position) > ($3, $4) AND time >= $3 ORDER BY time, position LIMIT $1)
             UNION ALL
             (SELECT time, position, subscription, event, state, NULL::int8, log, NULL::int8, NULL::int8
              FROM hookcast.finished WHERE (time, position) > ($3, $4) AND time >= $3 ORDER BY time, position LIMIT $1)
         ) d JOIN hookcast.subscriptions s ON s.key = d.subscription",
        "time, position"
    ),
    types: &[Type::INT8, Type::INT8, Type::INT8, Type::INT8],
};
const FINGERPRINTS: Statement = Statement {
    sql: "SELECT md5, event, first_at, expires_at FROM hookcast.fingerprints WHERE md5 > $2 ORDER BY md5 LIMIT $1",
    types: &[Type::INT8, Type::BYTEA],
};
const IDEMPOTENCY_KEYS: Statement = Statement {
    sql: bounded!(
        "key, body_digest, receipts, expires_at",
        "*, octet_length(receipts) AS size FROM hookcast.idempotency_keys WHERE key > $3",
        "key"
    ),
    types: &[Type::INT8, Type::INT8, Type::TEXT],
};

const NOTICES: Statement = Statement {
    sql: "SELECT n.key, n.id, s.id, n.kind, n.time, n.reason, n.failure_count, n.failing_since, n.due_at, n.mail_begun
          FROM hookcast.notices n JOIN hookcast.subscriptions s ON s.key = n.subscription
          WHERE n.key > $2 ORDER BY n.key LIMIT $1",
    types: &[Type::INT8, Type::INT8],
};
const DOCUMENTS: Statement = Statement {
    sql: bounded!(
        "key, kind, name, body",
        "*, octet_length(body) AS size FROM hookcast.documents WHERE key > $3",
        "key"
    ),
    types: &[Type::INT8, Type::INT8, Type::INT8],
};

/// Reads a part of a section. A place is the key of the last row that was read. A part that has items is followed by another
/// one, be it empty.
pub(super) async fn export(
    pool: &Pool,
    section: Section,
    after: Option<Place>,
    portion: Portion,
) -> Result<Exported, StoreError> {
    let mut exported = Exported { items: Vec::new(), next: None };
    let mut bytes = 0;
    for row in &read(pool, section, after, portion).await? {
        let (place, item) = item(section, row)?;
        bytes += item.size();
        exported.items.push(item);
        exported.next = Some(Place(place));
        if portion.is_filled_by(exported.items.len(), bytes) {
            break;
        }
    }
    Ok(exported)
}

async fn read(pool: &Pool, section: Section, after: Option<Place>, portion: Portion) -> Result<Vec<Row>, StoreError> {
    let limit = i64::try_from(portion.items).unwrap_or(i64::MAX);
    let bytes = i64::try_from(portion.bytes).unwrap_or(i64::MAX);
    let wrong = || StoreError::Corrupt(format!("a place among the {section} makes no sense"));
    let after = after.as_ref().map(|Place(text)| text.as_str());
    match section {
        Section::Accounts | Section::Tokens | Section::Subscriptions | Section::Notices => {
            let key: i64 = after.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
            let statement = match section {
                Section::Accounts => &ACCOUNTS,
                Section::Tokens => &TOKENS,
                Section::Notices => &NOTICES,
                _ => &SUBSCRIPTIONS,
            };
            pool.query(statement, &[&limit, &key]).await
        }
        Section::Events => {
            let (time, id) = after.map_or(Some((i64::MIN, Uuid::nil())), pair).ok_or_else(wrong)?;
            pool.query(&EVENTS, &[&limit, &bytes, &time, &id]).await
        }
        Section::Deliveries => {
            let (time, position) = after.map_or(Some((i64::MIN, 0_i64)), pair).ok_or_else(wrong)?;
            pool.query(&DELIVERIES, &[&limit, &bytes, &time, &position]).await
        }
        Section::Fingerprints => {
            let number = after.map(|hex| u128::from_str_radix(hex, 16)).transpose().map_err(|_| wrong())?;
            let md5 = number.map_or(Vec::new(), |number| number.to_be_bytes().to_vec());
            pool.query(&FINGERPRINTS, &[&limit, &md5]).await
        }
        Section::Documents => {
            let key: i64 = after.map_or(Ok(0), str::parse).map_err(|_| wrong())?;
            pool.query(&DOCUMENTS, &[&limit, &bytes, &key]).await
        }
        Section::IdempotencyKeys => pool.query(&IDEMPOTENCY_KEYS, &[&limit, &bytes, &after.unwrap_or_default()]).await,
    }
}

/// Reads a time and what follows it.
fn pair<T: FromStr>(place: &str) -> Option<(i64, T)> {
    let (time, rest) = place.split_once(' ')?;
    Some((time.parse().ok()?, rest.parse().ok()?))
}

/// The item of a row, and its place.
fn item(section: Section, row: &Row) -> Result<(String, Item), StoreError> {
    Ok(match section {
        Section::Accounts => (get::<i64>(row, 0)?.to_string(), account(row)?),
        Section::Tokens => (get::<i64>(row, 0)?.to_string(), token(row)?),
        Section::Subscriptions => (get::<i64>(row, 0)?.to_string(), subscription(row)?),
        Section::Events => (format!("{} {}", get::<i64>(row, 2)?, get::<Uuid>(row, 0)?), event(row)?),
        Section::Deliveries => (format!("{} {}", get::<i64>(row, 0)?, get::<i64>(row, 1)?), delivery(row)?),
        Section::Fingerprints => (ContentMd5::from_bytes(md5(row, 0)?).to_string(), fingerprint(row)?),
        Section::IdempotencyKeys => (get(row, 0)?, idempotency_key(row)?),
        Section::Notices => (get::<i64>(row, 0)?.to_string(), notice(row)?),
        Section::Documents => (get::<i64>(row, 0)?.to_string(), document(row)?),
    })
}

fn account(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Account(AccountItem { account: rows::account(row, 1)?, deleted_at: optional_time(row, 5)? }))
}

fn token(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Token(TokenItem {
        account: account_id(row, 1)?,
        token: rows::token(row, 2)?,
        hash: TokenHash::from_bytes(digest(row, 6)?),
    }))
}

fn subscription(row: &Row) -> Result<Item, StoreError> {
    let SubscriptionStatus { mut subscription, expired, .. } = subscription_status(row)?;
    subscription.version = 0;
    Ok(Item::Subscription(SubscriptionItem { subscription, deleted_at: optional_time(row, 13)?, expired }))
}

fn event(row: &Row) -> Result<Item, StoreError> {
    let (first_delivery, deliveries) = (natural(get(row, 7)?), natural(get(row, 8)?));
    Ok(Item::Event(EventItem { event: rows::event(row, 0)?, first_delivery, deliveries }))
}

fn delivery(row: &Row) -> Result<Item, StoreError> {
    let event_time = time(row, 0)?;
    let (state, due_at) = match (state_of(get(row, 4)?)?, get(row, 6)?) {
        (DeliveryState::Sending, true) => (DeliveryState::Cancelled, None),
        (DeliveryState::Sending, false) if waits_for_others(row)? => (DeliveryState::Waiting, None),
        (DeliveryState::Sending, false) => (DeliveryState::Waiting, Some(event_time)),
        (state, _) => (state, optional_time(row, 5)?),
    };
    let place = match (state, get(row, 8)?) {
        (DeliveryState::Waiting, Some(group)) => Some(PlaceInOrder { group, sequence: natural(get(row, 9)?) }),
        _ => None,
    };
    Ok(Item::Delivery(DeliveryItem {
        id: DeliveryId::from_position(event_time, natural(get(row, 1)?)),
        event: event_id(row, 2)?,
        subscription: subscription_id(row, 3)?,
        state,
        due_at,
        place,
        attempts: log::read(get(row, 7)?)?,
    }))
}

/// Whether one that is sent comes after others of its group that have not ended.
fn waits_for_others(row: &Row) -> Result<bool, StoreError> {
    let (sequence, head): (Option<i64>, Option<i64>) = (get(row, 9)?, get(row, 10)?);
    Ok(head < sequence)
}

fn fingerprint(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Fingerprint(FingerprintItem {
        md5: ContentMd5::from_bytes(md5(row, 0)?),
        event: event_id(row, 1)?,
        first_at: time(row, 2)?,
        expires_at: optional_time(row, 3)?,
    }))
}

fn idempotency_key(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::IdempotencyKey(IdempotencyKeyItem {
        key: get(row, 0)?,
        body_digest: digest(row, 1)?,
        receipts: receipts(get(row, 2)?)?,
        expires_at: time(row, 3)?,
    }))
}

fn notice(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Notice(NoticeItem {
        id: notice_id(row, 1)?,
        subscription: subscription_id(row, 2)?,
        kind: notices::kind(row, 3)?,
        time: time(row, 4)?,
        reason: get(row, 5)?,
        failure_count: failures(row, 6)?,
        failing_since: optional_time(row, 7)?,
        due_at: time(row, 8)?,
        mail_begun: get(row, 9)?,
    }))
}

fn digest(row: &Row, at: usize) -> Result<[u8; 32], StoreError> {
    get::<&[u8]>(row, at)?.try_into().map_err(|_| StoreError::Corrupt("a digest has not 32 bytes".into()))
}

fn document(row: &Row) -> Result<Item, StoreError> {
    Ok(Item::Document(DocumentItem { kind: Kind::read(get(row, 1)?)?, name: get(row, 2)?, body: get(row, 3)? }))
}
