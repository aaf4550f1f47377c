//! The engine's methods.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::Next,
    id::{DeliveryId, SubscriptionId},
    policy::DeactivationPolicy,
};

use super::{RedisStore, rows::attempt_json, scripts};
use crate::{
    catalogue::CatalogueVersion,
    engine::{Accepted, Batch, Claim, Claimed, Due, DueQuery, Engine, Finished, Incarnation, Outcome, Role, Which},
    error::{AcceptError, StoreError},
};

#[async_trait]
impl Engine for RedisStore {
    async fn join(&self, role: Role, lease: Duration, now: Timestamp) -> Result<Incarnation, StoreError> {
        let mut call = self.call(&scripts::JOIN);
        call.arg(now.as_millis())
            .arg(now.plus(lease).as_millis())
            .arg(i32::from(role != Role::Pass))
            .arg(i32::from(role == Role::OnlyServer))
            .arg(self.settings.limits.max_waiting);
        let mut reply = self.run(&call).await?;
        let (holder, dead, freed) = (reply.natural()?, reply.int()?, reply.int()?);
        if dead > 0 {
            tracing::warn!("the last server did not end well; took back {freed} deliveries that it was sending");
        }
        Ok(Incarnation(holder))
    }

    async fn renew(&self, holder: Incarnation, lease: Duration, now: Timestamp) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::RENEW);
        call.arg(holder.0).arg(now.plus(lease).as_millis());
        self.run(&call).await.map(drop)
    }

    async fn leave(&self, holder: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::LEAVE);
        call.arg(holder.0).arg(now.as_millis()).arg(self.settings.limits.max_waiting);
        self.run(&call).await.map(drop)
    }

    async fn rescue(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut call = self.call(&scripts::RESCUE);
        call.arg(now.as_millis()).arg(self.settings.limits.max_waiting);
        self.run(&call).await?.natural()
    }

    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        let result = self.accept_batch(&batch, now).await;
        self.fullness.note(&result);
        result
    }

    async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        let except: Vec<u8> = query.except.iter().flat_map(|subscription| subscription.to_bytes()).collect();
        let mut call = self.call(&scripts::DUE);
        call.arg(query.now.as_millis()).arg(query.limit).arg(except);
        let mut reply = self.run(&call).await?;
        let mut due = Due {
            catalogue: CatalogueVersion(reply.natural()?),
            next: reply.optional_int()?.map(Timestamp::from_millis),
            subscriptions: Vec::new(),
        };
        while !reply.is_empty() {
            due.subscriptions.push(SubscriptionId::from_bytes(reply.array()?));
        }
        Ok(due)
    }

    async fn wait_for_work(&self) {
        self.link.work().await;
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        match &claim.which {
            Which::DueBy(due_by) => self.claim_due(&claim, *due_by, now).await,
            Which::Pass(pass) => self.claim_pass(&claim, pass, now).await,
        }
    }

    async fn finish(
        &self,
        holder: Incarnation,
        outcomes: Arc<[Outcome]>,
        policy: DeactivationPolicy,
        now: Timestamp,
    ) -> Result<Finished, StoreError> {
        let mut call = self.call(&scripts::FINISH);
        call.arg(holder.0)
            .arg(now.as_millis())
            .arg(self.settings.limits.max_waiting)
            .arg(policy.max_failures)
            .arg(Timestamp::default().plus(policy.after).as_millis());
        for outcome in outcomes.iter() {
            let becomes = match outcome.verdict.next {
                Next::Delivered => "delivered".into(),
                Next::Failed => "failed".into(),
                Next::RetryAt(time) => time.as_millis().to_string(),
            };
            call.arg(outcome.delivery.position())
                .arg(outcome.attempt.number)
                .arg(outcome.attempt.time.as_millis())
                .arg(attempt_json(&outcome.attempt)?)
                .arg(becomes)
                .arg(i32::from(outcome.verdict.gone));
        }
        let mut reply = self.run(&call).await?;
        let ignored = usize::try_from(reply.natural()?).unwrap_or(usize::MAX);
        let mut finished = Finished { ignored, deactivated: Vec::new() };
        while !reply.is_empty() {
            finished.deactivated.push(SubscriptionId::from_bytes(reply.array()?));
        }
        Ok(finished)
    }

    async fn release(
        &self,
        holder: Incarnation,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::RELEASE);
        call.arg(holder.0).arg(now.as_millis()).arg(self.settings.limits.max_waiting);
        for delivery in deliveries {
            call.arg(delivery.position());
        }
        self.run(&call).await.map(drop)
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
