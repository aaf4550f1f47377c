//! Finding work and taking it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    event::{Event, EventType},
    id::{DeliveryId, EventId, SubscriptionId},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Shared, lanes, locks,
    pool::{Call, Commit, Statement, Transaction, retrying},
    rows::{self, SubscriptionKey, get, integer, natural, optional_time, single, subscription_id, uuid},
};
use crate::{
    catalogue::CatalogueVersion,
    engine::{Claim, Claimed, Due, DueQuery, PROBE_WAIT, Pass, RUN_MAX, Which},
    error::StoreError,
};

const CATALOGUE: Statement = Statement { sql: "SELECT version FROM hookcast.catalogue", types: &[] };
const DUE: Statement = Statement {
    sql: "SELECT s.id FROM hookcast.lanes l JOIN hookcast.subscriptions s ON s.key = l.subscription
          WHERE l.next_due <= $1 AND NOT l.parked AND s.id <> ALL($2) ORDER BY l.next_due LIMIT $3",
    types: &[Type::INT8, Type::UUID_ARRAY, Type::INT8],
};
const NEXT: Statement = Statement {
    sql: "SELECT min(next_due) FROM hookcast.lanes WHERE next_due > $1 AND NOT parked",
    types: &[Type::INT8],
};

pub(super) async fn due(shared: &Shared, query: &DueQuery) -> Result<Due, StoreError> {
    let now = query.now.as_millis();
    let except: Vec<_> = query.except.iter().map(|id| uuid(id.to_bytes())).collect();
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    let answers = transaction.finish(&[(&CATALOGUE, &[]), (&DUE, &[&now, &except, &limit]), (&NEXT, &[&now])]).await?;
    let [version, due, next] = answers.as_slice() else { return Err(StoreError::NotFound) };
    let subscriptions: Vec<SubscriptionId> = due.iter().map(|row| subscription_id(row, 0)).collect::<Result<_, _>>()?;
    let next = next.first().map_or(Ok(None), |row| optional_time(row, 0))?;
    Ok(Due {
        next: next.filter(|_| subscriptions.len() < query.limit),
        subscriptions,
        catalogue: CatalogueVersion(natural(single(version)?)),
    })
}

const IS_ALIVE: Statement = Statement {
    sql: "SELECT count(*) > 0 FROM hookcast.incarnations WHERE key = $1 AND expires_at > $2",
    types: &[Type::INT8, Type::INT8],
};

/// Lanes and how many may be taken of each. Where the breaker is open and is asked (`$asks`), that is nothing before the time of
/// its probe, and then one, which tells that it is a probe.
macro_rules! wanted {
    ($asks:literal, $now:literal) => {
        concat!(
            "unnest($1::int8[], $2::int8[]) WITH ORDINALITY AS w (subscription, quota, ord)
             JOIN hookcast.lanes l ON l.subscription = w.subscription AND NOT l.parked
             CROSS JOIN LATERAL (
                 SELECT ",
            $asks,
            " AND l.probe_at IS NOT NULL AS is_probe, CASE WHEN NOT ",
            $asks,
            " OR l.probe_at IS NULL THEN w.quota WHEN l.probe_at <= ",
            $now,
            " THEN LEAST(w.quota, 1) ELSE 0 END AS quota) q "
        )
    };
}

/// What [`take`] and [`take_followers`] read of what was taken.
macro_rules! taken {
    ($was_waiting:literal) => {
        concat!(
            "position, subscription, attempts, ",
            $was_waiting,
            ", id, type, time, md5, payload, order_key, extra::text, order_group, sequence, is_probe "
        )
    };
}

/// The event of a delivery (`u`), looked up for each by itself: of a join the server may think that it is cheaper to read through
/// all events.
macro_rules! event {
    () => {
        "(SELECT id, type, md5, payload, order_key, extra FROM hookcast.events WHERE time = u.time AND id = u.event LIMIT 1) e"
    };
}

/// Takes what is due from lanes whose locks are held. Of what is held only a probe has a time, until which it is waited for: by
/// that it is known when it is given back. `SKIP LOCKED` waits for nobody who holds a single delivery.
///
/// Rows that were found are changed by their place in the table (`ctid`), here and elsewhere: where the planner takes the table
/// for empty, as after a quiet hour, it thinks nothing of walking over all of it for each row that is named by its key.
const TAKE_DUE: Statement = Statement {
    sql: concat!(
        "WITH found AS (
              SELECT w.ord, u.row, u.time, u.position, u.subscription, u.attempts, u.due_at, u.order_group, u.sequence,
                  q.is_probe, e.id, e.type, e.md5, e.payload, e.order_key, e.extra,
                  sum(octet_length(e.payload)) OVER (ORDER BY w.ord, u.due_at, u.time, u.position)
                      - octet_length(e.payload) AS bytes_before
              FROM ",
        wanted!("true", "$6"),
        "CROSS JOIN LATERAL (
                  SELECT u.ctid AS row, * FROM hookcast.unfinished u
                  WHERE u.subscription = w.subscription AND u.holder IS NULL AND u.due_at <= $3
                  ORDER BY u.due_at, u.time, u.position LIMIT q.quota FOR UPDATE SKIP LOCKED) u
              CROSS JOIN LATERAL ",
        event!(),
        "),
          taken AS (
              UPDATE hookcast.unfinished u SET holder = $4, due_at = CASE WHEN f.is_probe THEN $7 END FROM found f
              WHERE (f.bytes_before < $5 OR f.bytes_before = 0) AND u.ctid = f.row
              RETURNING f.*)
          SELECT ",
        taken!("true"),
        "FROM taken ORDER BY ord, due_at, time, position"
    ),
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8, Type::INT8, Type::INT8, Type::INT8, Type::INT8],
};

