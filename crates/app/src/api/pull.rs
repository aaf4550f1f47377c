//! `GET /webhooks/subscriptions/{id}/events`: the events of a subscription without a callback, fetched in their order, a page at a time
//! or as a stream.
//!
//! Whoever asks for what comes behind a place has got what is before it: that is delivered then, and not before. A reader who dies
//! and asks again from where it was gets again what it may not have seen.

mod places;
mod stream;

use std::{str::FromStr, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{
    event::EventType,
    format::Format,
    id::{DeliveryId, EventId, SubscriptionId},
    options::Ordering,
    subscription::Subscription,
};
use hookcast_store::pull::{Pull, Pulled, Sequence};
use http::{HeaderMap, Uri, header};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

pub use self::places::Fetchers;
use self::places::Place;
use super::{
    ApiState, Inner, auth,
    error::ApiError,
    fields::Fields,
    problems::{Conflicting, Missing, Parameters, Protected},
    query, subscriptions,
};
use crate::config::parse_duration;

/// The longest that a request waits for events.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often the store is asked while a request waits: another node may have accepted something, of which nobody tells here.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The most bytes of payloads on a page.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Members that say how deliveries are sent, which mean nothing where nothing is.
const OF_SENDING: [&str; 13] = [
    "signature",
    "secret",
    "auth",
    "tls",
    "headers",
    "ordering",
    "on_failure",
    "rate_limit",
    "max_in_flight",
    "retries",
    "success_status",
    "timeout",
    "consent",
];

/// The route that gives events.
pub fn routes() -> MethodRouter<ApiState> {
    get(fetch)
}

/// Refuses what means nothing for a subscription without a callback.
///
/// # Errors
/// 422 for the first such member.
pub fn check_members(fields: &Fields<'_>) -> Result<(), ApiError> {
    match OF_SENDING.into_iter().find(|name| fields.has(name)) {
        None => Ok(()),
        Some(name) => Err(ApiError::invalid_field(
            name,
            "says how events are sent, and without a `url` they are fetched: leave it out, or give a `url`",
        )),
    }
}

/// Refuses to change what a subscription without a callback cannot have.
///
/// # Errors
/// 422 for the first such member.
pub fn check_change(fields: &Fields<'_>) -> Result<(), ApiError> {
    if fields.has("url") {
        let rule = "cannot be given to a subscription that has none: make another one";
        return Err(ApiError::invalid_field("url", rule));
    }
    if fields.has("is_active") {
        let rule = "means nothing without a `url`: nothing is sent, and events can be fetched at any time";
        return Err(ApiError::invalid_field("is_active", rule));
    }
    check_members(fields)
}

/// Lets what a subscription without a callback gets be in one order.
///
/// # Errors
/// 422 for a format whose messages are more than their bodies.
pub fn settle(subscription: &mut Subscription) -> Result<(), ApiError> {
    if subscription.options.format == Some(Format::CloudEventsBinary) {
        let problem = "puts a part of the event into headers, which what is fetched has not: choose `cloudevents`";
        return Err(ApiError::invalid_field("format", problem));
    }
    subscription.options.ordering = Some(Ordering::Subscription);
    subscription.is_active = false;
    Ok(())
}

/// Refuses what only a subscription with a callback can do.
///
/// # Errors
/// 409 where it has none.
pub fn needs_callback(subscription: &Subscription) -> Result<(), ApiError> {
    if subscription.url.is_some() { Ok(()) } else { Err(no_callback()) }
}

/// 409: there is no callback.
pub fn no_callback() -> ApiError {
    let problem =
        "the subscription has no `url`: nothing is sent, and you fetch its events from its path with `/events`";
    ApiError::conflict(problem)
}

/// An event that is fetched.
#[derive(Serialize, ToSchema)]
#[schema(as = FetchedEvent)]
struct View {
    /// The place behind it: to ask for what follows, and to say that it has arrived.
    #[schema(value_type = String)]
    cursor: Place,
    #[schema(value_type = String)]
    delivery_id: DeliveryId,
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String)]
    event: EventType,
    /// What a callback would get, in the subscription's format.
    #[schema(value_type = serde_json::Value)]
    body: Box<RawValue>,
}

/// Events, the first first.
#[derive(Serialize, ToSchema)]
#[schema(as = FetchedEvents)]
struct Answer {
    data: Vec<View>,
    /// What to ask with next, be there anything on this page or not. `null` as long as there was nothing at all.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<Place>,
}

/// What a request wants.
struct Wanted {
    subscription: SubscriptionId,
    format: Format,
    /// Everything up to here has arrived.
    confirmed: Option<Place>,
    /// Everything up to here was read, and may be on its way.
    read: Option<Place>,
    limit: u32,
}

