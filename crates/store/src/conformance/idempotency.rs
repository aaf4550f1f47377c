//! Requests that are repeated under an idempotency key.

use std::time::Duration;

use hookcast_core::policy::Deduplicate;

use super::world::{NOW, World, at};
use crate::error::AcceptError;

const DAY: u64 = 86_400;
const A_DAY: Duration = Duration::from_secs(DAY);

cases![
    a_repeated_request_gets_the_first_answer,
    a_repetition_needs_neither_catalogue_nor_lease,
    a_key_with_another_body_is_refused,
    another_key_is_another_request,
    a_key_is_forgotten_on_time,
    duplicates_and_repetitions_do_not_mix,
    of_equal_requests_at_once_one_counts,
    of_unequal_requests_at_once_one_is_refused,
];

async fn a_repeated_request_gets_the_first_answer(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    let batch = world.batch().event("x").to([&ada]).reserved(&[0]).event("y").key("key", 1, A_DAY);
    let first = batch.accept().await;
    assert!(!first.replayed);
    for by in [&world.here, &other] {
        let batch = world.batch().event("x").to([&ada]).reserved(&[0]).event("y").key("key", 1, A_DAY).by(by);
        let again = batch.at(at(DAY - 1)).accept().await;
        assert!(again.replayed);
        assert_eq!(again.receipts, first.receipts);
        assert_eq!(again.held, [vec![], vec![]]);
    }
    assert_eq!(world.deliveries(&ada).await.len(), 1);
}

async fn a_repetition_needs_neither_catalogue_nor_lease(world: World) {
    let version = world.version().await;
    let first = world.batch().event("x").key("key", 1, A_DAY).accept().await;
    let other = world.process().await;
    other.leave(NOW).await;
    world.subscriber("x").await;
    let batch = world.batch().event("x").key("key", 1, A_DAY).by(&other).chosen_from(version);
    assert_eq!(batch.accept().await.receipts, first.receipts);
}

async fn a_key_with_another_body_is_refused(world: World) {
    let ada = world.subscriber("x").await;
    let first = world.batch().event("x").key("key", 1, A_DAY).accept().await;
    let other = world.batch().event("x").to([&ada]).key("key", 2, A_DAY).try_accept().await;
    assert!(matches!(other, Err(AcceptError::KeyReused)));
    assert!(world.deliveries(&ada).await.is_empty());
    assert_eq!(world.batch().event("x").key("key", 1, A_DAY).accept().await.receipts, first.receipts);
}

async fn another_key_is_another_request(world: World) {
    let first = world.batch().event("x").key("key", 1, A_DAY).accept_one().await;
    for key in ["Key", "key ", "", "clé"] {
        let accepted = world.batch().event("x").key(key, 1, A_DAY).accept().await;
        assert!(!accepted.replayed && accepted.receipts[0].id != first);
    }
}

async fn a_key_is_forgotten_on_time(world: World) {
    let request = |seconds, body| world.batch().event("x").key("key", body, A_DAY).at(at(seconds)).try_accept();
    let first = request(0, 1).await.unwrap();
    assert_eq!(request(DAY - 1, 1).await.unwrap().receipts, first.receipts);
    // The repetition has not made it last longer, and from here on it is the second body's.
    assert!(!request(DAY, 2).await.unwrap().replayed);
    assert!(matches!(request(2 * DAY - 1, 1).await, Err(AcceptError::KeyReused)));
    assert!(request(2 * DAY - 1, 2).await.unwrap().replayed);
}

async fn duplicates_and_repetitions_do_not_mix(world: World) {
    let ada = world.subscriber("x").await;
    let request = |key| {
        let batch = world.batch().event("x").payload("1").to([&ada]).event("x").payload("1").to([&ada]);
        batch.deduplicate(Deduplicate::Forever).key(key, 1, A_DAY).accept()
    };
    let first = request("one").await;
    assert_eq!(first.receipts.iter().map(|receipt| receipt.duplicate).collect::<Vec<_>>(), [false, true]);
    // The same request is answered the same; the same content in another one is a duplicate.
    assert_eq!(request("one").await.receipts, first.receipts);
    let second = request("two").await;
    assert!(!second.replayed && second.receipts.iter().all(|receipt| receipt.duplicate));
    assert_eq!(request("two").await.receipts, second.receipts);
    assert_eq!(world.deliveries(&ada).await.len(), 1);
}

async fn of_equal_requests_at_once_one_counts(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    let request = |by| world.batch().event("x").to([&ada]).key("key", 1, A_DAY).by(by).accept();
    let (one, two, three) = tokio::join!(request(&world.here), request(&other), request(&world.here));
    assert_eq!([&one, &two, &three].iter().filter(|accepted| !accepted.replayed).count(), 1);
    assert!(one.receipts == two.receipts && two.receipts == three.receipts);
    assert_eq!(world.deliveries(&ada).await.len(), 1);
}

async fn of_unequal_requests_at_once_one_is_refused(world: World) {
    let other = world.process().await;
    let request = |by, body| world.batch().event("x").key("key", body, A_DAY).by(by).try_accept();
    let (one, two) = tokio::join!(request(&world.here, 1), request(&other, 2));
    assert_ne!(one.is_ok(), two.is_ok());
    assert!(matches!(one.and(two), Err(AcceptError::KeyReused)));
}
