//! What the tests share: a server to start, clients to ask it, receivers to be called.

pub mod command;
pub mod database;
pub mod http;
pub mod receiver;
pub mod server;
pub mod smtp;
pub mod tls;
pub mod token_server;
pub mod traces;
pub mod wishes;
pub mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

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

/// An address that is known before anything listens there, and that nothing else takes: the loopback network is large
/// enough for every process to have one of its own.
pub fn loopback_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(8_000);
    let [_, b, c, d] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 1 + b, c, d), PORT.fetch_add(1, Ordering::SeqCst)))
}
