//! From a trigger to deliveries: choose the recipients, reserve room for those that can go at once, store everything in one step,
//! and send what is held straight from memory.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering as Atomic},
    },
    time::Duration,
};

use hookcast_core::{
    clock::Timestamp,
    event::Event,
    id::{AccountId, SubscriptionId},
    options::Ordering,
    policy::Deduplicate,
};
use hookcast_store::{
    AcceptError, StoreError,
    engine::{Accepted, Batch, Idempotency, Incarnation, NewEvent, Receipt},
};
use tokio::{sync::Notify, time::Instant};

use crate::{
    directory::{Audience, Recipients},
    dispatcher::Dispatcher,
    holds::Holds,
    parts::Messages,
    scheduler::Work,
    target::Target,
    to_its_end::ToItsEnd,
};

/// How often a batch is tried again while subscriptions change under it.
const TRIES: usize = 20;

/// A larger payload, in bytes, is looked into by filters away from other requests.
const FILTERED_AT_ONCE: usize = 16 * 1024;

/// The least time between two words to the log on refusals.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long events wait at the most, before they are stored, for room in which they can be sent at once. What is sent from memory costs
/// a fraction of what is left in the store and fetched from there.
const MOMENT: Duration = Duration::from_secs(2);

/// They do where there is none for one in so many of their deliveries, of which so many are looked at, of each event and in all.
const WORTH_WAITING: usize = 4;
const LOOKED_AT: usize = 32;
const LOOKED_AT_IN_ALL: usize = 1_024;

/// How long an idempotency key is remembered.
pub const REMEMBER_KEY: Duration = Duration::from_secs(24 * 60 * 60);

/// An event to accept.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The event.
    pub event: Event,
    /// Whether the setting for equal content applies to it.
    pub deduplicate: bool,
    /// It is a notice: only those get it whom it concerns.
    pub about: Option<About>,
    /// Only this subscription gets it.
    pub only: Option<SubscriptionId>,
}

/// Whom a notice concerns.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The account, and with it the operators.
    pub account: AccountId,
    /// The subscription, which itself does not get it.
    pub subscription: SubscriptionId,
}

/// Accepts events.
pub struct Acceptor {
    dispatcher: Arc<Dispatcher>,
    deduplicate: Deduplicate,
    /// The `user_id`s of accounts that get everybody's notices.
    operators: HashSet<String>,
    arrivals: Notify,
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
        let last = self.told_at.load(Atomic::Relaxed);
        let is_silent = Timestamp::from_millis(last).plus(TELL_EVERY) > now;
        if is_silent || self.told_at.compare_exchange(last, now.as_millis(), Atomic::Relaxed, Atomic::Relaxed).is_err()
        {
            self.untold.fetch_add(1, Atomic::Relaxed);
            return;
        }
        let earlier = self.untold.swap(0, Atomic::Relaxed);
        tracing::warn!(%error, earlier, "a request to store events was refused, and so many earlier ones");
    }
}

