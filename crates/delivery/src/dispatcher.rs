//! From what is held or due to attempts in flight.
//!
//! Fresh deliveries come straight from [`crate::acceptor`]. Everything else waits in the store and is fetched by one loop, when
//! it is due and when there is room. The loop looks when it is told that there may be something, when it knows that something
//! becomes due, and once a second in any case: what it is told is only a hint.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hookcast_core::{clock::Timestamp, id::SubscriptionId};
use hookcast_store::{
    StoreError,
    engine::{Claim, DueQuery, Incarnation, Which},
};
use tokio::{
    sync::{Notify, futures::Notified, watch},
    time::Instant,
};

use crate::{
    courier::{feedback, is_settled},
    parts::Parts,
    rates::Meter,
    recorder::{Entry, Recorded, Recorder},
    scheduler::{Bounds, Ended, Feedback, OwnLimit, Scheduler, Work},
    target::Target,
};

/// How often the loop looks even if nothing tells it to.
const POLL: Duration = Duration::from_secs(1);

/// Subscriptions that one look brings, deliveries that one claim takes from each and in all, and the bytes that it takes in all. Others
/// cannot write while a store claims, so that a claim must not be long.
const LANES_PER_LOOK: usize = 256;
const CLAIM_PER_LANE: usize = 1_024;
const CLAIM_IN_ALL: usize = 2_048;
const CLAIM_BYTES: usize = 8 * 1024 * 1024;

/// So many deliveries are claimed from a subscription at the least, where so many wait: each has its own price.
const CLAIM_WORTHWHILE: usize = 16;

/// Starts attempts, as many at a time as may be.
pub struct Dispatcher {
    parts: Parts,
    scheduler: Mutex<Scheduler>,
    /// Given away at the end, so that the recorder sees that nothing more will come.
    recorder: Mutex<Option<Recorder>>,
    wake: Notify,
    /// Tells that there may be room again, after what is in the store has had its turn.
    has_room: Notify,
    /// When the scheduler wants to be woken.
    timer: watch::Sender<Option<Instant>>,
    /// When the loop looks next by itself, in ms.
    next_look: AtomicI64,
    drained: Notify,
    meter: Meter,
}

