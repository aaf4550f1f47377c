//! One pass over what is due, for those who would rather run Hookcast from cron than leave it running.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hookcast_core::{
    delivery::Next,
    id::{DeliveryId, SubscriptionId},
    policy::HealthPolicy,
};
use hookcast_store::{
    StoreError,
    engine::{Claim, Claimed, Finished, Incarnation, Outcome, Pass, Which},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::Instant,
};

use crate::{
    parts::Parts,
    scheduler::{
        LaneRules,
        rate::{Meter, Pace},
    },
};

/// Subscriptions served at once, and deliveries claimed at once from each.
const LANES: usize = 64;
const PAGE: usize = 16;
const PAGE_BYTES: usize = 1024 * 1024;

/// How often outcomes are tried to be recorded, and the pause between two tries.
const FINISH_TRIES: u32 = 30;
const FINISH_PAUSE: Duration = Duration::from_secs(1);

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Attempts made.
    pub attempted: u64,
    /// Those that delivered.
    pub delivered: u64,
    /// Those that failed and wait for another try.
    pub retried: u64,
    /// Those that failed and used their schedule up.
    pub failed: u64,
    /// Subscriptions that became inactive.
    pub deactivated: u64,
    /// Subscriptions that were held back at its end: by a pause, or since their account has had its events of the day.
    pub held_back: u64,
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.attempted += other.attempted;
        self.delivered += other.delivered;
        self.retried += other.retried;
        self.failed += other.failed;
        self.deactivated += other.deactivated;
        self.held_back += other.held_back;
    }
}

/// The bounds and rules of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What failures lead to.
    pub health: HealthPolicy,
    /// Attempts in flight, in all.
    pub in_flight: usize,
    /// Attempts that begin in a second for a subscription whose callback has just come back.
    pub recovery_rate: f64,
}

/// Makes one attempt at everything that `pass` means, of one subscription or of all active ones. `progress` is told of every
/// outcome. The limits of subscriptions hold, of which it takes the part of one node.
///
/// # Errors
/// The store failed. What was tried until then is recorded.
pub async fn run(
    parts: Arc<Parts>,
    rules: Rules,
    pass: Pass,
    only: Option<SubscriptionId>,
    progress: Arc<dyn Fn(&Outcome) + Send + Sync>,
) -> Result<Summary, StoreError> {
    parts.store.rescue(parts.clock.now()).await?;
    parts.directory.refresh().await?;
    let mut lanes: BTreeSet<_> = parts.directory.active(pass.event.as_ref()).into_iter().collect();
    lanes.retain(|lane| only.is_none_or(|only| *lane == only));

    let permits = Arc::new(Semaphore::new(rules.in_flight.max(1)));
    let mut running = JoinSet::new();
    let mut summary = Summary::default();
    let mut first_error = None;
    loop {
        while running.len() < LANES && first_error.is_none() {
            let Some(lane) = lanes.pop_first() else { break };
            let lane = Lane {
                parts: Arc::clone(&parts),
                rules,
                meter: Meter::default(),
                permits: Arc::clone(&permits),
                progress: Arc::clone(&progress),
                subscription: lane,
            };
            running.spawn(lane.run(pass.clone()));
        }
        match running.join_next().await {
            None => break,
            Some(Ok(Ok(done))) => summary.add(done),
            Some(Ok(Err(error))) => first_error = Some(error),
            Some(Err(error)) => first_error = Some(StoreError::Unavailable(error.to_string())),
        }
    }
    let is_meant = |id: &SubscriptionId| only.is_none_or(|only| *id == only);
    let held_back = parts.directory.held_back(pass.event.as_ref()).into_iter().filter(is_meant).count();
    summary.held_back = u64::try_from(held_back).unwrap_or(u64::MAX);
    first_error.map_or(Ok(summary), Err)
}

/// A subscription's part of a pass.
struct Lane {
    parts: Arc<Parts>,
    rules: Rules,
    /// When attempts began.
    meter: Meter,
    permits: Arc<Semaphore>,
    progress: Arc<dyn Fn(&Outcome) + Send + Sync>,
    subscription: SubscriptionId,
}

impl Lane {
    async fn run(mut self, mut pass: Pass) -> Result<Summary, StoreError> {
        let mut summary = Summary::default();
        // It may be held back while the pass is at work.
        while self.parts.directory.can_send_to(self.subscription) {
            let holder = self.parts.lease.holder();
            let claimed = self.claim(holder, &pass).await?;
            let Some(last) = claimed.last() else { return Ok(summary) };
            pass.after = Some(last.id);
            summary.add(self.deliver(holder, claimed).await?);
        }
        Ok(summary)
    }

