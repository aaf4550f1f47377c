//! The server's death, and what is there when it comes back.

use std::time::Duration;

use super::server::{Sender, Server, open};
use crate::{AcceptError, PageRequest, Settings, StoreError};

const ALL: PageRequest = PageRequest { limit: 100, cursor: None };

/// Asks until the server answers again.
async fn until_well(sender: &Sender) {
    let well = async {
        while sender.store.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), well).await.expect("it answers again");
}

#[tokio::test]
async fn what_was_accepted_survives_the_servers_death() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    let event = sender.send(10).await.unwrap().receipts.remove(0).id;
    server.kill();
    assert!(matches!(sender.store.event(event, ALL).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(sender.send(10).await, Err(AcceptError::Store(StoreError::Unavailable(_)))));
    assert!(matches!(sender.store.check().await, Err(StoreError::Unavailable(_))));

    // The same handle finds a server that has never heard of its scripts.
    server.restart();
    until_well(&sender).await;
    assert_eq!(sender.store.event(event, ALL).await.unwrap().event.id, event);
    sender.send(10).await.unwrap();
    assert_eq!(sender.claim().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    for _ in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"]);
        server.command(&["CLIENT", "KILL", "TYPE", "PUBSUB"]);
        until_well(&sender).await;
        sender.send(10).await.unwrap();
    }
    assert_eq!(sender.claim().await.unwrap().len(), 5);
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let server = Server::start(&[]);
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    sender.send(10).await.unwrap();
    server.command(&["SCRIPT", "FLUSH", "SYNC"]);
    sender.send(10).await.unwrap();
    assert_eq!(sender.claim().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let opened = open(&url, Settings::default()).await;
    assert!(matches!(opened.err().unwrap(), StoreError::Unavailable(_)));
}

#[tokio::test]
async fn a_closed_store_answers_nothing() {
    let server = Server::start(&[]);
    let store = server.open().await.unwrap();
    store.close().await;
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
}
