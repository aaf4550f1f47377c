//! What a store keeps while nobody has it open.

use std::time::Duration;

use hookcast_core::{delivery::DeliveryState, policy::Deduplicate};

use super::{
    process::{delivered, failed, retried},
    world::{ALL, NOW, World, at, owner},
};

const DAY: Duration = Duration::from_secs(86_400);

cases![
    accounts_and_subscriptions_stay,
    events_and_deliveries_stay,
    what_was_held_is_due_again,
    keys_and_fingerprints_stay,
    what_was_answered_is_there_at_once_for_others,
];

async fn accounts_and_subscriptions_stay(world: World) {
    let (account, token) = (world.new_account("ada"), world.new_token());
    world.store().create_account(account.clone(), token).await.unwrap();
    let kept = world.subscription(&account, "x", "https://ada.example/kept").await;
    let inactive = world.subscription(&account, "x", "https://ada.example/inactive").await;
    let gone = world.subscription(&account, "x", "https://ada.example/gone").await;
    world.set_active(&inactive, false, NOW).await;
    world.unsubscribe(&gone).await;
    let version = world.version().await;

    let world = world.reopened().await;
    assert_eq!(owner(world.store(), token).await, Some(account.clone()));
    assert_eq!(world.version().await, version);
    let listed = world.store().subscriptions(Some(account.id), ALL).await.unwrap().items;
    let listed: Vec<_> = listed.iter().map(|status| (status.subscription.id, status.subscription.is_active)).collect();
    assert_eq!(listed, [(kept.id, true), (inactive.id, false)]);
    assert_eq!(world.status(&kept).await.subscription.secrets, kept.secrets);
}

async fn events_and_deliveries_stay(world: World) {
    let ada = world.subscriber("x").await;
    let event = world.batch().event("x").payload(r#"{ "n": 1 }"#).to([&ada]).accept_one().await;
    world.send(3, &ada).await;
    let claimed = world.here.claim(&ada, 3, NOW).await;
    let outcomes = [delivered(&claimed[0], NOW), retried(&claimed[1], NOW, at(60)), failed(&claimed[2], at(1))];
    world.here.finish(outcomes, NOW).await;

    let world = world.reopened().await;
    use DeliveryState::{Delivered, Failed, Waiting};
    assert_eq!(world.states(&ada).await, [Delivered, Waiting, Failed, Waiting]);
    assert_eq!(world.event(event).await.event.payload.get(), r#"{ "n": 1 }"#);
    assert_eq!(world.event(event).await.deliveries.items[0].attempts, [delivered(&claimed[0], NOW).attempt]);
    assert_eq!(world.waiting(&ada).await, 2);
    assert_eq!(world.failures(&ada).await, (2, Some(NOW)));
    assert_eq!(world.here.claim(&ada, 10, at(60)).await.len(), 2);
}

async fn what_was_held_is_due_again(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    world.batch().event("x").to([&ada]).reserved(&[0]).accept().await;
    world.here.claim(&ada, 1, NOW).await;
    let world = world.reopened().await;
    assert_eq!(world.waiting(&ada).await, 3);
    assert_eq!(world.here.claim(&ada, 10, NOW).await.len(), 3);
}

async fn keys_and_fingerprints_stay(world: World) {
    let within = Deduplicate::Within(DAY);
    let first = world.batch().event("x").payload("1").deduplicate(within).key("key", 1, DAY).accept().await;
    let world = world.reopened().await;
    let again = world.batch().event("x").payload("1").deduplicate(within).key("key", 1, DAY).accept().await;
    assert!(again.replayed && again.receipts == first.receipts);
    assert!(world.batch().event("x").payload("1").deduplicate(within).accept().await.receipts[0].duplicate);
}

async fn what_was_answered_is_there_at_once_for_others(world: World) {
    let other = world.process().await;
    for _ in 0..20 {
        let ada = world.subscriber("x").await;
        assert_eq!(other.store.subscription(ada.account, ada.id).await.unwrap().subscription.id, ada.id);
        let event = world.batch().event("x").to([&ada]).accept_one().await;
        assert_eq!(other.store.event(event, ALL).await.unwrap().total, 1);
        let claimed = other.claim_one(&ada, NOW).await;
        other.finish([delivered(&claimed, NOW)], NOW).await;
        assert_eq!(world.states(&ada).await, [DeliveryState::Delivered]);
    }
}
