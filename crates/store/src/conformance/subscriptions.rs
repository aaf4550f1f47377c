//! Subscriptions, from their making to their end.

use hookcast_core::{
    delivery::DeliveryState,
    subscription::{Health, Subscription},
};

use super::{
    process::{delivered, retried},
    world::{ALL, NOW, World, at, pages},
};
use crate::StoreError;

cases![
    everybodys_are_listed_in_the_order_of_their_making,
    a_subscription_reads_back_as_it_was_made,
    subscribing_again_changes_nothing,
    subscribing_twice_at_once_makes_one,
    an_account_has_no_more_than_it_may,
    another_event_or_url_or_account_is_another_subscription,
    subscribing_needs_an_account,
    subscriptions_are_listed_in_the_order_of_their_making,
    anothers_subscription_is_not_found,
    a_deleted_subscription_is_gone,
    a_deleted_subscription_may_be_made_anew,
    what_waits_for_a_deleted_subscription_is_cancelled,
    what_a_deleted_subscription_got_stays,
    deactivating_keeps_what_waits,
    activating_makes_all_that_waits_due_now,
    activating_resets_the_health,
];

async fn a_subscription_reads_back_as_it_was_made(world: World) {
    let ada = world.account("ada").await;
    let mut new = world.new_subscription(&ada, "relation_added", "https://ada.example/hook?token=a%20b");
    new.created_at = at(7);
    let made = world.store().subscribe(new.clone(), None).await.unwrap();
    assert!(made.created);
    for status in [made.status, world.status(&new).await] {
        assert_eq!((status.waiting, status.expired), (0, 0));
        let read = status.subscription;
        assert_eq!((read.id, read.account, &read.user_id), (new.id, ada.id, &ada.user_id));
        assert_eq!((&read.events, &read.url), (&new.events, &new.url));
        assert_eq!(read.secrets, new.secrets);
        assert_eq!((read.is_active, read.health, read.created_at), (true, Health::default(), at(7)));
    }
}

async fn subscribing_again_changes_nothing(world: World) {
    let ada = world.account("ada").await;
    let first = world.subscription(&ada, "relation_added", "https://ada.example/hook").await;
    world.send(2, &first).await;
    world.set_active(&first, false, NOW).await;
    let version = world.version().await;

    let again = world.new_subscription(&ada, "relation_added", "https://ada.example/hook");
    let found = world.store().subscribe(again, None).await.unwrap();
    assert!(!found.created);
    assert_eq!(found.status.subscription.id, first.id);
    assert_eq!(found.status.subscription.secrets, first.secrets);
    assert!(!found.status.subscription.is_active);
    assert_eq!(found.status.waiting, 2);
    assert_eq!(world.version().await, version);
}

async fn subscribing_twice_at_once_makes_one(world: World) {
    let ada = world.account("ada").await;
    let other = world.process().await;
    let [one, two] = [(); 2].map(|()| world.new_subscription(&ada, "x", "https://ada.example"));
    let (one, two) = tokio::join!(world.store().subscribe(one, None), other.store.subscribe(two, None));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.created, two.created);
    assert_eq!(one.status.subscription.id, two.status.subscription.id);
}

async fn an_account_has_no_more_than_it_may(world: World) {
    let (ada, other) = (world.account("ada").await, world.process().await);
    world.subscription(&world.account("bob").await, "x", "https://bob.example").await;
    let first = world.subscription(&ada, "x", "https://ada.example/0").await;
    let [one, two, three] = [1, 2, 3].map(|n| world.new_subscription(&ada, "x", &format!("https://ada.example/{n}")));
    let (one, two) = tokio::join!(world.store().subscribe(one, Some(2)), other.store.subscribe(two, Some(2)),);
    let made = match (one, two) {
        (Ok(made), Err(StoreError::Conflict)) | (Err(StoreError::Conflict), Ok(made)) => made.status.subscription,
        both => panic!("{both:?}"),
    };
    let version = world.version().await;
    assert!(matches!(world.store().subscribe(three.clone(), Some(2)).await, Err(StoreError::Conflict)));
    assert!(matches!(world.store().subscribe(three.clone(), Some(1)).await, Err(StoreError::Conflict)));
    let again = world.new_subscription(&ada, "x", first.url.as_deref().unwrap());
    assert!(!world.store().subscribe(again, Some(1)).await.unwrap().created);
    assert_eq!(world.version().await, version);
    world.store().unsubscribe(ada.id, made.id, NOW).await.unwrap();
    assert!(world.store().subscribe(three, Some(2)).await.unwrap().created);
}

