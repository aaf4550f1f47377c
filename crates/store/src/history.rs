//! The history's side of a store: what people read, and how long it is kept.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::{Attempt, DeliveryState},
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
};

use crate::{
    error::StoreError,
    location::StoreKind,
    page::{Page, PageRequest},
};

/// An event and what has become of it.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// The event.
    pub event: Event,
    /// How many deliveries it has in all.
    pub total: u64,
    /// Its deliveries.
    pub deliveries: Page<DeliveryRecord>,
}

/// A delivery as people read it.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// What it brings.
    pub event: EventId,
    /// That event's type.
    pub event_type: String,
    /// Whom it goes to.
    pub subscription: SubscriptionId,
    /// The `user_id` of whose subscription it is.
    pub user_id: String,
    /// The callback; `None` where the subscription's owner fetches what waits.
    pub url: Option<String>,
    /// Whether the subscription is active.
    pub is_active: bool,
    /// What has become of it.
    pub state: DeliveryState,
    /// When it is tried next, while it waits; `None` while it waits for others to end.
    pub due_at: Option<Timestamp>,
    /// While it waits and its subscription's breaker is open: before this time it is not tried, whenever it is due.
    pub probe_at: Option<Timestamp>,
    /// Every attempt so far, the first one first.
    pub attempts: Vec<Attempt>,
}

/// Which events are wanted, in the order of their ids and so of their times.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// Only those that their producer knows by this id.
    pub source_id: Option<String>,
    /// Only those of this time or later.
    pub since: Timestamp,
    /// Only those of earlier times.
    pub until: Timestamp,
    /// The oldest first; else the newest.
    pub ascending: bool,
    /// Only those that follow this one in that order.
    pub after: Option<EventId>,
    /// At most so many.
    pub limit: u32,
    /// No more once payloads come to so many bytes; one at the least if there is any.
    pub max_bytes: usize,
}

impl EventQuery {
    /// The ids between which all that is wanted lies: the least that is, and the least that is not.
    pub(crate) fn ids(&self) -> (EventId, EventId) {
        (EventId::least(self.since), EventId::least(self.until))
    }
}

/// What a purge took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Events, with their deliveries and attempts.
    pub events: u64,
    /// Those of their deliveries that had not ended, and so have expired.
    pub expired: u64,
    /// There may be more to take away.
    pub more: bool,
}

/// What an answered [`accept`](crate::engine::Engine::accept) survives in this store, as it is set up now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which kind of store it is.
    pub store: StoreKind,
    /// The crash and restart of the store itself, and of the machine that it is on.
    pub survives_restart: bool,
    /// The loss of that machine for good, another one taking its place.
    pub survives_failover: bool,
    /// What its operator should know of it, a sentence each.
    pub remarks: Vec<String>,
}

/// Events, deliveries and attempts as people read them.
#[async_trait]
pub trait History: Send + Sync {
    /// An event with a page of its deliveries.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such event, or no longer.
    async fn event(&self, id: EventId, deliveries: PageRequest) -> Result<EventRecord, StoreError>;

    /// Events, without what has become of them.
    ///
    /// # Errors
    /// The store failed.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError>;

    /// One delivery.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such delivery, or no longer.
    async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, StoreError>;

    /// A subscription's deliveries, the newest first, of one state or of all.
    ///
    /// # Errors
    /// The store failed.
    async fn deliveries(
        &self,
        subscription: SubscriptionId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<DeliveryRecord>, StoreError>;

    /// Takes away events accepted before a time, a part of them at a call, and idempotency keys and fingerprints that have
    /// run out. What a process is sending now is left for later. A store may take events away by the day (UTC) and then leaves
    /// those of the day in which `before` falls.
    ///
    /// # Errors
    /// The store failed.
    async fn purge(&self, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError>;

    /// Whether the store answers, takes writes, and has room for events; what it promises if so.
    ///
    /// # Errors
    /// Why it does not.
    async fn check(&self) -> Result<Promise, StoreError>;
}
