//! `GET /webhooks/events/{id}`: what has become of an event.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{canonical::ContentMd5, clock::Timestamp, delivery::DeliveryState, event::EventType, id::EventId};
use hookcast_store::{StoreError, history::EventRecord};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::value::RawValue;

use utoipa::ToSchema;

use super::{
    ApiState, auth, deliveries,
    error::ApiError,
    problems::{Missing, Parameters, Protected},
    query::{self, PageParameters},
    why::NotSent,
};

/// The route that shows an event.
pub fn routes() -> MethodRouter<ApiState> {
    get(show)
}

/// An event with a page of its deliveries.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct View {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    event: EventType,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    #[schema(value_type = String)]
    md5: ContentMd5,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// How many subscriptions it goes to.
    subscriptions: u64,
    /// Why it reached nobody, where that is so.
    unreached: Option<Unreached>,
    deliveries: Vec<deliveries::View>,
    /// Subscriptions to its type without a delivery of it, some of them where there are many; on the first page only.
    not_sent: Vec<NotSent>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Unreached {
    reason: &'static str,
    detail: String,
}

/// Shows an event and what has become of it.
#[utoipa::path(
    get,
    path = "/webhooks/events/{id}",
    operation_id = "showEvent",
    tag = "Events",
    params(("id" = String, Path, description = "The event's id.", pattern = "^evt_[0-9a-f]{32}$"), PageParameters),
    security(("trigger" = [])),
    responses(
        (status = 200, description = "The event with a page of its deliveries.", body = View,
            example = json!({"id": "evt_01a20b9a994770c592af35a40ac4d63e", "event": "relation_added",
            "time": "2026-11-24T03:30:10.887Z", "md5": "9a0364b9e99bb480dd25e1f0284c8555", "payload": {"hello": "world"},
            "subscriptions": 1, "unreached": null, "deliveries": [deliveries::example()], "not_sent": [], "next_cursor": null})),
        Missing, Parameters, Protected
    )
)]
pub async fn show(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    auth::producer(&state, &headers).await?;
    let page = query::page(&uri)?;
    let record = state.store.event(query::id(id)?, page).await.map_err(|error| match error {
        StoreError::NotFound => ApiError::not_found("there is no such event, or it is older than events are kept"),
        error => error.into(),
    })?;
    let unreached = unreached(&record);
    let not_sent = if page.cursor.is_none() { state.not_sent(&record) } else { Vec::new() };
    let now = state.clock.now();
    let EventRecord { event, total, deliveries } = record;
    let view = View {
        id: event.id,
        event: event.event_type,
        time: event.time,
        md5: event.md5,
        payload: event.payload,
        subscriptions: total,
        unreached,
        deliveries: deliveries.items.into_iter().map(|record| deliveries::View::for_others(record, now)).collect(),
        not_sent,
        next_cursor: deliveries.next.map(|cursor| cursor.to_string()),
    };
    Ok(Json(view).into_response())
}

/// Why an event reached nobody. Where its deliveries fill more than this page, or one of them was tried, they tell it themselves.
fn unreached(record: &EventRecord) -> Option<Unreached> {
    let event = &record.event.event_type;
    if record.total == 0 {
        let detail = format!("there was no subscription to `{event}` when it was accepted");
        return Some(Unreached { reason: "no_subscription", detail });
    }
    let is_parked = |delivery: &hookcast_store::history::DeliveryRecord| {
        delivery.state == DeliveryState::Waiting && !delivery.is_active && delivery.url.is_some()
    };
    let is_whole = record.deliveries.next.is_none() && u64::try_from(record.deliveries.items.len()) == Ok(record.total);
    if is_whole && record.deliveries.items.iter().all(is_parked) {
        let detail =
            format!("every subscription to `{event}` is inactive; what waits goes out when one becomes active again");
        return Some(Unreached { reason: "inactive", detail });
    }
    None
}
