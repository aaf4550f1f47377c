//! Fetching.

use std::sync::Arc;

use async_trait::async_trait;
use hookcast_core::id::{DeliveryId, SubscriptionId};
use tokio_postgres::types::Type;

use super::{
    PostgresStore, Shared,
    lanes::{self, Fewer},
    pool::{Commit, Statement, retrying},
    rows::{self, SubscriptionKey, get, integer, length, natural},
};
use crate::{
    error::StoreError,
    pull::{Pull, Pulled, Pulling, Sequence},
};

/// So many are confirmed in a transaction, so that nobody waits long for it.
const AT_ONCE: i64 = 10_000;

/// The event of each is looked up by itself: of a join the server may think that it is cheaper to read through all events.
const PULL: Statement = Statement {
    sql: "SELECT u.position, u.sequence, e.id, e.type, u.time, e.md5, e.payload, e.order_key, e.extra::text
          FROM hookcast.unfinished u CROSS JOIN LATERAL (
              SELECT id, type, md5, payload, order_key, extra FROM hookcast.events WHERE time = u.time AND id = u.event LIMIT 1) e
          WHERE u.subscription = $1 AND u.order_group = 0 AND u.holder IS NULL AND u.sequence > $2
          ORDER BY u.subscription, u.order_group, u.sequence LIMIT $3",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const CONFIRM: Statement = Statement {
    sql: "WITH ended AS (
              DELETE FROM hookcast.unfinished WHERE ctid = ANY(ARRAY(
                  SELECT ctid FROM hookcast.unfinished
                  WHERE subscription = $1 AND order_group = 0 AND holder IS NULL AND sequence <= $2
                  ORDER BY subscription, order_group, sequence LIMIT $3))
              RETURNING time, position, subscription, event, attempts, log)
          INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
          SELECT time, position, subscription, event, 2, attempts, log FROM ended RETURNING 1",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};

#[async_trait]
impl Pulling for PostgresStore {
    async fn pull(&self, pull: Pull) -> Result<Vec<Pulled>, StoreError> {
        let Some(lane) = key(&self.shared, pull.subscription).await? else { return Ok(Vec::new()) };
        let (after, limit) = (integer(pull.after.0), i64::from(pull.limit));
        let found = self.shared.pool.query(&PULL, &[&lane, &after, &limit]).await?;
        let read = found.iter().map(|row| {
            let event = rows::event(row, 2)?;
            Ok(Pulled {
                sequence: Sequence(natural(get(row, 1)?)),
                delivery: DeliveryId::from_position(event.time, natural(get(row, 0)?)),
                event: Arc::new(event),
            })
        });
        Ok(pull.fitting(read.collect::<Result<_, StoreError>>()?))
    }

    async fn confirm(&self, subscription: SubscriptionId, through: Sequence) -> Result<u64, StoreError> {
        let Some(lane) = key(&self.shared, subscription).await? else { return Ok(0) };
        let mut confirmed = 0;
        loop {
            let part = retrying(|| confirm(&self.shared, lane, through)).await?;
            confirmed += natural(part);
            if part < AT_ONCE {
                return Ok(confirmed);
            }
        }
    }
}

async fn key(shared: &Shared, subscription: SubscriptionId) -> Result<Option<SubscriptionKey>, StoreError> {
    Ok(shared.keys.of(&shared.pool, &[subscription]).await?.get(&subscription).copied())
}

async fn confirm(shared: &Shared, lane: SubscriptionKey, through: Sequence) -> Result<i64, StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let answers =
        transaction.all(&[(&lanes::LOCK, &[&vec![lane]]), (&CONFIRM, &[&lane, &integer(through.0), &AT_ONCE])]).await?;
    let confirmed = answers.get(1).map_or(0, |rows| length(rows));
    let mut fewer = Fewer::default();
    for _ in 0..confirmed {
        fewer.add(lane, Some(0));
    }
    fewer.settle(&transaction).await?;
    transaction.commit().await?;
    Ok(confirmed)
}
