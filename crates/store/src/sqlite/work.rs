//! Leases and claims.

use std::sync::Arc;

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::{DeliveryId, SubscriptionId},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, types::Value};

use super::{
    lanes,
    rows::{self, Keys, SubscriptionKey, integer, natural, small, state_code},
};
use crate::{
    catalogue::CatalogueVersion,
    engine::{Claim, Claimed, Due, DueQuery, Incarnation, Pass, Role, Which},
    error::StoreError,
};

/// Whether a lease has not run out.
pub(super) fn is_alive(connection: &Connection, holder: Incarnation, now: Timestamp) -> Result<bool, StoreError> {
    let expires_at: Option<i64> = connection
        .prepare_cached("SELECT expires_at FROM incarnations WHERE key = ?")?
        .query_row([integer(holder.0)], |row| row.get(0))
        .optional()?;
    Ok(expires_at.is_some_and(|expires_at| expires_at > now.as_millis()))
}

pub(super) fn join(
    transaction: &Transaction<'_>,
    role: Role,
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
        .prepare_cached("INSERT INTO incarnations (is_server, expires_at) VALUES (?, ?)")?
        .execute((role != Role::Pass, expires_at.as_millis()))?;
    Ok(Incarnation(natural(transaction.last_insert_rowid())))
}

pub(super) fn renew(
    transaction: &Transaction<'_>,
    holder: Incarnation,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    // Whoever ends a lease deletes its row. While it is there nobody has taken anything over, however late it is.
    let renewed = transaction
        .prepare_cached("UPDATE incarnations SET expires_at = ? WHERE key = ?")?
        .execute((expires_at.as_millis(), integer(holder.0)))?;
    if renewed == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Ends a lease; answers how many deliveries are due again.
pub(super) fn end(
    transaction: &Transaction<'_>,
    holder: Incarnation,
    now: Timestamp,
    max_waiting: u64,
) -> Result<u64, StoreError> {
    transaction.prepare_cached("DELETE FROM incarnations WHERE key = ?")?.execute([integer(holder.0)])?;
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
        if is_held(transaction, *delivery, holder)? {
            give_back(transaction, integer(delivery.position()), now, max_waiting)?;
        }
    }
    Ok(())
}

fn is_held(connection: &Connection, delivery: DeliveryId, holder: Incarnation) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM deliveries WHERE position = ? AND state = 1 AND holder = ?")?
        .exists((integer(delivery.position()), integer(holder.0)))?)
}

