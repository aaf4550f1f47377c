//! A server whose memory is full.

use std::time::Duration;

use hookcast_core::clock::Timestamp;

use super::server::{NOW, Sender, Server};
use crate::{
    AcceptError, StoreError,
    documents::{Expected, Kind},
};

fn day_after() -> Timestamp {
    NOW.plus(Duration::from_secs(86_400))
}

fn is_full<T>(result: &Result<T, AcceptError>) -> bool {
    matches!(result, Err(AcceptError::Store(StoreError::Full(_))))
}

#[tokio::test]
async fn events_are_refused_before_the_memory_is_full_and_outcomes_never() {
    let server = Server::start(&["--maxmemory", "20mb"]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    let mut accepted = 0;
    while !is_full(&sender.send(100_000).await) {
        accepted += 1;
        assert!(accepted < 200, "the server is never full");
    }
    assert!(accepted > 50, "{accepted}");

    // Even where nothing at all is left.
    server.command(&["CONFIG", "SET", "maxmemory", "3mb"]);
    assert!(is_full(&sender.send(10).await));
    assert!(matches!(sender.store.check().await, Err(StoreError::Full(_))));
    let put = |kind| sender.store.put_document(kind, "name", "1".into(), Expected::None);
    assert!(matches!(put(Kind::Replays).await, Err(StoreError::Full(_))));
    for kind in [Kind::Pauses, Kind::Quotas, Kind::Budgets] {
        put(kind).await.unwrap();
    }
    sender.store = server.open().await.unwrap();
    let claimed = sender.claim().await.unwrap();
    assert_eq!(claimed.len(), accepted);
    for claimed in &claimed {
        sender.deliver(claimed).await;
    }
    assert_eq!(sender.store.purge(day_after(), day_after()).await.unwrap().events, u64::try_from(accepted).unwrap());
    server.command(&["CONFIG", "SET", "maxmemory", "20mb"]);
    sender.store.check().await.unwrap();
    sender.send(10).await.unwrap();
}

#[tokio::test]
async fn what_has_been_taken_away_leaves_no_key_behind() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    let keys = || match server.command(&["DBSIZE"]) {
        redis::Value::Int(count) => count,
        other => panic!("{other:?}"),
    };
    let before = keys();
    for _ in 0..3 {
        sender.send(100).await.unwrap();
    }
    let claimed = sender.claim().await.unwrap();
    sender.deliver(&claimed[0]).await;
    sender.store.release(sender.holder, vec![claimed[1].id, claimed[2].id], NOW).await.unwrap();
    assert_eq!(sender.store.purge(day_after(), day_after()).await.unwrap().events, 3);
    assert_eq!(keys(), before);
    assert_eq!(server.command(&["HGET", "{hookcast}:meta", "bytes"]), redis::Value::BulkString(b"0".to_vec()));
}
