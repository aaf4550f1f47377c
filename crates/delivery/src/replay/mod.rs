//! Replays: past events to a subscription once more, as jobs that outlive the processes that work at them.
//!
//! A job is a document. Whoever works at it holds it for a while, and writes down how far it has come with every step. What is sent
//! again is an event of its own, told under the id and the time of the first one and accepted like any other: so that order,
//! limits and the breaker hold for it, and an idempotency key makes each step happen once.

mod runner;

use std::time::Duration;

use hookcast_core::{
    clock::Timestamp,
    event::Event,
    filter::{self, Filter, InvalidFilter},
    id::{AccountId, EventId, ReplayId, SubscriptionId},
    pattern::{EventPatterns, InvalidPatterns, OWN_EVENT_TYPES},
};
use hookcast_store::{
    StoreError,
    documents::{Document, DocumentQuery, DocumentVersion, Expected, Kind},
    history::EventQuery,
};
use serde::{Deserialize, Serialize};

pub use self::runner::run;

/// How often a change is tried again while others change the same job.
const TRIES: usize = 20;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is at work.
    Running,
    /// It rests until it is resumed.
    Paused,
    /// It has come to its end.
    Done,
    /// It was ended before that.
    Cancelled,
    /// It cannot go on.
    Failed,
}

impl State {
    /// Whether nothing becomes of it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// A wish to send past events again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Range {
    /// Those of this time or later,
    pub since: Timestamp,
    /// and of earlier times than this.
    pub until: Timestamp,
    /// Of these types and patterns, beside what the subscription gets, with commas between them; `None`: of all that it gets.
    pub event: Option<String>,
    /// Those that this filter selects, beside the subscription's own.
    pub filter: Option<String>,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose subscription it is.
    pub account: AccountId,
    /// Whom it sends to.
    pub subscription: SubscriptionId,
    /// What is sent.
    pub range: Range,
    /// At most so many events in a second.
    pub rate: u32,
    /// Where it is.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that was looked at.
    pub cursor: Option<EventId>,
    /// How many events were looked at.
    pub looked_at: u64,
    /// How many were sent again.
    pub replayed: u64,
    /// Why it cannot go on, if so.
    pub problem: Option<String>,
    /// Who works at it, by a random number, and until when.
    pub held: Option<(u64, Timestamp)>,
}

/// What decides which past events are meant.
pub(crate) struct Selection {
    account: AccountId,
    types: Option<EventPatterns>,
    filter: Option<Filter>,
}

impl Selection {
    /// What a range means for an account. A filter that cannot be read selects nothing.
    pub(crate) fn of(range: &Range, account: AccountId) -> Result<Self, String> {
        let types = range.event.as_ref().map(|types| types.parse()).transpose();
        let types = types.map_err(|error: InvalidPatterns| error.to_string())?;
        let filter = range.filter.as_ref().map(|filter| filter.parse()).transpose();
        let filter = filter.map_err(|error: InvalidFilter| error.to_string())?;
        Ok(Self { account, types, filter })
    }

    /// Whether an event is meant, as far as the range says. Notices are nobody else's business, what was sent again is not sent again
    /// for that, what its producer has cancelled is no more, and what is scheduled has not been sent at all.
    pub(crate) fn has(&self, event: &Event, now: Timestamp) -> bool {
        let is_replay = event.told_id() != event.id;
        !is_replay
            && event.cancelled_at().is_none()
            && event.due_at() <= now
            && !OWN_EVENT_TYPES.contains(&event.event_type.as_str())
            && event.account().is_none_or(|account| account == self.account)
            && self.types.as_ref().is_none_or(|types| types.matches(&event.event_type))
            && self.filter.as_ref().is_none_or(|filter| selects(filter, event))
    }
}

fn selects(filter: &Filter, event: &Event) -> bool {
    filter::event_value(event).is_ok_and(|value| filter.matches(&value))
}

impl Range {
    /// Asks for events of the range, the oldest first.
    pub(crate) fn query(&self, after: Option<EventId>, limit: u32) -> EventQuery {
        const BYTES: usize = 4 * 1024 * 1024;
        let Self { since, until, .. } = *self;
        EventQuery { source_id: None, since, until, ascending: true, after, limit, max_bytes: BYTES }
    }
}

/// The jobs in a store.
#[derive(Clone, Copy)]
pub struct Replays<'s>(pub &'s dyn hookcast_store::Store);

