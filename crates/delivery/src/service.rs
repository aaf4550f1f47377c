//! All of delivery as one thing that starts and stops.

use std::{collections::HashSet, num::NonZero, sync::Arc, thread, time::Duration};

use hookcast_core::{
    clock::Clock,
    format::Formatter,
    id::SubscriptionId,
    policy::{Deduplicate, HealthPolicy},
    sealing::MasterKeys,
};
use hookcast_store::{
    Store, StoreError,
    engine::{Node, Outcome, Pass, Role},
};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    acceptor::Acceptor,
    budgets::Budgets,
    chores,
    client::Client,
    courier::Courier,
    directory::Directory,
    dispatcher::Dispatcher,
    holds,
    lease::Lease,
    mail::Mailer,
    notices,
    parts::Parts,
    pass,
    quotas::Quota,
    recorder::Recorder,
    replay,
    scheduler::Bounds,
    target::{Defaults, Targets},
};

/// How long the last outcomes may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Attempts that have just begun, for each processor: it needs no more to have something to do always.
const JUST_BEGUN: usize = 64;

/// The rules of delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How deliveries are where a subscription's owner has not chosen otherwise.
    pub defaults: Defaults,
    /// What failures lead to.
    pub health: HealthPolicy,
    /// Whether events of equal content are sent again.
    pub deduplicate: Deduplicate,
    /// Whether this process delivers. One that does not leaves what it accepts to others.
    pub delivers: bool,
    /// The length of this process's lease.
    pub lease: Duration,
    /// Attempts in flight, in all.
    pub in_flight: usize,
    /// Attempts in flight for one subscription.
    pub in_flight_per_subscription: usize,
    /// Attempts in flight to one host; 0: as many as in all.
    pub in_flight_per_host: usize,
    /// Attempts that begin in a second for a subscription whose callback has just come back.
    pub recovery_rate: f64,
    /// What accounts may have that have no quota of their own.
    pub quota: Quota,
    /// Bytes of bodies that are held in memory.
    pub bytes: usize,
    /// How long events are kept.
    pub retention: Duration,
    /// How events are written.
    pub formatter: Formatter,
    /// The `user_id`s of accounts that get everybody's notices.
    pub operators: HashSet<String>,
}

impl Settings {
    fn bounds(&self) -> Bounds {
        Bounds {
            in_flight: if self.delivers { self.in_flight } else { 0 },
            in_flight_per_lane: self.in_flight_per_subscription,
            in_flight_per_host: self.in_flight_per_host,
            just_begun: JUST_BEGUN * thread::available_parallelism().map_or(1, NonZero::get),
            breaker_failures: self.health.breaker.failures,
            recovery_rate: self.recovery_rate,
            bytes: self.bytes,
        }
    }
}

/// What delivery needs from outside.
#[derive(Clone)]
pub struct Resources {
    /// Where things are kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What requests are sent with.
    pub client: Client,
    /// What secrets at rest are encrypted with, if they are.
    pub master_keys: Option<Arc<MasterKeys>>,
    /// What sends notices, if mail is set up.
    pub mailer: Option<Arc<Mailer>>,
}

impl Resources {
    async fn parts(&self, settings: &Settings, lease: &Arc<Lease>) -> Result<Parts, StoreError> {
        let (client, clock) = (self.client.clone(), Arc::clone(&self.clock));
        let targets = Targets {
            defaults: settings.defaults.clone(),
            master_keys: self.master_keys.clone(),
            clock: Arc::clone(&clock),
        };
        let store = || Arc::clone(&self.store);
        let directory = Arc::new(Directory::load(store(), targets).await?);
        let budgets = Budgets::load(store(), Arc::clone(&clock), Arc::clone(&directory), settings.quota).await?;
        Ok(Parts {
            store: store(),
            clock: Arc::clone(&clock),
            directory,
            budgets,
            lease: Arc::clone(lease),
            courier: Courier::new(client, clock),
            formatter: settings.formatter.clone(),
        })
    }

    async fn lease(&self, role: Role, node: Option<Node>, length: Duration) -> Result<Arc<Lease>, StoreError> {
        Ok(Arc::new(Lease::begin(Arc::clone(&self.store), Arc::clone(&self.clock), role, node, length).await?))
    }
}

/// Delivery at work.
pub struct Service {
    acceptor: Arc<Acceptor>,
    dispatcher: Arc<Dispatcher>,
    lease: Arc<Lease>,
    recorder: JoinHandle<()>,
    /// Ended by being dropped.
    background: JoinSet<()>,
    keeper: JoinSet<()>,
}

