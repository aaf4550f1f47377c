//! What the store says of batches that would be stored, and what follows: the part of accepting that may refuse.

use std::collections::{BTreeMap, HashMap};

use hookcast_core::{
    clock::Timestamp,
    id::{EventId, SubscriptionId},
    policy::Deduplicate,
};
use tokio_postgres::types::Type;

use super::{
    locks,
    pool::{Call, Statement, Transaction},
    rows::{event_id, get, integer, md5, natural, receipts, single, time, uuid},
};
use crate::{
    Limits,
    engine::{Idempotency, NewEvent, Receipt},
    error::{AcceptError, StoreError},
    gather::Request,
};

/// About the bytes that an event takes up beside its payload, and those of a delivery, indexes included.
const EVENT_SIZE: usize = 256;
const DELIVERY_SIZE: usize = 384;

const CATALOGUE: Statement = Statement { sql: "SELECT version FROM hookcast.catalogue", types: &[] };
const LEASES: Statement = Statement {
    sql: "SELECT key, expires_at FROM hookcast.incarnations WHERE key = ANY($1)",
    types: &[Type::INT8_ARRAY],
};
const EARLIER: Statement = Statement {
    sql: "SELECT key, body_digest, receipts, expires_at FROM hookcast.idempotency_keys WHERE key = ANY($1)",
    types: &[Type::TEXT_ARRAY],
};
/// The bytes that all tables take up on the server.
pub(super) const SIZE: Statement = Statement {
    sql: "SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::int8 FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'hookcast' AND c.relkind = 'r'",
    types: &[],
};

/// What becomes of a batch.
pub(super) enum Decision {
    Refused(AcceptError),
    /// An earlier request had its idempotency key, and got these.
    Replayed(Vec<Receipt>),
    /// An earlier batch of the same group has its idempotency key.
    SameAs(usize),
    Admitted,
}

/// An idempotency key that was used before.
struct Earlier {
    digest: Vec<u8>,
    receipts: String,
    expires_at: Timestamp,
}

/// What the store says.
pub(super) struct Known {
    catalogue: u64,
    /// When each incarnation's lease ends. None for one that has been ended.
    leases: HashMap<u64, Timestamp>,
    earlier: HashMap<String, Earlier>,
    used: u64,
    limits: Limits,
}

impl Known {
    /// Asks the store, and keeps others from changing what it says until the transaction's end.
    pub(super) async fn read(
        transaction: &Transaction,
        requests: &[Request],
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let mut holders: Vec<i64> = requests.iter().map(|request| integer(request.batch.holder.0)).collect();
        holders.sort_unstable();
        holders.dedup();
        let lease_locks: Vec<i32> = requests.iter().map(|request| locks::lease(request.batch.holder)).collect();
        let keys: Vec<&str> = idempotencies(requests).map(|(_, idempotency)| idempotency.key.as_str()).collect();
        let mut key_locks: Vec<i32> = keys.iter().map(|key| locks::idempotency_key(key)).collect();
        key_locks.sort_unstable();

        let (holders, keys) = (&holders as _, &keys as _);
        let (lease_locks, key_locks) = ([&lease_locks as _], [&key_locks as _]);
        let (of_holders, of_keys) = ([holders], [keys]);
        let mut calls: Vec<Call<'_>> = vec![(&locks::SHARE_CATALOGUE, &[]), (&locks::SHARE_LEASES, &lease_locks)];
        let has_keys = idempotencies(requests).next().is_some();
        if has_keys {
            calls.push((&locks::IDEMPOTENCY_KEYS, &key_locks));
        }
        let locked = calls.len();
        calls.extend([(&CATALOGUE, &[] as &[_]), (&LEASES, &of_holders)]);
        if has_keys {
            calls.push((&EARLIER, &of_keys));
        }
        if limits.max_size > 0 {
            calls.push((&SIZE, &[]));
        }
        let mut answers = transaction.all(&calls).await?.into_iter().skip(locked);
        let mut next = || answers.next().unwrap_or_default();
        let catalogue = natural(single(&next())?);
        let leases = next().iter().map(|row| Ok((natural(get(row, 0)?), time(row, 1)?))).collect::<Result<_, _>>();
        let earlier = if has_keys { next() } else { Vec::new() };
        let earlier = earlier.iter().map(|row| {
            let digest = get::<&[u8]>(row, 1)?.to_vec();
            Ok((get(row, 0)?, Earlier { digest, receipts: get(row, 2)?, expires_at: time(row, 3)? }))
        });
        let earlier = earlier.collect::<Result<_, StoreError>>()?;
        let used = if limits.max_size > 0 { natural(single(&next())?) } else { 0 };
        Ok(Self { catalogue, leases: leases.map_err(|error: StoreError| error)?, earlier, used, limits })
    }

