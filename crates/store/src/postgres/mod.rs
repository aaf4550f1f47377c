//! The store on PostgreSQL, for any number of nodes.
//!
//! - [`connect`]: the URL and TLS; [`pool`]: connections and transactions; [`locks`]: what keeps nodes out of each other's way.
//! - [`schema`]: the tables' versions; [`partitions`]: the days of the history; [`durability`]: what the server promises.
//! - [`accept`] with [`admission`] and [`intake`]; [`claim`]; [`outcomes`] with [`health`]; [`leases`]; [`lanes`]; [`order`]: the
//!   engine's work.
//! - [`catalogue`]; [`notices`]; [`history`] with [`purge`]; [`transfer`] with [`export`] and [`import`]: the other traits. [`hints`]: that
//!   there is work.

mod accept;
mod access;
mod accounts;
mod admission;
mod cancellation;
mod catalogue;
mod claim;
mod connect;
mod documents;
mod durability;
mod export;
mod health;
mod hints;
mod history;
mod import;
mod intake;
mod lanes;
mod leases;
mod locks;
mod log;
mod notices;
mod order;
mod outcomes;
mod partitions;
mod pool;
mod positions;
mod pull;
mod purge;
mod redelivery;
mod rows;
mod schema;
mod subscribing;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use self::connect::Connector;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    id::{DeliveryId, EventId, SubscriptionId},
    policy::HealthPolicy,
};
use tokio::task::JoinSet;

use self::{
    durability::Server,
    hints::Hints,
    partitions::Partitions,
    pool::{Pool, Statement},
    positions::Positions,
    rows::Keys,
};
use crate::{
    Limits, Settings,
    engine::{Accepted, Batch, Claim, Claimed, Due, DueQuery, Engine, Finished, Incarnation, Node, Outcome, Role},
    error::{AcceptError, StoreError},
    fullness::Fullness,
    gather::Gatherer,
};

/// A name that no other handle has.
const NAME: Statement = Statement { sql: "SELECT gen_random_uuid()::text", types: &[] };

/// The store on PostgreSQL.
pub(crate) struct PostgresStore {
    shared: Arc<Shared>,
    acceptor: Gatherer,
    connector: Connector,
    /// This handle's name in notifications.
    name: String,
    /// Whether a connection can listen; behind a pooler it cannot.
    may_listen: bool,
    /// Ended by being dropped.
    background: Mutex<JoinSet<()>>,
    fullness: Fullness,
}

/// What all parts of the store work with.
struct Shared {
    pool: Pool,
    limits: Limits,
    keys: Keys,
    partitions: Partitions,
    positions: Positions,
    hints: Arc<Hints>,
}

impl PostgresStore {
    /// Connects to the server and makes or migrates the tables where need be.
    pub(crate) async fn open(url: &str, settings: &Settings) -> Result<Self, StoreError> {
        let connector = Connector::new(url, settings.ca_file.as_deref())?;
        let mut pool = Pool::new(&connector, settings.connections, settings.prepared_statements)?;
        let server = Server::ask(&pool).await?;
        server.check(settings)?;
        if server.commits_early() {
            pool.insist_on_durability();
        }
        schema::migrate(&pool).await?;
        let shared = Arc::new(Shared {
            pool,
            limits: settings.limits,
            keys: Keys::default(),
            partitions: Partitions::default(),
            positions: Positions::default(),
            hints: Arc::default(),
        });
        let name: String = rows::single(&shared.pool.query(&NAME, &[]).await?)?;
        let mut background = JoinSet::new();
        background.spawn(Arc::clone(&shared.hints).keep_telling(shared.pool.clone(), name.clone()));
        let accepting = Arc::clone(&shared);
        let acceptor = Gatherer::start(accept::BOUNDS, move |requests| {
            let shared = Arc::clone(&accepting);
            async move { accept::accept(&shared, &requests).await }
        });
        Ok(Self {
            acceptor,
            shared,
            connector,
            name,
            may_listen: settings.prepared_statements,
            background: Mutex::new(background),
            fullness: Fullness::default(),
        })
    }
}

#[async_trait]
impl Engine for PostgresStore {
    async fn join(
        &self,
        role: Role,
        node: Option<Node>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        leases::join(&self.shared, role, node, lease, now).await
    }

    async fn renew(&self, holder: Incarnation, lease: Duration, now: Timestamp) -> Result<u32, StoreError> {
        leases::renew(&self.shared, holder, now.plus(lease), now).await
    }

    async fn leave(&self, holder: Incarnation, now: Timestamp) -> Result<(), StoreError> {
        leases::end(&self.shared, holder, now, None).await?;
        self.shared.hints.tell();
        Ok(())
    }

    async fn rescue(&self, now: Timestamp) -> Result<u64, StoreError> {
        leases::rescue(&self.shared, now).await
    }

    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        let result = self.acceptor.accept(batch, now).await;
        self.fullness.note(&result);
        result
    }

    async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        claim::due(&self.shared, &query).await
    }

    async fn wait_for_work(&self) {
        if self.may_listen && self.shared.hints.begin_to_listen() {
            let listen = Arc::clone(&self.shared.hints).keep_listening(self.connector.clone(), self.name.clone());
            self.background.lock().unwrap_or_else(PoisonError::into_inner).spawn(listen);
        }
        self.shared.hints.heard().await;
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
        claim::claim(&self.shared, &claim, now).await
    }

    async fn finish(
        &self,
        holder: Incarnation,
        outcomes: Arc<[Outcome]>,
        policy: HealthPolicy,
        now: Timestamp,
    ) -> Result<Finished, StoreError> {
        outcomes::finish(&self.shared, holder, &outcomes, policy, now).await
    }

    async fn release(
        &self,
        holder: Incarnation,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        leases::release(&self.shared, holder, &deliveries, now).await
    }

    async fn redeliver(
        &self,
        subscription: SubscriptionId,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        redelivery::redeliver(&self.shared, subscription, &deliveries, now).await
    }

    async fn cancel(&self, event: EventId, now: Timestamp) -> Result<u64, StoreError> {
        cancellation::cancel(&self.shared, event, now).await
    }

    async fn close(&self) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.shared.pool.close();
    }
}
