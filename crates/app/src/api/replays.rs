//! `/webhooks/subscriptions/{id}/replays`: past events to a subscription once more.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    event::Event,
    filter::Filter,
    id::{ReplayId, SubscriptionId},
    pattern::EventPatterns,
};
use hookcast_delivery::replay::{self, Range, Replay, Replays};
use hookcast_store::StoreError;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Parameters, Protected},
    query,
    requests::{NewReplay, ReplayChange},
    subscriptions,
};

/// Events in a second where the request does not say.
const RATE: u32 = 100;

/// The most that may be wished.
const RATE_MAX: u32 = 10_000;

/// Jobs of one subscription that may be at work or paused at a time.
const UNFINISHED_MAX: usize = 5;

/// Jobs of one subscription that are kept at the most, those that have ended among them.
const KEPT_MAX: u32 = 1_000;

/// The most events that a preview looks at.
const PREVIEW: u64 = 100_000;

/// The routes of a subscription's jobs.
pub fn routes() -> MethodRouter<ApiState> {
    get(list).post(create)
}

/// The routes of one of them.
pub fn one_routes() -> MethodRouter<ApiState> {
    get(show).patch(change)
}

/// A job that sends past events again.
#[derive(Serialize, ToSchema)]
#[schema(as = Replay)]
struct View {
    #[schema(value_type = String)]
    id: ReplayId,
    #[schema(value_type = String)]
    subscription_id: SubscriptionId,
    #[schema(value_type = ReplayStateName)]
    state: replay::State,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    event: Option<String>,
    filter: Option<String>,
    /// At most so many events in a second.
    rate: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The time of the event that was looked at last: how far it has come between `since` and `until`.
    #[schema(value_type = Option<String>, format = DateTime)]
    reached: Option<Timestamp>,
    /// How many events were looked at.
    looked_at: u64,
    /// How many of them go out again.
    replayed: u64,
    /// Why it cannot go on, if so.
    problem: Option<String>,
}

/// The names of [`replay::State`].
#[derive(Serialize, ToSchema)]
#[schema(as = ReplayState)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes another type, which knows nothing of schemas")]
enum ReplayStateName {
    Running,
    Paused,
    Done,
    Cancelled,
    Failed,
}

impl From<Replay> for View {
    fn from(replay: Replay) -> Self {
        let Range { since, until, event, filter } = replay.range;
        Self {
            id: replay.id,
            subscription_id: replay.subscription,
            state: replay.state,
            since,
            until,
            event,
            filter,
            rate: replay.rate,
            created_at: replay.created_at,
            reached: replay.cursor.map(|cursor| cursor.time()),
            looked_at: replay.looked_at,
            replayed: replay.replayed,
            problem: replay.problem,
        }
    }
}

/// What a replay would send.
#[derive(Serialize, ToSchema)]
struct Preview {
    /// How many events would go out.
    matching: u64,
    /// How many were looked at.
    looked_at: u64,
    /// Whether those are all of the range; else there are more, and more may match.
    complete: bool,
}

fn not_found(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("the subscription has no such replay"),
        error => error.into(),
    }
}

