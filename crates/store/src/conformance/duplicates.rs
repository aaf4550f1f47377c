//! Events of equal content.

use std::time::Duration;

use hookcast_core::policy::Deduplicate;

use super::{
    batch::BatchBuilder,
    world::{ALL, NOW, World, at},
};
use crate::{engine::Receipt, error::AcceptError};

const HOUR: u64 = 3_600;
const WITHIN_AN_HOUR: Deduplicate = Deduplicate::Within(Duration::from_secs(HOUR));

cases![
    an_equal_event_is_sent_once,
    a_duplicate_gets_the_first_ones_receipt,
    equal_events_in_a_batch_are_sent_once,
    content_is_equal_however_it_is_written,
    another_type_or_content_is_no_duplicate,
    the_window_ends_on_time_and_begins_anew,
    a_duplicate_does_not_lengthen_the_window,
    without_a_window_equal_events_are_never_sent_again,
    where_the_rule_is_off_every_event_is_sent,
    an_override_is_sent_and_leaves_the_first_as_it_was,
    an_override_may_be_the_first,
    an_override_is_sent_within_a_batch,
    what_is_refused_is_no_first,
    the_reservations_of_a_duplicate_are_void,
    of_equal_events_at_once_one_is_sent,
];

/// A batch of one event whose content is equal to all the others'.
fn equal(world: &World) -> BatchBuilder<'_> {
    world.batch().event("x").payload(r#"{"n":1}"#).deduplicate(WITHIN_AN_HOUR)
}

async fn receipt(batch: BatchBuilder<'_>) -> Receipt {
    batch.accept().await.receipts.remove(0)
}

