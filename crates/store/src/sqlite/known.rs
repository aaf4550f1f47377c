//! What one write has read and the next would read again: it stays true for as long as nobody else writes.

use std::collections::HashSet;

use hookcast_core::clock::Timestamp;
use rusqlite::Connection;

use super::{
    listing::Listing,
    rows::{Keys, SubscriptionKey, natural},
    work,
};
use crate::{engine::Incarnation, error::StoreError};

/// What the writer remembers from one write to the next. It forgets all of it when another connection has committed, when a group was
/// rolled back, and before every write that does not take part in this.
#[derive(Default)]
pub(super) struct Known {
    /// SQLite's count of what other connections have committed.
    others: Option<i64>,
    catalogue: Option<u64>,
    /// A lease, and when it runs out, in ms.
    lease: Option<(Incarnation, i64)>,
    next: Option<Next>,
    /// The keys of subscriptions.
    pub(super) keys: Keys,
    /// Subscriptions that have no failures: a success tells nothing new of them.
    pub(super) healthy: HashSet<SubscriptionKey>,
    /// What is to be listed, of which it forgets nothing that this process has written.
    pub(super) listing: Listing,
}

/// Where the next event and the next delivery go.
#[derive(Clone, Copy)]
pub(super) struct Next {
    /// The event's key.
    pub(super) event: i64,
    /// The delivery's position.
    pub(super) position: u64,
}

impl Known {
    /// Forgets what the tables say, after this process has written to them without keeping it true.
    pub(super) fn forget(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        *self = Self { others: self.others, listing, ..Self::default() };
    }

    /// Forgets everything if another connection has committed. Nobody else can until the transaction ends in which it is asked.
    pub(super) fn follow_others(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let others = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.others != Some(others) {
            self.lose();
            self.others = Some(others);
        }
        Ok(())
    }

    /// Forgets everything: others have written, or what was written here is lost.
    pub(super) fn lose(&mut self) {
        self.forget();
        self.listing.forget();
    }

    /// The catalogue's version.
    pub(super) fn catalogue_version(&mut self, connection: &Connection) -> Result<u64, StoreError> {
        if let Some(version) = self.catalogue {
            return Ok(version);
        }
        let version: i64 =
            connection.prepare_cached("SELECT version FROM catalogue")?.query_row([], |row| row.get(0))?;
        Ok(*self.catalogue.insert(natural(version)))
    }

    /// Forgets the catalogue's version, after a write has changed it.
    pub(super) fn forget_catalogue_version(&mut self) {
        self.catalogue = None;
    }

    /// Whether a lease has not run out.
    pub(super) fn is_alive(
        &mut self,
        connection: &Connection,
        holder: Incarnation,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.lease.is_some_and(|(known, expires_at)| known == holder && expires_at > now.as_millis()) {
            return Ok(true);
        }
        let expires_at = work::lease_end(connection, holder)?;
        self.lease = expires_at.map(|expires_at| (holder, expires_at));
        Ok(expires_at.is_some_and(|expires_at| expires_at > now.as_millis()))
    }

    /// Where the next event and the next delivery go.
    pub(super) fn next(&self, connection: &Connection) -> Result<Next, StoreError> {
        self.next.map_or_else(|| Next::read(connection), Ok)
    }

    /// Says where the next ones go, after some have been stored.
    pub(super) fn go_on_at(&mut self, next: Next) {
        self.next = Some(next);
    }
}

impl Next {
    fn read(connection: &Connection) -> Result<Self, StoreError> {
        let read = |sql: &str| -> Result<i64, StoreError> {
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        };
        let position = read(
            "SELECT MAX(purged_to, COALESCE((SELECT MAX(position) FROM deliveries), 0), COALESCE((
                 SELECT first_delivery + deliveries - 1 FROM fresh ORDER BY first_delivery DESC LIMIT 1), 0)) + 1
             FROM retention",
        )?;
        Ok(Self { event: read("SELECT COALESCE(MAX(key), 0) + 1 FROM events")?, position: natural(position) })
    }
}
