//! `GET /webhooks/events/{id}`: what has become of an event.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hookcast_core::{
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::DeliveryState,
    event::{Event, EventType},
    id::{AccountId, EventId},
    pattern::EventPatterns,
};
use hookcast_store::{
    PageRequest, StoreError,
    catalogue::AccountKey,
    history::{EventQuery, EventRecord},
};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::value::RawValue;

use utoipa::ToSchema;

use super::{
    ApiState,
    auth::{self, Producer},
    deliveries,
    error::ApiError,
    problems::{Missing, Parameters, Protected},
    query::{self, PageParameters},
    why::{NotSent, Reasons},
};

/// The most events that one request looks at where few are wanted; the cursor of its answer goes on from there.
const LOOK_AT: u32 = 10_000;

/// The most bytes of payloads on a page.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// How much the clocks of two nodes may be apart for their events to be listed even so.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// The route that shows an event.
pub fn routes() -> MethodRouter<ApiState> {
    get(show)
}

/// The route that lists them.
pub fn list_routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The route that cancels one.
pub fn cancel_routes() -> MethodRouter<ApiState> {
    post(cancel)
}

/// An event.
#[derive(Serialize, ToSchema)]
#[schema(as = EventAlone)]
struct View {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    event: EventType,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    #[schema(value_type = String)]
    md5: ContentMd5,
    key: Option<String>,
    /// Its producer's own id of it.
    source_id: Option<String>,
    /// The `user_id` of the account that alone gets it, or its id where it is gone.
    account: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    deliver_at: Option<Timestamp>,
    /// When it was cancelled: what waited then is not sent, and no replay sends it again.
    #[schema(value_type = Option<String>, format = DateTime)]
    cancelled_at: Option<Timestamp>,
    /// The earlier event that it is once more.
    #[schema(value_type = Option<String>)]
    replay_of: Option<EventId>,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
}

/// An event with a page of its deliveries.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
struct WholeView {
    #[serde(flatten)]
    event: View,
    /// How many subscriptions it goes to.
    subscriptions: u64,
    /// Why it reached nobody, where that is so.
    unreached: Option<Unreached>,
    deliveries: Vec<deliveries::View>,
    /// Subscriptions to its type without a delivery of it, some of them where there are many; on the first page only.
    not_sent: Vec<NotSent>,
    next_cursor: Option<String>,
}

impl View {
    async fn of(state: &ApiState, event: Event) -> Result<Self, StoreError> {
        let extra = event.extra.map(|extra| *extra).unwrap_or_default();
        let account = match extra.account {
            None => None,
            Some(id) => {
                let found = state.store.account(AccountKey::Id(id)).await?;
                Some(found.map_or_else(|| id.to_string(), |account| account.user_id))
            }
        };
        Ok(Self {
            id: event.id,
            event: event.event_type,
            time: event.time,
            md5: event.md5,
            key: event.key,
            source_id: extra.source_id,
            account,
            deliver_at: extra.deliver_at,
            cancelled_at: extra.cancelled_at,
            replay_of: extra.replay_of,
            payload: event.payload,
        })
    }
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
        (status = 200, description = "The event with a page of its deliveries.", body = WholeView,
            example = json!({"id": "evt_01a20b9a994770c592af35a40ac4d63e", "event": "relation_added",
            "time": "2026-11-24T03:30:10.887Z", "md5": "9a0364b9e99bb480dd25e1f0284c8555", "key": null, "source_id": "rel-17",
            "account": null, "deliver_at": null, "cancelled_at": null, "replay_of": null, "payload": {"hello": "world"}, "subscriptions": 1, "unreached": null, "deliveries": [deliveries::example()], "not_sent": [], "next_cursor": null})),
        Missing, Parameters, Protected
    )
)]
pub async fn show(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let producer = auth::producer(&state, &headers).await?;
    let page = query::page(&uri)?;
    let record = state.store.event(query::id(id)?, page).await.map_err(not_found)?;
    if !producer.may(&record.event.event_type) {
        return Err(not_found(StoreError::NotFound));
    }
    let unreached = unreached(&record);
    let not_sent = if page.cursor.is_none() { state.not_sent(&record) } else { Vec::new() };
    let EventRecord { event, total, deliveries } = record;
    let (mut reasons, mut views) = (Reasons::new(&state), Vec::with_capacity(deliveries.items.len()));
    for record in deliveries.items {
        views.push(deliveries::View::for_others(&mut reasons, record).await?);
    }
    let view = WholeView {
        event: View::of(&state, event).await?,
        subscriptions: total,
        unreached,
        deliveries: views,
        not_sent,
        next_cursor: deliveries.next.map(|cursor| cursor.to_string()),
    };
    Ok(Json(view).into_response())
}

fn not_found(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("there is no such event, or it is older than events are kept"),
        error => error.into(),
    }
}

/// How a list of events is bounded, beside its page.
struct Wanted {
    source_id: Option<String>,
    types: Option<EventPatterns>,
    account: Option<AccountId>,
    since: Timestamp,
    until: Timestamp,
    ascending: bool,
    /// Only what is theirs.
    producer: Producer,
}

