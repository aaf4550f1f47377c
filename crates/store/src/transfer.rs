//! Moving a whole store to another one, of whatever kind: what a store gives away and takes in, a part at a time.
//!
//! [`copy`](copy::copy) drives it. To the stores it is a list of items for each [`Section`], read in the order of their making
//! and written in that order, together with how far the copy has come, so that one that was interrupted goes on.

pub mod copy;
mod sum;

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::{Attempt, AttemptResult, DeliveryState},
    event::Event,
    id::{AccountId, DeliveryId, EventId, NoticeId, SubscriptionId},
    notice::NoticeKind,
    subscription::Subscription,
    token::{AccessToken, TokenHash},
};
use serde::{Deserialize, Serialize};

use crate::{code::url_text, documents::Kind, engine::Receipt, error::StoreError};

/// A kind of things that a store keeps. What refers to others comes after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Accounts, the deleted ones too: their subscriptions refer to them.
    Accounts,
    /// Access tokens, as their hashes.
    Tokens,
    /// Subscriptions, the deleted ones too: the history refers to them.
    Subscriptions,
    /// Events without their deliveries.
    Events,
    /// Deliveries with their attempts.
    Deliveries,
    /// The first event of each content.
    Fingerprints,
    /// Idempotency keys with the answers that they stand for.
    IdempotencyKeys,
    /// Notices that have not been given yet.
    Notices,
    /// Documents of every kind.
    Documents,
}

impl Section {
    /// Every section, in the order in which they are copied.
    pub const ALL: [Self; 9] = [
        Self::Accounts,
        Self::Tokens,
        Self::Subscriptions,
        Self::Events,
        Self::Deliveries,
        Self::Fingerprints,
        Self::IdempotencyKeys,
        Self::Notices,
        Self::Documents,
    ];

    /// The section that is copied next.
    #[must_use]
    pub fn following(self) -> Option<Self> {
        Self::ALL.into_iter().find(|section| *section > self)
    }

    /// Its name, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Tokens => "tokens",
            Self::Subscriptions => "subscriptions",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Fingerprints => "fingerprints",
            Self::IdempotencyKeys => "idempotency keys",
            Self::Notices => "notices",
            Self::Documents => "documents",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing on its way from store to store, as both must have it.
#[expect(clippy::large_enum_variant, reason = "a portion holds so few that their size in memory is of no account")]
#[derive(Clone, Debug)]
pub enum Item {
    /// Of [`Section::Accounts`].
    Account(AccountItem),
    /// Of [`Section::Tokens`].
    Token(TokenItem),
    /// Of [`Section::Subscriptions`].
    Subscription(SubscriptionItem),
    /// Of [`Section::Events`].
    Event(EventItem),
    /// Of [`Section::Deliveries`].
    Delivery(DeliveryItem),
    /// Of [`Section::Fingerprints`].
    Fingerprint(FingerprintItem),
    /// Of [`Section::IdempotencyKeys`].
    IdempotencyKey(IdempotencyKeyItem),
    /// Of [`Section::Notices`].
    Notice(NoticeItem),
    /// Of [`Section::Documents`].
    Document(DocumentItem),
}

/// An account.
#[derive(Clone, Debug)]
pub struct AccountItem {
    /// The account; of a deleted one nothing that anybody chose.
    pub account: Account,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct TokenItem {
    /// Whose it is.
    pub account: AccountId,
    /// What is known of it.
    pub token: AccessToken,
    /// Its hash.
    pub hash: TokenHash,
}

/// A subscription. How much waits for it and when the next is due follows from its deliveries.
#[derive(Clone, Debug)]
pub struct SubscriptionItem {
    /// The subscription, without its version; of a deleted one the secrets are empty.
    pub subscription: Subscription,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
    /// How many deliveries were given up unsent, ever.
    pub expired: u64,
}

/// An event. Its deliveries have consecutive positions.
#[derive(Clone, Debug)]
pub struct EventItem {
    /// The event.
    pub event: Event,
    /// The position of its first delivery.
    pub first_delivery: u64,
    /// How many deliveries it has.
    pub deliveries: u64,
}

/// A delivery. One that a process holds leaves its store as one that waits and was due at its event's time, or waits for those
/// before it, or where its subscription is deleted as a cancelled one: no process lives any more that could end it.
#[derive(Clone, Debug)]
pub struct DeliveryItem {
    /// Its id, which stays: it carries the delivery's position and its event's time.
    pub id: DeliveryId,
    /// What it brings.
    pub event: EventId,
    /// Whom it goes to.
    pub subscription: SubscriptionId,
    /// What has become of it; never [`DeliveryState::Sending`].
    pub state: DeliveryState,
    /// When it is tried next, while it waits for no other.
    pub due_at: Option<Timestamp>,
    /// Its place among those that go one after the other, if it waits and is one of them.
    pub place: Option<PlaceInOrder>,
    /// Every attempt so far, the first one first. The pauses that answers asked for are not kept.
    pub attempts: Vec<Attempt>,
}

/// A delivery's place among those that go one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceInOrder {
    /// Its group.
    pub group: i64,
    /// Those of one group and subscription go in the order of their sequence.
    pub sequence: u64,
}

/// The first event of a content.
#[derive(Clone, Copy, Debug)]
pub struct FingerprintItem {
    /// The content.
    pub md5: ContentMd5,
    /// Its first event, which may be gone.
    pub event: EventId,
    /// When that was accepted.
    pub first_at: Timestamp,
    /// When it may be forgotten; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// An idempotency key.
#[derive(Clone, Debug)]
pub struct IdempotencyKeyItem {
    /// The producer's key.
    pub key: String,
    /// A digest of the request's body.
    pub body_digest: [u8; 32],
    /// The answer to that request.
    pub receipts: Vec<Receipt>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// A notice that has not been given yet.
#[derive(Clone, Debug)]
pub struct NoticeItem {
    /// Its id, which stays: by it a notice that is told twice is recognised.
    pub id: NoticeId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// What happened.
    pub kind: NoticeKind,
    /// When it happened.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
    /// The failures in a row that it tells of.
    pub failure_count: u32,
    /// When the first of them began.
    pub failing_since: Option<Timestamp>,
    /// When it is to be given.
    pub due_at: Timestamp,
    /// Its mail was begun, and may have been sent.
    pub mail_begun: bool,
}

/// A document, without its version.
#[derive(Clone, Debug)]
pub struct DocumentItem {
    /// What it is about.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its text.
    pub body: String,
}

impl Item {
    /// About the bytes that it takes up in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::Account(_) | Self::Token(_) | Self::Fingerprint(_) => 0,
                Self::Subscription(item) => url_text(&item.subscription).len(),
                Self::Event(item) => item.event.payload.get().len(),
                Self::Delivery(item) => item.attempts.iter().map(attempt_size).sum(),
                Self::IdempotencyKey(item) => item.key.len() + FIXED * item.receipts.len(),
                Self::Notice(item) => item.reason.len(),
                Self::Document(item) => item.name.len() + item.body.len(),
            }
    }

