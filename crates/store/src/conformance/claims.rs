//! Claiming what is due.

use std::{collections::HashSet, time::Duration};

use hookcast_core::delivery::DeliveryState;

use super::{
    process::{ids, retried},
    world::{NOW, World, at},
};
use crate::{
    StoreError,
    engine::{Incarnation, Role, Which},
};

cases![
    only_what_is_due_is_claimed,
    at_most_so_many_are_claimed_from_each,
    the_longest_waiting_come_first,
    bytes_limit_a_claim_but_for_its_first_delivery,
    bytes_are_counted_over_all_subscriptions,
    what_is_claimed_is_being_sent,
    nothing_is_claimed_twice,
    nothing_is_claimed_twice_at_once,
    only_what_is_wanted_is_claimed,
    an_unknown_subscription_has_nothing,
    who_has_no_lease_claims_nothing,
    an_inactive_subscriptions_deliveries_are_skipped,
    what_is_released_is_due_at_once,
    nobody_releases_what_others_hold,
];

async fn only_what_is_due_is_claimed(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    world.here.finish([retried(&world.here.claim_one(&ada, NOW).await, NOW, at(60))], NOW).await;
    assert!(world.here.claim(&ada, 10, at(59)).await.is_empty());
    assert_eq!(world.waiting(&ada).await, 1);

    let again = world.here.claim_one(&ada, at(60)).await;
    assert_eq!(again.attempts, 1);
    assert_eq!(world.waiting(&ada).await, 0);
}

async fn at_most_so_many_are_claimed_from_each(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    world.send(5, &ada).await;
    world.send(2, &bob).await;
    let claimed = world.here.claim_all([&ada, &bob, &cat], 3, NOW).await;
    let from = |subscription| claimed.iter().filter(|claimed| claimed.subscription == subscription).count();
    assert_eq!((from(ada.id), from(bob.id), from(cat.id)), (3, 2, 0));
    assert_eq!((world.waiting(&ada).await, world.waiting(&bob).await), (2, 0));
    assert!(world.here.claim(&ada, 0, NOW).await.is_empty());
}

async fn the_longest_waiting_come_first(world: World) {
    let ada = world.subscriber("x").await;
    world.send(4, &ada).await;
    let claimed = world.here.claim(&ada, 4, NOW).await;
    assert_eq!(ids(&claimed), world.deliveries(&ada).await.iter().map(|record| record.id).collect::<Vec<_>>());

    let due = [40, 20, 30, 10];
    let outcomes: Vec<_> = claimed.iter().zip(due).map(|(claimed, due)| retried(claimed, NOW, at(due))).collect();
    world.here.finish(outcomes, NOW).await;
    let again = world.here.claim(&ada, 3, at(100)).await;
    assert_eq!(ids(&again), [claimed[3].id, claimed[1].id, claimed[2].id]);
}

async fn bytes_limit_a_claim_but_for_its_first_delivery(world: World) {
    let ada = world.subscriber("x").await;
    let payload = format!("\"{}\"", "x".repeat(98));
    for _ in 0..6 {
        world.batch().event("x").payload(&payload).to([&ada]).accept().await;
    }
    let mut wish = world.here.wish([&ada], 10, Which::DueBy(NOW));
    for (max_bytes, expected) in [(0, 1), (1, 1), (100, 1), (200, 2)] {
        wish.max_bytes = max_bytes;
        let claimed = world.store().claim(wish.clone(), NOW).await.unwrap();
        assert_eq!(claimed.len(), expected, "of at most {max_bytes} bytes");
    }
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn bytes_are_counted_over_all_subscriptions(world: World) {
    let subscriptions = world.subscribers("x", 5).await;
    let payload = format!("\"{}\"", "x".repeat(98));
    world.batch().event("x").payload(&payload).to(&subscriptions).accept().await;
    let mut wish = world.here.wish(&subscriptions, 10, Which::DueBy(NOW));
    wish.max_bytes = 300;
    assert_eq!(world.store().claim(wish, NOW).await.unwrap().len(), 3);
    assert_eq!(world.here.claim_all(&subscriptions, 10, NOW).await.len(), 2);
}

async fn what_is_claimed_is_being_sent(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 1, NOW).await;
    let record = world.delivery(&ada, claimed[0].id).await;
    assert_eq!((record.state, record.due_at), (DeliveryState::Sending, None));
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending, DeliveryState::Waiting]);
}