async fn an_equal_event_is_sent_once(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    equal(&world).to([&ada]).accept().await;
    for by in [&world.here, &other] {
        assert!(receipt(equal(&world).to([&ada]).by(by)).await.duplicate);
    }
    assert_eq!(world.deliveries(&ada).await.len(), 1);
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn a_duplicate_gets_the_first_ones_receipt(world: World) {
    let ada = world.subscriber("x").await;
    // An event waits a little between its making and its acceptance.
    let first = receipt(equal(&world).to([&ada]).made(NOW).at(at(1))).await;
    let second = receipt(equal(&world).to([&ada]).made(at(2)).at(at(3))).await;
    assert_eq!((first.duplicate, first.subscriptions), (false, 1));
    assert_eq!(second, Receipt { duplicate: true, subscriptions: 0, ..first });
}

async fn equal_events_in_a_batch_are_sent_once(world: World) {
    let ada = world.subscriber("x").await;
    let batch = ["1", "2", "1", "2", "3"]
        .into_iter()
        .fold(world.batch(), |batch, content| batch.event("x").payload(content).to([&ada]));
    let receipts = batch.deduplicate(WITHIN_AN_HOUR).accept().await.receipts;
    let duplicates: Vec<_> = receipts.iter().map(|receipt| receipt.duplicate).collect();
    assert_eq!(duplicates, [false, false, true, true, false]);
    assert_eq!((receipts[2].id, &receipts[2].time), (receipts[0].id, &receipts[0].time));
    assert_eq!(receipts[3].id, receipts[1].id);
    assert_eq!(world.deliveries(&ada).await.len(), 3);
}

async fn content_is_equal_however_it_is_written(world: World) {
    let written = |payload| receipt(world.batch().event("x").payload(payload).deduplicate(WITHIN_AN_HOUR));
    assert!(!written(r#"{"a":1,"b":"é"}"#).await.duplicate);
    assert!(written("{ \"b\": \"\\u00e9\", \"a\": 1 }").await.duplicate);
}

async fn another_type_or_content_is_no_duplicate(world: World) {
    equal(&world).accept().await;
    assert!(!receipt(world.batch().event("y").payload(r#"{"n":1}"#).deduplicate(WITHIN_AN_HOUR)).await.duplicate);
    assert!(!receipt(world.batch().event("x").payload(r#"{"n":2}"#).deduplicate(WITHIN_AN_HOUR)).await.duplicate);
}

async fn the_window_ends_on_time_and_begins_anew(world: World) {
    let first = receipt(equal(&world)).await;
    assert!(receipt(equal(&world).at(at(HOUR - 1))).await.duplicate);
    let second = receipt(equal(&world).at(at(HOUR))).await;
    assert!(!second.duplicate && second.id != first.id);
    let third = receipt(equal(&world).at(at(2 * HOUR - 1))).await;
    assert!(third.duplicate && third.id == second.id);
}

async fn a_duplicate_does_not_lengthen_the_window(world: World) {
    for seconds in [0, HOUR / 2, HOUR - 1] {
        equal(&world).at(at(seconds)).accept().await;
    }
    assert!(!receipt(equal(&world).at(at(HOUR))).await.duplicate);
}

async fn without_a_window_equal_events_are_never_sent_again(world: World) {
    let first = receipt(equal(&world).deduplicate(Deduplicate::Forever)).await;
    world.store().purge(at(1_000 * HOUR), at(1_000 * HOUR)).await.unwrap();
    // Even the event itself may be gone by then.
    assert!(world.store().event(first.id, ALL).await.is_err());
    let last = receipt(equal(&world).deduplicate(Deduplicate::Forever).at(at(900_000))).await;
    assert!(last.duplicate && last.id == first.id);
}

async fn where_the_rule_is_off_every_event_is_sent(world: World) {
    let ada = world.subscriber("x").await;
    let off = || equal(&world).to([&ada]).deduplicate(Deduplicate::Off);
    assert!(!receipt(off()).await.duplicate);
    assert!(!receipt(off()).await.duplicate);
    // Nothing was noted that would make this one a duplicate.
    assert!(!receipt(equal(&world).to([&ada])).await.duplicate);
    assert!(!receipt(off()).await.duplicate);
    assert_eq!(world.deliveries(&ada).await.len(), 4);
}

async fn an_override_is_sent_and_leaves_the_first_as_it_was(world: World) {
    let ada = world.subscriber("x").await;
    let first = receipt(equal(&world).to([&ada])).await;
    let second = receipt(equal(&world).to([&ada]).even_if_duplicate().at(at(HOUR / 2))).await;
    assert!(!second.duplicate && second.id != first.id);
    assert_eq!(receipt(equal(&world).at(at(HOUR - 1))).await.id, first.id);
    assert_eq!(world.deliveries(&ada).await.len(), 2);
    assert!(!receipt(equal(&world).at(at(HOUR))).await.duplicate);
}

async fn an_override_may_be_the_first(world: World) {
    let first = receipt(equal(&world).even_if_duplicate()).await;
    assert!(!first.duplicate);
    let second = receipt(equal(&world)).await;
    assert!(second.duplicate && second.id == first.id);
}

async fn an_override_is_sent_within_a_batch(world: World) {
    let batch = [false, true, false].into_iter().fold(world.batch(), |batch, overrides| {
        let batch = batch.event("x").payload("1");
        if overrides { batch.even_if_duplicate() } else { batch }
    });
    let receipts = batch.deduplicate(WITHIN_AN_HOUR).accept().await.receipts;
    assert_eq!(receipts.iter().map(|receipt| receipt.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(receipts[2].id, receipts[0].id);
}

async fn what_is_refused_is_no_first(world: World) {
    let version = world.version().await;
    world.subscriber("x").await;
    let refused = equal(&world).chosen_from(version).try_accept().await;
    assert!(matches!(refused, Err(AcceptError::StaleCatalogue)));
    assert!(!receipt(equal(&world)).await.duplicate);
}

async fn the_reservations_of_a_duplicate_are_void(world: World) {
    let ada = world.subscriber("x").await;
    let batch = equal(&world).to([&ada]).reserved(&[0]).event("x").payload(r#"{"n":1}"#).to([&ada]).reserved(&[0]);
    let accepted = batch.event("x").to([&ada]).reserved(&[0]).accept().await;
    assert_eq!(accepted.held.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(world.deliveries(&ada).await.len(), 2);
}

async fn of_equal_events_at_once_one_is_sent(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    let send = |by| receipt(equal(&world).to([&ada]).by(by));
    let (one, two) = tokio::join!(send(&world.here), send(&other));
    assert_ne!(one.duplicate, two.duplicate);
    assert_eq!(one.id, two.id);
    assert_eq!(world.deliveries(&ada).await.len(), 1);
}
