//! Who works at replays.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    event::{Event, Extra},
    id::{EventId, ReplayId},
};
use hookcast_store::{AcceptError, StoreError, documents::Kind, engine::Idempotency};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Replay, Replays, SETTLING, Selection, State};
use crate::{
    acceptor::{Acceptor, REMEMBER_KEY, Submission},
    parts::Parts,
};

/// How often jobs are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long nobody else works at a job that its holder says nothing more of.
const HOLD: Duration = Duration::from_secs(4);

/// The most events that a step looks at.
const STEP: u32 = 500;

/// While more than so many deliveries wait for a subscription, nothing more is sent to it again: what is new must not expire for that.
const WAITING_MAX: u64 = 10_000;

/// Works at replays for as long as the future lives.
pub async fn run(parts: &Parts, acceptor: &Arc<Acceptor>) {
    let mut runner = Runner { parts, acceptor, own: rand::random(), paces: HashMap::new() };
    let mut seen = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Where nothing has changed and nothing runs, one number is all that is read.
        let version = match parts.store.documents_version(Kind::Replays).await {
            Ok(version) if Some(version) == seen => continue,
            Ok(version) => version,
            Err(error) => {
                tracing::warn!(%error, "replays cannot be looked for now");
                continue;
            }
        };
        match runner.step().await {
            Ok(0) => seen = Some(version),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "replays cannot go on now"),
        }
    }
}

struct Runner<'p> {
    parts: &'p Parts,
    acceptor: &'p Arc<Acceptor>,
    /// This process's own mark.
    own: u64,
    /// When each job may go on.
    paces: HashMap<ReplayId, Instant>,
}

/// What a step has come to.
#[derive(Default)]
struct Step {
    cursor: Option<EventId>,
    looked_at: u64,
    replayed: u64,
    ends: Option<(State, Option<String>)>,
}

impl Runner<'_> {
    /// Lets every job that is at work and whose time has come make a step. Answers how many are at work.
    async fn step(&mut self) -> Result<usize, StoreError> {
        let replays = Replays(&*self.parts.store);
        let running = replays.running().await?;
        let count = running.len();
        self.paces.retain(|id, _| running.iter().any(|(replay, _)| replay.id == *id));
        for (replay, _) in running {
            if self.paces.get(&replay.id).is_some_and(|until| *until > Instant::now()) {
                continue;
            }
            if self.hold(&replay).await? {
                self.advance(replay).await?;
            }
        }
        Ok(count)
    }

    /// Takes a job, unless another process works at it.
    async fn hold(&self, replay: &Replay) -> Result<bool, StoreError> {
        let now = self.parts.clock.now();
        let is_held = |replay: &Replay| replay.held.is_some_and(|(holder, until)| holder != self.own && until > now);
        if is_held(replay) {
            return Ok(false);
        }
        let held = Replays(&*self.parts.store)
            .change(replay.subscription, replay.id, |replay| {
                if is_held(replay) || replay.state != State::Running {
                    return Err(StoreError::Conflict);
                }
                replay.held = Some((self.own, now.plus(HOLD)));
                Ok(())
            })
            .await;
        match held {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict | StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn advance(&mut self, replay: Replay) -> Result<(), StoreError> {
        let step = self.take_step(&replay).await?;
        let pause = Duration::from_secs_f64(step.replayed as f64 / f64::from(replay.rate.max(1)));
        self.paces.insert(replay.id, Instant::now() + pause);
        let (own, now) = (self.own, self.parts.clock.now());
        let noted = Replays(&*self.parts.store)
            .change(replay.subscription, replay.id, |replay| {
                replay.cursor = step.cursor.or(replay.cursor);
                replay.looked_at += step.looked_at;
                replay.replayed += step.replayed;
                replay.held = Some((own, now.plus(HOLD).plus(pause)));
                if let Some((state, problem)) = &step.ends
                    && !replay.state.is_final()
                {
                    (replay.state, replay.problem) = (*state, problem.clone());
                }
                if replay.state != State::Running {
                    replay.held = None;
                }
                Ok::<_, StoreError>(())
            })
            .await;
        match noted {
            // It was deleted meanwhile.
            Err(StoreError::NotFound) => Ok(()),
            noted => noted.map(drop),
        }
    }

    /// Sends the next of a job's events.
    async fn take_step(&self, replay: &Replay) -> Result<Step, StoreError> {
        let now = self.parts.clock.now();
        let status = match self.parts.store.subscription(replay.account, replay.subscription).await {
            Ok(status) => status,
            Err(StoreError::NotFound) => return Ok(Step::failed("the subscription was deleted")),
            Err(error) => return Err(error),
        };
        if status.waiting > WAITING_MAX {
            return Ok(Step::default());
        }
        let selection = match Selection::of(&replay.range, replay.account) {
            Ok(selection) => selection,
            Err(problem) => return Ok(Step::failed(&problem)),
        };
        // As many as may be sent in a second, so that a pause or an end takes effect soon.
        let limit = STEP.min(replay.rate.max(1));
        let found = self.parts.store.events(replay.range.query(replay.cursor, limit)).await?;
        let settled: Vec<Event> = found.into_iter().take_while(|event| event.time.plus(SETTLING) <= now).collect();
        let Some(last) = settled.last() else {
            let is_over = replay.range.until.plus(SETTLING) <= now;
            return Ok(Step { ends: is_over.then_some((State::Done, None)), ..Step::default() });
        };
        let (cursor, looked_at) = (Some(last.id), settled.len() as u64);
        let again: Vec<Submission> = settled
            .iter()
            .filter(|event| selection.has(event, now))
            .map(|event| Submission {
                event: again(event, now),
                deduplicate: false,
                about: None,
                only: Some(replay.subscription),
            })
            .collect();
        let replayed = if again.is_empty() { 0 } else { self.send(replay, again).await? };
        Ok(Step { cursor, looked_at, replayed, ends: None })
    }

    /// Accepts events once, be it that an earlier try was cut off. Answers how many of them go out.
    async fn send(&self, replay: &Replay, again: Vec<Submission>) -> Result<u64, StoreError> {
        let mut digest = Sha256::new();
        for submission in &again {
            digest.update(submission.event.told_id().to_bytes());
        }
        let place = replay.cursor.map_or_else(String::new, |cursor| cursor.to_string());
        let idempotency = Idempotency {
            key: format!("replay {} {place}", replay.id),
            body_digest: digest.finalize().into(),
            remember: REMEMBER_KEY,
        };
        match self.acceptor.accept(again, Some(idempotency), ()).await {
            Ok(accepted) => Ok(accepted.receipts.iter().map(|receipt| receipt.subscriptions).sum()),
            // The step was made, and what it looked at is taken away in part by now.
            Err(AcceptError::KeyReused) => Ok(0),
            Err(AcceptError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::Busy(error.to_string())),
        }
    }
}

impl Step {
    fn failed(problem: &str) -> Self {
        Self { ends: Some((State::Failed, Some(problem.to_owned()))), ..Self::default() }
    }
}

/// An event that tells an earlier one once more.
fn again(event: &Event, now: Timestamp) -> Event {
    let earlier = event.extra.as_deref().cloned().unwrap_or_default();
    let extra = Extra { replay_of: Some(event.told_id()), deliver_at: None, ..earlier };
    Event { id: EventId::next(now, rand::random()), time: now, extra: extra.unless_empty(), ..event.clone() }
}
