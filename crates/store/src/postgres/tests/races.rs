//! What two nodes do at the same moment, and what a crash undoes.

use std::{sync::Arc, time::Duration};

use super::server::{Server, sql};
use crate::{
    Limits, Settings,
    catalogue::CatalogueVersion,
    conformance::{
        place::{self, Place},
        process::gone,
        world::{NOW, World, at},
    },
    engine::Role,
    error::AcceptError,
};

const LEASE: Duration = Duration::from_secs(25);

#[tokio::test]
async fn a_lease_that_is_renewed_beside_a_rescue_goes_on() {
    let url = place::postgres_url().await;
    let world = World::new(Place::at(&url, Settings::default())).await;
    let late = world.joining(Role::Server, LEASE, NOW).await;
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    late.claim_one(&ada, at(1)).await;

    // The renewal as it is just before its commit.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let (ends, key) = (at(30).plus(LEASE).as_millis(), late.holder.0);
    let renew = format!("BEGIN; UPDATE hookcast.incarnations SET expires_at = {ends} WHERE key = {key}");
    client.batch_execute(&renew).await.unwrap();
    let store = Arc::clone(world.store());
    let rescue = tokio::spawn(async move { store.rescue(at(30)).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    client.batch_execute("COMMIT").await.unwrap();

    assert_eq!(rescue.await.unwrap().unwrap(), 0);
    late.renew(LEASE, at(31)).await.unwrap();
    assert!(world.here.claim(&ada, 10, at(31)).await.is_empty());
}

#[tokio::test]
async fn what_nodes_have_read_of_the_catalogue_outlives_a_crash() {
    // What is not synced at its commit is lost for sure.
    let server = Server::set_up(&["wal_writer_delay = 10s"]);
    let world = server.world().await;
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, at(1)).await;
    let finished = world.here.finish([gone(&claimed, at(2), at(5))], at(2)).await;
    assert_eq!(finished.deactivated, [ada.id]);
    let seen = world.version().await;

    server.kill();
    server.start_again();
    server.found_again_by(&**world.store()).await;
    assert_eq!((world.version().await, world.is_active(&ada).await), (seen, false));
    world.subscriber("x").await;
    assert_eq!(world.store().changes_since(CatalogueVersion(seen.0)).await.unwrap().changed.len(), 1);
    let outdated = world.batch().event("x").to([&ada]).chosen_from(seen).try_accept().await;
    assert!(matches!(outdated, Err(AcceptError::StaleCatalogue)));
}

#[tokio::test]
async fn a_limit_that_is_lowered_by_much_refuses_nothing() {
    let url = place::postgres_url().await;
    let world = World::new(Place::at(&url, Settings::default())).await;
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let more = "INSERT INTO hookcast.unfinished (time, position, subscription, event, due_at)
                    SELECT time, 1000000 + g, subscription, event, time FROM hookcast.unfinished, generate_series(1, 25000) g;
                UPDATE hookcast.lanes SET waiting = waiting + 25000";
    sql(&url, more).await;
    let few = world.process_with(Limits { max_waiting: 1_000, ..Limits::default() }).await;
    for (waiting, expired) in [(15_002, 10_000), (5_003, 20_000), (1_000, 24_004)] {
        world.batch().by(&few).event("x").to([&ada]).accept().await;
        assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (waiting, expired));
    }
}
