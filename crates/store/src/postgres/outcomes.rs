//! Outcomes: what came of attempts, as far as the deliveries were held by those who made them.
//!
//! Where every attempt delivered to subscriptions that are well, and nothing waits for what it delivered, which is the usual case,
//! one statement takes the deliveries out of what is left to do and puts them into the history. Everything else takes the lanes'
//! locks first.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    delivery::{DeliveryState, Next},
    id::SubscriptionId,
    policy::HealthPolicy,
};
use tokio_postgres::{Row, types::Type};

use super::{
    Shared, catalogue,
    health::{Beyond, Changes, Healths},
    lanes::{self, Fewer, More},
    locks, log,
    pool::{Call, Commit, Statement, Transaction, retrying},
    rows::{SubscriptionKey, get, integer, state_code},
};
use crate::{
    engine::{Finished, Incarnation, Outcome},
    error::StoreError,
};

/// Ends deliveries, and puts them into the history; the positions of those that were held.
macro_rules! end {
    ($with:literal, $if:literal, $answer:literal) => {
        concat!(
            "WITH ",
            $with,
            "ended AS (
                DELETE FROM hookcast.unfinished u
                USING unnest($1::int8[], $2::int8[], $3::int2[], $4::int4[], $5::text[])
                    AS o (time, position, state, attempts, line)
                CROSS JOIN LATERAL (
                    SELECT ctid AS row FROM hookcast.unfinished WHERE time = o.time AND position = o.position OFFSET 0) f
                WHERE u.ctid = f.row AND u.holder IS NOT DISTINCT FROM $6",
            $if,
            " RETURNING u.time, u.position, u.subscription, u.event, o.state, o.attempts, u.log || o.line AS log),
            kept AS (
                INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
                SELECT time, position, subscription, event, state, attempts, log FROM ended
                RETURNING position)
            SELECT position FROM kept",
            $answer
        )
    };
}

const END: Statement = Statement {
    sql: end!("", "", ""),
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT2_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY, Type::INT8],
};
/// Ends deliveries unless one of these lanes is failing, which then is all that it tells, as NULL. A success in such a lane changes
/// its health, and so wants its lock.
const END_IF_WELL: Statement = Statement {
    sql: end!(
        "failing AS (
             SELECT subscription FROM hookcast.lanes WHERE subscription = ANY($7) AND failure_count > 0 LIMIT 1),",
        " AND NOT EXISTS (SELECT FROM failing)",
        " UNION ALL SELECT NULL FROM failing"
    ),
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT2_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
        Type::INT8_ARRAY,
    ],
};

/// Lets deliveries wait for another try, unless their subscriptions are deleted or their events cancelled; the positions, lanes and
/// times of those that were held.
const WAIT: Statement = Statement {
    sql: "UPDATE hookcast.unfinished u
          SET holder = NULL, due_at = o.due, attempts = o.attempts, log = u.log || o.line
          FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int4[], $5::text[]) AS o (time, position, due, attempts, line)
          CROSS JOIN LATERAL (
              SELECT ctid AS row FROM hookcast.unfinished WHERE time = o.time AND position = o.position OFFSET 0) f,
              hookcast.subscriptions s
          WHERE u.ctid = f.row AND u.holder IS NOT DISTINCT FROM $6
              AND s.key = u.subscription AND s.deleted_at IS NULL
              AND (SELECT e.extra->>'cancelled_at' FROM hookcast.events e WHERE e.time = u.time AND e.id = u.event) IS NULL
          RETURNING u.position, u.subscription, u.due_at",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
    ],
};

/// Outcomes that end their deliveries, in columns.
#[derive(Default)]
struct Ends {
    times: Vec<i64>,
    positions: Vec<i64>,
    states: Vec<i16>,
    attempts: Vec<i32>,
    lines: Vec<String>,
}

impl Ends {
    fn add(&mut self, outcome: &Outcome, state: DeliveryState) -> Result<(), StoreError> {
        self.times.push(outcome.delivery.time().as_millis());
        self.positions.push(integer(outcome.delivery.position()));
        self.states.push(state_code(state));
        self.attempts.push(i32::try_from(outcome.attempt.number).unwrap_or(i32::MAX));
        self.lines.push(log::write(&outcome.attempt)?);
        Ok(())
    }
}

