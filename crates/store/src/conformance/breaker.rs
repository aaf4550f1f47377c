//! Breakers: what becomes of subscriptions whose callbacks fail and fail.

use std::time::Duration;

use hookcast_core::{delivery::DeliveryState, options::Ordering, policy::BreakerPolicy, subscription::Subscription};

use super::{
    process::{EVERYTHING, Process, delivered, failed, retried},
    world::{NOW, World, at},
};
use crate::engine::{Claimed, Finished, Node, PROBE_WAIT, Pass, Role};

cases![
    failures_in_a_row_open_it,
    one_probe_goes_at_a_time,
    a_probe_that_fails_makes_the_pause_longer,
    a_success_closes_it,
    a_probe_that_is_given_back_goes_at_once,
    a_probe_whose_process_died_goes_again,
    what_else_is_given_back_waits_for_the_probes_time,
    what_else_a_dead_process_held_waits_too,
    a_probe_that_nobody_waits_for_hastens_nothing,
    a_probe_from_before_the_breaker_closed_hastens_nothing,
    new_events_wait_too,
    what_is_sent_again_waits_too,
    failures_side_by_side_count_once,
    activating_closes_it,
    a_pass_over_what_is_due_asks_it,
    opening_and_closing_are_changes,
    an_ordered_lane_probes_with_its_head,
    sending_nodes_are_counted_once,
];

const BREAKER: BreakerPolicy =
    BreakerPolicy { failures: 2, first_pause: Duration::from_secs(10), longest_pause: Duration::from_secs(15) };

/// Fails one delivery that is due, which is due again a second later.
async fn fail(world: &World, subscription: &Subscription, seconds: u64) -> Finished {
    let claimed = world.here.claim(subscription, 1, at(seconds)).await;
    assert_eq!(claimed.len(), 1);
    world.here.finish_with(BREAKER, [retried(&claimed[0], at(seconds), at(seconds + 1))], at(seconds)).await
}

/// A subscription for which five wait and whose breaker has opened at 1 s.
async fn open(world: &World) -> Subscription {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    assert!(fail(world, &ada, 0).await.opened.is_empty());
    assert_eq!(fail(world, &ada, 1).await.opened, [ada.id]);
    ada
}

async fn failures_in_a_row_open_it(world: World) {
    let ada = open(&world).await;
    let health = world.health(&ada).await;
    assert_eq!((health.failure_count, health.probe_at), (2, Some(at(11))));
    assert!(world.deliveries(&ada).await.iter().all(|record| record.probe_at == health.probe_at));
    assert!(world.is_active(&ada).await);
    assert!(world.here.claim(&ada, 10, at(10)).await.is_empty());
    let due = world.due(at(10)).await;
    assert_eq!((due.subscriptions.len(), due.next), (0, Some(at(11))));
}

async fn one_probe_goes_at_a_time(world: World) {
    let ada = open(&world).await;
    let there = world.process().await;
    assert_eq!(world.due(at(11)).await.subscriptions, [ada.id]);
    assert_eq!(world.here.claim(&ada, 10, at(11)).await.len(), 1);
    assert!(world.due(at(11)).await.subscriptions.is_empty());
    assert!(there.claim(&ada, 10, at(12)).await.is_empty());
    // Whoever has it may have died.
    assert_eq!(there.claim(&ada, 10, at(11).plus(PROBE_WAIT)).await.len(), 1);
}

async fn a_probe_that_fails_makes_the_pause_longer(world: World) {
    let ada = open(&world).await;
    assert!(fail(&world, &ada, 11).await.opened.is_empty());
    assert_eq!(world.health(&ada).await.probe_at, Some(at(26)));
    assert!(world.here.claim(&ada, 10, at(25)).await.is_empty());
    fail(&world, &ada, 26).await;
    assert_eq!(world.health(&ada).await.probe_at, Some(at(41)));
    assert_eq!(world.failures(&ada).await, (4, Some(NOW)));
}

async fn a_success_closes_it(world: World) {
    let ada = open(&world).await;
    let probe = world.here.claim(&ada, 10, at(11)).await;
    let finished = world.here.finish_with(BREAKER, [delivered(&probe[0], at(11))], at(12)).await;
    assert_eq!(finished.closed, [ada.id]);
    let health = world.health(&ada).await;
    assert_eq!((health.failure_count, health.probe_at, health.recovered_at), (0, None, Some(at(12))));
    assert_eq!(world.here.claim(&ada, 10, at(12)).await.len(), 4);
}

