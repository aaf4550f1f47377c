//! Taking away what is old.

use std::time::Duration;

use hookcast_core::{
    clock::Timestamp, delivery::DeliveryState, id::EventId, policy::Deduplicate, subscription::Subscription,
};

use super::{
    process::{EVERYTHING, delivered, failed, retried},
    world::{ALL, NOW, World, at, day},
};
use crate::{StoreError, engine::Pass, history::Purged};

cases![
    what_is_old_goes_and_the_rest_stays,
    an_empty_store_has_nothing_to_take_away,
    what_still_waits_expires,
    what_others_wait_for_stays_due,
    what_is_being_sent_is_left_for_later,
    what_is_being_sent_does_not_hold_up_the_rest,
    many_events_go_in_a_few_calls,
    an_event_goes_with_a_thousand_deliveries,
    keys_and_fingerprints_go_when_they_run_out,
    a_late_outcome_finds_nothing,
    places_are_not_given_again,
];

async fn purge(world: &World, before: Timestamp) -> Purged {
    world.store().purge(before, before).await.unwrap()
}

async fn is_gone(world: &World, event: EventId) -> bool {
    matches!(world.store().event(event, ALL).await, Err(StoreError::NotFound))
}

/// An event for one subscription that is delivered at once.
async fn done(world: &World, subscription: &Subscription, now: Timestamp) -> EventId {
    let batch = world.batch().event("x").to([subscription]).reserved(&[0]).at(now);
    let accepted = batch.accept().await;
    world.here.finish([delivered((accepted.held[0][0], subscription), now)], now).await;
    accepted.receipts[0].id
}

async fn what_is_old_goes_and_the_rest_stays(world: World) {
    let ada = world.subscriber("x").await;
    let mut events = Vec::new();
    for days in [1, 2, 3] {
        events.push(done(&world, &ada, day(days)).await);
    }
    assert_eq!(purge(&world, day(2)).await, Purged { events: 1, expired: 0, more: false });
    assert!(is_gone(&world, events[0]).await);
    for kept in &events[1..] {
        assert_eq!(world.event(*kept).await.deliveries.items[0].attempts.len(), 1);
    }
    assert_eq!(world.deliveries(&ada).await.len(), 2);
    assert_eq!(purge(&world, day(2)).await, Purged::default());
    assert_eq!(world.expired(&ada).await, 0);
}

async fn an_empty_store_has_nothing_to_take_away(world: World) {
    assert_eq!(purge(&world, day(2)).await, Purged::default());
    world.batch().event("x").accept().await;
    assert_eq!(purge(&world, day(2)).await, Purged { events: 1, expired: 0, more: false });
}

async fn what_still_waits_expires(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).event("x").to([&ada]).accept().await;
    world.batch().event("x").to([&ada]).at(day(1)).accept().await;
    let first = world.here.claim(&ada, 1, NOW).await;
    world.here.finish([retried(&first[0], NOW, day(3))], NOW).await;

    assert_eq!(purge(&world, day(1)).await, Purged { events: 2, expired: 3, more: false });
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (1, 2));
    assert_eq!((world.waiting(&bob).await, world.expired(&bob).await), (0, 1));
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting]);
    assert_eq!(world.due(day(1)).await.subscriptions, [ada.id]);
}

async fn what_others_wait_for_stays_due(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    world.batch().event("x").to([&ada]).at(day(1)).accept().await;
    assert_eq!(world.due(at(50)).await.subscriptions, [ada.id]);
    purge(&world, day(1)).await;
    let due = world.due(at(50)).await;
    assert_eq!((due.subscriptions, due.next), (vec![], Some(day(1))));
    assert_eq!(world.here.claim(&ada, 10, day(1)).await.len(), 1);
}

async fn what_is_being_sent_is_left_for_later(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    for (expired, reserved) in (0..).zip([&[][..], &[0]]) {
        let accepted = world.batch().event("x").to([&ada, &bob]).reserved(reserved).accept().await;
        let event = accepted.receipts[0].id;
        let outcome = match accepted.held[0].first() {
            Some(held) => delivered((*held, &ada), at(51)),
            None => delivered(&world.here.claim_one(&ada, NOW).await, at(51)),
        };
        assert_eq!(purge(&world, day(2)).await, Purged::default());
        assert_eq!(world.event(event).await.deliveries.items.len(), 2);
        assert_eq!((world.waiting(&bob).await, world.expired(&bob).await), (1, expired));

        assert_eq!(world.here.finish([outcome], at(51)).await.ignored, 0);
        assert_eq!(purge(&world, day(2)).await, Purged { events: 1, expired: 1, more: false });
        assert!(is_gone(&world, event).await);
    }
}

