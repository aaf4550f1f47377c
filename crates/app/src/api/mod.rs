//! The HTTP interface: a file per resource, each with its routes, its requests and its answers.

mod accounts;
mod admin;
mod auth;
mod body;
mod cached;
mod consent;
mod deliveries;
mod error;
mod event_types;
mod events;
mod fields;
mod health;
mod openapi;
mod problems;
mod provider;
mod pull;
mod query;
mod quotas;
mod rate_limit;
mod redelivery;
mod replays;
mod requests;
mod secret_rotation;
mod subscription_view;
mod subscriptions;
mod test_delivery;
mod tokens;
mod trigger;
mod trigger_tokens;
mod webhook_keys;
mod why;
mod wishes;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRef, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::MethodRouter,
};
use hookcast_core::{clock::Clock, guard::Rules, options::Consent, token::TokenHash};
use hookcast_delivery::{
    acceptor::Acceptor,
    dispatcher::Dispatcher,
    service::{Resources, Service},
    target::Targets,
};
use hookcast_store::{Store, documents::Kind};
use tokio::sync::Semaphore;

pub use self::{accounts::ACCESS_TOKEN_PREFIX, admin::audit::note_command, health::Health};
use self::{
    cached::Cached,
    error::ApiError,
    event_types::Types,
    provider::{Provider, Terms},
    pull::Fetchers,
    rate_limit::Quota,
    test_delivery::Trials,
    trigger_tokens::NamedProducer,
};
use crate::{
    config::{Config, Limits, NodeRole, RegistrationMode},
    lifecycle,
    tokens::Tokens,
};

/// What handlers work with.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

/// See [`ApiState`].
pub struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    acceptor: Arc<Acceptor>,
    dispatcher: Arc<Dispatcher>,
    /// Whether this node delivers, or leaves that to others.
    delivers: bool,
    rules: Rules,
    limits: Limits,
    /// The longest that an attempt may take.
    timeout: Duration,
    /// How long events are kept.
    retention: Duration,
    /// What every callback must prove.
    consent: Option<Consent>,
    /// The name by which callbacks know this service.
    origin: String,
    /// Who tries a subscription out just now.
    trials: Trials,
    /// Who waits for events to fetch.
    fetchers: Fetchers,
    /// Producers with tokens of their own.
    producers: Cached<HashMap<String, NamedProducer>>,
    /// Types of event that are known.
    types: Cached<Types>,
    /// Whether no others are taken.
    event_types_required: bool,
    /// Whose tokens are taken, too, if anybody's are.
    provider: Option<Provider>,
    registration_mode: RegistrationMode,
    registration_token: TokenHash,
    trigger_token: TokenHash,
    /// Where there is none, nobody is an operator.
    admin_token: Option<TokenHash>,
    /// How many requests may be made with a token.
    quota: Quota,
    /// How many of them to trigger events.
    trigger_quota: Quota,
    /// Room for request bodies, in units of [`body::UNIT`] bytes.
    buffers: Arc<Semaphore>,
    is_stopping: Arc<AtomicBool>,
}

impl FromRef<ApiState> for Health {
    fn from_ref(state: &ApiState) -> Self {
        Self { store: Arc::clone(&state.store), is_stopping: Arc::clone(&state.is_stopping) }
    }
}

impl ApiState {
    /// What the settings and the running service give.
    pub fn new(
        config: &Config,
        tokens: &Tokens,
        resources: &Resources,
        service: &Service,
        is_stopping: Arc<AtomicBool>,
    ) -> Self {
        Self(Arc::new(Inner {
            store: Arc::clone(&resources.store),
            clock: Arc::clone(&resources.clock),
            acceptor: Arc::clone(service.acceptor()),
            dispatcher: Arc::clone(service.dispatcher()),
            delivers: config.role != NodeRole::Api,
            rules: lifecycle::guard_rules(config),
            limits: config.limits.clone(),
            timeout: config.delivery.timeout,
            retention: config.retention.age,
            consent: config.delivery.consent,
            origin: config.delivery.origin.clone(),
            trials: Trials::default(),
            fetchers: Fetchers::default(),
            producers: Cached::new(Kind::TriggerTokens, trigger_tokens::by_hash),
            types: Cached::new(Kind::EventTypes, event_types::by_name),
            event_types_required: config.event_types.required,
            provider: terms(config).map(|terms| Provider::new(terms, resources.client.clone())),
            registration_mode: config.registration.mode,
            registration_token: TokenHash::of(&tokens.registration),
            trigger_token: TokenHash::of(&tokens.trigger),
            admin_token: tokens.admin.as_ref().map(TokenHash::of),
            quota: Quota::new("requests", config.limits.requests),
            trigger_quota: Quota::new("triggers", config.limits.triggers),
            buffers: Arc::new(Semaphore::new(body::units(config.limits.buffered))),
            is_stopping,
        }))
    }
}

/// What is taken of a provider's tokens, if they are.
fn terms(config: &Config) -> Option<Terms> {
    let registration = &config.registration;
    if registration.mode != RegistrationMode::Jwt {
        return None;
    }
    Some(Terms {
        issuer: registration.issuer.clone()?,
        audience: registration.audience.clone()?,
        keys_url: registration.keys_url.clone(),
        user_id_claim: registration.user_id_claim.clone(),
        user_email_claim: registration.user_email_claim.clone(),
    })
}

