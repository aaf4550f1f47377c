//! The world of a case: a store, and short words for what is done to it and seen in it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
    time::Duration,
};

use hookcast_core::{
    account::Account,
    clock::Timestamp,
    delivery::DeliveryState,
    event::EventType,
    id::{AccountId, DeliveryId, EventId, SubscriptionId},
    options::{Options, Ordering},
    sealing::Sealed,
    subscription::{Health, Subscription},
    token::TokenHash,
};

use super::{batch::BatchBuilder, place::Place, process::Process};
use crate::{
    Limits, Store,
    catalogue::{CatalogueVersion, Replaced, SubscriptionStatus},
    engine::{Due, DueQuery, Role},
    history::{DeliveryRecord, EventRecord},
    page::{Page, PageRequest},
};

/// When every case begins.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);

/// Longer than any case lasts.
pub(crate) const LONG: Duration = Duration::from_secs(1_000_000);

/// So many seconds after [`NOW`].
pub(crate) fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// So many days after [`NOW`], which begin at midnight where `NOW` is at noon: a store may take events away by the day.
pub(crate) fn day(days: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(12 * 3_600)).plus(Duration::from_secs(days * 86_400))
}

/// Everything in one page.
pub(crate) const ALL: PageRequest = PageRequest { limit: 10_000, cursor: None };

/// Reads a list to its end, `limit` items at a time.
pub(crate) async fn pages<T>(limit: u32, read: impl AsyncFn(PageRequest) -> Page<T>) -> Vec<T> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = read(PageRequest { limit, cursor }).await;
        assert!(page.items.len() <= limit as usize);
        let is_full = page.items.len() == limit as usize;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return items;
        }
        assert!(is_full, "only the last page may be short");
    }
}

/// The account that a token leads to.
pub(crate) async fn owner(store: &Arc<dyn Store>, token: TokenHash) -> Option<Account> {
    store.bearer(token).await.unwrap().map(|bearer| bearer.account)
}

/// A store and the process that most cases act as.
pub(crate) struct World {
    place: Place,
    pub here: Process,
    made: AtomicU64,
}

impl World {
    pub(crate) async fn new(place: Place) -> Self {
        let here = Process::join(place.open(Limits::default()).await, Role::Server, LONG, NOW).await;
        Self { place, here, made: AtomicU64::new(0) }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.here.store
    }

    /// Another process with a handle of its own.
    pub(crate) async fn process(&self) -> Process {
        self.process_with(Limits::default()).await
    }

    pub(crate) async fn process_with(&self, limits: Limits) -> Process {
        Process::join(self.place.open(limits).await, Role::Server, LONG, NOW).await
    }

    /// Another process that joins in this role and with this lease.
    pub(crate) async fn joining(&self, role: Role, lease: Duration, now: Timestamp) -> Process {
        Process::join(self.place.open(Limits::default()).await, role, lease, now).await
    }

    /// An empty place for another store of the same kind.
    pub(crate) async fn another_place(&self) -> Place {
        self.place.another().await
    }

    /// The world of another store, whose things are not like the ones here.
    pub(crate) async fn at(&self, place: Place) -> Self {
        let made = AtomicU64::new(self.made.load(Atomic::Relaxed));
        Self { made, ..Self::new(place).await }
    }

    /// The same store after all of its processes have ended.
    pub(crate) async fn reopened(self) -> Self {
        let Self { place, here, made } = self;
        drop(here);
        let here = Process::join(place.open(Limits::default()).await, Role::OnlyServer, LONG, NOW).await;
        Self { place, here, made }
    }

    /// A number that no other call gets.
    fn number(&self) -> u64 {
        self.made.fetch_add(1, Atomic::Relaxed) + 1
    }