impl Acceptor {
    /// One that hands its deliveries to this dispatcher.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>, deduplicate: Deduplicate, operators: HashSet<String>) -> Self {
        Self { dispatcher, deduplicate, operators, arrivals: Notify::new(), refusals: Refusals::default() }
    }

    /// Tells of events that this process has accepted and that somebody fetches.
    #[must_use]
    pub fn arrivals(&self) -> &Notify {
        &self.arrivals
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
        ToItsEnd::of(async move {
            let result = acceptor.accept_now(&submissions, idempotency.as_ref()).await;
            drop(room);
            result
        })
        .await
    }

    async fn accept_now(
        &self,
        submissions: &[Submission],
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, AcceptError> {
        let parts = self.dispatcher.parts();
        self.wait_for_room(submissions).await;
        let mut result = Err(AcceptError::StaleCatalogue);
        for _ in 0..TRIES {
            let (batch, reserved) = self.reserve(submissions, idempotency);
            let holder = batch.holder;
            result = parts.store.accept(batch, parts.clock.now()).await;
            match &result {
                Ok(accepted) => {
                    self.count(submissions, accepted);
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

    /// Counts what is new of producers': neither duplicates nor what the service sends by itself, notices and replays.
    fn count(&self, submissions: &[Submission], accepted: &Accepted) {
        if accepted.replayed {
            return;
        }
        let is_new = |(submission, receipt): &(&Submission, &Receipt)| {
            submission.about.is_none() && submission.only.is_none() && !receipt.duplicate
        };
        let new = submissions.iter().zip(&accepted.receipts).filter(is_new).count();
        self.dispatcher.meter().count_accepted(new as u64);
    }

    /// Waits a moment for room, where there will be much more then.
    async fn wait_for_room(&self, submissions: &[Submission]) {
        let until = Instant::now() + MOMENT;
        loop {
            // It hears what is told from now on, and so of all room that comes after the look.
            let told = self.dispatcher.room();
            if !self.is_crowded(submissions) {
                return;
            }
            if tokio::time::timeout_at(until, told).await.is_err() {
                return;
            }
        }
    }

    /// Whether many of those who get these events have no room, and will soon.
    fn is_crowded(&self, submissions: &[Submission]) -> bool {
        let parts = self.dispatcher.parts();
        let types = submissions.iter().map(|submission| &submission.event.event_type);
        let (_, audiences, holds) = parts.directory.audiences(types);
        let (now, time) = (Instant::now(), parts.clock.now());
        let (mut all, mut crowded) = (0, 0);
        let mut scheduler = self.dispatcher.scheduler();
        for (submission, audience) in submissions.iter().zip(&audiences) {
            let is_plain =
                submission.about.is_none() && submission.only.is_none() && submission.event.account().is_none();
            if !is_plain || submission.event.due_at() > time {
                continue;
            }
            if all >= LOOKED_AT_IN_ALL {
                break;
            }
            let everybody = audience.everybody();
            let some = everybody.iter().step_by(everybody.len().div_ceil(LOOKED_AT).max(1));
            for target in some.filter(|target| may_be_held(target, &holds, time)) {
                all += 1;
                crowded += usize::from(scheduler.is_crowded(target.subscription, &target.lane, everybody.len(), now));
            }
        }
        crowded > 0 && crowded * WORTH_WAITING >= all
    }

    /// Chooses who gets what, and reserves room for as many deliveries as can go at once.
    fn reserve(&self, submissions: &[Submission], idempotency: Option<&Idempotency>) -> (Batch, Reserved) {
        let parts = self.dispatcher.parts();
        let types = submissions.iter().map(|submission| &submission.event.event_type);
        let (catalogue, audiences, holds) = parts.directory.audiences(types);
        let recipients: Vec<_> = submissions
            .iter()
            .zip(&audiences)
            .map(|(submission, audience)| self.recipients(submission, audience))
            .collect();
        let (now, time) = (Instant::now(), parts.clock.now());
        let mut scheduler = self.dispatcher.scheduler();
        let mut events = Vec::with_capacity(submissions.len());
        let mut room = Reserved::default();
        for (submission, Recipients { recipients, targets }) in submissions.iter().zip(recipients) {
            let size = submission.event.payload.get().len();
            let is_due = submission.event.due_at() <= time;
            let mut lanes = ReservedLanes { targets: Vec::new(), size };
            let mut reserved = Vec::new();
            for (index, target) in (0_u32..).zip(targets.iter()) {
                if !is_due || !target.is_active || holds.hold(target, || time) {
                    room.is_fetched |= target.is_fetched;
                    continue;
                }
                // What waits for others goes to the store. Of a large fan-out most goes there, too: one look for all of them is
                // enough then.
                let is_held = target.ordering == Ordering::None
                    && !scheduler.is_full()
                    && scheduler.reserve_fresh(target.subscription, &target.lane, size, now);
                if is_held {
                    reserved.push(index);
                    lanes.targets.push(Arc::clone(target));
                } else {
                    room.turned_away.insert(target.subscription);
                }
            }
            room.by_event.push(lanes);
            let event = submission.event.clone();
            events.push(NewEvent { event, deduplicate: submission.deduplicate, recipients, reserved });
        }
        drop(scheduler);
        let holder = parts.lease.holder();
        let batch =
            Batch { catalogue, holder, events, deduplicate: self.deduplicate, idempotency: idempotency.cloned() };
        (batch, room)
    }

    fn recipients(&self, submission: &Submission, audience: &Audience) -> Recipients {
        let event = &submission.event;
        let recipients = if audience.has_filters() && event.payload.get().len() > FILTERED_AT_ONCE {
            // Other requests go on meanwhile on other threads.
            tokio::task::block_in_place(|| audience.recipients(event))
        } else {
            audience.recipients(event)
        };
        match (submission.about, event.account(), submission.only) {
            (Some(about), ..) => recipients.only(|target| self.concerns(about, target)),
            (None, None, None) => recipients,
            (None, account, only) => recipients.only(|target| {
                account.is_none_or(|account| target.account == account)
                    && only.is_none_or(|only| target.subscription == only)
            }),
        }
    }

    /// Whether a subscription gets notices of another one.
    fn concerns(&self, about: About, target: &Target) -> bool {
        target.subscription != about.subscription
            && (target.account == about.account || self.operators.contains(&target.user_id))
    }

    /// Sends what is held, gives back the room of duplicates, and tells of what else is due.
    fn send_held(&self, submissions: &[Submission], reserved: &Reserved, accepted: &Accepted, holder: Incarnation) {
        let held = |event: usize| accepted.held.get(event).filter(|held| !held.is_empty());
        let mut work = Vec::new();
        let mut messages = Messages::new(&self.dispatcher.parts().formatter);
        for (index, (submission, lanes)) in submissions.iter().zip(&reserved.by_event).enumerate() {
            let Some(deliveries) = held(index) else { continue };
            work.extend(lanes.targets.iter().zip(deliveries).map(|(target, delivery)| {
                let work = Work {
                    delivery: *delivery,
                    subscription: target.subscription,
                    group: None,
                    event: submission.event.told_id(),
                    attempts: 0,
                    message: messages.of(&submission.event, target.format),
                    holder,
                    begun: None,
                };
                (work, lanes.size)
            }));
        }
        reserved.give_back(&self.dispatcher, |event| held(event).is_none());
        self.dispatcher.dispatch(work);
        if reserved.is_fetched {
            self.arrivals.notify_waiters();
        }
        // A full lane tells by itself when it has room again. One that got room while the batch was written does not.
        if self.dispatcher.has_room_for_any(&reserved.turned_away) {
            self.dispatcher.wake();
        }
    }
}

/// Whether a delivery to a target may go from memory, if there is room.
fn may_be_held(target: &Target, holds: &Holds, now: Timestamp) -> bool {
    target.is_active && target.ordering == Ordering::None && !holds.hold(target, || now)
}

/// The room that a batch has reserved.
#[derive(Default)]
struct Reserved {
    by_event: Vec<ReservedLanes>,
    /// Active recipients for whom there was no room.
    turned_away: BTreeSet<SubscriptionId>,
    /// Some of it is to be fetched.
    is_fetched: bool,
}

struct ReservedLanes {
    targets: Vec<Arc<Target>>,
    /// The bytes reserved for each.
    size: usize,
}

impl Reserved {
    /// Gives back the room of those events for which `unused` holds.
    fn give_back(&self, dispatcher: &Dispatcher, unused: impl Fn(usize) -> bool) {
        let now = Instant::now();
        let mut scheduler = dispatcher.scheduler();
        for (_, lanes) in self.by_event.iter().enumerate().filter(|(index, _)| unused(*index)) {
            for target in &lanes.targets {
                scheduler.unreserve(target.subscription, 1, lanes.size, now);
            }
        }
    }
}
