//! Old days that go while others work, and what a dead node left half done.

use std::sync::atomic::{AtomicBool, Ordering};

use hookcast_core::delivery::DeliveryState;

use super::server::sql;
use crate::{
    Settings, StoreError,
    conformance::{
        place::{self, Place},
        process::{EVERYTHING, delivered},
        world::{ALL, World, at, day},
    },
};

/// Days that are old.
const DAYS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_however_busy_the_nodes_are() {
    let world = World::new(place::postgres().await).await;
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    for number in 0..DAYS {
        let noon = at(number * 86_400);
        world.batch().events(100, &ada).at(noon).accept().await;
        let claimed = world.here.claim(&ada, 100, noon).await;
        let outcomes: Vec<_> = claimed.iter().map(|claimed| delivered(claimed, noon)).collect();
        world.here.finish(outcomes, noon).await;
    }

    let is_over = AtomicBool::new(false);
    let nodes = [world.process().await, world.process().await, world.process().await];
    let busy = nodes.iter().map(async |node| {
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) || sent == 0 {
            world.batch().by(node).events(2, &bob).at(day(DAYS + 1)).accept().await;
            let claimed = match sent % 2 {
                0 => node.claim(&bob, 10, day(DAYS + 1)).await,
                _ => node.pass(&bob, 10, EVERYTHING, day(DAYS + 1)).await,
            };
            let outcomes: Vec<_> = claimed.iter().map(|claimed| delivered(claimed, day(DAYS + 1))).collect();
            assert_eq!(node.finish(outcomes, day(DAYS + 1)).await.ignored, 0);
            node.store.deliveries(bob.id, None, ALL).await.unwrap();
            sent += 1;
        }
    });
    let purge = async {
        let mut gone = 0;
        loop {
            let purged = world.store().purge(day(DAYS), at(DAYS * 86_400)).await?;
            gone += purged.events;
            if !purged.more {
                return Ok::<_, StoreError>(gone);
            }
        }
    };
    let (_, gone) = tokio::join!(futures_util::future::join_all(busy), async {
        let gone = purge.await;
        is_over.store(true, Ordering::Relaxed);
        gone
    });
    assert_eq!(gone.unwrap(), DAYS * 100);
    assert!(world.deliveries(&ada).await.is_empty());
}

#[tokio::test]
async fn nodes_that_purge_at_once_count_what_is_gone_once() {
    let world = World::new(place::postgres().await).await;
    for number in 0..DAYS {
        world.batch().event("x").event("x").at(at(number * 86_400)).accept().await;
    }
    let nodes = [world.process().await, world.process().await, world.process().await];
    let purges = nodes.iter().map(async |node| {
        let mut gone = 0;
        for _ in 0..DAYS {
            gone += node.store.purge(day(DAYS), at(DAYS * 86_400)).await.unwrap().events;
        }
        gone
    });
    let gone: u64 = futures_util::future::join_all(purges).await.iter().sum();
    assert_eq!(gone, DAYS * 2);
}

#[tokio::test]
async fn what_waits_for_a_deleted_subscription_is_cancelled_by_the_next_node() {
    let url = place::postgres_url().await;
    let world = World::new(Place::at(&url, Settings::default())).await;
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    // As a node leaves it that dies between the two steps of a deletion.
    let mark =
        "UPDATE hookcast.subscriptions SET deleted_at = 1, is_active = false; UPDATE hookcast.lanes SET parked = true";
    sql(&url, mark).await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting; 3]);
    world.process().await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Cancelled; 3]);
}