/// Outcomes that are followed by another try, in columns.
#[derive(Default)]
struct Waits {
    times: Vec<i64>,
    positions: Vec<i64>,
    dues: Vec<i64>,
    attempts: Vec<i32>,
    lines: Vec<String>,
}

impl Waits {
    fn add(&mut self, outcome: &Outcome, due: Timestamp) -> Result<(), StoreError> {
        self.times.push(outcome.delivery.time().as_millis());
        self.positions.push(integer(outcome.delivery.position()));
        self.dues.push(due.as_millis());
        self.attempts.push(i32::try_from(outcome.attempt.number).unwrap_or(i32::MAX));
        self.lines.push(log::write(&outcome.attempt)?);
        Ok(())
    }
}

/// Outcomes as they are recorded: of each delivery the first one.
#[derive(Default)]
struct Sorted<'o> {
    outcomes: Vec<(&'o Outcome, Option<SubscriptionKey>)>,
    ends: Ends,
    waits: Waits,
    /// The lanes that must be locked, and those that must be if they are failing: something was delivered there.
    locked: BTreeSet<SubscriptionKey>,
    delivered: BTreeSet<SubscriptionKey>,
}

impl<'o> Sorted<'o> {
    fn of(outcomes: &'o [Outcome], keys: &HashMap<SubscriptionId, SubscriptionKey>) -> Result<Self, StoreError> {
        let (mut sorted, mut seen) = (Self::default(), HashSet::new());
        for outcome in outcomes.iter().filter(|outcome| seen.insert(outcome.delivery)) {
            let lane = keys.get(&outcome.subscription).copied();
            sorted.outcomes.push((outcome, lane));
            match outcome.verdict.next {
                Next::Delivered => sorted.ends.add(outcome, DeliveryState::Delivered)?,
                Next::Failed => sorted.ends.add(outcome, DeliveryState::Failed)?,
                Next::RetryAt(time) => sorted.waits.add(outcome, time)?,
            }
            let is_success = outcome.verdict.next == Next::Delivered && outcome.group.is_none();
            if is_success { &mut sorted.delivered } else { &mut sorted.locked }.extend(lane);
        }
        Ok(sorted)
    }

    /// Whether nothing is to be locked as long as no lane is failing.
    fn is_plain(&self) -> bool {
        self.locked.is_empty() && self.waits.positions.is_empty()
    }
}

/// Records outcomes, and what follows from them for their subscriptions.
pub(super) async fn finish(
    shared: &Shared,
    holder: Incarnation,
    outcomes: &Arc<[Outcome]>,
    policy: HealthPolicy,
    now: Timestamp,
) -> Result<Finished, StoreError> {
    let subscriptions: Vec<_> = outcomes.iter().map(|outcome| outcome.subscription).collect();
    let keys = shared.keys.of(&shared.pool, &subscriptions).await?;
    let sorted = Sorted::of(outcomes, &keys)?;
    let (settled, changes) = retrying(|| record(shared, holder, &sorted, &policy, now)).await?;
    // In transactions of their own, since they want the catalogue's lock, which comes before those of lanes. Where one fails,
    // or this process dies before, the next failure brings it to the same end.
    let Changes { beyond, opened, closed, .. } = changes;
    tell(shared, &keys, &opened, &closed).await;
    let deactivated = deactivate(shared, &beyond, now).await;
    Ok(Finished { ignored: outcomes.len() - settled, deactivated, opened, closed })
}

/// Lets other nodes know whose breakers have changed.
async fn tell(
    shared: &Shared,
    keys: &HashMap<SubscriptionId, SubscriptionKey>,
    opened: &[SubscriptionId],
    closed: &[SubscriptionId],
) {
    let changed: BTreeSet<_> = opened.iter().chain(closed).filter_map(|id| keys.get(id).copied()).collect();
    if changed.is_empty() {
        return;
    }
    if let Err(error) = catalogue::touch(shared, &changed.into_iter().collect()).await {
        tracing::warn!(%error, "other nodes cannot be told of breakers now");
    }
    if !closed.is_empty() {
        shared.hints.tell();
    }
}

/// Makes subscriptions inactive; answers which of them were active.
async fn deactivate(shared: &Shared, beyond: &[Beyond], now: Timestamp) -> Vec<SubscriptionId> {
    let mut deactivated = Vec::new();
    for beyond in beyond {
        let subscription = beyond.subscription;
        match catalogue::deactivate(shared, beyond, now).await {
            Ok(true) => deactivated.push(subscription),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, %subscription, "too many failures, and it cannot be deactivated now"),
        }
    }
    deactivated
}