impl Replays<'_> {
    /// Begins a job.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create(&self, replay: &Replay) -> Result<(), StoreError> {
        self.put(replay, Expected::None).await.map(drop)
    }

    /// One of a subscription's jobs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such job.
    pub async fn get(
        &self,
        subscription: SubscriptionId,
        id: ReplayId,
    ) -> Result<(Replay, DocumentVersion), StoreError> {
        let document = self.0.document(Kind::Replays, &name(subscription, id)).await?.ok_or(StoreError::NotFound)?;
        Ok((read(&document)?, document.version))
    }

    /// A subscription's jobs, the oldest first, behind one of them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn of(
        &self,
        subscription: SubscriptionId,
        after: Option<ReplayId>,
        limit: u32,
    ) -> Result<Vec<Replay>, StoreError> {
        let after = after.map_or_else(|| format!("{subscription}/"), |id| name(subscription, id));
        let query = DocumentQuery { after: Some(after), descending: false, limit };
        let found = self.0.documents(Kind::Replays, query).await?;
        let prefix = format!("{subscription}/");
        found.iter().take_while(|document| document.name.starts_with(&prefix)).map(read).collect()
    }

    /// Changes a job, which may be done several times while others change it, unless `change` refuses.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such job, or what `change` has against it.
    pub async fn change<E: From<StoreError>>(
        &self,
        subscription: SubscriptionId,
        id: ReplayId,
        change: impl Fn(&mut Replay) -> Result<(), E>,
    ) -> Result<Replay, E> {
        for _ in 0..TRIES {
            let (mut replay, version) = self.get(subscription, id).await?;
            change(&mut replay)?;
            match self.put(&replay, Expected::Version(version)).await {
                Ok(_) => return Ok(replay),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Busy("others change this replay all the time".into()).into())
    }

    /// Every job that is at work, of all subscriptions.
    async fn running(&self) -> Result<Vec<(Replay, DocumentVersion)>, StoreError> {
        const PAGE: u32 = 500;
        let (mut running, mut after) = (Vec::new(), None);
        loop {
            let query = DocumentQuery { after, descending: false, limit: PAGE };
            let found = self.0.documents(Kind::Replays, query).await?;
            for document in &found {
                let replay = read(document)?;
                if replay.state == State::Running {
                    running.push((replay, document.version));
                }
            }
            match found.last() {
                Some(last) if found.len() == PAGE as usize => after = Some(last.name.clone()),
                _ => return Ok(running),
            }
        }
    }

    async fn put(&self, replay: &Replay, expected: Expected) -> Result<DocumentVersion, StoreError> {
        let body = serde_json::to_string(replay).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        self.0.put_document(Kind::Replays, &name(replay.subscription, replay.id), body, expected).await
    }

    /// Counts the events of a range that are meant, and those that were looked at, which are at most about so many; and whether those
    /// were all.
    ///
    /// # Errors
    /// The store failed.
    pub async fn count(
        &self,
        range: &Range,
        account: AccountId,
        wanted: impl Fn(&Event) -> bool,
        now: Timestamp,
        most: u64,
    ) -> Result<(u64, u64, bool), StoreError> {
        const PAGE: u32 = 1_000;
        let selection = Selection::of(range, account).map_err(StoreError::Corrupt)?;
        let (mut meant, mut looked_at, mut after) = (0, 0, None);
        loop {
            let found = self.0.events(range.query(after, PAGE)).await?;
            let Some(last) = found.last() else { return Ok((meant, looked_at, true)) };
            after = Some(last.id);
            looked_at += found.len() as u64;
            meant += found.iter().filter(|event| selection.has(event, now) && wanted(event)).count() as u64;
            if looked_at >= most {
                return Ok((meant, looked_at, false));
            }
        }
    }
}

/// A job's document. Those of one subscription follow each other.
fn name(subscription: SubscriptionId, id: ReplayId) -> String {
    format!("{subscription}/{id}")
}

fn read(document: &Document) -> Result<Replay, StoreError> {
    serde_json::from_str(&document.body)
        .map_err(|error| StoreError::Corrupt(format!("a replay cannot be read: {error}")))
}

/// The pause before a job begins to look at events that are as new as itself: those of other nodes may be a little late.
const SETTLING: Duration = Duration::from_secs(2);
