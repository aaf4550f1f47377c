//! Connections and transactions.
//!
//! A transaction here sends several statements at once and waits for all of their answers together, its beginning and its end
//! among them: what counts on a network is how often one waits. One that is dropped before its end closes its connection, so
//! that the server rolls it back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::future::try_join_all;
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};

use super::connect::Connector;
use crate::error::StoreError;

/// How long a connection may be waited for, be it for a free one or for a new one.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long the server may take for what is sent at once. Whoever is cut off from it must not wait for ever.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How often a transaction that lost against another one is tried in all.
const TRIES: usize = 5;

/// SQL with the types of its parameters, so that the server is never asked for them.
#[derive(Debug)]
pub(super) struct Statement {
    pub sql: &'static str,
    pub types: &'static [Type],
}

/// A statement and its parameters.
pub(super) type Call<'a> = (&'a Statement, &'a [&'a (dyn ToSql + Sync)]);

/// What the end of a transaction means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// What it wrote is on disk, and on the standbys that the server waits for.
    Durable,
    /// It will be soon; the loss of the server's machine may undo it.
    Relaxed,
}

/// Connections to a server.
#[derive(Clone)]
pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    /// Whether statements are prepared once for each connection.
    prepared: bool,
    /// What begins a durable transaction, and one that is not.
    durable: String,
    relaxed: String,
}

/// Plans are made for tables as they will be, and not as they were when the statement was first used: by index, always.
/// What a node has given up, or was cut off from, the server gives up too, for others wait for its locks.
const SETTINGS: [&str; 5] = [
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "jit = off",
    "statement_timeout = '15s'",
    "idle_in_transaction_session_timeout = '15s'",
];

/// SQL that makes the settings, for the session or for the transaction.
fn set(scope: &str) -> String {
    SETTINGS.map(|setting| format!("SET {scope} {setting}; ")).concat()
}

impl Pool {
    pub(super) fn new(connector: &Connector, connections: usize, prepared: bool) -> Result<Self, StoreError> {
        let recycling_method = RecyclingMethod::Fast;
        let manager =
            Manager::from_config(connector.config.clone(), connector.tls.clone(), ManagerConfig { recycling_method });
        let within = Some(CONNECT_WITHIN);
        let builder = deadpool_postgres::Pool::builder(manager);
        // A pooler gives the next transaction another session.
        let (builder, begin) = if prepared {
            let set_up = Hook::async_fn(|client: &mut ClientWrapper, _| {
                Box::pin(async {
                    // The pool's own limits leave this step out.
                    let settings = set("SESSION");
                    match tokio::time::timeout(CONNECT_WITHIN, client.batch_execute(&settings)).await {
                        Ok(result) => result.map_err(HookError::Backend),
                        Err(_) => Err(HookError::message("the database did not answer to a new connection")),
                    }
                })
            });
            (builder.post_create(set_up), "BEGIN".to_owned())
        } else {
            (builder, format!("BEGIN; {}", set("LOCAL")))
        };
        let pool = builder
            .max_size(connections)
            .timeouts(Timeouts { wait: within, create: within, recycle: within })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Misconfigured(error.to_string()))?;
        Ok(Self { pool, prepared, relaxed: format!("{begin}; SET LOCAL synchronous_commit = off"), durable: begin })
    }

    /// Makes durable transactions so even where the server does not by itself.
    pub(super) fn insist_on_durability(&mut self) {
        self.durable += "; SET LOCAL synchronous_commit = on";
    }

    /// A transaction, which begins with its first statement.
    pub(super) async fn begin(&self, commit: Commit) -> Result<Transaction, StoreError> {
        let connection = self.pool.get().await.map_err(unavailable)?;
        let begin = match commit {
            Commit::Durable => self.durable.clone(),
            Commit::Relaxed => self.relaxed.clone(),
        };
        let (prepared, has_begun) = (self.prepared, AtomicBool::new(false));
        Ok(Transaction { connection: Some(connection), begin, prepared, has_begun })
    }

    /// Runs one statement outside of a transaction of several.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut transaction = self.begin(Commit::Relaxed).await?;
        let mut rows = transaction.finish(&[(statement, parameters)]).await?;
        Ok(rows.pop().unwrap_or_default())
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A transaction on a connection of its own.
pub(super) struct Transaction {
    /// Taken at the end; what is left at the drop is closed.
    connection: Option<Object>,
    begin: String,
    prepared: bool,
    has_begun: AtomicBool,
}

