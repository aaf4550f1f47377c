//! One attempt: sign, send, judge.

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::Clock,
    delivery::{Answer, Attempt, AttemptResult, Failure, Next, judge},
    policy::{RetrySchedule, SuccessRule},
};
use hookcast_store::engine::Outcome;
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use crate::{
    client::Client,
    directory::Target,
    scheduler::{Feedback, Work},
};

/// What Hookcast calls itself.
pub const USER_AGENT: &str = concat!("Hookcast/", env!("CARGO_PKG_VERSION"));

/// Makes attempts.
pub struct Courier {
    client: Client,
    clock: Arc<dyn Clock>,
    schedule: RetrySchedule,
    success: SuccessRule,
    timeout: Duration,
}

impl Courier {
    /// One that follows these rules. `timeout` is the client's deadline for a whole attempt.
    #[must_use]
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        schedule: RetrySchedule,
        success: SuccessRule,
        timeout: Duration,
    ) -> Self {
        Self { client, clock, schedule, success, timeout }
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes one attempt at a delivery.
    pub async fn attempt(&self, work: &Work, target: &Target) -> Outcome {
        let time = self.clock.now();
        let begun = Instant::now();
        let result = match (&target.uri, headers(work, target, time.as_seconds())) {
            (Some(uri), Some(headers)) => self.client.send(uri, headers, work.body.clone()).await,
            _ => AttemptResult::Unanswered {
                failure: Failure::Protocol,
                detail: "the callback URL does not fit into a request".into(),
            },
        };
        let latency_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        let attempt = Attempt { number: work.attempts + 1, time, latency_ms, result };
        let verdict = judge(&attempt, &self.schedule, self.success, self.clock.now(), rand::random());
        let outcome = Outcome { delivery: work.delivery, subscription: work.subscription, attempt, verdict };
        log(work, target, &outcome);
        outcome
    }
}

/// The headers of the Standard Webhooks specification, "Webhook headers", and those of any JSON request.
fn headers(work: &Work, target: &Target, timestamp: i64) -> Option<HeaderMap> {
    let id = work.event.to_string();
    let signature = target.key.sign(&id, timestamp, &work.body);
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert("webhook-id", id.try_into().ok()?);
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", signature.try_into().ok()?);
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
