//! Connections as the store wants them, and the tables' versions.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::location::make_folder;
use crate::{Limits, error::StoreError};

/// The migrations in order. The file's `user_version` is the number of the last one that it has.
const MIGRATIONS: [(u32, &str); 8] = [
    (1, include_str!("migrations/0001_initial.sql")),
    (2, include_str!("migrations/0002_copying.sql")),
    (3, include_str!("migrations/0003_trust.sql")),
    (4, include_str!("migrations/0004_tokens.sql")),
    (5, include_str!("migrations/0005_deleted_accounts.sql")),
    (6, include_str!("migrations/0006_documents.sql")),
    (7, include_str!("migrations/0007_extra.sql")),
    (8, include_str!("migrations/0008_fresh.sql")),
];

/// Says in the file's header that it is Hookcast's: "Hook".
const APPLICATION_ID: i32 = 0x486f_6f6b;

/// How many prepared statements a connection keeps: more than there are different ones.
const STATEMENTS: usize = 96;

/// Bytes of the database that a connection caches.
const CACHE_KIB: i64 = 8 * 1024;

/// The pause before a busy file is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Opens the connection that writes, and brings the file to the newest version.
pub(super) fn open_for_writing(path: &Path, limits: Limits) -> Result<Connection, StoreError> {
    make_folder(path)?;
    make_file(path)?;
    let mut connection = Connection::open_with_flags(path, flags() | OpenFlags::SQLITE_OPEN_CREATE)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    connection.busy_timeout(limits.busy_timeout)?;
    keep_statements(&connection)?;
    // Has an effect only before the first table is made.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode = switch_to_wal(&connection, limits.busy_timeout)?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!("{}: no write-ahead log here, but `{mode}`", path.display())));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Makes the file, for its owner's eyes only: it holds the secrets that sign. What SQLite puts beside it gets the same mode.
fn make_file(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Switches to the write-ahead log and answers the mode that the file has then. Where two processes do so at once, SQLite
/// tells one that the file is busy without the wait that `busy_timeout` asks for.
fn switch_to_wal(connection: &Connection, busy_timeout: Duration) -> Result<String, StoreError> {
    let begun = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < busy_timeout =>
            {
                thread::sleep(BUSY_PAUSE);
            }
            answered => return Ok(answered?),
        }
    }
}

/// Opens a connection that reads.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags())?;
    connection.busy_timeout(Duration::from_secs(10))?;
    keep_statements(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB / 4)?;
    Ok(connection)
}

/// Keeps statements prepared, and their plans whatever they are asked about: SQLite would plan some anew for each value.
fn keep_statements(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Applies the migrations that the file does not have yet. Of two processes that start at once, one does it and the other
/// finds it done: the version is read under the lock under which it is changed.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let newest = MIGRATIONS.last().map_or(0, |(number, _)| *number);
    if version > newest {
        return Err(StoreError::Corrupt(format!(
            "its tables are of version {version} and this Hookcast knows {newest} at the most: run a newer Hookcast"
        )));
    }
    let application: i32 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 = transaction.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StoreError::Corrupt(
            "it is the database of something else: give Hookcast a file of its own".into(),
        ));
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    for (_, migration) in MIGRATIONS.iter().filter(|(number, _)| *number > version) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_migrated_once_and_give_space_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/down/hookcast.db");
        for _ in 0..2 {
            let connection = open_for_writing(&path, Limits::default()).unwrap();
            let pragma =
                |name: &str| -> i64 { connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap() };
            assert_eq!(pragma("user_version"), 8);
            assert_eq!(pragma("auto_vacuum"), 2);
            assert_eq!(pragma("synchronous"), 2);
        }
    }

    #[test]
    fn the_token_of_an_older_account_gets_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookcast.db");
        let older = Connection::open(&path).unwrap();
        for (_, migration) in &MIGRATIONS[..3] {
            older.execute_batch(migration).unwrap();
        }
        older.pragma_update(None, "user_version", 3).unwrap();
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.execute_batch("INSERT INTO accounts VALUES (7, x'01', 'ada', NULL, x'02', 5)").unwrap();
        drop(older);
        let token: (i64, String, Vec<u8>, String, i64, Option<i64>) = open_for_writing(&path, Limits::default())
            .unwrap()
            .query_row("SELECT account, name, hash, scope, created_at, expires_at FROM tokens", [], |row| {
                row.try_into()
            })
            .unwrap();
        assert_eq!(token, (7, "default".into(), vec![2], "write".into(), 5, None));
    }

    #[test]
    fn a_file_from_the_future_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookcast.db");
        open_for_writing(&path, Limits::default()).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = open_for_writing(&path, Limits::default()).unwrap_err();
        assert!(error.to_string().contains("run a newer Hookcast"), "{error}");
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/hookcast.db");
        let _connection = open_for_writing(&path, Limits::default()).unwrap();
        for (name, mode) in [("new", 0o700), ("new/hookcast.db", 0o600), ("new/hookcast.db-wal", 0o600)] {
            let permissions = std::fs::metadata(folder.path().join(name)).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn the_database_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let error = open_for_writing(&path, Limits::default()).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        let tables: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookcast.db");
        std::fs::write(&path, "these are not the pages you are looking for".repeat(100)).unwrap();
        assert!(matches!(open_for_writing(&path, Limits::default()), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn many_processes_may_start_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookcast.db");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| open_for_writing(&path, Limits::default()).unwrap());
            }
        });
    }
}
