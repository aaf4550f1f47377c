//! Where things are kept: six traits by role, which one backend implements, and [`connect`], which picks it by URL.
//!
//! Every method is a verb of the domain and atomic by itself; no transaction leaks out. What a store promises beyond its
//! methods' own words:
//!
//! - What [`Engine::accept`] and every method of [`Access`] and [`Catalogue`] has answered is on disk.
//! - The outcomes that [`Engine::finish`] takes may be lost with the machine's power. That repeats a delivery and loses none.
//! - A store may be used by several processes at once.
//!
//! To add one: a folder beside `sqlite/`, an arm in [`connect`], a line where the conformance suite is run.

pub mod access;
pub mod catalogue;
mod code;
#[cfg(test)]
mod conformance;
pub mod documents;
pub mod engine;
mod error;
mod fullness;
mod gather;
pub mod history;
mod location;
pub mod notices;
pub mod outbox;
mod page;
mod postgres;
pub mod pull;
mod redis;
mod sqlite;
pub mod transfer;
mod transition;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use access::Access;
pub use catalogue::Catalogue;
pub use documents::Documents;
pub use engine::Engine;
pub use error::{AcceptError, StoreError};
pub use history::History;
pub use location::{Location, StoreKind};
pub use notices::Notices;
pub use page::{Cursor, InvalidCursor, Page, PageRequest};
pub use pull::Pulling;
pub use sqlite::{ServerLock, SqliteLocation};
pub use transfer::Transfer;

/// One backend in all of its roles.
pub trait Store: Engine + Catalogue + Access + History + Notices + Documents + Pulling + Transfer {}

impl<T: Engine + Catalogue + Access + History + Notices + Documents + Pulling + Transfer> Store for T {}

/// The bounds within which a store keeps what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events are refused that would make the store larger than this, in bytes; 0 for no limit of its own. What becomes of the
    /// events that are there is recorded even so.
    pub max_size: u64,
    /// Events are refused while fewer bytes than this are free on the disk.
    pub min_free_disk: u64,
    /// How many deliveries may wait for one subscription; beyond it the oldest expire.
    pub max_waiting: u64,
    /// How long a write may wait for another process's write to end.
    pub busy_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_size: 0, min_free_disk: 0, max_waiting: 1_000_000, busy_timeout: Duration::from_secs(10) }
    }
}

/// How a store is used. What a kind of store has no use for it leaves aside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bounds within which it keeps what it is given.
    pub limits: Limits,
    /// The most connections to a database server.
    pub connections: usize,
    /// Whether statements are prepared once for each connection. Not possible where a pooler gives every transaction another one.
    pub prepared_statements: bool,
    /// Whether a store is refused that could lose in a crash what it has answered.
    pub require_durable: bool,
    /// A PEM file of certificate authorities that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections: 8,
            prepared_statements: true,
            require_durable: true,
            ca_file: None,
        }
    }
}

/// Opens the store at `location`, creating or migrating it where need be.
///
/// # Errors
/// Whatever keeps the store from being opened.
pub async fn connect(location: &Location, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        Location::Sqlite(location) => Ok(Arc::new(sqlite::SqliteStore::open(location, settings.limits).await?)),
        Location::Postgres(url) => Ok(Arc::new(postgres::PostgresStore::open(url, settings).await?)),
        Location::Redis(url) => Ok(Arc::new(redis::RedisStore::open(url, settings).await?)),
    }
}