impl Dispatcher {
    /// A dispatcher that has nothing to do yet.
    #[must_use]
    pub fn new(parts: Parts, recorder: Recorder, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            parts,
            scheduler: Mutex::new(Scheduler::new(bounds)),
            recorder: Mutex::new(Some(recorder)),
            wake: Notify::new(),
            has_room: Notify::new(),
            timer: watch::Sender::new(None),
            next_look: AtomicI64::new(i64::MAX),
            drained: Notify::new(),
            meter: Meter::new(),
        })
    }

    /// What the dispatcher works with.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What is counted of this process's work.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The queues, for a moment.
    pub(crate) fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues deliveries for which room was reserved and starts what may start.
    /// The bytes that were reserved for it stand beside each.
    pub(crate) fn dispatch(self: &Arc<Self>, work: impl IntoIterator<Item = (Work, usize)>) {
        let now = Instant::now();
        let mut scheduler = self.scheduler();
        for (work, reserved) in work {
            scheduler.queue(work, reserved, now);
        }
        self.start_all(&mut scheduler, now);
        self.set_timer(&scheduler);
    }

    fn start_all(self: &Arc<Self>, scheduler: &mut Scheduler, now: Instant) {
        while let Some(first) = scheduler.start_next(now) {
            self.start(first);
        }
    }

    /// Whether one of these subscriptions has room for another delivery.
    pub(crate) fn has_room_for_any(&self, subscriptions: &BTreeSet<SubscriptionId>) -> bool {
        let now = Instant::now();
        let scheduler = self.scheduler();
        subscriptions.iter().any(|id| {
            let target = self.parts.directory.target(*id);
            target.is_some_and(|target| scheduler.has_room(*id, &target.lane, now))
        })
    }

    /// Tells of room for what is new, now and then.
    pub(crate) fn room(&self) -> Notified<'_> {
        self.has_room.notified()
    }

    /// For which of its own limits a target's deliveries wait that are due.
    #[must_use]
    pub fn limit_of(&self, target: &Target) -> Option<OwnLimit> {
        self.scheduler().limit_of(target.subscription, &target.lane, Instant::now())
    }

    /// Says how many nodes send, this one included: they share what a subscription's own limits allow.
    pub fn set_share(self: &Arc<Self>, nodes: u32) {
        let now = Instant::now();
        let mut scheduler = self.scheduler();
        if scheduler.set_share(nodes, now) {
            tracing::info!("{nodes} nodes send and share what a subscription's limits allow");
        }
        self.start_all(&mut scheduler, now);
        self.set_timer(&scheduler);
    }

    /// Lets [`keep_time`](Self::keep_time) know what the scheduler waits for.
    fn set_timer(&self, scheduler: &Scheduler) {
        let next = scheduler.next_wake();
        self.timer.send_if_modified(|known| std::mem::replace(known, next) != next);
    }

    /// Wakes the scheduler whenever it wants, for as long as the future lives.
    pub async fn keep_time(self: &Arc<Self>) {
        let mut timer = self.timer.subscribe();
        loop {
            let next = *timer.borrow_and_update();
            let has_come = async {
                match next {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = has_come => self.wake_scheduler(),
                _ = timer.changed() => {}
            }
        }
    }

    fn wake_scheduler(self: &Arc<Self>) {
        let now = Instant::now();
        let mut scheduler = self.scheduler();
        let has_room_again = scheduler.wake(now);
        self.start_all(&mut scheduler, now);
        self.set_timer(&scheduler);
        drop(scheduler);
        if has_room_again {
            self.wake();
        }
    }

    /// Looks for work now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks for work at `time`, or earlier if it is to look earlier anyway.
    pub fn wake_at(&self, time: Timestamp) {
        if time.as_millis() < self.next_look.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }

    /// Fetches what is due for as long as the future lives.
    pub async fn fetch(self: &Arc<Self>) {
        let mut held_up = HashSet::new();
        loop {
            let next = match self.fetch_due(&mut held_up).await {
                Ok(next) => next,
                Err(error) => {
                    self.parts.lease.doubt(&error);
                    tracing::warn!(%error, "what is due cannot be fetched now");
                    None
                }
            };
            self.has_room.notify_waiters();
            let now = self.parts.clock.now();
            let next = next.into_iter().chain(self.parts.directory.next_release()).min();
            let pause = next.map_or(POLL, |next| next.since(now).min(POLL));
            self.next_look.store(now.plus(pause).as_millis(), Ordering::Release);
            tokio::select! {
                () = self.wake.notified() => {}
                () = self.parts.store.wait_for_work() => {}
                () = tokio::time::sleep(pause) => {}
            }
            // What comes while the loop looks may come after it has looked there, and so wakes it once more.
            self.next_look.store(i64::MAX, Ordering::Release);
        }
    }

    /// Fetches until nothing is due that there is room for; answers when something more becomes due.
    ///
    /// `held_up` are those that the store would send to and this process cannot, for want of a key, or must not, since they are held
    /// back. They are remembered from look to look: there may be many, and each look finds so many.
    async fn fetch_due(
        self: &Arc<Self>,
        held_up: &mut HashSet<SubscriptionId>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let directory = &self.parts.directory;
        held_up.retain(|id| directory.target(*id).is_some() && !directory.can_send_to(*id));
        let mut left_out_before = held_up.len();
        loop {
            // What is due stays where it is: there is nothing to find.
            if directory.is_all_paused() {
                directory.refresh().await?;
                return Ok(None);
            }
            let mut except = self.scheduler().full_lanes(Instant::now());
            except.extend(held_up.iter());
            let left_out = except.len();
            let now = self.parts.clock.now();
            let due = self.parts.store.due(DueQuery { now, limit: LANES_PER_LOOK, except }).await?;
            directory.refresh_to(due.catalogue).await?;
            let held_up_before = held_up.len();
            held_up.extend(due.subscriptions.iter().filter(|id| !directory.can_send_to(**id)));
            // Where none that were found can have anything, those behind them may: they are left out at the next look.
            let has_more = due.subscriptions.len() == LANES_PER_LOOK
                && (left_out > left_out_before || held_up.len() > held_up_before);
            if !self.claim(&due.subscriptions, now).await? && !has_more {
                return Ok(due.next);
            }
            left_out_before = left_out;
        }
    }

    /// Claims from these subscriptions as much as there is room for. Answers whether it has got anything.
    async fn claim(self: &Arc<Self>, due: &[SubscriptionId], now: Timestamp) -> Result<bool, StoreError> {
        let wanted: Vec<_> = {
            let time = Instant::now();
            let mut scheduler = self.scheduler();
            let mut left = CLAIM_IN_ALL;
            let reserve = |(lanes_left, id): (usize, &SubscriptionId)| {
                // Of one that cannot be sent to now everything waits where it is.
                let target = self.parts.directory.sendable(*id)?;
                // How much waits there is not known. The first ones are not to take what those behind them could use.
                let part = (left / lanes_left).max(CLAIM_WORTHWHILE).min(left).min(CLAIM_PER_LANE);
                let granted = scheduler.reserve(*id, &target.lane, part, 0, time);
                left -= granted;
                Some((*id, granted))
            };
            let wanted = (1..=due.len()).rev().zip(due).filter_map(reserve).filter(|(_, count)| *count > 0).collect();
            self.set_timer(&scheduler);
            wanted
        };
        if wanted.is_empty() {
            return Ok(false);
        }
        let holder = self.parts.lease.holder();
        let claim = Claim { holder, wanted: wanted.clone(), which: Which::DueBy(now), max_bytes: CLAIM_BYTES };
        let result = self.parts.store.claim(claim, now).await;
        let claimed = match result {
            Ok(claimed) => claimed,
            Err(error) => {
                self.unreserve(&wanted, &[]);
                return match error {
                    StoreError::NotFound => self.parts.lease.renew().await.map(|()| true),
                    error => {
                        self.parts.lease.doubt(&error);
                        Err(error)
                    }
                };
            }
        };
        let work = self.parts.all_work(&claimed, holder);
        self.unreserve(&wanted, &work);
        let has_got_some = !work.is_empty();
        self.dispatch(work.into_iter().map(|work| (work, 0)));
        Ok(has_got_some)
    }

    /// Gives back the room that `work` does not take.
    fn unreserve(&self, wanted: &[(SubscriptionId, usize)], work: &[Work]) {
        let mut used: HashMap<SubscriptionId, usize> = HashMap::new();
        for work in work {
            *used.entry(work.subscription).or_default() += 1;
        }
        let now = Instant::now();
        let mut scheduler = self.scheduler();
        for (subscription, count) in wanted {
            let used = used.get(subscription).copied().unwrap_or(0);
            scheduler.unreserve(*subscription, count.saturating_sub(used), 0, now);
        }
    }

    fn start(self: &Arc<Self>, first: Work) {
        tokio::spawn(Arc::clone(self).work_on(first));
    }

    /// Works on one delivery after another, as long as there is one to start.
    async fn work_on(self: Arc<Self>, first: Work) {
        let mut next = Some(first);
        while let Some(work) = next {
            let (feedback, is_settled) = self.deliver(&work).await;
            let ended;
            (ended, next) = self.end(&work, feedback, is_settled);
            if ended.has_room_again {
                self.wake();
            } else if ended.has_room_for_new {
                self.has_room.notify_waiters();
            }
            for untried in ended.given_back {
                self.record(untried.holder, Entry::Untried(untried.delivery)).await;
            }
        }
    }

    /// Ends an attempt and takes the next delivery, under the rules that the subscription has by now. Room that one attempt leaves
    /// may be room for more than one, since limits grow: others start by themselves.
    fn end(self: &Arc<Self>, work: &Work, feedback: Feedback, is_settled: bool) -> (Ended, Option<Work>) {
        let now = Instant::now();
        let target = self.parts.directory.target(work.subscription);
        let mut scheduler = self.scheduler();
        if let Some(target) = target {
            scheduler.follow(work.subscription, &target.lane, now);
        }
        let ended = scheduler.end(work, feedback, is_settled, now);
        let next = scheduler.start_next(now);
        if next.is_some() {
            self.start_all(&mut scheduler, now);
        }
        self.set_timer(&scheduler);
        if scheduler.in_flight() == 0 {
            self.drained.notify_waiters();
        }
        (ended, next)
    }

    /// Tries one delivery and hands in what came of it. Answers what it says about the callback, and whether it is done for good.
    async fn deliver(&self, work: &Work) -> (Feedback, bool) {
        let Some(target) = self.parts.may_attempt(work.holder, work.subscription, work.attempts).await else {
            self.record(work.holder, Entry::Untried(work.delivery)).await;
            return (Feedback::Untried, false);
        };
        let outcome = self.parts.courier.attempt(work, &target).await;
        let said = (feedback(&outcome), is_settled(&outcome));
        self.record(work.holder, Entry::Tried(outcome)).await;
        said
    }

    /// Hands in what came of a delivery. What outlasts the grace at the end is not waited for, and so is not recorded.
    async fn record(&self, holder: Incarnation, entry: Entry) {
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(recorder) = recorder {
            recorder.record(holder, entry).await;
        }
    }

    /// Acts on what the recorder has written.
    pub(crate) async fn learn(&self, recorded: Recorded) {
        self.meter.count_attempts(recorded.delivered, recorded.failed);
        if let Some(error) = &recorded.trouble {
            self.parts.lease.doubt(error);
        }
        if let Some(time) = recorded.next_due {
            self.wake_at(time);
        }
        // Read, and not just concluded: by now somebody may have made the subscription active again.
        if recorded.changed
            && let Err(error) = self.parts.directory.refresh().await
        {
            tracing::warn!(%error, "which subscriptions are inactive now is seen a little later");
        }
        if recorded.changed {
            self.wake();
        }
    }

    /// Starts nothing more, gives back what has not been started, and waits up to `grace` for what is in flight.
    pub async fn drain(&self, grace: Duration) {
        let queued = self.scheduler().close();
        self.has_room.notify_waiters();
        for work in queued {
            self.record(work.holder, Entry::Untried(work.delivery)).await;
        }
        let wait = async {
            loop {
                let drained = self.drained.notified();
                tokio::pin!(drained);
                drained.as_mut().enable();
                if self.scheduler().in_flight() == 0 {
                    break;
                }
                drained.await;
            }
        };
        if tokio::time::timeout(grace, wait).await.is_err() {
            tracing::warn!("{} attempts did not end in time and will be repeated", self.scheduler().in_flight());
        }
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
