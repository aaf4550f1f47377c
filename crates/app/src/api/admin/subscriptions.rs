//! Everybody's subscriptions, as operators see them.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, patch},
};
use hookcast_core::{
    clock::Timestamp,
    guard::mask_query,
    id::{AccountId, SubscriptionId},
    pattern::EventPatterns,
};
use hookcast_store::{
    PageRequest, StoreError,
    catalogue::{AccountKey, SubscriptionStatus},
};
use http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ApiState, auth};
use crate::api::{
    body,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Parameters, Protected},
    pull, query,
    query::PageParameters,
    requests,
    subscription_view::State as SubscriptionState,
};

/// The most subscriptions that one request looks at where few are wanted; the cursor of its answer goes on from there.
const LOOK_AT: u32 = 10_000;

/// The route of all of them.
pub fn routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The route of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    patch(change)
}

/// A subscription as operators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = SubscriptionForOperators)]
struct View {
    #[schema(value_type = String)]
    id: SubscriptionId,
    user_id: String,
    #[schema(value_type = requests::EventTypes)]
    event: EventPatterns,
    /// The callback, its query masked; `null` where the account fetches its events.
    url: Option<String>,
    state: SubscriptionState,
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
}

impl From<SubscriptionStatus> for View {
    fn from(status: SubscriptionStatus) -> Self {
        let state = SubscriptionState::of(&status.subscription);
        let subscription = status.subscription;
        Self {
            id: subscription.id,
            user_id: subscription.user_id,
            event: subscription.events,
            url: subscription.url.as_deref().map(mask_query),
            state,
            failure_count: subscription.health.failure_count,
            failing_since: subscription.health.failing_since,
            probe_at: subscription.health.probe_at,
            created_at: subscription.created_at,
            waiting: status.waiting,
            expired: status.expired,
        }
    }
}

/// Which subscriptions are wanted.
struct Wanted {
    account: Option<AccountId>,
    state: Option<SubscriptionState>,
    failing: bool,
}

impl Wanted {
    async fn read(state: &ApiState, uri: &Uri) -> Result<Self, ApiError> {
        let account = match query::parsed::<String>(uri, "account")? {
            None => None,
            Some(user_id) => {
                let found = state.store.account(AccountKey::UserId(user_id)).await?;
                Some(found.ok_or_else(|| ApiError::invalid_field("account", "is the `user_id` of nobody here"))?.id)
            }
        };
        let failing = match query::parsed::<String>(uri, "failing")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(ApiError::invalid_field("failing", "must be `true` or `false`")),
        };
        let state = match query::parsed::<String>(uri, "state")?.as_deref() {
            None => None,
            Some("active") => Some(SubscriptionState::Active),
            Some("inactive") => Some(SubscriptionState::Inactive),
            Some("pending_verification") => Some(SubscriptionState::PendingVerification),
            Some(_) => {
                let rule = "must be `active`, `inactive` or `pending_verification`";
                return Err(ApiError::invalid_field("state", rule));
            }
        };
        Ok(Self { account, state, failing })
    }

    fn has(&self, status: &SubscriptionStatus) -> bool {
        self.state.is_none_or(|state| SubscriptionState::of(&status.subscription) == state)
            && (!self.failing || status.subscription.health.failure_count > 0)
    }
}

/// Lists the subscriptions of all accounts, in the order of their making.
///
/// A page may hold fewer than it could, or none, and still have a `next_cursor`.
#[utoipa::path(
    get,
    path = "/webhooks/admin/subscriptions",
    operation_id = "adminListSubscriptions",
    tag = "Operators",
    params(("account" = Option<String>, Query, description = "Only those of the account of this `user_id`."),
        ("state" = Option<SubscriptionState>, Query, description = "Only those in this state."),
        ("failing" = Option<bool>, Query, description = "Only those whose last attempt failed."),
        PageParameters),
    security(("admin" = [])),
    responses(
        (status = 200, description = "A page of them.", body = query::List<View>, example = json!({"data": [example()], "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let PageRequest { limit, mut cursor } = query::page(&uri)?;
    let wanted = Wanted::read(&state, &uri).await?;
    let mut looked_at = 0;
    loop {
        let page = state.store.subscriptions(wanted.account, PageRequest { limit, cursor }).await?;
        looked_at += limit;
        cursor = page.next;
        let found: Vec<View> = page.items.into_iter().filter(|status| wanted.has(status)).map(View::from).collect();
        if !found.is_empty() || cursor.is_none() || looked_at >= LOOK_AT {
            return Ok(Json(query::List::new(found, cursor)).into_response());
        }
    }
}

/// Pauses anybody's subscription, or makes it active again.
#[utoipa::path(
    patch,
    path = "/webhooks/admin/subscriptions/{id}",
    operation_id = "adminChangeSubscription",
    tag = "Operators",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = requests::ActiveChange, example = json!({"is_active": false})),
    security(("admin" = [])),
    responses(
        (status = 200, description = "The subscription after the change.", body = View, example = json!(example())),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn change(State(state): State<ApiState>, id: query::Segment, request: Request) -> Result<Response, ApiError> {
    auth::operator(&state, request.headers()).await?;
    let id: SubscriptionId = query::id(id)?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let is_active =
        fields.optional_bool("is_active")?.ok_or_else(|| ApiError::invalid_field("is_active", "is missing"))?;
    fields.finish("`is_active`")?;
    // What this node has not heard of yet it hears now.
    state.refresh_catalogue().await;
    let unknown = || ApiError::not_found("there is no such subscription");
    let account = state.dispatcher.parts().directory.target(id).ok_or_else(unknown)?.account;
    let not_found = |error| match error {
        StoreError::NotFound => unknown(),
        error => ApiError::from(error),
    };
    let subscription = state.store.subscription(account, id).await.map_err(not_found)?.subscription;
    pull::needs_callback(&subscription)?;
    if is_active && subscription.options.pending.is_some() {
        return Err(ApiError::conflict(
            "the callback has yet to prove that it wants the events: its owner has it asked",
        ));
    }
    let status = state.store.set_active(account, id, is_active, state.clock.now()).await.map_err(not_found)?;
    state.refresh_catalogue().await;
    state.dispatcher.wake();
    Ok(Json(View::from(status)).into_response())
}

/// A subscription for the description of the interface.
fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "sub_01a20b9a994770c592af35a40ac4d63e", "user_id": "ada", "event": ["relation_*"],
        "url": "https://hooks.example.org/citations?***", "state": "active", "failure_count": 0, "failing_since": null, "probe_at": null,
        "created_at": "2026-11-24T03:30:10.887Z", "waiting": 0, "expired": 0,
    })
}
