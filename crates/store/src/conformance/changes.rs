//! The catalogue's version, and what it tells other processes.

use std::time::Duration;

use hookcast_core::{id::SubscriptionId, policy::DeactivationPolicy};

use super::{
    process::{delivered, failed, gone, retried},
    world::{NOW, World, at},
};
use crate::{
    StoreError,
    catalogue::{CatalogueVersion, Changes},
};

cases![
    all_is_new_since_before_everything,
    nothing_has_changed_since_now,
    what_is_new_or_different_is_told_as_it_is_now,
    what_is_deleted_is_told,
    every_change_raises_the_version,
    an_outcome_that_deactivates_is_a_change,
    other_outcomes_are_no_change,
    what_is_refused_is_no_change,
    other_processes_are_told_the_same,
];

async fn since(world: &World, version: CatalogueVersion) -> Changes {
    world.store().changes_since(version).await.unwrap()
}

fn ids(changes: &Changes) -> Vec<SubscriptionId> {
    let mut ids: Vec<_> = changes.changed.iter().map(|subscription| subscription.id).collect();
    ids.sort_unstable();
    ids
}

async fn all_is_new_since_before_everything(world: World) {
    let subscriptions = world.subscribers("x", 3).await;
    world.set_active(&subscriptions[1], false, NOW).await;
    let changes = since(&world, CatalogueVersion(0)).await;
    assert_eq!(ids(&changes), subscriptions.iter().map(|subscription| subscription.id).collect::<Vec<_>>());
    assert!(changes.deleted.is_empty());
    assert!(changes.version > CatalogueVersion(0));
}

async fn nothing_has_changed_since_now(world: World) {
    world.subscriber("x").await;
    let version = world.version().await;
    let changes = since(&world, version).await;
    assert_eq!(changes.version, version);
    assert!(changes.changed.is_empty() && changes.deleted.is_empty());
}

async fn what_is_new_or_different_is_told_as_it_is_now(world: World) {
    let [ada, bob, _, dan] = world.subscribers("x", 4).await.try_into().unwrap();
    let version = world.version().await;
    world.set_active(&ada, false, NOW).await;
    let secrets = world.new_secrets();
    world.change(&bob, |bob| bob.secrets = secrets.clone()).await;
    world.set_active(&dan, false, NOW).await;
    world.set_active(&dan, true, NOW).await;
    let eve = world.subscriber("y").await;

    let changes = since(&world, version).await;
    assert_eq!(ids(&changes), [ada.id, bob.id, dan.id, eve.id]);
    assert!(changes.deleted.is_empty());
    let told = |id| changes.changed.iter().find(|subscription| subscription.id == id).unwrap();
    assert!(!told(ada.id).is_active && told(dan.id).is_active);
    assert_eq!(told(bob.id).secrets, secrets);
    assert_eq!((&told(eve.id).events, &told(eve.id).url, &told(eve.id).user_id), (&eve.events, &eve.url, &eve.user_id));
}

async fn what_is_deleted_is_told(world: World) {
    let ada = world.subscriber("x").await;
    let version = world.version().await;
    let brief = world.subscriber("x").await;
    world.unsubscribe(&ada).await;
    world.unsubscribe(&brief).await;

    let changes = since(&world, version).await;
    assert!(changes.changed.is_empty());
    let mut deleted = changes.deleted;
    deleted.sort_unstable();
    assert_eq!(deleted, [ada.id, brief.id]);
    assert!(since(&world, changes.version).await.deleted.is_empty());
}

async fn every_change_raises_the_version(world: World) {
    let mut last = world.version().await;
    let mut raised = async || {
        let version = world.version().await;
        assert!(version > last);
        last = version;
    };
    let ada = world.subscriber("x").await;
    raised().await;
    world.set_active(&ada, false, NOW).await;
    raised().await;
    world.set_active(&ada, true, NOW).await;
    raised().await;
    world.change(&ada, |ada| ada.secrets = world.new_secrets()).await;
    raised().await;
    world.unsubscribe(&ada).await;
    raised().await;
}

async fn an_outcome_that_deactivates_is_a_change(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).accept().await;
    let version = world.version().await;
    let strict = DeactivationPolicy { max_failures: 0, after: Duration::ZERO };
    let [first, second] = world.here.claim_all([&ada, &bob], 1, NOW).await.try_into().unwrap();
    world.here.finish_under(strict, [retried(&first, NOW, at(5)), delivered(&second, NOW)], NOW).await;

    let changes = since(&world, version).await;
    assert!(changes.version > version);
    assert_eq!(ids(&changes), [ada.id]);
    assert!(!changes.changed[0].is_active);
    assert_eq!(world.due(NOW).await.catalogue, changes.version);
}

async fn other_outcomes_are_no_change(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let version = world.version().await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    let outcomes = [delivered(&claimed[0], NOW), retried(&claimed[1], NOW, at(5)), failed(&claimed[2], NOW)];
    world.here.finish(outcomes, NOW).await;
    assert_eq!(world.version().await, version);

    // One that is inactive already does not become so again.
    let late = world.here.claim_one(&ada, at(5)).await;
    world.set_active(&ada, false, at(6)).await;
    let version = world.version().await;
    let finished = world.here.finish([gone(&late, at(7), at(60))], at(7)).await;
    assert!(finished.deactivated.is_empty());
    assert_eq!(world.version().await, version);
}

async fn what_is_refused_is_no_change(world: World) {
    let ada = world.account("ada").await;
    world.subscription(&ada, "x", "https://ada.example").await;
    let version = world.version().await;
    world.store().subscribe(world.new_subscription(&ada, "x", "https://ada.example"), None).await.unwrap();
    let unknown = world.new_subscription(&ada, "y", "https://ada.example").id;
    assert!(matches!(world.store().unsubscribe(ada.id, unknown, NOW).await, Err(StoreError::NotFound)));
    world.account("bob").await;
    assert_eq!(world.version().await, version);
}

async fn other_processes_are_told_the_same(world: World) {
    let other = world.process().await;
    let version = world.version().await;
    let ada = world.subscriber("x").await;
    let changes = other.store.changes_since(version).await.unwrap();
    assert_eq!(ids(&changes), [ada.id]);
    assert_eq!(changes.version, world.version().await);
    assert_eq!(changes.version, world.due(NOW).await.catalogue);
}
