//! `/webhooks/deliveries/{id}`, `GET /webhooks/subscriptions/{id}/deliveries`, and deliveries as they are shown.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    delivery::{Attempt, AttemptResult, DeliveryState},
    event::EventType,
    guard::mask_query,
    id::{DeliveryId, EventId, SubscriptionId},
    pattern::EventPatterns,
};
use hookcast_store::{Page, PageRequest, StoreError, history::DeliveryRecord};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::value::RawValue;

use utoipa::ToSchema;

use super::{
    ApiState, auth,
    error::ApiError,
    problems::{Missing, Parameters, Protected},
    query::{self, List, PageParameters},
    subscriptions,
    why::{Reasons, Why},
};

/// The route that lists a subscription's deliveries.
pub fn list_routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The route of one delivery.
pub fn routes() -> MethodRouter<ApiState> {
    get(show)
}

/// A delivery as people see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct View {
    #[schema(value_type = String)]
    id: DeliveryId,
    #[schema(value_type = String)]
    event_id: EventId,
    event: String,
    #[schema(value_type = String)]
    subscription_id: SubscriptionId,
    user_id: String,
    /// The callback; `null` where it is fetched.
    url: Option<String>,
    #[schema(value_type = StateName)]
    state: DeliveryState,
    is_active: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// Why it has not arrived, if so.
    why: Option<Why>,
    attempts: Vec<AttemptView>,
}

/// The names of [`DeliveryState`].
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryState)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes another type, which knows nothing of schemas")]
enum StateName {
    Waiting,
    Sending,
    Delivered,
    Failed,
    Expired,
    Cancelled,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptView {
    number: u32,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// The answer's HTTP status, if there was one.
    status: Option<u16>,
    latency_ms: u32,
    /// The beginning of the answer's body.
    answer: Option<String>,
    /// At what stage it failed, if there was no answer.
    failure: Option<&'static str>,
    detail: Option<String>,
}

impl View {
    /// A delivery for the eyes of the subscription's owner.
    ///
    /// # Errors
    /// The store failed.
    pub async fn for_owner(reasons: &mut Reasons<'_>, record: DeliveryRecord) -> Result<Self, StoreError> {
        Ok(Self {
            why: reasons.of(&record).await?,
            id: record.id,
            event_id: record.event,
            event: record.event_type,
            subscription_id: record.subscription,
            user_id: record.user_id,
            is_active: record.is_active || record.url.is_none(),
            url: record.url,
            state: record.state,
            next_attempt_at: record.due_at,
            attempts: record.attempts.into_iter().map(AttemptView::from).collect(),
        })
    }

    /// A delivery for others: the URL's query may hold a token.
    ///
    /// # Errors
    /// The store failed.
    pub async fn for_others(reasons: &mut Reasons<'_>, record: DeliveryRecord) -> Result<Self, StoreError> {
        let url = record.url.as_deref().map(mask_query);
        Ok(Self { url, ..Self::for_owner(reasons, record).await? })
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let (status, answer, failure, detail) = match attempt.result {
            AttemptResult::Answered(answer) => (Some(answer.status), Some(answer.excerpt), None, None),
            AttemptResult::Unanswered { failure, detail } => (None, None, Some(failure.as_str()), Some(detail)),
        };
        let Attempt { number, time, latency_ms, .. } = attempt;
        Self { number, time, status, latency_ms, answer, failure, detail }
    }
}

/// A delivery with what it brings.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryWithPayload)]
struct WholeView {
    #[serde(flatten)]
    delivery: View,
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
}

/// Shows a delivery with what it brings.
#[utoipa::path(
    get,
    path = "/webhooks/deliveries/{id}",
    operation_id = "showDelivery",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The delivery's id.", pattern = "^dlv_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 200, description = "The delivery.", body = WholeView, example = json!(example_with_payload())),
        Missing, Protected
    )
)]
pub async fn show(State(state): State<ApiState>, id: query::Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    let record = own(&state, &account, query::id(id)?).await?;
    let event = state.store.event(record.event, PageRequest { limit: 1, cursor: None }).await.map_err(not_found)?;
    let delivery = View::for_owner(&mut Reasons::new(&state), record).await?;
    let view = WholeView { delivery, payload: event.event.payload };
    Ok(Json(view).into_response())
}

