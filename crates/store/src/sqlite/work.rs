//! Leases and claims.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, SubscriptionId},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, types::Value};

use super::{
    cancellation::is_cancelled,
    fresh,
    known::Known,
    lanes::{self, More},
    rows::{self, SubscriptionKey, integer, natural, small, state_code},
};
use crate::{
    catalogue::CatalogueVersion,
    engine::{Claim, Claimed, Due, DueQuery, Incarnation, Node, PROBE_WAIT, Pass, RUN_MAX, Role, Which},
    error::StoreError,
};

/// When a lease runs out or has done so, in ms; `None` when it was ended.
pub(super) fn lease_end(connection: &Connection, holder: Incarnation) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT expires_at FROM incarnations WHERE key = ?")?
        .query_row([integer(holder.0)], |row| row.get(0))
        .optional()?)
}

pub(super) fn join(
    transaction: &Transaction<'_>,
    role: Role,
    node: Option<Node>,
    expires_at: Timestamp,
    now: Timestamp,
    max_waiting: u64,
) -> Result<Incarnation, StoreError> {
    if role == Role::OnlyServer {
        for dead in incarnations(transaction, "SELECT key FROM incarnations WHERE is_server AND ?1 IS NOT NULL", now)? {
            let freed = end(transaction, dead, now, max_waiting)?;
            tracing::warn!("the last server did not end well; took back {freed} deliveries that it was sending");
        }
    }
    transaction
        .prepare_cached("INSERT INTO incarnations (is_server, expires_at, node) VALUES (?, ?, ?)")?
        .execute((role != Role::Pass, expires_at.as_millis(), node.map(|node| node.0.cast_signed())))?;
    Ok(Incarnation(natural(transaction.last_insert_rowid())))
}

