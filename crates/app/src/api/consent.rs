//! The proof that a callback wants the events, asked for before the first delivery.

use hookcast_core::options::Consent;
use hookcast_delivery::consent::Asked;
use hookcast_store::catalogue::SubscriptionStatus;

use super::{ApiState, error::ApiError};

/// Asks the callback, and makes the subscription active if it agrees. Where it does not, the subscription stays as it is: its owner
/// can let it be asked again.
pub async fn ask(state: &ApiState, status: SubscriptionStatus) -> Result<SubscriptionStatus, ApiError> {
    let subscription = &status.subscription;
    let Some(consent) = subscription.options.pending else { return Ok(status) };
    let (account, id) = (subscription.account, subscription.id);
    let target = state.targets().of(subscription.clone());
    let courier = &state.dispatcher.parts().courier;
    let asked = match consent {
        Consent::CloudEvents => courier.ask_by_options(&target, &state.origin).await,
        Consent::Challenge => courier.ask_by_challenge(&target, rand::random()).await,
    };
    match asked {
        Asked::Agreed { rate_per_minute } => {
            state
                .change_subscription(account, id, |subscription, _| {
                    subscription.options.pending = None;
                    if let Some(rate) = rate_per_minute {
                        let allowed = f64::from(rate) / 60.0;
                        let limit = subscription.options.rate_limit.map_or(allowed, |limit| limit.min(allowed));
                        subscription.options.rate_limit = Some(limit);
                    }
                })
                .await?;
            let now = state.clock.now();
            let status =
                state.store.set_active(account, id, true, now).await.map_err(super::subscriptions::not_found)?;
            state.refresh_catalogue().await;
            state.dispatcher.wake();
            Ok(status)
        }
        Asked::Refused(reason) => {
            tracing::info!(subscription = %id, reason, "the callback has not agreed to get events");
            Ok(status)
        }
    }
}