async fn a_probe_that_is_given_back_goes_at_once(world: World) {
    let ada = open(&world).await;
    let probe = world.here.claim(&ada, 10, at(11)).await;
    world.here.release(&probe, at(12)).await;
    assert_eq!(world.due(at(12)).await.subscriptions, [ada.id]);
    assert_eq!(world.here.claim(&ada, 10, at(12)).await.len(), 1);
}

async fn a_probe_whose_process_died_goes_again(world: World) {
    let ada = open(&world).await;
    let dead = world.joining(Role::Server, Duration::from_secs(30), NOW).await;
    assert_eq!(dead.claim(&ada, 10, at(11)).await.len(), 1);
    assert_eq!(world.store().rescue(at(31)).await.unwrap(), 1);
    assert_eq!(world.here.claim(&ada, 10, at(31)).await.len(), 1);
}

/// Opens a breaker at 1 s with two of three that a process has claimed; the third, which it still holds.
async fn open_with_one_in_flight(world: &World, process: &Process) -> (Subscription, Claimed) {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    let mut claimed = process.claim(&ada, 3, NOW).await;
    let last = claimed.pop().unwrap();
    for (seconds, claimed) in (0..).zip(&claimed) {
        process.finish_with(BREAKER, [retried(claimed, at(seconds), at(seconds + 1))], at(seconds)).await;
    }
    assert_eq!(world.health(&ada).await.probe_at, Some(at(11)));
    (ada, last)
}

async fn what_else_is_given_back_waits_for_the_probes_time(world: World) {
    let (ada, in_flight) = open_with_one_in_flight(&world, &world.here).await;
    world.here.release(&[in_flight], at(2)).await;
    assert_eq!(world.health(&ada).await.probe_at, Some(at(11)));
    assert_eq!(world.due(at(2)).await.next, Some(at(11)));
    assert!(world.here.claim(&ada, 10, at(10)).await.is_empty());

    // Nor does it while a probe is on its way, which is listed as sent, with no time of a next try.
    let (bob, in_flight) = open_with_one_in_flight(&world, &world.here).await;
    let probe = world.here.claim_one(&bob, at(11)).await;
    let record = world.delivery(&bob, probe.id).await;
    assert_eq!((record.state, record.due_at), (DeliveryState::Sending, None));
    world.here.release(&[in_flight], at(12)).await;
    assert!(world.here.claim(&bob, 10, at(12)).await.is_empty());
    world.here.release(&[probe], at(13)).await;
    world.here.claim_one(&bob, at(13)).await;
}

async fn what_else_a_dead_process_held_waits_too(world: World) {
    let dead = world.joining(Role::Server, Duration::from_secs(5), NOW).await;
    let (ada, _) = open_with_one_in_flight(&world, &dead).await;
    assert_eq!(world.store().rescue(at(6)).await.unwrap(), 1);
    assert_eq!(world.health(&ada).await.probe_at, Some(at(11)));
    assert!(world.here.claim(&ada, 10, at(10)).await.is_empty());
    assert_eq!(world.waiting(&ada).await, 5);
    world.here.claim_one(&ada, at(11)).await;
}

async fn a_probe_that_nobody_waits_for_hastens_nothing(world: World) {
    let ada = open(&world).await;
    let late = world.here.claim_one(&ada, at(11)).await;
    world.here.claim_one(&ada, at(11).plus(PROBE_WAIT)).await;
    world.here.release(&[late], at(140)).await;
    assert_eq!(world.health(&ada).await.probe_at, Some(at(11).plus(PROBE_WAIT).plus(PROBE_WAIT)));
    assert!(world.here.claim(&ada, 10, at(140)).await.is_empty());
}

async fn a_probe_from_before_the_breaker_closed_hastens_nothing(world: World) {
    let ada = open(&world).await;
    let late = world.here.claim_one(&ada, at(11)).await;
    world.set_active(&ada, true, at(12)).await;
    fail(&world, &ada, 13).await;
    fail(&world, &ada, 14).await;
    world.here.release(&[late], at(15)).await;
    assert_eq!(world.health(&ada).await.probe_at, Some(at(24)));
    assert!(world.here.claim(&ada, 10, at(23)).await.is_empty());
}

async fn new_events_wait_too(world: World) {
    let ada = open(&world).await;
    world.batch().event("x").to([&ada]).at(at(2)).accept().await;
    assert!(world.due(at(2)).await.subscriptions.is_empty());
    assert!(world.here.claim(&ada, 10, at(2)).await.is_empty());
    assert_eq!(world.waiting(&ada).await, 6);
    assert_eq!(world.due(at(2)).await.next, Some(at(11)));
}