pub(super) fn renew(
    transaction: &Transaction<'_>,
    holder: Incarnation,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<u32, StoreError> {
    // Whoever ends a lease deletes its row. While it is there nobody has taken anything over, however late it is.
    let renewed = transaction
        .prepare_cached("UPDATE incarnations SET expires_at = ? WHERE key = ?")?
        .execute((expires_at.as_millis(), integer(holder.0)))?;
    if renewed == 0 {
        return Err(StoreError::NotFound);
    }
    Ok(transaction
        .prepare_cached("SELECT COUNT(DISTINCT node) FROM incarnations WHERE expires_at > ?")?
        .query_row([now.as_millis()], |row| row.get(0))?)
}

/// Ends a lease; answers how many deliveries are due again.
pub(super) fn end(
    transaction: &Transaction<'_>,
    holder: Incarnation,
    now: Timestamp,
    max_waiting: u64,
) -> Result<u64, StoreError> {
    transaction.prepare_cached("DELETE FROM incarnations WHERE key = ?")?.execute([integer(holder.0)])?;
    fresh::write_all_of(transaction, holder)?;
    let held: Vec<i64> = transaction
        .prepare_cached("SELECT position FROM deliveries WHERE holder = ?")?
        .query_map([integer(holder.0)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut due_again = 0;
    for position in held {
        due_again += u64::from(give_back(transaction, position, now, max_waiting)?);
    }
    Ok(due_again)
}

pub(super) fn rescue(transaction: &Transaction<'_>, now: Timestamp, max_waiting: u64) -> Result<u64, StoreError> {
    let mut rescued = 0;
    for dead in incarnations(transaction, "SELECT key FROM incarnations WHERE expires_at <= ?1", now)? {
        rescued += end(transaction, dead, now, max_waiting)?;
    }
    Ok(rescued)
}

fn incarnations(connection: &Connection, sql: &str, now: Timestamp) -> Result<Vec<Incarnation>, StoreError> {
    let keys: Vec<i64> =
        connection.prepare_cached(sql)?.query_map([now.as_millis()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(keys.into_iter().map(|key| Incarnation(natural(key))).collect())
}

pub(super) fn release(
    transaction: &Transaction<'_>,
    holder: Incarnation,
    deliveries: &[DeliveryId],
    now: Timestamp,
    max_waiting: u64,
) -> Result<(), StoreError> {
    for delivery in deliveries {
        let position = integer(delivery.position());
        if is_held(transaction, position, holder)? || fresh::write(transaction, position, holder)? {
            give_back(transaction, position, now, max_waiting)?;
        }
    }
    Ok(())
}

fn is_held(connection: &Connection, position: i64, holder: Incarnation) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM deliveries WHERE position = ? AND state = 1 AND holder = ?")?
        .exists((position, integer(holder.0)))?)
}

/// Makes a held delivery due at once, or as soon as those before it have ended; that of a deleted subscription, or of a cancelled
/// event, is cancelled. Answers whether it waits.
fn give_back(
    transaction: &Transaction<'_>,
    position: i64,
    now: Timestamp,
    max_waiting: u64,
) -> Result<bool, StoreError> {
    let (lane, deleted, group, probes_until): (SubscriptionKey, bool, Option<i64>, Option<i64>) = transaction
        .prepare_cached(
            "SELECT s.key, s.deleted_at IS NOT NULL, d.order_group, d.due_at
             FROM deliveries d JOIN subscriptions s ON s.key = d.subscription WHERE d.position = ?",
        )?
        .query_row([position], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let is_given_up = deleted || is_cancelled(transaction, position)?;
    let state = if is_given_up { DeliveryState::Cancelled } else { DeliveryState::Waiting };
    let due = (!is_given_up && group.is_none()).then(|| now.as_millis());
    transaction
        .prepare_cached("UPDATE deliveries SET state = ?, due_at = ?, holder = NULL WHERE position = ?")?
        .execute((state_code(state), due, position))?;
    if deleted {
        return Ok(false);
    }
    if let Some(probes_until) = probes_until {
        lanes::hasten_probe(transaction, lane, probes_until, now)?;
    }
    if !is_given_up {
        lanes::add_waiting(transaction, lane, More { count: 1, due }, max_waiting)?;
    }
    if let Some(group) = group {
        lanes::promote_head(transaction, lane, group)?;
    }
    lanes::refresh(transaction, lane)?;
    Ok(!is_given_up)
}

pub(super) fn due(connection: &Connection, query: &DueQuery) -> Result<Due, StoreError> {
    let now = query.now.as_millis();
    let version: i64 = connection.prepare_cached("SELECT version FROM catalogue")?.query_row([], |row| row.get(0))?;
    let mut due = Due { catalogue: CatalogueVersion(natural(version)), ..Due::default() };
    let mut statement = connection.prepare_cached(
        "SELECT s.id, l.next_due FROM lanes l JOIN subscriptions s ON s.key = l.subscription
         WHERE l.next_due IS NOT NULL AND l.parked = 0 ORDER BY l.next_due",
    )?;
    let mut lanes = statement.query([])?;
    while let Some(row) = lanes.next()? {
        let next_due: i64 = row.get(1)?;
        if next_due > now {
            due.next = Some(Timestamp::from_millis(next_due));
            break;
        }
        let subscription = SubscriptionId::from_bytes(row.get(0)?);
        if !query.except.contains(&subscription) {
            due.subscriptions.push(subscription);
            if due.subscriptions.len() >= query.limit {
                break;
            }
        }
    }
    Ok(due)
}

pub(super) fn claim(
    transaction: &Transaction<'_>,
    known: &mut Known,
    claim: &Claim,
    now: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    if !known.is_alive(transaction, claim.holder, now)? {
        return Err(StoreError::NotFound);
    }
    let mut claimed = Found::default();
    for (subscription, limit) in &claim.wanted {
        let Some(lane) = known.keys.of(transaction, *subscription)? else { continue };
        let (parked, probe_at): (bool, Option<i64>) = transaction
            .prepare_cached("SELECT parked, probe_at FROM lanes WHERE subscription = ?")?
            .query_row([lane], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let is_probe = probe_at.is_some() && claim.which.asks_the_breaker();
        if parked || is_probe && probe_at > Some(now.as_millis()) {
            continue;
        }
        let probes_until = is_probe.then(|| now.plus(PROBE_WAIT));
        let limit = if is_probe { 1.min(*limit) } else { *limit };
        let mut lane = ClaimedLane { key: lane, subscription: *subscription, limit, probes_until, from_waiting: 0 };
        let before = claimed.deliveries.len();
        lane.claim(transaction, claim, now, &mut claimed)?;
        if is_probe && claimed.deliveries.len() > before {
            lanes::set_probe(transaction, lane.key, probes_until)?;
        }
        lanes::take_waiting(transaction, lane.key, lane.from_waiting)?;
    }
    Ok(claimed.deliveries)
}

/// What a claim has found so far.
#[derive(Default)]
struct Found {
    deliveries: Vec<Claimed>,
    /// The payloads' bytes in all.
    bytes: usize,
    /// The events, each read once, by their keys.
    events: HashMap<i64, Arc<Event>>,
}

/// A lane that is claimed from.
struct ClaimedLane {
    key: SubscriptionKey,
    subscription: SubscriptionId,
    /// How many more may be claimed.
    limit: usize,
    /// Until when a probe is waited for, where it is one that is claimed.
    probes_until: Option<Timestamp>,
    /// How many of what was claimed had waited.
    from_waiting: i64,
}

impl ClaimedLane {
    fn claim(
        &mut self,
        transaction: &Transaction<'_>,
        claim: &Claim,
        now: Timestamp,
        claimed: &mut Found,
    ) -> Result<(), StoreError> {
        let (sql, parameters) = match &claim.which {
            Which::DueBy(time) => due_sql(self.key, *time),
            Which::Pass(pass) => pass_sql(self.key, pass, self.limit, now),
        };
        // The rows are read before any is changed, so that the change cannot move what is being read.
        let first = claimed.deliveries.len();
        let mut found = self.read(transaction, &sql, parameters, usize::MAX, claim, claimed)?;
        if matches!(claim.which, Which::DueBy(_)) {
            for index in first..claimed.deliveries.len() {
                let Some(group) = claimed.deliveries[index].group else { continue };
                let (sql, parameters) = followers_sql(self.key, group, found[index - first]);
                found.extend(self.read(transaction, &sql, parameters, RUN_MAX - 1, claim, claimed)?);
            }
        }
        // What has failed and is sent again has left its group. Of what is held only a probe has a time: by that it is known when
        // it is given back.
        let mut update = transaction.prepare_cached(
            "UPDATE deliveries SET state = 1, due_at = ?, holder = ?, order_group = IIF(state = 3, NULL, order_group)
             WHERE position = ?",
        )?;
        let probes_until = self.probes_until.map(Timestamp::as_millis);
        for position in found {
            update.execute((probes_until, integer(claim.holder.0), position))?;
        }
        Ok(())
    }

    /// Reads deliveries that are claimed, as many as may be, and no more than `most`; answers their positions.
    fn read(
        &mut self,
        transaction: &Transaction<'_>,
        sql: &str,
        parameters: Vec<Value>,
        most: usize,
        claim: &Claim,
        claimed: &mut Found,
    ) -> Result<Vec<i64>, StoreError> {
        let mut found = Vec::new();
        let mut statement = transaction.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
        while let Some(row) = rows.next()? {
            let state = row.get::<_, i16>(1)?;
            // Whoever holds what follows a head that waits has still to give it back, and what comes behind waits for that.
            let is_held = state == state_code(DeliveryState::Sending);
            let is_enough = self.limit == 0 || found.len() == most;
            if is_held || is_enough || !claimed.deliveries.is_empty() && claimed.bytes >= claim.max_bytes {
                break;
            }
            let delivery = claimed.read(row, self.subscription)?;
            claimed.bytes += delivery.event.payload.get().len();
            self.limit -= 1;
            self.from_waiting += i64::from(state == state_code(DeliveryState::Waiting));
            found.push(row.get::<_, i64>(0)?);
            claimed.deliveries.push(delivery);
        }
        Ok(found)
    }
}

impl Found {
    fn read(&mut self, row: &Row<'_>, subscription: SubscriptionId) -> Result<Claimed, StoreError> {
        let event = match self.events.entry(row.get(4)?) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(unknown) => Arc::clone(unknown.insert(Arc::new(rows::event(row, 5)?))),
        };
        let has_failed = row.get::<_, i16>(1)? == state_code(DeliveryState::Failed);
        Ok(Claimed {
            id: DeliveryId::from_position(event.time, natural(row.get(0)?)),
            subscription,
            attempts: small(row.get(2)?),
            group: if has_failed { None } else { row.get(3)? },
            event,
        })
    }
}

const CLAIMED_COLUMNS: &str =
    "SELECT d.position, d.state, d.attempts, d.order_group, e.key, e.id, e.type, e.time, e.md5, e.payload, e.order_key, e.extra
     FROM deliveries d JOIN events e ON e.key = d.event WHERE d.subscription = ?1";

/// Without a limit: whoever reads stops when there is enough, and SQLite would plan anew for each limit.
fn due_sql(lane: SubscriptionKey, now: Timestamp) -> (String, Vec<Value>) {
    let sql = format!("{CLAIMED_COLUMNS} AND d.state = 0 AND d.due_at <= ?2 ORDER BY d.due_at");
    (sql, vec![lane.into(), now.as_millis().into()])
}

/// What follows a head in its group. Of its own accord none of them is due.
fn followers_sql(lane: SubscriptionKey, group: i64, head: i64) -> (String, Vec<Value>) {
    let sql = format!(
        "{CLAIMED_COLUMNS} AND d.order_group = ?2 AND d.state < 2 AND d.sequence > (SELECT sequence FROM deliveries WHERE position = ?3)
         ORDER BY d.sequence"
    );
    (sql, vec![lane.into(), group.into(), head.into()])
}

/// What waits, and where it is asked for what has failed, too: each state has an index of its own.
fn pass_sql(lane: SubscriptionKey, pass: &Pass, limit: usize, now: Timestamp) -> (String, Vec<Value>) {
    let after = integer(pass.after.map_or(0, DeliveryId::position));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut parameters: Vec<Value> = vec![lane.into(), now.as_millis().into(), after.into(), limit.into()];
    let mut parameter = |value: Value| {
        parameters.push(value);
        parameters.len()
    };
    // What is scheduled goes at its time.
    let mut conditions =
        " AND d.position > ?3 AND (e.extra IS NULL OR COALESCE(json_extract(e.extra, '$.deliver_at'), 0) <= ?2)"
            .to_owned();
    if let Some(event) = &pass.event {
        conditions += &format!(" AND e.type = ?{}", parameter(event.as_str().to_owned().into()));
    }
    if let Some(since) = pass.since {
        conditions += &format!(" AND e.time >= ?{}", parameter(since.as_millis().into()));
    }
    let waits = match pass.due_by {
        Some(due_by) => format!("d.state = 0 AND +d.due_at <= ?{}", parameter(due_by.as_millis().into())),
        // What waits for others goes when they have ended.
        None => "d.state = 0 AND d.due_at IS NOT NULL".to_owned(),
    };
    let first_of =
        |state: &str| format!("SELECT * FROM ({CLAIMED_COLUMNS} AND {state}{conditions} ORDER BY d.position LIMIT ?4)");
    let mut sql = first_of(&waits);
    if pass.failed {
        sql += &format!(" UNION ALL {} ORDER BY position LIMIT ?4", first_of("d.state = 3"));
    }
    (sql, parameters)
}
