//! Who has changed what: every change that was asked for over HTTP and done, but for events, and what commands change in the store itself.

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::clock::Timestamp;
use hookcast_delivery::chores::change_name;
use hookcast_store::{
    Store, StoreError,
    documents::{Document, DocumentQuery, Expected, Kind},
};
use http::{HeaderMap, Method, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ApiError, ApiState, auth};
use crate::api::{
    auth::Asker,
    problems::{Parameters, Protected},
    query::{self, PageParameters},
};

/// Changes that are no changes of what anybody has set up.
const NOT_NOTED: [&str; 2] = ["/webhooks/trigger", "/webhooks/subscriptions/{id}/test"];

/// The route that lists changes.
pub fn routes() -> MethodRouter<ApiState> {
    get(list)
}

/// A change.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Entry {
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Who asked for it.
    #[schema(value_type = Asker)]
    by: Asker,
    /// The request's method; commands have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Its path as the description of the interface has it, or the command.
    operation: String,
    /// Its path, or the command with what it was about.
    path: String,
    /// The answer's status; commands have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// Notes the change that a request makes, when it is made. Where that fails the change is made all the same, and the log says so.
pub async fn note<F: Future<Output = Response>>(
    state: &ApiState,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let Some(operation) = change(&request) else { return answer(request).await };
    let (method, path) = (Some(request.method().to_string()), request.uri().path().to_owned());
    // Before the change: it may make the very token void.
    let by = auth::asker(state, request.headers()).await;
    let response = answer(request).await;
    if response.status().is_success() {
        let status = Some(response.status().as_u16());
        keep(&*state.store, &Entry { time: state.clock.now(), by, method, operation, path, status }).await;
    }
    response
}

/// Notes a change that a command has made in the store itself, and what it was about.
pub async fn note_command(store: &dyn Store, command: &str, about: &str, now: Timestamp) {
    let (operation, path) = (format!("hookcast {command}"), format!("hookcast {command} {about}"));
    let path = path.trim_end().to_owned();
    keep(store, &Entry { time: now, by: Asker::Shell, method: None, operation, path, status: None }).await;
}

/// Which operation a request asks for, if it is one that changes something.
fn change(request: &Request) -> Option<String> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let operation = request.extensions().get::<MatchedPath>()?.as_str().trim_end_matches('/');
    (!NOT_NOTED.contains(&operation)).then(|| operation.to_owned())
}

async fn keep(store: &dyn Store, entry: &Entry) {
    if let Err(error) = write(store, entry).await {
        tracing::error!(%error, operation = entry.operation, path = entry.path, "a change was made and could not be noted");
    }
}

async fn write(store: &dyn Store, entry: &Entry) -> Result<(), StoreError> {
    let text = serde_json::to_string(entry).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let name = format!("{}-{:016x}", change_name(entry.time), rand::random::<u64>());
    store.put_document(Kind::Audit, &name, text, Expected::None).await.map(drop)
}

/// Changes, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLog)]
struct Log {
    data: Vec<Entry>,
    /// What to ask for the next page with, if there may be one.
    next_cursor: Option<String>,
}

/// Lists changes that were made, the newest first, for as long as events are kept.
#[utoipa::path(
    get,
    path = "/webhooks/admin/audit",
    operation_id = "adminAudit",
    tag = "Operators",
    params(PageParameters),
    security(("admin" = [])),
    responses(
        (status = 200, description = "A page of them.", body = Log, example = json!({"data": [{"time": "2026-11-24T03:30:10.887Z",
            "by": {"role": "account", "user_id": "ada", "token": "default"}, "method": "PATCH",
            "operation": "/webhooks/subscriptions/{id}", "path": "/webhooks/subscriptions/sub_01a20b9a994770c592af35a40ac4d63e",
            "status": 200}], "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let limit = query::page_limit(&uri)?;
    let after = query::parsed::<String>(&uri, "cursor")?;
    let is_place =
        |text: &String| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if after.as_ref().is_some_and(|after| !is_place(after)) {
        return Err(ApiError::invalid_field("cursor", "must be the `next_cursor` of an earlier answer"));
    }
    let found = state.store.documents(Kind::Audit, DocumentQuery { after, descending: true, limit }).await?;
    let next_cursor = found.last().map(|last| last.name.clone()).filter(|_| found.len() == limit as usize);
    let data = found.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Log { data, next_cursor }).into_response())
}

fn read(document: &Document) -> Result<Entry, StoreError> {
    serde_json::from_str(&document.body)
        .map_err(|error| StoreError::Corrupt(format!("a noted change cannot be read: {error}")))
}
