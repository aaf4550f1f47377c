//! Group commit: one thread writes, and commits together whatever has gathered while it wrote the last group. One fsync thus
//! serves many writes, and the more come at once the fewer fsyncs each costs.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::mpsc, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::known::Known;
use crate::error::StoreError;

/// How many writes may wait before more are refused; as many again may be put off.
const QUEUE: usize = 8_192;

/// The most writes in one commit, so that the first of them does not wait long; and the rows after which it takes in no more of
/// those that bring many. They wait for the next one, and what is small goes past them: however much comes in, what becomes of
/// deliveries is recorded meanwhile, and so they go on.
const GROUP: usize = 512;
const ROWS: usize = 1_024;

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
    fn run(&mut self, transaction: &Transaction<'_>, known: &mut Known) -> Result<(), StoreError>;
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
    F: FnOnce(&Transaction<'_>, &mut Known) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>, known: &mut Known) -> Result<(), StoreError> {
        let Some(job) = self.job.take() else { return Ok(()) };
        let before = transaction.total_changes();
        let result = job(transaction, known);
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

/// How a write is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) durability: Durability,
    /// About how many rows it adds, if they are many.
    pub(super) rows: usize,
}

impl From<Durability> for Manner {
    fn from(durability: Durability) -> Self {
        Self { durability, rows: 0 }
    }
}

enum Message {
    Write(Manner, Box<dyn Job>),
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
            .spawn(move || write_groups(connection, inbox))
            .map_err(|error| StoreError::Unavailable(format!("no thread to write with: {error}")))?;
        Ok(Self { queue })
    }

    /// Runs `job` in a transaction and answers when that has been committed. Once it is queued it runs, even where the caller
    /// leaves.
    pub(super) async fn run<T, F>(&self, manner: impl Into<Manner>, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, &mut Known) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Write { job: Some(job), result: None, reply });
        self.send(Message::Write(manner.into(), write))?;
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

/// What is done together.
#[derive(Default)]
struct Group {
    jobs: Vec<Box<dyn Job>>,
    rows: usize,
    /// One of them is to be on disk.
    is_synced: bool,
    vacuum: Option<i64>,
    close: Option<oneshot::Sender<()>>,
}

impl Group {
    fn add(&mut self, message: Message) {
        match message {
            Message::Write(manner, job) => {
                self.is_synced |= manner.durability == Durability::Synced;
                self.rows += manner.rows;
                self.jobs.push(job);
            }
            Message::Vacuum(pages) => self.vacuum = Some(pages),
            Message::Close(reply) => self.close = Some(reply),
        }
    }

    fn is_full(&self) -> bool {
        self.close.is_some() || self.jobs.len() >= GROUP
    }
}

/// What is to be written, in its order but for what is put off.
struct Inbox {
    messages: mpsc::Receiver<Message>,
    /// What brings many rows, and what must not go past that.
    put_off: VecDeque<Message>,
}

impl Inbox {
    /// What is there, as much as goes into one commit; waits until something is.
    fn next_group(&mut self) -> Option<Group> {
        let mut group = Group::default();
        if self.put_off.is_empty() {
            group.add(self.messages.recv().ok()?);
            // Whoever else is about to write and waits for a processor goes first, and comes with this group: the more it has, the
            // less each costs. Where nobody waits this takes no time.
            thread::yield_now();
        }
        while !group.is_full()
            && group.rows < ROWS
            && let Some(message) = self.put_off.pop_front()
        {
            group.add(message);
        }
        while !group.is_full()
            && self.put_off.len() < QUEUE
            && let Ok(message) = self.messages.try_recv()
        {
            let is_small = matches!(&message, Message::Write(Manner { rows: 0, .. }, _) | Message::Vacuum(_));
            if is_small || self.put_off.is_empty() && group.rows < ROWS {
                group.add(message);
            } else {
                self.put_off.push_back(message);
            }
        }
        Some(group)
    }
}

fn write_groups(mut connection: Connection, messages: mpsc::Receiver<Message>) {
    let mut is_synced = true;
    let mut known = Known::default();
    let mut inbox = Inbox { messages, put_off: VecDeque::new() };
    while let Some(mut group) = inbox.next_group() {
        // A panic in a job is a bug of ours; it must not take everybody's writes with it.
        let committed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            set_synced(&connection, group.is_synced, &mut is_synced)?;
            if group.jobs.is_empty() { Ok(()) } else { commit(&mut connection, &mut known, &mut group.jobs) }
        }))
        .unwrap_or_else(|_| Err(StoreError::Unavailable("a write failed inside".into())));
        if let Err(error) = &committed {
            tracing::error!(%error, "a group of {} writes was rolled back", group.jobs.len());
            known.lose();
        }
        for job in group.jobs {
            job.conclude(committed.clone());
        }
        list(&mut connection, &mut known, &mut is_synced);
        if let Some(pages) = group.vacuum
            && let Err(error) = connection.execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))
        {
            tracing::warn!(%error, "free pages could not be given back to the file system");
        }
        if let Some(reply) = group.close {
            // The last one to close a file puts its log into it and removes the log.
            drop(connection);
            let _ = reply.send(());
            return;
        }
    }
}

/// Lists deliveries when there are enough, while nobody waits for it.
fn list(connection: &mut Connection, known: &mut Known, is_synced: &mut bool) {
    if !known.listing.is_due() {
        return;
    }
    let mut list = || -> Result<(), StoreError> {
        set_synced(connection, false, is_synced)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        known.listing.list(&transaction)?;
        Ok(transaction.commit()?)
    };
    if let Err(error) = list() {
        tracing::warn!(%error, "deliveries cannot be listed now; it is tried again");
        known.listing.look_for_all();
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

fn commit(connection: &mut Connection, known: &mut Known, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    known.follow_others(&transaction)?;
    for job in jobs {
        job.run(&transaction, known)?;
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
            .run(Durability::Synced, move |transaction, _| {
                then?;
                transaction.execute("INSERT INTO numbers VALUES (?)", [n])?;
                Ok(())
            })
            .await
    }

    async fn count(writer: &Writer) -> i64 {
        writer
            .run(Durability::Relaxed, |t, _| Ok(t.query_row("SELECT COUNT(*) FROM numbers", [], |row| row.get(0))?))
            .await
            .unwrap()
    }

    struct Nothing;

    impl Job for Nothing {
        fn run(&mut self, _: &Transaction<'_>, _: &mut Known) -> Result<(), StoreError> {
            Ok(())
        }

        fn conclude(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    #[test]
    fn what_is_small_goes_past_what_brings_many_rows_and_the_end_past_nothing() {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let mut inbox = Inbox { messages, put_off: VecDeque::new() };
        let write = |rows| {
            let manner = Manner { durability: Durability::Relaxed, rows };
            queue.try_send(Message::Write(manner, Box::new(Nothing))).unwrap();
        };
        for rows in [600, 600, 600, 5_000, 0, 1] {
            write(rows);
        }
        queue.try_send(Message::Close(oneshot::channel().0)).unwrap();
        write(0);
        let mut groups = Vec::new();
        loop {
            let group = inbox.next_group().unwrap();
            groups.push((group.jobs.len(), group.rows));
            if group.close.is_some() {
                break;
            }
        }
        assert_eq!(groups, [(4, 1_200), (2, 5_600), (1, 1)]);
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
            .run(Durability::Synced, |transaction, _| {
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
        let result: Result<(), _> = writer.run(Durability::Synced, |_, _| panic!("a bug")).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))));
        insert(&writer, 1, Ok(())).await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }
}
