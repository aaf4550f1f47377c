//! `/webhooks/account`: registration, an account's own data and its end; the rotation of access tokens.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hookcast_core::{
    account::{Account, check_user_email, check_user_id},
    clock::Timestamp,
    id::AccountId,
    token::{self, TokenHash},
};
use hookcast_delivery::quotas::Quota;
use hookcast_store::StoreError;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState,
    auth::{self, Rotating},
    body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Protected},
    provider::Identity,
    quotas::Quotas,
    requests::{AccountChange, NewAccount},
};

/// What access tokens begin with.
pub const ACCESS_TOKEN_PREFIX: &str = "hkc_access_";

/// The routes of accounts.
pub fn routes() -> MethodRouter<ApiState> {
    get(show).post(register).patch(change).delete(remove)
}

/// The route that rotates an access token.
pub fn rotate_routes() -> MethodRouter<ApiState> {
    post(rotate)
}

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct View {
    user_id: String,
    user_email: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// What the account may have, and has.
    quotas: Quotas,
}

impl View {
    async fn of(state: &ApiState, account: Account) -> Result<Self, StoreError> {
        let quotas = Quotas::of(state, account.id, None).await?;
        let Account { user_id, user_email, created_at, .. } = account;
        Ok(Self { user_id, user_email, created_at, quotas })
    }
}

/// An account with its token, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = RegisteredAccount)]
pub struct WithToken<'a> {
    user_id: &'a str,
    user_email: Option<&'a str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    access_token: &'a str,
}

/// An account with its new token.
pub fn answer(status: StatusCode, account: &Account, token: &SecretString) -> Response {
    let Account { user_id, user_email, created_at, .. } = account;
    let (user_email, created_at) = (user_email.as_deref(), *created_at);
    (status, Json(WithToken { user_id, user_email, created_at, access_token: token.expose_secret() })).into_response()
}

/// Registers an account.
#[utoipa::path(
    post,
    path = "/webhooks/account",
    operation_id = "registerAccount",
    tag = "Accounts",
    request_body(content = NewAccount, example = json!({"user_id": "ada", "user_email": "ada@example.org"})),
    security(("registration" = [])),
    responses(
        (status = 201, description = "The account with its access token, which is shown this once.", body = WithToken<'_>,
            example = json!({"user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z",
            "access_token": "hkc_access_3o2GvXbW"})),
        Body, Conflicting, Protected
    )
)]
pub async fn register(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let identity = auth::registrar(&state, request.headers()).await?;
    create(&state, request, identity).await
}

