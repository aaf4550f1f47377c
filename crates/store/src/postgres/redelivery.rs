//! What has ended and is to be sent again.

use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, SubscriptionId},
};
use tokio_postgres::types::Type;

use super::{
    Shared,
    lanes::{self, More},
    pool::{Commit, Statement, retrying},
    rows::{SubscriptionKey, get, integer, natural},
};
use crate::error::StoreError;

/// Brings back what has ended, of a lane whose lock is held, unless its subscription is deleted.
const BRING_BACK: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.finished f USING unnest($2::int8[], $3::int8[]) AS w (time, position)
              WHERE f.time = w.time AND f.position = w.position AND f.subscription = $1 AND f.state <> 5
                  AND EXISTS (SELECT FROM hookcast.subscriptions WHERE key = $1 AND deleted_at IS NULL)
              RETURNING f.time, f.position, f.subscription, f.event, f.attempts, f.log)
          INSERT INTO hookcast.unfinished (time, position, subscription, event, attempts, log, due_at)
          SELECT time, position, subscription, event, attempts, log, $4 FROM gone
          RETURNING time, position",
    types: &[Type::INT8, Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8],
};

pub(super) async fn redeliver(
    shared: &Shared,
    subscription: SubscriptionId,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> Result<Vec<DeliveryId>, StoreError> {
    let keys = shared.keys.of(&shared.pool, &[subscription]).await?;
    let Some(lane) = keys.get(&subscription) else { return Ok(Vec::new()) };
    let lanes: Vec<SubscriptionKey> = vec![*lane];
    let times: Vec<i64> = deliveries.iter().map(|id| id.time().as_millis()).collect();
    let positions: Vec<i64> = deliveries.iter().map(|id| integer(id.position())).collect();
    let due = now.as_millis();
    retrying(|| async {
        let transaction = shared.pool.begin(Commit::Durable).await?;
        let answers =
            transaction.all(&[(&lanes::LOCK, &[&lanes]), (&BRING_BACK, &[lane, &times, &positions, &due])]).await?;
        let mut waiting = Vec::new();
        let mut more = More::default();
        for row in answers.into_iter().nth(1).unwrap_or_default() {
            let time = Timestamp::from_millis(get(&row, 0)?);
            waiting.push(DeliveryId::from_position(time, natural(get(&row, 1)?)));
            more.add(*lane, Some(due));
        }
        more.settle(&transaction, shared.limits.max_waiting).await?;
        transaction.commit().await?;
        Ok(waiting)
    })
    .await
}
