//! One attempt: sign, send, judge.

use std::sync::Arc;

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

static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
static WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
static WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

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
        let sent = match Signable::of(work.event, &work.message, target, now) {
            Ok(request) => self.exchange(&request).await,
            Err(failed) => Err(failed),
        };
        match sent {
            Ok(Reply { answer, .. }) => AttemptResult::Answered(answer),
            Err(ExchangeFailed { failure, detail }) => AttemptResult::Unanswered { failure, detail },
        }
    }

    /// Sends a request within its target's time.
    pub(crate) async fn exchange(&self, request: &Signable<'_>) -> Result<Reply, ExchangeFailed> {
        let Signable { access, uri, message, target, .. } = request;
        let headers = || request.headers();
        self.client.try_send(access.credentials.as_ref(), uri, &headers, message.body.clone(), target.timeout).await
    }
}

/// A message for a target, ready to be signed.
pub(crate) struct Signable<'t> {
    pub(crate) access: &'t Access,
    pub(crate) uri: &'t Uri,
    pub(crate) message: &'t Message,
    event: EventId,
    target: &'t Target,
    now: Timestamp,
}

impl<'t> Signable<'t> {
    /// A message that goes out now.
    ///
    /// # Errors
    /// The target's secrets cannot be read, or its URL does not fit into a request.
    pub(crate) fn of(
        event: EventId,
        message: &'t Message,
        target: &'t Target,
        now: Timestamp,
    ) -> Result<Self, ExchangeFailed> {
        let access = target.access.as_ref().map_err(|reason| unsent(Failure::Auth, reason))?;
        let unfit = || unsent(Failure::Protocol, "the callback URL does not fit into a request");
        let uri = target.uri.as_ref().ok_or_else(unfit)?;
        Ok(Self { access, uri, message, event, target, now })
    }

    /// Its headers, signed: those of the Standard Webhooks specification, "Webhook headers", those of the format, and those that the
    /// subscription's owner wants.
    ///
    /// # Errors
    /// One does not fit into a request.
    pub(crate) fn headers(&self) -> Result<HeaderMap, ExchangeFailed> {
        self.fitting_headers().ok_or_else(|| unsent(Failure::Protocol, "a header does not fit into a request"))
    }

    fn fitting_headers(&self) -> Option<HeaderMap> {
        let Self { access, message, target, now, .. } = self;
        let id = self.event.to_string();
        let timestamp = now.as_seconds();
        let signature = access.keys.sign(&id, timestamp, &message.body, *now);
        let mut headers = HeaderMap::with_capacity(8 + target.headers.len() + message.headers.len());
        headers.extend(target.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(message.content_type));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for (name, value) in &message.headers {
            headers.insert(HeaderName::from_static(name), value.try_into().ok()?);
        }
        headers.insert(WEBHOOK_ID.clone(), id.try_into().ok()?);
        headers.insert(WEBHOOK_TIMESTAMP.clone(), timestamp.into());
        if let Some(signature) = signature {
            headers.insert(WEBHOOK_SIGNATURE.clone(), signature.try_into().ok()?);
        }
        Some(headers)
    }
}

fn unsent(failure: Failure, detail: &str) -> ExchangeFailed {
    ExchangeFailed { failure, detail: detail.to_owned() }
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
