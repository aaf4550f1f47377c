//! The catalogue in memory: who gets an event, and how to reach them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hookcast_core::{
    clock::Timestamp,
    event::{Event, EventType},
    filter::{self, Filter},
    id::{AccountId, IdMap, SubscriptionId},
    pattern::PatternIndex,
};
use hookcast_store::{
    Store, StoreError,
    catalogue::{CatalogueVersion, Recipient},
    documents::{self, DocumentVersion, Kind},
};

use crate::{
    holds::Holds,
    pauses::{Pause, Pauses},
    target::{Target, Targets},
};

/// Lists of who gets a type that are kept at the most. A producer may make up types as it likes.
const MOST_LISTS: usize = 4_096;

/// What one version of the catalogue says.
#[derive(Default)]
struct Known {
    version: CatalogueVersion,
    targets: IdMap<SubscriptionId, Arc<Target>>,
    index: PatternIndex<SubscriptionId>,
    /// Anybody may ask for their keys, which must not cost a walk over all the others.
    with_public_keys: BTreeSet<SubscriptionId>,
    /// Who gets a type, made when it is first asked for.
    lists: HashMap<EventType, Audience>,
    /// What is held back.
    holds: Arc<Holds>,
    /// As of which change of the pauses.
    pauses_version: DocumentVersion,
}

/// Who gets an event: subscriptions as the store wants them, and how to reach each, in the same order.
#[derive(Clone, Debug, Default)]
pub struct Recipients {
    /// As the store wants them.
    pub recipients: Arc<[Recipient]>,
    /// How to reach each.
    pub targets: Arc<[Arc<Target>]>,
}

impl Recipients {
    fn of(targets: Vec<Arc<Target>>) -> Self {
        let recipient = |target: &Arc<Target>| Recipient {
            subscription: target.subscription,
            is_active: target.is_active,
            ordering: target.ordering,
        };
        Self { recipients: targets.iter().map(recipient).collect(), targets: targets.into() }
    }

    /// Those of them for whom `wanted` holds.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Target) -> bool) -> Self {
        Self::of(self.targets.iter().filter(|target| wanted(target)).cloned().collect())
    }
}

/// Who gets events of a type.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// Those who get every one.
    all: Recipients,
    /// Those who get what their filter selects.
    choosy: Arc<[(Arc<Target>, Filter)]>,
}

/// Why a subscription does not get an event of a type that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It was made after the event was accepted.
    Later,
    /// Its filter, as it is now, does not select the event.
    Filter,
}

impl Audience {
    /// Who does not get an event that was accepted earlier, by the catalogue as it is now; of one for an account alone, who of that
    /// account.
    #[must_use]
    pub fn left_out(&self, event: &Event) -> Vec<(Arc<Target>, LeftOut)> {
        let is_later = |target: &Target| target.subscription.time() > event.time;
        let is_addressed = |target: &Target| event.account().is_none_or(|account| target.account == account);
        let selected = self.recipients(event).targets;
        let later = selected
            .iter()
            .filter(|target| is_addressed(target) && is_later(target))
            .map(|target| (Arc::clone(target), LeftOut::Later));
        let filtered = self
            .choosy
            .iter()
            .filter(|(target, _)| {
                is_addressed(target)
                    && selected.binary_search_by_key(&target.subscription, |other| other.subscription).is_err()
            })
            .map(|(target, _)| (Arc::clone(target), if is_later(target) { LeftOut::Later } else { LeftOut::Filter }));
        later.chain(filtered).collect()
    }

    /// Those who get every event of the type.
    #[must_use]
    pub fn everybody(&self) -> &[Arc<Target>] {
        &self.all.targets
    }

    /// Whether somebody has a filter, so that finding out who gets an event takes time.
    #[must_use]
    pub fn has_filters(&self) -> bool {
        !self.choosy.is_empty()
    }

