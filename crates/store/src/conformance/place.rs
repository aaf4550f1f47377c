//! Where the stores under test are.

use std::sync::Arc;

use tempfile::TempDir;

use crate::{Limits, Location, Settings, Store, StoreKind, connect};

/// An empty place for a store, for as long as this value lives.
pub(crate) struct Place {
    location: Location,
    settings: Settings,
    /// Is dropped with the place.
    _folder: Option<TempDir>,
}

impl Place {
    /// A place on a server of the test's own, used with these settings.
    pub(crate) fn at(url: &str, settings: Settings) -> Self {
        Self { location: Location::parse(url).unwrap(), settings, _folder: None }
    }

    /// A handle of its own on the store at this place.
    pub(crate) async fn open(&self, limits: Limits) -> Arc<dyn Store> {
        connect(&self.location, &Settings { limits, ..self.settings.clone() }).await.unwrap()
    }

    /// Another empty place for a store of the same kind.
    pub(crate) async fn another(&self) -> Self {
        match self.location.kind() {
            StoreKind::Sqlite => sqlite().await,
            StoreKind::Postgres => postgres().await,
            StoreKind::Redis => redis().await,
        }
    }
}

/// A folder that goes with the place.
pub(crate) async fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hookcast.db").display());
    Place { _folder: Some(folder), ..Place::at(&url, Settings::default()) }
}

/// A database of its own on the server that the tests are run with.
pub(crate) async fn postgres() -> Place {
    Place::at(&postgres_url().await, Settings::default())
}

/// The URL of such a database.
pub(crate) async fn postgres_url() -> String {
    let server = server("HOOKCAST_TEST_POSTGRES");
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = new_name();
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

/// Keys of their own on the server that the tests are run with.
pub(crate) async fn redis() -> Place {
    Place::at(&format!("{}?prefix={}", server("HOOKCAST_TEST_REDIS"), new_name()), Settings::default())
}

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server: run the tests with `make test`, or behind `scripts/with-stores`")
    })
}

/// A name that no other place has.
fn new_name() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    let half = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("case_{:016x}{:016x}", half(), half())
}
