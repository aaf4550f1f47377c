//! Deliveries that go one after the other.

use hookcast_core::{delivery::DeliveryState, options::Ordering, subscription::Subscription};

use super::{
    process::{EVERYTHING, Process, delivered, failed, ids, retried},
    world::{LONG, NOW, World, at, day},
};
use crate::{
    Limits,
    engine::{Claimed, Pass, RUN_MAX, Role},
};

cases![
    a_run_is_claimed_in_order,
    nobody_else_gets_any_of_a_group_that_is_held,
    what_follows_goes_when_the_run_has_ended,
    what_follows_a_failure_waits_for_it,
    what_has_still_to_be_given_back_is_not_taken,
    one_that_is_given_up_lets_the_next_go,
    what_is_given_back_is_in_order_again,
    what_a_dead_process_held_is_in_order_again,
    keys_do_not_wait_for_each_other,
    events_without_a_key_wait_for_nobody,
    the_order_is_that_of_acceptance,
    a_pass_takes_heads_only,
    what_is_sent_again_has_left_its_group,
    an_expired_head_lets_the_next_go,
    a_purged_head_lets_the_next_go,
    a_limit_cuts_a_run_and_nothing_is_lost,
    a_run_is_not_longer_than_a_failure_may_cost,
    activating_wakes_the_head_alone,
    deleting_ends_the_group,
    ordering_begins_with_the_next_event,
    a_key_is_read_back,
    a_deactivated_lane_keeps_its_order,
];

const NOTHING: [u32; 0] = [];

async fn send(world: &World, subscription: &Subscription, payloads: &[u32]) {
    for payload in payloads {
        world.batch().event("x").payload(&payload.to_string()).to([subscription]).accept().await;
    }
}

async fn send_keyed(world: &World, subscription: &Subscription, events: &[(&str, u32)]) {
    let batch = events.iter().fold(world.batch(), |batch, (key, payload)| {
        batch.event("x").keyed(key).payload(&payload.to_string()).to([subscription])
    });
    batch.accept().await;
}

fn payloads(claimed: &[Claimed]) -> Vec<u32> {
    claimed.iter().map(|claimed| claimed.event.payload.get().parse().unwrap()).collect()
}

async fn claimed(process: &Process, from: &Subscription, now: hookcast_core::clock::Timestamp) -> Vec<u32> {
    payloads(&process.claim(from, 100, now).await)
}

async fn a_run_is_claimed_in_order(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3, 4, 5]).await;
    let run = world.here.claim(&ada, 3, NOW).await;
    assert_eq!(payloads(&run), [1, 2, 3]);
    let group = run[0].group;
    assert!(group.is_some() && run.iter().all(|claimed| claimed.group == group));
    assert_eq!(world.waiting(&ada).await, 2);
}

async fn nobody_else_gets_any_of_a_group_that_is_held(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let there = world.process().await;
    send(&world, &ada, &[1, 2, 3]).await;
    assert_eq!(payloads(&world.here.claim(&ada, 1, NOW).await), [1]);
    send(&world, &ada, &[4]).await;
    assert_eq!(claimed(&there, &ada, at(1)).await, NOTHING);
    assert_eq!(claimed(&world.here, &ada, at(1)).await, NOTHING);
    let due = world.due(at(1)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
}

async fn what_follows_goes_when_the_run_has_ended(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let there = world.process().await;
    send(&world, &ada, &[1, 2, 3, 4]).await;
    let run = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([delivered(&run[0], NOW)], NOW).await;
    assert_eq!(claimed(&there, &ada, at(1)).await, NOTHING);
    world.here.finish([delivered(&run[1], NOW)], NOW).await;
    assert_eq!(world.due(at(1)).await.subscriptions, [ada.id]);
    assert_eq!(claimed(&there, &ada, at(1)).await, [3, 4]);
}

async fn what_follows_a_failure_waits_for_it(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3]).await;
    let run = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([retried(&run[0], NOW, at(60))], NOW).await;
    world.here.release(&run[1..], NOW).await;
    send(&world, &ada, &[4]).await;
    assert_eq!(claimed(&world.here, &ada, at(59)).await, NOTHING);
    let due = world.due(at(59)).await;
    assert_eq!((due.subscriptions.len(), due.next), (0, Some(at(60))));
    let again = world.here.claim(&ada, 100, at(60)).await;
    assert_eq!(payloads(&again), [1, 2, 3, 4]);
    assert_eq!(again.iter().map(|claimed| claimed.attempts).collect::<Vec<_>>(), [1, 0, 0, 0]);
}

