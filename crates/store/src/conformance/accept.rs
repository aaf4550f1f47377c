//! Accepting events: what is answered, what is stored, who gets it when.

use std::{collections::HashSet, time::Duration};

use hookcast_core::{delivery::DeliveryState, id::DeliveryId};

use super::{
    process::{delivered, ids},
    world::{NOW, World, at},
};
use crate::{
    StoreError,
    catalogue::CatalogueVersion,
    engine::{Incarnation, Role},
    error::AcceptError,
};

cases![
    a_receipt_tells_of_its_event,
    an_event_reads_back_as_it_was_accepted,
    a_payload_is_kept_byte_for_byte,
    an_event_without_recipients_is_kept,
    a_batch_without_events_is_accepted,
    deliveries_are_in_the_order_of_events_and_recipients,
    what_is_reserved_is_held_and_the_rest_is_free,
    what_is_reserved_is_finished_without_a_claim,
    an_event_of_an_earlier_time_is_due_since_then,
    what_inactive_recipients_get_waits,
    a_stale_catalogue_stores_nothing,
    a_lost_lease_stores_nothing,
    one_event_goes_to_a_thousand,
    processes_may_accept_at_once,
];

async fn a_receipt_tells_of_its_event(world: World) {
    let [ada, bob] = world.subscribers("relation_added", 2).await.try_into().unwrap();
    let batch = world.batch().event("relation_added").payload(r#"{"b": 1, "a": 2.0}"#).to([&ada, &bob]).event("other");
    let accepted = batch.at(at(1)).accept().await;
    assert!(!accepted.replayed);
    let [first, second] = accepted.receipts.try_into().unwrap();
    assert_eq!((first.event.as_str(), first.subscriptions, first.duplicate), ("relation_added", 2, false));
    assert_eq!((second.event.as_str(), second.subscriptions, second.duplicate), ("other", 0, false));
    assert_eq!(first.time, "2026-01-31T12:00:01.000Z");
    assert_eq!(first.md5, world.event(first.id).await.event.md5.to_string());
    assert_ne!(first.id, second.id);
}

async fn an_event_reads_back_as_it_was_accepted(world: World) {
    let ada = world.subscriber("x").await;
    let id = world.batch().event("x").payload(r#"{"n":1}"#).to([&ada]).at(at(3)).accept_one().await;
    let (recorded, claimed) = (world.event(id).await.event, world.here.claim_one(&ada, at(3)).await);
    assert_eq!((claimed.subscription, claimed.attempts), (ada.id, 0));
    assert_eq!(recorded.md5, claimed.event.md5);
    for event in [&recorded, &*claimed.event] {
        assert_eq!((event.id, event.event_type.as_str(), event.time), (id, "x", at(3)));
        assert_eq!(event.payload.get(), r#"{"n":1}"#);
    }
}

async fn a_payload_is_kept_byte_for_byte(world: World) {
    let ada = world.subscriber("x").await;
    let long = format!("[{}1]", "12345678901234567890.000, ".repeat(20_000));
    let spaced = "{ \"b\" : 1.0,\n\t\"a\":1e2 }";
    for payload in ["null", spaced, r#""\u0000 \u00e9 é 𝄞 \/""#, "-0", "[]", &long] {
        let id = world.batch().event("x").payload(payload).to([&ada]).accept_one().await;
        assert_eq!(world.event(id).await.event.payload.get(), payload);
        assert_eq!(world.here.claim_one(&ada, NOW).await.event.payload.get(), payload);
    }
}

async fn an_event_without_recipients_is_kept(world: World) {
    let (before, ada) = (world.batch().event("x").accept_one().await, world.subscriber("x").await);
    let between = world.batch().event("x").to([&ada]).accept_one().await;
    let after = world.batch().event("x").accept_one().await;
    for (id, total) in [(before, 0), (between, 1), (after, 0)] {
        let record = world.event(id).await;
        assert_eq!((record.total, record.deliveries.items.len()), (total, usize::try_from(total).unwrap()));
    }
}

async fn a_batch_without_events_is_accepted(world: World) {
    let accepted = world.batch().accept().await;
    assert!(accepted.receipts.is_empty() && accepted.held.is_empty() && !accepted.replayed);
}

async fn deliveries_are_in_the_order_of_events_and_recipients(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    let batch = world.batch().event("x").to([&cat, &ada]).event("x").to([&bob, &cat, &ada]);
    let first = batch.accept().await;
    let second = world.batch().event("x").to([&ada]).accept_one().await;

    let mut deliveries = Vec::new();
    for (event, recipients) in [
        (first.receipts[0].id, vec![cat.id, ada.id]),
        (first.receipts[1].id, vec![bob.id, cat.id, ada.id]),
        (second, vec![ada.id]),
    ] {
        let page = world.event(event).await.deliveries;
        assert_eq!(page.items.iter().map(|record| record.subscription).collect::<Vec<_>>(), recipients);
        assert!(page.items.iter().all(|record| record.event == event && record.event_type == "x"));
        deliveries.extend(page.items.iter().map(|record| record.id));
    }
    assert!(deliveries.is_sorted_by_key(|id| id.position()));
    assert_eq!(deliveries.iter().collect::<HashSet<_>>().len(), 6);
}

async fn what_is_reserved_is_held_and_the_rest_is_free(world: World) {
    let [ada, bob, cat] = world.subscribers("x", 3).await.try_into().unwrap();
    let batch = world.batch().event("x").to([&ada, &bob, &cat]).reserved(&[0, 2]).event("x").to([&ada, &bob]);
    let accepted = batch.accept().await;
    let deliveries = world.event(accepted.receipts[0].id).await.deliveries.items;
    assert_eq!(accepted.held, [vec![deliveries[0].id, deliveries[2].id], vec![]]);

    use DeliveryState::{Sending, Waiting};
    assert_eq!(world.states(&ada).await, [Sending, Waiting]);
    assert_eq!(world.states(&bob).await, [Waiting, Waiting]);
    assert_eq!(world.states(&cat).await, [Sending]);
    assert_eq!(deliveries.iter().map(|record| record.due_at).collect::<Vec<_>>(), [None, Some(NOW), None]);
    assert_eq!((world.waiting(&ada).await, world.waiting(&bob).await, world.waiting(&cat).await), (1, 2, 0));

    for process in [&world.here, &world.process().await] {
        assert!(process.claim(&cat, 10, at(100)).await.is_empty());
    }
    let free = world.process().await.claim_all([&ada, &bob, &cat], 10, NOW).await;
    assert_eq!(free.len(), 3);
    assert!(!ids(&free).iter().any(|id| accepted.held[0].contains(id)));
}

async fn what_is_reserved_is_finished_without_a_claim(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    let accepted = world.batch().event("x").to([&ada]).reserved(&[0]).by(&other).accept().await;
    let outcome = [delivered((accepted.held[0][0], &ada), NOW)];
    assert_eq!(world.here.finish(outcome.clone(), NOW).await.ignored, 1);
    assert_eq!(other.finish(outcome, NOW).await.ignored, 0);
    assert_eq!(world.states(&ada).await, [DeliveryState::Delivered]);
}

async fn an_event_of_an_earlier_time_is_due_since_then(world: World) {
    let ada = world.subscriber("x").await;
    let batch = world.batch().event("x").made(at(1)).to([&ada]).event("x").made(NOW).to([&ada]);
    batch.at(at(2)).accept().await;
    // Lists may follow the time of the events or the order of acceptance.
    let mut due: Vec<_> = world.deliveries(&ada).await.iter().map(|record| record.due_at).collect();
    due.sort_unstable();
    assert_eq!(due, [Some(NOW), Some(at(1))]);
    assert_eq!(world.due(NOW).await.subscriptions, [ada.id]);
}

async fn what_inactive_recipients_get_waits(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.set_active(&ada, false, NOW).await;
    let id = world.batch().event("x").to([&ada, &bob]).reserved(&[1]).accept_one().await;
    assert_eq!(world.event(id).await.total, 2);
    assert_eq!((world.states(&ada).await, world.waiting(&ada).await), (vec![DeliveryState::Waiting], 1));
    assert!(world.due(at(100)).await.subscriptions.is_empty());
    assert!(world.here.claim(&ada, 10, at(100)).await.is_empty());

    world.set_active(&ada, true, at(200)).await;
    assert_eq!(world.due(at(200)).await.subscriptions, [ada.id]);
    assert_eq!(world.here.claim_one(&ada, at(200)).await.event.id, id);
}

async fn a_stale_catalogue_stores_nothing(world: World) {
    let ada = world.subscriber("x").await;
    let version = world.version().await;
    world.unsubscribe(&ada).await;
    for wrong in [version, CatalogueVersion(0), CatalogueVersion(u64::from(u32::MAX))] {
        let batch = world.batch().event("x").to([&ada]).key("key", 1, Duration::MAX).chosen_from(wrong);
        assert!(matches!(batch.try_accept().await, Err(AcceptError::StaleCatalogue)));
    }
    assert!(world.deliveries(&ada).await.is_empty());
    // Not even the key is taken.
    assert!(!world.batch().event("y").key("key", 2, Duration::MAX).accept().await.replayed);
}

async fn a_lost_lease_stores_nothing(world: World) {
    let ada = world.subscriber("x").await;
    let lost = world.joining(Role::Server, Duration::from_secs(10), NOW).await;
    let mut unknown = world.process().await;
    unknown.holder = Incarnation(u64::from(u32::MAX));
    let left = world.process().await;
    left.leave(NOW).await;
    for process in [&lost, &unknown, &left] {
        let batch = world.batch().event("x").to([&ada]).key("key", 1, Duration::MAX).by(process).at(at(10));
        assert!(matches!(batch.try_accept().await, Err(AcceptError::LeaseLost)));
    }
    assert!(world.deliveries(&ada).await.is_empty());
    assert!(!world.batch().event("x").key("key", 2, Duration::MAX).accept().await.replayed);

    let last_moment = NOW.plus(Duration::from_millis(9_999));
    world.batch().event("x").to([&ada]).reserved(&[0]).by(&lost).at(last_moment).accept().await;
}

async fn one_event_goes_to_a_thousand(world: World) {
    let subscriptions = world.thousand("x").await;
    let reserved: Vec<u32> = (0..1_000).step_by(2).collect();
    let accepted = world.batch().event("x").to(&subscriptions).reserved(&reserved).accept().await;

    assert_eq!(accepted.receipts[0].subscriptions, 1_000);
    assert_eq!(accepted.held[0].len(), 500);
    let record = world.event(accepted.receipts[0].id).await;
    assert_eq!((record.total, record.deliveries.items.len()), (1_000, 1_000));
    let held = record.deliveries.items.iter().step_by(2).map(|delivery| delivery.id).collect::<Vec<DeliveryId>>();
    assert_eq!(accepted.held[0], held);
    assert_eq!((world.waiting(&subscriptions[0]).await, world.waiting(&subscriptions[1]).await), (0, 1));
    assert_eq!(world.here.claim_all(&subscriptions, 10, NOW).await.len(), 500);
}

async fn processes_may_accept_at_once(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    let batch = |by| world.batch().events(5, &ada).by(by).try_accept();
    let (one, two, three) = tokio::join!(batch(&world.here), batch(&other), batch(&world.here));
    for accepted in [one, two, three] {
        let accepted = accepted.unwrap();
        let mut positions = Vec::new();
        for receipt in accepted.receipts {
            positions.push(world.event(receipt.id).await.deliveries.items[0].id.position());
        }
        assert!(positions.is_sorted());
    }
    assert_eq!(world.deliveries(&ada).await.len(), 15);
    assert_eq!(world.waiting(&ada).await, 15);
    let unknown = world.new_event_id(NOW);
    assert!(matches!(world.store().event(unknown, super::world::ALL).await, Err(StoreError::NotFound)));
}
