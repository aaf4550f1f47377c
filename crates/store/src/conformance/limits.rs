//! The bounds within which a store keeps what it is given.

use std::time::Duration;

use hookcast_core::{
    delivery::{
        AttemptResult,
        DeliveryState::{self, Expired, Sending, Waiting},
    },
    subscription::Subscription,
};

use super::{
    process::{EVERYTHING, Process, delivered, failed, ids, retried},
    world::{NOW, World, at, day},
};
use crate::{Limits, StoreError, engine::Pass, error::AcceptError};

const THREE_WAIT: Limits =
    Limits { max_waiting: 3, max_size: 0, min_free_disk: 0, busy_timeout: Duration::from_secs(10) };

cases![
    of_too_many_that_wait_the_oldest_expire,
    too_many_in_one_batch_expire_too,
    what_is_held_does_not_wait,
    a_retry_may_be_one_too_many,
    what_is_given_back_may_be_one_too_many,
    the_limit_is_for_each_subscription,
    an_inactive_subscription_is_limited_too,
    what_has_expired_is_not_sent,
    a_full_store_refuses_events,
    a_full_store_takes_outcomes,
    a_batch_leaves_room_for_outcomes,
    a_full_store_accepts_again_when_there_is_room,
];

// The disk of a server's database is not to be seen from here.
cases![on sqlite: a_full_disk_refuses_events];

async fn of_too_many_that_wait_the_oldest_expire(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    for (accepted, expired) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)] {
        world.batch().event("x").to([&ada]).by(&process).accept().await;
        assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (accepted - expired, expired));
    }
    assert_eq!(world.states(&ada).await, [Expired, Expired, Waiting, Waiting, Waiting]);
    assert!(world.deliveries(&ada).await[..2].iter().all(|record| record.due_at.is_none()));
}

async fn too_many_in_one_batch_expire_too(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    world.batch().events(5, &ada).by(&process).accept().await;
    assert_eq!(world.states(&ada).await, [Expired, Expired, Waiting, Waiting, Waiting]);
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 2));
}

async fn what_is_held_does_not_wait(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    for _ in 0..3 {
        world.batch().event("x").to([&ada]).reserved(&[0]).by(&process).accept().await;
    }
    world.batch().events(3, &ada).by(&process).accept().await;
    assert_eq!(world.states(&ada).await, [Sending, Sending, Sending, Waiting, Waiting, Waiting]);
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 0));
}

async fn a_retry_may_be_one_too_many(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    world.batch().events(3, &ada).by(&process).accept().await;
    let held = process.claim(&ada, 2, NOW).await;
    world.batch().events(1, &ada).by(&process).accept().await;
    process.finish([retried(&held[1], NOW, at(60))], NOW).await;
    assert_eq!(world.states(&ada).await, [Sending, Waiting, Waiting, Waiting]);

    // The oldest is the one that has just come back.
    process.finish([retried(&held[0], NOW, at(60))], NOW).await;
    assert_eq!(world.states(&ada).await, [Expired, Waiting, Waiting, Waiting]);
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 1));
    assert_eq!(world.deliveries(&ada).await[0].attempts.len(), 1);
}

async fn what_is_given_back_may_be_one_too_many(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    world.batch().events(3, &ada).by(&process).accept().await;
    let held = process.claim(&ada, 2, NOW).await;
    world.batch().events(2, &ada).by(&process).accept().await;
    process.release(&held[1..], NOW).await;
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 1));
    process.leave(NOW).await;
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 2));
    assert_eq!(world.states(&ada).await, [Expired, Expired, Waiting, Waiting, Waiting]);
}

async fn the_limit_is_for_each_subscription(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let process = world.process_with(THREE_WAIT).await;
    world.batch().events(3, &ada).events(4, &bob).by(&process).accept().await;
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 0));
    assert_eq!((world.waiting(&bob).await, world.expired(&bob).await), (3, 1));
}

