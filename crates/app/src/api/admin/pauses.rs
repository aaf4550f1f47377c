//! What operators have paused: hosts, or everything.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, put as put_route},
};
use hookcast_core::{clock::Timestamp, pause::Scope};
use hookcast_delivery::pauses::{Pause, Pauses};
use hookcast_store::{
    StoreError,
    documents::{self, Expected, Kind},
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ApiState, auth};
use crate::api::{
    body,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Parameters, Protected},
    query,
    requests::PauseWish,
};

/// The most that may be paused.
const MOST: usize = 1_000;

/// The most characters of a reason.
const REASON_MAX: usize = 500;

/// The route of all of them.
pub fn routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The routes of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    put_route(put).delete(remove)
}

/// Something that is paused.
#[derive(Serialize, ToSchema)]
#[schema(as = Pause)]
struct View {
    /// The host, or `*` for everything.
    host: String,
    /// Why, by the word of who has paused it. Those for whom something waits are told.
    reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    paused_at: Timestamp,
}

impl View {
    fn of(pause: &Pause) -> Self {
        let Pause { scope, reason, paused_at } = pause;
        Self { host: scope.to_string(), reason: reason.clone(), paused_at: *paused_at }
    }
}

/// What a path names.
fn scope(segment: query::Segment) -> Result<Scope, ApiError> {
    let text: String = query::id(segment)?;
    text.parse()
        .map_err(|error: hookcast_core::pause::InvalidScope| ApiError::invalid_field("host", &error.to_string()))
}

async fn paused(state: &ApiState) -> Result<Vec<Arc<Pause>>, StoreError> {
    Ok(Pauses::of(&documents::all(&*state.store, Kind::Pauses).await?).all())
}

/// Lets a change hold on this node at once. On others it does within a second, and so it does here where it cannot be read now.
async fn follow(state: &ApiState) {
    if let Err(error) = state.dispatcher.parts().directory.refresh_pauses().await {
        tracing::warn!(%error, "what was paused or resumed takes effect a little later");
    }
    state.dispatcher.wake();
}

/// Lists what is paused.
#[utoipa::path(
    get,
    path = "/webhooks/admin/pauses",
    operation_id = "adminListPauses",
    tag = "Operators",
    security(("admin" = [])),
    responses(
        (status = 200, description = "All of it.", body = query::List<View>, example = json!({"data": [example()], "next_cursor": null})),
        Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let data: Vec<View> = paused(&state).await?.iter().map(|pause| View::of(pause)).collect();
    Ok(Json(query::List::new(data, None)).into_response())
}

/// Pauses a host, whatever the scheme and the port, or everything: nothing is sent there, and what comes waits.
///
/// Attempts that are on their way end as usual. Other nodes follow within a second. Pausing again what is paused changes the reason.
#[utoipa::path(
    put,
    path = "/webhooks/admin/pauses/{host}",
    operation_id = "adminPause",
    tag = "Operators",
    params(("host" = String, Path, description = "A host name or an address as in a URL, or `*` for everything.")),
    request_body(content = Option<PauseWish>, example = json!({"reason": "they are moving house until Monday"})),
    security(("admin" = [])),
    responses(
        (status = 200, description = "It was paused before.", body = View, example = json!(example())),
        (status = 201, description = "It is paused.", body = View, example = json!(example())),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn put(State(state): State<ApiState>, host: query::Segment, request: Request) -> Result<Response, ApiError> {
    auth::operator(&state, request.headers()).await?;
    let body = body::read_optional_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(body.as_ref().map_or(&b"{}"[..], |body| &body.bytes))?;
    let reason = fields.optional_string("reason")?.map(std::borrow::Cow::into_owned);
    fields.finish("`reason`")?;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_MAX) {
        return Err(ApiError::invalid_field("reason", &format!("may have {REASON_MAX} characters")));
    }
    let scope = scope(host)?;
    let before = paused(&state).await?;
    let earlier = before.iter().find(|pause| pause.scope == scope);
    if earlier.is_none() && before.len() >= MOST {
        let problem = format!("at most {MOST} hosts can be paused: resume one first, or pause everything with `*`");
        return Err(ApiError::conflict(problem));
    }
    let status = if earlier.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let paused_at = earlier.map_or_else(|| state.clock.now(), |earlier| earlier.paused_at);
    let pause = Pause { scope, reason, paused_at };
    pause.keep(&*state.store).await?;
    follow(&state).await;
    Ok((status, Json(View::of(&pause))).into_response())
}

/// Resumes a host, or everything: what waits goes out at once, and from other nodes within a second.
#[utoipa::path(
    delete,
    path = "/webhooks/admin/pauses/{host}",
    operation_id = "adminResume",
    tag = "Operators",
    params(("host" = String, Path, description = "A host name or an address as in a URL, or `*` for everything.")),
    security(("admin" = [])),
    responses((status = 204, description = "It is resumed."), Missing, Parameters, Protected)
)]
pub async fn remove(
    State(state): State<ApiState>,
    host: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let scope = scope(host)?;
    match state.store.delete_document(Kind::Pauses, &scope.to_string(), Expected::Any).await {
        Ok(()) => {}
        Err(StoreError::NotFound) => {
            let problem = format!("`{scope}` is not paused by itself; GET /webhooks/admin/pauses lists what is");
            return Err(ApiError::not_found(problem));
        }
        Err(error) => return Err(error.into()),
    }
    follow(&state).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A pause for the description of the interface.
fn example() -> serde_json::Value {
    serde_json::json!({
        "host": "hooks.example.org", "reason": "they are moving house until Monday", "paused_at": "2026-11-24T03:30:10.887Z",
    })
}
