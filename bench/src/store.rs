//! The stores that are compared.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A file, which the server itself writes.
    Sqlite,
    /// A PostgreSQL on the same machine.
    Postgres,
    /// A Redis on the same machine.
    Redis,
}

impl Store {
    /// All of them, in the order in which they stand in the table.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Redis];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }
}

impl fmt::Display for Store {
    /// What it is called on the command line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        })
    }
}
