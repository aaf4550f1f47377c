//! What the store takes in from another one.

mod remembered;

use std::collections::{BTreeSet, HashMap};

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::{AccountId, EventId, SubscriptionId},
    subscription::Health,
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    Shared, catalogue,
    lanes::{self, More},
    locks, log,
    pool::{Call, Commit, Statement, Transaction},
    rows::{SubscriptionKey, account_id, get, integer, options_text, single, state_code, subscription_id, uuid},
};
use crate::{
    code::{extra_text, url_text},
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, DocumentItem, EventItem, FingerprintItem, IdempotencyKeyItem, Item, NoticeItem,
        Progress, SubscriptionItem, TokenItem,
    },
};

const INSERT_ACCOUNTS: Statement = Statement {
    sql: "INSERT INTO hookcast.accounts (id, user_id, user_email, created_at, deleted_at)
          SELECT id, user_id, user_email, created_at, deleted_at
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int8[], $5::int8[])
              WITH ORDINALITY AS i (id, user_id, user_email, created_at, deleted_at, ord)
          ORDER BY ord ON CONFLICT (id) DO NOTHING",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY],
};
const INSERT_TOKENS: Statement = Statement {
    sql: "INSERT INTO hookcast.tokens (account, name, hash, scope, created_at, expires_at)
          SELECT i.account, i.name, i.hash, i.scope, i.created_at, i.expires_at
          FROM unnest($1::int8[], $2::text[], $3::bytea[], $4::text[], $5::int8[], $6::int8[])
              WITH ORDINALITY AS i (account, name, hash, scope, created_at, expires_at, ord)
          WHERE NOT EXISTS (SELECT FROM hookcast.tokens t
              WHERE t.account = i.account AND t.name = i.name AND t.hash = i.hash)
          ORDER BY ord",
    types: &[
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::BYTEA_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};
const ACCOUNT_KEYS: Statement =
    Statement { sql: "SELECT key, id FROM hookcast.accounts WHERE id = ANY($1)", types: &[Type::UUID_ARRAY] };
const KNOWN_SUBSCRIPTIONS: Statement =
    Statement { sql: "SELECT id FROM hookcast.subscriptions WHERE id = ANY($1)", types: &[Type::UUID_ARRAY] };
const INSERT_SUBSCRIPTIONS: Statement = Statement {
    sql: "INSERT INTO hookcast.subscriptions (id, account, event, url, secret, is_active, created_at, deleted_at, options, version)
          SELECT id, account, event, url, secret, is_active, created_at, deleted_at, options, $10
          FROM unnest(
                  $1::uuid[], $2::int8[], $3::text[], $4::text[], $5::bytea[], $6::bool[], $7::int8[], $8::int8[], $9::text[])
              WITH ORDINALITY AS i (id, account, event, url, secret, is_active, created_at, deleted_at, options, ord)
          ORDER BY ord",
    types: &[
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::BYTEA_ARRAY,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
    ],
};
const INSERT_LANES: Statement = Statement {
    sql: "INSERT INTO hookcast.lanes
              (subscription, parked, expired, failure_count, failing_since, failed_at, probe_at, recovered_at)
          SELECT s.key, NOT s.is_active, expired, failure_count, failing_since, failed_at, probe_at, recovered_at
          FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[])
              AS i (id, expired, failure_count, failing_since, failed_at, probe_at, recovered_at)
          JOIN hookcast.subscriptions s ON s.id = i.id",
    types: &[
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};
const INSERT_EVENTS: Statement = Statement {
    sql: "INSERT INTO hookcast.events (time, id, type, md5, first_delivery, deliveries, payload, order_key, extra)
          SELECT time, id, type, md5, first_delivery, deliveries, payload, order_key, extra::jsonb FROM unnest(
              $1::int8[], $2::uuid[], $3::text[], $4::bytea[], $5::int8[], $6::int8[], $7::text[], $8::text[], $9::text[])
              AS n (time, id, type, md5, first_delivery, deliveries, payload, order_key, extra)
          ON CONFLICT (time, id) DO NOTHING",
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
/// The events that are not there. Like the look-ups below it is a query within a query that the server cannot turn into a join,
/// for which it might read the whole history.
const MISSING_EVENTS: Statement = Statement {
    sql: "SELECT i.id FROM unnest($1::int8[], $2::uuid[]) AS i (time, id)
          WHERE (SELECT e.time FROM hookcast.events e WHERE e.time = i.time AND e.id = i.id) IS NULL",
    types: &[Type::INT8_ARRAY, Type::UUID_ARRAY],
};
const INSERT_WAITING: Statement = Statement {
    sql: "INSERT INTO hookcast.unfinished (time, position, subscription, event, attempts, log, due_at, order_group, sequence)
          SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::uuid[], $5::int4[], $6::text[], $7::int8[], $8::int8[], $9::int8[])
              AS i (time, position, subscription, event, attempts, log, due_at, order_group, sequence)
          WHERE (SELECT f.time FROM hookcast.finished f WHERE f.time = i.time AND f.position = i.position) IS NULL
          ON CONFLICT (time, position) DO NOTHING
          RETURNING subscription, due_at",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::UUID_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};
/// The lanes' own numbers go on after these.
const RAISE_SEQUENCES: Statement = Statement {
    sql: "UPDATE hookcast.lanes l SET sequence = i.sequence
          FROM (SELECT subscription, max(sequence) AS sequence FROM unnest($1::int8[], $2::int8[])
                  AS i (subscription, sequence) GROUP BY subscription) i
          WHERE l.subscription = i.subscription AND l.sequence < i.sequence",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};
const INSERT_ENDED: Statement = Statement {
    sql: "INSERT INTO hookcast.finished (time, position, subscription, event, attempts, log, state)
          SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::uuid[], $5::int4[], $6::text[], $7::int2[])
              AS i (time, position, subscription, event, attempts, log, state)
          WHERE (SELECT u.time FROM hookcast.unfinished u WHERE u.time = i.time AND u.position = i.position) IS NULL
          ON CONFLICT (time, position) DO NOTHING",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::UUID_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT2_ARRAY,
    ],
};
const RAISE_POSITIONS: Statement =
    Statement { sql: "UPDATE hookcast.positions SET next = $1 WHERE next < $1", types: &[Type::INT8] };
const NOTE_PROGRESS: Statement = Statement {
    sql: "INSERT INTO hookcast.copying (id, progress) VALUES (1, $1)
          ON CONFLICT (id) DO UPDATE SET progress = EXCLUDED.progress",
    types: &[Type::TEXT],
};

/// Stores items and how far the copy has come, or nothing.
pub(super) async fn import(shared: &Shared, items: &[Item], progress: &Progress) -> Result<(), StoreError> {
    let progress = serde_json::to_string(progress).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let sorted = Sorted::of(items);
    let times: Vec<_> = sorted.events.iter().map(|item| item.event.time).collect();
    shared.partitions.ensure(&shared.pool, &times).await?;
    let of_deliveries = sorted.deliveries.iter().map(|item| item.subscription);
    let subscriptions: Vec<_> = of_deliveries.chain(sorted.notices.iter().map(|item| item.subscription)).collect();
    let keys = shared.keys.of(&shared.pool, &subscriptions).await?;

    let mut transaction = shared.pool.begin(Commit::Durable).await?;
    accounts(&transaction, &sorted.accounts).await?;
    tokens(&transaction, &sorted.tokens).await?;
    self::subscriptions(&transaction, &sorted.subscriptions).await?;
    events(&transaction, &sorted.events).await?;
    deliveries(&transaction, &sorted.deliveries, &keys).await?;
    remembered::fingerprints(&transaction, &sorted.fingerprints).await?;
    remembered::idempotency_keys(&transaction, &sorted.idempotency_keys).await?;
    remembered::notices(&transaction, &sorted.notices, &keys).await?;
    remembered::documents(&transaction, &sorted.documents).await?;
    let next_position = integer(sorted.next_position());
    let end = transaction.finish(&[(&RAISE_POSITIONS, &[&next_position]), (&NOTE_PROGRESS, &[&progress])]).await;
    // What this process had in reserve may have been imported, be it that only the answer was lost.
    shared.positions.forget().await;
    end.map(drop)
}

/// Items by their kind.
#[derive(Default)]
struct Sorted<'i> {
    accounts: Vec<&'i AccountItem>,
    tokens: Vec<&'i TokenItem>,
    subscriptions: Vec<&'i SubscriptionItem>,
    events: Vec<&'i EventItem>,
    deliveries: Vec<&'i DeliveryItem>,
    fingerprints: Vec<&'i FingerprintItem>,
    idempotency_keys: Vec<&'i IdempotencyKeyItem>,
    notices: Vec<&'i NoticeItem>,
    documents: Vec<&'i DocumentItem>,
}

