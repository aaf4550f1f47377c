//! What attempts make of subscriptions: failures in a row, and when they are too many.

use std::time::Duration;

use hookcast_core::{
    clock::Timestamp,
    policy::DeactivationPolicy,
    subscription::{Health, Subscription},
};

use super::{
    process::{delivered, failed, gone, retried},
    world::{NOW, World, at},
};
use crate::engine::{Finished, Outcome};

cases![
    failures_are_counted_in_a_row,
    a_success_resets_the_count,
    outcomes_count_in_their_order,
    failures_are_counted_for_each_subscription,
    too_many_failures_deactivate,
    failures_must_have_lasted_as_well,
    failures_are_of_the_time_of_their_attempts,
    gone_deactivates_at_once,
    it_is_deactivated_once,
    after_activation_the_count_begins_anew,
];

const fn tolerating(max_failures: u32, seconds: u64) -> DeactivationPolicy {
    DeactivationPolicy { max_failures, after: Duration::from_secs(seconds) }
}

/// Makes one attempt at one delivery that fails at `time` and is tried again a second later.
async fn fail(world: &World, subscription: &Subscription, policy: DeactivationPolicy, time: Timestamp) -> Finished {
    let claimed = world.here.claim_one(subscription, time).await;
    world.here.finish_under(policy, [retried(&claimed, time, time.plus(Duration::from_secs(1)))], time).await
}

async fn failures_are_counted_in_a_row(world: World) {
    let ada = world.subscriber("x").await;
    assert_eq!(world.health(&ada).await, Health::default());
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 2, at(5)).await;
    world.here.finish([retried(&claimed[0], at(6), at(60))], at(7)).await;
    assert_eq!(world.failures(&ada).await, (1, Some(at(6))));
    world.here.finish([failed(&claimed[1], at(8))], at(9)).await;
    assert_eq!(world.failures(&ada).await, (2, Some(at(6))));
}

async fn a_success_resets_the_count(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    world.here.finish([failed(&claimed[0], NOW)], NOW).await;
    world.here.finish([delivered(&claimed[1], at(1))], at(1)).await;
    assert_eq!(world.health(&ada).await, Health::default());
    world.here.finish([failed(&claimed[2], at(2))], at(2)).await;
    assert_eq!(world.failures(&ada).await, (1, Some(at(2))));
}

async fn outcomes_count_in_their_order(world: World) {
    let ada = world.subscriber("x").await;
    world.send(4, &ada).await;
    let claimed = world.here.claim(&ada, 4, NOW).await;
    let outcomes =
        [failed(&claimed[0], NOW), failed(&claimed[1], NOW), delivered(&claimed[2], at(1)), failed(&claimed[3], at(2))];
    assert!(world.here.finish_under(tolerating(2, 0), outcomes, at(3)).await.deactivated.is_empty());
    assert_eq!(world.failures(&ada).await, (1, Some(at(2))));
}

async fn failures_are_counted_for_each_subscription(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).accept().await;
    let [first, second] = world.here.claim_all([&ada, &bob], 1, NOW).await.try_into().unwrap();
    world.here.finish([failed(&first, NOW), delivered(&second, NOW)], NOW).await;
    assert_eq!(world.health(&ada).await.failure_count, 1);
    assert_eq!(world.health(&bob).await, Health::default());
}

async fn too_many_failures_deactivate(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    for seconds in 0..3 {
        assert!(fail(&world, &ada, tolerating(3, 0), at(seconds)).await.deactivated.is_empty());
        assert!(world.is_active(&ada).await);
    }
    assert_eq!(fail(&world, &ada, tolerating(3, 0), at(3)).await.deactivated, [ada.id]);
    assert!(!world.is_active(&ada).await);
    assert_eq!(world.failures(&ada).await, (4, Some(NOW)));

    // What failed waits, with all the rest, and is due at no time.
    assert_eq!(world.waiting(&ada).await, 1);
    let due = world.due(at(100)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
}

async fn failures_must_have_lasted_as_well(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    for seconds in [10, 11, 12, 19] {
        assert!(fail(&world, &ada, tolerating(2, 10), at(seconds)).await.deactivated.is_empty());
    }
    assert_eq!(fail(&world, &ada, tolerating(2, 10), at(20)).await.deactivated, [ada.id]);
}

async fn failures_are_of_the_time_of_their_attempts(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    // Attempts of a moment that are recorded late have not lasted long.
    let outcomes: Vec<Outcome> = claimed[..2].iter().map(|claimed| failed(claimed, at(98))).collect();
    assert!(world.here.finish_under(tolerating(1, 10), outcomes, at(100)).await.deactivated.is_empty());
    assert_eq!(world.health(&ada).await.failing_since, Some(at(98)));
    let last = [failed(&claimed[2], at(108))];
    assert_eq!(world.here.finish_under(tolerating(1, 10), last, at(108)).await.deactivated, [ada.id]);
}

async fn gone_deactivates_at_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    let finished = world.here.finish([gone(&claimed, NOW, at(60))], NOW).await;
    assert_eq!(finished.deactivated, [ada.id]);
    assert!(!world.is_active(&ada).await);
    assert_eq!((world.waiting(&ada).await, world.health(&ada).await.failure_count), (1, 1));
}

async fn it_is_deactivated_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    let outcomes: Vec<Outcome> = claimed[..2].iter().map(|claimed| retried(claimed, NOW, at(60))).collect();
    assert_eq!(world.here.finish_under(tolerating(0, 0), outcomes, NOW).await.deactivated, [ada.id]);
    let last = [retried(&claimed[2], NOW, at(60))];
    assert!(world.here.finish_under(tolerating(0, 0), last, NOW).await.deactivated.is_empty());
    assert_eq!((world.waiting(&ada).await, world.health(&ada).await.failure_count), (3, 3));
}

async fn after_activation_the_count_begins_anew(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    for seconds in [0, 1] {
        fail(&world, &ada, tolerating(1, 0), at(seconds)).await;
    }
    assert!(!world.is_active(&ada).await);
    world.set_active(&ada, true, at(10)).await;
    assert!(fail(&world, &ada, tolerating(1, 0), at(10)).await.deactivated.is_empty());
    assert_eq!(world.failures(&ada).await, (1, Some(at(10))));
}
