//! The embedded store: one file, one writing thread that commits in groups, some reading connections.
//!
//! - [`writer`]: the thread, its queue, group commit; [`known`]: what one write needs not read again.
//! - [`readers`]: connections for what only reads.
//! - [`engine`], [`catalogue`], [`history`]: the traits; [`accept`], [`work`], [`outcomes`] and [`lanes`] do the engine's work.
//! - [`fresh`]: what is sent as soon as it is accepted, and written when it has ended; [`listing`]: the lists of subscriptions.
//! - [`transfer`]: giving all away ([`export`]) and taking it in ([`import`]).
//! - [`schema`]: connections, pragmas, migrations. [`location`]: the URL and the lock of the only server.

mod accept;
mod access;
mod bulk;
mod cancellation;
mod catalogue;
mod documents;
mod engine;
mod export;
mod fresh;
mod history;
mod import;
mod known;
mod lanes;
mod listing;
mod location;
mod notices;
mod outcomes;
mod pull;
mod readers;
mod redelivery;
mod rows;
mod schema;
mod transfer;
mod work;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub use location::{ServerLock, SqliteLocation};
use rusqlite::{Connection, Transaction};
use tokio::time::Instant;

use self::{
    known::Known,
    readers::Readers,
    writer::{Durability, Manner, Writer},
};
use crate::{Limits, error::StoreError, fullness::Fullness};

/// The embedded store.
pub(crate) struct SqliteStore {
    writer: Writer,
    readers: Readers,
    limits: Limits,
    path: PathBuf,
    fullness: Fullness,
    /// When the disk was last seen to have room.
    had_room: Mutex<Option<Instant>>,
}

/// How long a disk that had room is taken to have some: too short for what is written meanwhile to count.
const LOOK_AT_DISK_EVERY: Duration = Duration::from_millis(50);

impl SqliteStore {
    /// Opens the store, making its folder, its file and its tables where need be.
    pub(crate) async fn open(location: &SqliteLocation, limits: Limits) -> Result<Self, StoreError> {
        let path = location.path().to_owned();
        let (writer, readers) = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
                let connection = schema::open_for_writing(&path, limits)?;
                let readers = Readers::open(&path)?;
                Ok((Writer::start(connection)?, readers))
            })
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))??
        };
        Ok(Self { writer, readers, limits, path, fullness: Fullness::default(), had_room: Mutex::default() })
    }

    /// Writes so that what it answers is on disk.
    async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_unknowing(Durability::Synced, job).await
    }

    /// Writes what may be lost with the machine's power, though not with the process.
    async fn write_relaxed<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_unknowing(Durability::Relaxed, job).await
    }

    /// Writes deliveries, or takes some away, that fresh events may have.
    async fn write_deliveries<T, F>(&self, durability: Durability, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let forgetting = |transaction: &Transaction<'_>, known: &mut Known| {
            known.forget();
            known.listing.look_for_all();
            job(transaction)
        };
        self.write_on(durability, forgetting).await
    }

    async fn write_unknowing<T, F>(&self, durability: Durability, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let forgetting = |transaction: &Transaction<'_>, known: &mut Known| {
            known.forget();
            job(transaction)
        };
        self.write_on(durability, forgetting).await
    }

    /// Writes on from what is known of earlier writes, and keeps it true: for what is written with every event.
    async fn write_on<T, F>(&self, manner: impl Into<Manner>, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, &mut Known) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.run(manner, job).await
    }

    /// Refuses events while the disk is nearly full, so that there is room to record what becomes of those accepted.
    fn check_free_disk(&self) -> Result<(), StoreError> {
        let wanted = self.limits.min_free_disk;
        if wanted == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut had_room = self.had_room.lock().unwrap_or_else(PoisonError::into_inner);
        if had_room.is_some_and(|seen| now.duration_since(seen) < LOOK_AT_DISK_EVERY) {
            return Ok(());
        }
        *had_room = None;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = rustix::fs::statvfs(folder.unwrap_or(Path::new(".")))
            .map_err(|error| StoreError::Unavailable(format!("the disk does not tell its free space: {error}")))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < wanted {
            return Err(StoreError::Full(format!("{free} bytes are free on the disk and {wanted} must be")));
        }
        *had_room = Some(now);
        Ok(())
    }

    async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.run(job).await
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match &error {
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound,
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full(error.to_string()),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(error.to_string()),
                ErrorCode::ConstraintViolation => Self::Conflict,
                _ => Self::Unavailable(error.to_string()),
            },
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