impl<'i> Sorted<'i> {
    fn of(items: &'i [Item]) -> Self {
        let mut sorted = Self::default();
        for item in items {
            match item {
                Item::Account(item) => sorted.accounts.push(item),
                Item::Token(item) => sorted.tokens.push(item),
                Item::Subscription(item) => sorted.subscriptions.push(item),
                Item::Event(item) => sorted.events.push(item),
                Item::Delivery(item) => sorted.deliveries.push(item),
                Item::Fingerprint(item) => sorted.fingerprints.push(item),
                Item::IdempotencyKey(item) => sorted.idempotency_keys.push(item),
                Item::Notice(item) => sorted.notices.push(item),
                Item::Document(item) => sorted.documents.push(item),
            }
        }
        sorted
    }

    /// The first position behind all of them; 0 if there is none.
    fn next_position(&self) -> u64 {
        let of_events = self.events.iter().map(|item| item.first_delivery.saturating_add(item.deliveries));
        let of_deliveries = self.deliveries.iter().map(|item| item.id.position().saturating_add(1));
        of_events.chain(of_deliveries).max().unwrap_or(0)
    }
}

async fn accounts(transaction: &Transaction, items: &[&AccountItem]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let ids = column(items, |item| uuid(item.account.id.to_bytes()));
    let user_ids = column(items, |item| item.account.user_id.as_str());
    let emails = column(items, |item| item.account.user_email.as_deref());
    let created = column(items, |item| item.account.created_at.as_millis());
    let deleted = column(items, |item| item.deleted_at.map(Timestamp::as_millis));
    transaction.query(&INSERT_ACCOUNTS, &[&ids, &user_ids, &emails, &created, &deleted]).await.map(drop)
}

