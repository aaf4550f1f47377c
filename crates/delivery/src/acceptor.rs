//! From a trigger to deliveries: choose the recipients, reserve room for those that can go at once, store everything in one step,
//! and send what is held straight from memory.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use hookcast_core::{clock::Timestamp, event::Event, id::SubscriptionId, policy::Deduplicate};
use hookcast_store::{
    AcceptError, StoreError,
    engine::{Accepted, Batch, Idempotency, Incarnation, NewEvent},
};
use tokio::time::Instant;

use crate::{dispatcher::Dispatcher, scheduler::Work};

/// How often a batch is tried again while subscriptions change under it.
const TRIES: usize = 20;

/// The least time between two words to the log on refusals.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long an idempotency key is remembered.
pub const REMEMBER_KEY: Duration = Duration::from_secs(24 * 60 * 60);

/// An event to accept.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The event.
    pub event: Event,
    /// Whether the setting for equal content applies to it.
    pub deduplicate: bool,
}

/// Accepts events.
pub struct Acceptor {
    dispatcher: Arc<Dispatcher>,
    deduplicate: Deduplicate,
    refusals: Refusals,
}

/// Tells the log of refusals, and not of each.
#[derive(Default)]
struct Refusals {
    /// When it last told, in ms.
    told_at: AtomicI64,
    untold: AtomicU64,
}

impl Refusals {
    fn tell(&self, error: &StoreError, now: Timestamp) {
        let last = self.told_at.load(Ordering::Relaxed);
        let is_silent = Timestamp::from_millis(last).plus(TELL_EVERY) > now;
        if is_silent
            || self.told_at.compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let earlier = self.untold.swap(0, Ordering::Relaxed);
        tracing::warn!(%error, earlier, "a request to store events was refused, and so many earlier ones");
    }
}