async fn nothing_is_claimed_twice(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    world.send(5, &ada).await;
    let mut claimed = ids(&world.here.claim(&ada, 2, NOW).await);
    claimed.extend(ids(&other.claim(&ada, 10, NOW).await));
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 5);
    assert!(world.here.claim(&ada, 10, at(1_000)).await.is_empty());
}

async fn nothing_is_claimed_twice_at_once(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let other = world.process().await;
    for subscription in [&ada, &bob] {
        world.send(30, subscription).await;
    }
    let mut claimed = Vec::new();
    loop {
        let (one, two, three) = tokio::join!(
            world.here.claim_all([&ada, &bob], 4, NOW),
            other.claim_all([&bob, &ada], 4, NOW),
            other.claim_all([&ada], 4, NOW),
        );
        let before = claimed.len();
        claimed.extend([one, two, three].iter().flat_map(|claimed| ids(claimed)));
        if claimed.len() == before {
            break;
        }
    }
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 60);
}

async fn only_what_is_wanted_is_claimed(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).accept().await;
    assert!(world.here.claim_all([], 10, NOW).await.is_empty());
    assert_eq!(world.here.claim_one(&bob, NOW).await.subscription, bob.id);
    assert_eq!((world.waiting(&ada).await, world.waiting(&bob).await), (1, 0));
}

async fn an_unknown_subscription_has_nothing(world: World) {
    let ada = world.subscriber("x").await;
    let unknown = world.new_subscription(&world.new_account("nobody"), "x", "https://nobody.example");
    world.send(1, &ada).await;
    assert_eq!(world.here.claim_all([&unknown, &ada], 10, NOW).await.len(), 1);
}

async fn who_has_no_lease_claims_nothing(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let expired = world.joining(Role::Server, Duration::from_secs(10), NOW).await;
    let left = world.process().await;
    left.leave(NOW).await;
    let mut unknown = world.process().await;
    unknown.holder = Incarnation(u64::from(u32::MAX));
    for process in [&expired, &left, &unknown] {
        let claimed = process.store.claim(process.wish([&ada], 10, Which::DueBy(NOW)), at(10)).await;
        assert!(matches!(claimed, Err(StoreError::NotFound)));
    }
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting]);
}

async fn an_inactive_subscriptions_deliveries_are_skipped(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).accept().await;
    world.set_active(&ada, false, NOW).await;
    let claimed = world.here.claim_all([&ada, &bob], 10, NOW).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.subscription).collect::<Vec<_>>(), [bob.id]);
}

async fn what_is_released_is_due_at_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    world.here.release(&claimed[1..], at(5)).await;

    use DeliveryState::{Sending, Waiting};
    assert_eq!(world.states(&ada).await, [Sending, Waiting, Waiting]);
    assert_eq!(world.delivery(&ada, claimed[1].id).await.due_at, Some(at(5)));
    assert_eq!(world.waiting(&ada).await, 2);
    assert_eq!(world.due(at(5)).await.subscriptions, [ada.id]);
    let again = world.process().await.claim(&ada, 10, at(5)).await;
    assert_eq!(ids(&again), ids(&claimed[1..]));
    assert!(again.iter().all(|claimed| claimed.attempts == 0));
}

async fn nobody_releases_what_others_hold(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 1, NOW).await;
    let other = world.process().await;
    other.release(&claimed, NOW).await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending, DeliveryState::Waiting]);

    // Nor is anything released twice.
    world.here.release(&claimed, NOW).await;
    world.here.release(&claimed, NOW).await;
    assert_eq!(world.waiting(&ada).await, 2);
}