async fn another_event_or_url_or_account_is_another_subscription(world: World) {
    let (ada, bob) = (world.account("ada").await, world.account("bob").await);
    world.subscription(&ada, "x", "https://ada.example").await;
    world.subscription(&ada, "y", "https://ada.example").await;
    world.subscription(&ada, "x", "https://ada.example/").await;
    world.subscription(&bob, "x", "https://ada.example").await;
}

async fn subscribing_needs_an_account(world: World) {
    let nobody = world.new_account("nobody");
    let subscription = world.new_subscription(&nobody, "x", "https://nobody.example");
    assert!(matches!(world.store().subscribe(subscription, None).await, Err(StoreError::NotFound)));
}

async fn subscriptions_are_listed_in_the_order_of_their_making(world: World) {
    let (ada, bob) = (world.account("ada").await, world.account("bob").await);
    let mut made = Vec::new();
    for url in ["https://c.example", "https://a.example", "https://d.example", "https://b.example"] {
        made.push(world.subscription(&ada, "x", url).await.id);
        world.subscription(&bob, "x", url).await;
    }
    for limit in [1, 3, 4, 5] {
        let listed = pages(limit, async |page| world.store().subscriptions(Some(ada.id), page).await.unwrap()).await;
        assert_eq!(listed.iter().map(|status| status.subscription.id).collect::<Vec<_>>(), made);
    }
    let nobodys = world.store().subscriptions(Some(world.new_account("nobody").id), ALL).await.unwrap();
    assert!(nobodys.items.is_empty() && nobodys.next.is_none());
}

async fn anothers_subscription_is_not_found(world: World) {
    let bob = world.account("bob").await;
    let adas = world.subscriber("x").await;
    let version = world.version().await;
    let (store, id) = (world.store(), adas.id);
    assert!(matches!(store.subscription(bob.id, id).await, Err(StoreError::NotFound)));
    assert!(matches!(store.set_active(bob.id, id, false, NOW).await, Err(StoreError::NotFound)));
    assert!(matches!(store.replace(Subscription { account: bob.id, ..adas.clone() }).await, Err(StoreError::NotFound)));
    assert!(matches!(store.unsubscribe(bob.id, id, NOW).await, Err(StoreError::NotFound)));

    assert_eq!(world.version().await, version);
    let status = world.status(&adas).await;
    assert!(status.subscription.is_active);
    assert_eq!(status.subscription.secrets, adas.secrets);
}

async fn a_deleted_subscription_is_gone(world: World) {
    let gone = world.subscriber("x").await;
    world.unsubscribe(&gone).await;
    let version = world.version().await;

    let (store, account, id) = (world.store(), gone.account, gone.id);
    assert!(matches!(store.subscription(account, id).await, Err(StoreError::NotFound)));
    assert!(matches!(store.set_active(account, id, true, NOW).await, Err(StoreError::NotFound)));
    assert!(matches!(store.replace(gone.clone()).await, Err(StoreError::NotFound)));
    assert!(matches!(store.unsubscribe(account, id, NOW).await, Err(StoreError::NotFound)));
    assert!(store.subscriptions(Some(account), ALL).await.unwrap().items.is_empty());
    assert_eq!(world.version().await, version);
}

async fn a_deleted_subscription_may_be_made_anew(world: World) {
    let ada = world.account("ada").await;
    for _ in 0..3 {
        let subscription = world.subscription(&ada, "x", "https://ada.example").await;
        assert_eq!(world.waiting(&subscription).await, 0);
        world.send(2, &subscription).await;
        assert_eq!(world.waiting(&subscription).await, 2);
        world.unsubscribe(&subscription).await;
    }
}

