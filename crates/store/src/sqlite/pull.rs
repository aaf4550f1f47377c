//! Fetching.

use std::sync::Arc;

use async_trait::async_trait;
use hookcast_core::id::{DeliveryId, SubscriptionId};
use rusqlite::Transaction;

use super::{
    SqliteStore, lanes,
    rows::{self, Keys, integer, natural},
};
use crate::{
    error::StoreError,
    pull::{Pull, Pulled, Pulling, Sequence},
};

/// So many are confirmed in a transaction, so that others may write meanwhile.
const AT_ONCE: usize = 10_000;

#[async_trait]
impl Pulling for SqliteStore {
    async fn pull(&self, pull: Pull) -> Result<Vec<Pulled>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT d.position, d.sequence, e.id, e.type, e.time, e.md5, e.payload, e.order_key, e.extra
                 FROM subscriptions s
                     JOIN deliveries d ON d.subscription = s.key AND d.order_group = 0 AND d.state < 2
                     JOIN events e ON e.key = d.event
                 WHERE s.id = ? AND d.state = 0 AND d.sequence > ? ORDER BY d.sequence",
            )?;
            let mut found = statement.query((pull.subscription.to_bytes(), integer(pull.after.0)))?;
            let (mut pulled, mut bytes) = (Vec::new(), 0);
            while bytes < pull.max_bytes
                && pulled.len() < pull.limit as usize
                && let Some(row) = found.next()?
            {
                let event = rows::event(row, 2)?;
                bytes += event.payload.get().len();
                pulled.push(Pulled {
                    sequence: Sequence(natural(row.get(1)?)),
                    delivery: DeliveryId::from_position(event.time, natural(row.get(0)?)),
                    event: Arc::new(event),
                });
            }
            Ok(pulled)
        })
        .await
    }

    async fn confirm(&self, subscription: SubscriptionId, through: Sequence) -> Result<u64, StoreError> {
        let mut confirmed = 0;
        loop {
            let part = self.write(move |transaction| confirm(transaction, subscription, through)).await?;
            confirmed += part as u64;
            if part < AT_ONCE {
                return Ok(confirmed);
            }
        }
    }
}

fn confirm(
    transaction: &Transaction<'_>,
    subscription: SubscriptionId,
    through: Sequence,
) -> Result<usize, StoreError> {
    let Some(lane) = Keys::default().of(transaction, subscription)? else { return Ok(0) };
    let confirmed = transaction
        .prepare_cached(
            "UPDATE deliveries SET state = 2, due_at = NULL WHERE position IN (
                 SELECT position FROM deliveries
                 WHERE subscription = ? AND order_group = 0 AND state < 2 AND state = 0 AND sequence <= ?
                 ORDER BY sequence LIMIT ?)",
        )?
        .execute((lane, integer(through.0), i64::try_from(AT_ONCE).unwrap_or(i64::MAX)))?;
    if confirmed > 0 {
        lanes::promote_head(transaction, lane, 0)?;
        lanes::take_waiting(transaction, lane, i64::try_from(confirmed).unwrap_or(i64::MAX))?;
    }
    Ok(confirmed)
}
