//! Outcomes: what came of attempts, as far as the deliveries were held by those who made them.
//!
//! Where every attempt delivered, which is the usual case, one statement takes the deliveries out of what is left to do, puts
//! them into the history, and forgets the failures of their subscriptions. Failures take the lanes' locks first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    delivery::{DeliveryState, Next},
    id::SubscriptionId,
    policy::DeactivationPolicy,
    subscription::Health,
};
use tokio_postgres::{Row, types::Type};

use super::{
    Shared, catalogue,
    lanes::{self, More},
    log,
    pool::{Commit, Statement, Transaction, retrying},
    rows::{SubscriptionKey, get, health, integer, state_code},
};
use crate::{
    engine::{Finished, Incarnation, Outcome},
    error::StoreError,
};

/// Ends deliveries; the positions of those that were held. A success says that the subscription is well.
const END: Statement = Statement {
    sql: "WITH ended AS (
              DELETE FROM hookcast.unfinished u
              USING unnest($1::int8[], $2::int8[], $3::int2[], $4::int4[], $5::text[])
                  AS o (time, position, state, attempts, line)
              CROSS JOIN LATERAL (
                  SELECT ctid AS row FROM hookcast.unfinished WHERE time = o.time AND position = o.position OFFSET 0) f
              WHERE u.ctid = f.row AND u.holder IS NOT DISTINCT FROM $6
              RETURNING u.time, u.position, u.subscription, u.event, o.state, o.attempts, u.log || o.line AS log),
          well AS (
              UPDATE hookcast.lanes l SET failure_count = 0, failing_since = NULL
              FROM (SELECT DISTINCT subscription FROM ended WHERE state = 2) e
              WHERE l.subscription = e.subscription AND l.failure_count > 0)
          INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
          SELECT time, position, subscription, event, state, attempts, log FROM ended
          RETURNING position",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT2_ARRAY, Type::INT4_ARRAY, Type::TEXT_ARRAY, Type::INT8],
};

/// Lets deliveries wait for another try; the positions, lanes and times of those that were held.
const WAIT: Statement = Statement {
    sql: "UPDATE hookcast.unfinished u
          SET holder = NULL, due_at = o.due, attempts = o.attempts, log = u.log || o.line
          FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int4[], $5::text[]) AS o (time, position, due, attempts, line)
          CROSS JOIN LATERAL (
              SELECT ctid AS row FROM hookcast.unfinished WHERE time = o.time AND position = o.position OFFSET 0) f,
              hookcast.subscriptions s
          WHERE u.ctid = f.row AND u.holder IS NOT DISTINCT FROM $6
              AND s.key = u.subscription AND s.deleted_at IS NULL
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

const SET_HEALTH: Statement = Statement {
    sql: "UPDATE hookcast.lanes l SET failure_count = h.count, failing_since = h.since
          FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS h (subscription, count, since)
          WHERE l.subscription = h.subscription",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY],
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

pub(super) async fn finish(
    shared: &Shared,
    holder: Incarnation,
    outcomes: &Arc<[Outcome]>,
    policy: DeactivationPolicy,
    now: Timestamp,
) -> Result<Finished, StoreError> {
    let subscriptions: Vec<_> = outcomes.iter().map(|outcome| outcome.subscription).collect();
    let keys = shared.keys.of(&shared.pool, &subscriptions).await?;
    let recorded = retrying(|| record(shared, holder, outcomes, &keys, policy, now)).await?;
    let mut finished = Finished { ignored: recorded.ignored, deactivated: Vec::new() };
    // In transactions of their own, since they want the catalogue's lock, which comes before those of lanes. Where one fails,
    // or this process dies before, the next failure brings it to the same end.
    for subscription in recorded.beyond {
        let Some(key) = keys.get(&subscription) else { continue };
        match catalogue::deactivate(shared, *key).await {
            Ok(true) => finished.deactivated.push(subscription),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, %subscription, "too many failures, and it cannot be deactivated now"),
        }
    }
    Ok(finished)
}

/// What one transaction has recorded.
struct Recorded {
    ignored: usize,
    /// Subscriptions that have failed too much, in the order of their failures.
    beyond: Vec<SubscriptionId>,
}

