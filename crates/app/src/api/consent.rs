//! The proof that a callback wants the events, asked for before the first delivery.

use hookcast_core::{
    options::{Consent, Options},
    subscription::Subscription,
};
use hookcast_delivery::consent::Asked;
use hookcast_store::catalogue::SubscriptionStatus;

use super::{ApiState, error::ApiError, subscriptions::not_found};

/// What came of asking a callback.
pub struct Answered {
    /// The subscription afterwards.
    pub status: SubscriptionStatus,
    /// Why it still owes the proof, for its owner to read.
    pub refusal: Option<String>,
}

/// The proof that a callback with these options must give: what its owner wishes, or else what the setting asks for.
pub fn required(options: &Options, setting: Option<Consent>) -> Option<Consent> {
    options.consent.or(setting)
}

/// Notes what a subscription owes after a change of its URL or of its options. A proof holds for one URL and in one way.
pub fn after_change(before: &Subscription, now: &mut Subscription, setting: Option<Consent>) {
    let (was, is) = (required(&before.options, setting), required(&now.options, setting));
    if now.url != before.url || is != was || is.is_none() {
        now.options.pending = is;
    }
}

/// Whether a subscription owes the proof that it owed before a change.
pub fn owes_still(before: &Subscription, now: &Subscription) -> bool {
    now.options.pending.is_some() && now.options.pending == before.options.pending && now.url == before.url
}

/// Asks the callback, and makes the subscription active if it agrees. Where it does not, the subscription stays as it is: its owner
/// can let it be asked again.
pub async fn ask(state: &ApiState, status: SubscriptionStatus) -> Result<Answered, ApiError> {
    let subscription = &status.subscription;
    let Some(consent) = subscription.options.pending else { return Ok(Answered { status, refusal: None }) };
    let (account, id, url) = (subscription.account, subscription.id, subscription.url.clone());
    let target = state.targets().of(subscription.clone());
    let parts = state.dispatcher.parts();
    if let Some(pause) = parts.directory.pause_of(&target) {
        let refusal =
            format!("it was not asked: {pause}; once that is resumed, POST to this subscription's path with `/verify`");
        return Ok(Answered { status, refusal: Some(refusal) });
    }
    let courier = &parts.courier;
    let asked = match consent {
        Consent::CloudEvents => courier.ask_by_options(&target, &state.origin).await,
        Consent::Challenge => courier.ask_by_challenge(&target, rand::random()).await,
    };
    let rate_per_minute = match asked {
        Asked::Agreed { rate_per_minute } => rate_per_minute,
        Asked::Refused(reason) => {
            tracing::info!(subscription = %id, reason, "the callback has not agreed to get events");
            return Ok(Answered { status, refusal: Some(reason) });
        }
    };
    let agreed = |subscription: &mut Subscription| {
        // Its owner may have changed it while the callback was asked.
        if subscription.url != url || subscription.options.pending != Some(consent) {
            return;
        }
        subscription.options.pending = None;
        if let Some(rate) = rate_per_minute {
            let allowed = f64::from(rate) / 60.0;
            let limit = subscription.options.rate_limit.map_or(allowed, |limit| limit.min(allowed));
            subscription.options.rate_limit = Some(limit);
        }
    };
    let status = state
        .change_subscription(account, id, |subscription, _| {
            agreed(subscription);
            Ok(())
        })
        .await?;
    if status.subscription.options.pending.is_some() {
        let refusal = Some("the subscription was changed while its callback was asked".to_owned());
        return Ok(Answered { status, refusal });
    }
    let status = state.store.set_active(account, id, true, state.clock.now()).await.map_err(not_found)?;
    state.refresh_catalogue().await;
    state.dispatcher.wake();
    Ok(Answered { status, refusal: None })
}

#[cfg(test)]
mod tests {
    use hookcast_core::{
        clock::Timestamp,
        id::{AccountId, SubscriptionId},
        sealing::Sealed,
        subscription::Health,
    };

    use super::*;

    fn subscription(url: &str, consent: Option<Consent>, pending: Option<Consent>) -> Subscription {
        Subscription {
            id: SubscriptionId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            user_id: "ada".to_owned(),
            events: "a".parse().unwrap(),
            url: Some(url.to_owned()),
            options: Options { consent, pending, ..Options::default() },
            secrets: Sealed::from_bytes(Vec::new()),
            is_active: true,
            health: Health::default(),
            created_at: Timestamp::from_millis(0),
            version: 0,
        }
    }

    #[test]
    fn a_proof_holds_for_one_url_and_in_one_way() {
        use Consent::{Challenge, CloudEvents};
        let cases = [
            // The setting, before: wish and debt, now: URL and wish, and what is owed then.
            (None, (None, None), ("other", None), None),
            (Some(Challenge), (None, None), ("same", None), None),
            (Some(Challenge), (None, None), ("other", None), Some(Challenge)),
            (Some(Challenge), (None, Some(Challenge)), ("same", None), Some(Challenge)),
            (None, (Some(CloudEvents), None), ("other", Some(CloudEvents)), Some(CloudEvents)),
            (None, (Some(CloudEvents), Some(CloudEvents)), ("same", Some(Challenge)), Some(Challenge)),
            (None, (None, None), ("same", Some(Challenge)), Some(Challenge)),
            (None, (Some(CloudEvents), Some(CloudEvents)), ("same", None), None),
            (Some(Challenge), (Some(CloudEvents), None), ("same", None), Some(Challenge)),
            (Some(Challenge), (Some(CloudEvents), Some(CloudEvents)), ("other", None), Some(Challenge)),
        ];
        for (setting, (wish, debt), (url, new_wish), owed) in cases {
            let before = subscription("same", wish, debt);
            let mut now = subscription(url, new_wish, debt);
            after_change(&before, &mut now, setting);
            assert_eq!(now.options.pending, owed, "{setting:?} {wish:?} {debt:?} {url} {new_wish:?}");
        }
    }
}
