//! Why a delivery has not arrived, in a word for programs and a sentence for people.

use std::collections::HashSet;

use hookcast_core::{
    clock::Timestamp,
    delivery::{AttemptResult, DeliveryState},
    event::Event,
    id::SubscriptionId,
};
use hookcast_delivery::{directory::LeftOut, pauses::Pause};
use hookcast_store::history::{DeliveryRecord, EventRecord};
use serde::Serialize;
use utoipa::ToSchema;

use super::Inner;

/// The most subscriptions without a delivery that are named.
const MOST: usize = 100;

/// Why a delivery has not arrived.
#[derive(Serialize, ToSchema)]
pub struct Why {
    reason: &'static str,
    detail: String,
    /// Until when it waits, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl Why {
    fn of(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), until: None }
    }

    fn until(self, time: Timestamp) -> Self {
        Self { until: Some(time), ..self }
    }

    /// What became of a delivery that does not wait; nothing where it has arrived, or is on its way just now.
    fn ended(record: &DeliveryRecord) -> Option<Self> {
        match record.state {
            DeliveryState::Delivered | DeliveryState::Sending | DeliveryState::Waiting => None,
            DeliveryState::Failed => {
                let last = record.attempts.last().map(|attempt| last_words(&attempt.result)).unwrap_or_default();
                let detail = format!("{} attempts failed{last}; to try again, redeliver it", record.attempts.len());
                Some(Self::of("failed", detail))
            }
            DeliveryState::Expired => {
                Some(Self::of("expired", "more waited for the subscription than may, and this was among the oldest"))
            }
            DeliveryState::Cancelled => {
                Some(Self::of("cancelled", "its event was cancelled, or its subscription deleted, while it waited"))
            }
        }
    }

    /// What a delivery waits for, to a target that may be paused.
    fn waiting(record: &DeliveryRecord, pause: Option<&Pause>, now: Timestamp) -> Self {
        let last = record.attempts.last().map(|attempt| last_words(&attempt.result));
        if record.url.is_none() {
            return Self::of("not_fetched", "the subscription has no callback, and its owner has not fetched it");
        }
        if !record.is_active {
            return Self::of("inactive", "the subscription is inactive; it goes out when that is active again");
        }
        let is_due = record.due_at.is_none_or(|due| due <= now);
        if let Some(pause) = pause.filter(|_| is_due) {
            return Self::of("paused", format!("{pause}; it goes out when that is resumed"));
        }
        let Some(due) = record.due_at else {
            return Self::of("behind", "an earlier delivery in its order has not ended");
        };
        if let Some(probe) = record.probe_at {
            let detail = "the callback fails; one delivery at a time finds out when it is back, and the others wait";
            return Self::of("failing", detail).until(probe.max(due));
        }
        match last {
            Some(last) => Self::of("retrying", format!("attempt {} failed{last}", record.attempts.len())).until(due),
            None if due > now => Self::of("scheduled", "its time has not come").until(due),
            None => {
                Self::of("queued", "it waits for its turn: for room, or within the limits of its subscription or host")
            }
        }
    }
}

/// What the last attempt came to, to be added to a sentence.
fn last_words(result: &AttemptResult) -> String {
    match result {
        AttemptResult::Answered(answer) => format!(", the last with status {}", answer.status),
        AttemptResult::Unanswered { failure, .. } => format!(", the last with `{}`", failure.as_str()),
    }
}

/// A subscription to an event's type that has no delivery of it.
#[derive(Serialize, ToSchema)]
pub struct NotSent {
    #[schema(value_type = String)]
    subscription_id: SubscriptionId,
    user_id: String,
    /// The callback, if there is one.
    url: Option<String>,
    #[serde(flatten)]
    why: Why,
}

impl Inner {
    /// Why a delivery has not arrived; nothing where it has, or is on its way just now.
    pub(super) fn why(&self, record: &DeliveryRecord) -> Option<Why> {
        if record.state != DeliveryState::Waiting {
            return Why::ended(record);
        }
        let directory = &self.dispatcher.parts().directory;
        let pause = directory.target(record.subscription).and_then(|target| directory.pause_of(&target));
        Some(Why::waiting(record, pause.as_deref(), self.clock.now()))
    }

    /// Which subscriptions to an event's type have no delivery of it, apart from those on this page, and why; as the catalogue is now.
    pub(super) fn not_sent(&self, record: &EventRecord) -> Vec<NotSent> {
        let event = &record.event;
        let (_, audiences, _) = self.dispatcher.parts().directory.audiences(std::iter::once(&event.event_type));
        let Some(audience) = audiences.first() else { return Vec::new() };
        // Filters may take their time; other requests go on meanwhile on other threads.
        let left_out = tokio::task::block_in_place(|| audience.left_out(event));
        let sent: HashSet<_> = record.deliveries.items.iter().map(|delivery| delivery.subscription).collect();
        left_out
            .into_iter()
            .filter(|(target, _)| !sent.contains(&target.subscription))
            .take(MOST)
            .map(|(target, left_out)| NotSent {
                subscription_id: target.subscription,
                user_id: target.user_id.clone(),
                url: target.masked_url.clone(),
                why: why_left_out(left_out, event),
            })
            .collect()
    }
}

fn why_left_out(left_out: LeftOut, event: &Event) -> Why {
    match left_out {
        LeftOut::Later => Why::of("subscribed_later", format!("the subscription was made after {}", event.time)),
        LeftOut::Filter => {
            Why::of("filtered_out", "the subscription's filter, as it is now, does not select the event")
        }
    }
}
