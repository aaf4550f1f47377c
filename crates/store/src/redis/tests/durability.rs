//! What the server's settings promise, and who is content with it.

use super::server::{Server, open};
use crate::{Settings, StoreError};

/// Opens a server with these options, which must be refused; answers in what words.
async fn refusal(options: &[&str]) -> String {
    let server = Server::start(options);
    match server.open().await.err().unwrap() {
        StoreError::Misconfigured(words) => words,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_could_be_lost_is_refused_in_words_that_help() {
    for (options, risk, remedy) in [
        (["--appendfsync", "everysec"], "about a second", "`appendfsync always`"),
        (["--appendfsync", "no"], "many seconds", "`appendfsync always`"),
        (["--appendonly", "no"], "since the last snapshot", "`appendonly yes`"),
        (["--maxmemory-policy", "allkeys-lru"], "may drop any", "`maxmemory-policy noeviction`"),
        (["--no-appendfsync-on-rewrite", "yes"], "rewritten", "`no-appendfsync-on-rewrite no`"),
    ] {
        let words = refusal(&options).await;
        for expected in [risk, remedy, "database.require_durable=false"] {
            assert!(words.contains(expected), "{expected}: {words}");
        }
    }
    let words = refusal(&["--appendonly", "no", "--maxmemory-policy", "volatile-ttl"]).await;
    assert!(words.contains("`appendonly yes`, `maxmemory-policy noeviction`"), "{words}");
}

#[tokio::test]
async fn a_durable_server_promises_all_but_failover() {
    let server = Server::start(&[]);
    let promise = server.open().await.unwrap().check().await.unwrap();
    assert!(promise.survives_restart && !promise.survives_failover);
    assert_eq!(promise.remarks.len(), 1);
    assert!(promise.remarks[0].contains("replicas"), "{:?}", promise.remarks);
}

#[tokio::test]
async fn an_accepted_risk_is_told_and_settings_are_looked_at_again() {
    let server = Server::start(&["--appendfsync", "everysec"]);
    let store = server.open_at_risk().await.unwrap();
    let promise = store.check().await.unwrap();
    assert!(!promise.survives_restart);
    assert!(promise.remarks[0].contains("about a second"), "{:?}", promise.remarks);

    server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    assert!(store.check().await.unwrap().survives_restart);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let promise = store.check().await.unwrap();
    assert!(!promise.survives_restart && promise.remarks[0].contains("allkeys-random"));
}

#[tokio::test]
async fn settings_that_are_hidden_promise_nothing() {
    let server = Server::start(&[]);
    server.command(&["ACL", "SETUSER", "hookcast", "on", ">pw", "~{hookcast}:*", "&*", "+@all", "-config"]);
    let url = server.url.replace("redis://", "redis://hookcast:pw@");
    let refused = open(&url, Settings::default()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Misconfigured(_)), "{refused}");
    assert!(refused.to_string().contains("+config|get"), "{refused}");

    let at_risk = Settings { require_durable: false, ..Settings::default() };
    let promise = open(&url, at_risk).await.unwrap().check().await.unwrap();
    assert!(!promise.survives_restart);
    assert!(promise.remarks[0].contains("could not be checked"), "{:?}", promise.remarks);

    // One who may not even see what little the server tells anybody.
    server.command(&["ACL", "SETUSER", "hookcast", "-info"]);
    assert!(open(&url, Settings::default()).await.is_err());
    server.command(&["ACL", "SETUSER", "hookcast", "+config|get"]);
    open(&url, Settings::default()).await.unwrap();
}