/// A run's failure is recorded before the rest of the run is given back, and may be due again before that.
async fn what_has_still_to_be_given_back_is_not_taken(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3, 4]).await;
    let run = world.here.claim(&ada, 3, NOW).await;
    world.here.finish([retried(&run[0], NOW, at(1))], NOW).await;
    world.here.release(&run[1..2], NOW).await;
    let again = world.here.claim(&ada, 100, at(1)).await;
    assert_eq!(payloads(&again), [1, 2]);
    world.here.release(&run[2..], at(1)).await;
    assert_eq!(claimed(&world.here, &ada, at(2)).await, NOTHING);
    world.here.finish([delivered(&again[0], at(2)), delivered(&again[1], at(2))], at(2)).await;
    assert_eq!(claimed(&world.here, &ada, at(2)).await, [3, 4]);
}

async fn one_that_is_given_up_lets_the_next_go(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2]).await;
    let run = world.here.claim(&ada, 1, NOW).await;
    world.here.finish([failed(&run[0], NOW)], NOW).await;
    assert_eq!(claimed(&world.here, &ada, at(1)).await, [2]);
}

async fn what_is_given_back_is_in_order_again(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3, 4, 5]).await;
    let run = world.here.claim(&ada, 4, NOW).await;
    // In whatever order, and in parts.
    world.here.release(&[run[2].clone(), run[3].clone()], at(1)).await;
    assert_eq!(claimed(&world.here, &ada, at(1)).await, NOTHING);
    world.here.release(&[run[1].clone(), run[0].clone()], at(1)).await;
    assert_eq!(claimed(&world.here, &ada, at(1)).await, [1, 2, 3, 4, 5]);
}

async fn what_a_dead_process_held_is_in_order_again(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let dead = world.joining(Role::Server, std::time::Duration::from_secs(10), NOW).await;
    send(&world, &ada, &[1, 2, 3, 4]).await;
    let run = dead.claim(&ada, 3, NOW).await;
    dead.finish([delivered(&run[0], NOW)], NOW).await;
    assert_eq!(world.store().rescue(at(20)).await.unwrap(), 2);
    assert_eq!(claimed(&world.here, &ada, at(20)).await, [2, 3, 4]);
}

async fn keys_do_not_wait_for_each_other(world: World) {
    let ada = world.ordered("x", Ordering::Key).await;
    send_keyed(&world, &ada, &[("a", 1), ("a", 2), ("b", 3), ("b", 4), ("a", 5)]).await;
    let both = world.here.claim(&ada, 2, NOW).await;
    assert_eq!(payloads(&both), [1, 3]);
    world.here.finish([retried(&both[0], NOW, at(60)), delivered(&both[1], NOW)], NOW).await;
    assert_eq!(claimed(&world.here, &ada, at(1)).await, [4]);
    assert_eq!(claimed(&world.here, &ada, at(60)).await, [1, 2, 5]);
}

async fn events_without_a_key_wait_for_nobody(world: World) {
    let ada = world.ordered("x", Ordering::Key).await;
    send(&world, &ada, &[1, 2]).await;
    let first = world.here.claim(&ada, 1, NOW).await;
    assert_eq!(first[0].group, None);
    assert_eq!(world.here.claim(&ada, 1, NOW).await.len(), 1);
}

/// Also where several processes accept, whatever positions they give.
async fn the_order_is_that_of_acceptance(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let there = world.process().await;
    for (by, payload) in [(&world.here, 1), (&there, 2), (&there, 3), (&world.here, 4), (&there, 5), (&world.here, 6)] {
        world.batch().event("x").payload(&payload.to_string()).to([&ada]).by(by).accept().await;
    }
    assert_eq!(claimed(&there, &ada, at(1)).await, [1, 2, 3, 4, 5, 6]);
}

async fn a_pass_takes_heads_only(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2]).await;
    let first = world.here.claim(&ada, 1, NOW).await;
    world.here.finish([retried(&first[0], NOW, at(60))], NOW).await;
    let due = Pass { due_by: Some(at(1)), ..EVERYTHING };
    assert_eq!(world.here.pass(&ada, 10, due, at(1)).await.len(), 0);
    let pass = world.here.pass(&ada, 10, EVERYTHING, at(1)).await;
    assert_eq!(payloads(&pass), [1]);
    world.here.finish([delivered(&pass[0], at(1))], at(1)).await;
    assert_eq!(payloads(&world.here.pass(&ada, 10, EVERYTHING, at(1)).await), [2]);
}

async fn what_is_sent_again_has_left_its_group(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3]).await;
    let first = world.here.claim(&ada, 1, NOW).await;
    world.here.finish([failed(&first[0], NOW)], NOW).await;
    let second = world.here.claim(&ada, 1, NOW).await;
    assert_eq!(payloads(&second), [2]);
    let pass = world.here.pass(&ada, 10, Pass { failed: true, ..EVERYTHING }, at(1)).await;
    assert_eq!((payloads(&pass), pass[0].group), (vec![1], None));
    world.here.finish([retried(&pass[0], at(1), at(2))], at(1)).await;
    // It neither waits for the second nor keeps the third waiting.
    assert_eq!(claimed(&world.here, &ada, at(2)).await, [1]);
    world.here.finish([delivered(&second[0], at(2))], at(2)).await;
    assert_eq!(claimed(&world.here, &ada, at(2)).await, [3]);
}

