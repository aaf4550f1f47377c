//! The engine's side of a store: accepting events, handing out deliveries, taking their outcomes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::{Attempt, Verdict},
    event::{Event, EventType},
    id::{DeliveryId, EventId, SubscriptionId},
    policy::{Deduplicate, HealthPolicy},
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{CatalogueVersion, Recipient},
    error::{AcceptError, StoreError},
};

/// After a probe was claimed nothing more is claimed of its subscription for so long, unless its outcome comes.
pub const PROBE_WAIT: Duration = Duration::from_secs(120);

/// The most that one claim takes of one group, the head included. A failure of the head gives back all that follow it, so that
/// claiming many of a group whose deliveries fail now and then costs far more than claiming a few again and again.
pub const RUN_MAX: usize = 32;

/// One run of one process. What it holds is its own until its lease ends; a process that starts again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u64);

/// One process over all of its incarnations, by a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node(pub u64);

/// What a process is, as far as taking over its deliveries is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server among others that may live.
    Server,
    /// The only server of this store, which a lock guarantees: what earlier servers held is free at once.
    OnlyServer,
    /// A pass over what is due, such as `hookcast resend`.
    Pass,
}

/// Events to accept, all or none.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The catalogue that the recipients were chosen from.
    pub catalogue: CatalogueVersion,
    /// Who holds the reserved deliveries.
    pub holder: Incarnation,
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// The rule for events of equal content.
    pub deduplicate: Deduplicate,
    /// The key under which a repeated request gets the first one's answer.
    pub idempotency: Option<Idempotency>,
}

/// An event to accept.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// Whether the batch's rule for equal content applies to it.
    pub deduplicate: bool,
    /// Every subscription to its type, the inactive ones too.
    pub recipients: Arc<[Recipient]>,
    /// Indexes of the recipients whose deliveries the holder sends at once, ascending; never of one whose deliveries wait for
    /// each other. The rest are due and free, or wait for those before them.
    pub reserved: Vec<u32>,
}

impl NewEvent {
    /// The group of the delivery to this recipient; see [`Ordering::group`](hookcast_core::options::Ordering::group).
    #[must_use]
    pub fn group(&self, recipient: &Recipient) -> Option<i64> {
        recipient.ordering.group(self.event.key.as_deref())
    }
}

/// An idempotency key.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The producer's key.
    pub key: String,
    /// A digest of the request's body: another one under the same key is a mistake.
    pub body_digest: [u8; 32],
    /// How long the key is remembered.
    pub remember: Duration,
}

/// A producer's answer to one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event's id; of a duplicate, the first one's.
    pub id: EventId,
    /// The event's type.
    pub event: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub time: String,
    /// The md5 of its canonical content, in hexadecimal.
    pub md5: String,
    /// Whether an event of equal content came before, so that this one is not sent.
    pub duplicate: bool,
    /// How many subscriptions it goes to.
    pub subscriptions: u64,
}

impl Receipt {
    /// The answer to an event that goes to so many subscriptions.
    pub(crate) fn of(event: &Event, subscriptions: usize) -> Self {
        Self {
            id: event.id,
            event: event.event_type.to_string(),
            time: event.time.to_string(),
            md5: event.md5.to_string(),
            duplicate: false,
            subscriptions: u64::try_from(subscriptions).unwrap_or(u64::MAX),
        }
    }

    /// The answer to an event whose content came before, with this one.
    pub(crate) fn duplicate(self, first: EventId, time: Timestamp) -> Self {
        Self { id: first, time: time.to_string(), duplicate: true, subscriptions: 0, ..self }
    }
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// A receipt for each event, in order.
    pub receipts: Vec<Receipt>,
    /// For each event the deliveries that its `reserved` recipients got, in the same order; empty for duplicates.
    pub held: Vec<Vec<DeliveryId>>,
    /// The receipts are those of an earlier request under the same idempotency key.
    pub replayed: bool,
}

/// A question for subscriptions with deliveries that are due.
#[derive(Clone, Debug)]
pub struct DueQuery {
    /// The time now.
    pub now: Timestamp,
    /// At most so many subscriptions.
    pub limit: usize,
    /// Leave these out.
    pub except: HashSet<SubscriptionId>,
}

/// Subscriptions with deliveries that are due.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Active subscriptions with something due, the longest waiting first.
    pub subscriptions: Vec<SubscriptionId>,
    /// When the next subscription has something due, of those that have nothing due yet. `None` also where `limit` was reached
    /// before one was met.
    pub next: Option<Timestamp>,
    /// The catalogue's version.
    pub catalogue: CatalogueVersion,
}

/// A wish to hold deliveries.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who wants them.
    pub holder: Incarnation,
    /// From which subscriptions, and how many at the most from each.
    pub wanted: Vec<(SubscriptionId, usize)>,
    /// Which ones.
    pub which: Which,
    /// Stop after so many bytes of payload; one delivery at the least is claimed if there is any.
    pub max_bytes: usize,
}

/// Which of a subscription's deliveries are meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// Those that wait and are due by this time, the longest waiting first.
    DueBy(Timestamp),
    /// A pass over all that match, the oldest first.
    Pass(Pass),
}

impl Which {
    /// Whether an open breaker lets only a probe through.
    pub(crate) fn asks_the_breaker(&self) -> bool {
        match self {
            Self::DueBy(_) => true,
            Self::Pass(pass) => pass.due_by.is_some() && !pass.failed,
        }
    }
}

/// What a pass goes over.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Those that wait and are due by this time; `None` for all that wait.
    pub due_by: Option<Timestamp>,
    /// Those that have failed, too.
    pub failed: bool,
    /// Only of this type.
    pub event: Option<EventType>,
    /// Only of events accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Only deliveries after this one.
    pub after: Option<DeliveryId>,
}

