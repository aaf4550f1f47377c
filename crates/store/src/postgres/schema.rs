//! The tables' versions.

use tokio_postgres::types::Type;

use super::pool::{Commit, Pool, Statement};
use crate::error::StoreError;

/// The migrations in order, each with its number and the oldest version of the tables that a node may know to work on them
/// afterwards. Two neighbouring versions of Hookcast run side by side: a migration adds what the older one need not know, and
/// the next but one takes away what nobody uses any more.
const MIGRATIONS: [(i32, i32, &str); 7] = [
    (1, 1, include_str!("migrations/0001_initial.sql")),
    (2, 1, include_str!("migrations/0002_copying.sql")),
    // A node that knows nothing of order and breakers breaks both, and cannot read sealed secrets.
    (3, 3, include_str!("migrations/0003_trust.sql")),
    // A node that knows one token of an account would make accounts without any.
    (4, 4, include_str!("migrations/0004_tokens.sql")),
    (5, 4, include_str!("migrations/0005_deleted_accounts.sql")),
    (6, 4, include_str!("migrations/0006_documents.sql")),
    // A node that knows nothing of them sends what is scheduled at once, and what is for one account to all.
    (7, 7, include_str!("migrations/0007_extra.sql")),
];

const VERSION: Statement =
    Statement { sql: "SELECT version, readable_by FROM hookcast.schema ORDER BY version DESC LIMIT 1", types: &[] };
const NOTE: Statement = Statement {
    sql: "INSERT INTO hookcast.schema (version, readable_by) VALUES ($1, $2)",
    types: &[Type::INT4, Type::INT4],
};
const IS_THERE: Statement = Statement { sql: "SELECT to_regclass('hookcast.schema') IS NOT NULL", types: &[] };

const BEGINNING: &str = "CREATE SCHEMA IF NOT EXISTS hookcast;
     CREATE TABLE IF NOT EXISTS hookcast.schema (
         version     integer PRIMARY KEY,
         -- The oldest version that a node may know to work on these tables.
         readable_by integer NOT NULL
     )";

/// Brings the tables to the newest version. Of several nodes that start at once, one does it and the others find it done.
pub(super) async fn migrate(pool: &Pool) -> Result<(), StoreError> {
    let transaction = pool.begin(Commit::Durable).await?;
    transaction.script(super::locks::MIGRATION).await?;
    let is_there: bool = transaction.query(&IS_THERE, &[]).await?.first().map_or(Ok(false), |row| row.try_get(0))?;
    if !is_there {
        transaction.script(BEGINNING).await?;
    }
    let version = transaction.query(&VERSION, &[]).await?;
    let (version, readable_by) = match version.first() {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, 0),
    };
    check_version(version, readable_by, newest())?;
    for (number, readable_by, sql) in MIGRATIONS.iter().filter(|(number, ..)| *number > version) {
        transaction.script(sql).await?;
        transaction.query(&NOTE, &[number, readable_by]).await?;
    }
    transaction.commit().await
}

/// The version that this node knows.
pub(super) fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |(number, ..)| *number)
}

/// Whether a node that knows the tables up to `newest` may work on these.
fn check_version(version: i32, readable_by: i32, newest: i32) -> Result<(), StoreError> {
    if version > newest && readable_by > newest {
        return Err(StoreError::Corrupt(format!(
            "its tables are of version {version} and this Hookcast knows {newest} at the most: run a newer Hookcast"
        )));
    }
    if version > newest {
        tracing::info!(
            "the store's tables are of version {version}, which a newer node made; this one works beside it"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_versions_work_side_by_side() {
        assert!(check_version(0, 0, 1).is_ok());
        assert!(check_version(1, 1, 1).is_ok());
        assert!(check_version(2, 1, 1).is_ok());
        assert!(check_version(3, 2, 1).unwrap_err().to_string().contains("run a newer Hookcast"));
    }
}