async fn record(
    shared: &Shared,
    holder: Incarnation,
    outcomes: &[Outcome],
    keys: &HashMap<SubscriptionId, SubscriptionKey>,
    policy: DeactivationPolicy,
    now: Timestamp,
) -> Result<Recorded, StoreError> {
    let (mut ends, mut waits) = (Ends::default(), Waits::default());
    let mut failing = BTreeMap::new();
    let mut seen = HashSet::new();
    // A delivery's first outcome counts.
    let firsts: Vec<&Outcome> = outcomes.iter().filter(|outcome| seen.insert(outcome.delivery)).collect();
    for outcome in &firsts {
        match outcome.verdict.next {
            Next::Delivered => ends.add(outcome, DeliveryState::Delivered)?,
            Next::Failed => ends.add(outcome, DeliveryState::Failed)?,
            Next::RetryAt(time) => waits.add(outcome, time)?,
        }
        if outcome.verdict.next != Next::Delivered
            && let Some(key) = keys.get(&outcome.subscription)
        {
            failing.insert(*key, outcome.subscription);
        }
    }
    let mut transaction = shared.pool.begin(Commit::Relaxed).await?;
    if failing.is_empty() {
        let ended = end(&mut transaction, &ends, holder, true).await?;
        return Ok(Recorded { ignored: outcomes.len() - ended.len(), beyond: Vec::new() });
    }
    let lanes: Vec<SubscriptionKey> = failing.keys().copied().collect();
    let locked = transaction.query(&lanes::LOCK, &[&lanes]).await?;
    let mut settled: HashSet<i64> = end(&mut transaction, &ends, holder, false).await?.into_iter().collect();
    let (waiting, cancelled) = wait(&transaction, waits, holder).await?;
    settled.extend(cancelled);
    let mut more = More::default();
    for row in &waiting {
        settled.insert(get(row, 0)?);
        more.add(get(row, 1)?, get(row, 2)?);
    }
    more.settle(&transaction, shared.limits.max_waiting).await?;

    let mut healths = HashMap::new();
    for row in &locked {
        healths.insert(get::<SubscriptionKey>(row, 0)?, health(row, 1)?);
    }
    let is_settled = |outcome: &&Outcome| settled.contains(&integer(outcome.delivery.position()));
    let beyond = judge_health(firsts.into_iter().filter(is_settled), keys, &mut healths, policy, now);
    let (lanes, healths): (Vec<SubscriptionKey>, Vec<Health>) = healths.into_iter().unzip();
    let counts: Vec<i64> = healths.iter().map(|health| i64::from(health.failure_count)).collect();
    let since: Vec<Option<i64>> = healths.iter().map(|health| health.failing_since.map(Timestamp::as_millis)).collect();
    transaction.finish(&[(&SET_HEALTH, &[&lanes, &counts, &since])]).await?;
    Ok(Recorded { ignored: outcomes.len() - settled.len(), beyond })
}

/// Ends deliveries, and with them the transaction if it is the last; answers the positions of those that were held.
async fn end(
    transaction: &mut Transaction,
    ends: &Ends,
    holder: Incarnation,
    is_last: bool,
) -> Result<Vec<i64>, StoreError> {
    let holder = integer(holder.0);
    let calls: [super::pool::Call<'_>; 1] =
        [(&END, &[&ends.times, &ends.positions, &ends.states, &ends.attempts, &ends.lines, &holder])];
    let answers = if is_last { transaction.finish(&calls).await? } else { transaction.all(&calls).await? };
    answers.first().into_iter().flatten().map(|row| get(row, 0)).collect()
}

/// Lets deliveries wait. Those of deleted subscriptions are cancelled instead: their positions come second.
async fn wait(
    transaction: &Transaction,
    waits: Waits,
    holder: Incarnation,
) -> Result<(Vec<Row>, Vec<i64>), StoreError> {
    let Waits { times, positions, dues, attempts, lines } = waits;
    if positions.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let states = vec![state_code(DeliveryState::Cancelled); positions.len()];
    let holder = integer(holder.0);
    // What is still held after the first statement is a deleted subscription's.
    let answers = transaction
        .all(&[
            (&WAIT, &[&times, &positions, &dues, &attempts, &lines, &holder]),
            (&END, &[&times, &positions, &states, &attempts, &lines, &holder]),
        ])
        .await?;
    let [waiting, cancelled] = <[Vec<Row>; 2]>::try_from(answers).map_err(|_| StoreError::NotFound)?;
    Ok((waiting, cancelled.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?))
}

/// Follows the subscriptions' health through the outcomes; answers who has failed too much, or is gone.
fn judge_health<'o>(
    outcomes: impl Iterator<Item = &'o Outcome>,
    keys: &HashMap<SubscriptionId, SubscriptionKey>,
    healths: &mut HashMap<SubscriptionKey, Health>,
    policy: DeactivationPolicy,
    now: Timestamp,
) -> Vec<SubscriptionId> {
    let mut beyond = Vec::new();
    for outcome in outcomes {
        let Some(health) = keys.get(&outcome.subscription).and_then(|key| healths.get_mut(key)) else { continue };
        if outcome.verdict.next == Next::Delivered {
            *health = Health::default();
            continue;
        }
        // Failures are counted as of their own time: a retry queue that is drained late must not look like a long outage.
        *health = health.after_failure(outcome.attempt.time);
        if (outcome.verdict.gone || health.is_beyond(policy, now)) && !beyond.contains(&outcome.subscription) {
            beyond.push(outcome.subscription);
        }
    }
    beyond
}
