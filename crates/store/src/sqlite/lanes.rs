//! Lanes: what waits for each subscription, in short; and the groups of deliveries that go one after the other.

use hookcast_core::clock::Timestamp;
use rusqlite::Connection;

use super::rows::{SubscriptionKey, integer, natural};
use crate::error::StoreError;

/// Deliveries that have come to wait in a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct More {
    pub(super) count: u64,
    /// When the first of those that are due on their own is due, in ms.
    pub(super) due: Option<i64>,
}

impl More {
    pub(super) fn add(&mut self, due: Option<i64>) {
        self.count += 1;
        self.due = [self.due, due].into_iter().flatten().min();
    }
}

/// Notes that more deliveries wait, and lets the oldest expire where more wait than may.
pub(super) fn add_waiting(
    connection: &Connection,
    lane: SubscriptionKey,
    more: More,
    max_waiting: u64,
) -> Result<(), StoreError> {
    let waiting: i64 = connection
        .prepare_cached(
            "UPDATE lanes SET waiting = waiting + ?2,
                 next_due = IIF(?3 IS NULL, next_due, MAX(MIN(COALESCE(next_due, ?3), ?3), COALESCE(probe_at, ?4)))
             WHERE subscription = ?1 RETURNING waiting",
        )?
        .query_row((lane, integer(more.count), more.due, i64::MIN), |row| row.get(0))?;
    match natural(waiting).saturating_sub(max_waiting) {
        0 => Ok(()),
        excess => expire_oldest(connection, lane, excess),
    }
}

fn expire_oldest(connection: &Connection, lane: SubscriptionKey, count: u64) -> Result<(), StoreError> {
    let groups: Vec<Option<i64>> = connection
        .prepare_cached(
            "UPDATE deliveries SET state = 4, due_at = NULL WHERE position IN (
                 SELECT position FROM deliveries WHERE subscription = ? AND state = 0 ORDER BY position LIMIT ?)
             RETURNING order_group",
        )?
        .query_map((lane, integer(count)), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let expired = i64::try_from(groups.len()).unwrap_or(i64::MAX);
    connection
        .prepare_cached("UPDATE lanes SET expired = expired + ?2 WHERE subscription = ?1")?
        .execute((lane, expired))?;
    for group in std::collections::BTreeSet::from_iter(groups).into_iter().flatten() {
        promote_head(connection, lane, group)?;
    }
    take_waiting(connection, lane, expired)
}

/// Notes that `count` fewer deliveries wait, and when the next of the rest is due.
pub(super) fn take_waiting(connection: &Connection, lane: SubscriptionKey, count: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE lanes SET waiting = waiting - ?2, next_due = (
                 SELECT MAX(MIN(due_at), COALESCE(lanes.probe_at, ?3))
                 FROM deliveries WHERE subscription = ?1 AND state = 0 AND due_at IS NOT NULL)
             WHERE subscription = ?1",
        )?
        .execute((lane, count, i64::MIN))?;
    Ok(())
}

/// Notes when the next delivery is due, after one has become due in another way than by coming to wait.
pub(super) fn refresh(connection: &Connection, lane: SubscriptionKey) -> Result<(), StoreError> {
    take_waiting(connection, lane, 0)
}

/// Opens the breaker until a time, or closes it.
pub(super) fn set_probe(
    connection: &Connection,
    lane: SubscriptionKey,
    probe_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE lanes SET probe_at = ?2 WHERE subscription = ?1")?
        .execute((lane, probe_at.map(Timestamp::as_millis)))?;
    refresh(connection, lane)
}

/// Lets an open breaker be probed now, if what was given back was its probe: the time until which that was waited for, in ms, is
/// then the breaker's, too.
pub(super) fn hasten_probe(
    connection: &Connection,
    lane: SubscriptionKey,
    waited_until: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE lanes SET probe_at = MIN(probe_at, ?3) WHERE subscription = ?1 AND probe_at = ?2")?
        .execute((lane, waited_until, now.as_millis()))?;
    Ok(())
}

/// Makes the first delivery of a group that has not ended due, if it waits for others. [`refresh`] must follow.
pub(super) fn promote_head(connection: &Connection, lane: SubscriptionKey, group: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET due_at = (
                 SELECT MAX(time, COALESCE(json_extract(extra, '$.deliver_at'), time)) FROM events WHERE key = deliveries.event)
             WHERE position = (SELECT position FROM deliveries
                 WHERE subscription = ? AND order_group = ? AND state < 2 ORDER BY sequence LIMIT 1)
             AND state = 0 AND due_at IS NULL",
        )?
        .execute((lane, group))?;
    Ok(())
}

/// Whether a group has deliveries that have not ended before this place in its order.
pub(super) fn has_earlier(
    connection: &Connection,
    lane: SubscriptionKey,
    group: i64,
    sequence: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM deliveries WHERE subscription = ? AND order_group = ? AND state < 2 AND sequence < ? LIMIT 1",
        )?
        .exists((lane, group, sequence))?)
}
