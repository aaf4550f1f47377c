//! `/webhooks/account/tokens`: an account's access tokens.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get},
};
use hookcast_core::{
    clock::Timestamp,
    token::{self, AccessToken, Scope, TokenHash, TokenName},
};
use hookcast_store::{StoreError, access::TokenDeleted};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ACCESS_TOKEN_PREFIX, ApiState, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Protected},
    query, requests,
};

/// About the most tokens that an account may have: requests that come at the same moment may make a few more.
const MOST: usize = 100;

/// The routes of all of an account's tokens.
pub fn routes() -> MethodRouter<ApiState> {
    get(list).post(create)
}

/// The route of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    delete(remove)
}

/// What is known of an access token.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
struct View {
    #[schema(value_type = String)]
    name: TokenName,
    #[schema(value_type = requests::Scope)]
    scope: Scope,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl From<AccessToken> for View {
    fn from(token: AccessToken) -> Self {
        let AccessToken { name, scope, created_at, expires_at } = token;
        Self { name, scope, created_at, expires_at }
    }
}

/// A new access token, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedAccessToken)]
struct WithSecret<'a> {
    #[serde(flatten)]
    token: View,
    access_token: &'a str,
}

/// Lists the access tokens of your account, those that have expired too.
#[utoipa::path(
    get,
    path = "/webhooks/account/tokens",
    operation_id = "listAccessTokens",
    tag = "Accounts",
    security(("access" = [])),
    responses(
        (status = 200, description = "All of them.", body = query::List<View>, example = json!({"data": [{"name": "default",
            "scope": "write", "created_at": "2026-11-24T03:30:10.887Z", "expires_at": null}], "next_cursor": null})),
        Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    let tokens = state.store.tokens(account.id).await?.into_iter().map(View::from).collect();
    Ok(Json(query::List::new(tokens, None)).into_response())
}

/// Makes one more access token for your account.
#[utoipa::path(
    post,
    path = "/webhooks/account/tokens",
    operation_id = "createAccessToken",
    tag = "Accounts",
    request_body(content = requests::NewAccessToken, example = json!({"name": "dashboard", "scope": "read",
        "expires_at": "2125-01-31T12:00:00Z"})),
    security(("access" = [])),
    responses(
        (status = 201, description = "The token, which is shown this once.", body = WithSecret<'_>, example = json!({
            "name": "dashboard", "scope": "read", "created_at": "2026-11-24T03:30:10.887Z",
            "expires_at": "2125-01-31T12:00:00.000Z", "access_token": "hkc_access_3o2GvXbW"})),
        Body, Conflicting, Protected
    )
)]
pub async fn create(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let name: TokenName = fields.parsed("name")?;
    let scope: Scope = fields.parsed("scope")?;
    let expires_at = fields.optional_string("expires_at")?;
    fields.finish("`name`, `scope` and `expires_at`")?;
    let now = state.clock.now();
    let expires_at = expires_at.map(|text| end(&text, now)).transpose()?;
    if state.store.tokens(account.id).await?.len() >= MOST {
        return Err(ApiError::conflict(format!(
            "an account has at most {MOST} tokens: delete one with `DELETE /webhooks/account/tokens/NAME`"
        )));
    }

    let secret = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
    let token = AccessToken { name, scope, created_at: now, expires_at };
    match state.store.create_token(account.id, token.clone(), TokenHash::of(&secret)).await {
        Ok(()) => {
            let view = WithSecret { token: token.into(), access_token: secret.expose_secret() };
            Ok((StatusCode::CREATED, Json(view)).into_response())
        }
        Err(StoreError::Conflict) => Err(ApiError::conflict(format!(
            "you have a token `{}`: choose another name, or delete that one first",
            token.name
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Reads when a token ends to be valid.
pub fn end(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    Timestamp::parse(text).filter(|end| *end > now).ok_or_else(|| {
        ApiError::invalid_field(
            "expires_at",
            "must be a time to come, such as `2030-01-31T12:00:00Z`, or `null` for never",
        )
    })
}

/// Deletes an access token of your account, which is void at once.
#[utoipa::path(
    delete,
    path = "/webhooks/account/tokens/{name}",
    operation_id = "deleteAccessToken",
    tag = "Accounts",
    params(("name" = String, Path, description = "The token's name.", pattern = "^[A-Za-z0-9_.-]+$", max_length = 64)),
    security(("access" = [])),
    responses((status = 204, description = "It is deleted."), Missing, Conflicting, Protected)
)]
pub async fn remove(
    State(state): State<ApiState>,
    name: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    let unknown = || ApiError::not_found("you have no token of this name");
    let name: TokenName = query::id(name).map_err(|_| unknown())?;
    match state.store.delete_token(account.id, name, state.clock.now()).await {
        Ok(TokenDeleted::Done) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(TokenDeleted::LastWrite) => Err(ApiError::conflict(
            "it is your last valid token of scope `write`: make another one first, or put a new one in its place with `POST \
             /webhooks/account/rotate`",
        )),
        Err(StoreError::NotFound) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}