    /// Decides about each batch.
    pub(super) fn judge(&self, requests: &[Request], keys: &HashMap<SubscriptionId, i64>) -> Vec<Decision> {
        let mut first_with: HashMap<&str, (usize, &Idempotency)> = HashMap::new();
        let mut decisions = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let same = request
                .batch
                .idempotency
                .as_ref()
                .and_then(|own| first_with.get(own.key.as_str()).map(|found| (own, *found)));
            let decision = match same {
                Some((own, (_, first))) if own.body_digest != first.body_digest => {
                    Decision::Refused(AcceptError::KeyReused)
                }
                Some((_, (first, _))) => Decision::SameAs(first),
                None => self.judge_one(request, keys).unwrap_or_else(Decision::Refused),
            };
            if let (Decision::Admitted, Some(idempotency)) = (&decision, &request.batch.idempotency) {
                first_with.insert(&idempotency.key, (index, idempotency));
            }
            decisions.push(decision);
        }
        decisions
    }

    fn judge_one(&self, request: &Request, keys: &HashMap<SubscriptionId, i64>) -> Result<Decision, AcceptError> {
        let (batch, now) = (&request.batch, request.now);
        if let Some(idempotency) = &batch.idempotency
            && let Some(earlier) = self.earlier.get(&idempotency.key).filter(|earlier| earlier.expires_at > now)
        {
            if earlier.digest != idempotency.body_digest {
                return Err(AcceptError::KeyReused);
            }
            return Ok(Decision::Replayed(receipts(&earlier.receipts)?));
        }
        if self.catalogue != batch.catalogue.0 {
            return Err(AcceptError::StaleCatalogue);
        }
        if self.leases.get(&batch.holder.0).is_none_or(|ends| *ends <= now) {
            return Err(AcceptError::LeaseLost);
        }
        check_size(self.used, approximate_size(&batch.events), self.limits)?;
        let unknown = |new: &NewEvent| {
            let mut recipients = new.recipients.iter().map(|recipient| recipient.subscription);
            recipients.find(|subscription| !keys.contains_key(subscription))
        };
        match batch.events.iter().find_map(unknown) {
            Some(subscription) => Err(StoreError::Corrupt(format!("{subscription} is not in the catalogue")).into()),
            None => Ok(Decision::Admitted),
        }
    }
}

fn idempotencies(requests: &[Request]) -> impl Iterator<Item = (usize, &Idempotency)> {
    requests.iter().enumerate().filter_map(|(index, request)| Some((index, request.batch.idempotency.as_ref()?)))
}

fn approximate_size(events: &[NewEvent]) -> u64 {
    let size = |new: &NewEvent| EVENT_SIZE + new.event.payload.get().len() + DELIVERY_SIZE * new.recipients.len();
    u64::try_from(events.iter().map(size).sum::<usize>()).unwrap_or(u64::MAX)
}

/// Refuses what would make the tables, by so many bytes more, larger than they may be.
pub(super) fn check_size(used: u64, more: u64, limits: Limits) -> Result<(), StoreError> {
    let max_size = limits.max_size;
    if max_size > 0 && used.saturating_add(more) > max_size {
        return Err(StoreError::Full(format!("{used} bytes of {max_size} are taken")));
    }
    Ok(())
}

/// The first event of each content, within the window.
pub(super) type Firsts = HashMap<[u8; 16], (EventId, Timestamp)>;

/// In the order of the contents, so that two groups with the same ones wait for each other and not in a circle.
const NOTE_CONTENTS: Statement = Statement {
    sql: "INSERT INTO hookcast.fingerprints AS f (md5, event, first_at, expires_at)
          SELECT * FROM unnest($1::bytea[], $2::uuid[], $3::int8[], $4::int8[])
          ON CONFLICT (md5) DO UPDATE SET event = EXCLUDED.event, first_at = EXCLUDED.first_at, expires_at = EXCLUDED.expires_at
          WHERE f.first_at <= $5",
    types: &[Type::BYTEA_ARRAY, Type::UUID_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8],
};
const READ_CONTENTS: Statement = Statement {
    sql: "SELECT md5, event, first_at FROM hookcast.fingerprints WHERE md5 = ANY($1)",
    types: &[Type::BYTEA_ARRAY],
};

/// Notes the contents of these batches, which are under one rule, and finds the first event of each. Nothing where the rule is
/// that every trigger is a new event.
pub(super) async fn first_of_contents<'r>(
    transaction: &Transaction,
    requests: impl Iterator<Item = &'r Request> + Clone,
) -> Result<Firsts, StoreError> {
    let Some(first) = requests.clone().next() else { return Ok(Firsts::new()) };
    let window = match first.batch.deduplicate {
        Deduplicate::Off => return Ok(Firsts::new()),
        Deduplicate::Within(window) => Some(window),
        Deduplicate::Forever => None,
    };
    let window_begins = window.map_or(i64::MIN, |window| first.now.minus(window).as_millis());
    let mut candidates: BTreeMap<[u8; 16], (EventId, Timestamp)> = BTreeMap::new();
    for new in requests.flat_map(|request| &request.batch.events) {
        candidates.entry(new.event.fingerprint()).or_insert((new.event.id, new.event.time));
    }
    let contents: Vec<&[u8]> = candidates.keys().map(<[u8; 16]>::as_slice).collect();
    let events: Vec<_> = candidates.values().map(|(id, _)| uuid(id.to_bytes())).collect();
    let times: Vec<i64> = candidates.values().map(|(_, time)| time.as_millis()).collect();
    let expiries: Vec<Option<i64>> =
        candidates.values().map(|(_, time)| window.map(|window| time.plus(window).as_millis())).collect();
    let answers = transaction
        .all(&[
            (&NOTE_CONTENTS, &[&contents, &events, &times, &expiries, &window_begins]),
            (&READ_CONTENTS, &[&contents]),
        ])
        .await?;
    let rows = answers.into_iter().nth(1).unwrap_or_default();
    rows.iter().map(|row| Ok((md5(row, 0)?, (event_id(row, 1)?, time(row, 2)?)))).collect()
}