/// Makes a held delivery due at once; that of a deleted subscription is cancelled. Answers whether it is due.
fn give_back(
    transaction: &Transaction<'_>,
    position: i64,
    now: Timestamp,
    max_waiting: u64,
) -> Result<bool, StoreError> {
    let (lane, deleted): (SubscriptionKey, bool) = transaction
        .prepare_cached(
            "SELECT s.key, s.deleted_at IS NOT NULL FROM deliveries d JOIN subscriptions s ON s.key = d.subscription
             WHERE d.position = ?",
        )?
        .query_row([position], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (state, due) =
        if deleted { (DeliveryState::Cancelled, None) } else { (DeliveryState::Waiting, Some(now.as_millis())) };
    transaction
        .prepare_cached("UPDATE deliveries SET state = ?, due_at = ?, holder = NULL WHERE position = ?")?
        .execute((state_code(state), due, position))?;
    if let Some(due) = due {
        lanes::add_waiting(transaction, lane, 1, due, max_waiting)?;
    }
    Ok(due.is_some())
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

pub(super) fn claim(transaction: &Transaction<'_>, claim: &Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    if !is_alive(transaction, claim.holder, now)? {
        return Err(StoreError::NotFound);
    }
    let mut claimed = Vec::new();
    let mut bytes = 0;
    let mut keys = Keys::default();
    for (subscription, limit) in &claim.wanted {
        let Some(lane) = keys.of(transaction, *subscription)? else { continue };
        let parked: bool = transaction
            .prepare_cached("SELECT parked FROM lanes WHERE subscription = ?")?
            .query_row([lane], |row| row.get(0))?;
        if parked {
            continue;
        }
        let from_waiting = claim_lane(transaction, claim, *subscription, lane, *limit, &mut bytes, &mut claimed)?;
        lanes::take_waiting(transaction, lane, from_waiting)?;
    }
    Ok(claimed)
}

/// Claims from one lane; answers how many of what it claimed had waited.
fn claim_lane(
    transaction: &Transaction<'_>,
    claim: &Claim,
    subscription: SubscriptionId,
    lane: SubscriptionKey,
    limit: usize,
    bytes: &mut usize,
    claimed: &mut Vec<Claimed>,
) -> Result<i64, StoreError> {
    let (sql, parameters) = match &claim.which {
        Which::DueBy(now) => due_sql(lane, *now, limit),
        Which::Pass(pass) => pass_sql(lane, pass, limit),
    };
    let mut from_waiting = 0;
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut update =
        transaction.prepare_cached("UPDATE deliveries SET state = 1, due_at = NULL, holder = ? WHERE position = ?")?;
    // The rows are read before any is changed, so that the change cannot move what is being read.
    let mut found = Vec::new();
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        if !claimed.is_empty() && *bytes >= claim.max_bytes {
            break;
        }
        let delivery = read_claimed(row, subscription)?;
        *bytes += delivery.event.payload.get().len();
        from_waiting += i64::from(row.get::<_, i16>(1)? == state_code(DeliveryState::Waiting));
        found.push(row.get::<_, i64>(0)?);
        claimed.push(delivery);
    }
    for position in found {
        update.execute((integer(claim.holder.0), position))?;
    }
    Ok(from_waiting)
}

fn read_claimed(row: &Row<'_>, subscription: SubscriptionId) -> Result<Claimed, StoreError> {
    let event = rows::event(row, 3)?;
    Ok(Claimed {
        id: DeliveryId::from_position(event.time, natural(row.get(0)?)),
        subscription,
        attempts: small(row.get(2)?),
        event: Arc::new(event),
    })
}

const CLAIMED_COLUMNS: &str = "SELECT d.position, d.state, d.attempts, e.id, e.type, e.time, e.md5, e.payload
     FROM deliveries d JOIN events e ON e.key = d.event WHERE d.subscription = ?";

fn limit_value(limit: usize) -> Value {
    Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn due_sql(lane: SubscriptionKey, now: Timestamp, limit: usize) -> (String, Vec<Value>) {
    let sql = format!("{CLAIMED_COLUMNS} AND d.state = 0 AND d.due_at <= ? ORDER BY d.due_at LIMIT ?");
    (sql, vec![lane.into(), now.as_millis().into(), limit_value(limit)])
}

fn pass_sql(lane: SubscriptionKey, pass: &Pass, limit: usize) -> (String, Vec<Value>) {
    let mut parameters: Vec<Value> = vec![lane.into()];
    let mut sql = CLAIMED_COLUMNS.to_owned();
    sql += if pass.failed { " AND d.state IN (0, 3)" } else { " AND d.state = 0" };
    let mut and = |condition: &str, value: Value| {
        sql += condition;
        parameters.push(value);
    };
    and(" AND d.position > ?", integer(pass.after.map_or(0, DeliveryId::position)).into());
    if let Some(due_by) = pass.due_by {
        and(" AND (d.state = 3 OR d.due_at <= ?)", due_by.as_millis().into());
    }
    if let Some(event) = &pass.event {
        and(" AND e.type = ?", event.as_str().to_owned().into());
    }
    if let Some(since) = pass.since {
        and(" AND e.time >= ?", since.as_millis().into());
    }
    and(" ORDER BY d.position LIMIT ?", limit_value(limit));
    (sql, parameters)
}
