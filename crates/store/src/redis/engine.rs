//! The engine's methods.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::Next,
    id::{DeliveryId, EventId, NoticeId, SubscriptionId},
    policy::HealthPolicy,
};

use super::{
    RedisStore,
    reply::Reply,
    rows::{attempt_json, millis},
    scripts,
};
use crate::{
    catalogue::CatalogueVersion,
    engine::{
        Accepted, Batch, Claim, Claimed, Due, DueQuery, Engine, Finished, Incarnation, Node, Outcome, Role, Which,
    },
    error::{AcceptError, StoreError},
};

/// Reads ids of subscriptions.
fn subscriptions(mut ids: Reply) -> Result<Vec<SubscriptionId>, StoreError> {
    let mut subscriptions = Vec::new();
    while !ids.is_empty() {
        subscriptions.push(SubscriptionId::from_bytes(ids.array()?));
    }
    Ok(subscriptions)
}

/// Deliveries that are looked at in one script, so that none holds up the server.
const CANCEL_AT_ONCE: u32 = 2_000;

#[async_trait]
impl Engine for RedisStore {
    async fn join(
        &self,
        role: Role,
        node: Option<Node>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let mut call = self.call(&scripts::JOIN);
        call.arg(now.as_millis())
            .arg(now.plus(lease).as_millis())
            .arg(i32::from(role != Role::Pass))
            .arg(i32::from(role == Role::OnlyServer))
            .arg(self.settings.limits.max_waiting)
            .arg(node.map_or(String::new(), |node| node.0.to_string()));
        let mut reply = self.run(&call).await?;
        let (holder, dead, freed) = (reply.natural()?, reply.int()?, reply.int()?);
        if dead > 0 {
            tracing::warn!("the last server did not end well; took back {freed} deliveries that it was sending");
        }
        Ok(Incarnation(holder))
    }

    async fn renew(&self, holder: Incarnation, lease: Duration, now: Timestamp) -> Result<u32, StoreError> {
        let mut call = self.call(&scripts::RENEW);
        call.arg(holder.0).arg(now.plus(lease).as_millis()).arg(now.as_millis());
        let nodes = self.run(&call).await?.natural()?;
        Ok(u32::try_from(nodes).unwrap_or(u32::MAX))
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
        let result = self.acceptor.accept(batch, now).await;
        self.fullness.note(&result);
        result
    }

    async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        let except: Vec<u8> = query.except.iter().flat_map(|subscription| subscription.to_bytes()).collect();
        let mut call = self.call(&scripts::DUE);
        call.arg(query.now.as_millis()).arg(query.limit).arg(except);
        let mut reply = self.run(&call).await?;
        Ok(Due {
            catalogue: CatalogueVersion(reply.natural()?),
            next: reply.optional_int()?.map(Timestamp::from_millis),
            subscriptions: subscriptions(reply)?,
        })
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
        policy: HealthPolicy,
        now: Timestamp,
    ) -> Result<Finished, StoreError> {
        let mut call = self.call(&scripts::FINISH);
        call.arg(holder.0)
            .arg(now.as_millis())
            .arg(self.settings.limits.max_waiting)
            .arg(policy.deactivation.max_failures)
            .arg(millis(policy.deactivation.after))
            .arg(policy.breaker.failures)
            .arg(millis(policy.breaker.first_pause))
            .arg(millis(policy.breaker.longest_pause))
            .arg(&NoticeId::new(now, [0; 10]).to_bytes()[..]);
        for outcome in outcomes.iter() {
            let becomes = match outcome.verdict.next {
                Next::Delivered => "delivered".into(),
                Next::Failed => "failed".into(),
                Next::RetryAt(time) => time.as_millis().to_string(),
            };
            let began = outcome.attempt.time;
            let ended = began.plus(Duration::from_millis(outcome.attempt.latency_ms.into()));
            call.arg(outcome.delivery.position())
                .arg(outcome.attempt.number)
                .arg(began.as_millis())
                .arg(ended.as_millis())
                .arg(attempt_json(&outcome.attempt)?)
                .arg(becomes)
                .arg(i32::from(outcome.verdict.gone));
        }
        let mut reply = self.run(&call).await?;
        Ok(Finished {
            ignored: usize::try_from(reply.natural()?).unwrap_or(usize::MAX),
            deactivated: subscriptions(reply.list()?)?,
            opened: subscriptions(reply.list()?)?,
            closed: subscriptions(reply.list()?)?,
        })
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

    async fn redeliver(
        &self,
        subscription: SubscriptionId,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut call = self.call(&scripts::REDELIVER);
        call.arg(&subscription.to_bytes()[..]).arg(now.as_millis()).arg(self.settings.limits.max_waiting);
        for delivery in &deliveries {
            call.arg(delivery.position());
        }
        let mut reply = self.run(&call).await?;
        let mut waiting = HashSet::new();
        while !reply.is_empty() {
            waiting.insert(reply.natural()?);
        }
        Ok(deliveries.into_iter().filter(|delivery| waiting.contains(&delivery.position())).collect())
    }

    async fn cancel(&self, event: EventId, now: Timestamp) -> Result<u64, StoreError> {
        let (mut cancelled, mut from) = (0, String::new());
        loop {
            let mut call = self.call(&scripts::CANCEL);
            call.arg(&event.to_bytes()[..]).arg(from).arg(CANCEL_AT_ONCE).arg(now.as_millis());
            let mut reply = self.run(&call).await?;
            cancelled += reply.natural()?;
            match reply.optional_int()? {
                Some(next) => from = next.to_string(),
                None => return Ok(cancelled),
            }
        }
    }

    async fn close(&self) {
        self.link.close().await;
    }
}