impl Service {
    /// Joins the store and begins to deliver.
    ///
    /// # Errors
    /// The store failed.
    pub async fn start(resources: &Resources, settings: Settings, role: Role) -> Result<Self, StoreError> {
        let (store, clock) = (&resources.store, &resources.clock);
        let node = settings.delivers.then(|| Node(rand::random()));
        let lease = resources.lease(role, node, settings.lease).await?;
        // Tells how many nodes there are: a new one takes its part from the beginning, and not all.
        lease.renew().await?;
        let (recorder, recorder_task) =
            Recorder::new(Arc::clone(store), Arc::clone(clock), settings.health, settings.in_flight);
        let parts = resources.parts(&settings, &lease).await?;
        let dispatcher = Dispatcher::new(parts, recorder, settings.bounds());
        dispatcher.set_share(lease.nodes());

        let told = Arc::clone(&dispatcher);
        let recorder = tokio::spawn(recorder_task.run(move |recorded| {
            let told = Arc::clone(&told);
            async move { told.learn(recorded).await }
        }));
        let mut keeper = JoinSet::new();
        let kept = Arc::clone(&lease);
        keeper.spawn(async move { kept.keep().await });
        let mut background = JoinSet::new();
        if settings.delivers {
            let fetching = Arc::clone(&dispatcher);
            background.spawn(async move { fetching.fetch().await });
            let keeping_time = Arc::clone(&dispatcher);
            background.spawn(async move { keeping_time.keep_time().await });
        }
        let following = Arc::clone(&dispatcher);
        background.spawn(async move { holds::follow(following.parts(), || following.wake()).await });
        let rescuing = Arc::clone(&dispatcher);
        background.spawn(async move { chores::rescue(&rescuing).await });
        let (store, clock) = (Arc::clone(store), Arc::clone(clock));
        background.spawn(async move { chores::retain(&store, &clock, settings.retention).await });

        let acceptor =
            Arc::new(Acceptor::new(Arc::clone(&dispatcher), settings.deduplicate, settings.operators.clone()));
        let (telling, posting, mailer) = (Arc::clone(&dispatcher), Arc::clone(&acceptor), resources.mailer.clone());
        background.spawn(async move { notices::give(telling.parts(), &posting, mailer.as_deref()).await });
        let (working, replaying) = (Arc::clone(&dispatcher), Arc::clone(&acceptor));
        background.spawn(async move { replay::run(working.parts(), &replaying).await });
        Ok(Self { acceptor, dispatcher, lease, recorder, background, keeper })
    }

    /// Where events are handed in.
    #[must_use]
    pub fn acceptor(&self) -> &Arc<Acceptor> {
        &self.acceptor
    }

    /// Where work is looked for; to be woken after a subscription has become active.
    #[must_use]
    pub fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Ends when one of the tasks that should run for ever has ended: the process had better do so too.
    pub async fn broken(&mut self) {
        tokio::select! {
            _ = self.background.join_next() => {}
            _ = self.keeper.join_next() => {}
            _ = &mut self.recorder => {}
        }
    }

    /// Stops fetching, gives back what has not been started, and lets what is in flight end within `grace`. Events are accepted
    /// still, and wait in the store.
    pub async fn drain(&mut self, grace: Duration) {
        self.background.shutdown().await;
        self.dispatcher.drain(grace).await;
    }

    /// Records what is left to record and ends the lease.
    ///
    /// # Errors
    /// The store failed; what this process held is free when its lease has run out.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        drop(self.acceptor);
        // One that broke has ended already.
        if !self.recorder.is_finished() && tokio::time::timeout(LAST_WRITE, &mut self.recorder).await.is_err() {
            tracing::warn!("not every outcome was recorded; those deliveries will be repeated");
        }
        self.dispatcher.parts().budgets.end().await;
        self.keeper.shutdown().await;
        self.lease.end().await
    }
}

/// Joins the store for one pass over what is due; see [`pass::run`]. At its end the notices that wait are given, those of other
/// processes' changes, too. Whatever happens, the lease is ended.
///
/// # Errors
/// The store failed.
pub async fn run_pass(
    resources: &Resources,
    settings: Settings,
    which: Pass,
    only: Option<SubscriptionId>,
    progress: Arc<dyn Fn(&Outcome) + Send + Sync>,
) -> Result<pass::Summary, StoreError> {
    let lease = resources.lease(Role::Pass, Some(Node(rand::random())), settings.lease).await?;
    let mut keeper = JoinSet::new();
    let kept = Arc::clone(&lease);
    keeper.spawn(async move { kept.keep().await });
    let rules =
        pass::Rules { health: settings.health, in_flight: settings.in_flight, recovery_rate: settings.recovery_rate };
    let result = async {
        // Tells how many nodes there are, between whom limits are divided.
        lease.renew().await?;
        let parts = Arc::new(resources.parts(&settings, &lease).await?);
        let following = Arc::clone(&parts);
        keeper.spawn(async move { holds::follow(&following, || ()).await });
        let summary = pass::run(Arc::clone(&parts), rules, which, only, progress).await;
        parts.budgets.end().await;
        let summary = summary?;
        if let Err(error) = give_notices(resources, settings, &lease).await {
            tracing::warn!(%error, "notices cannot be given now; they wait for the next pass or server");
        }
        Ok(summary)
    };
    let result = result.await;
    keeper.shutdown().await;
    let ended = lease.end().await;
    result.and_then(|summary| ended.map(|()| summary))
}

/// Gives the notices that wait. Who is to get them as events gets them in the next pass, or from a server.
async fn give_notices(resources: &Resources, settings: Settings, lease: &Arc<Lease>) -> Result<(), StoreError> {
    let settings = Settings { delivers: false, ..settings };
    let parts = resources.parts(&settings, lease).await?;
    // Nothing is sent, so that there are no outcomes to take.
    let (recorder, _nothing_to_record) =
        Recorder::new(Arc::clone(&resources.store), Arc::clone(&resources.clock), settings.health, 1);
    let dispatcher = Dispatcher::new(parts, recorder, settings.bounds());
    let acceptor = Arc::new(Acceptor::new(Arc::clone(&dispatcher), settings.deduplicate, settings.operators));
    notices::give_pending(dispatcher.parts(), &acceptor, resources.mailer.as_deref()).await
}
