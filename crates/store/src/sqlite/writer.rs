//! Group commit: one thread writes, and commits together whatever has gathered while it wrote the last group. One fsync thus
//! serves many writes, and the more come at once the fewer fsyncs each costs.

use std::{panic::AssertUnwindSafe, sync::mpsc, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::error::StoreError;

/// How many writes may wait before more are refused.
const QUEUE: usize = 8_192;

/// The most writes in one commit, so that the first of them does not wait long.
const GROUP: usize = 512;

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// The loss of power: it is on disk.
    Synced,
    /// The death of the process. It reaches the disk with the next synced commit or checkpoint.
    Relaxed,
}

/// A write. `run` works inside the group's transaction; `conclude` answers the caller after its end.
///
/// A job refuses before it writes. One that fails after it has written something fails with its whole group.
trait Job: Send {
    /// Answers whether the group can go on.
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError>;
    fn conclude(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<T, F> {
    job: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let Some(job) = self.job.take() else { return Ok(()) };
        let before = transaction.total_changes();
        let result = job(transaction);
        let has_written = transaction.is_autocommit() || transaction.total_changes() != before;
        match result {
            // A savepoint for each job would spare the others, and copy every page that each job touches. Jobs look before
            // they write, so that an error after a write is the store's own trouble and concerns the whole group.
            Err(error) if has_written => Err(error),
            result => {
                self.result = Some(result);
                Ok(())
            }
        }
    }

    fn conclude(self: Box<Self>, committed: Result<(), StoreError>) {
        let unanswered = || Err(StoreError::Unavailable("the write was interrupted".into()));
        let result = match (committed, self.result) {
            (Ok(()), result) => result.unwrap_or_else(unanswered),
            // What it found was as true before the failed commit as after it.
            (Err(_), Some(Err(error))) => Err(error),
            // That is this job's own trouble, or a neighbour's, which says nothing about what this one asked.
            (Err(StoreError::Full(reason)), _) => Err(StoreError::Full(reason)),
            (Err(error), _) => Err(StoreError::Unavailable(error.to_string())),
        };
        // Whoever asked may have left.
        let _ = self.reply.send(result);
    }
}

enum Message {
    Write(Durability, Box<dyn Job>),
    /// Give so many free pages back to the file system; not possible inside a transaction.
    Vacuum(i64),
    /// Close the connection, after what was queued before.
    Close(oneshot::Sender<()>),
}

/// The thread's front door.
pub(super) struct Writer {
    queue: mpsc::SyncSender<Message>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, inbox) = mpsc::sync_channel(QUEUE);
        thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || write_groups(connection, &inbox))
            .map_err(|error| StoreError::Unavailable(format!("no thread to write with: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs `job` in a transaction and answers when that has been committed. Once it is queued it runs, even where the caller
    /// leaves.
    pub(super) async fn run<T, F>(&self, durability: Durability, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Write { job: Some(job), result: None, reply });
        self.send(Message::Write(durability, write))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Gives up to `pages` free pages back to the file system, some time soon.
    pub(super) fn vacuum(&self, pages: i64) -> Result<(), StoreError> {
        self.send(Message::Vacuum(pages))
    }

    /// Closes the connection, after what was queued before. Later writes find the writer stopped.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Message::Close(reply)).is_ok() {
            // An error is as good an answer: the thread has ended.
            let _ = answer.await;
        }
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Busy("too many writes are waiting".into()),
            mpsc::TrySendError::Disconnected(_) => stopped(),
        })
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".into())
}

fn write_groups(mut connection: Connection, inbox: &mpsc::Receiver<Message>) {
    let mut synced = true;
    let mut group: Vec<Box<dyn Job>> = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut durability = Durability::Relaxed;
        let (mut vacuum, mut close) = (None, None);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write(wanted, job) => {
                    if wanted == Durability::Synced {
                        durability = wanted;
                    }
                    group.push(job);
                }
                Message::Vacuum(pages) => vacuum = Some(pages),
                Message::Close(reply) => close = Some(reply),
            }
            next = if close.is_none() && group.len() < GROUP { inbox.try_recv().ok() } else { None };
        }
        // A panic in a job is a bug of ours; it must not take everybody's writes with it.
        let committed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            set_synced(&connection, durability == Durability::Synced, &mut synced)?;
            if group.is_empty() { Ok(()) } else { commit(&mut connection, &mut group) }
        }))
        .unwrap_or_else(|_| Err(StoreError::Unavailable("a write failed inside".into())));
        if let Err(error) = &committed {
            tracing::error!(%error, "a group of {} writes was rolled back", group.len());
        }
        for job in group.drain(..) {
            job.conclude(committed.clone());
        }
        if let Some(pages) = vacuum
            && let Err(error) = connection.execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))
        {
            tracing::warn!(%error, "free pages could not be given back to the file system");
        }
        if let Some(reply) = close {
            // The last one to close a file puts its log into it and removes the log.
            drop(connection);
            let _ = reply.send(());
            return;
        }
    }
}

/// In WAL mode `NORMAL` leaves out the fsync at a commit; the next one under `FULL` covers what went before.
fn set_synced(connection: &Connection, wanted: bool, current: &mut bool) -> Result<(), StoreError> {
    if wanted != *current {
        connection.pragma_update(None, "synchronous", if wanted { "FULL" } else { "NORMAL" })?;
        *current = wanted;
    }
    Ok(())
}

fn commit(connection: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        job.run(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(folder: &tempfile::TempDir) -> Writer {
        let connection = Connection::open(folder.path().join("w.db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE numbers (n INTEGER PRIMARY KEY)").unwrap();
        Writer::start(connection).unwrap()
    }

    async fn insert(writer: &Writer, n: i64, then: Result<(), StoreError>) -> Result<(), StoreError> {
        writer
            .run(Durability::Synced, move |transaction| {
                then?;
                transaction.execute("INSERT INTO numbers VALUES (?)", [n])?;
                Ok(())
            })
            .await
    }

    async fn count(writer: &Writer) -> i64 {
        writer
            .run(Durability::Relaxed, |t| Ok(t.query_row("SELECT COUNT(*) FROM numbers", [], |row| row.get(0))?))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_refused_write_leaves_nothing_and_spares_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let (a, b, c) = tokio::join!(
            insert(&writer, 1, Ok(())),
            insert(&writer, 2, Err(StoreError::NotFound)),
            insert(&writer, 3, Ok(()))
        );
        assert!(a.is_ok() && matches!(b, Err(StoreError::NotFound)) && c.is_ok());
        assert!(matches!(insert(&writer, 3, Ok(())).await, Err(StoreError::Conflict)));
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn a_write_that_fails_half_way_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let result: Result<(), _> = writer
            .run(Durability::Synced, |transaction| {
                transaction.execute("INSERT INTO numbers VALUES (1)", [])?;
                Err(StoreError::Unavailable("half way".into()))
            })
            .await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))));
        assert_eq!(count(&writer).await, 0);
    }

    #[tokio::test]
    async fn a_panic_in_a_write_is_an_error_and_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder);
        let result: Result<(), _> = writer.run(Durability::Synced, |_| panic!("a bug")).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))));
        insert(&writer, 1, Ok(())).await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }
}