async fn an_expired_head_lets_the_next_go(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let strict = world.process_with(Limits { max_waiting: 2, ..Limits::default() }).await;
    for payload in [1, 2, 3] {
        world.batch().event("x").payload(&payload.to_string()).to([&ada]).by(&strict).accept().await;
    }
    assert_eq!(claimed(&strict, &ada, at(1)).await, [2, 3]);
}

async fn a_purged_head_lets_the_next_go(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    world.batch().event("x").payload("1").to([&ada]).accept().await;
    world.batch().event("x").payload("2").to([&ada]).at(day(3)).accept().await;
    while world.store().purge(day(2), day(3)).await.unwrap().more {}
    assert_eq!(world.expired(&ada).await, 1);
    assert_eq!(world.due(day(3)).await.subscriptions, [ada.id]);
    assert_eq!(claimed(&world.here, &ada, day(3)).await, [2]);
}

async fn a_limit_cuts_a_run_and_nothing_is_lost(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let all: Vec<u32> = (0..25).collect();
    send(&world, &ada, &all).await;
    let mut got = Vec::new();
    loop {
        let run = world.here.claim(&ada, 4, at(1)).await;
        if run.is_empty() {
            break;
        }
        got.extend(payloads(&run));
        world.here.finish(run.iter().map(|claimed| delivered(claimed, at(1))).collect::<Vec<_>>(), at(1)).await;
    }
    assert_eq!(got, all);
    assert_eq!(world.waiting(&ada).await, 0);
}

async fn a_run_is_not_longer_than_a_failure_may_cost(world: World) {
    let ada = world.ordered("x", Ordering::Key).await;
    let all: Vec<u32> = (0..40).collect();
    let events: Vec<(&str, u32)> = all.iter().flat_map(|n| [("a", *n), ("b", 100 + n)]).collect();
    send_keyed(&world, &ada, &events).await;
    let mut claimed = claimed(&world.here, &ada, NOW).await;
    claimed.sort_unstable();
    let run = u32::try_from(RUN_MAX).unwrap();
    assert_eq!(claimed, (0..run).chain(100..100 + run).collect::<Vec<_>>());
}

async fn activating_wakes_the_head_alone(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2]).await;
    let first = world.here.claim(&ada, 1, NOW).await;
    world.here.finish([retried(&first[0], NOW, at(1_000))], NOW).await;
    world.set_active(&ada, false, at(1)).await;
    world.set_active(&ada, true, at(2)).await;
    assert_eq!(payloads(&world.here.claim(&ada, 1, at(2)).await), [1]);
    assert_eq!(claimed(&world.here, &ada, at(2)).await, NOTHING);
}

async fn deleting_ends_the_group(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3]).await;
    let run = world.here.claim(&ada, 2, NOW).await;
    world.unsubscribe(&ada).await;
    world.here.finish([retried(&run[0], NOW, at(60))], NOW).await;
    world.here.release(&run[1..], NOW).await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Cancelled; 3]);
    assert!(world.due(at(100)).await.subscriptions.is_empty());
}

async fn ordering_begins_with_the_next_event(world: World) {
    let ada = world.subscriber("x").await;
    send(&world, &ada, &[1, 2]).await;
    world.change(&ada, |ada| ada.options.ordering = Some(Ordering::Subscription)).await;
    send(&world, &ada, &[3, 4]).await;
    let first = world.here.claim(&ada, 3, NOW).await;
    assert_eq!(payloads(&first), [1, 2, 3]);
    assert_eq!(first.iter().filter(|claimed| claimed.group.is_some()).count(), 1);
    assert_eq!(claimed(&world.here, &ada, NOW).await, NOTHING);
}

async fn a_key_is_read_back(world: World) {
    let ada = world.subscriber("x").await;
    let event = world.batch().event("x").keyed("kéy").to([&ada]).accept_one().await;
    assert_eq!(world.event(event).await.event.key.as_deref(), Some("kéy"));
    assert_eq!(world.here.claim_one(&ada, NOW).await.event.key.as_deref(), Some("kéy"));
}

async fn a_deactivated_lane_keeps_its_order(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    send(&world, &ada, &[1, 2, 3]).await;
    let run = world.here.claim(&ada, 2, NOW).await;
    world.set_active(&ada, false, NOW).await;
    world.here.finish([delivered(&run[0], NOW)], NOW).await;
    world.here.release(&run[1..], NOW).await;
    world.set_active(&ada, true, at(1)).await;
    let there = Process::join(world.store().clone(), Role::Server, LONG, NOW).await;
    assert_eq!(claimed(&there, &ada, at(1)).await, [2, 3]);
    assert_eq!(ids(&run).len(), 2);
}
