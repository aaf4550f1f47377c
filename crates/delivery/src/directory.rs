//! The catalogue in memory: who gets an event, and how to reach them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hookcast_core::{
    event::EventType, guard::mask_query, id::SubscriptionId, signing::SigningKey, subscription::Subscription,
};
use hookcast_store::{
    Store, StoreError,
    catalogue::{CatalogueVersion, Recipient},
};
use http::Uri;

use crate::scheduler::LaneRules;

/// A subscription, ready to deliver to.
#[derive(Debug)]
pub struct Target {
    /// Which one.
    pub subscription: SubscriptionId,
    /// Where it is. `None` when the URL does not fit into a request.
    pub uri: Option<Uri>,
    /// The URL as it may be logged.
    pub masked_url: String,
    /// Signs what goes there.
    pub key: SigningKey,
    /// Whether it gets anything now.
    pub is_active: bool,
    /// What bounds its lane.
    pub rules: Arc<LaneRules>,
    event: EventType,
}

impl Target {
    fn new(subscription: Subscription) -> Self {
        let url = url::Url::parse(&subscription.url).ok();
        let rules = LaneRules {
            account: subscription.account,
            host: url.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default().into(),
            max_in_flight: None,
            rate_limit: None,
            is_open: false,
            recovering_since: None,
        };
        Self {
            uri: url.and_then(|url| url.as_str().parse().ok()),
            masked_url: mask_query(&subscription.url),
            key: SigningKey::new(&subscription.secret),
            subscription: subscription.id,
            is_active: subscription.is_active,
            rules: Arc::new(rules),
            event: subscription.event,
        }
    }
}

/// What one version of the catalogue says.
#[derive(Default)]
struct Known {
    version: CatalogueVersion,
    targets: HashMap<SubscriptionId, Arc<Target>>,
    by_type: HashMap<EventType, Type>,
}

/// The subscriptions to one type. The list is made when it is next asked for and not at every change.
#[derive(Default)]
struct Type {
    members: BTreeSet<SubscriptionId>,
    recipients: Option<Arc<[Recipient]>>,
}

/// The catalogue in memory, brought up to date from the store.
pub struct Directory {
    store: Arc<dyn Store>,
    known: Mutex<Known>,
    refreshing: tokio::sync::Mutex<()>,
}

impl Directory {
    /// Reads the whole catalogue.
    ///
    /// # Errors
    /// The store failed.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let directory = Self { store, known: Mutex::new(Known::default()), refreshing: tokio::sync::Mutex::new(()) };
        directory.refresh().await?;
        Ok(directory)
    }

    /// Reads what has changed.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _alone = self.refreshing.lock().await;
        let version = self.lock().version;
        let changes = self.store.changes_since(version).await?;
        let mut known = self.lock();
        for id in changes.deleted {
            known.remove(id);
        }
        for subscription in changes.changed {
            known.insert(Target::new(subscription));
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

    /// Who gets events of these types, all as of one version.
    pub fn recipients<'a>(
        &self,
        types: impl Iterator<Item = &'a EventType>,
    ) -> (CatalogueVersion, Vec<Arc<[Recipient]>>) {
        let mut known = self.lock();
        let recipients = types.map(|event| known.recipients(event)).collect();
        (known.version, recipients)
    }

    /// How to reach a subscription; `None` when there is no such one.
    #[must_use]
    pub fn target(&self, id: SubscriptionId) -> Option<Arc<Target>> {
        self.lock().targets.get(&id).cloned()
    }

    /// Every active subscription, of one event type or of all.
    #[must_use]
    pub fn active(&self, event: Option<&EventType>) -> Vec<SubscriptionId> {
        let known = self.lock();
        let wanted = |target: &&Arc<Target>| target.is_active && event.is_none_or(|event| target.event == *event);
        known.targets.values().filter(wanted).map(|target| target.subscription).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, target: Target) {
        self.remove(target.subscription);
        let entry = self.by_type.entry(target.event.clone()).or_default();
        entry.members.insert(target.subscription);
        entry.recipients = None;
        self.targets.insert(target.subscription, Arc::new(target));
    }

    fn remove(&mut self, id: SubscriptionId) {
        let Some(target) = self.targets.remove(&id) else { return };
        if let Some(entry) = self.by_type.get_mut(&target.event) {
            entry.members.remove(&id);
            entry.recipients = None;
            if entry.members.is_empty() {
                self.by_type.remove(&target.event);
            }
        }
    }

    fn recipients(&mut self, event: &EventType) -> Arc<[Recipient]> {
        let Some(entry) = self.by_type.get_mut(event) else { return Arc::default() };
        let targets = &self.targets;
        let recipients = entry.recipients.get_or_insert_with(|| {
            let recipient = |id: &SubscriptionId| {
                let is_active = targets.get(id).is_some_and(|target| target.is_active);
                Recipient { subscription: *id, is_active }
            };
            entry.members.iter().map(recipient).collect()
        });
        Arc::clone(recipients)
    }
}
