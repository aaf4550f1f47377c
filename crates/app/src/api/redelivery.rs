//! `POST /webhooks/deliveries/{id}/redeliver` and `POST /webhooks/subscriptions/{id}/redeliver`: what has ended is sent again.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::{DeliveryId, SubscriptionId},
};
use hookcast_store::{Cursor, InvalidCursor, PageRequest, StoreError};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, auth, body, deliveries,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Protected},
    pull, query,
    requests::Redelivery,
    subscriptions,
    why::Reasons,
};

/// Deliveries that are looked at in one step.
const PAGE: u32 = 500;

/// The most that one request sends again, so that none takes minutes.
const MOST: usize = 10_000;

/// The route that sends one delivery again.
pub fn routes() -> MethodRouter<ApiState> {
    post(one)
}

/// The route that sends a subscription's again that have failed or expired.
pub fn subscription_routes() -> MethodRouter<ApiState> {
    post(since)
}

/// Sends a delivery again that has ended.
#[utoipa::path(
    post,
    path = "/webhooks/deliveries/{id}/redeliver",
    operation_id = "redeliver",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The delivery's id.", pattern = "^dlv_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 202, description = "The delivery, which waits.", body = deliveries::View,
            example = json!(deliveries::example())),
        Conflicting, Missing, Protected
    )
)]
pub async fn one(State(state): State<ApiState>, id: query::Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    let record = deliveries::own(&state, &account, query::id(id)?).await?;
    if record.url.is_none() {
        return Err(pull::no_callback());
    }
    if again(&state, record.subscription, vec![record.id]).await? == 0 {
        // It may have changed since it was read, so that the reason is looked for now.
        let record = deliveries::own(&state, &account, record.id).await?;
        return Err(ApiError::conflict(match record.state {
            DeliveryState::Waiting => "the delivery waits for its next attempt; to hurry it, activate its subscription",
            DeliveryState::Sending => "the delivery is being sent just now",
            _ => "the delivery's subscription was deleted",
        }));
    }
    let record = deliveries::own(&state, &account, record.id).await?;
    let view = deliveries::View::for_owner(&mut Reasons::new(&state), record).await?;
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// What became of a wish to send many again.
#[derive(Serialize, ToSchema)]
struct Redelivered {
    /// How many wait now.
    redelivered: usize,
    /// Where the same request goes on, if there may be more.
    next_cursor: Option<String>,
}

/// Sends a subscription's deliveries again that have failed or expired.
///
/// One request sends so many at the most; where there are more, the same one with the answer's `next_cursor` as `cursor` goes on.
#[utoipa::path(
    post,
    path = "/webhooks/subscriptions/{id}/redeliver",
    operation_id = "redeliverSince",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = Redelivery, example = json!({"since": "2026-11-24T00:00:00Z", "state": "failed"})),
    security(("access" = [])),
    responses(
        (status = 202, description = "How many wait now.", body = Redelivered,
            example = json!({"redelivered": 12, "next_cursor": null})),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn since(State(state): State<ApiState>, id: query::Segment, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let id: SubscriptionId = query::id(id)?;
    let status = state.store.subscription(account.id, id).await.map_err(subscriptions::not_found)?;
    pull::needs_callback(&status.subscription)?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let since: Timestamp = query::parse_time("since", &fields.string("since")?)?;
    let wanted = wanted(fields.optional_string("state")?.as_deref())?;
    let cursor = fields.optional_string("cursor")?.map(|text| text.parse()).transpose();
    let cursor = cursor.map_err(|problem: InvalidCursor| ApiError::invalid_value("cursor", &problem))?;
    fields.finish("`since`, `state` and `cursor`")?;
    let redelivered = all_since(&state, id, wanted, since, cursor).await?;
    Ok((StatusCode::ACCEPTED, Json(redelivered)).into_response())
}

/// Sends again what is in a state and whose event is not older than a time, the newest first. It never comes back to what it has
/// passed: that may have failed or expired again, and would be sent without an end.
async fn all_since(
    state: &ApiState,
    subscription: SubscriptionId,
    wanted: DeliveryState,
    since: Timestamp,
    cursor: Option<Cursor>,
) -> Result<Redelivered, ApiError> {
    let mut page = PageRequest { limit: PAGE, cursor };
    let mut redelivered = 0;
    loop {
        let found = state.store.deliveries(subscription, Some(wanted), page).await?;
        let late: Vec<DeliveryId> =
            found.items.iter().map(|record| record.id).filter(|id| id.time() >= since).collect();
        let is_end = found.next.is_none() || found.items.last().is_some_and(|oldest| oldest.id.time() < since);
        if !late.is_empty() {
            redelivered += again(state, subscription, late).await?;
        }
        if is_end || redelivered >= MOST {
            let next = found.next.filter(|_| !is_end);
            return Ok(Redelivered { redelivered, next_cursor: next.map(|cursor| cursor.to_string()) });
        }
        page.cursor = found.next;
    }
}

/// Lets deliveries be sent again; answers how many wait now.
async fn again(state: &ApiState, subscription: SubscriptionId, ids: Vec<DeliveryId>) -> Result<usize, StoreError> {
    let waiting = state.store.redeliver(subscription, ids, state.clock.now()).await?;
    if !waiting.is_empty() {
        state.dispatcher.wake();
    }
    Ok(waiting.len())
}

fn wanted(state: Option<&str>) -> Result<DeliveryState, ApiError> {
    match state {
        None | Some("failed") => Ok(DeliveryState::Failed),
        Some("expired") => Ok(DeliveryState::Expired),
        Some(_) => Err(ApiError::invalid_field("state", "must be `failed` or `expired`")),
    }
}
