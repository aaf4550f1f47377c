//! A server that goes away and comes back.

use super::server::Server;
use crate::{
    AcceptError, StoreError,
    conformance::{
        process::delivered,
        world::{ALL, LONG, at},
    },
    engine::Which,
};

#[tokio::test]
async fn a_handle_outlives_the_death_of_its_server() {
    let server = Server::start();
    let world = server.world().await;
    let ada = world.subscriber("x").await;
    let first = world.batch().event("x").to([&ada]).accept_one().await;
    for stop in [Server::kill, Server::stop] {
        let batch = world.batch().event("x").to([&ada]).build().await;
        stop(&server);
        let refused = world.store().accept(batch, at(1)).await;
        assert!(matches!(refused, Err(AcceptError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        let claim = world.here.wish([&ada], 1, Which::DueBy(at(1)));
        assert!(matches!(world.store().claim(claim, at(1)).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(world.here.renew(LONG, at(1)).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(world.store().check().await, Err(StoreError::Unavailable(_))));
        server.start_again();
        server.found_again_by(&**world.store()).await;
        world.batch().event("x").to([&ada]).accept().await;
    }
    let claimed = world.here.claim(&ada, 10, at(1)).await;
    assert_eq!((claimed.len(), claimed[0].event.id), (3, first));
    let outcomes: Vec<_> = claimed.iter().map(|claimed| delivered(claimed, at(2))).collect();
    assert_eq!(world.here.finish(outcomes, at(2)).await.ignored, 0);
    assert_eq!(world.store().event(first, ALL).await.unwrap().total, 1);
}

#[tokio::test]
async fn who_waits_for_work_hears_again_after_an_outage() {
    let server = Server::start();
    let world = server.world().await;
    let other = world.process().await;
    let ada = world.subscriber("x").await;
    // A first one is told to whoever begins to listen.
    other.store.wait_for_work().await;
    server.kill();
    server.start_again();
    server.found_again_by(&**world.store()).await;
    // Since what came meanwhile was told to nobody, who listens anew is told that there may be something.
    other.store.wait_for_work().await;
    world.send(1, &ada).await;
    other.store.wait_for_work().await;
    assert_eq!(other.claim(&ada, 10, at(1)).await.len(), 1);
}