/// Takes what follows heads that were taken in their groups, up to one that is held: whoever holds it has still to give it back.
/// Of each lane (`w`) its groups (`g`) are gone through one after the other, and no further than for as many as may be taken.
const TAKE_FOLLOWERS: Statement = Statement {
    sql: concat!(
        "WITH found AS (
              SELECT w.ord, u.*, false AS is_probe, e.id, e.type, e.md5, e.payload, e.order_key, e.extra,
                  bool_and(u.holder IS NULL) OVER (PARTITION BY w.ord, u.nth ORDER BY u.sequence) AS is_free,
                  sum(octet_length(e.payload)) OVER (ORDER BY w.ord, u.nth, u.sequence)
                      - octet_length(e.payload) AS bytes_before
              FROM unnest($1::int8[], $2::int8[]) WITH ORDINALITY AS w (subscription, quota, ord)
              CROSS JOIN LATERAL (
                  SELECT g.nth, u.*
                  FROM unnest($3::int8[], $4::int8[], $5::int8[])
                      WITH ORDINALITY AS g (subscription, order_group, sequence, nth)
                  CROSS JOIN LATERAL (
                      SELECT u.ctid AS row, * FROM hookcast.unfinished u
                      WHERE u.subscription = g.subscription AND u.order_group = g.order_group AND u.sequence > g.sequence
                      ORDER BY u.subscription, u.order_group, u.sequence LIMIT LEAST(w.quota, $8)) u
                  WHERE g.subscription = w.subscription LIMIT w.quota) u
              CROSS JOIN LATERAL ",
        event!(),
        "),
          taken AS (
              UPDATE hookcast.unfinished u SET holder = $6, due_at = NULL FROM found f
              WHERE f.is_free AND f.bytes_before < $7 AND u.ctid = f.row
              RETURNING f.*)
          SELECT ",
        taken!("true"),
        "FROM taken ORDER BY ord, nth, sequence"
    ),
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8,
        Type::INT8,
        Type::INT8,
    ],
};

