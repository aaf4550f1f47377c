//! What accounts may have, as they and operators see it.

use hookcast_core::{id::AccountId, subscription::Subscription};
use hookcast_delivery::quotas::Quota;
use hookcast_store::{PageRequest, StoreError, catalogue::Subscribed};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, error::ApiError, fields::Fields};
use crate::lifecycle;

/// The most that a quota may say: of subscriptions, and of events in a day.
const SUBSCRIPTIONS_MAX: u64 = 1_000_000_000;
const EVENTS_MAX: u64 = 1_000_000_000_000;

/// Subscriptions that are counted at once.
const PAGE: u32 = 1_000;

/// What an account may have, and has.
#[derive(Serialize, ToSchema)]
pub struct Quotas {
    subscriptions: Used,
    /// Events that are sent to it in a day of UTC: their first attempts.
    events_per_day: Used,
}

/// How much of something is used.
#[derive(Serialize, ToSchema)]
struct Used {
    /// `null` where it is not counted, since there is no limit.
    used: Option<u64>,
    /// `null` for no limit.
    limit: Option<u64>,
}

impl Quotas {
    /// Those of an account, which has so many subscriptions if that is known already.
    pub async fn of(state: &ApiState, account: AccountId, subscriptions: Option<u64>) -> Result<Self, StoreError> {
        let quota = allowed(state, account).await?;
        let count = match subscriptions {
            Some(count) => count,
            None => count(state, account).await?,
        };
        let sent = match quota.events_per_day {
            Some(_) => Some(state.dispatcher.parts().budgets.used(account).await?),
            None => None,
        };
        Ok(Self {
            subscriptions: Used { used: Some(count), limit: quota.subscriptions },
            events_per_day: Used { used: sent, limit: quota.events_per_day },
        })
    }

    /// Some for the description of the interface.
    pub fn example() -> serde_json::Value {
        serde_json::json!({"subscriptions": {"used": 2, "limit": 10}, "events_per_day": {"used": 17, "limit": 1000}})
    }
}

/// What an account may have: `None` of what is without a limit.
async fn allowed(state: &ApiState, account: AccountId) -> Result<Quota, StoreError> {
    Ok(Quota::over(Quota::of(&*state.store, account).await?, lifecycle::quota(&state.limits)))
}

/// Makes a subscription, unless its account has as many as it may.
pub async fn subscribe(state: &ApiState, subscription: Subscription) -> Result<Subscribed, ApiError> {
    let most = allowed(state, subscription.account).await?.subscriptions;
    state.store.subscribe(subscription, most).await.map_err(|error| match (error, most) {
        (StoreError::Conflict, Some(most)) => ApiError::over_quota(format!(
            "your account may have {most} subscriptions, and has no fewer: delete one that is not needed, or ask the operator for more"
        )),
        (error, _) => error.into(),
    })
}

async fn count(state: &ApiState, account: AccountId) -> Result<u64, StoreError> {
    let (mut count, mut cursor) = (0, None);
    loop {
        let page = state.store.subscriptions(Some(account), PageRequest { limit: PAGE, cursor }).await?;
        count += page.items.len() as u64;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(count);
        }
    }
}

/// What an operator wants an account to have.
pub fn wish(fields: &mut Fields<'_>) -> Result<Quota, ApiError> {
    Ok(Quota {
        subscriptions: fields.optional_number("subscriptions", SUBSCRIPTIONS_MAX)?,
        events_per_day: fields.optional_number("events_per_day", EVENTS_MAX)?,
    })
}

/// Lets a change hold on this node at once. On others it does within a second, and so it does here where it cannot be read now.
pub async fn follow(state: &ApiState) {
    if let Err(error) = state.dispatcher.parts().budgets.refresh().await {
        tracing::warn!(%error, "a change of a quota takes effect a little later");
    }
    state.dispatcher.wake();
}
