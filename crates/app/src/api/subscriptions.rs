//! `POST /webhooks/subscribe` and an account's own subscriptions.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hookcast_core::{
    clock::Timestamp,
    event::EventType,
    guard::CallbackUrl,
    id::SubscriptionId,
    signing::SigningSecret,
    subscription::{Health, Subscription},
};
use hookcast_delivery::client;
use hookcast_store::catalogue::SubscriptionStatus;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;

use super::{ApiState, auth, body, error::ApiError, fields::Fields, query};

/// The route that makes subscriptions.
pub fn subscribe_routes() -> MethodRouter<ApiState> {
    post(subscribe)
}

/// The route that lists them.
pub fn list_routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The routes of one of them.
pub fn routes() -> MethodRouter<ApiState> {
    get(show).patch(change).delete(remove)
}

/// The route that rotates a secret.
pub fn rotate_routes() -> MethodRouter<ApiState> {
    post(rotate_secret)
}

/// A subscription as its owner sees it.
#[derive(Serialize)]
struct View {
    id: SubscriptionId,
    user_id: String,
    event: EventType,
    url: String,
    is_active: bool,
    failure_count: u32,
    failing_since: Option<Timestamp>,
    created_at: Timestamp,
    waiting: u64,
    expired: u64,
    /// Shown when it is new, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<SubscriptionStatus> for View {
    fn from(status: SubscriptionStatus) -> Self {
        let subscription = status.subscription;
        Self {
            id: subscription.id,
            user_id: subscription.user_id,
            event: subscription.event,
            url: subscription.url,
            is_active: subscription.is_active,
            failure_count: subscription.health.failure_count,
            failing_since: subscription.health.failing_since,
            created_at: subscription.created_at,
            waiting: status.waiting,
            expired: status.expired,
            secret: None,
        }
    }
}

fn not_found(error: hookcast_store::StoreError) -> ApiError {
    match error {
        hookcast_store::StoreError::NotFound => ApiError::not_found("you have no such subscription"),
        error => error.into(),
    }
}

async fn subscribe(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, request.headers()).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let event = fields.string("event")?;
    let url = fields.string("url")?;
    fields.finish("`event` and `url`")?;
    let event: EventType = event.parse().map_err(|rule| invalid("event", &rule))?;
    let url = CallbackUrl::parse(&url, &state.rules).map_err(|refused| invalid("url", &refused))?;
    client::check_resolves(&url, &state.rules.networks)
        .await
        .map_err(|special| ApiError::invalid_field("url", &format!("leads where callbacks may not go: {special}")))?;

    let now = state.clock.now();
    let secret = SigningSecret::new(rand::random());
    let subscribed = state
        .store
        .subscribe(Subscription {
            id: SubscriptionId::new(now, rand::random()),
            account: account.id,
            user_id: account.user_id,
            event,
            url: url.as_str().to_owned(),
            secret: secret.clone(),
            is_active: true,
            health: Health::default(),
            created_at: now,
        })
        .await?;
    state.refresh_catalogue().await;
    let mut view = View::from(subscribed.status);
    if !subscribed.created {
        return Ok(Json(view).into_response());
    }
    view.secret = Some(secret.reveal());
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

fn invalid(field: &str, rule: &dyn std::fmt::Display) -> ApiError {
    ApiError::invalid_field(field, &rule.to_string())
}

async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, &headers).await?;
    let page = state.store.subscriptions(account.id, query::page(&uri)?).await?;
    let views: Vec<View> = page.items.into_iter().map(View::from).collect();
    Ok(Json(query::List::new(views, page.next)).into_response())
}

async fn show(State(state): State<ApiState>, id: query::Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, &headers).await?;
    let status = state.store.subscription(account.id, query::id(id)?).await.map_err(not_found)?;
    Ok(Json(View::from(status)).into_response())
}

async fn change(State(state): State<ApiState>, id: query::Segment, request: Request) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, request.headers()).await?;
    let id = query::id(id)?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let is_active = fields.optional_bool("is_active")?;
    fields.finish("`is_active`")?;
    let status = match is_active {
        None => state.store.subscription(account.id, id).await,
        Some(is_active) => state.store.set_active(account.id, id, is_active, state.clock.now()).await,
    };
    let view = View::from(status.map_err(not_found)?);
    state.refresh_catalogue().await;
    if is_active == Some(true) {
        state.dispatcher.wake();
    }
    Ok(Json(view).into_response())
}

async fn remove(State(state): State<ApiState>, id: query::Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, &headers).await?;
    state.store.unsubscribe(account.id, query::id(id)?, state.clock.now()).await.map_err(not_found)?;
    state.refresh_catalogue().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn rotate_secret(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = auth::consumer(&state, &headers).await?;
    let secret = SigningSecret::new(rand::random());
    let status = state.store.rotate_secret(account.id, query::id(id)?, secret.clone()).await.map_err(not_found)?;
    // What is sent from now on is signed with the new one.
    state.refresh_catalogue().await;
    Ok(Json(View { secret: Some(secret.reveal()), ..View::from(status) }).into_response())
}
