//! Finding subscriptions with something due.

use hookcast_core::id::SubscriptionId;

use super::{
    process::{delivered, retried},
    world::{NOW, World, at},
};
use crate::engine::{Due, DueQuery};

cases![
    nothing_is_due_in_an_empty_store,
    the_longest_waiting_subscription_comes_first,
    a_limit_keeps_the_longest_waiting,
    some_may_be_left_out,
    the_next_time_is_told,
    what_is_held_or_done_is_not_due,
    what_an_earlier_retry_makes_due_is_told,
    the_catalogues_version_is_told,
];

async fn due(world: &World, seconds: u64, limit: usize, except: &[SubscriptionId]) -> Due {
    world.store().due(DueQuery { now: at(seconds), limit, except: except.iter().copied().collect() }).await.unwrap()
}

async fn nothing_is_due_in_an_empty_store(world: World) {
    world.subscriber("x").await;
    let due = world.due(NOW).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
}

async fn the_longest_waiting_subscription_comes_first(world: World) {
    let [ada, bob, cat, _] = world.subscribers("x", 4).await.try_into().unwrap();
    world.batch().event("x").to([&cat]).at(at(1)).accept().await;
    world.batch().event("x").to([&ada]).at(at(2)).accept().await;
    world.batch().event("x").to([&bob, &cat]).at(at(3)).accept().await;
    assert_eq!(world.due(at(3)).await.subscriptions, [cat.id, ada.id, bob.id]);

    // What still waits for the first one is younger than what waits for the second.
    world.here.claim(&cat, 1, at(3)).await;
    assert_eq!(world.due(at(3)).await.subscriptions[0], ada.id);
}

async fn a_limit_keeps_the_longest_waiting(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    for (seconds, subscription) in [(1, &bob), (2, &cat), (3, &ada)] {
        world.batch().event("x").to([subscription]).at(at(seconds)).accept().await;
    }
    assert_eq!(due(&world, 3, 2, &[]).await.subscriptions, [bob.id, cat.id]);
    assert_eq!(due(&world, 3, 3, &[]).await.subscriptions, [bob.id, cat.id, ada.id]);
}

async fn some_may_be_left_out(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    for (seconds, subscription) in [(1, &bob), (2, &cat), (3, &ada)] {
        world.batch().event("x").to([subscription]).at(at(seconds)).accept().await;
    }
    assert_eq!(due(&world, 3, 2, &[bob.id]).await.subscriptions, [cat.id, ada.id]);
    assert_eq!(due(&world, 3, 1, &[bob.id, cat.id]).await.subscriptions, [ada.id]);
    assert!(due(&world, 3, 1, &[ada.id, bob.id, cat.id]).await.subscriptions.is_empty());
}

async fn the_next_time_is_told(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    for (seconds, subscription) in [(50, &ada), (70, &bob), (60, &cat)] {
        world.send(1, subscription).await;
        let claimed = world.here.claim_one(subscription, NOW).await;
        world.here.finish([retried(&claimed, NOW, at(seconds))], NOW).await;
    }
    assert_eq!(world.due(at(49)).await.next, Some(at(50)));
    let now = world.due(at(50)).await;
    assert_eq!((now.subscriptions, now.next), (vec![ada.id], Some(at(60))));
    assert_eq!(world.due(at(69)).await.next, Some(at(70)));
    assert_eq!(world.due(at(70)).await.next, None);

    // What an inactive subscription waits for is due at no time.
    world.set_active(&cat, false, at(1)).await;
    assert_eq!(world.due(at(50)).await.next, Some(at(70)));
}

async fn what_is_held_or_done_is_not_due(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob, &cat]).reserved(&[0]).accept().await;
    world.here.claim_one(&bob, NOW).await;
    world.here.finish([delivered(&world.here.claim_one(&cat, NOW).await, NOW)], NOW).await;
    let due = world.due(at(1_000)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
}

async fn what_an_earlier_retry_makes_due_is_told(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([retried(&claimed[0], NOW, at(60))], NOW).await;
    assert_eq!(world.due(NOW).await.next, Some(at(60)));
    world.here.finish([retried(&claimed[1], NOW, at(30))], NOW).await;
    assert_eq!(world.due(NOW).await.next, Some(at(30)));
    assert_eq!(world.here.claim(&ada, 10, at(30)).await.len(), 1);
    assert_eq!(world.due(NOW).await.next, Some(at(60)));
}

async fn the_catalogues_version_is_told(world: World) {
    let before = world.due(NOW).await.catalogue;
    world.subscriber("x").await;
    assert!(world.due(NOW).await.catalogue > before);
    assert_eq!(world.due(NOW).await.catalogue, world.version().await);
}
