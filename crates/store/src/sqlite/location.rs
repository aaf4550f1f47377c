//! Where the file is, and the lock that says a server has it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::error::StoreError;

const SCHEME: &str = "sqlite://";

/// The file of an embedded store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteLocation {
    path: PathBuf,
}

impl SqliteLocation {
    /// Reads `sqlite://relative/path.db` or `sqlite:///absolute/path.db`.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] for any other URL.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let path = url.strip_prefix(SCHEME).ok_or_else(|| {
            let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            StoreError::Misconfigured(format!(
                "the database URL must begin with `sqlite://`, such as `sqlite://data/hookcast.db`; this one has `{scheme}`"
            ))
        })?;
        if path.is_empty() || path.ends_with('/') || path.contains('?') || path == ":memory:" {
            return Err(StoreError::Misconfigured(
                "the database URL must name a file, such as `sqlite://data/hookcast.db`, and nothing after it".into(),
            ));
        }
        Ok(Self { path: path.into() })
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file beside the database's, of the same name with `suffix` appended.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// The right to be the only server of a store, until it is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

impl ServerLock {
    /// Takes the lock of this store.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another server has it.
    pub fn take(location: &SqliteLocation) -> Result<Self, StoreError> {
        // By whatever links the file is reached, it has one lock.
        let target = std::fs::canonicalize(location.path()).unwrap_or_else(|_| location.path().to_owned());
        let path = SqliteLocation { path: target }.beside(".lock");
        let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        make_folder(location.path())?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Conflict),
            Err(TryLockError::Error(error)) => Err(unavailable(error)),
        }
    }
}

/// Makes the folder that a file will be in, its owner's alone where it is new.
pub(super) fn make_folder(file: &Path) -> Result<(), StoreError> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        assert_eq!(SqliteLocation::parse("sqlite://data/hookcast.db").unwrap().path(), Path::new("data/hookcast.db"));
        assert_eq!(SqliteLocation::parse("sqlite:///data/hookcast.db").unwrap().path(), Path::new("/data/hookcast.db"));
        for bad in ["", "data/hookcast.db", "mysql://x", "sqlite://", "sqlite://data/", "sqlite://a.db?mode=ro"] {
            assert!(matches!(SqliteLocation::parse(bad), Err(StoreError::Misconfigured(_))), "{bad}");
        }
    }

    #[test]
    fn one_server_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let location = SqliteLocation { path: folder.path().join("new/hookcast.db") };
        let lock = ServerLock::take(&location).unwrap();
        assert!(matches!(ServerLock::take(&location), Err(StoreError::Conflict)));
        std::fs::write(location.path(), "").unwrap();
        let link = SqliteLocation { path: folder.path().join("link.db") };
        std::os::unix::fs::symlink(location.path(), link.path()).unwrap();
        assert!(matches!(ServerLock::take(&link), Err(StoreError::Conflict)));
        drop(lock);
        ServerLock::take(&location).unwrap();
    }
}
