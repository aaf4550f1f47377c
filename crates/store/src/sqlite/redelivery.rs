//! What has ended and is to be sent again.

use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, SubscriptionId},
};
use rusqlite::{OptionalExtension as _, Transaction};

use super::{
    lanes::{self, More},
    rows::{SubscriptionKey, integer},
};
use crate::error::StoreError;

pub(super) fn redeliver(
    transaction: &Transaction<'_>,
    subscription: SubscriptionId,
    deliveries: &[DeliveryId],
    now: Timestamp,
    max_waiting: u64,
) -> Result<Vec<DeliveryId>, StoreError> {
    let lane: Option<SubscriptionKey> = transaction
        .prepare_cached("SELECT key FROM subscriptions WHERE id = ? AND deleted_at IS NULL")?
        .query_row([subscription.to_bytes()], |row| row.get(0))
        .optional()?;
    let Some(lane) = lane else { return Ok(Vec::new()) };
    let mut wait = transaction.prepare_cached(
        "UPDATE deliveries SET state = 0, due_at = ?, order_group = NULL
         WHERE position = ? AND subscription = ? AND state IN (2, 3, 4)",
    )?;
    let (mut waiting, mut more) = (Vec::new(), More::default());
    for delivery in deliveries {
        if wait.execute((now.as_millis(), integer(delivery.position()), lane))? > 0 {
            waiting.push(*delivery);
            more.add(Some(now.as_millis()));
        }
    }
    if more.count > 0 {
        lanes::add_waiting(transaction, lane, more, max_waiting)?;
    }
    Ok(waiting)
}
