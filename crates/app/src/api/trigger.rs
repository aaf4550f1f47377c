//! `POST /webhooks/trigger`: one event, or many in one step.

use std::{borrow::Cow, collections::HashMap, fmt, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use hookcast_core::{
    canonical::{CanonicalError, ContentMd5, MAX_DEPTH},
    clock::Timestamp,
    event::{EVENT_KEY_MAX, Event, EventType, Extra, SOURCE_ID_MAX},
    id::{AccountId, EventId},
    pattern::OWN_EVENT_TYPES,
};
use hookcast_delivery::acceptor::{REMEMBER_KEY, Submission};
use hookcast_store::{catalogue::AccountKey, engine::Idempotency};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    ApiState, auth,
    body::{self, MediaType},
    error::ApiError,
    fields::Fields,
    problems::{Body, Protected},
    query,
    requests::NewEvents,
};

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that the answer is that of an earlier request.
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The furthest ahead that an event may be scheduled.
const LATEST: Duration = Duration::from_secs(30 * 86_400);

/// The most characters of an idempotency key.
const KEY_MAX: usize = 255;

/// The route that takes events.
pub fn routes() -> MethodRouter<ApiState> {
    post(trigger)
}

/// The members of [`hookcast_store::engine::Receipt`].
#[derive(Serialize, ToSchema)]
struct Receipt {
    /// The event's id; of a duplicate, the first one's.
    id: String,
    event: String,
    /// When it was accepted.
    #[schema(format = DateTime)]
    time: String,
    /// The md5 of its canonical content, in hexadecimal.
    md5: String,
    /// Whether an event of equal content came before, so that this one is not sent.
    duplicate: bool,
    /// How many subscriptions it goes to.
    subscriptions: u64,
}

/// The receipt of an event, or those of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is answered in two places")]
enum Receipts {
    One(Receipt),
    Batch(Vec<Receipt>),
}

/// The texts of the events in a body.
enum Texts<'a> {
    One(&'a str),
    Many(Vec<&'a str>),
}

/// Takes an event, or a batch of them in one step. After the answer they are on disk.
#[utoipa::path(
    post,
    path = "/webhooks/trigger",
    operation_id = "trigger",
    tag = "Events",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "A request with the key and the body of an earlier one is answered as that was, for 24 hours.")),
    request_body(
        content(
            (NewEvents = "application/json", examples(
                ("one" = (summary = "An event", value = json!({"event": "relation_added", "key": "10.1000/1",
                    "source_id": "rel-17", "payload": {"hello": "world"}}))),
                ("batch" = (summary = "A batch", value = json!([{"event": "relation_added", "payload": {"n": 1}},
                    {"event": "object_updated", "payload": [1, 2], "deduplicate": false}])))
            )),
            (String = "application/x-ndjson", example = "{\"event\":\"a\",\"payload\":1}\n{\"event\":\"b\",\"payload\":2}\n")
        )
    ),
    security(("trigger" = [])),
    responses(
        (status = 202, description = "A receipt, or one for each event of the batch.", body = Receipts,
            headers(("Idempotency-Replayed" = Option<String>, description = "`true` if the answer is that of an earlier request.")),
            example = json!({"id": "evt_01a20b9a994770c592af35a40ac4d63e", "event": "relation_added",
            "time": "2026-11-24T03:30:10.887Z", "md5": "9a0364b9e99bb480dd25e1f0284c8555", "duplicate": false, "subscriptions": 1})),
        Body, Protected
    )
)]
pub async fn trigger(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let producer = auth::producer(&state, request.headers()).await?;
    let media_type = body::media_type(request.headers())?;
    let key = idempotency_key(request.headers())?;
    let body = body::read(&state, request, state.limits.request_size).await?;
    let idempotency =
        key.map(|key| Idempotency { key, body_digest: Sha256::digest(&body.bytes).into(), remember: REMEMBER_KEY });

    let texts = split(&body.bytes, media_type, state.limits.batch_events)?;
    let now = state.clock.now();
    let latest = now.plus(LATEST.min(state.retention));
    let rules = Rules { max_size: state.limits.event_size, now, latest };
    let (drafts, is_batch) = match texts {
        Texts::One(text) => (vec![draft(text, &rules)?], false),
        Texts::Many(texts) => (drafts(&texts, &rules)?, true),
    };
    let types = state.types.get(&*state.store).await?;
    for (index, draft) in drafts.iter().enumerate() {
        let event = &draft.submission.event;
        let allowed =
            if producer.may(&event.event_type) { state.check_type(&types, event) } else { Err(not_yours(event)) };
        allowed.map_err(|error| if is_batch { error.at(index) } else { error })?;
    }
    let submissions = address(&state, drafts, is_batch).await?;
    let accepted = state.acceptor.accept(submissions, idempotency, body).await?;

    let mut response = match accepted.receipts.as_slice() {
        [receipt] if !is_batch => (StatusCode::ACCEPTED, Json(receipt)).into_response(),
        receipts => (StatusCode::ACCEPTED, Json(receipts)).into_response(),
    };
    if accepted.replayed {
        response.headers_mut().insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_MAX).contains(&key.len()) && values.next().is_none())
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            let rule = format!("must be given once and have 1 to {KEY_MAX} visible ASCII characters");
            ApiError::invalid_field("Idempotency-Key", &rule)
        })
}