impl Transaction {
    /// Runs a statement.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.all(&[(statement, parameters)]).await?.pop().unwrap_or_default())
    }

    /// Runs statements one after the other, sent at once; their rows.
    pub(super) async fn all(&self, calls: &[Call<'_>]) -> Result<Vec<Vec<Row>>, StoreError> {
        self.send(calls, None).await
    }

    /// Runs statements and commits, sent at once; their rows.
    pub(super) async fn finish(&mut self, calls: &[Call<'_>]) -> Result<Vec<Vec<Row>>, StoreError> {
        let rows = self.send(calls, Some("COMMIT")).await?;
        // The end is behind it: the next one may have the connection.
        drop(self.connection.take());
        Ok(rows)
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.finish(&[]).await.map(drop)
    }

    /// Takes back what was written and keeps the connection.
    pub(super) async fn rollback(mut self) -> Result<(), StoreError> {
        if self.has_begun.load(Ordering::Relaxed) {
            self.send(&[], Some("ROLLBACK")).await?;
        }
        drop(self.connection.take());
        Ok(())
    }

    /// Runs SQL without parameters, several statements of it.
    pub(super) async fn script(&self, sql: &str) -> Result<(), StoreError> {
        self.send(&[], Some(sql)).await.map(drop)
    }

    /// How many rows a table has, whose name is one of ours.
    pub(super) async fn count(&self, table: &str) -> Result<i64, StoreError> {
        let Some(connection) = &self.connection else { return Err(ended()) };
        connection.batch_execute("SET LOCAL statement_timeout = 0").await?;
        let sql = format!("SELECT count(*) FROM {table}");
        let rows = connection.query_typed(&sql, &[]).await?;
        super::rows::single(&rows)
    }

    async fn send(&self, calls: &[Call<'_>], last: Option<&str>) -> Result<Vec<Vec<Row>>, StoreError> {
        let Some(connection) = &self.connection else { return Err(ended()) };
        let sent = async {
            let mut statements = Vec::with_capacity(calls.len());
            if self.prepared {
                // Beforehand, so that below everything is sent in its order.
                for (statement, _) in calls {
                    statements.push(connection.prepare_typed_cached(statement.sql, statement.types).await?);
                }
            }
            let begin = if self.has_begun.swap(true, Ordering::Relaxed) { None } else { Some(self.begin.as_str()) };
            let text = async |sql: Option<&str>| match sql {
                Some(sql) => connection.batch_execute(sql).await,
                None => Ok(()),
            };
            // Each is sent when it is first polled, which here is in the order in which they stand.
            let answers =
                calls.iter().enumerate().map(async |(index, (statement, parameters))| match statements.get(index) {
                    Some(prepared) => connection.query(prepared, parameters).await,
                    None => {
                        let typed: Vec<_> = parameters.iter().copied().zip(statement.types.iter().cloned()).collect();
                        connection.query_typed(statement.sql, &typed).await
                    }
                });
            let (_, rows, ()) = tokio::try_join!(biased; text(begin), try_join_all(answers), text(last))?;
            Ok::<_, tokio_postgres::Error>(rows)
        };
        match tokio::time::timeout(ANSWER_WITHIN, sent).await {
            Ok(rows) => Ok(rows?),
            Err(_) => Err(StoreError::Unavailable(format!("the database did not answer within {ANSWER_WITHIN:?}"))),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.has_begun.load(Ordering::Relaxed)
        {
            // Out of the pool, and so closed.
            drop(Object::take(connection));
        }
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("the transaction has ended".into())
}

fn unavailable(error: deadpool_postgres::PoolError) -> StoreError {
    use deadpool_postgres::{PoolError, TimeoutType};
    match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(TimeoutType::Wait) => {
            StoreError::Busy(format!("no connection to the database was free for {CONNECT_WITHIN:?}"))
        }
        PoolError::Timeout(_) => {
            StoreError::Unavailable(format!("the database could not be connected to within {CONNECT_WITHIN:?}"))
        }
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// Tries a transaction again that the server ended for the sake of another one.
pub(super) async fn retrying<T, E, F>(mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsStoreError,
{
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.as_store_error().is_some_and(is_lost_race) => {}
            result => return result,
        }
    }
    attempt().await
}

/// An error that may be the store's.
pub(super) trait AsStoreError {
    fn as_store_error(&self) -> Option<&StoreError>;
}

impl AsStoreError for StoreError {
    fn as_store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// The words with which a lost race is told from other trouble; [`StoreError`] knows no SQL.
const LOST_RACE: &str = "another transaction went first";

fn is_lost_race(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(reason) if reason == LOST_RACE)
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Unavailable(described(&error));
        };
        match code {
            &SqlState::UNIQUE_VIOLATION => Self::Conflict,
            &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::LOCK_NOT_AVAILABLE => {
                Self::Unavailable(LOST_RACE.into())
            }
            &SqlState::DISK_FULL => Self::Full(described(&error)),
            &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED | &SqlState::UNDEFINED_TABLE => {
                Self::Corrupt(described(&error))
            }
            &SqlState::INVALID_PASSWORD
            | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | &SqlState::INVALID_CATALOG_NAME
            | &SqlState::INSUFFICIENT_PRIVILEGE => Self::Misconfigured(described(&error)),
            _ => Self::Unavailable(described(&error)),
        }
    }
}

/// The error and what caused it, in one line.
fn described(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