/// Takes what a pass goes over, what has failed among it if so wished, in the order of acceptance. What waits for others goes when
/// they have ended, and what has failed has left its group.
const TAKE_PASS: Statement = Statement {
    sql: concat!(
        "WITH chosen AS (
              SELECT w.ord, q.is_probe, u.*,
                  sum(octet_length(u.payload)) OVER (ORDER BY w.ord, u.time, u.position)
                      - octet_length(u.payload) AS bytes_before
              FROM ",
        wanted!("$10", "$11"),
        "CROSS JOIN LATERAL (
                  (SELECT u.ctid AS row, u.time, u.position, u.subscription, u.event, u.attempts, u.log, true AS was_waiting,
                       u.order_group, u.sequence, e.id, e.type, e.md5, e.payload, e.order_key, e.extra
                   FROM hookcast.unfinished u JOIN hookcast.events e ON e.time = u.time AND e.id = u.event
                   WHERE (u.subscription, u.time, u.position) > (w.subscription, $6, $7) AND u.subscription <= w.subscription
                       AND u.holder IS NULL AND u.due_at <= COALESCE($3, 9223372036854775807)
                       AND ($8::text IS NULL OR e.type = $8)
                       AND (e.extra IS NULL OR COALESCE((e.extra->>'deliver_at')::int8, 0) <= $11)
                   ORDER BY u.subscription, u.time, u.position LIMIT q.quota)
                  UNION ALL
                  (SELECT NULL::tid, f.time, f.position, f.subscription, f.event, f.attempts, f.log, false,
                       NULL::int8, NULL::int8, e.id, e.type, e.md5, e.payload, e.order_key, e.extra
                   FROM hookcast.finished f JOIN hookcast.events e ON e.time = f.time AND e.id = f.event
                   WHERE $9 AND (f.subscription, f.state, f.time, f.position) > (w.subscription, 3, $6, $7)
                       AND f.subscription <= w.subscription AND f.state = 3 AND ($8::text IS NULL OR e.type = $8)
                   ORDER BY f.subscription, f.state, f.time, f.position LIMIT q.quota)
                  ORDER BY time, position LIMIT q.quota) u),
          fitting AS (SELECT * FROM chosen WHERE bytes_before < $5 OR bytes_before = 0),
          taken AS (
              UPDATE hookcast.unfinished u SET holder = $4, due_at = CASE WHEN c.is_probe THEN $12 END FROM fitting c
              WHERE c.was_waiting AND u.ctid = c.row),
          revived AS (
              DELETE FROM hookcast.finished f USING fitting c
              WHERE NOT c.was_waiting AND f.time = c.time AND f.position = c.position),
          held AS (
              INSERT INTO hookcast.unfinished (time, position, subscription, event, attempts, log, holder)
              SELECT time, position, subscription, event, attempts, log, $4 FROM fitting WHERE NOT was_waiting)
          SELECT ",
        taken!("was_waiting"),
        "FROM fitting ORDER BY ord, time, position"
    ),
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::BOOL,
        Type::BOOL,
        Type::INT8,
        Type::INT8,
    ],
};

pub(super) async fn claim(shared: &Shared, claim: &Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let wanted: Vec<SubscriptionId> = claim.wanted.iter().map(|(subscription, _)| *subscription).collect();
    let keys = shared.keys.of(&shared.pool, &wanted).await?;
    let known = || claim.wanted.iter().filter_map(|(id, limit)| Some((*keys.get(id)?, *id, *limit)));
    let lanes: Vec<SubscriptionKey> = known().map(|(key, ..)| key).collect();
    let quotas: Vec<i64> = known().map(|(.., limit)| i64::try_from(limit).unwrap_or(i64::MAX)).collect();
    let ids = known().map(|(key, id, _)| (key, id)).collect::<HashMap<_, _>>();
    let taken = retrying(|| take(shared, claim, now, &lanes, &quotas)).await?;
    let mut events: HashMap<EventId, Arc<Event>> = HashMap::new();
    taken
        .iter()
        .map(|row| {
            // Many may be of one event.
            let event = match events.entry(rows::event_id(row, 4)?) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(unknown) => Arc::clone(unknown.insert(Arc::new(rows::event(row, 4)?))),
            };
            Ok(Claimed {
                id: DeliveryId::from_position(event.time, natural(get(row, 0)?)),
                subscription: ids.get(&get(row, 1)?).copied().ok_or(StoreError::NotFound)?,
                attempts: u32::try_from(get::<i32>(row, 2)?).unwrap_or(0),
                group: get(row, 11)?,
                event,
            })
        })
        .collect()
}