async fn what_waits_for_a_deleted_subscription_is_cancelled(world: World) {
    let gone = world.subscriber("x").await;
    world.send(3, &gone).await;
    world.here.finish([delivered(&world.here.claim(&gone, 1, NOW).await[0], NOW)], NOW).await;
    world.unsubscribe(&gone).await;

    use DeliveryState::{Cancelled, Delivered};
    assert_eq!(world.states(&gone).await, [Delivered, Cancelled, Cancelled]);
    assert!(world.deliveries(&gone).await.iter().all(|record| record.due_at.is_none()));
    assert!(world.due(at(100)).await.subscriptions.is_empty());
    assert!(world.here.claim(&gone, 10, at(100)).await.is_empty());
}

async fn what_a_deleted_subscription_got_stays(world: World) {
    let ada = world.account("ada").await;
    let gone = world.subscription(&ada, "x", "https://ada.example").await;
    let event = world.batch().event("x").to([&gone]).accept_one().await;
    world.here.finish([delivered(&world.here.claim_one(&gone, NOW).await, NOW)], NOW).await;
    world.unsubscribe(&gone).await;

    let record = world.event(event).await.deliveries.items.remove(0);
    assert_eq!((record.subscription, record.state, record.is_active), (gone.id, DeliveryState::Delivered, false));
    assert_eq!((record.user_id, record.url), ("ada".into(), Some("https://ada.example".into())));
    assert_eq!(record.attempts.len(), 1);
}

async fn deactivating_keeps_what_waits(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    world.set_active(&ada, false, NOW).await;

    assert!(!world.is_active(&ada).await);
    assert_eq!(world.waiting(&ada).await, 2);
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting; 2]);
    let due = world.due(at(100)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
    assert!(world.here.claim(&ada, 10, at(100)).await.is_empty());
}

async fn activating_makes_all_that_waits_due_now(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([retried(&claimed[0], NOW, at(500)), retried(&claimed[1], NOW, at(400))], NOW).await;
    world.set_active(&ada, false, at(1)).await;
    world.batch().event("x").to([&ada]).at(at(2)).accept().await;

    world.set_active(&ada, true, at(3)).await;
    assert_eq!(world.due(at(3)).await.subscriptions, [ada.id]);
    assert!(world.deliveries(&ada).await.iter().all(|record| record.due_at.is_some_and(|due| due <= at(3))));
    assert_eq!(world.here.claim(&ada, 10, at(3)).await.len(), 3);
    assert_eq!(world.waiting(&ada).await, 0);
}

async fn activating_resets_the_health(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    world.here.finish([retried(&world.here.claim_one(&ada, NOW).await, NOW, at(60))], NOW).await;
    assert_eq!(world.failures(&ada).await, (1, Some(NOW)));

    world.set_active(&ada, false, at(1)).await;
    assert_eq!(world.health(&ada).await.failure_count, 1);
    let status = world.store().set_active(ada.account, ada.id, true, at(2)).await.unwrap();
    assert!(status.subscription.is_active);
    assert_eq!(status.subscription.health, Health::default());
    assert_eq!(world.health(&ada).await, Health::default());
}

async fn everybodys_are_listed_in_the_order_of_their_making(world: World) {
    let (ada, bob) = (world.account("ada").await, world.account("bob").await);
    let mut all = Vec::new();
    for n in 0..7 {
        let account = if n % 2 == 0 { &ada } else { &bob };
        all.push(world.subscription(account, "x", &format!("https://example.org/{n}")).await);
    }
    world.unsubscribe(&all.remove(3)).await;
    world.send(2, &all[1]).await;
    for limit in [1, 2, 5, 100] {
        let listed = pages(limit, async |page| world.store().subscriptions(None, page).await.unwrap()).await;
        let found: Vec<_> = listed.iter().map(|status| (status.subscription.id, status.waiting)).collect();
        let expected: Vec<_> = all.iter().enumerate().map(|(n, made)| (made.id, if n == 1 { 2 } else { 0 })).collect();
        assert_eq!(found, expected, "{limit}");
    }
}
