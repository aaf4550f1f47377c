//! Accounts, as operators see them.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    token::{self, TokenHash},
};
use hookcast_delivery::quotas::Quota;
use hookcast_store::{StoreError, catalogue::AccountKey};
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ApiState, Counts, auth, each};
use crate::api::{
    accounts::{self, ACCESS_TOKEN_PREFIX, WithToken},
    body,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Parameters, Protected},
    query::{self, PageParameters},
    quotas::{self, Quotas},
    requests::{NewAccount, QuotaWish},
};

/// The routes of all accounts.
pub fn routes() -> MethodRouter<ApiState> {
    get(list).post(create)
}

/// The routes of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    get(show).delete(remove)
}

/// The routes of what one may have.
pub fn quota_routes() -> MethodRouter<ApiState> {
    put(put_quota).delete(remove_quota)
}

/// The route that gives one a new token.
pub fn rotate_routes() -> MethodRouter<ApiState> {
    post(rotate)
}

/// An account and what it has.
#[derive(Serialize, ToSchema)]
#[schema(as = AccountWithCounts)]
struct View {
    user_id: String,
    user_email: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(flatten)]
    counts: Counts,
    /// What it may have, and has.
    quotas: Quotas,
}

impl View {
    async fn of(state: &ApiState, account: Account) -> Result<Self, StoreError> {
        let mut counts = Counts::default();
        each(state, Some(account.id), |status| counts.add(status)).await?;
        let quotas = Quotas::of(state, account.id, Some(counts.subscriptions)).await?;
        let Account { user_id, user_email, created_at, .. } = account;
        Ok(Self { user_id, user_email, created_at, counts, quotas })
    }
}

/// The account of a path.
async fn named(state: &ApiState, segment: query::Segment) -> Result<Account, ApiError> {
    let unknown = || ApiError::not_found("there is no account of this `user_id`");
    let user_id: String = query::id(segment)?;
    state.store.account(AccountKey::UserId(user_id)).await?.ok_or_else(unknown)
}

fn gone(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("the account is gone"),
        error => error.into(),
    }
}

/// Lists accounts in the order of registration, each with what it has.
#[utoipa::path(
    get,
    path = "/webhooks/admin/accounts",
    operation_id = "adminListAccounts",
    tag = "Operators",
    params(PageParameters),
    security(("admin" = [])),
    responses(
        (status = 200, description = "A page of them.", body = query::List<View>, example = json!({"data": [example()], "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let page = state.store.accounts(query::page(&uri)?).await?;
    let mut data = Vec::with_capacity(page.items.len());
    for account in page.items {
        data.push(View::of(&state, account).await?);
    }
    Ok(Json(query::List::new(data, page.next)).into_response())
}

/// Registers an account, whatever `registration.mode` says.
#[utoipa::path(
    post,
    path = "/webhooks/admin/accounts",
    operation_id = "adminRegisterAccount",
    tag = "Operators",
    request_body(content = NewAccount, example = json!({"user_id": "ada", "user_email": "ada@example.org"})),
    security(("admin" = [])),
    responses(
        (status = 201, description = "The account with its access token, which is shown this once.", body = WithToken<'_>,
            example = json!({"user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z",
            "access_token": "hkc_access_3o2GvXbW"})),
        Body, Conflicting, Protected
    )
)]
pub async fn create(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    auth::operator(&state, request.headers()).await?;
    accounts::create(&state, request, None).await
}

/// Shows an account and what it has.
#[utoipa::path(
    get,
    path = "/webhooks/admin/accounts/{user_id}",
    operation_id = "adminShowAccount",
    tag = "Operators",
    params(("user_id" = String, Path, description = "The account's `user_id`.")),
    security(("admin" = [])),
    responses((status = 200, description = "The account.", body = View, example = json!(example())), Missing, Protected)
)]
pub async fn show(
    State(state): State<ApiState>,
    user_id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let account = named(&state, user_id).await?;
    Ok(Json(View::of(&state, account).await?).into_response())
}

/// Deletes an account with all that is its own. What waits is cancelled.
#[utoipa::path(
    delete,
    path = "/webhooks/admin/accounts/{user_id}",
    operation_id = "adminDeleteAccount",
    tag = "Operators",
    params(("user_id" = String, Path, description = "The account's `user_id`.")),
    security(("admin" = [])),
    responses((status = 204, description = "It is deleted."), Missing, Protected)
)]
pub async fn remove(
    State(state): State<ApiState>,
    user_id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let account = named(&state, user_id).await?;
    accounts::delete(&state, account.id).await.map_err(gone)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Says what an account may have, in place of what the settings say.
///
/// What it has beyond that stays, and it gets no more. On other nodes a change of `events_per_day` holds within a second.
#[utoipa::path(
    put,
    path = "/webhooks/admin/accounts/{user_id}/quotas",
    operation_id = "adminPutQuotas",
    tag = "Operators",
    params(("user_id" = String, Path, description = "The account's `user_id`.")),
    request_body(content = QuotaWish, example = json!({"subscriptions": 10, "events_per_day": 1000})),
    security(("admin" = [])),
    responses(
        (status = 200, description = "The account with what it may have.", body = View, example = json!(example())),
        Body, Missing, Protected
    )
)]
pub async fn put_quota(
    State(state): State<ApiState>,
    user_id: query::Segment,
    request: Request,
) -> Result<Response, ApiError> {
    auth::operator(&state, request.headers()).await?;
    let account = named(&state, user_id).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let quota = quotas::wish(&mut fields)?;
    fields.finish("`subscriptions` and `events_per_day`")?;
    quota.keep(&*state.store, account.id).await?;
    quotas::follow(&state).await;
    Ok(Json(View::of(&state, account).await?).into_response())
}

/// Lets an account have what the settings say.
#[utoipa::path(
    delete,
    path = "/webhooks/admin/accounts/{user_id}/quotas",
    operation_id = "adminDeleteQuotas",
    tag = "Operators",
    params(("user_id" = String, Path, description = "The account's `user_id`.")),
    security(("admin" = [])),
    responses((status = 204, description = "It has no quotas of its own."), Missing, Protected)
)]
pub async fn remove_quota(
    State(state): State<ApiState>,
    user_id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let account = named(&state, user_id).await?;
    Quota::remove(&*state.store, account.id).await?;
    quotas::follow(&state).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives an account a new `default` access token of scope write, in place of the present one.
#[utoipa::path(
    post,
    path = "/webhooks/admin/accounts/{user_id}/rotate",
    operation_id = "adminRotateAccessToken",
    tag = "Operators",
    params(("user_id" = String, Path, description = "The account's `user_id`.")),
    security(("admin" = [])),
    responses(
        (status = 200, description = "The account with its new access token, which is shown this once.", body = WithToken<'_>,
            example = json!({"user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z",
            "access_token": "hkc_access_3o2GvXbW"})),
        Missing, Protected
    )
)]
pub async fn rotate(
    State(state): State<ApiState>,
    user_id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let account = named(&state, user_id).await?;
    let token = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
    let reset = state.store.reset_token(&account.user_id, TokenHash::of(&token), state.clock.now()).await;
    Ok(accounts::answer(StatusCode::OK, &reset.map_err(gone)?, &token))
}

/// An account for the description of the interface.
fn example() -> serde_json::Value {
    serde_json::json!({
        "user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z",
        "subscriptions": 2, "active": 1, "failing": 0, "waiting": 3, "expired": 0,
        "quotas": Quotas::example(),
    })
}
