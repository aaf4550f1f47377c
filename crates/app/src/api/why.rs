//! Why a delivery has not arrived, in a word for programs and a sentence for people.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    delivery::{AttemptResult, DeliveryState},
    event::Event,
    id::{AccountId, SubscriptionId},
};
use hookcast_delivery::{directory::LeftOut, pauses::Pause, scheduler::OwnLimit};
use hookcast_store::{
    StoreError,
    history::{DeliveryRecord, EventRecord},
};
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

    /// What a delivery waits for.
    fn waiting(record: &DeliveryRecord, obstacle: Option<Obstacle>, now: Timestamp) -> Self {
        let last = record.attempts.last().map(|attempt| last_words(&attempt.result));
        if record.url.is_none() {
            return Self::of("not_fetched", "the subscription has no callback, and its owner has not fetched it");
        }
        if !record.is_active {
            return Self::of("inactive", "the subscription is inactive; it goes out when that is active again");
        }
        match obstacle {
            Some(Obstacle::Paused(pause)) => {
                return Self::of("paused", format!("{pause}; it goes out when that is resumed"));
            }
            Some(Obstacle::UsedUp { limit, until }) => {
                let detail =
                    format!("the account has been sent the {limit} events that it may be sent in a day of UTC");
                return Self::of("limited", detail).until(until);
            }
            Some(Obstacle::Own(_)) | None => {}
        }
        let Some(due) = record.due_at else {
            return Self::of("behind", "an earlier delivery in its order has not ended");
        };
        if let Some(probe) = record.probe_at {
            let detail = "the callback fails; one delivery at a time finds out when it is back, and the others wait";
            return Self::of("failing", detail).until(probe.max(due));
        }
        match (last, obstacle) {
            (Some(last), _) => {
                Self::of("retrying", format!("attempt {} failed{last}", record.attempts.len())).until(due)
            }
            (None, _) if due > now => Self::of("scheduled", "its time has not come").until(due),
            (None, Some(Obstacle::Own(OwnLimit::Rate(rate)))) => {
                let detail = format!("it waits for its turn: the subscription gets {rate} a second, its `rate_limit`");
                Self::of("limited", detail)
            }
            (None, Some(Obstacle::Own(OwnLimit::InFlight(most)))) => {
                let detail = format!(
                    "it waits for its turn: the subscription gets {most} at the same time, its `max_in_flight`"
                );
                Self::of("limited", detail)
            }
            (None, Some(Obstacle::Own(OwnLimit::Overloaded(most)))) => {
                let detail = format!(
                    "it waits for its turn: the callback was overloaded, and gets {most} at the same time for now"
                );
                Self::of("limited", detail)
            }
            (None, Some(Obstacle::Own(OwnLimit::Recovering))) => {
                let detail =
                    "it waits for its turn: the callback has just come back, and gets more from second to second";
                Self::of("limited", detail)
            }
            (None, _) => Self::of("queued", "it waits for its turn: for room, or within the limits of its host"),
        }
    }
}

/// What is in the way of a delivery that is due, beside its subscription's state.
#[derive(Clone)]
enum Obstacle {
    /// An operator has paused where it goes.
    Paused(Arc<Pause>),
    /// The account has had what it may have today.
    UsedUp { limit: u64, until: Timestamp },
    /// A limit of the subscription's own.
    Own(OwnLimit),
}

/// Finds out for one answer why deliveries have not arrived.
pub struct Reasons<'s> {
    state: &'s Inner,
    now: Timestamp,
    /// Accounts that were looked at: which of them have had what they may have today, and until when they wait.
    used_up: HashMap<AccountId, Option<(u64, Timestamp)>>,
}

impl<'s> Reasons<'s> {
    /// Nothing is found out yet.
    pub fn new(state: &'s Inner) -> Self {
        Self { state, now: state.clock.now(), used_up: HashMap::new() }
    }

    /// Why a delivery has not arrived; nothing where it has, or is on its way just now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn of(&mut self, record: &DeliveryRecord) -> Result<Option<Why>, StoreError> {
        if record.state != DeliveryState::Waiting {
            return Ok(Why::ended(record));
        }
        let is_due = record.due_at.is_none_or(|due| due <= self.now);
        let obstacle = if record.is_active && is_due { self.obstacle(record.subscription).await? } else { None };
        Ok(Some(Why::waiting(record, obstacle, self.now)))
    }

    async fn obstacle(&mut self, id: SubscriptionId) -> Result<Option<Obstacle>, StoreError> {
        let dispatcher = &self.state.dispatcher;
        let parts = dispatcher.parts();
        let Some(target) = parts.directory.target(id) else { return Ok(None) };
        if let Some(pause) = parts.directory.pause_of(&target) {
            return Ok(Some(Obstacle::Paused(pause)));
        }
        let used_up = match self.used_up.get(&target.account) {
            Some(known) => *known,
            None => parts.budgets.used_up(target.account).await?,
        };
        self.used_up.insert(target.account, used_up);
        Ok(match used_up {
            Some((limit, until)) => Some(Obstacle::UsedUp { limit, until }),
            None => dispatcher.limit_of(&target).map(Obstacle::Own),
        })
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
