//! Order, and what it leaves behind.

use hookcast_core::options::Ordering;

use super::server::{NOW, Sender, Server};

#[tokio::test]
async fn deliveries_of_an_older_version_are_read_beside_ordered_ones() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    sender.send(10).await.unwrap();
    // As an older version has left it.
    server.command(&["HSET", "{hookcast}:meta", "schema", "1", "reader", "1"]);
    server.command(&["HDEL", "{hookcast}:lane:1", "options"]);

    sender.store = server.open().await.unwrap();
    sender.ordering = Ordering::Subscription;
    sender.send(10).await.unwrap();
    sender.send(10).await.unwrap();
    let claimed = sender.claim().await.unwrap();
    let groups: Vec<_> = claimed.iter().map(|claimed| claimed.group).collect();
    assert_eq!(groups, [None, Some(0), Some(0)]);
    let reader = server.command(&["HGET", "{hookcast}:meta", "reader"]);
    assert_eq!(reader, redis::Value::BulkString(b"5".to_vec()), "the older version would misread them");
}

#[tokio::test]
async fn what_has_ended_leaves_no_place_in_the_order() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    sender.ordering = Ordering::Subscription;
    for _ in 0..3 {
        sender.send(10).await.unwrap();
    }
    let is_kept = || server.command(&["EXISTS", "{hookcast}:order:1"]) == redis::Value::Int(1);
    assert!(is_kept());
    for claimed in sender.claim().await.unwrap() {
        assert!(is_kept());
        sender.deliver(&claimed).await;
    }
    assert!(!is_kept());

    sender.send(10).await.unwrap();
    let status = sender.store.changes_since(Default::default()).await.unwrap().changed.remove(0);
    sender.store.unsubscribe(status.account, status.id, NOW).await.unwrap();
    assert!(!is_kept());
}
