//! What people read.

use hookcast_core::{
    delivery::DeliveryState::{self, Sending},
    id::DeliveryId,
    subscription::Subscription,
};

use super::{
    process::{delivered, failed, retried},
    world::{ALL, NOW, World, at, pages},
};
use crate::{
    StoreError,
    page::{Cursor, PageRequest},
};

cases![
    an_unknown_event_is_not_found,
    an_events_deliveries_are_read_page_by_page,
    deliveries_are_listed_the_newest_first,
    deliveries_are_listed_by_state,
    a_rare_state_is_found_among_thousands,
    long_lists_are_whole_while_some_are_sent,
    a_list_goes_on_where_it_was_while_more_arrives,
    a_delivery_tells_of_its_event_and_subscription,
    an_unknown_subscription_has_no_deliveries,
    cursors_are_texts,
    the_store_is_well,
];

async fn an_unknown_event_is_not_found(world: World) {
    world.batch().event("x").accept().await;
    let unknown = world.new_event_id(NOW);
    assert!(matches!(world.store().event(unknown, ALL).await, Err(StoreError::NotFound)));
}

async fn an_events_deliveries_are_read_page_by_page(world: World) {
    let subscriptions = world.subscribers("x", 7).await;
    world.batch().event("x").to(&subscriptions).accept().await;
    let id = world.batch().event("x").to(&subscriptions).accept_one().await;
    world.batch().event("x").to(&subscriptions).accept().await;
    for limit in [1, 3, 7, 8] {
        let deliveries = pages(limit, async |page| {
            let record = world.store().event(id, page).await.unwrap();
            assert_eq!((record.event.id, record.total), (id, 7));
            record.deliveries
        });
        let deliveries = deliveries.await;
        assert!(deliveries.iter().all(|record| record.event == id));
        let recipients: Vec<_> = deliveries.iter().map(|record| record.subscription).collect();
        assert_eq!(recipients, subscriptions.iter().map(|subscription| subscription.id).collect::<Vec<_>>());
    }
}

async fn deliveries_are_listed_the_newest_first(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let mut events = Vec::new();
    for seconds in 0..7 {
        events.push(world.batch().event("x").to([&ada, &bob]).at(at(seconds)).accept_one().await);
    }
    events.reverse();
    for limit in [1, 3, 7, 8] {
        let listed = pages(limit, async |page| world.store().deliveries(ada.id, None, page).await.unwrap()).await;
        assert_eq!(listed.iter().map(|record| record.event).collect::<Vec<_>>(), events);
        assert!(listed.iter().all(|record| record.subscription == ada.id));
    }
}

async fn long_lists_are_whole_while_some_are_sent(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    let (mut to_ada, mut outcomes) = (Vec::new(), Vec::new());
    for round in 0..30 {
        let mut batch = world.batch();
        for _ in 0..50 {
            batch = batch.event("x").to([&ada, &bob, &cat]).reserved(&[0, 1]);
        }
        for (n, held) in batch.accept().await.held.into_iter().enumerate() {
            // Those of one subscription end in time, of the other one some are still sent.
            outcomes.push(delivered((held[1], &bob), NOW));
            if (round + n) % 7 != 0 {
                outcomes.push(delivered((held[0], &ada), NOW));
            }
            to_ada.push((held[0], (round + n) % 7 == 0));
        }
        world.here.finish(std::mem::take(&mut outcomes), NOW).await;
    }
    to_ada.reverse();
    let list = async |subscription: &Subscription, state| {
        pages(400, async |page| world.store().deliveries(subscription.id, state, page).await.unwrap()).await
    };
    let listed: Vec<_> = list(&ada, None).await.iter().map(|record| (record.id, record.state == Sending)).collect();
    assert!(listed == to_ada);
    let is_sending = |(id, is_sending): &(DeliveryId, bool)| is_sending.then_some(*id);
    let sending: Vec<_> = list(&ada, Some(Sending)).await.iter().map(|record| record.id).collect();
    assert!(sending == to_ada.iter().filter_map(is_sending).collect::<Vec<_>>());
    let to_bob = list(&bob, Some(DeliveryState::Delivered)).await;
    assert!(to_bob.len() == 1_500 && to_bob.iter().all(|record| record.attempts.len() == 1));
    assert_eq!((list(&cat, Some(DeliveryState::Waiting)).await.len(), world.waiting(&cat).await), (1_500, 1_500));

    world.here.leave(NOW).await;
    assert_eq!(world.waiting(&ada).await, to_ada.iter().filter(|(_, is_sending)| *is_sending).count() as u64);
    let listed: Vec<_> = list(&ada, None).await.iter().map(|record| record.id).collect();
    assert!(listed == to_ada.iter().map(|(id, _)| *id).collect::<Vec<_>>());
}