async fn what_is_being_sent_does_not_hold_up_the_rest(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1_000, &ada).await;
    assert_eq!(world.here.claim(&ada, 999, NOW).await.len(), 999);
    let mut calls = 0;
    let mut taken = 0;
    loop {
        let purged = purge(&world, day(2)).await;
        taken += purged.events;
        calls += 1;
        assert!(calls < 100, "there is more for ever");
        if !purged.more {
            break;
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending; 999]);
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (0, 1));
}

async fn many_events_go_in_a_few_calls(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1_000, &ada).await;
    world.batch().event("x").to([&ada]).at(day(3)).accept().await;
    let mut all = Purged::default();
    let mut calls = 0;
    loop {
        let purged = purge(&world, day(2)).await;
        (all.events, all.expired) = (all.events + purged.events, all.expired + purged.expired);
        calls += 1;
        assert_eq!(world.waiting(&ada).await, 1_001 - all.expired);
        if !purged.more {
            break;
        }
    }
    assert!((1..100).contains(&calls));
    assert_eq!((all.events, all.expired), (1_000, 1_000));
    assert_eq!((world.deliveries(&ada).await.len(), world.expired(&ada).await), (1, 1_000));
}

async fn an_event_goes_with_a_thousand_deliveries(world: World) {
    let subscriptions = world.thousand("x").await;
    world.batch().event("x").to(&subscriptions).accept().await;
    assert_eq!(purge(&world, day(2)).await, Purged { events: 1, expired: 1_000, more: false });
    for subscription in subscriptions.iter().step_by(100) {
        assert_eq!((world.waiting(subscription).await, world.expired(subscription).await), (0, 1));
        assert!(world.deliveries(subscription).await.is_empty());
    }
}

async fn keys_and_fingerprints_go_when_they_run_out(world: World) {
    let rule = Deduplicate::Within(Duration::from_secs(100));
    let request = |key, body, now| {
        let batch = world.batch().event("x").payload("1").deduplicate(rule).at(now);
        batch.key(key, body, Duration::from_secs(100)).try_accept()
    };
    let first = request("key", 1, NOW).await.unwrap().receipts.remove(0);
    purge(&world, at(99)).await;
    assert!(request("key", 1, at(99)).await.unwrap().replayed);
    let again = request("other", 1, at(99)).await.unwrap().receipts.remove(0);
    assert!(again.duplicate && again.id == first.id);

    // As if the clock had gone back: what would still count is no longer there.
    world.store().purge(NOW, at(100)).await.unwrap();
    let anew = request("key", 2, at(99)).await.unwrap();
    assert!(!anew.replayed && !anew.receipts[0].duplicate);
}

async fn a_late_outcome_finds_nothing(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let process = world.process().await;
    let lost = process.claim_one(&ada, NOW).await;
    process.leave(NOW).await;
    purge(&world, day(2)).await;
    let finished = process.finish([failed(&lost, at(51))], at(51)).await;
    assert_eq!((finished.ignored, world.health(&ada).await.failure_count), (1, 0));
    process.release(&[lost], at(51)).await;
    assert_eq!(world.waiting(&ada).await, 0);
}

async fn places_are_not_given_again(world: World) {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    let seen = world.here.pass(&ada, 3, EVERYTHING, NOW).await;
    let sent: Vec<_> = world.deliveries(&ada).await.iter().map(|record| record.id).collect();
    let outcomes: Vec<_> = seen.iter().map(|claimed| delivered(claimed, NOW)).collect();
    world.here.finish(outcomes.clone(), NOW).await;
    assert_eq!(purge(&world, day(2)).await.events, 5);

    // Whoever still speaks of what is gone must not mean what came after it.
    let accepted = world.batch().event("x").to([&ada]).reserved(&[0]).accept().await;
    let held = accepted.held[0][0];
    assert!(sent.iter().all(|old| old.position() < held.position()));
    assert_eq!(world.here.finish(outcomes, NOW).await.ignored, 3);
    world.send(2, &ada).await;
    let pass = Pass { after: seen.last().map(|claimed| claimed.id), ..EVERYTHING };
    assert_eq!(world.here.pass(&ada, 10, pass, NOW).await.len(), 2);
}