async fn tokens(transaction: &Transaction, items: &[&TokenItem]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let owners = column(items, |item| uuid(item.account.to_bytes()));
    let accounts = account_keys(&transaction.query(&ACCOUNT_KEYS, &[&owners]).await?)?;
    let account = |id: AccountId| accounts.get(&id).copied().ok_or_else(|| missing(&id));
    let owners: Vec<i64> = items.iter().map(|item| account(item.account)).collect::<Result<_, _>>()?;
    let names = column(items, |item| item.token.name.as_str());
    let hashes = column(items, |item| item.hash.to_bytes().to_vec());
    let scopes = column(items, |item| item.token.scope.as_str());
    let created = column(items, |item| item.token.created_at.as_millis());
    let expires = column(items, |item| item.token.expires_at.map(Timestamp::as_millis));
    let columns: [&(dyn ToSql + Sync); 6] = [&owners, &names, &hashes, &scopes, &created, &expires];
    transaction.query(&INSERT_TOKENS, &columns).await.map(drop)
}

fn account_keys(rows: &[Row]) -> Result<HashMap<AccountId, i64>, StoreError> {
    rows.iter().map(|row| Ok((account_id(row, 1)?, get(row, 0)?))).collect()
}

async fn subscriptions(transaction: &Transaction, items: &[&SubscriptionItem]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let ids = column(items, |item| uuid(item.subscription.id.to_bytes()));
    let owners = column(items, |item| uuid(item.subscription.account.to_bytes()));
    let answers = transaction
        .all(&[(&locks::CATALOGUE, &[]), (&KNOWN_SUBSCRIPTIONS, &[&ids]), (&ACCOUNT_KEYS, &[&owners])])
        .await?;
    let [_, known, accounts] = answers.as_slice() else { return Err(StoreError::NotFound) };
    let known: BTreeSet<SubscriptionId> = known.iter().map(|row| subscription_id(row, 0)).collect::<Result<_, _>>()?;
    let accounts = account_keys(accounts)?;
    let new: Vec<_> = items.iter().filter(|item| !known.contains(&item.subscription.id)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let version: i64 = single(&transaction.query(&catalogue::NEXT_VERSION, &[]).await?)?;

    let account = |id: AccountId| accounts.get(&id).copied().ok_or_else(|| missing(&id));
    let owners: Vec<i64> = new.iter().map(|item| account(item.subscription.account)).collect::<Result<_, _>>()?;
    let ids = column(&new, |item| uuid(item.subscription.id.to_bytes()));
    let events = column(&new, |item| item.subscription.events.to_string());
    let urls = column(&new, |item| url_text(&item.subscription));
    let secrets = column(&new, |item| item.subscription.secrets.as_bytes());
    let active = column(&new, |item| item.subscription.is_active);
    let created = column(&new, |item| item.subscription.created_at.as_millis());
    let deleted = column(&new, |item| item.deleted_at.map(|time| time.as_millis()));
    let expired = column(&new, |item| integer(item.expired));
    let failures = column(&new, |item| i64::from(item.subscription.health.failure_count));
    let health = |time: fn(&Health) -> Option<Timestamp>| {
        column(&new, |item| time(&item.subscription.health).map(Timestamp::as_millis))
    };
    let (failing, failed) = (health(|health| health.failing_since), health(|health| health.failed_at));
    let (probe, recovered) = (health(|health| health.probe_at), health(|health| health.recovered_at));
    let options: Vec<String> =
        new.iter().map(|item| options_text(&item.subscription.options)).collect::<Result<_, _>>()?;
    transaction
        .all(&[
            (
                &INSERT_SUBSCRIPTIONS,
                &[&ids, &owners, &events, &urls, &secrets, &active, &created, &deleted, &options, &version],
            ),
            (&INSERT_LANES, &[&ids, &expired, &failures, &failing, &failed, &probe, &recovered]),
        ])
        .await
        .map(drop)
}

async fn events(transaction: &Transaction, items: &[&EventItem]) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let times = column(items, |item| item.event.time.as_millis());
    let ids = column(items, |item| uuid(item.event.id.to_bytes()));
    let types = column(items, |item| item.event.event_type.as_str());
    let contents = column(items, |item| item.event.md5.to_bytes().to_vec());
    let firsts = column(items, |item| integer(item.first_delivery));
    let counts = column(items, |item| integer(item.deliveries));
    let payloads = column(items, |item| item.event.payload.get());
    let keys = column(items, |item| item.event.key.as_deref());
    let extras: Vec<_> = items.iter().map(|item| extra_text(&item.event)).collect::<Result<_, _>>()?;
    let columns: [&(dyn ToSql + Sync); 9] =
        [&times, &ids, &types, &contents, &firsts, &counts, &payloads, &keys, &extras];
    transaction.query(&INSERT_EVENTS, &columns).await.map(drop)
}

