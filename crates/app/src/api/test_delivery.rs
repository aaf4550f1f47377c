//! `POST /webhooks/subscriptions/{id}/test`: whether a subscription would get an event, and what its callback makes of it.
//!
//! Nothing of it is stored, and no failure of it counts.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use hookcast_core::{
    event::{Event, EventType},
    filter,
    format::Message,
    id::{AccountId, EventId},
    pattern::EventPatterns,
};
use hookcast_delivery::{
    client::{ExchangeFailed, Reply},
    target::Target,
    trial::{ShownHeaders, Trial, shown},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    ApiState, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Protected},
    pull, query,
    requests::TestEvent,
    subscription_view::State as SubscriptionState,
    subscriptions::not_found,
    trigger::{self, event_type},
};

/// The payload where the request has none.
const SAMPLE: &str = r#"{"test":true}"#;

/// What a `*` stands for where the request names no type.
const SAMPLE_PIECE: &str = "test";

/// Accounts with a test delivery on its way. Each has one at a time: deliveries have limits, and this is no way around them.
#[derive(Default)]
pub struct Trials(Mutex<HashSet<AccountId>>);

/// An account's test delivery is on its way for as long as this lives.
struct OnItsWay<'t>(&'t Trials, AccountId);

impl Trials {
    fn accounts(&self) -> MutexGuard<'_, HashSet<AccountId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, account: AccountId) -> Result<OnItsWay<'_>, ApiError> {
        if self.accounts().insert(account) {
            return Ok(OnItsWay(self, account));
        }
        Err(ApiError::too_many("another test delivery of yours is on its way: wait for its answer"))
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.accounts().remove(&self.1);
    }
}

/// The route that tries a subscription out.
pub fn routes() -> MethodRouter<ApiState> {
    post(try_out)
}

/// Whether the subscription would get the event, and what came of sending it.
#[derive(Serialize, ToSchema)]
#[schema(as = TestDelivery)]
struct Answer {
    /// The event's type, and the id that a test delivery has.
    #[schema(value_type = String)]
    event: EventType,
    #[schema(value_type = String)]
    id: EventId,
    /// Both of the following hold.
    matches: bool,
    /// One of the subscription's types and patterns matches.
    pattern: bool,
    /// The filter selects it; `null` without a filter.
    filter: Option<bool>,
    state: SubscriptionState,
    /// `null` when nothing was sent.
    exchange: Option<Exchange>,
}

#[derive(Serialize, ToSchema)]
struct Exchange {
    /// Whether a delivery would be done now.
    delivered: bool,
    latency_ms: u32,
    request: SentRequest,
    /// `null` when there was no whole answer.
    response: Option<GotResponse>,
    failure: Option<GotFailure>,
}

#[derive(Serialize, ToSchema)]
struct SentRequest {
    method: &'static str,
    url: String,
    #[schema(value_type = Object)]
    headers: ShownHeaders,
    body: String,
}

#[derive(Serialize, ToSchema)]
struct GotResponse {
    status: u16,
    #[schema(value_type = Object)]
    headers: ShownHeaders,
    /// The beginning.
    body: String,
}

#[derive(Serialize, ToSchema)]
struct GotFailure {
    stage: &'static str,
    detail: String,
}