impl Acceptor {
    /// One that hands its deliveries to this dispatcher.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, deduplicate: Deduplicate) -> Self {
        Self { dispatcher, deduplicate, refusals: Refusals::default() }
    }

    /// Accepts events, all or none. When it answers, they and all that is needed to deliver them are on disk.
    ///
    /// Runs to its end even where the caller leaves: what is stored as held by this process must reach its queues. `room` is what
    /// the caller has reserved for the events' bytes; it is kept until then.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing is stored then.
    pub async fn accept(
        self: &Arc<Self>,
        submissions: Vec<Submission>,
        idempotency: Option<Idempotency>,
        room: impl Send + 'static,
    ) -> Result<Accepted, AcceptError> {
        let acceptor = Arc::clone(self);
        let accept = async move {
            let result = acceptor.accept_now(&submissions, idempotency.as_ref()).await;
            drop(room);
            result
        };
        tokio::spawn(accept).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    async fn accept_now(
        &self,
        submissions: &[Submission],
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, AcceptError> {
        let parts = self.dispatcher.parts();
        let mut result = Err(AcceptError::StaleCatalogue);
        for _ in 0..TRIES {
            let batch = self.reserve(submissions, idempotency);
            let (holder, reserved) = (batch.holder, Reserved::of(&batch));
            result = parts.store.accept(batch, parts.clock.now()).await;
            match &result {
                Ok(accepted) => {
                    self.send_held(submissions, &reserved, accepted, holder);
                    break;
                }
                Err(error) => {
                    reserved.give_back(&self.dispatcher, |_| true);
                    match error {
                        AcceptError::StaleCatalogue => parts.directory.refresh().await?,
                        AcceptError::LeaseLost => parts.lease.renew().await?,
                        AcceptError::Store(error) => {
                            self.refusals.tell(error, parts.clock.now());
                            parts.lease.doubt(error);
                            break;
                        }
                        AcceptError::KeyReused => break,
                    }
                }
            }
        }
        result
    }

    /// Chooses who gets what, and reserves room for as many deliveries as can go at once.
    fn reserve(&self, submissions: &[Submission], idempotency: Option<&Idempotency>) -> Batch {
        let parts = self.dispatcher.parts();
        let types = submissions.iter().map(|submission| &submission.event.event_type);
        let (catalogue, recipients) = parts.directory.recipients(types);
        let now = Instant::now();
        let mut scheduler = self.dispatcher.scheduler();
        let mut events = Vec::with_capacity(submissions.len());
        for (submission, recipients) in submissions.iter().zip(recipients) {
            let size = submission.event.payload.get().len();
            let reserved = (0_u32..)
                .zip(recipients.iter())
                .filter(|(_, recipient)| recipient.is_active)
                // Of a large fan-out most go to the store: one look for all of them is enough then.
                .filter(|(_, recipient)| {
                    let id = recipient.subscription;
                    !scheduler.is_full()
                        && parts
                            .directory
                            .target(id)
                            .is_some_and(|target| scheduler.reserve_fresh(id, &target.rules, size, now))
                })
                .map(|(index, _)| index)
                .collect();
            let event = submission.event.clone();
            events.push(NewEvent { event, deduplicate: submission.deduplicate, recipients, reserved });
        }
        drop(scheduler);
        let holder = parts.lease.holder();
        Batch { catalogue, holder, events, deduplicate: self.deduplicate, idempotency: idempotency.cloned() }
    }

    /// Sends what is held, gives back the room of duplicates, and tells of what else is due.
    fn send_held(&self, submissions: &[Submission], reserved: &Reserved, accepted: &Accepted, holder: Incarnation) {
        let held = |event: usize| accepted.held.get(event).filter(|held| !held.is_empty());
        let mut work = Vec::new();
        for (index, (submission, lanes)) in submissions.iter().zip(&reserved.by_event).enumerate() {
            let Some(deliveries) = held(index) else { continue };
            let body = self.dispatcher.parts().envelope.wrap(&submission.event);
            work.extend(lanes.subscriptions.iter().zip(deliveries).map(|(subscription, delivery)| {
                let work = Work {
                    delivery: *delivery,
                    subscription: *subscription,
                    group: None,
                    event: submission.event.id,
                    attempts: 0,
                    body: body.clone(),
                    holder,
                };
                (work, lanes.size)
            }));
        }
        reserved.give_back(&self.dispatcher, |event| held(event).is_none());
        self.dispatcher.dispatch(work);
        // A full lane tells by itself when it has room again. One that got room while the batch was written does not.
        if self.dispatcher.has_room_for_any(&reserved.turned_away) {
            self.dispatcher.wake();
        }
    }
}

/// The room that a batch has reserved.
struct Reserved {
    by_event: Vec<ReservedLanes>,
    /// Active recipients for whom there was no room.
    turned_away: BTreeSet<SubscriptionId>,
}

struct ReservedLanes {
    subscriptions: Vec<SubscriptionId>,
    /// The bytes reserved for each.
    size: usize,
}

impl Reserved {
    fn of(batch: &Batch) -> Self {
        let mut turned_away = BTreeSet::new();
        let mut by_event = Vec::with_capacity(batch.events.len());
        for new in &batch.events {
            let mut subscriptions = Vec::with_capacity(new.reserved.len());
            let mut reserved = new.reserved.iter().copied().peekable();
            for (index, recipient) in (0_u32..).zip(new.recipients.iter()) {
                if reserved.next_if_eq(&index).is_some() {
                    subscriptions.push(recipient.subscription);
                } else if recipient.is_active {
                    turned_away.insert(recipient.subscription);
                }
            }
            by_event.push(ReservedLanes { subscriptions, size: new.event.payload.get().len() });
        }
        Self { by_event, turned_away }
    }

    /// Gives back the room of those events for which `unused` holds.
    fn give_back(&self, dispatcher: &Dispatcher, unused: impl Fn(usize) -> bool) {
        let now = Instant::now();
        let mut scheduler = dispatcher.scheduler();
        for (_, lanes) in self.by_event.iter().enumerate().filter(|(index, _)| unused(*index)) {
            for subscription in &lanes.subscriptions {
                scheduler.unreserve(*subscription, 1, lanes.size, now);
            }
        }
    }
}
