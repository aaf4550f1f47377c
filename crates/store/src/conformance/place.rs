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
            kind @ StoreKind::Redis => panic!("there is no place for {kind} yet"),
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
    let name = format!("case_{}", uuid::Uuid::from_u128(rand_bits()).simple());
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} names no server: run the tests with `make test`, or behind `scripts/with-stores`")
    })
}

/// Bits that no other place has.
fn rand_bits() -> u128 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let half = || u128::from(std::collections::hash_map::RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
