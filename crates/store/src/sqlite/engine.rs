//! The engine's methods: each one a job for the writer or a reader.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, EventId, SubscriptionId},
    policy::HealthPolicy,
};

use super::{
    SqliteStore, accept, cancellation,
    outcomes::Outcomes,
    redelivery, work,
    writer::{Durability, Manner},
};
use crate::{
    engine::{Accepted, Batch, Claim, Claimed, Due, DueQuery, Engine, Finished, Incarnation, Node, Outcome, Role},
    error::{AcceptError, StoreError},
};

#[async_trait]
impl Engine for SqliteStore {
    async fn join(
        &self,
        role: Role,
        node: Option<Node>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let max_waiting = self.limits.max_waiting;
        self.write_deliveries(Durability::Synced, move |transaction| {
            work::join(transaction, role, node, now.plus(lease), now, max_waiting)
        })
        .await
    }

    async fn renew(&self, holder: Incarnation, lease: Duration, now: Timestamp) -> Result<u32, StoreError> {
        self.write_relaxed(move |transaction| work::renew(transaction, holder, now.plus(lease), now)).await
    }

    async fn leave(&self, holder: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        let max_waiting = self.limits.max_waiting;
        self.write_deliveries(Durability::Synced, move |transaction| {
            work::end(transaction, holder, now, max_waiting).map(drop)
        })
        .await
    }

    async fn rescue(&self, now: Timestamp) -> Result<u64, StoreError> {
        let max_waiting = self.limits.max_waiting;
        // Mostly there is nothing to rescue, and everything is as it was.
        self.write_on(Durability::Relaxed, move |transaction, known| {
            known.forget();
            let rescued = work::rescue(transaction, now, max_waiting)?;
            if rescued > 0 {
                known.listing.look_for_all();
            }
            Ok(rescued)
        })
        .await
    }

    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        let limits = self.limits;
        let rows = batch.events.iter().map(|new| 1 + new.recipients.len()).sum();
        let manner = Manner { durability: Durability::Synced, rows };
        let room = self.check_free_disk();
        let result = match room {
            Err(error) => Err(error.into()),
            // A refusal is an answer here and not a failed write, so it travels inside the write's own result.
            Ok(()) => self
                .write_on(manner, move |transaction, known| {
                    match accept::accept(transaction, known, &batch, limits, now) {
                        Err(AcceptError::Store(error)) => Err(error),
                        decided => Ok(decided),
                    }
                })
                .await
                .unwrap_or_else(|error| Err(error.into())),
        };
        self.fullness.note(&result);
        result
    }

    async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        self.read(move |connection| work::due(connection, &query)).await
    }

    /// Other processes write here only now and then, and what they write waits for the next look.
    async fn wait_for_work(&self) {
        std::future::pending::<()>().await;
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        self.write_on(Durability::Relaxed, move |transaction, known| work::claim(transaction, known, &claim, now)).await
    }

    async fn finish(
        &self,
        holder: Incarnation,
        outcomes: Arc<[Outcome]>,
        policy: HealthPolicy,
        now: Timestamp,
    ) -> Result<Finished, StoreError> {
        let max_waiting = self.limits.max_waiting;
        self.write_on(Durability::Relaxed, move |transaction, known| {
            Outcomes::new(transaction, known, holder, policy, now, max_waiting).record(&outcomes)
        })
        .await
    }

    async fn redeliver(
        &self,
        subscription: SubscriptionId,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let max_waiting = self.limits.max_waiting;
        self.write(move |transaction| redelivery::redeliver(transaction, subscription, &deliveries, now, max_waiting))
            .await
    }

    async fn cancel(&self, event: EventId, now: Timestamp) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        loop {
            let (part, more) = self.write(move |transaction| cancellation::cancel(transaction, event, now)).await?;
            cancelled += part;
            if !more {
                return Ok(cancelled);
            }
        }
    }

    async fn close(&self) {
        // The last connection to go puts the log into the file, so the one that may write goes last.
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn release(
        &self,
        holder: Incarnation,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let max_waiting = self.limits.max_waiting;
        self.write_deliveries(Durability::Relaxed, move |transaction| {
            work::release(transaction, holder, &deliveries, now, max_waiting)
        })
        .await
    }
}
