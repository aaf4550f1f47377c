//! Leases: who holds what, and until when.

use std::time::Duration;

use hookcast_core::delivery::DeliveryState;

use super::{
    process::{delivered, ids},
    world::{LONG, NOW, World, at},
};
use crate::{
    StoreError,
    engine::{Incarnation, Role},
};

const TEN: Duration = Duration::from_secs(10);

cases![
    every_process_is_another,
    a_lease_is_renewed_in_time,
    a_lease_that_has_run_out_can_be_renewed_until_somebody_ends_it,
    an_unknown_lease_is_not_renewed,
    rescue_frees_what_expired_holders_held,
    rescue_frees_what_was_reserved,
    rescue_counts_only_what_is_due_again,
    until_it_is_rescued_an_outcome_counts,
    who_leaves_frees_what_it_held,
    leaving_twice_is_no_harm,
    an_only_server_frees_what_servers_held,
    another_server_frees_nothing,
];

async fn every_process_is_another(world: World) {
    let first = world.process().await.holder;
    let second = world.joining(Role::Pass, TEN, NOW).await;
    second.leave(NOW).await;
    let third = world.joining(Role::OnlyServer, TEN, NOW).await.holder;
    assert!(first != second.holder && second.holder != third && third != first);
    // Nor is the name of one that has left given again.
    let fourth = world.process().await.holder;
    assert!(![world.here.holder, first, second.holder, third].contains(&fourth));
}

async fn a_lease_is_renewed_in_time(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let process = world.joining(Role::Server, TEN, NOW).await;
    process.claim(&ada, 1, NOW).await;
    for seconds in [5, 14, 23] {
        process.renew(TEN, at(seconds)).await.unwrap();
        assert_eq!(world.store().rescue(at(seconds + 9)).await.unwrap(), 0);
    }
    assert_eq!(process.claim(&ada, 1, at(32)).await.len(), 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending; 2]);
}

async fn a_lease_that_has_run_out_can_be_renewed_until_somebody_ends_it(world: World) {
    let process = world.joining(Role::Server, TEN, NOW).await;
    process.renew(TEN, at(15)).await.unwrap();
    assert_eq!(world.store().rescue(at(24)).await.unwrap(), 0);
    process.renew(TEN, at(24)).await.unwrap();
    world.store().rescue(at(34)).await.unwrap();
    assert!(matches!(process.renew(TEN, at(34)).await, Err(StoreError::NotFound)));
}

async fn an_unknown_lease_is_not_renewed(world: World) {
    let process = world.process().await;
    process.leave(NOW).await;
    assert!(matches!(process.renew(TEN, NOW).await, Err(StoreError::NotFound)));
    let renewed = world.store().renew(Incarnation(u64::from(u32::MAX)), TEN, NOW).await;
    assert!(matches!(renewed, Err(StoreError::NotFound)));
}

async fn rescue_frees_what_expired_holders_held(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.send(4, &ada).await;
    world.send(1, &bob).await;
    let short = world.joining(Role::Server, TEN, NOW).await;
    let shorter = world.joining(Role::Pass, TEN / 2, NOW).await;
    let lost = short.claim(&ada, 2, NOW).await;
    let lost_too = shorter.claim_one(&bob, NOW).await;
    let kept = world.here.claim(&ada, 1, NOW).await;

    assert_eq!(world.store().rescue(at(4)).await.unwrap(), 0);
    assert_eq!(world.store().rescue(at(10)).await.unwrap(), 3);
    assert_eq!(world.store().rescue(at(10)).await.unwrap(), 0);
    assert_eq!((world.waiting(&ada).await, world.waiting(&bob).await), (3, 1));
    assert_eq!(world.delivery(&ada, kept[0].id).await.state, DeliveryState::Sending);
    for (subscription, id) in [(&ada, lost[0].id), (&ada, lost[1].id), (&bob, lost_too.id)] {
        let record = world.delivery(subscription, id).await;
        assert_eq!((record.state, record.due_at), (DeliveryState::Waiting, Some(at(10))));
    }
    assert_eq!(world.due(at(10)).await.subscriptions.len(), 2);
    assert_eq!(world.here.claim_one(&bob, at(10)).await.attempts, 0);
    assert_eq!(short.finish([delivered(&lost[0], at(11))], at(11)).await.ignored, 1);
}

