//! Accepting: batches that come at once are stored in one transaction, with one wait for the disk for all of them.
//!
//! The transaction asks what the store says of the batches ([`admission`]), refuses those that it must, and stores the rest
//! ([`intake`]). In the usual case that is twice to the server and back.

use std::sync::Arc;

use hookcast_core::clock::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    Shared,
    admission::{self, Decision, Known},
    intake::Intake,
    pool::{Commit, retrying},
};
use crate::{
    engine::{Accepted, Batch},
    error::{AcceptError, StoreError},
};

/// Batches that may wait before more are refused.
const QUEUE: usize = 8_192;

/// The most batches, and about the most deliveries and bytes of payload, in one transaction, so that the first of them does not
/// wait long, and none fails for the size of the others.
const GROUP: usize = 512;
const GROUP_DELIVERIES: usize = 20_000;
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Groups that are stored at once: while one waits for the disk another one is made.
const WRITERS: usize = 2;

/// A batch and whoever waits for what becomes of it.
struct Job {
    request: Request,
    reply: oneshot::Sender<Result<Accepted, AcceptError>>,
}

/// A batch, and when it came.
pub(super) struct Request {
    pub batch: Batch,
    pub now: Timestamp,
}

impl Request {
    fn deliveries(&self) -> usize {
        self.batch.events.iter().map(|event| event.recipients.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.batch.events.iter().map(|new| new.event.payload.get().len()).sum()
    }
}

/// The front door of the writers. They end when it is dropped.
pub(super) struct Acceptor {
    queue: mpsc::Sender<Job>,
}

impl Acceptor {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..WRITERS {
            tokio::spawn(write_groups(Arc::clone(shared), Arc::clone(&inbox)));
        }
        Self { queue }
    }

    /// Stores a batch. Once it is queued it is written, even where the caller leaves.
    pub(super) async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { request: Request { batch, now }, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy("too many writes are waiting".into()),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".into())
}

async fn write_groups(shared: Arc<Shared>, inbox: Arc<Mutex<mpsc::Receiver<Job>>>) {
    while let Some(mut group) = next_group(&inbox).await {
        // Contents are looked up under one rule; batches under another one, which one process hardly has, wait for their turn.
        while let Some(rule) = group.first().map(|job| job.request.batch.deduplicate) {
            let (same, others) = group.into_iter().partition(|job| job.request.batch.deduplicate == rule);
            answer(&shared, same).await;
            group = others;
        }
    }
}

async fn next_group(inbox: &Mutex<mpsc::Receiver<Job>>) -> Option<Vec<Job>> {
    let mut inbox = inbox.lock().await;
    let first = inbox.recv().await?;
    let (mut deliveries, mut bytes) = (first.request.deliveries(), first.request.bytes());
    let mut group = vec![first];
    while group.len() < GROUP && deliveries < GROUP_DELIVERIES && bytes < GROUP_BYTES {
        let Ok(next) = inbox.try_recv() else { break };
        deliveries += next.request.deliveries();
        bytes += next.request.bytes();
        group.push(next);
    }
    Some(group)
}

/// Stores a group and tells everybody what became of his batch.
async fn answer(shared: &Shared, group: Vec<Job>) {
    let (requests, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.request, job.reply)).unzip();
    let results = match retrying(|| store(shared, &requests)).await {
        Ok(results) => results,
        Err(error) => requests.iter().map(|_| Err(error.clone().into())).collect(),
    };
    for (reply, result) in replies.into_iter().zip(results) {
        // Whoever asked may have left.
        let _ = reply.send(result);
    }
}

/// Stores those of the batches that nothing speaks against, all of them or none; what became of each.
async fn store(shared: &Shared, requests: &[Request]) -> Result<Vec<Result<Accepted, AcceptError>>, StoreError> {
    let events = || requests.iter().flat_map(|request| &request.batch.events);
    let times: Vec<_> = events().map(|new| new.event.time).collect();
    shared.partitions.ensure(&shared.pool, &times).await?;
    let recipients: Vec<_> =
        events().flat_map(|new| new.recipients.iter().map(|recipient| recipient.subscription)).collect();
    let keys = shared.keys.of(&shared.pool, &recipients).await?;
    let deliveries = requests.iter().map(Request::deliveries).sum::<usize>();
    let first_position = shared.positions.take(&shared.pool, u64::try_from(deliveries).unwrap_or(u64::MAX)).await?;

    let transaction = shared.pool.begin(Commit::Durable).await?;
    let known = Known::read(&transaction, requests, shared.limits).await?;
    let decisions = known.judge(requests, &keys);
    let admitted = || requests.iter().zip(&decisions).filter(|(_, decision)| matches!(decision, Decision::Admitted));
    if admitted().next().is_none() {
        transaction.rollback().await?;
        return Ok(conclude(decisions, std::iter::empty()));
    }
    let firsts = admission::first_of_contents(&transaction, admitted().map(|(request, _)| request)).await?;
    let mut intake = Intake::new(&keys, &firsts, first_position);
    let accepted: Vec<Accepted> = admitted().map(|(request, _)| intake.add(request)).collect::<Result<_, _>>()?;
    let leaves_work = intake.write(transaction, shared.limits.max_waiting).await.inspect_err(|_| {
        // Somebody may have dropped the partition of a day.
        shared.partitions.forget_all();
    })?;
    if leaves_work {
        shared.hints.tell();
    }
    Ok(conclude(decisions, accepted.into_iter()))
}

/// Everybody's answer, those who are admitted taking the next one of `accepted`.
fn conclude(
    decisions: Vec<Decision>,
    mut accepted: impl Iterator<Item = Accepted>,
) -> Vec<Result<Accepted, AcceptError>> {
    let mut results: Vec<Result<Accepted, AcceptError>> = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let result = match decision {
            Decision::Refused(error) => Err(error),
            Decision::Replayed(receipts) => Ok(replayed(receipts)),
            Decision::SameAs(earlier) => match results.get(earlier) {
                Some(Ok(accepted)) => Ok(replayed(accepted.receipts.clone())),
                Some(Err(error)) => Err(error.clone()),
                None => Err(stopped().into()),
            },
            Decision::Admitted => accepted.next().ok_or_else(|| stopped().into()),
        };
        results.push(result);
    }
    results
}

fn replayed(receipts: Vec<crate::engine::Receipt>) -> Accepted {
    let held = vec![Vec::new(); receipts.len()];
    Accepted { receipts, held, replayed: true }
}
