//! The catalogue's side of a store: accounts and their subscriptions.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::{AccountId, SubscriptionId},
    options::Ordering,
    subscription::Subscription,
    token::TokenHash,
};

use crate::{
    error::StoreError,
    page::{Page, PageRequest},
};

/// By what an account is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountKey {
    /// Its id.
    Id(AccountId),
    /// Its `user_id`.
    UserId(String),
}

/// Counts the changes of subscriptions. Two processes that see the same number see the same subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogueVersion(pub u64);

/// A subscription that an event goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Which one.
    pub subscription: SubscriptionId,
    /// Whether it is sent now, or waits until the subscription is active again.
    pub is_active: bool,
    /// Which of its deliveries wait for each other.
    pub ordering: Ordering,
}

/// What has changed since a version of the catalogue.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The version now.
    pub version: CatalogueVersion,
    /// The subscriptions that are new or different, as they are now.
    pub changed: Vec<Subscription>,
    /// Those that are gone.
    pub deleted: Vec<SubscriptionId>,
}

/// A subscription and what waits for it.
#[derive(Clone, Debug)]
pub struct SubscriptionStatus {
    /// The subscription.
    pub subscription: Subscription,
    /// How many deliveries wait.
    pub waiting: u64,
    /// How many deliveries were given up unsent, ever.
    pub expired: u64,
}

/// What became of a wish to subscribe.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// The subscription: the new one, or the one that the account had for these events and this URL.
    pub status: SubscriptionStatus,
    /// Whether it is new.
    pub created: bool,
}

/// What became of a wish to change a subscription.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// It is as wished.
    Done(Box<SubscriptionStatus>),
    /// It has changed since it was read: read it and decide again.
    Outdated,
    /// The account has another subscription for these events and this URL.
    Taken,
}

/// Accounts and subscriptions. What it has answered is on disk.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Registers an account with its first token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its `user_id` is taken.
    async fn create_account(&self, account: Account, token: TokenHash) -> Result<(), StoreError>;

    /// Changes where an account's notices go; `None` for nowhere.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account is gone.
    async fn set_email(&self, account: AccountId, user_email: Option<String>) -> Result<Account, StoreError>;

    /// Deletes an account: its tokens are void at once, its subscriptions are deleted with what waits for them, its `user_id`
    /// is free. What its subscriptions got stays in the history of the events, under the account's id in place of its
    /// `user_id`, which nobody else may take. Where it fails half-way some subscriptions may be gone, and doing it again goes on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account is gone.
    async fn delete_account(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError>;

    /// The account of this id or name, if there is one.
    ///
    /// # Errors
    /// The store failed.
    async fn account(&self, which: AccountKey) -> Result<Option<Account>, StoreError>;

    /// Every account, in the order of registration.
    ///
    /// # Errors
    /// The store failed.
    async fn accounts(&self, page: PageRequest) -> Result<Page<Account>, StoreError>;

    /// Makes a subscription, or finds the account's own with the same events and URL and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account is gone, [`StoreError::Conflict`] when it has `most` subscriptions already, or more.
    async fn subscribe(&self, subscription: Subscription, most: Option<u64>) -> Result<Subscribed, StoreError>;

    /// One of an account's subscriptions.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such subscription.
    async fn subscription(&self, account: AccountId, id: SubscriptionId) -> Result<SubscriptionStatus, StoreError>;

    /// An account's subscriptions, or with `None` everybody's, in the order of their making.
    ///
    /// # Errors
    /// The store failed.
    async fn subscriptions(
        &self,
        account: Option<AccountId>,
        page: PageRequest,
    ) -> Result<Page<SubscriptionStatus>, StoreError>;

    /// Makes a subscription active, which resets its health and makes all that waits due now, or inactive.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such subscription.
    async fn set_active(
        &self,
        account: AccountId,
        id: SubscriptionId,
        is_active: bool,
        now: Timestamp,
    ) -> Result<SubscriptionStatus, StoreError>;

    /// Changes a subscription's `events`, `url`, `options` and `secrets` to those given, if its `version` is still the given one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when its account has no such subscription.
    async fn replace(&self, subscription: Subscription) -> Result<Replaced, StoreError>;

    /// Deletes a subscription. What waits for it is cancelled; what it got stays in the history of its events.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no such subscription.
    async fn unsubscribe(&self, account: AccountId, id: SubscriptionId, now: Timestamp) -> Result<(), StoreError>;

    /// What has changed since a version, zero being before everything.
    ///
    /// # Errors
    /// The store failed.
    async fn changes_since(&self, version: CatalogueVersion) -> Result<Changes, StoreError>;
}
