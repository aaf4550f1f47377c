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
            kind @ (StoreKind::Postgres | StoreKind::Redis) => panic!("there is no place for {kind} yet"),
        }
    }
}

/// A folder that goes with the place.
pub(super) async fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hookcast.db").display());
    Place { location: Location::parse(&url).unwrap(), _folder: Some(folder) }
}
