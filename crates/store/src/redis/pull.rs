//! Fetching.

use std::sync::Arc;

use async_trait::async_trait;
use hookcast_core::id::{DeliveryId, EventId, SubscriptionId};

use super::{RedisStore, reply::Reply, rows::Head, scripts};
use crate::{
    error::StoreError,
    pull::{Pull, Pulled, Pulling, Sequence},
};

/// So many are read or confirmed at a call, so that none holds up the server.
const AT_ONCE: u32 = 1_000;

#[async_trait]
impl Pulling for RedisStore {
    async fn pull(&self, pull: Pull) -> Result<Vec<Pulled>, StoreError> {
        let mut call = self.call(&scripts::PULL);
        call.arg(&pull.subscription.to_bytes()[..]).arg(pull.after.0).arg(pull.limit.min(AT_ONCE)).arg(pull.max_bytes);
        let mut reply = self.run(&call).await?;
        let mut pulled = Vec::new();
        while !reply.is_empty() {
            pulled.push(read(reply.list()?)?);
        }
        Ok(pulled)
    }

    async fn confirm(&self, subscription: SubscriptionId, through: Sequence) -> Result<u64, StoreError> {
        let mut confirmed = 0;
        loop {
            let mut call = self.call(&scripts::CONFIRM);
            call.arg(&subscription.to_bytes()[..]).arg(through.0).arg(AT_ONCE);
            let part = self.run(&call).await?.natural()?;
            confirmed += part;
            if part < u64::from(AT_ONCE) {
                return Ok(confirmed);
            }
        }
    }
}

fn read(mut row: Reply) -> Result<Pulled, StoreError> {
    let (position, sequence) = (row.natural()?, Sequence(row.natural()?));
    let id = EventId::from_bytes(row.array()?);
    let event = Head::read(&row.bytes()?)?.with_rest(id, &mut row)?;
    Ok(Pulled { sequence, delivery: DeliveryId::from_position(event.time, position), event: Arc::new(event) })
}