async fn what_is_sent_again_waits_too(world: World) {
    let ada = open(&world).await;
    let probe = world.here.claim_one(&ada, at(11)).await;
    world.here.finish_with(BREAKER, [failed(&probe, at(11))], at(11)).await;
    assert_eq!(world.store().redeliver(ada.id, vec![probe.id], at(12)).await.unwrap(), [probe.id]);
    assert!(world.here.claim(&ada, 10, at(25)).await.is_empty());
    assert_eq!(world.due(at(25)).await.next, Some(at(26)));
}

async fn failures_side_by_side_count_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    let claimed = world.here.claim(&ada, 5, NOW).await;
    let outcomes: Vec<_> = claimed
        .iter()
        .map(|claimed| {
            let mut outcome = retried(claimed, NOW, at(60));
            outcome.attempt.latency_ms = 1_000;
            outcome
        })
        .collect();
    let (first, rest) = outcomes.split_at(1);
    world.here.finish_with(BREAKER, first, at(1)).await;
    assert!(world.here.finish_with(BREAKER, rest, at(1)).await.opened.is_empty());
    let health = world.health(&ada).await;
    assert_eq!((health.failure_count, health.failed_at), (1, Some(at(1))));
}

async fn activating_closes_it(world: World) {
    let ada = open(&world).await;
    world.set_active(&ada, true, at(3)).await;
    assert_eq!(world.health(&ada).await.probe_at, None);
    assert_eq!(world.here.claim(&ada, 10, at(3)).await.len(), 5);
}

async fn a_pass_over_what_is_due_asks_it(world: World) {
    let ada = open(&world).await;
    let due = |seconds| Pass { due_by: Some(at(seconds)), ..EVERYTHING };
    assert!(world.here.pass(&ada, 10, due(5), at(5)).await.is_empty());
    assert_eq!(world.here.pass(&ada, 10, due(11), at(11)).await.len(), 1);
    assert!(world.here.pass(&ada, 10, due(12), at(12)).await.is_empty());
    // Whoever wants all of it gets it.
    assert_eq!(world.here.pass(&ada, 10, EVERYTHING, at(12)).await.len(), 4);
}

async fn opening_and_closing_are_changes(world: World) {
    let ada = world.subscriber("x").await;
    world.send(5, &ada).await;
    let mut version = world.version().await;
    let mut is_told = async || {
        let changes = world.store().changes_since(version).await.unwrap();
        version = changes.version;
        changes.changed.first().map(|changed| changed.health.is_open())
    };
    fail(&world, &ada, 0).await;
    assert_eq!(is_told().await, None);
    fail(&world, &ada, 1).await;
    assert_eq!(is_told().await, Some(true));
    fail(&world, &ada, 11).await;
    assert_eq!(is_told().await, None);
    let probe = world.here.claim(&ada, 10, at(26)).await;
    world.here.finish_with(BREAKER, [delivered(&probe[0], at(26))], at(26)).await;
    assert_eq!(is_told().await, Some(false));
}

async fn an_ordered_lane_probes_with_its_head(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    world.send(4, &ada).await;
    fail(&world, &ada, 0).await;
    fail(&world, &ada, 1).await;
    let probe = world.here.claim(&ada, 10, at(11)).await;
    assert_eq!((probe.len(), probe[0].attempts), (1, 2));
    world.here.finish_with(BREAKER, [delivered(&probe[0], at(11))], at(11)).await;
    assert_eq!(world.here.claim(&ada, 10, at(11)).await.len(), 3);
}

async fn sending_nodes_are_counted_once(world: World) {
    let store = world.store();
    let ten = Duration::from_secs(10);
    let renewed = async |now| world.here.renew(ten, now).await.unwrap();
    assert_eq!(renewed(NOW).await, 0);
    let first = store.join(Role::Server, Some(Node(u64::MAX)), ten, NOW).await.unwrap();
    store.join(Role::Server, Some(Node(u64::MAX)), ten, NOW).await.unwrap();
    assert_eq!(renewed(at(1)).await, 1);
    let second = store.join(Role::Server, Some(Node(7)), ten, at(1)).await.unwrap();
    assert_eq!(store.renew(first, ten, at(5)).await.unwrap(), 2);
    store.leave(second, at(5)).await.unwrap();
    assert_eq!(renewed(at(6)).await, 1);
    assert_eq!(renewed(at(100)).await, 0);
}