/// Registers the account that a request describes.
///
/// # Errors
/// 403 where it describes another one than that of who asks, by the word of a provider; then it need describe nothing.
pub async fn create(state: &ApiState, request: Request, identity: Option<Identity>) -> Result<Response, ApiError> {
    let body = match &identity {
        Some(_) => body::read_optional_json(state, request, body::SMALL).await?,
        None => Some(body::read_json(state, request, body::SMALL).await?),
    };
    let bytes = body.as_ref().map_or(&b"{}"[..], |body| &body.bytes);
    let mut fields = Fields::parse(bytes)?;
    let given = if identity.is_some() { fields.optional_string("user_id")? } else { Some(fields.string("user_id")?) };
    let user_email = fields.optional_string("user_email")?.map(std::borrow::Cow::into_owned);
    fields.finish("`user_id` and `user_email`")?;
    let (user_id, user_email) = match identity {
        Some(identity) if given.as_ref().is_some_and(|given| *given != identity.user_id) => {
            let problem = format!("your token is that of `{}`, and registers no other `user_id`", identity.user_id);
            return Err(ApiError::forbidden(problem));
        }
        Some(identity) => (identity.user_id, user_email.or(identity.user_email)),
        None => (given.unwrap_or_default().into_owned(), user_email),
    };
    check_user_id(&user_id).map_err(|rule| ApiError::invalid_field("user_id", &rule))?;
    if let Some(email) = &user_email {
        check_user_email(email).map_err(|rule| ApiError::invalid_field("user_email", &rule))?;
    }

    let now = state.clock.now();
    let token = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
    let account = Account { id: AccountId::new(now, rand::random()), user_id, user_email, created_at: now };
    match state.store.create_account(account.clone(), TokenHash::of(&token)).await {
        Ok(()) => Ok(answer(StatusCode::CREATED, &account, &token)),
        Err(StoreError::Conflict) => Err(ApiError::conflict(format!(
            "an account with this `user_id` exists. For a new token in place of its present one: `hookcast account \
             rotate-token {}` on the server, or `POST /webhooks/account/rotate` with the present one",
            as_argument(&account.user_id)
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Shows your account.
#[utoipa::path(
    get,
    path = "/webhooks/account",
    operation_id = "showAccount",
    tag = "Accounts",
    security(("access" = [])),
    responses(
        (status = 200, description = "The account.", body = View, example = json!(example())),
        Protected
    )
)]
pub async fn show(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    Ok(Json(View::of(&state, account).await?).into_response())
}

/// Changes where your account's notices go.
#[utoipa::path(
    patch,
    path = "/webhooks/account",
    operation_id = "changeAccount",
    tag = "Accounts",
    request_body(content = AccountChange, example = json!({"user_email": "ada@example.org"})),
    security(("access" = [])),
    responses(
        (status = 200, description = "The account as it is now.", body = View, example = json!(example())),
        Body, Protected
    )
)]
pub async fn change(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let user_email = fields.string_or_null("user_email")?.map(std::borrow::Cow::into_owned);
    fields.finish("`user_email`")?;
    if let Some(email) = &user_email {
        check_user_email(email).map_err(|rule| ApiError::invalid_field("user_email", &rule))?;
    }
    let account = state.store.set_email(account.id, user_email).await.map_err(gone)?;
    Ok(Json(View::of(&state, account).await?).into_response())
}

/// Deletes your account with all that is its own: tokens, subscriptions, notices. What waits is cancelled.
#[utoipa::path(
    delete,
    path = "/webhooks/account",
    operation_id = "deleteAccount",
    tag = "Accounts",
    security(("access" = [])),
    responses((status = 204, description = "It is deleted."), Protected)
)]
pub async fn remove(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    delete(&state, account.id).await.map_err(gone)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes an account and what is kept apart from it.
pub async fn delete(state: &ApiState, account: AccountId) -> Result<(), StoreError> {
    state.store.delete_account(account, state.clock.now()).await?;
    state.refresh_catalogue().await;
    if let Err(error) = Quota::remove(&*state.store, account).await {
        // Nobody else ever has its id.
        tracing::warn!(%error, %account, "the quota of a deleted account is left");
    }
    Ok(())
}

/// An account for the description of the interface.
fn example() -> serde_json::Value {
    serde_json::json!({
        "user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z", "quotas": Quotas::example(),
    })
}

/// An account whose token was valid a moment ago, or that token, is not there any more.
fn gone(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => auth::unknown(),
        error => error.into(),
    }
}

/// A `user_id` as an operator can paste it into a shell, whatever it holds.
fn as_argument(user_id: &str) -> String {
    let is_plain = user_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@+".contains(&byte));
    let word = if is_plain { user_id.to_owned() } else { format!("'{}'", user_id.replace('\'', r"'\''")) };
    if word.starts_with('-') { format!("-- {word}") } else { word }
}

/// Gives an account a new access token in place of the present one.
#[utoipa::path(
    post,
    path = "/webhooks/account/rotate",
    operation_id = "rotateAccessToken",
    tag = "Accounts",
    security(("access" = [])),
    responses(
        (status = 200, description = "The account with its new access token, which is shown this once.", body = WithToken<'_>,
            example = json!({"user_id": "ada", "user_email": "ada@example.org", "created_at": "2026-11-24T03:30:10.887Z",
            "access_token": "hkc_access_3o2GvXbW"})),
        Protected
    )
)]
pub async fn rotate(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let rotating = auth::rotating(&state, &headers).await?;
    let token = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
    let hash = TokenHash::of(&token);
    let rotated = match rotating {
        Rotating::Token(present) => state.store.rotate_token(present, hash).await,
        Rotating::Account(account) => state.store.reset_token(&account.user_id, hash, state.clock.now()).await,
    };
    let account = rotated.map_err(gone)?;
    Ok(answer(StatusCode::OK, &account, &token))
}
