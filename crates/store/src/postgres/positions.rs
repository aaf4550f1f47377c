//! Positions of deliveries, taken from the server by the block, so that a transaction need not ask for them. The end of a
//! block is given up when the process ends.

use tokio::sync::Mutex;
use tokio_postgres::types::Type;

use super::{
    pool::{Pool, Statement},
    rows::{integer, natural, single},
};
use crate::error::StoreError;

/// Positions in a block. What wants more at once gets a block of its size.
const BLOCK: u64 = 10_000;

/// Not synced by itself: whatever uses the positions is behind it in the server's log, and on disk only after it.
const TAKE_BLOCK: Statement =
    Statement { sql: "UPDATE hookcast.positions SET next = next + $1 RETURNING next - $1", types: &[Type::INT8] };

/// What is left of this process's block.
#[derive(Default)]
pub(super) struct Positions {
    left: Mutex<std::ops::Range<u64>>,
}

impl Positions {
    /// Takes so many consecutive positions; answers the first.
    pub(super) async fn take(&self, pool: &Pool, count: u64) -> Result<u64, StoreError> {
        let mut left = self.left.lock().await;
        if left.end - left.start < count {
            let size = BLOCK.max(count);
            let first = natural(single(&pool.query(&TAKE_BLOCK, &[&integer(size)]).await?)?);
            *left = first..first + size;
        }
        let first = left.start;
        left.start += count;
        Ok(first)
    }

    /// Gives up what is left of the block.
    pub(super) async fn forget(&self) {
        *self.left.lock().await = 0..0;
    }
}