async fn an_inactive_subscription_is_limited_too(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    world.set_active(&ada, false, NOW).await;
    for _ in 0..5 {
        world.batch().event("x").to([&ada]).by(&process).accept().await;
    }
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (3, 2));
    world.set_active(&ada, true, NOW).await;
    assert_eq!(process.claim(&ada, 10, NOW).await.len(), 3);
}

async fn what_has_expired_is_not_sent(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(THREE_WAIT).await;
    world.batch().events(5, &ada).by(&process).accept().await;
    let waiting: Vec<_> = world.deliveries(&ada).await[2..].iter().map(|record| record.id).collect();
    let claimed = process.claim(&ada, 10, NOW).await;
    assert_eq!(ids(&claimed), waiting);
    process.release(&claimed, NOW).await;
    let pass = Pass { failed: true, ..EVERYTHING };
    assert_eq!(ids(&process.pass(&ada, 10, pass, NOW).await), waiting);
}

/// So small that it is full soon.
const SMALL: Limits = Limits { max_size: 1024 * 1024, max_waiting: 1_000_000, ..THREE_WAIT };

/// Accepts events of this size, one at a time, until they are refused; answers how many there were.
async fn fill(world: &World, subscription: &Subscription, process: &Process, size: usize) -> usize {
    let payload = format!("\"{}\"", "x".repeat(size));
    for accepted in 0..10_000 {
        let batch = world.batch().event("x").payload(&payload).to([subscription]).by(process);
        match batch.try_accept().await {
            Ok(_) => {}
            Err(AcceptError::Store(StoreError::Full(_))) => return accepted,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store is never full");
}

async fn a_full_store_refuses_events(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(SMALL).await;
    let accepted = fill(&world, &ada, &process, 10_000).await;
    assert!(accepted > 10, "{accepted}");
    assert_eq!(world.deliveries(&ada).await.len(), accepted);
    // Another process under the same limit is told the same.
    let other = world.process_with(SMALL).await;
    assert_eq!(fill(&world, &ada, &other, 10_000).await, 0);
    assert_eq!(world.reopened().await.deliveries(&ada).await.len(), accepted);
}

async fn a_full_store_takes_outcomes(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(SMALL).await;
    let accepted = fill(&world, &ada, &process, 10_000).await;
    let claimed = process.claim(&ada, 10_000, NOW).await;
    assert_eq!(claimed.len(), accepted);
    let outcomes: Vec<_> = claimed.iter().map(|claimed| delivered(claimed, NOW)).collect();
    assert_eq!(process.finish(outcomes, NOW).await.ignored, 0);
    assert_eq!(world.states(&ada).await, vec![DeliveryState::Delivered; accepted]);
}

async fn a_batch_leaves_room_for_outcomes(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(SMALL).await;
    // Each of them alone would fit into what is kept free.
    let accepted = fill(&world, &ada, &process, 40_000).await;
    for claimed in process.claim(&ada, accepted, NOW).await {
        let mut outcome = failed(&claimed, NOW);
        if let AttemptResult::Answered(answer) = &mut outcome.attempt.result {
            answer.excerpt = "x".repeat(500);
        }
        assert_eq!(process.finish([outcome], NOW).await.ignored, 0);
    }
    assert_eq!(world.states(&ada).await, vec![DeliveryState::Failed; accepted]);
}

async fn a_full_store_accepts_again_when_there_is_room(world: World) {
    let ada = world.subscriber("x").await;
    let process = world.process_with(SMALL).await;
    let accepted = fill(&world, &ada, &process, 10_000).await;
    let purged = process.store.purge(day(2), day(2)).await.unwrap();
    assert_eq!(purged.events, u64::try_from(accepted).unwrap());
    world.batch().events(1, &ada).by(&process).accept().await;
}

async fn a_full_disk_refuses_events(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let process = world.process_with(Limits { min_free_disk: u64::MAX, ..THREE_WAIT }).await;
    let refused = world.batch().event("x").to([&ada]).by(&process).try_accept().await;
    assert!(matches!(refused, Err(AcceptError::Store(StoreError::Full(_)))));
    let claimed = process.claim_one(&ada, NOW).await;
    assert_eq!(process.finish([delivered(&claimed, NOW)], NOW).await.ignored, 0);
}