/// A delivery that the claimer holds.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: DeliveryId,
    /// Whom it goes to.
    pub subscription: SubscriptionId,
    /// How many attempts it has had.
    pub attempts: u32,
    /// Of those of one group and subscription the next one goes out when this one is done for good, and not before.
    pub group: Option<i64>,
    /// What it brings.
    pub event: Arc<Event>,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Whom it went to.
    pub subscription: SubscriptionId,
    /// Its group, as it was claimed with.
    pub group: Option<i64>,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows from it.
    pub verdict: Verdict,
}

/// What became of outcomes.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// How many outcomes did not count, since the delivery was no longer held.
    pub ignored: usize,
    /// Subscriptions that have become inactive.
    pub deactivated: Vec<SubscriptionId>,
    /// Subscriptions whose breaker has opened.
    pub opened: Vec<SubscriptionId>,
    /// Subscriptions whose breaker has closed.
    pub closed: Vec<SubscriptionId>,
}

impl Finished {
    /// Whether the catalogue has changed with it.
    #[must_use]
    pub fn changes_catalogue(&self) -> bool {
        !(self.deactivated.is_empty() && self.opened.is_empty() && self.closed.is_empty())
    }
}

/// Accepts events, hands out deliveries, takes their outcomes.
///
/// **Order.** Deliveries of one group and one subscription are sent in the order of acceptance, which is that of the commits. Of
/// those that have not ended the first one is the group's *head*. Only a head is due; the others have no due time of their own, and
/// become due when they become heads. A claim takes a head together with as many that follow it as are wanted, and at most
/// [`RUN_MAX`] of one group, all of which one process then holds; so does nobody else hold any of the group. Whatever ends a head, or gives it back, leaves the group like
/// this. One that has failed and is sent again has left its group.
///
/// **Breaker.** While a subscription's [`Health::probe_at`](hookcast_core::subscription::Health::probe_at) is set nothing of it is
/// due before that time, and then a claim takes one delivery, the *probe*, without followers, and nobody another one within
/// [`PROBE_WAIT`], or until its outcome is there. Where the probe comes back untried, be it given back or its holder's lease ended,
/// before anything else has changed `probe_at`, the next one may go at once. Nothing else that comes back does so: what was held when
/// the breaker opened waits for `probe_at` like the rest. Passes over all that waits, or over what has failed, do not ask the
/// breaker.
/// Changes of `probe_at` from or to `None` count as changes of the catalogue.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Registers a process and gives it a lease of this length. `node` is `None` for one that sends nothing by itself.
    ///
    /// # Errors
    /// The store failed.
    async fn join(
        &self,
        role: Role,
        node: Option<Node>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Incarnation, StoreError>;

    /// Lengthens a lease to this length from now on. Answers how many nodes send, which is by how many a subscription's limit is
    /// divided: those that have a lease that has not run out, each once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the lease has run out and somebody has ended it: others may hold its deliveries. One that has
    /// run out and that nobody has ended is renewed.
    async fn renew(&self, holder: Incarnation, lease: Duration, now: Timestamp) -> Result<u32, StoreError>;

    /// Ends a lease; what its process held is due again.
    ///
    /// # Errors
    /// The store failed.
    async fn leave(&self, holder: Incarnation, now: Timestamp) -> Result<(), StoreError>;

    /// Ends every lease that has run out, as [`leave`](Self::leave) would. Answers how many deliveries are due again.
    ///
    /// # Errors
    /// The store failed.
    async fn rescue(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Stores events with a delivery for each recipient. When it answers, they are on disk.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing of the batch is stored then.
    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError>;

    /// Finds subscriptions with deliveries that are due.
    ///
    /// # Errors
    /// The store failed.
    async fn due(&self, query: DueQuery) -> Result<Due, StoreError>;

    /// Ends when another process may have made work available. Only a hint: it may end without a reason or never, and whoever
    /// wants work asks for it now and then in any case.
    async fn wait_for_work(&self);

    /// Takes deliveries to send, of active subscriptions only.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the claimer's lease has run out.
    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Claimed>, StoreError>;

    /// Records outcomes: attempts, states, the subscriptions' health and the [notices](crate::notices) of its changes, for those
    /// deliveries that `holder` still holds. It does until they are given back or rescued, even where its lease has run out
    /// meanwhile.
    ///
    /// # Errors
    /// The store failed; no outcome is recorded.
    async fn finish(
        &self,
        holder: Incarnation,
        outcomes: Arc<[Outcome]>,
        policy: HealthPolicy,
        now: Timestamp,
    ) -> Result<Finished, StoreError>;

    /// Gives back deliveries that were not sent; they are due at once.
    ///
    /// # Errors
    /// The store failed.
    async fn release(&self, holder: Incarnation, deliveries: Vec<DeliveryId>, now: Timestamp)
    -> Result<(), StoreError>;

    /// Lets deliveries of a subscription be sent again that were delivered, have failed or have expired: they wait, are due at once,
    /// are in no group, and their attempts go on being counted. The others that are named are left as they are. Answers those
    /// that wait now.
    ///
    /// # Errors
    /// The store failed; nothing has changed.
    async fn redeliver(
        &self,
        subscription: SubscriptionId,
        deliveries: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError>;

    /// Marks an event as cancelled, unless it is already; cancels what still waits of it, and answers how much that was. What is being
    /// sent or has ended stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such event. Where the store failed some of it may be cancelled.
    async fn cancel(&self, event: EventId, now: Timestamp) -> Result<u64, StoreError>;

    /// Ends the use of the store: what was written is in its place, and nothing more can be asked through this handle.
    async fn close(&self);
}