/// Tells whether a subscription would get an event, and sends it once if that is wished.
///
/// Nothing of it is stored, and no failure of it counts.
#[utoipa::path(
    post,
    path = "/webhooks/subscriptions/{id}/test",
    operation_id = "tryOut",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = Option<TestEvent>,
        example = json!({"event": "relation_added", "payload": {"hello": "world"}, "send": false})),
    security(("access" = [])),
    responses(
        (status = 200, description = "Whether it matches, and what came of sending it.", body = Answer,
            example = json!({"event": "relation_added", "id": "evt_01a20b9a994770c592af35a40ac4d63e", "matches": true,
            "pattern": true, "filter": null, "state": "active", "exchange": null})),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn try_out(
    State(state): State<ApiState>,
    id: query::Segment,
    request: Request,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let id = query::id(id)?;
    let body = body::read_optional_json(&state, request, state.limits.request_size).await?;
    let bytes = body.as_ref().map_or(&b"{}"[..], |body| &body.bytes);
    let mut fields = Fields::parse(bytes)?;
    let subscription = state.store.subscription(account.id, id).await.map_err(not_found)?.subscription;
    let send = fields.optional_bool("send")?.unwrap_or(false);
    let event = event(&state, &mut fields, &subscription.events)?;
    fields.finish("`event`, `payload`, `key` and `send`")?;

    let subscription_state = SubscriptionState::of(&subscription);
    if send {
        pull::needs_callback(&subscription)?;
    }
    if send && subscription_state == SubscriptionState::PendingVerification {
        return Err(ApiError::conflict(
            "the callback has yet to prove that it wants anything: POST to this subscription's path with `/verify`",
        ));
    }
    let target = state.targets().of(subscription);
    let pattern = target.events.matches(&event.event_type);
    let filter = selects(&target, &event);
    let matches = pattern && filter != Some(false);
    if send && let Some(pause) = state.dispatcher.parts().directory.pause_of(&target) {
        return Err(ApiError::conflict(format!("{pause}; nothing is sent there until that is resumed")));
    }
    let exchange = if send && matches {
        let _on_its_way = state.trials.begin(account.id)?;
        Some(exchange(&state, &event, &target).await)
    } else {
        None
    };
    let Event { id, event_type, .. } = event;
    let answer = Answer { event: event_type, id, matches, pattern, filter, state: subscription_state, exchange };
    Ok(Json(answer).into_response())
}

/// The event that the request describes. What it leaves out is a sample.
fn event(state: &ApiState, fields: &mut Fields<'_>, wanted: &EventPatterns) -> Result<Event, ApiError> {
    let event_type = match fields.optional_string("event")? {
        Some(text) => event_type(&text)?,
        None => sample_type(wanted).ok_or_else(|| ApiError::invalid_field("event", "is missing"))?,
    };
    let sample = RawValue::from_string(SAMPLE.to_owned()).map_err(|error| ApiError::internal(error.to_string()))?;
    let payload = fields.take("payload").unwrap_or(&sample);
    let key = trigger::key(fields)?;
    trigger::event(event_type, payload, key, state.limits.event_size, state.clock.now())
}

/// The first exact type, or one that the first pattern matches.
fn sample_type(wanted: &EventPatterns) -> Option<EventType> {
    let exact = wanted.iter().find_map(|pattern| pattern.as_str().parse().ok());
    exact.or_else(|| wanted.iter().find_map(|pattern| pattern.as_str().replace('*', SAMPLE_PIECE).parse().ok()))
}

/// Whether the filter selects an event; `None` without one. As for deliveries, what no filter can look into is wanted.
fn selects(target: &Target, event: &Event) -> Option<bool> {
    let filter = target.filter.as_ref()?;
    // Other requests go on meanwhile on other threads.
    Some(tokio::task::block_in_place(|| filter::event_value(event).ok().is_none_or(|value| filter.matches(&value))))
}

async fn exchange(state: &ApiState, event: &Event, target: &Target) -> Exchange {
    let parts = state.dispatcher.parts();
    let message = parts.formatter.message(target.format, event);
    let Trial { sent, outcome, latency_ms } = parts.courier.try_out(event, &message, target, parts.clock.now()).await;
    let Message { body, .. } = message;
    let body = String::from_utf8_lossy(&body).into_owned();
    let request =
        SentRequest { method: "POST", url: target.masked_url.clone().unwrap_or_default(), headers: sent, body };
    match outcome {
        Ok(Reply { answer, headers }) => Exchange {
            delivered: target.rules.success.accepts(answer.status),
            latency_ms,
            request,
            response: Some(GotResponse { status: answer.status, headers: shown(&headers), body: answer.excerpt }),
            failure: None,
        },
        Err(ExchangeFailed { failure, detail }) => Exchange {
            delivered: false,
            latency_ms,
            request,
            response: None,
            failure: Some(GotFailure { stage: failure.as_str(), detail }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_a_type_that_is_wanted() {
        for (wanted, sample) in [
            ("a,relation_*", "a"),
            ("*,relation_added", "relation_added"),
            ("relation_*", "relation_test"),
            ("*", "test"),
            ("a.*.c*", "a.test.ctest"),
        ] {
            let wanted: EventPatterns = wanted.parse().unwrap();
            let sampled = sample_type(&wanted).unwrap();
            assert_eq!(sampled.as_str(), sample);
            assert!(wanted.matches(&sampled));
        }
        let long = format!("{}*", "x".repeat(255));
        assert_eq!(sample_type(&long.parse().unwrap()), None);
    }
}
