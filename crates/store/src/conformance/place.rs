//! Where the stores under test are.

use std::sync::Arc;

use tempfile::TempDir;

use crate::{Limits, Location, Settings, Store, StoreKind, connect};

/// An empty place for a store, for as long as this value lives.
pub(super) struct Place {
    location: Location,
    /// Is dropped with the place.
    _folder: Option<TempDir>,
}

impl Place {
    /// A handle of its own on the store at this place.
    pub(super) async fn open(&self, limits: Limits) -> Arc<dyn Store> {
        connect(&self.location, &Settings { limits, ..Settings::default() }).await.unwrap()
    }

    /// Another empty place for a store of the same kind.
    pub(super) async fn another(&self) -> Self {
        match self.location.kind() {
            StoreKind::Sqlite => sqlite().await,
            StoreKind::Redis => redis().await,
            kind @ StoreKind::Postgres => panic!("there is no place for {kind} yet"),
        }
    }
}

/// A folder that goes with the place.
pub(super) async fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hookcast.db").display());
    Place { location: Location::parse(&url).unwrap(), _folder: Some(folder) }
}

/// Keys of their own in the Redis that the tests were given. It goes with all that is in it.
pub(super) async fn redis() -> Place {
    let url = std::env::var("HOOKCAST_TEST_REDIS")
        .expect("the Redis tests need a server: run them with `scripts/with-stores cargo nextest run`");
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().file_name().unwrap().to_string_lossy().into_owned();
    Place { location: Location::parse(&format!("{url}?prefix={prefix}")).unwrap(), _folder: Some(folder) }
}
