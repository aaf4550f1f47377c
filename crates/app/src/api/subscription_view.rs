//! A subscription as its owner sees it: everything but its secrets.

use hookcast_core::{
    callback_auth::{CallbackAuth, ClientTls, CustomHeaders},
    clock::Timestamp,
    format::Format,
    id::SubscriptionId,
    options::{Consent, OnFailure, Ordering, Retries},
    pattern::EventPatterns,
    policy::SuccessRule,
    secrets::Secrets,
    signing::Scheme,
    subscription::Subscription,
};
use hookcast_delivery::target::Defaults;
use hookcast_store::catalogue::SubscriptionStatus;
use serde::Serialize;
use serde_json::{Value, json};

use utoipa::ToSchema;

use super::{consent, requests};
use crate::config::show_duration;

/// Whether anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SubscriptionState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Deliveries go out, or can be fetched.
    Active,
    /// What comes waits.
    Inactive,
    /// The callback has yet to prove that it wants the events. What comes waits.
    PendingVerification,
}

impl State {
    /// The state of a subscription. What has no callback can be fetched at any time.
    pub fn of(subscription: &Subscription) -> Self {
        match subscription.options.pending {
            Some(_) => Self::PendingVerification,
            None if subscription.is_active || subscription.url.is_none() => Self::Active,
            None => Self::Inactive,
        }
    }
}

/// A subscription as its owner sees it. Options that were not chosen are as the configuration has them.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct View {
    #[schema(value_type = String)]
    id: SubscriptionId,
    user_id: String,
    #[schema(value_type = requests::EventTypes)]
    event: EventPatterns,
    /// The callback; `null` where the account fetches its events.
    url: Option<String>,
    is_active: bool,
    state: State,
    /// The proof that the callback must give, or has given.
    #[schema(value_type = Option<requests::Consent>)]
    consent: Option<Consent>,
    /// Why the proof is still owed, where the callback was asked just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent_refusal: Option<String>,
    failure_count: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    /// When the next delivery finds out whether the callback is back; nothing is sent before.
    #[schema(value_type = Option<String>, format = DateTime)]
    probe_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    waiting: u64,
    expired: u64,
    /// Why nothing is told of its secrets, `signature`, `auth` and `tls`, where they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets_unreadable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<requests::Scheme>)]
    signature: Option<Scheme>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// Earlier secrets that still sign, and until when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier_secrets: Vec<EarlierSecret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    auth: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    tls: Option<Value>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    headers: CustomHeaders,
    #[schema(value_type = requests::Format)]
    format: Format,
    filter: Option<String>,
    #[schema(value_type = requests::Ordering)]
    ordering: Ordering,
    #[schema(value_type = requests::OnFailure)]
    on_failure: OnFailure,
    rate_limit: Option<f64>,
    max_in_flight: Option<u32>,
    #[schema(value_type = requests::Retries)]
    retries: Value,
    #[schema(value_type = requests::SuccessStatus)]
    success_status: SuccessRule,
    timeout: String,
    /// Shown when it is new, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct EarlierSecret {
    #[schema(value_type = requests::Scheme)]
    signature: Scheme,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

impl View {
    /// The view of a subscription with these secrets, or of one whose secrets cannot be read, and why.
    ///
    /// `consent` is what the setting asks of every callback.
    pub fn new(
        status: SubscriptionStatus,
        secrets: Result<&Secrets, &str>,
        defaults: &Defaults,
        consent: Option<Consent>,
        now: Timestamp,
    ) -> Self {
        let subscription = status.subscription;
        let state = State::of(&subscription);
        let options = subscription.options;
        let secrets_unreadable = secrets.err().map(str::to_owned);
        let secrets = secrets.ok();
        let earlier =
            secrets.into_iter().flat_map(|secrets| secrets.keys.earlier()).filter(|earlier| earlier.until > now);
        Self {
            id: subscription.id,
            user_id: subscription.user_id,
            event: subscription.events,
            is_active: state == State::Active,
            state,
            url: subscription.url,
            consent: options.pending.or_else(|| consent::required(&options, consent)),
            consent_refusal: None,
            failure_count: subscription.health.failure_count,
            failing_since: subscription.health.failing_since,
            probe_at: subscription.health.probe_at,
            created_at: subscription.created_at,
            waiting: status.waiting,
            expired: status.expired,
            secrets_unreadable,
            signature: secrets.map(|secrets| secrets.keys.scheme()),
            public_key: secrets.and_then(|secrets| Some(secrets.keys.current()?.public_key()?.to_string())),
            earlier_secrets: earlier
                .map(|earlier| EarlierSecret { signature: earlier.secret.scheme(), until: earlier.until })
                .collect(),
            auth: secrets.map(|secrets| secrets.auth.as_ref().map_or(Value::Null, CallbackAuth::public_view)),
            tls: secrets.map(|secrets| secrets.tls.as_ref().map_or(Value::Null, ClientTls::public_view)),
            headers: options.headers,
            format: options.format.unwrap_or(defaults.format),
            filter: options.filter,
            ordering: options.ordering.unwrap_or(defaults.ordering),
            on_failure: options.on_failure.unwrap_or(defaults.on_failure),
            rate_limit: options.rate_limit.or(defaults.rate_limit),
            max_in_flight: options.max_in_flight,
            retries: options.retries.map_or_else(
                || defaults.schedule.delays.iter().map(|delay| show_duration(*delay)).collect(),
                |retries| shown(&retries),
            ),
            success_status: options.success_status.unwrap_or(defaults.success),
            timeout: show_duration(
                options.timeout_ms.map_or(defaults.timeout, |ms| std::time::Duration::from_millis(ms.into())),
            ),
            secret: None,
        }
    }
}

/// A schedule as it may be wished.
fn shown(retries: &Retries) -> Value {
    let duration = |millis: u64| show_duration(std::time::Duration::from_millis(millis));
    match retries {
        Retries::Delays(delays) => delays.iter().map(|millis| duration(*millis)).collect(),
        Retries::Exponential { first, factor, longest, count } => {
            json!({ "first": duration(*first), "factor": factor, "longest": duration(*longest), "count": count })
        }
    }
}

/// A subscription for the description of the interface, with its secret where that is new.
pub fn example(with_secret: bool) -> Value {
    let mut example = json!({
        "id": "sub_01a20b9a994770c592af35a40ac4d63e", "user_id": "ada", "event": ["object_updated", "relation_*"],
        "url": "https://hooks.example.org/citations", "is_active": true, "state": "active", "consent": null,
        "failure_count": 0, "failing_since": null, "probe_at": null, "created_at": "2026-11-24T03:30:10.887Z",
        "waiting": 0, "expired": 0, "signature": "hmac-sha256", "auth": null, "tls": null, "headers": {},
        "format": "hookcast", "filter": null, "ordering": "none", "on_failure": "block", "rate_limit": null,
        "max_in_flight": null, "retries": ["5s", "5m"], "success_status": "200", "timeout": "15s",
    });
    if with_secret {
        example["secret"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
    }
    example
}