/// One of an account's own deliveries.
pub async fn own(state: &ApiState, account: &Account, id: DeliveryId) -> Result<DeliveryRecord, ApiError> {
    let record = state.store.delivery(id).await.map_err(not_found)?;
    if record.user_id == account.user_id { Ok(record) } else { Err(not_found(StoreError::NotFound)) }
}

fn not_found(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("you have no such delivery, or it is older than events are kept"),
        error => error.into(),
    }
}

/// Lists the deliveries of a subscription, the newest first.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions/{id}/deliveries",
    operation_id = "listDeliveries",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$"),
        ("state" = Option<StateName>, Query, description = "Only those in this state."),
        ("event" = Option<String>, Query, description = "Only those of these types: types or patterns with commas between them."),
        ("since" = Option<String>, Query, description = "Only those of events since this time.", format = DateTime),
        ("until" = Option<String>, Query, description = "Only those of events before this time.", format = DateTime),
        PageParameters),
    security(("access" = [])),
    responses(
        (status = 200, description = "A page of them.", body = List<View>,
            example = json!({"data": [example()], "next_cursor": null})),
        Missing, Parameters, Protected
    )
)]
pub async fn list(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    let id: SubscriptionId = query::id(id)?;
    let wanted = Wanted::read(&uri)?;
    let page = query::page(&uri)?;
    state.store.subscription(account.id, id).await.map_err(subscriptions::not_found)?;
    let page = find(&state, id, &wanted, page).await?;
    let (mut reasons, mut views) = (Reasons::new(&state), Vec::with_capacity(page.items.len()));
    for record in page.items {
        views.push(View::for_owner(&mut reasons, record).await?);
    }
    Ok(Json(List::new(views, page.next)).into_response())
}

/// The most deliveries that one request looks at where few are wanted; the cursor of its answer goes on from there.
const LOOK_AT: u32 = 10_000;

/// Which deliveries are wanted. Their times are those of their events.
struct Wanted {
    state: Option<DeliveryState>,
    event: Option<EventPatterns>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Wanted {
    fn read(uri: &Uri) -> Result<Self, ApiError> {
        Ok(Self {
            state: query::parsed(uri, "state")?,
            event: query::parsed(uri, "event")?,
            since: query::time(uri, "since")?,
            until: query::time(uri, "until")?,
        })
    }

    fn has(&self, record: &DeliveryRecord) -> bool {
        let time = record.id.time();
        let event = || record.event_type.parse::<EventType>();
        self.since.is_none_or(|since| time >= since)
            && self.until.is_none_or(|until| time < until)
            && self.event.as_ref().is_none_or(|wanted| event().is_ok_and(|event| wanted.matches(&event)))
    }

    /// Whether nothing that is wanted follows, the newest being first.
    fn ends_before(&self, oldest: Option<&DeliveryRecord>) -> bool {
        self.since.zip(oldest).is_some_and(|(since, oldest)| oldest.id.time() < since)
    }
}

/// A page of what is wanted. It may hold fewer than it could, or nothing, and still not be the last one.
async fn find(
    state: &ApiState,
    id: SubscriptionId,
    wanted: &Wanted,
    mut page: PageRequest,
) -> Result<Page<DeliveryRecord>, ApiError> {
    let mut looked_at = 0;
    loop {
        let found = state.store.deliveries(id, wanted.state, page).await?;
        looked_at += page.limit;
        let next = found.next.filter(|_| !wanted.ends_before(found.items.last()));
        let items: Vec<_> = found.items.into_iter().filter(|record| wanted.has(record)).collect();
        if !items.is_empty() || next.is_none() || looked_at >= LOOK_AT {
            return Ok(Page { items, next });
        }
        page.cursor = next;
    }
}

/// A delivery for the description of the interface.
pub fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "dlv_01a20b9a994770c592af35a40ac4d63e", "event_id": "evt_01a20b9a994770c592af35a40ac4d63e",
        "event": "relation_added", "subscription_id": "sub_01a20b9a994770c592af35a40ac4d63e", "user_id": "ada",
        "url": "https://hooks.example.org/citations", "state": "delivered", "is_active": true, "next_attempt_at": null, "why": null,
        "attempts": [{"number": 1, "time": "2026-11-24T03:30:10.887Z", "status": 200, "latency_ms": 12, "answer": "ok",
            "failure": null, "detail": null}],
    })
}

fn example_with_payload() -> serde_json::Value {
    let mut example = example();
    example["payload"] = serde_json::json!({"hello": "world"});
    example
}
