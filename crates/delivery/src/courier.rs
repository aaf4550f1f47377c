//! One attempt: sign, send, judge.

use std::sync::Arc;

use bytes::Bytes;
use hookcast_core::{
    clock::{Clock, Timestamp},
    delivery::{Answer, Attempt, AttemptResult, Failure, Next, judge},
    format::Message,
    id::EventId,
};
use hookcast_store::engine::Outcome;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tokio::time::Instant;

use crate::{
    client::{Client, ExchangeFailed, Reply},
    scheduler::{Feedback, Work},
    target::{Access, Target},
};

/// What Hookcast calls itself.
pub const USER_AGENT: &str = concat!("Hookcast/", env!("CARGO_PKG_VERSION"));

/// Makes attempts.
pub struct Courier {
    client: Client,
    clock: Arc<dyn Clock>,
}

impl Courier {
    /// One that sends with this client.
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// What requests are sent with.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes one attempt at a delivery.
    pub async fn attempt(&self, work: &Work, target: &Target) -> Outcome {
        let time = self.clock.now();
        let begun = Instant::now();
        let result = self.send(work, target, time).await;
        let latency_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        let attempt = Attempt { number: work.attempts + 1, time, latency_ms, result };
        let verdict = judge(&attempt, target.rules(work.group), self.clock.now(), rand::random());
        let (delivery, subscription, group) = (work.delivery, work.subscription, work.group);
        let outcome = Outcome { delivery, subscription, group, attempt, verdict };
        log(work, target, &outcome);
        outcome
    }

    async fn send(&self, work: &Work, target: &Target, now: Timestamp) -> AttemptResult {
        let sent = match prepare(work.event, &work.message, target, now) {
            Ok(request) => self.exchange(request, target).await,
            Err(failed) => Err(failed),
        };
        match sent {
            Ok(Reply { answer, .. }) => AttemptResult::Answered(answer),
            Err(ExchangeFailed { failure, detail }) => AttemptResult::Unanswered { failure, detail },
        }
    }

    /// Sends a request within the target's time.
    pub(crate) async fn exchange(&self, request: Prepared<'_>, target: &Target) -> Result<Reply, ExchangeFailed> {
        let Prepared { access, uri, headers, body } = request;
        self.client.try_send(access.credentials.as_ref(), uri, headers, body, target.timeout).await
    }
}

/// A signed request, to be sent with these credentials.
pub(crate) struct Prepared<'t> {
    pub(crate) access: &'t Access,
    pub(crate) uri: &'t Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Signs a message for a target.
///
/// # Errors
/// Its secrets cannot be read, or something does not fit into a request.
pub(crate) fn prepare<'t>(
    event: EventId,
    message: &Message,
    target: &'t Target,
    now: Timestamp,
) -> Result<Prepared<'t>, ExchangeFailed> {
    let access = target.access.as_ref().map_err(|reason| unsent(Failure::Auth, reason))?;
    let unfit = |what| unsent(Failure::Protocol, what);
    let uri = target.uri.as_ref().ok_or_else(|| unfit("the callback URL does not fit into a request"))?;
    let headers =
        headers(event, message, target, access, now).ok_or_else(|| unfit("a header does not fit into a request"))?;
    Ok(Prepared { access, uri, headers, body: message.body.clone() })
}

fn unsent(failure: Failure, detail: &str) -> ExchangeFailed {
    ExchangeFailed { failure, detail: detail.to_owned() }
}

/// The headers of the Standard Webhooks specification, "Webhook headers", those of the format, and those that the subscription's
/// owner wants.
fn headers(event: EventId, message: &Message, target: &Target, access: &Access, now: Timestamp) -> Option<HeaderMap> {
    let id = event.to_string();
    let timestamp = now.as_seconds();
    let signature = access.keys.sign(&id, timestamp, &message.body, now);
    let mut headers = HeaderMap::with_capacity(8 + target.headers.len());
    headers.extend(target.headers.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(message.content_type));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &message.headers {
        headers.insert(HeaderName::from_static(name), value.try_into().ok()?);
    }
    headers.insert("webhook-id", id.try_into().ok()?);
    headers.insert("webhook-timestamp", timestamp.into());
    if let Some(signature) = signature {
        headers.insert("webhook-signature", signature.try_into().ok()?);
    }
    Some(headers)
}

/// One line for each attempt, with what follows from it.
fn log(work: &Work, target: &Target, outcome: &Outcome) {
    let attempt = &outcome.attempt;
    let (status, failure) = match &attempt.result {
        AttemptResult::Answered(answer) => (Some(answer.status), None),
        AttemptResult::Unanswered { failure, .. } => (None, Some(failure.as_str())),
    };
    let detail = match &attempt.result {
        AttemptResult::Unanswered { detail, .. } => Some(detail.as_str()),
        AttemptResult::Answered(_) => None,
    };
    let next = match outcome.verdict.next {
        Next::Delivered => {
            tracing::debug!(
                delivery = %work.delivery, event = %work.event, subscription = %work.subscription,
                url = target.masked_url, attempt = attempt.number, latency_ms = attempt.latency_ms, status, "delivered"
            );
            return;
        }
        Next::RetryAt(time) => Some(time.to_string()),
        Next::Failed => None,
    };
    tracing::info!(
        delivery = %work.delivery, event = %work.event, subscription = %work.subscription, url = target.masked_url,
        attempt = attempt.number, latency_ms = attempt.latency_ms, status, failure, detail, retry_at = next,
        "attempt failed"
    );
}

/// Whether a delivery is done for good.
#[must_use]
pub fn is_settled(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict.next, Next::RetryAt(_))
}

/// What an attempt says about how much its callback can take.
#[must_use]
pub fn feedback(outcome: &Outcome) -> Feedback {
    match &outcome.attempt.result {
        AttemptResult::Answered(Answer { status: 429 | 503, .. }) | AttemptResult::Unanswered { .. } => {
            Feedback::Overloaded
        }
        AttemptResult::Answered(_) if outcome.verdict.next == Next::Delivered => Feedback::Good,
        AttemptResult::Answered(_) => Feedback::Neutral,
    }
}