/// Stores deliveries and notes in the lanes what waits. However much that is, none of it expires: the copy must be like its
/// source.
async fn deliveries(
    transaction: &Transaction,
    items: &[&DeliveryItem],
    keys: &HashMap<SubscriptionId, SubscriptionKey>,
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    check_events(transaction, items).await?;
    let (mut waiting, mut ended) = (Deliveries::default(), Deliveries::default());
    let (mut dues, mut groups, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
    let mut states = Vec::new();
    for item in items {
        let lane = *keys.get(&item.subscription).ok_or_else(|| missing(&item.subscription))?;
        if item.state == DeliveryState::Waiting {
            waiting.add(item, lane)?;
            dues.push(item.due_at.map(Timestamp::as_millis));
            groups.push(item.place.map(|place| place.group));
            sequences.push(item.place.map(|place| integer(place.sequence)));
        } else {
            ended.add(item, lane)?;
            states.push(state_code(item.state));
        }
    }
    let lanes: BTreeSet<SubscriptionKey> = waiting.lanes.iter().copied().collect();
    let lanes: Vec<SubscriptionKey> = lanes.into_iter().collect();
    let (w, e) = (&waiting, &ended);
    let waits: [&(dyn ToSql + Sync); 9] =
        [&w.times, &w.positions, &w.lanes, &w.events, &w.attempts, &w.logs, &dues, &groups, &sequences];
    let calls: [Call<'_>; 4] = [
        (&lanes::LOCK, &[&lanes]),
        (&RAISE_SEQUENCES, &[&w.lanes, &sequences]),
        (&INSERT_WAITING, &waits),
        (&INSERT_ENDED, &[&e.times, &e.positions, &e.lanes, &e.events, &e.attempts, &e.logs, &states]),
    ];
    let mut more = More::default();
    for row in transaction.all(&calls).await?.iter().skip(2).flatten() {
        more.add(get(row, 0)?, get(row, 1)?);
    }
    more.settle(transaction, u64::MAX).await
}

/// Columns of deliveries.
#[derive(Default)]
struct Deliveries {
    times: Vec<i64>,
    positions: Vec<i64>,
    lanes: Vec<SubscriptionKey>,
    events: Vec<Uuid>,
    attempts: Vec<i32>,
    logs: Vec<String>,
}

impl Deliveries {
    fn add(&mut self, item: &DeliveryItem, lane: SubscriptionKey) -> Result<(), StoreError> {
        let attempts = item.attempts.last().map_or(0, |attempt| attempt.number);
        self.times.push(item.id.time().as_millis());
        self.positions.push(integer(item.id.position()));
        self.lanes.push(lane);
        self.events.push(uuid(item.event.to_bytes()));
        self.attempts.push(i32::try_from(attempts).unwrap_or(i32::MAX));
        self.logs.push(item.attempts.iter().map(log::write).collect::<Result<_, _>>()?);
        Ok(())
    }
}

async fn check_events(transaction: &Transaction, items: &[&DeliveryItem]) -> Result<(), StoreError> {
    let referred: BTreeSet<(i64, EventId)> =
        items.iter().map(|item| (item.id.time().as_millis(), item.event)).collect();
    let (times, ids): (Vec<i64>, Vec<Uuid>) =
        referred.into_iter().map(|(time, id)| (time, uuid(id.to_bytes()))).unzip();
    match transaction.query(&MISSING_EVENTS, &[&times, &ids]).await?.first() {
        Some(row) => Err(missing(&super::rows::event_id(row, 0)?)),
        None => Ok(()),
    }
}

/// One value of each item.
fn column<'i, I, T>(items: &'i [I], value: impl Fn(&'i I) -> T) -> Vec<T> {
    items.iter().map(value).collect()
}

fn missing(id: &impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("an item refers to {id}, which is not there"))
}