/// Records outcomes in one transaction; how many of them count, and what they change for their subscriptions.
async fn record(
    shared: &Shared,
    holder: Incarnation,
    sorted: &Sorted<'_>,
    policy: &HealthPolicy,
    now: Timestamp,
) -> Result<(usize, Changes), StoreError> {
    if sorted.is_plain()
        && let Some(ended) = end_if_well(shared, holder, sorted).await?
    {
        return Ok((ended, Changes::default()));
    }
    let transaction = shared.pool.begin(Commit::Relaxed).await?;
    let locked: Vec<SubscriptionKey> = sorted.locked.iter().copied().collect();
    let delivered: Vec<SubscriptionKey> = sorted.delivered.iter().copied().collect();
    if !sorted.waits.positions.is_empty() {
        transaction.query(&locks::SHARE_CANCELLING, &[]).await?;
    }
    let locked = transaction.query(&lanes::LOCK_FAILING, &[&locked, &delivered]).await?;
    let mut healths = Healths::read(&locked)?;
    let mut settled: HashSet<i64> = end(&transaction, &sorted.ends, holder).await?.into_iter().collect();
    let (waiting, cancelled) = wait(&transaction, &sorted.waits, holder).await?;
    settled.extend(cancelled);
    let mut more = More::default();
    for row in &waiting {
        settled.insert(get(row, 0)?);
        more.add(get(row, 1)?, get(row, 2)?);
    }
    more.settle(&transaction, shared.limits.max_waiting).await?;

    let (mut changes, mut fewer) = (Changes::default(), Fewer::default());
    for (outcome, lane) in &sorted.outcomes {
        let is_settled = settled.contains(&integer(outcome.delivery.position()));
        let Some(lane) = lane.filter(|_| is_settled) else { continue };
        fewer.refresh_group(lane, outcome.group);
        healths.follow(outcome, lane, policy, now, &mut changes);
    }
    healths.write(&transaction, &changes, &mut fewer, now).await?;
    fewer.settle(&transaction).await?;
    transaction.commit().await?;
    Ok((settled.len(), changes))
}

/// Ends deliveries in one go; how many were held. Does nothing where a lane is failing.
async fn end_if_well(shared: &Shared, holder: Incarnation, sorted: &Sorted<'_>) -> Result<Option<usize>, StoreError> {
    let (holder, ends) = (integer(holder.0), &sorted.ends);
    let lanes: Vec<SubscriptionKey> = sorted.delivered.iter().copied().collect();
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    let call: Call<'_> =
        (&END_IF_WELL, &[&ends.times, &ends.positions, &ends.states, &ends.attempts, &ends.lines, &holder, &lanes]);
    let ended = transaction.finish(&[call]).await?.pop().unwrap_or_default();
    let mut is_well = true;
    for row in &ended {
        is_well &= get::<Option<i64>>(row, 0)?.is_some();
    }
    Ok(is_well.then_some(ended.len()))
}

/// Ends deliveries; answers the positions of those that were held.
async fn end(transaction: &Transaction, ends: &Ends, holder: Incarnation) -> Result<Vec<i64>, StoreError> {
    let holder = integer(holder.0);
    let ended = transaction
        .query(&END, &[&ends.times, &ends.positions, &ends.states, &ends.attempts, &ends.lines, &holder])
        .await?;
    ended.iter().map(|row| get(row, 0)).collect()
}

/// Lets deliveries wait. Those of deleted subscriptions and of cancelled events are cancelled instead: their positions come second.
async fn wait(
    transaction: &Transaction,
    waits: &Waits,
    holder: Incarnation,
) -> Result<(Vec<Row>, Vec<i64>), StoreError> {
    let Waits { times, positions, dues, attempts, lines } = waits;
    if positions.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let states = vec![state_code(DeliveryState::Cancelled); positions.len()];
    let holder = integer(holder.0);
    // What is still held after the first statement is not to be tried again.
    let answers = transaction
        .all(&[
            (&WAIT, &[times, positions, dues, attempts, lines, &holder]),
            (&END, &[times, positions, &states, attempts, lines, &holder]),
        ])
        .await?;
    let [waiting, cancelled] = <[Vec<Row>; 2]>::try_from(answers).map_err(|_| StoreError::NotFound)?;
    Ok((waiting, cancelled.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?))
}
