//! A subscription, made ready to deliver to.

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::{Clock, Timestamp},
    delivery::Rules,
    filter::Filter,
    format::Format,
    guard::mask_query,
    id::{AccountId, SubscriptionId},
    options::{OnFailure, Options, Ordering},
    pattern::EventPatterns,
    pause::host_of,
    policy::{RetrySchedule, SuccessRule},
    sealing::MasterKeys,
    secrets::Secrets,
    signing::{Keyring, Scheme},
    subscription::Subscription,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use tokio::time::Instant;

use crate::{
    client::{Authenticator, Credentials, TlsIdentity},
    scheduler::LaneRules,
};

/// How deliveries are where a subscription's owner has not chosen otherwise; from the configuration.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// What a delivery's body looks like.
    pub format: Format,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// What an ordered delivery does to those behind it when its schedule is used up.
    pub on_failure: OnFailure,
    /// Attempts that begin in a second, at the most; `None` for no limit.
    pub rate_limit: Option<f64>,
    /// When a failed delivery is tried again.
    pub schedule: RetrySchedule,
    /// Which answers count as a success.
    pub success: SuccessRule,
    /// The deadline of an attempt, which is also the longest that may be chosen.
    pub timeout: Duration,
}

/// Makes targets of subscriptions.
#[derive(Clone, Debug)]
pub struct Targets {
    /// What its owner has not chosen.
    pub defaults: Defaults,
    /// What secrets at rest are encrypted with, if they are.
    pub master_keys: Option<Arc<MasterKeys>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A subscription, ready to deliver to.
#[derive(Debug)]
pub struct Target {
    /// Which one.
    pub subscription: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The `user_id` of that account.
    pub user_id: String,
    /// Where it is. `None` without a URL, and when that does not fit into a request.
    pub uri: Option<Uri>,
    /// The host by which operators pause it; empty without a URL.
    pub host: Box<str>,
    /// The URL as it may be shown and logged, if it has one.
    pub masked_url: Option<String>,
    /// Nothing is sent: its owner fetches what waits.
    pub is_fetched: bool,
    /// Whether it gets anything now.
    pub is_active: bool,
    /// What bounds its lane.
    pub lane: Arc<LaneRules>,
    /// The types of event that it gets.
    pub events: EventPatterns,
    /// What an event must satisfy beyond that.
    pub filter: Option<Filter>,
    /// Which of its deliveries wait for each other.
    pub ordering: Ordering,
    /// What a delivery's body looks like.
    pub format: Format,
    /// What attempts at deliveries that wait for no other are judged by.
    pub rules: Rules,
    /// What attempts at those that others wait for are judged by.
    pub ordered_rules: Rules,
    /// The deadline of an attempt.
    pub timeout: Duration,
    /// Headers that every request has.
    pub headers: HeaderMap,
    /// What signs, and what authenticates; or why they cannot be read, which is no fault of the callback.
    pub access: Result<Access, String>,
}

/// What a target's requests are signed and authenticated with.
#[derive(Debug, Default)]
pub struct Access {
    /// What signs.
    pub keys: Keyring,
    /// What requests and connections authenticate with, if they do.
    pub credentials: Option<Credentials>,
}

impl Targets {
    /// When a time was, or is, by this process's own measure; `None` where that reaches not so far back.
    fn instant(&self, time: Timestamp) -> Option<Instant> {
        Instant::now().checked_sub(self.clock.now().since(time))
    }

    /// The target of a subscription.
    #[must_use]
    pub fn of(&self, subscription: Subscription) -> Target {
        let Options {
            format,
            filter,
            ordering,
            on_failure,
            rate_limit,
            max_in_flight,
            retries,
            success_status,
            timeout_ms,
            headers,
            consent: _,
            pending,
        } = subscription.options;
        let defaults = &self.defaults;
        let url = subscription.url.as_deref().and_then(|url| url::Url::parse(url).ok());
        // It was checked when it was set. Where it cannot be read even so, nothing goes out and everything waits.
        let filter: Option<Result<Filter, _>> = filter.map(|filter| filter.parse());
        let filter_is_known = !matches!(filter, Some(Err(_)));
        let filter = filter.and_then(Result::ok);
        let schedule =
            retries.map_or_else(|| defaults.schedule.clone(), |retries| retries.schedule(defaults.schedule.jitter));
        let rules = Rules { schedule, success: success_status.unwrap_or(defaults.success), gives_up: true };
        let gives_up = on_failure.unwrap_or(defaults.on_failure) == OnFailure::Skip;
        let access = Secrets::open(&subscription.secrets, self.master_keys.as_deref(), subscription.id)
            .map_err(|error| error.to_string())
            .and_then(Access::of)
            .inspect_err(|error| {
                tracing::error!(subscription = %subscription.id, error, "nothing can be delivered to a subscription");
            });
        let lane = LaneRules {
            account: subscription.account,
            host: url.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default().into(),
            max_in_flight: max_in_flight.and_then(|limit| usize::try_from(limit).ok()),
            rate_limit: rate_limit.or(defaults.rate_limit),
            is_open: subscription.health.is_open(),
            recovering_since: subscription.health.recovered_at.and_then(|time| self.instant(time)),
        };
        Target {
            subscription: subscription.id,
            account: subscription.account,
            user_id: subscription.user_id,
            uri: url.as_ref().and_then(|url| url.as_str().parse().ok()),
            host: url.as_ref().and_then(host_of).unwrap_or_default().into(),
            is_fetched: subscription.url.is_none(),
            masked_url: subscription.url.as_deref().map(mask_query),
            // Where its secrets cannot be read, which is no fault of the callback, everything waits, too. The row that brings a new URL
            // brings what its callback owes, so that nothing goes there before.
            is_active: subscription.is_active && pending.is_none() && filter_is_known && access.is_ok(),
            lane: Arc::new(lane),
            events: subscription.events,
            filter,
            ordering: ordering.unwrap_or(defaults.ordering),
            format: format.unwrap_or(defaults.format),
            ordered_rules: Rules { gives_up, ..rules.clone() },
            rules,
            timeout: timeout_ms
                .map_or(defaults.timeout, |millis| Duration::from_millis(millis.into()).min(defaults.timeout)),
            headers: headers
                .iter()
                .filter_map(|(name, value)| {
                    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
                })
                .collect(),
            access,
        }
    }
}

impl Target {
    /// Whether receivers check one of its signatures with a public key.
    pub(crate) fn has_public_keys(&self) -> bool {
        self.access.as_ref().is_ok_and(|Access { keys, .. }| {
            keys.scheme() == Scheme::Ed25519 || keys.earlier().any(|earlier| earlier.secret.scheme() == Scheme::Ed25519)
        })
    }

    /// What attempts at a delivery of this group are judged by.
    #[must_use]
    pub fn rules(&self, group: Option<i64>) -> &Rules {
        if group.is_some() { &self.ordered_rules } else { &self.rules }
    }
}

impl Access {
    fn of(secrets: Secrets) -> Result<Self, String> {
        let Secrets { keys, auth, tls } = secrets;
        let authenticator = auth.as_ref().map(Authenticator::new).transpose().map_err(|error| error.to_string())?;
        let identity = tls.map(TlsIdentity::new);
        let has_any = authenticator.is_some() || identity.is_some();
        Ok(Self { keys, credentials: has_any.then_some(Credentials { authenticator, identity }) })
    }
}