    fn random(&self) -> [u8; 10] {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.number().to_be_bytes());
        random
    }

    pub(crate) fn new_event_id(&self, time: Timestamp) -> EventId {
        EventId::new(time, self.random())
    }

    pub(crate) fn new_token(&self) -> TokenHash {
        let mut token = [0; 32];
        token[..8].copy_from_slice(&self.number().to_be_bytes());
        TokenHash::from_bytes(token)
    }

    /// Sealed bytes unlike all others: to a store they mean nothing.
    pub(crate) fn new_secrets(&self) -> Sealed {
        let mut secrets = vec![0xff, 0, 1, 2];
        secrets.extend(self.number().to_be_bytes());
        Sealed::from_bytes(secrets)
    }

    /// An account that is not registered yet.
    pub(crate) fn new_account(&self, user_id: &str) -> Account {
        Account {
            id: AccountId::new(NOW, self.random()),
            user_id: user_id.into(),
            user_email: Some(format!("{user_id}@example.org")),
            created_at: NOW,
        }
    }

    pub(crate) async fn account(&self, user_id: &str) -> Account {
        let account = self.new_account(user_id);
        self.store().create_account(account.clone(), self.new_token()).await.unwrap();
        account
    }

    /// A subscription that is not made yet.
    pub(crate) fn new_subscription(&self, account: &Account, event: &str, url: &str) -> Subscription {
        Subscription {
            id: SubscriptionId::new(NOW, self.random()),
            account: account.id,
            user_id: account.user_id.clone(),
            events: event.parse().unwrap(),
            url: Some(url.into()),
            options: Options::default(),
            secrets: self.new_secrets(),
            is_active: true,
            health: Health::default(),
            created_at: NOW,
            version: 0,
        }
    }

    /// A subscription with these options, of an account made for it.
    pub(crate) async fn subscriber_with(&self, event: &str, options: Options) -> Subscription {
        let user_id = format!("user-{}", self.number());
        let account = self.account(&user_id).await;
        let new = self.new_subscription(&account, event, &format!("https://{user_id}.example/hook"));
        self.store().subscribe(Subscription { options, ..new }, None).await.unwrap().status.subscription
    }

    /// A subscription whose deliveries wait for each other.
    pub(crate) async fn ordered(&self, event: &str, ordering: Ordering) -> Subscription {
        self.subscriber_with(event, Options { ordering: Some(ordering), ..Options::default() }).await
    }

    pub(crate) async fn subscription(&self, account: &Account, event: &str, url: &str) -> Subscription {
        let subscription = self.new_subscription(account, event, url);
        let subscribed = self.store().subscribe(subscription, None).await.unwrap();
        assert!(subscribed.created);
        subscribed.status.subscription
    }

    /// A subscription of an account made for it.
    pub(crate) async fn subscriber(&self, event: &str) -> Subscription {
        let user_id = format!("user-{}", self.number());
        let account = self.account(&user_id).await;
        self.subscription(&account, event, &format!("https://{user_id}.example/hook")).await
    }

    pub(crate) async fn subscribers(&self, event: &str, count: usize) -> Vec<Subscription> {
        let mut subscriptions = Vec::new();
        for _ in 0..count {
            subscriptions.push(self.subscriber(event).await);
        }
        subscriptions
    }

    /// A thousand subscriptions of one account.
    pub(crate) async fn thousand(&self, event: &str) -> Vec<Subscription> {
        let account = self.account("thousand").await;
        let mut subscriptions = Vec::new();
        for number in 0..1_000 {
            subscriptions.push(self.subscription(&account, event, &format!("https://{number}.example")).await);
        }
        subscriptions
    }

    /// Changes a subscription; what it is then.
    pub(crate) async fn change(
        &self,
        subscription: &Subscription,
        change: impl FnOnce(&mut Subscription),
    ) -> Subscription {
        let mut changed = self.status(subscription).await.subscription;
        change(&mut changed);
        match self.store().replace(changed).await.unwrap() {
            Replaced::Done(status) => status.subscription,
            refused => panic!("not changed: {refused:?}"),
        }
    }

    pub(crate) async fn set_active(&self, subscription: &Subscription, is_active: bool, now: Timestamp) {
        self.store().set_active(subscription.account, subscription.id, is_active, now).await.unwrap();
    }

    pub(crate) async fn unsubscribe(&self, subscription: &Subscription) {
        self.store().unsubscribe(subscription.account, subscription.id, NOW).await.unwrap();
    }

    pub(crate) fn batch(&self) -> BatchBuilder<'_> {
        BatchBuilder::new(self, self.number())
    }

    /// Accepts so many events for one subscription.
    pub(crate) async fn send(&self, count: usize, subscription: &Subscription) {
        self.batch().events(count, subscription).accept().await;
    }

    /// Accepts an event with this ordering key for one subscription.
    pub(crate) async fn send_keyed(&self, subscription: &Subscription, key: &str) {
        self.batch().event("x").keyed(key).to([subscription]).accept().await;
    }

    pub(crate) async fn version(&self) -> CatalogueVersion {
        self.store().changes_since(CatalogueVersion(0)).await.unwrap().version
    }

    pub(crate) async fn status(&self, subscription: &Subscription) -> SubscriptionStatus {
        self.store().subscription(subscription.account, subscription.id).await.unwrap()
    }

    pub(crate) async fn health(&self, subscription: &Subscription) -> Health {
        self.status(subscription).await.subscription.health
    }

    /// How many failures in a row, and since when.
    pub(crate) async fn failures(&self, subscription: &Subscription) -> (u32, Option<Timestamp>) {
        let health = self.health(subscription).await;
        (health.failure_count, health.failing_since)
    }

    pub(crate) async fn is_active(&self, subscription: &Subscription) -> bool {
        self.status(subscription).await.subscription.is_active
    }

    pub(crate) async fn waiting(&self, subscription: &Subscription) -> u64 {
        self.status(subscription).await.waiting
    }

    pub(crate) async fn expired(&self, subscription: &Subscription) -> u64 {
        self.status(subscription).await.expired
    }

    /// A subscription's deliveries, the oldest first.
    pub(crate) async fn deliveries(&self, subscription: &Subscription) -> Vec<DeliveryRecord> {
        let mut records = self.store().deliveries(subscription.id, None, ALL).await.unwrap().items;
        records.reverse();
        records
    }

    /// The states of a subscription's deliveries, the oldest first.
    pub(crate) async fn states(&self, subscription: &Subscription) -> Vec<DeliveryState> {
        self.deliveries(subscription).await.iter().map(|record| record.state).collect()
    }

    pub(crate) async fn delivery(&self, subscription: &Subscription, id: DeliveryId) -> DeliveryRecord {
        self.deliveries(subscription).await.into_iter().find(|record| record.id == id).unwrap()
    }

    pub(crate) async fn event(&self, id: EventId) -> EventRecord {
        self.store().event(id, ALL).await.unwrap()
    }

    pub(crate) async fn due(&self, now: Timestamp) -> Due {
        self.store().due(DueQuery { now, limit: 1_000, except: HashSet::new() }).await.unwrap()
    }
}

pub(crate) fn event_type(text: &str) -> EventType {
    text.parse().unwrap()
}