async fn rescue_frees_what_was_reserved(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let process = world.joining(Role::Server, TEN, NOW).await;
    world.batch().event("x").to([&ada, &bob]).reserved(&[0, 1]).by(&process).accept().await;
    assert_eq!(world.store().rescue(at(10)).await.unwrap(), 2);
    assert_eq!(world.here.claim_all([&ada, &bob], 1, at(10)).await.len(), 2);
}

async fn rescue_counts_only_what_is_due_again(world: World) {
    let [ada, gone] = world.subscribers("x", 2).await.try_into().unwrap();
    let process = world.joining(Role::Server, TEN, NOW).await;
    world.batch().event("x").to([&ada, &gone]).reserved(&[0, 1]).by(&process).accept().await;
    world.unsubscribe(&gone).await;
    assert_eq!(world.store().rescue(at(10)).await.unwrap(), 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting]);
    assert_eq!(world.states(&gone).await, [DeliveryState::Cancelled]);
}

async fn until_it_is_rescued_an_outcome_counts(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let process = world.joining(Role::Server, TEN, NOW).await;
    let claimed = process.claim_one(&ada, NOW).await;
    // Nobody else can have it yet, so that there is no reason to send it again.
    assert_eq!(process.finish([delivered(&claimed, at(11))], at(11)).await.ignored, 0);
    assert_eq!(world.store().rescue(at(12)).await.unwrap(), 0);
    assert_eq!(world.states(&ada).await, [DeliveryState::Delivered]);
}

async fn who_leaves_frees_what_it_held(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let process = world.process().await;
    let held = process.claim(&ada, 2, NOW).await;
    process.leave(at(5)).await;
    assert_eq!(world.waiting(&ada).await, 3);
    assert_eq!(world.delivery(&ada, held[0].id).await.due_at, Some(at(5)));
    assert_eq!(world.here.claim(&ada, 10, at(5)).await.len(), 3);
    assert_eq!(world.store().rescue(NOW.plus(LONG)).await.unwrap(), 3);
}

async fn leaving_twice_is_no_harm(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let process = world.process().await;
    process.claim_one(&ada, NOW).await;
    process.leave(NOW).await;
    process.leave(NOW).await;
    world.here.claim_one(&ada, NOW).await;
    process.leave(NOW).await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending]);
}

async fn an_only_server_frees_what_servers_held(world: World) {
    let ada = world.subscriber("x").await;
    world.send(3, &ada).await;
    let earlier = world.joining(Role::OnlyServer, LONG, NOW).await;
    let server = world.joining(Role::Server, LONG, NOW).await;
    let pass = world.joining(Role::Pass, LONG, NOW).await;
    let mut freed = ids(&earlier.claim(&ada, 1, NOW).await);
    freed.extend(ids(&server.claim(&ada, 1, NOW).await));
    let kept = pass.claim_one(&ada, NOW).await;

    let only = world.joining(Role::OnlyServer, TEN, at(1)).await;
    assert_eq!(world.delivery(&ada, kept.id).await.state, DeliveryState::Sending);
    assert_eq!(ids(&only.claim(&ada, 10, at(1)).await), freed);
    assert!(matches!(server.renew(TEN, at(1)).await, Err(StoreError::NotFound)));
    assert!(matches!(earlier.renew(TEN, at(1)).await, Err(StoreError::NotFound)));
    pass.renew(TEN, at(1)).await.unwrap();
}

async fn another_server_frees_nothing(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    world.joining(Role::Server, LONG, NOW).await.claim(&ada, 1, NOW).await;
    world.joining(Role::Pass, LONG, NOW).await.claim(&ada, 1, NOW).await;
    for role in [Role::Server, Role::Pass] {
        assert!(world.joining(role, LONG, NOW).await.claim(&ada, 10, NOW).await.is_empty());
    }
}
