//! Changing a subscription.

use hookcast_core::{
    options::{Options, Ordering},
    subscription::Subscription,
};

use super::world::{ALL, NOW, World};
use crate::catalogue::{CatalogueVersion, Replaced};

cases![
    what_is_replaced_is_read_back_and_told,
    what_has_changed_meanwhile_is_not_replaced,
    two_subscriptions_are_never_alike,
    what_waits_stays,
    options_are_kept_when_it_is_made,
];

async fn what_is_replaced_is_read_back_and_told(world: World) {
    let ada = world.subscriber("x").await;
    let version = world.version().await;
    let options = Options { ordering: Some(Ordering::Key), rate_limit: Some(2.5), ..Options::default() };
    let secrets = world.new_secrets();
    let changed = world
        .change(&ada, |ada| {
            ada.events = "a,b_*".parse().unwrap();
            ada.url = Some("https://ada.example/new".into());
            ada.options = options.clone();
            ada.secrets = secrets.clone();
        })
        .await;
    let told = world.store().changes_since(version).await.unwrap();
    assert!(told.version > version && told.changed.len() == 1);
    let read = world.status(&ada).await.subscription;
    for subscription in [&changed, &read, &told.changed[0]] {
        assert_eq!(subscription.events.to_string(), "a,b_*");
        assert_eq!(subscription.url.as_deref(), Some("https://ada.example/new"));
        assert_eq!(subscription.options, options);
        assert_eq!(subscription.secrets, secrets);
        assert_eq!((subscription.is_active, subscription.created_at), (true, NOW));
        assert!(subscription.version > ada.version);
    }
}

async fn what_has_changed_meanwhile_is_not_replaced(world: World) {
    let ada = world.subscriber("x").await;
    let early = world.status(&ada).await.subscription;
    world.set_active(&ada, false, NOW).await;
    let version = world.version().await;
    let wish = Subscription { url: Some("https://late.example".into()), ..early };
    assert!(matches!(world.store().replace(wish).await.unwrap(), Replaced::Outdated));
    assert_eq!(world.status(&ada).await.subscription.url, ada.url);
    assert_eq!(world.version().await, version);
    // Read again, it may be.
    world.change(&ada, |ada| ada.url = Some("https://late.example".into())).await;
}

async fn two_subscriptions_are_never_alike(world: World) {
    let account = world.account("ada").await;
    let first = world.subscription(&account, "x", "https://ada.example/1").await;
    let second = world.subscription(&account, "x", "https://ada.example/2").await;
    let mut wish = world.status(&second).await.subscription;
    wish.url.clone_from(&first.url);
    assert!(matches!(world.store().replace(wish.clone()).await.unwrap(), Replaced::Taken));
    // Not of itself, and not of one that is gone.
    world.change(&second, |_| {}).await;
    world.unsubscribe(&first).await;
    let changed = world.change(&second, |second| second.url.clone_from(&first.url)).await;
    assert_eq!(changed.url, first.url);
    // What it was before is free.
    world.subscription(&account, "x", "https://ada.example/2").await;
    let again = world
        .store()
        .subscribe(world.new_subscription(&account, "x", first.url.as_deref().unwrap()), None)
        .await
        .unwrap();
    assert!(!again.created && again.status.subscription.id == second.id);
}

async fn what_waits_stays(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    world.change(&ada, |ada| ada.url = Some("https://moved.example".into())).await;
    assert_eq!(world.waiting(&ada).await, 3);
    assert_eq!(world.here.claim(&ada, 10, NOW).await.len(), 3);
}

async fn options_are_kept_when_it_is_made(world: World) {
    let options =
        Options { max_in_flight: Some(7), filter: Some("$.payload[?@.a == 'ü']".into()), ..Options::default() };
    let ada = world.subscriber_with("x", options.clone()).await;
    assert_eq!(ada.options, options);
    let all = world.store().changes_since(CatalogueVersion(0)).await.unwrap().changed;
    assert_eq!(all[0].options, options);
    let listed = world.store().subscriptions(Some(ada.account), ALL).await.unwrap().items;
    assert_eq!(listed[0].subscription.options, options);
}