/// Takes rows under the lanes' locks.
async fn take(
    shared: &Shared,
    claim: &Claim,
    now: Timestamp,
    lanes: &Vec<SubscriptionKey>,
    quotas: &Vec<i64>,
) -> Result<Vec<Row>, StoreError> {
    let (holder, now) = (integer(claim.holder.0), now.as_millis());
    let lease = vec![locks::lease(claim.holder)];
    let bytes = i64::try_from(claim.max_bytes).unwrap_or(i64::MAX);
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    let wanted = Wanted::new(&claim.which);
    let probes_until = Timestamp::from_millis(now).plus(PROBE_WAIT).as_millis();
    let due: [&(dyn ToSql + Sync); 7] = [lanes, quotas, &wanted.due_by, &holder, &bytes, &now, &probes_until];
    let (after_time, after_position) = wanted.after;
    let (event, failed) = (wanted.event, wanted.failed);
    let asks = claim.which.asks_the_breaker();
    let pass: [&(dyn ToSql + Sync); 12] = [
        lanes,
        quotas,
        &wanted.due_by,
        &holder,
        &bytes,
        &after_time,
        &after_position,
        &event,
        &failed,
        &asks,
        &now,
        &probes_until,
    ];
    let take: Call<'_> = match &claim.which {
        Which::DueBy(_) => (&TAKE_DUE, &due),
        Which::Pass(_) => (&TAKE_PASS, &pass),
    };
    let answers = transaction
        .all(&[(&locks::SHARE_LEASES, &[&lease]), (&IS_ALIVE, &[&holder, &now]), (&lanes::LOCK, &[lanes]), take])
        .await?;
    let [_, is_alive, _, mut taken] = <[Vec<Row>; 4]>::try_from(answers).map_err(|_| StoreError::NotFound)?;
    if !single::<bool>(&is_alive)? {
        transaction.rollback().await?;
        return Err(StoreError::NotFound);
    }
    if matches!(claim.which, Which::DueBy(_)) {
        let followers = take_followers(&transaction, claim, &taken, lanes.iter().zip(quotas)).await?;
        taken.extend(followers);
    }
    let (mut fewer, mut probed) = (BTreeMap::<SubscriptionKey, i64>::new(), Vec::<SubscriptionKey>::new());
    for row in &taken {
        *fewer.entry(get(row, 1)?).or_default() += i64::from(get::<bool>(row, 3)?);
        if get(row, 13)? {
            probed.push(get(row, 1)?);
        }
    }
    let (lanes, counts): (Vec<SubscriptionKey>, Vec<i64>) = fewer.into_iter().unzip();
    let calls: [Call<'_>; 2] = [(&lanes::HOLD_PROBES, &[&probed, &probes_until]), (&lanes::TAKE, &[&lanes, &counts])];
    transaction.finish(if probed.is_empty() { &calls[1..] } else { &calls }).await?;
    Ok(taken)
}

/// Takes what follows the heads that were taken, as many of each lane as may still be; of a lane that is probed none.
async fn take_followers(
    transaction: &Transaction,
    claim: &Claim,
    taken: &[Row],
    quotas: impl Iterator<Item = (&SubscriptionKey, &i64)>,
) -> Result<Vec<Row>, StoreError> {
    let mut left: BTreeMap<SubscriptionKey, i64> = quotas.map(|(lane, quota)| (*lane, *quota)).collect();
    let (mut lanes, mut groups, mut sequences) = (Vec::<SubscriptionKey>::new(), Vec::<i64>::new(), Vec::<i64>::new());
    let mut bytes = claim.max_bytes;
    for row in taken {
        let lane = get(row, 1)?;
        let is_probe: bool = get(row, 13)?;
        left.entry(lane).and_modify(|left| *left = if is_probe { 0 } else { *left - 1 });
        bytes = bytes.saturating_sub(get::<&str>(row, 8)?.len());
        if let Some(group) = get(row, 11)? {
            lanes.push(lane);
            groups.push(group);
            sequences.push(get(row, 12)?);
        }
    }
    left.retain(|lane, left| *left > 0 && lanes.contains(lane));
    if bytes == 0 || left.is_empty() {
        return Ok(Vec::new());
    }
    let (of, left): (Vec<SubscriptionKey>, Vec<i64>) = left.into_iter().unzip();
    let (holder, bytes) = (integer(claim.holder.0), i64::try_from(bytes).unwrap_or(i64::MAX));
    let most = i64::try_from(RUN_MAX - 1).unwrap_or(i64::MAX);
    transaction.query(&TAKE_FOLLOWERS, &[&of, &left, &lanes, &groups, &sequences, &holder, &bytes, &most]).await
}

/// What is wanted, as parameters.
struct Wanted<'c> {
    due_by: Option<i64>,
    /// The time of an event and a position, behind which it begins.
    after: (i64, i64),
    event: Option<&'c str>,
    failed: bool,
}

impl<'c> Wanted<'c> {
    fn new(which: &'c Which) -> Self {
        match which {
            Which::DueBy(time) => Self { due_by: Some(time.as_millis()), after: (0, 0), event: None, failed: false },
            Which::Pass(Pass { due_by, failed, event, since, after }) => Self {
                due_by: due_by.map(Timestamp::as_millis),
                after: after
                    .map_or((i64::MIN, 0), |id| (id.time().as_millis(), integer(id.position())))
                    .max(since.map_or((i64::MIN, 0), |since| (since.as_millis().saturating_sub(1), i64::MAX))),
                event: event.as_ref().map(EventType::as_str),
                failed: *failed,
            },
        }
    }
}
