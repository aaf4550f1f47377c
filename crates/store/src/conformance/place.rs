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
            StoreKind::Postgres => postgres().await,
            StoreKind::Redis => redis().await,
        }
    }
}

/// A folder that goes with the place.
pub(super) async fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hookcast.db").display());
    Place { location: Location::parse(&url).unwrap(), _folder: Some(folder) }
}

/// A database of its own on the server that the tests are run with.
pub(super) async fn postgres() -> Place {
    let server = server("HOOKCAST_TEST_POSTGRES");
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let (folder, name) = new_name();
    client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    Place { location: Location::parse(&url).unwrap(), _folder: Some(folder) }
}

/// Keys of their own on the server that the tests are run with.
pub(super) async fn redis() -> Place {
    let (folder, name) = new_name();
    let url = format!("{}?prefix={name}", server("HOOKCAST_TEST_REDIS"));
    Place { location: Location::parse(&url).unwrap(), _folder: Some(folder) }
}

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server: run the tests with `make test`, or behind `scripts/with-stores`")
    })
}

/// A name that nobody else on this machine has as long as its folder is there.
fn new_name() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
    (folder, name)
}
