//! Accepting in groups: batches that come while others are being stored are stored together, with one journey and one wait for the disk
//! for all of them.

use hookcast_core::clock::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::{
    engine::{Accepted, Batch},
    error::{AcceptError, StoreError},
};

/// Batches that may wait before more are refused.
const QUEUE: usize = 8_192;

/// What became of a batch.
pub(crate) type Answer = Result<Accepted, AcceptError>;

/// A batch, and when it came.
pub(crate) struct Request {
    pub(crate) batch: Batch,
    pub(crate) now: Timestamp,
}

/// A batch and whoever waits for what becomes of it.
struct Job {
    request: Request,
    reply: oneshot::Sender<Answer>,
}

/// How large a group may be, so that the first of its batches does not wait long, and none fails for the size of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) batches: usize,
    pub(crate) deliveries: usize,
    /// Of payload.
    pub(crate) bytes: usize,
}

/// The front door. What is behind it ends when it is dropped.
pub(crate) struct Gatherer {
    queue: mpsc::Sender<Job>,
}

impl Gatherer {
    /// Lets `store` store one group of requests after the other; it answers what became of each, in order. Those in a group are
    /// [alike](are_alike). Two groups at once would be two smaller ones, which cost more and take no less time.
    pub(crate) fn start<F>(bounds: Bounds, store: impl Fn(Vec<Request>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Answer>> + Send,
    {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let mut inbox = Inbox { jobs, set_aside: None };
        tokio::spawn(async move {
            while let Some(group) = inbox.next_group(bounds).await {
                let (requests, replies): (Vec<_>, Vec<_>) =
                    group.into_iter().map(|job| (job.request, job.reply)).unzip();
                for (reply, answer) in replies.into_iter().zip(store(requests).await) {
                    // Whoever asked may have left.
                    let _ = reply.send(answer);
                }
            }
        });
        Self { queue }
    }

    /// Has a batch stored. Once it is queued it is, even where the caller leaves.
    pub(crate) async fn accept(&self, batch: Batch, now: Timestamp) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { request: Request { batch, now }, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy("too many writes are waiting".into()),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Whoever was to answer has gone.
pub(crate) fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".into())
}

/// Whether two requests may be stored together: a process hardly ever has some that may not, and its store needs no more than one rule,
/// one holder and one version for a group.
fn are_alike(one: &Request, other: &Request) -> bool {
    let terms = |request: &Request| (request.batch.deduplicate, request.batch.holder, request.batch.catalogue);
    terms(one) == terms(other)
}

struct Inbox {
    jobs: mpsc::Receiver<Job>,
    /// What could not be stored together with what was taken before it.
    set_aside: Option<Job>,
}

impl Inbox {
    /// What is there of requests that are alike; waits for the first one.
    async fn next_group(&mut self, bounds: Bounds) -> Option<Vec<Job>> {
        let mut next = match self.set_aside.take() {
            None => self.jobs.recv().await,
            set_aside => set_aside,
        };
        let (mut deliveries, mut bytes) = (0, 0);
        let mut group: Vec<Job> = Vec::new();
        while let Some(job) = next.take() {
            if group.first().is_some_and(|first| !are_alike(&first.request, &job.request)) {
                self.set_aside = Some(job);
                break;
            }
            deliveries += job.request.deliveries();
            bytes += job.request.bytes();
            group.push(job);
            if group.len() < bounds.batches && deliveries < bounds.deliveries && bytes < bounds.bytes {
                next = self.jobs.try_recv().ok();
            }
        }
        (!group.is_empty()).then_some(group)
    }
}

impl Request {
    pub(crate) fn deliveries(&self) -> usize {
        self.batch.events.iter().map(|event| event.recipients.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.batch.events.iter().map(|new| new.event.payload.get().len()).sum()
    }
}
