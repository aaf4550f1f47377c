//! What is fetched and not sent: subscriptions without a callback.

use std::sync::Arc;

use async_trait::async_trait;
use hookcast_core::{
    event::Event,
    id::{DeliveryId, SubscriptionId},
};

use crate::error::StoreError;

/// A place in the order of what a subscription gets, behind a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// What is wanted of a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Pull {
    /// Which one.
    pub subscription: SubscriptionId,
    /// Only what comes behind this place.
    pub after: Sequence,
    /// At most so many.
    pub limit: u32,
    /// No more once payloads come to so many bytes; one at the least if there is any.
    pub max_bytes: usize,
}

impl Pull {
    /// Takes from the front of what was read as much as fits.
    pub(crate) fn fitting(&self, read: Vec<Pulled>) -> Vec<Pulled> {
        let mut bytes = 0;
        let fits = |pulled: &Pulled| {
            let fits = bytes < self.max_bytes;
            bytes += pulled.event.payload.get().len();
            fits
        };
        read.into_iter().take_while(fits).collect()
    }
}

/// A delivery that is fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its place.
    pub sequence: Sequence,
    /// Which one it is.
    pub delivery: DeliveryId,
    /// What it brings.
    pub event: Arc<Event>,
}

/// Fetching what waits for subscriptions whose deliveries are all in one order
/// ([`Ordering::Subscription`](hookcast_core::options::Ordering::Subscription)). In that order nothing appears before something that
/// is there already.
#[async_trait]
pub trait Pulling: Send + Sync {
    /// What waits, the first first, and goes on waiting.
    ///
    /// # Errors
    /// The store failed.
    async fn pull(&self, pull: Pull) -> Result<Vec<Pulled>, StoreError>;

    /// Notes that what waits up to a place has arrived: it is delivered, without an attempt. Answers how much that was.
    ///
    /// # Errors
    /// The store failed. Some of it may be delivered.
    async fn confirm(&self, subscription: SubscriptionId, through: Sequence) -> Result<u64, StoreError>;
}
