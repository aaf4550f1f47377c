//! Where a store is, as its URL says.

use std::fmt;

use crate::{error::StoreError, sqlite::SqliteLocation};

/// What a store is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// A Redis database.
    Redis,
}

impl StoreKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A store's URL, read. It may hold a password, so that its `Debug` shows the kind alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// `sqlite://path`.
    Sqlite(SqliteLocation),
    /// `postgres://…` or `postgresql://…`, as libpq has it.
    Postgres(String),
    /// `redis://…` or `rediss://…`.
    Redis(String),
}

impl Location {
    /// Reads a URL. What follows the scheme of a server's URL is looked at when it is connected to.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] when it names no store.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("sqlite") => Ok(Self::Sqlite(SqliteLocation::parse(url)?)),
            Some("postgres" | "postgresql") => Ok(Self::Postgres(url.to_owned())),
            Some("redis" | "rediss") => Ok(Self::Redis(url.to_owned())),
            _ => Err(StoreError::Misconfigured(format!(
                "the database URL must begin with `sqlite://`, `postgres://` or `redis://`, such as \
                 `sqlite://data/hookcast.db`; this one has `{}`",
                scheme.unwrap_or("no scheme")
            ))),
        }
    }

    /// What kind of store is there.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        match self {
            Self::Sqlite(_) => StoreKind::Sqlite,
            Self::Postgres(_) => StoreKind::Postgres,
            Self::Redis(_) => StoreKind::Redis,
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_kinds_of_stores() {
        for (url, kind) in [
            ("sqlite://data/hookcast.db", StoreKind::Sqlite),
            ("postgres://me:secret@host/db", StoreKind::Postgres),
            ("postgresql://host", StoreKind::Postgres),
            ("redis://host", StoreKind::Redis),
            ("rediss://:secret@host/3", StoreKind::Redis),
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!(location.kind(), kind);
            assert!(!format!("{location:?}").contains("secret"));
        }
        for bad in ["", "data/hookcast.db", "mysql://me:secret@host", "sqlite://"] {
            let error = Location::parse(bad).unwrap_err();
            assert!(matches!(error, StoreError::Misconfigured(_)), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