fn split(body: &Bytes, media_type: MediaType, max: usize) -> Result<Texts<'_>, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| ApiError::malformed(format!("the body is not UTF-8 (at byte {})", error.valid_up_to())))?;
    let (texts, count) = if media_type == MediaType::NdJson {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        (lines.clone().take(max).collect(), lines.count())
    } else if text.trim_start().starts_with('[') {
        elements(text, max).map_err(|error| ApiError::malformed(format!("the body is not JSON: {error}")))?
    } else {
        return Ok(Texts::One(text));
    };
    match count {
        0 => Err(ApiError::invalid("the batch is empty: send at least one event")),
        count if count > max => {
            Err(ApiError::invalid(format!("the batch has {count} events and may have {max}: send them in several")))
        }
        _ => Ok(Texts::Many(texts)),
    }
}

/// The first `max` elements of an array, and how many there are in all.
fn elements(text: &str, max: usize) -> Result<(Vec<&str>, usize), serde_json::Error> {
    struct Elements(usize);
    impl<'de> DeserializeSeed<'de> for Elements {
        type Value = (Vec<&'de str>, usize);

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    impl<'de> Visitor<'de> for Elements {
        type Value = (Vec<&'de str>, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let (mut elements, mut count) = (Vec::new(), 0);
            while let Some(element) = sequence.next_element::<&RawValue>()? {
                count += 1;
                if count <= self.0 {
                    elements.push(element.get());
                }
            }
            Ok((elements, count))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let elements = Elements(max).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(elements)
}

/// 403: the token is for other types.
fn not_yours(event: &Event) -> ApiError {
    ApiError::forbidden(format!("your token is not for events of the type `{}`", event.event_type))
}

fn drafts(texts: &[&str], rules: &Rules) -> Result<Vec<Draft>, ApiError> {
    let draft = |(index, text)| draft(text, rules).map_err(|error: ApiError| error.at(index));
    texts.iter().copied().enumerate().map(draft).collect()
}

/// What a request's events must be like.
struct Rules {
    max_size: usize,
    now: Timestamp,
    /// Nothing may be scheduled for this time or later.
    latest: Timestamp,
}

/// An event as it was read, and the `user_id` of the account that alone gets it.
struct Draft {
    submission: Submission,
    account: Option<String>,
}

/// Finds the accounts for which events are.
///
/// # Errors
/// 422 where there is no such account.
async fn address(state: &ApiState, drafts: Vec<Draft>, is_batch: bool) -> Result<Vec<Submission>, ApiError> {
    let mut known: HashMap<String, AccountId> = HashMap::new();
    let mut submissions = Vec::with_capacity(drafts.len());
    for (index, Draft { mut submission, account }) in drafts.into_iter().enumerate() {
        if let Some(user_id) = account {
            let account = match known.get(&user_id) {
                Some(account) => *account,
                None => {
                    let found = state.store.account(AccountKey::UserId(user_id.clone())).await?.ok_or_else(|| {
                        let unknown = ApiError::invalid_field("account", "is the `user_id` of nobody here");
                        if is_batch { unknown.at(index) } else { unknown }
                    })?;
                    known.insert(user_id, found.id);
                    found.id
                }
            };
            submission.event.extra.get_or_insert_default().account = Some(account);
        }
        submissions.push(submission);
    }
    Ok(submissions)
}

/// Takes the ordering key out.
///
/// # Errors
/// 422 when it cannot be one.
pub fn key(fields: &mut Fields<'_>) -> Result<Option<String>, ApiError> {
    name(fields, "key", EVENT_KEY_MAX)
}

/// Takes a text out that names something.
fn name(fields: &mut Fields<'_>, name: &str, max: usize) -> Result<Option<String>, ApiError> {
    let Some(text) = fields.optional_string(name)? else { return Ok(None) };
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        let rule = format!("must have 1 to {max} bytes and no control characters");
        return Err(ApiError::invalid_field(name, &rule));
    }
    Ok(Some(text.into_owned()))
}

/// Takes out when an event is to be sent.
fn deliver_at(fields: &mut Fields<'_>, rules: &Rules) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = fields.optional_string("deliver_at")? else { return Ok(None) };
    let time = query::parse_time("deliver_at", &text)?;
    if time >= rules.latest {
        let rule = format!("must be before {}: at most 30 days ahead, and while events are kept", rules.latest);
        return Err(ApiError::invalid_field("deliver_at", &rule));
    }
    // A time that is over is now.
    Ok(Some(time).filter(|time| *time > rules.now))
}

fn draft(text: &str, rules: &Rules) -> Result<Draft, ApiError> {
    let mut fields = Fields::parse_text(text)?;
    let event_type = event_type(&fields.string("event")?)?;
    let payload = fields.required("payload")?;
    let deduplicate = fields.optional_bool("deduplicate")?.unwrap_or(true);
    let key = key(&mut fields)?;
    let source_id = name(&mut fields, "source_id", SOURCE_ID_MAX)?;
    let account = fields.optional_string("account")?.map(Cow::into_owned);
    let deliver_at = deliver_at(&mut fields, rules)?;
    fields.finish("`event`, `payload`, `key`, `source_id`, `account`, `deliver_at` and `deduplicate`")?;
    if OWN_EVENT_TYPES.contains(&event_type.as_str()) {
        return Err(ApiError::invalid_field("event", "is a type of the service's own notices; choose another name"));
    }
    let mut event = event(event_type, payload, key, rules.max_size, rules.now)?;
    event.extra = Extra { source_id, deliver_at, ..Extra::default() }.unless_empty();
    Ok(Draft { submission: Submission { event, deduplicate, about: None, only: None }, account })
}

/// Reads a type of events.
///
/// # Errors
/// 422 when it is none.
pub fn event_type(text: &str) -> Result<EventType, ApiError> {
    text.parse()
        .map_err(|rule: hookcast_core::event::InvalidEventType| ApiError::invalid_field("event", &rule.to_string()))
}

/// A new event.
///
/// # Errors
/// 413 when its payload has more than `max_size` bytes, 422 when it is no payload.
pub fn event(
    event_type: EventType,
    payload: &RawValue,
    key: Option<String>,
    max_size: usize,
    now: Timestamp,
) -> Result<Event, ApiError> {
    if payload.get().len() > max_size {
        return Err(ApiError::too_large(format!(
            "a payload may have {max_size} bytes; this one has {}",
            payload.get().len()
        )));
    }
    let md5 = ContentMd5::of(event_type.as_str(), payload.get()).map_err(|error| {
        ApiError::invalid_field(
            "payload",
            &match error {
                CanonicalError::TooDeep => format!("nests deeper than {MAX_DEPTH} levels"),
                error => format!("cannot be read: {error}"),
            },
        )
    })?;
    let (id, payload) = (EventId::next(now, rand::random()), payload.to_owned());
    Ok(Event { id, event_type, time: now, md5, key, extra: None, payload })
}