    /// Who gets this event. Without filters it costs nothing.
    #[must_use]
    pub fn recipients(&self, event: &Event) -> Recipients {
        if self.choosy.is_empty() {
            return self.all.clone();
        }
        // An event that no filter can look into goes to all of them: better one too many than one too few.
        let value = filter::event_value(event).ok();
        let mut verdicts: HashMap<&str, bool> = HashMap::new();
        let mut targets = self.all.targets.to_vec();
        for (target, filter) in &*self.choosy {
            let matches = || value.as_ref().is_none_or(|value| filter.matches(value));
            // Many may have the same one.
            if *verdicts.entry(filter.as_str()).or_insert_with(matches) {
                targets.push(Arc::clone(target));
            }
        }
        targets.sort_unstable_by_key(|target| target.subscription);
        Recipients::of(targets)
    }
}

/// The catalogue in memory, brought up to date from the store, and what of it is held back.
pub struct Directory {
    store: Arc<dyn Store>,
    make: Targets,
    known: Mutex<Known>,
    refreshing: tokio::sync::Mutex<()>,
}

impl Directory {
    /// Reads the whole catalogue, and what is paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn load(store: Arc<dyn Store>, make: Targets) -> Result<Self, StoreError> {
        let (known, refreshing) = (Mutex::new(Known::default()), tokio::sync::Mutex::new(()));
        let directory = Self { store, make, known, refreshing };
        directory.refresh().await?;
        directory.refresh_pauses().await?;
        Ok(directory)
    }

    /// Reads what is paused, if that has changed; answers whether it has.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh_pauses(&self) -> Result<bool, StoreError> {
        let _alone = self.refreshing.lock().await;
        // The version first: what changes meanwhile is read again.
        let version = self.store.documents_version(Kind::Pauses).await?;
        if version == self.lock().pauses_version {
            return Ok(false);
        }
        let pauses = Arc::new(Pauses::of(&documents::all(&*self.store, Kind::Pauses).await?));
        let mut known = self.lock();
        Arc::make_mut(&mut known.holds).pauses = pauses;
        known.pauses_version = version;
        Ok(true)
    }

    /// Reads what has changed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _alone = self.refreshing.lock().await;
        let version = self.lock().version;
        let changes = self.store.changes_since(version).await?;
        let changed: Vec<_> = changes.changed.into_iter().map(|subscription| self.make.of(subscription)).collect();
        let mut known = self.lock();
        for id in changes.deleted {
            known.remove(id);
        }
        for target in changed {
            known.insert(target);
        }
        known.version = changes.version;
        Ok(())
    }

    /// Reads what has changed, if the store is known to have this version.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh_to(&self, version: CatalogueVersion) -> Result<(), StoreError> {
        if self.lock().version < version { self.refresh().await } else { Ok(()) }
    }

    /// Who gets events of these types, all as of one version, and what is held back.
    pub fn audiences<'a>(
        &self,
        types: impl Iterator<Item = &'a EventType>,
    ) -> (CatalogueVersion, Vec<Audience>, Arc<Holds>) {
        let mut known = self.lock();
        let audiences = types.map(|event| known.audience(event)).collect();
        (known.version, audiences, Arc::clone(&known.holds))
    }

    /// How to reach a subscription; `None` when there is no such one.
    #[must_use]
    pub fn target(&self, id: SubscriptionId) -> Option<Arc<Target>> {
        self.lock().targets.get(&id).cloned()
    }

    /// How to reach a subscription, if it may be sent to now.
    #[must_use]
    pub fn sendable(&self, id: SubscriptionId) -> Option<Arc<Target>> {
        let known = self.lock();
        known.targets.get(&id).filter(|target| self.may_send_to(&known, target)).cloned()
    }

    /// Whether this process can send to a subscription now.
    #[must_use]
    pub fn can_send_to(&self, id: SubscriptionId) -> bool {
        let known = self.lock();
        known.targets.get(&id).is_some_and(|target| self.may_send_to(&known, target))
    }

    /// Whether everything is paused.
    #[must_use]
    pub fn is_all_paused(&self) -> bool {
        self.lock().holds.pauses.is_everything()
    }

    /// Why a target, which need not be in the catalogue, is paused, if it is.
    #[must_use]
    pub fn pause_of(&self, target: &Target) -> Option<Arc<Pause>> {
        self.lock().holds.pauses.of_target(target).cloned()
    }

    /// Holds an account back until then.
    pub(crate) fn use_up(&self, account: AccountId, until: Timestamp) {
        let now = self.make.clock.now();
        Arc::make_mut(&mut self.lock().holds).use_up(account, until, now);
    }

    /// Whether an account has had what it may have.
    pub(crate) fn is_used_up(&self, account: AccountId) -> bool {
        self.lock().holds.is_used_up(account, || self.make.clock.now())
    }

    /// Accounts that have had what they may have.
    pub(crate) fn used_up(&self) -> Vec<AccountId> {
        self.lock().holds.used_up(self.make.clock.now())
    }

    /// Holds accounts back no longer.
    pub(crate) fn allow_again(&self, accounts: &[AccountId]) {
        if !accounts.is_empty() {
            Arc::make_mut(&mut self.lock().holds).allow_again(accounts);
        }
    }

    /// When something that is held back is so no longer, by itself.
    pub(crate) fn next_release(&self) -> Option<Timestamp> {
        self.lock().holds.next_end(self.make.clock.now())
    }

    /// How to reach those whose receivers check signatures with a public key.
    #[must_use]
    pub fn with_public_keys(&self) -> Vec<Arc<Target>> {
        let known = self.lock();
        known.with_public_keys.iter().filter_map(|id| known.targets.get(id).cloned()).collect()
    }

    /// Every subscription that may be sent to now, of one event type or of all.
    #[must_use]
    pub fn active(&self, event: Option<&EventType>) -> Vec<SubscriptionId> {
        let known = self.lock();
        let wanted = |target: &&Arc<Target>| {
            self.may_send_to(&known, target) && event.is_none_or(|event| target.events.matches(event))
        };
        known.targets.values().filter(wanted).map(|target| target.subscription).collect()
    }

    /// Every active subscription that is held back, of one event type or of all.
    #[must_use]
    pub fn held_back(&self, event: Option<&EventType>) -> Vec<SubscriptionId> {
        let known = self.lock();
        let wanted = |target: &&Arc<Target>| {
            target.is_active
                && !self.may_send_to(&known, target)
                && event.is_none_or(|event| target.events.matches(event))
        };
        known.targets.values().filter(wanted).map(|target| target.subscription).collect()
    }

    /// How targets are made, for one that is not in the catalogue.
    #[must_use]
    pub fn make(&self) -> &Targets {
        &self.make
    }

    fn may_send_to(&self, known: &Known, target: &Target) -> bool {
        target.is_active && !known.holds.hold(target, || self.make.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, target: Target) {
        self.remove(target.subscription);
        self.index.insert(target.subscription, &target.events);
        self.forget_lists(&target);
        if target.has_public_keys() {
            self.with_public_keys.insert(target.subscription);
        }
        self.targets.insert(target.subscription, Arc::new(target));
    }

    fn remove(&mut self, id: SubscriptionId) {
        let Some(target) = self.targets.remove(&id) else { return };
        self.index.remove(id, &target.events);
        self.with_public_keys.remove(&id);
        self.forget_lists(&target);
    }

    /// The lists that a target is in, or will be, have to be made anew.
    fn forget_lists(&mut self, target: &Target) {
        self.lists.retain(|event, _| !target.events.matches(event));
    }

    fn audience(&mut self, event: &EventType) -> Audience {
        if let Some(audience) = self.lists.get(event) {
            return audience.clone();
        }
        let (mut all, mut choosy) = (Vec::new(), Vec::new());
        for id in self.index.matching(event) {
            let Some(target) = self.targets.get(&id) else { continue };
            match &target.filter {
                None => all.push(Arc::clone(target)),
                Some(filter) => choosy.push((Arc::clone(target), filter.clone())),
            }
        }
        let audience = Audience { all: Recipients::of(all), choosy: choosy.into() };
        if self.lists.len() >= MOST_LISTS {
            self.lists.clear();
        }
        self.lists.insert(event.clone(), audience.clone());
        audience
    }
}
