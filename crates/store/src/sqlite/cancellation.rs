//! What waits of an event and is to go no more.

use std::collections::BTreeMap;

use hookcast_core::{clock::Timestamp, delivery::DeliveryState, id::EventId};
use rusqlite::{Connection, Transaction};

use super::{
    lanes,
    rows::{SubscriptionKey, natural, state_code},
};
use crate::error::StoreError;

/// So many deliveries are cancelled in a transaction, so that others may write meanwhile.
const AT_ONCE: i64 = 5_000;

/// Marks an event as cancelled, and cancels some of what waits of it; answers how much, and whether there may be more.
pub(super) fn cancel(transaction: &Transaction<'_>, event: EventId, now: Timestamp) -> Result<(u64, bool), StoreError> {
    let (first, end): (i64, i64) = transaction
        .prepare_cached("SELECT first_delivery, first_delivery + deliveries FROM events WHERE id = ?")?
        .query_row([event.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    transaction
        .prepare_cached(
            "UPDATE events SET extra = json_set(COALESCE(extra, '{}'), '$.cancelled_at', ?2)
             WHERE id = ?1 AND (extra IS NULL OR json_extract(extra, '$.cancelled_at') IS NULL)",
        )?
        .execute((event.to_bytes(), now.as_millis()))?;
    let cancelled = end_waiting(transaction, first..end, DeliveryState::Cancelled, AT_ONCE)?;
    let count = cancelled.values().sum();
    Ok((natural(count), count == AT_ONCE))
}

/// Whether the event of the delivery at `position` is cancelled.
pub(super) fn is_cancelled(connection: &Connection, position: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM events
             WHERE key = COALESCE(
                 (SELECT event FROM deliveries WHERE position = ?1),
                 (SELECT event FROM fresh WHERE first_delivery <= ?1 ORDER BY first_delivery DESC LIMIT 1))
             AND extra IS NOT NULL AND json_extract(extra, '$.cancelled_at') IS NOT NULL",
        )?
        .exists([position])?)
}

/// Ends those deliveries of a range of positions that wait, the first ones first and at most so many; answers how many of each
/// lane.
pub(super) fn end_waiting(
    transaction: &Transaction<'_>,
    positions: std::ops::Range<i64>,
    state: DeliveryState,
    limit: i64,
) -> Result<BTreeMap<SubscriptionKey, i64>, StoreError> {
    let ended: Vec<(SubscriptionKey, Option<i64>)> = transaction
        .prepare_cached(
            "UPDATE deliveries SET state = ?, due_at = NULL WHERE position IN (
                 SELECT position FROM deliveries WHERE position >= ? AND position < ? AND state = 0
                 ORDER BY position LIMIT ?)
             RETURNING subscription, order_group",
        )?
        .query_map((state_code(state), positions.start, positions.end, limit), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut counts = BTreeMap::new();
    for (lane, group) in ended {
        *counts.entry(lane).or_default() += 1;
        if let Some(group) = group {
            lanes::promote_head(transaction, lane, group)?;
        }
    }
    for (lane, count) in &counts {
        lanes::take_waiting(transaction, *lane, *count)?;
    }
    Ok(counts)
}