impl Inner {
    /// Whether the server stops: who waits is answered at once.
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// How subscriptions are made ready to deliver to.
    fn targets(&self) -> &Targets {
        self.dispatcher.parts().directory.make()
    }

    /// Lets deliveries follow a change of subscriptions at once. Where that fails they follow it soon: the change is stored, and
    /// the dispatcher sees it when it next looks for work.
    async fn refresh_catalogue(&self) {
        if let Err(error) = self.dispatcher.parts().directory.refresh().await {
            tracing::warn!(%error, "a change of subscriptions takes effect a little later");
        }
    }
}

impl std::ops::Deref for ApiState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiState")
    }
}

/// Every route.
fn routes() -> [(&'static str, MethodRouter<ApiState>); 41] {
    [
        ("/webhooks/account", accounts::routes()),
        ("/webhooks/account/rotate", accounts::rotate_routes()),
        ("/webhooks/account/tokens", tokens::routes()),
        ("/webhooks/account/tokens/{name}", tokens::one_routes()),
        ("/webhooks/subscribe", subscriptions::subscribe_routes()),
        ("/webhooks/subscriptions", subscriptions::list_routes()),
        ("/webhooks/subscriptions/{id}", subscriptions::routes()),
        ("/webhooks/subscriptions/{id}/rotate-secret", secret_rotation::routes()),
        ("/webhooks/subscriptions/{id}/verify", subscriptions::verify_routes()),
        ("/webhooks/subscriptions/{id}/test", test_delivery::routes()),
        ("/.well-known/webhook-keys", webhook_keys::routes()),
        ("/webhooks/subscriptions/{id}/deliveries", deliveries::list_routes()),
        ("/webhooks/subscriptions/{id}/events", pull::routes()),
        ("/webhooks/subscriptions/{id}/redeliver", redelivery::subscription_routes()),
        ("/webhooks/subscriptions/{id}/replays", replays::routes()),
        ("/webhooks/subscriptions/{id}/replays/{replay}", replays::one_routes()),
        ("/webhooks/deliveries/{id}", deliveries::routes()),
        ("/webhooks/deliveries/{id}/redeliver", redelivery::routes()),
        ("/webhooks/admin/accounts", admin::accounts::routes()),
        ("/webhooks/admin/accounts/{user_id}", admin::accounts::one_routes()),
        ("/webhooks/admin/accounts/{user_id}/quotas", admin::accounts::quota_routes()),
        ("/webhooks/admin/accounts/{user_id}/rotate", admin::accounts::rotate_routes()),
        ("/webhooks/admin/subscriptions", admin::subscriptions::routes()),
        ("/webhooks/admin/subscriptions/{id}", admin::subscriptions::one_routes()),
        ("/webhooks/admin/pauses", admin::pauses::routes()),
        ("/webhooks/admin/pauses/{host}", admin::pauses::one_routes()),
        ("/webhooks/admin/backlog", admin::backlog::routes()),
        ("/webhooks/admin/rates", admin::rates::routes()),
        ("/webhooks/admin/audit", admin::audit::routes()),
        ("/webhooks/trigger", trigger::routes()),
        ("/webhooks/trigger-tokens", trigger_tokens::routes()),
        ("/webhooks/trigger-tokens/{name}", trigger_tokens::one_routes()),
        ("/webhooks/event-types", event_types::routes()),
        ("/webhooks/event-types/{event}", event_types::one_routes()),
        ("/webhooks/events", events::list_routes()),
        ("/webhooks/events/{id}", events::routes()),
        ("/webhooks/events/{id}/cancel", events::cancel_routes()),
        ("/health/live", health::live_routes()),
        ("/health/ready", health::ready_routes()),
        ("/openapi.json", openapi::routes()),
        ("/docs", openapi::page_routes()),
    ]
}

/// The service. Each of its routes answers with and without a trailing slash.
pub fn router(state: ApiState) -> Router {
    routed(routes(), "there is no such path; see the README for those there are")
        .layer(middleware::from_fn_with_state(state.clone(), pass))
        .with_state(state)
}

/// What every request passes on its way to its handler. It is one layer, since each has its price for every event.
async fn pass(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let handle = |request| admin::audit::note(&state, request, |request| next.run(request));
    rate_limit::limit(&state, body::drained(request), handle).await
}

/// The routes of a node that only delivers.
pub fn health_router(health: Health) -> Router {
    let routes = [("/health/live", health::live_routes()), ("/health/ready", health::ready_routes())];
    routed(routes, "this node only delivers: ask one of the role `api` or `all`")
        .layer(middleware::map_request(async |request| body::drained(request)))
        .with_state(health)
}

fn routed<S: Clone + Send + Sync + 'static, const N: usize>(
    routes: [(&str, MethodRouter<S>); N],
    elsewhere: &'static str,
) -> Router<S> {
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router
        .fallback(move || async move { ApiError::not_found(elsewhere) })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
}
