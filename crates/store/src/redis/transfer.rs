//! Giving all away and taking it in.

use async_trait::async_trait;
use hookcast_core::clock::Timestamp;

use super::{RedisStore, reply::Reply, scripts};
use crate::{
    error::StoreError,
    transfer::{Exported, Item, Place, Portion, Progress, Section, Transfer},
};

#[async_trait]
impl Transfer for RedisStore {
    async fn live_processes(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut reply = self.transfer_state(now).await?;
        reply.optional_bytes()?;
        reply.natural()
    }

    async fn export(&self, section: Section, after: Option<Place>, portion: Portion) -> Result<Exported, StoreError> {
        self.export_part(section, after, portion).await
    }

    async fn import(&self, items: Vec<Item>, progress: &Progress) -> Result<(), StoreError> {
        self.import_items(&items, progress).await
    }

    async fn progress(&self) -> Result<Option<Progress>, StoreError> {
        let text = self.transfer_state(Timestamp::default()).await?.optional_bytes()?;
        text.map(|text| serde_json::from_slice(&text))
            .transpose()
            .map_err(|error| StoreError::Corrupt(format!("how far a copy has come: {error}")))
    }

    async fn finish_import(&self) -> Result<(), StoreError> {
        self.run(&self.call(&scripts::FINISH_IMPORT)).await.map(drop)
    }
}

impl RedisStore {
    /// How far a copy has come, and how many processes live.
    async fn transfer_state(&self, now: Timestamp) -> Result<Reply, StoreError> {
        let mut call = self.call(&scripts::PROGRESS);
        call.arg(now.as_millis());
        self.run(&call).await
    }
}

/// A section's name in the scripts.
pub(super) fn name(section: Section) -> &'static str {
    match section {
        Section::Accounts => "accounts",
        Section::Tokens => "tokens",
        Section::Subscriptions => "subscriptions",
        Section::Events => "events",
        Section::Deliveries => "deliveries",
        Section::Fingerprints => "fingerprints",
        Section::IdempotencyKeys => "keys",
        Section::Notices => "notices",
        Section::Documents => "documents",
    }
}
