//! `/webhooks/trigger-tokens`: tokens of producers, each for some types of event.

use std::{collections::HashMap, fmt::Write as _};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get},
};
use hookcast_core::{
    clock::Timestamp,
    pattern::EventPatterns,
    token::{self, TokenHash, TokenName},
};
use hookcast_store::{
    StoreError,
    documents::{self, Document, Expected, Kind},
};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Protected},
    query, requests, tokens, wishes,
};

/// What such a token begins with.
const PREFIX: &str = "hkc_trigger_";

/// The most such tokens.
const MOST: usize = 1_000;

/// The routes of all of them.
pub fn routes() -> MethodRouter<ApiState> {
    get(list).post(create)
}

/// The route of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    delete(remove)
}

/// A token as it is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    /// Its hash, in hexadecimal.
    hash: String,
    /// Types and patterns, with commas between them.
    event: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

/// A producer with a token of its own.
#[derive(Clone, Debug)]
pub struct NamedProducer {
    /// The token's name.
    pub name: String,
    /// What it may trigger and look at.
    pub events: EventPatterns,
    /// When the token ends to be valid.
    pub expires_at: Option<Timestamp>,
}

/// Producers by the hashes of their tokens. What cannot be read lets nobody in.
pub fn by_hash(documents: &[Document]) -> HashMap<String, NamedProducer> {
    let producer = |document: &Document| {
        let kept: Kept = serde_json::from_str(&document.body).ok()?;
        let events = kept.event.parse().ok()?;
        Some((kept.hash, NamedProducer { name: document.name.clone(), events, expires_at: kept.expires_at }))
    };
    documents.iter().filter_map(producer).collect()
}

/// A hash as it is kept.
pub fn hex(hash: TokenHash) -> String {
    hash.to_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is known of a producer's token.
#[derive(Serialize, ToSchema)]
#[schema(as = TriggerToken)]
struct View {
    name: String,
    #[schema(value_type = requests::EventTypes)]
    event: EventPatterns,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl View {
    fn of(document: &Document) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt("a producer's token cannot be read".into());
        let kept: Kept = serde_json::from_str(&document.body).map_err(corrupt)?;
        let event = kept.event.parse().map_err(|_| StoreError::Corrupt("a producer's types cannot be read".into()))?;
        Ok(Self { name: document.name.clone(), event, created_at: kept.created_at, expires_at: kept.expires_at })
    }
}

/// A new token, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedTriggerToken)]
struct WithSecret<'a> {
    #[serde(flatten)]
    token: View,
    trigger_token: &'a str,
}

/// Lists the tokens of producers, those that have expired too.
#[utoipa::path(
    get,
    path = "/webhooks/trigger-tokens",
    operation_id = "listTriggerTokens",
    tag = "Events",
    security(("trigger" = [])),
    responses(
        (status = 200, description = "All of them.", body = query::List<View>, example = json!({"data": [{"name": "orders",
            "event": ["order_*"], "created_at": "2026-11-24T03:30:10.887Z", "expires_at": null}], "next_cursor": null})),
        Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    auth::main_producer(&state, &headers).await?;
    let kept = documents::all(&*state.store, Kind::TriggerTokens).await?;
    let views: Vec<View> = kept.iter().map(View::of).collect::<Result<_, _>>()?;
    Ok(Json(query::List::new(views, None)).into_response())
}

/// Makes a token for a producer that triggers some types of event, and looks at those alone.
#[utoipa::path(
    post,
    path = "/webhooks/trigger-tokens",
    operation_id = "createTriggerToken",
    tag = "Events",
    request_body(content = requests::NewTriggerToken, example = json!({"name": "orders", "event": ["order_*", "refund"],
        "expires_at": "2125-01-31T12:00:00Z"})),
    security(("trigger" = [])),
    responses(
        (status = 201, description = "The token, which is shown this once.", body = WithSecret<'_>, example = json!({
            "name": "orders", "event": ["order_*", "refund"], "created_at": "2026-11-24T03:30:10.887Z",
            "expires_at": "2125-01-31T12:00:00.000Z", "trigger_token": "hkc_trigger_3o2GvXbW"})),
        Body, Conflicting, Protected
    )
)]
pub async fn create(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    auth::main_producer(&state, request.headers()).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let name: TokenName = fields.parsed("name")?;
    let event = wishes::events(&mut fields)?.ok_or_else(|| ApiError::invalid_field("event", "is missing"))?;
    let expires_at = fields.optional_string("expires_at")?;
    fields.finish("`name`, `event` and `expires_at`")?;
    let now = state.clock.now();
    let expires_at = expires_at.map(|text| tokens::end(&text, now)).transpose()?;
    if documents::all(&*state.store, Kind::TriggerTokens).await?.len() >= MOST {
        return Err(ApiError::conflict(format!("there are at most {MOST} such tokens: delete one first")));
    }
    let secret = token::generate(PREFIX, rand::random());
    let kept = Kept { hash: hex(TokenHash::of(&secret)), event: event.to_string(), created_at: now, expires_at };
    let text = serde_json::to_string(&kept).map_err(|error| ApiError::internal(error.to_string()))?;
    match state.store.put_document(Kind::TriggerTokens, name.as_str(), text, Expected::None).await {
        Ok(_) => {}
        Err(StoreError::Conflict) => {
            let problem = format!("there is a token `{name}`: choose another name, or delete that one first");
            return Err(ApiError::conflict(problem));
        }
        Err(error) => return Err(error.into()),
    }
    state.producers.forget().await;
    let token = View { name: name.to_string(), event, created_at: now, expires_at };
    let view = WithSecret { token, trigger_token: secret.expose_secret() };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Deletes a producer's token, which is void at once, and on other nodes within a second.
#[utoipa::path(
    delete,
    path = "/webhooks/trigger-tokens/{name}",
    operation_id = "deleteTriggerToken",
    tag = "Events",
    params(("name" = String, Path, description = "The token's name.", pattern = "^[A-Za-z0-9_.-]+$", max_length = 64)),
    security(("trigger" = [])),
    responses((status = 204, description = "It is deleted."), Missing, Protected)
)]
pub async fn remove(
    State(state): State<ApiState>,
    name: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::main_producer(&state, &headers).await?;
    let unknown = || ApiError::not_found("there is no token of this name");
    let name: TokenName = query::id(name).map_err(|_| unknown())?;
    match state.store.delete_document(Kind::TriggerTokens, name.as_str(), Expected::Any).await {
        Ok(()) => {}
        Err(StoreError::NotFound) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    }
    state.producers.forget().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
