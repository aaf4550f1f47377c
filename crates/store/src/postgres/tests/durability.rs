//! What the server is set up to keep.

use super::server::Server;
use crate::{History as _, Settings, StoreError, conformance::world::ALL, postgres::PostgresStore};

#[tokio::test]
async fn a_server_that_may_lose_everything_is_refused_unless_that_is_accepted() {
    for setting in ["fsync", "full_page_writes"] {
        let server = Server::set_up(&[&format!("{setting} = off")]);
        let error = server.open().await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
        let advice = if setting == "fsync" { "set fsync=on" } else { "set it to on" };
        assert!(error.to_string().contains(setting) && error.to_string().contains(advice), "{error}");
        let lax = Settings { require_durable: false, ..Settings::default() };
        let promise = PostgresStore::open(&server.url, &lax).await.unwrap().check().await.unwrap();
        assert!(!promise.survives_restart && !promise.survives_failover);
        assert!(promise.remarks[0].contains(setting), "{promise:?}");
    }
}

#[tokio::test]
async fn what_was_accepted_survives_a_server_that_commits_early() {
    // What nobody waits for is written ten seconds later.
    let server = Server::set_up(&["synchronous_commit = off", "wal_writer_delay = 10s"]);
    let world = server.world().await;
    let ada = world.subscriber("x").await;
    assert!(world.store().check().await.unwrap().survives_restart);
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(world.batch().event("x").to([&ada]).accept_one().await);
        server.kill();
        server.start_again();
        server.found_again_by(&**world.store()).await;
        for event in &events {
            world.store().event(*event, ALL).await.unwrap();
        }
    }
    assert_eq!(world.waiting(&ada).await, 5);
}
