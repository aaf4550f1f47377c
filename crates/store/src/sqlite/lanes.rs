//! Lanes: what waits for each subscription, in short.

use rusqlite::Connection;

use super::rows::{SubscriptionKey, integer, natural};
use crate::error::StoreError;

/// Notes that `count` more deliveries wait, the first of them due at `due` (ms), and lets the oldest expire where more wait
/// than may.
pub(super) fn add_waiting(
    connection: &Connection,
    lane: SubscriptionKey,
    count: u64,
    due: i64,
    max_waiting: u64,
) -> Result<(), StoreError> {
    let waiting: i64 = connection
        .prepare_cached(
            "UPDATE lanes SET waiting = waiting + ?2, next_due = MIN(COALESCE(next_due, ?3), ?3)
             WHERE subscription = ?1 RETURNING waiting",
        )?
        .query_row((lane, integer(count), due), |row| row.get(0))?;
    match natural(waiting).saturating_sub(max_waiting) {
        0 => Ok(()),
        excess => expire_oldest(connection, lane, excess),
    }
}

fn expire_oldest(connection: &Connection, lane: SubscriptionKey, count: u64) -> Result<(), StoreError> {
    let expired = connection
        .prepare_cached(
            "UPDATE deliveries SET state = 4, due_at = NULL WHERE position IN (
                 SELECT position FROM deliveries WHERE subscription = ? AND state = 0 ORDER BY position LIMIT ?)",
        )?
        .execute((lane, integer(count)))?;
    let expired = i64::try_from(expired).unwrap_or(i64::MAX);
    connection
        .prepare_cached("UPDATE lanes SET expired = expired + ?2 WHERE subscription = ?1")?
        .execute((lane, expired))?;
    take_waiting(connection, lane, expired)
}

/// Notes that `count` fewer deliveries wait, and when the next of the rest is due.
pub(super) fn take_waiting(connection: &Connection, lane: SubscriptionKey, count: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE lanes SET waiting = waiting - ?2,
                 next_due = (SELECT MIN(due_at) FROM deliveries WHERE subscription = ?1 AND state = 0)
             WHERE subscription = ?1",
        )?
        .execute((lane, count))?;
    Ok(())
}