    fn pace(&self, rules: &LaneRules, now: Instant) -> Option<Pace> {
        Pace::of(rules, self.rules.recovery_rate, self.parts.lease.nodes(), now)
    }

    /// How many are claimed at once. All of them have ended before more are claimed, so that no more are in flight; and what cannot
    /// go soon is left to others, apart from one, by which it is known whether there is anything.
    fn page(&self) -> usize {
        let Some(target) = self.parts.directory.target(self.subscription) else { return PAGE };
        let nodes = usize::try_from(self.parts.lease.nodes()).unwrap_or(usize::MAX);
        let at_once = target.lane.max_in_flight.map_or(PAGE, |most| most.div_ceil(nodes));
        let now = Instant::now();
        let soon = self.pace(&target.lane, now).map_or(PAGE, |pace| self.meter.within_horizon(pace, now));
        PAGE.min(at_once).min(soon).max(1)
    }

    /// Waits until the rate lets an attempt begin, and there is room for one.
    async fn permit(&mut self, rules: &LaneRules) -> Option<OwnedSemaphorePermit> {
        if let Some(pace) = self.pace(rules, Instant::now()) {
            tokio::time::sleep_until(self.meter.ready_at(pace, 0, Instant::now())).await;
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let now = Instant::now();
        if let Some(pace) = self.pace(rules, now) {
            self.meter.take(pace, now);
        }
        Some(permit)
    }

    async fn claim(&self, holder: Incarnation, pass: &Pass) -> Result<Vec<Claimed>, StoreError> {
        let claim = Claim {
            holder,
            wanted: vec![(self.subscription, self.page())],
            which: Which::Pass(pass.clone()),
            max_bytes: PAGE_BYTES,
        };
        self.parts.store.claim(claim, self.parts.clock.now()).await
    }

    async fn deliver(&mut self, holder: Incarnation, claimed: Vec<Claimed>) -> Result<Summary, StoreError> {
        let Some(target) = self.parts.directory.sendable(self.subscription) else {
            let untried = claimed.iter().map(|claimed| claimed.id).collect();
            self.parts.store.release(holder, untried, self.parts.clock.now()).await?;
            return Ok(Summary::default());
        };
        let mut attempts = JoinSet::new();
        let mut outcomes = Vec::new();
        let mut untried = Vec::new();
        for claimed in claimed {
            match self.permit(&target.lane).await {
                Some(permit) => {
                    attempts.spawn(attempt(Arc::clone(&self.parts), permit, holder, claimed));
                }
                None => untried.push(claimed.id),
            }
        }
        while let Some(done) = attempts.join_next().await {
            match done {
                Ok(Ok(outcome)) => outcomes.push(outcome),
                Ok(Err(delivery)) => untried.push(delivery),
                // A bug of ours; it must not take its siblings' outcomes with it. The end of the lease gives the delivery back.
                Err(error) => tracing::error!(%error, "an attempt broke off"),
            }
        }
        let mut summary = Summary::default();
        for outcome in &outcomes {
            summary.attempted += 1;
            match outcome.verdict.next {
                Next::Delivered => summary.delivered += 1,
                Next::RetryAt(_) => summary.retried += 1,
                Next::Failed => summary.failed += 1,
            }
            (self.progress)(outcome);
        }
        let finished = self.finish(holder, outcomes.into()).await?;
        if !untried.is_empty() {
            self.parts.store.release(holder, untried, self.parts.clock.now()).await?;
        }
        if !finished.deactivated.is_empty() {
            summary.deactivated += 1;
            self.parts.directory.refresh().await?;
        }
        Ok(summary)
    }
}

impl Lane {
    /// Records outcomes, again and again while the store is only busy: what is not recorded is sent again.
    async fn finish(&self, holder: Incarnation, outcomes: Arc<[Outcome]>) -> Result<Finished, StoreError> {
        let mut tries = 0;
        loop {
            let now = self.parts.clock.now();
            match self.parts.store.finish(holder, Arc::clone(&outcomes), self.rules.health, now).await {
                Err(StoreError::Unavailable(reason) | StoreError::Busy(reason)) if tries < FINISH_TRIES => {
                    tries += 1;
                    tracing::warn!(reason, "the store does not take outcomes; trying again");
                    tokio::time::sleep(FINISH_PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// Makes one attempt, or answers the delivery when the lease does not cover it, or it is held back by now.
async fn attempt(
    parts: Arc<Parts>,
    _permit: OwnedSemaphorePermit,
    holder: Incarnation,
    claimed: Claimed,
) -> Result<Outcome, DeliveryId> {
    let Some(target) = parts.may_attempt(holder, claimed.subscription, claimed.attempts).await else {
        return Err(claimed.id);
    };
    let work = parts.work(&claimed, holder);
    Ok(parts.courier.attempt(&work, &target).await)
}