impl Wanted {
    async fn read(state: &ApiState, uri: &Uri, producer: Producer) -> Result<Self, ApiError> {
        let account = match query::parsed::<String>(uri, "account")? {
            None => None,
            Some(user_id) => {
                let found = state.store.account(AccountKey::UserId(user_id)).await?;
                Some(found.ok_or_else(|| ApiError::invalid_field("account", "is the `user_id` of nobody here"))?.id)
            }
        };
        let ascending = match query::parsed::<String>(uri, "order")?.as_deref() {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(ApiError::invalid_field("order", "must be `asc` or `desc`")),
        };
        Ok(Self {
            source_id: query::parsed(uri, "source_id")?,
            types: query::parsed(uri, "event")?,
            account,
            since: query::time(uri, "since")?.unwrap_or(Timestamp::from_millis(0)),
            // Nothing is of a later time than now, but by the clock of another node.
            until: query::time(uri, "until")?.unwrap_or_else(|| state.clock.now().plus(CLOCKS_APART)),
            ascending,
            producer,
        })
    }

    fn has(&self, event: &Event) -> bool {
        self.producer.may(&event.event_type)
            && self.types.as_ref().is_none_or(|types| types.matches(&event.event_type))
            && self.account.is_none_or(|account| event.account() == Some(account))
    }

    /// A page of what is wanted, and behind which event to go on. It may hold fewer than it could, or nothing, and still not be the
    /// last one.
    async fn find(
        &self,
        state: &ApiState,
        mut after: Option<EventId>,
        limit: u32,
    ) -> Result<(Vec<Event>, Option<EventId>), ApiError> {
        let mut looked_at = 0;
        loop {
            let query = EventQuery {
                source_id: self.source_id.clone(),
                since: self.since,
                until: self.until,
                ascending: self.ascending,
                after,
                limit,
                max_bytes: PAGE_BYTES,
            };
            let found = state.store.events(query).await?;
            looked_at += limit;
            // The last page is one without anything: a page may be short for the size of what is on it.
            let next = found.last().map(|last| last.id);
            let events: Vec<_> = found.into_iter().filter(|event| self.has(event)).collect();
            if !events.is_empty() || next.is_none() || looked_at >= LOOK_AT {
                return Ok((events, next));
            }
            after = next;
        }
    }
}

/// Events, the newest first or the oldest.
#[derive(Serialize, ToSchema)]
#[schema(as = EventList)]
struct Events {
    data: Vec<View>,
    /// What to ask for the next page with, if there may be one.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<EventId>,
}

/// Lists events.
///
/// A page may hold fewer events than it could, or none, and still have a `next_cursor`.
#[utoipa::path(
    get,
    path = "/webhooks/events",
    operation_id = "listEvents",
    tag = "Events",
    params(("event" = Option<String>, Query, description = "Only those of these types: types or patterns with commas between them."),
        ("source_id" = Option<String>, Query, description = "Only those that their producer knows by this id."),
        ("account" = Option<String>, Query, description = "Only those for the account of this `user_id` alone."),
        ("since" = Option<String>, Query, description = "Only those since this time.", format = DateTime),
        ("until" = Option<String>, Query, description = "Only those before this time.", format = DateTime),
        ("order" = Option<String>, Query, description = "`asc`: the oldest first; `desc`, which is the default: the newest first.", pattern = "^(asc|desc)$"),
        ("limit" = Option<u32>, Query, description = "Items on the page.", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before.")),
    security(("trigger" = [])),
    responses(
        (status = 200, description = "A page of them.", body = Events, example = json!({"data": [{"id": "evt_01a20b9a994770c592af35a40ac4d63e",
            "event": "relation_added", "time": "2026-11-24T03:30:10.887Z", "md5": "9a0364b9e99bb480dd25e1f0284c8555", "key": null,
            "source_id": "rel-17", "account": null, "deliver_at": null, "cancelled_at": null, "replay_of": null, "payload": {"hello": "world"}}],
            "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let producer = auth::producer(&state, &headers).await?;
    let limit = query::page_limit(&uri)?;
    let after = query::parsed::<EventId>(&uri, "cursor")
        .map_err(|_| ApiError::invalid_field("cursor", "must be the `next_cursor` of an earlier answer"))?;
    let wanted = Wanted::read(&state, &uri, producer).await?;
    let (events, next_cursor) = wanted.find(&state, after, limit).await?;
    let mut data = Vec::with_capacity(events.len());
    for event in events {
        data.push(View::of(&state, event).await?);
    }
    Ok(Json(Events { data, next_cursor }).into_response())
}

/// What became of a wish to cancel an event.
#[derive(Serialize, ToSchema)]
struct Cancelled {
    /// How many of its deliveries waited and are cancelled.
    cancelled: u64,
    /// How many of them are being sent, or have ended before.
    others: u64,
}

/// Cancels what still waits of an event, and marks the event as cancelled, so that no replay sends it again.
#[utoipa::path(
    post,
    path = "/webhooks/events/{id}/cancel",
    operation_id = "cancelEvent",
    tag = "Events",
    params(("id" = String, Path, description = "The event's id.", pattern = "^evt_[0-9a-f]{32}$")),
    security(("trigger" = [])),
    responses(
        (status = 200, description = "How much that was.", body = Cancelled, example = json!({"cancelled": 3, "others": 1})),
        Missing, Protected
    )
)]
pub async fn cancel(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let producer = auth::producer(&state, &headers).await?;
    let id: EventId = query::id(id)?;
    let EventRecord { event, total, .. } =
        state.store.event(id, PageRequest { limit: 1, cursor: None }).await.map_err(not_found)?;
    if !producer.may(&event.event_type) {
        return Err(not_found(StoreError::NotFound));
    }
    let cancelled = state.store.cancel(id, state.clock.now()).await.map_err(not_found)?;
    // What waited behind it may go now.
    state.dispatcher.wake();
    Ok(Json(Cancelled { cancelled, others: total.saturating_sub(cancelled) }).into_response())
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
