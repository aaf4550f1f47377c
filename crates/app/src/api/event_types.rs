//! `/webhooks/event-types`: types of event that are known, what they mean, and what their payloads must be like.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{
    clock::Timestamp,
    event::{Event, EventType},
    pattern::OWN_EVENT_TYPES,
};
use hookcast_store::{
    StoreError,
    documents::{Document, DocumentQuery, Expected, Kind},
};
use http::{HeaderMap, StatusCode, Uri};
use jsonschema::{Draft, PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    ApiState, Inner, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Missing, Parameters, Protected},
    query,
    requests::EventTypeWish,
};

/// The most bytes of a request that describes a type.
const DESCRIPTION_MAX: usize = 128 * 1024;

/// The most bytes that a regular expression of a schema may take up once it is compiled.
const PATTERN_BYTES: usize = 1024 * 1024;

/// The most faults of a payload that are named.
const FAULTS: usize = 3;

/// The most bytes of what is said of a fault: it may quote the payload.
const FAULT_BYTES: usize = 200;

/// A larger payload, in bytes, is looked into away from other requests.
const LOOKED_INTO_AT_ONCE: usize = 16 * 1024;

/// The route that lists the types.
pub fn routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The routes of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    get(show).put(put).delete(remove)
}

/// A type as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    description: Option<String>,
    schema: Option<Value>,
    example: Option<Box<RawValue>>,
    updated_at: Timestamp,
}

/// The types that are known, each with what its payloads must be like.
pub type Types = HashMap<String, Option<Validator>>;

/// Makes types ready. A schema that cannot be read asks nothing: it was checked when it was set.
pub fn by_name(documents: &[Document]) -> Types {
    let read = |document: &Document| {
        let kept: Option<Kept> = serde_json::from_str(&document.body).ok();
        let validator = kept.and_then(|kept| kept.schema).and_then(|schema| validator(&schema).ok());
        (document.name.clone(), validator)
    };
    documents.iter().map(read).collect()
}

/// A schema, ready to validate: of draft 2020-12, with nothing that is elsewhere, and patterns whose cost is bounded by what they
/// look at.
fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES))
        .build(schema)
        .map_err(|error| shortened(error.to_string()))
}

