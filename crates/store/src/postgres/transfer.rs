//! Giving all away and taking it in.

use async_trait::async_trait;
use hookcast_core::clock::Timestamp;
use tokio_postgres::types::Type;

use super::{
    PostgresStore, export, import,
    pool::Statement,
    rows::{get, natural, single},
};
use crate::{
    error::StoreError,
    transfer::{Exported, Item, Place, Portion, Progress, Section, Transfer},
};

const LIVE: Statement =
    Statement { sql: "SELECT count(*) FROM hookcast.incarnations WHERE expires_at > $1", types: &[Type::INT8] };
const PROGRESS: Statement = Statement { sql: "SELECT progress FROM hookcast.copying", types: &[] };
const FINISH: Statement = Statement { sql: "DELETE FROM hookcast.copying", types: &[] };

#[async_trait]
impl Transfer for PostgresStore {
    async fn live_processes(&self, now: Timestamp) -> Result<u64, StoreError> {
        Ok(natural(single(&self.shared.pool.query(&LIVE, &[&now.as_millis()]).await?)?))
    }

    async fn export(&self, section: Section, after: Option<Place>, portion: Portion) -> Result<Exported, StoreError> {
        export::export(&self.shared.pool, section, after, portion).await
    }

    async fn import(&self, items: Vec<Item>, progress: &Progress) -> Result<(), StoreError> {
        import::import(&self.shared, &items, progress).await
    }

    async fn progress(&self) -> Result<Option<Progress>, StoreError> {
        let found = self.shared.pool.query(&PROGRESS, &[]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        serde_json::from_str(get(row, 0)?)
            .map_err(|error| StoreError::Corrupt(format!("how far a copy has come: {error}")))
    }

    async fn finish_import(&self) -> Result<(), StoreError> {
        self.write(&FINISH, &[]).await.map(drop)
    }
}