    /// When it may be forgotten; `None` where that is no question of time.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Fingerprint(item) => item.expires_at,
            Self::IdempotencyKey(item) => Some(item.expires_at),
            Self::Account(_)
            | Self::Token(_)
            | Self::Subscription(_)
            | Self::Event(_)
            | Self::Delivery(_)
            | Self::Notice(_)
            | Self::Document(_) => None,
        }
    }
}

fn attempt_size(attempt: &Attempt) -> usize {
    let text = match &attempt.result {
        AttemptResult::Answered(answer) => &answer.excerpt,
        AttemptResult::Unanswered { detail, .. } => detail,
    };
    size_of::<Attempt>() + text.len()
}

/// A place in a section, behind the items that were exported. Only the store that it came from can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place(pub(crate) String);

/// How much is wanted at once.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// At most so many items.
    pub items: usize,
    /// No more items once their [sizes](Item::size) come to so many bytes.
    pub bytes: usize,
}

impl Portion {
    /// Whether items of so many bytes in all are enough.
    pub(crate) fn is_filled_by(self, items: usize, bytes: usize) -> bool {
        items >= self.items || bytes >= self.bytes
    }
}

/// A part of a section.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The items, in the order of their making where lists show them in that order.
    pub items: Vec<Item>,
    /// Where the next part begins; `None` when the section has ended. A next part may turn out to be empty.
    pub next: Option<Place>,
}

/// How far a copy has come, as the target keeps it until the copy is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is to be copied next; `None` once all is there and only to be checked.
    pub next: Option<Step>,
    /// How many items were copied.
    pub copied: BTreeMap<Section, u64>,
}

/// Where a copy goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The section.
    pub section: Section,
    /// The source's place in it; `None` for its beginning.
    pub after: Option<Place>,
}

/// Gives away all that a store keeps, and takes it in.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// How many processes have a lease that has not run out, servers and passes alike.
    ///
    /// # Errors
    /// The store failed.
    async fn live_processes(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Reads a part of a section, behind `after` or from its beginning: one item at the least if there is any. What has run out
    /// may be among it.
    ///
    /// # Errors
    /// The store failed, or [`StoreError::Corrupt`] where the place is not one of its own.
    async fn export(&self, section: Section, after: Option<Place>, portion: Portion) -> Result<Exported, StoreError>;

    /// Stores items of one section as they are, whatever the limits for new events say, and in the same transaction how far
    /// the copy has come. What is there already stays as it is: an import whose answer was lost is done again. The store's own
    /// numbers go on after the largest that is imported, lanes are as their deliveries make them, and a subscription counts as a
    /// change of the catalogue.
    ///
    /// # Errors
    /// The store failed, or an item refers to one that is not there, or contradicts one that is. Nothing is stored then.
    async fn import(&self, items: Vec<Item>, progress: &Progress) -> Result<(), StoreError>;

    /// How far the copy has come that is not whole yet, if this store is the target of one.
    ///
    /// # Errors
    /// The store failed.
    async fn progress(&self) -> Result<Option<Progress>, StoreError>;

    /// Ends the copy: the store is whole.
    ///
    /// # Errors
    /// The store failed.
    async fn finish_import(&self) -> Result<(), StoreError>;
}
