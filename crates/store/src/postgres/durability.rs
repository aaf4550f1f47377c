//! What the server is set up to keep.

use tokio_postgres::{Row, types::Type};

use super::{
    pool::{Pool, Statement},
    rows::{get, single},
};
use crate::{Settings, error::StoreError, history::Promise, location::StoreKind};

/// The session's own setting, and not that of the transaction which asks.
const SETTINGS: Statement = Statement {
    sql: "SELECT current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
              (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'), current_setting('synchronous_standby_names', true),
              pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
              current_setting('server_version_num')::int4",
    types: &[],
};
/// A write that changes nothing.
const WRITE: Statement =
    Statement { sql: "UPDATE hookcast.positions SET next = next RETURNING next", types: &[] as &[Type] };

/// The oldest version of PostgreSQL whose partitions and statistics the store relies on.
const OLDEST: i32 = 140_000;

/// What matters of the server's settings.
pub(super) struct Server {
    fsync: bool,
    full_page_writes: bool,
    synchronous_commit: String,
    standbys: String,
}

impl Server {
    /// Asks the server.
    ///
    /// # Errors
    /// It is too old, or takes no writes.
    pub(super) async fn ask(pool: &Pool) -> Result<Self, StoreError> {
        let rows = pool.query(&SETTINGS, &[]).await?;
        let row: &Row = rows.first().ok_or(StoreError::NotFound)?;
        let version: i32 = get(row, 5)?;
        if version < OLDEST {
            return Err(StoreError::Misconfigured(format!(
                "the database is PostgreSQL {} and must be {} or later",
                version / 10_000,
                OLDEST / 10_000
            )));
        }
        if get(row, 4)? {
            return Err(StoreError::Unavailable(
                "the database takes no writes: it is a standby or set to read only; with several hosts in the URL, \
                 `target_session_attrs=read-write` finds the one that does"
                    .into(),
            ));
        }
        Ok(Self {
            fsync: get(row, 0)?,
            full_page_writes: get(row, 1)?,
            synchronous_commit: get(row, 2)?,
            standbys: get::<Option<String>>(row, 3)?.unwrap_or_default(),
        })
    }

    /// Why the crash of its machine may lose what it has committed, and what to set.
    fn risk(&self) -> Option<&'static str> {
        if !self.fsync {
            return Some("the database runs with fsync=off and may lose everything in a crash: set fsync=on");
        }
        if !self.full_page_writes {
            return Some("the database runs with full_page_writes=off and may be damaged in a crash: set it to on");
        }
        None
    }

    /// Whether a commit has to be made durable by each transaction itself.
    pub(super) fn commits_early(&self) -> bool {
        self.synchronous_commit == "off"
    }

    /// Refuses a server that would lose what it was given, where that is not wanted.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), StoreError> {
        match self.risk() {
            Some(risk) if settings.require_durable => Err(StoreError::Misconfigured(format!(
                "{risk}, or accept the loss with database.require_durable=false"
            ))),
            Some(risk) => {
                tracing::warn!("{risk}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn promise(&self) -> Promise {
        let waits_for_standbys = matches!(self.synchronous_commit.as_str(), "on" | "remote_apply");
        let survives_failover = self.risk().is_none() && !self.standbys.is_empty() && waits_for_standbys;
        let mut remarks: Vec<String> = self.risk().map(Into::into).into_iter().collect();
        if !survives_failover {
            remarks.push(
                "accepted events survive the restart of this database and, since it waits for no standby \
                 (synchronous_standby_names), not its replacement by another one"
                    .into(),
            );
        }
        Promise { store: StoreKind::Postgres, survives_restart: self.risk().is_none(), survives_failover, remarks }
    }
}

/// Whether the server answers and takes writes; what it promises.
pub(super) async fn check(pool: &Pool) -> Result<Promise, StoreError> {
    let server = Server::ask(pool).await?;
    single::<i64>(&pool.query(&WRITE, &[]).await?)?;
    Ok(server.promise())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(fsync: bool, synchronous_commit: &str, standbys: &str) -> Server {
        let (synchronous_commit, standbys) = (synchronous_commit.into(), standbys.into());
        Server { fsync, full_page_writes: true, synchronous_commit, standbys }
    }

    #[test]
    fn only_a_standby_that_is_waited_for_survives_a_failover() {
        for (commit, standbys, survives) in [
            ("on", "", false),
            ("on", "*", true),
            ("remote_apply", "b", true),
            ("local", "b", false),
            ("off", "b", false),
        ] {
            let promise = server(true, commit, standbys).promise();
            assert_eq!((promise.survives_restart, promise.survives_failover), (true, survives), "{commit} {standbys}");
        }
    }

    #[test]
    fn a_server_that_may_lose_everything_is_refused_unless_that_is_accepted() {
        let (strict, lax) = (Settings::default(), Settings { require_durable: false, ..Settings::default() });
        let risky = server(false, "on", "*");
        assert!(risky.check(&strict).unwrap_err().to_string().contains("set fsync=on"));
        assert!(risky.check(&lax).is_ok());
        assert_eq!((risky.promise().survives_restart, risky.promise().survives_failover), (false, false));
        assert!(server(true, "off", "").check(&strict).is_ok());
    }
}