/// Sends past events to a subscription once more, or for the first time, as a job.
///
/// Those go out that the subscription gets by its types and its filter as they are now, in the order of their acceptance, under their
/// first ids and times. With `"preview": true` they are only counted.
#[utoipa::path(
    post,
    path = "/webhooks/subscriptions/{id}/replays",
    operation_id = "createReplay",
    tag = "Replays",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = NewReplay, examples(
        ("job" = (summary = "A job", value = json!({"since": "2026-11-24T00:00:00Z", "event": "relation_*", "rate": 50}))),
        ("preview" = (summary = "How many events it would send", value = json!({"since": "2026-11-24T00:00:00Z", "preview": true})))
    )),
    security(("access" = [])),
    responses(
        (status = 200, description = "What the job would send.", body = Preview,
            example = json!({"matching": 12, "looked_at": 40, "complete": true})),
        (status = 201, description = "The job.", body = View, example = json!(example())),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn create(State(state): State<ApiState>, id: query::Segment, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let id: SubscriptionId = query::id(id)?;
    let subscription = state.store.subscription(account.id, id).await.map_err(subscriptions::not_found)?.subscription;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let now = state.clock.now();
    let mut fields = Fields::parse(&body.bytes)?;
    let range = range(&mut fields, now)?;
    let rate = rate(&mut fields)?.unwrap_or(RATE);
    let is_preview = fields.optional_bool("preview")?.unwrap_or(false);
    fields.finish("`since`, `until`, `event`, `filter`, `rate` and `preview`")?;
    let replays = Replays(&*state.store);
    if is_preview {
        let target = state.targets().of(subscription);
        let wanted = |event: &Event| {
            target.events.matches(&event.event_type)
                && target.filter.as_ref().is_none_or(|filter| {
                    // What no filter can look into goes to all.
                    hookcast_core::filter::event_value(event).map_or(true, |value| filter.matches(&value))
                })
        };
        let (matching, looked_at, complete) = replays.count(&range, account.id, wanted, now, PREVIEW).await?;
        return Ok(Json(Preview { matching, looked_at, complete }).into_response());
    }
    make_room(&replays, id).await?;
    let replay = Replay {
        id: ReplayId::new(now, rand::random()),
        account: account.id,
        subscription: id,
        range,
        rate,
        state: replay::State::Running,
        created_at: now,
        cursor: None,
        looked_at: 0,
        replayed: 0,
        problem: None,
        held: None,
    };
    replays.create(&replay).await?;
    Ok((StatusCode::CREATED, Json(View::from(replay))).into_response())
}

/// Refuses one more job where too many have not ended.
async fn make_room(replays: &Replays<'_>, id: SubscriptionId) -> Result<(), ApiError> {
    let present = replays.of(id, None, KEPT_MAX).await?;
    let unfinished = present.iter().filter(|replay| !replay.state.is_final()).count();
    if unfinished >= UNFINISHED_MAX {
        let problem = format!("{unfinished} replays of the subscription have not ended: wait for one, or cancel it");
        return Err(ApiError::conflict(problem));
    }
    if present.len() >= KEPT_MAX as usize {
        let problem = format!("the subscription has had {KEPT_MAX} replays: delete it and make another one");
        return Err(ApiError::conflict(problem));
    }
    Ok(())
}

fn range(fields: &mut Fields<'_>, now: Timestamp) -> Result<Range, ApiError> {
    let since = query::parse_time("since", &fields.string("since")?)?;
    let until = fields.optional_string("until")?.map(|text| query::parse_time("until", &text)).transpose()?;
    // What is still to come goes to the subscription by itself.
    let until = until.unwrap_or(now).min(now);
    if until <= since {
        let field = if since >= now { "since" } else { "until" };
        return Err(ApiError::invalid_field(field, "leaves nothing between `since` and `until`, or now"));
    }
    let event = fields.optional_string("event")?.map(|text| {
        let types: Result<EventPatterns, _> = text.parse();
        types.map(|types| types.to_string()).map_err(|error| ApiError::invalid_value("event", &error))
    });
    let filter = fields.optional_string("filter")?.map(|text| {
        let filter: Result<Filter, _> = text.parse();
        filter.map(|filter| filter.as_str().to_owned()).map_err(|error| ApiError::invalid_value("filter", &error))
    });
    Ok(Range { since, until, event: event.transpose()?, filter: filter.transpose()? })
}

fn rate(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    let rule =
        || ApiError::invalid_field("rate", &format!("must be an integer of events a second, from 1 to {RATE_MAX}"));
    let rate = |raw: &serde_json::value::RawValue| {
        raw.get().parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate)).ok_or_else(rule)
    };
    fields.take("rate").filter(|raw| raw.get() != "null").map(rate).transpose()
}

/// Jobs, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = ReplayList)]
struct List {
    data: Vec<View>,
    /// What to ask for the next page with, if there may be one.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<ReplayId>,
}