async fn deliveries_are_listed_by_state(world: World) {
    let ada = world.subscriber("x").await;
    world.send(10, &ada).await;
    let claimed = world.here.claim(&ada, 7, NOW).await;
    let outcomes = [
        delivered(&claimed[0], NOW),
        failed(&claimed[1], NOW),
        delivered(&claimed[2], NOW),
        retried(&claimed[3], NOW, at(60)),
        delivered(&claimed[4], NOW),
    ];
    world.here.finish(outcomes, NOW).await;
    use DeliveryState::{Cancelled, Delivered, Expired, Failed, Waiting};
    for (state, count) in [(Delivered, 3), (Failed, 1), (Waiting, 4), (Sending, 2), (Expired, 0), (Cancelled, 0)] {
        let read = async |page| world.store().deliveries(ada.id, Some(state), page).await.unwrap();
        let listed = pages(2, read).await;
        assert_eq!(listed.len(), count, "{state}");
        assert!(listed.iter().all(|record| record.state == state));
        assert!(listed.is_sorted_by(|newer, older| newer.id.position() > older.id.position()));
    }
}

async fn a_rare_state_is_found_among_thousands(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1_500, &ada).await;
    let claimed = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([delivered(&claimed[0], NOW), delivered(&claimed[1], NOW)], NOW).await;
    world.send(1_500, &ada).await;
    let read = async |page| world.store().deliveries(ada.id, Some(DeliveryState::Delivered), page).await.unwrap();
    let listed: Vec<_> = pages(1, read).await.iter().map(|record| record.id).collect();
    assert_eq!(listed, [claimed[1].id, claimed[0].id]);
    let waiting = async |page| world.store().deliveries(ada.id, Some(DeliveryState::Waiting), page).await.unwrap();
    assert_eq!(pages(900, waiting).await.len(), 2_998);
}

async fn a_list_goes_on_where_it_was_while_more_arrives(world: World) {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    let before: Vec<_> = world.deliveries(&ada).await.iter().rev().map(|record| record.id).collect();
    let listed = pages(2, async |page| {
        let page = world.store().deliveries(ada.id, None, page).await.unwrap();
        world.send(3, &ada).await;
        page
    });
    assert_eq!(listed.await.iter().map(|record| record.id).collect::<Vec<_>>(), before);
}

async fn a_delivery_tells_of_its_event_and_subscription(world: World) {
    let ada = world.account("ada").await;
    let hook = world.subscription(&ada, "relation_added", "https://ada.example/hook?key=1").await;
    let event = world.batch().event("relation_added").to([&hook]).at(at(5)).accept_one().await;
    let record = world.deliveries(&hook).await.remove(0);
    assert_eq!((record.event, record.event_type.as_str(), record.subscription), (event, "relation_added", hook.id));
    assert_eq!((record.user_id.as_str(), record.url.as_deref()), ("ada", Some("https://ada.example/hook?key=1")));
    assert_eq!((record.is_active, record.state, record.due_at), (true, DeliveryState::Waiting, Some(at(5))));
    assert_eq!(record.id.time(), at(5));
    assert!(record.attempts.is_empty());
    assert_eq!(world.event(event).await.deliveries.items[0].id, record.id);

    world.set_active(&hook, false, at(6)).await;
    assert!(!world.deliveries(&hook).await[0].is_active);
}

async fn an_unknown_subscription_has_no_deliveries(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let unknown = world.new_subscription(&world.new_account("nobody"), "x", "https://nobody.example").id;
    let page = world.store().deliveries(unknown, None, ALL).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

async fn cursors_are_texts(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let list = async |page| world.store().deliveries(ada.id, None, page).await.unwrap();
    let cursor = list(PageRequest { limit: 2, cursor: None }).await.next.unwrap();
    let read: Cursor = cursor.to_string().parse().unwrap();
    let rest = list(PageRequest { limit: 2, cursor: Some(read) }).await;
    assert_eq!((rest.items.len(), rest.next), (1, None));
}

async fn the_store_is_well(world: World) {
    world.store().check().await.unwrap();
    world.process().await.store.check().await.unwrap();
}
