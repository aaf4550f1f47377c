//! `/webhooks/admin/…`: what operators see and do, with the admin token.

pub mod accounts;
pub mod audit;
pub mod backlog;
pub mod pauses;
pub mod rates;
pub mod subscriptions;

use hookcast_core::id::AccountId;
use hookcast_store::{PageRequest, StoreError, catalogue::SubscriptionStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, auth, error::ApiError};

/// Subscriptions that are read at once.
const PAGE: u32 = 1_000;

/// What an account has, in numbers.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
struct Counts {
    subscriptions: u64,
    /// Of those, how many get what comes.
    active: u64,
    /// Of those, how many have callbacks that fail, so that one delivery at a time finds out when they are back.
    failing: u64,
    /// Deliveries that wait.
    waiting: u64,
    /// Deliveries that were given up unsent, ever.
    expired: u64,
}

impl Counts {
    fn add(&mut self, status: &SubscriptionStatus) {
        let subscription = &status.subscription;
        self.subscriptions += 1;
        self.active += u64::from(subscription.is_active || subscription.url.is_none());
        self.failing += u64::from(subscription.health.is_open());
        self.waiting += status.waiting;
        self.expired += status.expired;
    }
}

/// Goes over an account's subscriptions, or over everybody's.
async fn each(
    state: &ApiState,
    account: Option<AccountId>,
    mut look: impl FnMut(&SubscriptionStatus),
) -> Result<(), StoreError> {
    let mut cursor = None;
    loop {
        let page = state.store.subscriptions(account, PageRequest { limit: PAGE, cursor }).await?;
        page.items.iter().for_each(&mut look);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