/// Lists the replays of a subscription, the oldest first.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions/{id}/replays",
    operation_id = "listReplays",
    tag = "Replays",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$"),
        query::PageParameters),
    security(("access" = [])),
    responses(
        (status = 200, description = "A page of them.", body = List, example = json!({"data": [example()], "next_cursor": null})),
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
    let limit = query::page_limit(&uri)?;
    let after = query::parsed::<ReplayId>(&uri, "cursor")
        .map_err(|_| ApiError::invalid_field("cursor", "must be the `next_cursor` of an earlier answer"))?;
    state.store.subscription(account.id, id).await.map_err(subscriptions::not_found)?;
    let found = Replays(&*state.store).of(id, after, limit).await?;
    let next_cursor = found.last().map(|last| last.id).filter(|_| found.len() == limit as usize);
    Ok(Json(List { data: found.into_iter().map(View::from).collect(), next_cursor }).into_response())
}

async fn own(state: &ApiState, account: &Account, id: SubscriptionId) -> Result<(), ApiError> {
    state.store.subscription(account.id, id).await.map_err(subscriptions::not_found).map(drop)
}

/// Shows a replay.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions/{id}/replays/{replay}",
    operation_id = "showReplay",
    tag = "Replays",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$"),
        ("replay" = String, Path, description = "The replay's id.", pattern = "^rpl_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 200, description = "The job.", body = View, example = json!(example())),
        Missing, Protected
    )
)]
pub async fn show(
    State(state): State<ApiState>,
    path: query::Segments,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    let (subscription, id) = query::two_ids(path)?;
    own(&state, &account, subscription).await?;
    let (replay, _) = Replays(&*state.store).get(subscription, id).await.map_err(not_found)?;
    Ok(Json(View::from(replay)).into_response())
}

/// Pauses a replay, resumes or cancels it, or changes its rate.
#[utoipa::path(
    patch,
    path = "/webhooks/subscriptions/{id}/replays/{replay}",
    operation_id = "changeReplay",
    tag = "Replays",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$"),
        ("replay" = String, Path, description = "The replay's id.", pattern = "^rpl_[0-9a-f]{32}$")),
    request_body(content = ReplayChange, example = json!({"state": "paused", "rate": 20})),
    security(("access" = [])),
    responses(
        (status = 200, description = "The job.", body = View, example = json!(example())),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn change(
    State(state): State<ApiState>,
    path: query::Segments,
    request: Request,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let (subscription, id) = query::two_ids(path)?;
    own(&state, &account, subscription).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let wanted = match fields.optional_string("state")?.as_deref() {
        None => None,
        Some("running") => Some(replay::State::Running),
        Some("paused") => Some(replay::State::Paused),
        Some("cancelled") => Some(replay::State::Cancelled),
        Some(_) => return Err(ApiError::invalid_field("state", "must be `running`, `paused` or `cancelled`")),
    };
    let rate = rate(&mut fields)?;
    fields.finish("`state` and `rate`")?;
    let changed = Replays(&*state.store)
        .change(subscription, id, |replay| {
            if replay.state.is_final() && wanted.is_some_and(|wanted| wanted != replay.state) {
                return Err(ApiError::conflict("the replay has ended: make another one"));
            }
            replay.state = wanted.unwrap_or(replay.state);
            replay.rate = rate.unwrap_or(replay.rate);
            if replay.state != replay::State::Running {
                replay.held = None;
            }
            Ok(())
        })
        .await
        .map_err(|error| if error.code() == "not-found" { not_found(StoreError::NotFound) } else { error })?;
    Ok(Json(View::from(changed)).into_response())
}

/// A job for the description of the interface.
fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "rpl_01a20b9a994770c592af35a40ac4d63e", "subscription_id": "sub_01a20b9a994770c592af35a40ac4d63e", "state": "running",
        "since": "2026-11-24T00:00:00Z", "until": "2026-11-24T03:30:10.887Z", "event": "relation_*", "filter": null, "rate": 50,
        "created_at": "2026-11-24T03:30:10.887Z", "reached": null, "looked_at": 0, "replayed": 0, "problem": null,
    })
}
