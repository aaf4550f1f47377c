//! What the tests share: a server to start, clients to ask it, receivers to be called.

pub mod command;
pub mod http;
pub mod receiver;
pub mod server;
pub mod world;

use std::time::Duration;

/// No test waits longer than this for something that should happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `probe` finds something, asking again and again.
pub async fn eventually<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut probe: F) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
