//! Giving all away and taking it in.

use async_trait::async_trait;
use hookcast_core::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::{SqliteStore, export, import::Import, rows::natural};
use crate::{
    error::StoreError,
    transfer::{Exported, Item, Place, Portion, Progress, Section, Transfer},
};

#[async_trait]
impl Transfer for SqliteStore {
    async fn live_processes(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let live = connection.query_row(
                "SELECT COUNT(*) FROM incarnations WHERE expires_at > ?",
                [now.as_millis()],
                |row| row.get(0),
            )?;
            Ok(natural(live))
        })
        .await
    }

    async fn export(&self, section: Section, after: Option<Place>, portion: Portion) -> Result<Exported, StoreError> {
        self.read(move |connection| export::export(connection, section, after, portion)).await
    }

    async fn import(&self, items: Vec<Item>, progress: &Progress) -> Result<(), StoreError> {
        let progress = serde_json::to_string(progress).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        self.write(move |transaction| {
            let mut import = Import::new(transaction);
            for item in &items {
                import.store(item)?;
            }
            import.settle_lanes()?;
            transaction.prepare_cached("INSERT OR REPLACE INTO copying VALUES (1, ?)")?.execute([progress])?;
            Ok(())
        })
        .await
    }

    async fn progress(&self) -> Result<Option<Progress>, StoreError> {
        self.read(progress).await
    }

    async fn finish_import(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM copying", [])?;
            Ok(())
        })
        .await
    }
}

fn progress(connection: &Connection) -> Result<Option<Progress>, StoreError> {
    let text: Option<String> = connection.query_row("SELECT progress FROM copying", [], |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| StoreError::Corrupt(format!("how far a copy has come: {error}")))
}
