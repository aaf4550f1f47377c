//! Connections for what only reads. In WAL mode they neither wait for the writer nor hold it up.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use crate::error::StoreError;

const CONNECTIONS: usize = 4;

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| schema::open_for_reading(path)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Runs `job` in one consistent view of the store.
    pub(super) async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| closed(&error))?;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            // Goes with the job, which runs to its end even where its caller has left.
            let _permit = permit;
            let connection = lock(&idle).pop().ok_or_else(|| closed(&"it is closed"))?;
            let borrowed = Borrowed { connection: Some(connection), idle: &idle };
            let Some(connection) = &borrowed.connection else { return Err(closed(&"it is closed")) };
            let view = connection.unchecked_transaction()?;
            job(&view)
        })
        .await
        .map_err(|error| closed(&error))?
    }

    /// Lets what is being read end, and closes the connections.
    pub(super) async fn close(&self) {
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        if self.permits.acquire_many(all).await.is_ok() {
            lock(&self.idle).clear();
        }
    }
}

/// A connection that goes back where it came from, even if its job panics.
struct Borrowed<'a> {
    connection: Option<Connection>,
    idle: &'a Mutex<Vec<Connection>>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        lock(self.idle).extend(self.connection.take());
    }
}

fn lock(connections: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}