/// Fetches the events of a subscription without a callback, in their order.
///
/// With `cursor`, or `Last-Event-ID`, everything up to that place counts as delivered. Until then it is given again and again. With
/// `wait` the answer comes as soon as there is an event, or when that time is over. With `Accept: text/event-stream` events come as
/// a stream, each with its place as `id`, its type as `event` and what a callback would get as `data`; a stream ends after a few
/// minutes, and whoever goes on with `Last-Event-ID`, as browsers do, misses nothing.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions/{id}/events",
    operation_id = "fetchEvents",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$"),
        ("cursor" = Option<String>, Query, description = "The place up to which everything has arrived: a `cursor` or `next_cursor` of an earlier answer."),
        ("limit" = Option<u32>, Query, description = "Events on the page.", minimum = 1, maximum = 1000),
        ("wait" = Option<String>, Query, description = "How long to wait for an event where there is none: a duration of at most `60s`."),
        ("Last-Event-ID" = Option<String>, Header, description = "The same as `cursor`, for streams.")),
    security(("access" = [])),
    responses(
        (status = 200, description = "A page of events, or a stream of them.", content(
            (Answer = "application/json", example = json!({"data": [{"cursor": "p2a", "delivery_id": "dlv_01a20b9a994770c592af35a40ac4d63e",
                "event_id": "evt_01a20b9a994770c592af35a40ac4d63e", "event": "relation_added", "body": {"hello": "world"}}],
                "next_cursor": "p2a"})),
            (String = "text/event-stream", example = "id: p2a\nevent: relation_added\ndata: {\"hello\":\"world\"}\n\n")
        )),
        Conflicting, Missing, Parameters, Protected
    )
)]
pub async fn fetch(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    let id: SubscriptionId = query::id(id)?;
    let limit = query::page_limit(&uri)?;
    let wait = wait(&uri)?;
    let after = match query::parsed(&uri, "cursor")? {
        Some(place) => Some(place),
        None => last_event_id(&headers)?,
    };
    let status = state.store.subscription(account.id, id).await.map_err(subscriptions::not_found)?;
    if status.subscription.url.is_some() {
        return Err(ApiError::conflict(
            "the events of a subscription with a `url` are sent there: to fetch events, subscribe with `\"url\": null`",
        ));
    }
    let format = status.subscription.options.format.unwrap_or(state.targets().defaults.format);
    let wanted = Wanted { subscription: id, format, confirmed: after, read: None, limit };
    if wants_stream(&headers) {
        let fetcher = state.fetchers.begin(account.id)?;
        return Ok(stream::of(state, wanted, fetcher));
    }
    let _fetcher = if wait.is_zero() { None } else { Some(state.fetchers.begin(account.id)?) };
    let pulled = state.fetch(&wanted, Instant::now() + wait).await?;
    let next_cursor = pulled.last().map(|last| Place(last.sequence)).or(after);
    let data = pulled.iter().map(|pulled| state.fetched(pulled, format)).collect::<Result<_, _>>()?;
    Ok(Json(Answer { data, next_cursor }).into_response())
}

/// Whether `Accept` names the media type of streams.
fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
}

fn wait(uri: &Uri) -> Result<Duration, ApiError> {
    struct Wait(Duration);
    impl FromStr for Wait {
        type Err = &'static str;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            parse_duration(text)
                .filter(|wait| *wait <= LONGEST_WAIT)
                .map(Self)
                .ok_or("must be a duration such as `20s`, at most `60s`")
        }
    }
    Ok(query::parsed(uri, "wait")?.map_or(Duration::ZERO, |Wait(wait)| wait))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Place>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let problem = |problem: places::NoPlace| ApiError::invalid_value("Last-Event-ID", &problem);
    text.parse().map(Some).map_err(problem)
}

impl Inner {
    /// What waits behind the wanted place, as soon as there is anything, or nothing when it is late. What is confirmed counts as
    /// delivered.
    async fn fetch(&self, wanted: &Wanted, until: Instant) -> Result<Vec<Pulled>, ApiError> {
        loop {
            let arrival = self.acceptor.arrivals().notified();
            tokio::pin!(arrival);
            // From now on no arrival is missed, be it while the store is asked.
            arrival.as_mut().enable();
            let pulled = self.pull(wanted).await?;
            let now = Instant::now();
            if !pulled.is_empty() || now >= until || self.is_stopping() {
                return Ok(pulled);
            }
            let _ = tokio::time::timeout_at(until.min(now + ASK_EVERY), arrival).await;
        }
    }

    async fn pull(&self, wanted: &Wanted) -> Result<Vec<Pulled>, ApiError> {
        let Wanted { subscription, limit, .. } = *wanted;
        let pull = |after| self.store.pull(Pull { subscription, after, limit, max_bytes: PAGE_BYTES });
        if let Some(Place(read)) = wanted.read {
            return Ok(pull(read).await?);
        }
        let first = pull(Sequence::default()).await?;
        let Some(Place(after)) = wanted.confirmed else { return Ok(first) };
        // Only where something is to be confirmed: that is a write, and who waits asks often.
        if first.first().is_none_or(|first| first.sequence > after) {
            return Ok(first);
        }
        self.store.confirm(subscription, after).await?;
        Ok(pull(after).await?)
    }

    /// An event as a callback would get it.
    fn body(&self, pulled: &Pulled, format: Format) -> Result<String, ApiError> {
        let message = self.dispatcher.parts().formatter.message(format, &pulled.event);
        String::from_utf8(message.body.to_vec()).map_err(|error| ApiError::internal(error.to_string()))
    }

    fn fetched(&self, pulled: &Pulled, format: Format) -> Result<View, ApiError> {
        let body = RawValue::from_string(self.body(pulled, format)?);
        Ok(View {
            cursor: Place(pulled.sequence),
            delivery_id: pulled.delivery,
            event_id: pulled.event.id,
            event: pulled.event.event_type.clone(),
            body: body.map_err(|error| ApiError::internal(error.to_string()))?,
        })
    }
}
