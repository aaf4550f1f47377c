//! Outcomes on their way to the store: many in one write, again and again until the store takes them.

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::{Clock, Timestamp},
    delivery::Next,
    id::DeliveryId,
    policy::HealthPolicy,
};
use hookcast_store::{
    Store, StoreError,
    engine::{Finished, Incarnation, Outcome},
};
use tokio::sync::mpsc;

/// The most entries in one write.
const BATCH: usize = 1_024;

/// The pauses between tries at a store that does not take outcomes.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of a delivery that was held.
#[derive(Debug)]
pub enum Entry {
    /// It was tried.
    Tried(Outcome),
    /// It was not, and others may have it.
    Untried(DeliveryId),
}

/// Where outcomes are handed in.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<(Incarnation, Entry)>,
}

/// What the recorder tells after each write.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// When the first of the deliveries that are tried again is due.
    pub next_due: Option<Timestamp>,
    /// Attempts after which a delivery was done.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// A subscription's state has changed: it has become inactive, or its breaker has opened or closed.
    pub changed: bool,
    /// What the store failed with last, if it did.
    pub trouble: Option<StoreError>,
}

/// The writing end.
pub struct RecorderTask {
    inbox: mpsc::Receiver<(Incarnation, Entry)>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: HealthPolicy,
    batch: usize,
}

impl Recorder {
    /// A recorder and the task that writes for it. As many entries as `in_flight` may wait to be written, and as many are
    /// written at once: whoever has one more waits, and starts no further attempt. What is not recorded when the process dies is
    /// sent again, so that there must not be much more of it than what is in flight.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        policy: HealthPolicy,
        in_flight: usize,
    ) -> (Self, RecorderTask) {
        let (queue, inbox) = mpsc::channel(in_flight.max(1));
        (Self { queue }, RecorderTask { inbox, store, clock, policy, batch: BATCH.min(in_flight.max(1)) })
    }

    /// Hands in what became of a delivery held by `holder`; waits while the store does not keep up.
    pub async fn record(&self, holder: Incarnation, entry: Entry) {
        if self.queue.send((holder, entry)).await.is_err() {
            tracing::error!(
                "an outcome was not recorded, since the recorder has stopped; the delivery will be repeated"
            );
        }
    }
}

impl RecorderTask {
    /// Writes until every [`Recorder`] is gone and everything handed in is written.
    pub async fn run<F: Future<Output = ()>>(mut self, tell: impl Fn(Recorded) -> F) {
        let mut entries = Vec::with_capacity(self.batch);
        while self.inbox.recv_many(&mut entries, self.batch).await > 0 {
            while let Some((holder, _)) = entries.first() {
                let holder = *holder;
                let same = entries.iter().take_while(|(other, _)| *other == holder).count();
                let batch = entries.drain(..same).map(|(_, entry)| entry);
                tell(self.write(holder, batch).await).await;
            }
        }
    }

    async fn write(&self, holder: Incarnation, entries: impl Iterator<Item = Entry>) -> Recorded {
        let mut outcomes = Vec::new();
        let mut untried = Vec::new();
        for entry in entries {
            match entry {
                Entry::Tried(outcome) => outcomes.push(outcome),
                Entry::Untried(delivery) => untried.push(delivery),
            }
        }
        let delivered = outcomes.iter().filter(|outcome| outcome.verdict.next == Next::Delivered).count();
        let mut recorded = Recorded {
            next_due: next_due(&outcomes),
            delivered: delivered as u64,
            failed: (outcomes.len() - delivered) as u64,
            ..Recorded::default()
        };
        if !outcomes.is_empty() {
            let outcomes: Arc<[Outcome]> = outcomes.into();
            let finished = self.finish(holder, &outcomes, &mut recorded.trouble).await;
            if finished.ignored > 0 {
                tracing::warn!("{} outcomes came after the lease had run out and do not count", finished.ignored);
            }
            for subscription in &finished.deactivated {
                let is_gone = |outcome: &&Outcome| outcome.subscription == *subscription && outcome.verdict.gone;
                let reason = outcomes.iter().find(is_gone).map_or("too many failures", |_| "the callback answered 410");
                tracing::warn!(%subscription, reason, "subscription deactivated");
            }
            for subscription in &finished.opened {
                tracing::warn!(%subscription, "its callback fails: deliveries wait, and one at a time finds out when it is back");
            }
            for subscription in &finished.closed {
                tracing::info!(%subscription, "its callback is back: what waited goes out");
            }
            recorded.changed = finished.changes_catalogue();
        }
        if !untried.is_empty() {
            self.release(holder, &untried, &mut recorded.trouble).await;
            recorded.next_due = Some(self.clock.now());
        }
        recorded
    }

    async fn finish(
        &self,
        holder: Incarnation,
        outcomes: &Arc<[Outcome]>,
        trouble: &mut Option<StoreError>,
    ) -> Finished {
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self.store.finish(holder, Arc::clone(outcomes), self.policy, self.clock.now()).await;
            match result {
                Ok(finished) => return finished,
                Err(error) if may_pass(&error) => {
                    wait(&mut pause, &error).await;
                    *trouble = Some(error);
                }
                Err(error) => {
                    tracing::error!(%error, "{} outcomes cannot be recorded; they will be repeated", outcomes.len());
                    *trouble = Some(error);
                    return Finished::default();
                }
            }
        }
    }

    async fn release(&self, holder: Incarnation, untried: &[DeliveryId], trouble: &mut Option<StoreError>) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.store.release(holder, untried.to_vec(), self.clock.now()).await {
            let may_pass = may_pass(&error);
            if may_pass {
                wait(&mut pause, &error).await;
            } else {
                tracing::error!(%error, "deliveries cannot be given back");
            }
            *trouble = Some(error);
            if !may_pass {
                return;
            }
        }
    }
}

fn next_due(outcomes: &[Outcome]) -> Option<Timestamp> {
    let retry = |outcome: &Outcome| match outcome.verdict.next {
        Next::RetryAt(time) => Some(time),
        Next::Delivered | Next::Failed => None,
    };
    outcomes.iter().filter_map(retry).min()
}

fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Busy(_) | StoreError::Full(_))
}

async fn wait(pause: &mut Duration, error: &StoreError) {
    tracing::warn!(%error, "the store does not take outcomes; trying again in {pause:?}");
    tokio::time::sleep(*pause).await;
    *pause = LONGEST_PAUSE.min(*pause * 2);
}