fn shortened(mut text: String) -> String {
    if text.len() > FAULT_BYTES {
        let end = (0..=FAULT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Inner {
    /// Makes sure that an event is of a known type, where it must be, and its payload as its type says.
    ///
    /// # Errors
    /// 422, with the places of the first faults.
    pub(super) fn check_type(&self, types: &Types, event: &Event) -> Result<(), ApiError> {
        let Some(validator) = types.get(event.event_type.as_str()) else {
            let unknown = "is no type that is known here: see `GET /webhooks/event-types`";
            return if self.event_types_required { Err(ApiError::invalid_field("event", unknown)) } else { Ok(()) };
        };
        let Some(validator) = validator else { return Ok(()) };
        let payload = event.payload.get();
        if payload.len() > LOOKED_INTO_AT_ONCE {
            tokio::task::block_in_place(|| check_payload(validator, payload))
        } else {
            check_payload(validator, payload)
        }
    }
}

fn check_payload(validator: &Validator, payload: &str) -> Result<(), ApiError> {
    let value: Value = serde_json::from_str(payload)
        .map_err(|error| ApiError::invalid_field("payload", &format!("cannot be read: {error}")))?;
    let faults: Vec<String> = validator
        .iter_errors(&value)
        .take(FAULTS)
        .map(|error| format!("at `{}`: {}", error.instance_path(), shortened(error.to_string())))
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_field("payload", &format!("is not as its type wants it: {}", faults.join("; "))))
}

/// A type of event.
#[derive(Serialize, ToSchema)]
#[schema(as = EventTypeDescription)]
struct View {
    event: String,
    /// What it means, for people.
    description: Option<String>,
    /// What its payloads must be like: a JSON Schema (draft 2020-12).
    #[schema(value_type = Option<Value>)]
    schema: Option<Value>,
    /// A payload as it may be.
    #[schema(value_type = Option<Value>)]
    example: Option<Box<RawValue>>,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl View {
    fn of(document: Document) -> Result<Self, StoreError> {
        let kept: Kept = serde_json::from_str(&document.body)
            .map_err(|error| StoreError::Corrupt(format!("a type of event cannot be read: {error}")))?;
        let Kept { description, schema, example, updated_at } = kept;
        Ok(Self { event: document.name, description, schema, example, updated_at })
    }
}

/// Types, in the order of their names.
#[derive(Serialize, ToSchema)]
#[schema(as = EventTypeList)]
struct List {
    data: Vec<View>,
    /// What to ask for the next page with, if there may be one.
    next_cursor: Option<String>,
}

fn not_found(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("there is no such type of event"),
        error => error.into(),
    }
}

/// Lists the types of event that are known.
#[utoipa::path(
    get,
    path = "/webhooks/event-types",
    operation_id = "listEventTypes",
    tag = "Events",
    params(query::PageParameters),
    security(("access" = []), ("trigger" = []), ("admin" = [])),
    responses(
        (status = 200, description = "A page of them.", body = List, example = json!({"data": [example()], "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    auth::participant(&state, &headers).await?;
    let limit = query::page_limit(&uri)?;
    let after = query::parsed::<EventType>(&uri, "cursor")
        .map_err(|_| ApiError::invalid_field("cursor", "must be the `next_cursor` of an earlier answer"))?;
    let after = after.map(|after| after.to_string());
    let found = state.store.documents(Kind::EventTypes, DocumentQuery { after, descending: false, limit }).await?;
    let next_cursor = found.last().map(|last| last.name.clone()).filter(|_| found.len() == limit as usize);
    let data = found.into_iter().map(View::of).collect::<Result<_, _>>()?;
    Ok(Json(List { data, next_cursor }).into_response())
}

/// Shows a type of event.
#[utoipa::path(
    get,
    path = "/webhooks/event-types/{event}",
    operation_id = "showEventType",
    tag = "Events",
    params(("event" = String, Path, description = "The type.")),
    security(("access" = []), ("trigger" = []), ("admin" = [])),
    responses((status = 200, description = "The type.", body = View, example = json!(example())), Missing, Protected)
)]
pub async fn show(
    State(state): State<ApiState>,
    event: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::participant(&state, &headers).await?;
    let event: EventType = query::id(event)?;
    let found = state.store.document(Kind::EventTypes, event.as_str()).await?;
    let document = found.ok_or_else(|| not_found(StoreError::NotFound))?;
    Ok(Json(View::of(document)?).into_response())
}

/// Describes a type of event: what it means, and what its payloads must be like.
///
/// From then on an event of this type whose payload breaks its `schema` is refused; on other nodes within a second.
#[utoipa::path(
    put,
    path = "/webhooks/event-types/{event}",
    operation_id = "putEventType",
    tag = "Events",
    params(("event" = String, Path, description = "The type.")),
    request_body(content = EventTypeWish, example = json!({"description": "A paper cites another one.",
        "schema": {"type": "object", "required": ["hello"]}, "example": {"hello": "world"}})),
    security(("trigger" = [])),
    responses(
        (status = 200, description = "The type as it is now.", body = View, example = json!(example())),
        (status = 201, description = "The new type.", body = View, example = json!(example())),
        Body, Missing, Protected
    )
)]
pub async fn put(State(state): State<ApiState>, event: query::Segment, request: Request) -> Result<Response, ApiError> {
    auth::main_producer(&state, request.headers()).await?;
    let event: EventType = query::id(event)?;
    let body = body::read_json(&state, request, DESCRIPTION_MAX).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let kept = wish(&mut fields, state.clock.now())?;
    fields.finish("`description`, `schema` and `example`")?;
    if OWN_EVENT_TYPES.contains(&event.as_str()) {
        return Err(ApiError::not_found("it is a type of the service's own notices, which are as they are"));
    }
    let text = serde_json::to_string(&kept).map_err(|error| ApiError::internal(error.to_string()))?;
    let is_new = state.store.document(Kind::EventTypes, event.as_str()).await?.is_none();
    state.store.put_document(Kind::EventTypes, event.as_str(), text, Expected::Any).await?;
    state.types.forget().await;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let Kept { description, schema, example, updated_at } = kept;
    Ok((status, Json(View { event: event.to_string(), description, schema, example, updated_at })).into_response())
}

fn wish(fields: &mut Fields<'_>, now: Timestamp) -> Result<Kept, ApiError> {
    let description = fields.optional_string("description")?.map(std::borrow::Cow::into_owned);
    let given = |raw: &&RawValue| raw.get() != "null";
    let schema: Option<Value> = fields
        .take("schema")
        .filter(given)
        .map(|raw| serde_json::from_str(raw.get()))
        .transpose()
        .map_err(|error| ApiError::invalid_field("schema", &format!("cannot be read: {error}")))?;
    let example = fields.take("example").filter(given).map(ToOwned::to_owned);
    if let Some(schema) = &schema {
        let validator = validator(schema).map_err(|error| {
            ApiError::invalid_field("schema", &format!("is no JSON Schema of draft 2020-12: {error}"))
        })?;
        if let Some(example) = &example {
            check_payload(&validator, example.get()).map_err(|error| {
                let problem = error.detail().replacen("payload ", "", 1);
                ApiError::invalid_field("example", &problem)
            })?;
        }
    }
    Ok(Kept { description, schema, example, updated_at: now })
}

/// Forgets a type of event. Events of it are taken as before, unless only known types are.
#[utoipa::path(
    delete,
    path = "/webhooks/event-types/{event}",
    operation_id = "deleteEventType",
    tag = "Events",
    params(("event" = String, Path, description = "The type.")),
    security(("trigger" = [])),
    responses((status = 204, description = "It is forgotten."), Missing, Protected)
)]
pub async fn remove(
    State(state): State<ApiState>,
    event: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::main_producer(&state, &headers).await?;
    let event: EventType = query::id(event)?;
    state.store.delete_document(Kind::EventTypes, event.as_str(), Expected::Any).await.map_err(not_found)?;
    state.types.forget().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A type for the description of the interface.
fn example() -> Value {
    serde_json::json!({
        "event": "relation_added", "description": "A paper cites another one.",
        "schema": {"type": "object", "required": ["hello"]}, "example": {"hello": "world"},
        "updated_at": "2026-11-24T03:30:10.887Z",
    })
}
