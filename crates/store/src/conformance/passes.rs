//! Passes over what waits and what has failed, the oldest first.

use hookcast_core::{delivery::DeliveryState, id::DeliveryId, subscription::Subscription};

use super::{
    process::{EVERYTHING, delivered, failed, ids, retried},
    world::{NOW, World, at, event_type},
};
use crate::engine::Pass;

cases![
    a_pass_claims_all_that_waits,
    a_pass_may_leave_out_what_is_not_due,
    a_pass_may_take_what_has_failed,
    a_pass_takes_nothing_that_is_done_or_held,
    a_pass_may_be_of_one_type,
    a_pass_may_be_of_late_events,
    a_pass_finds_what_it_means_behind_thousands,
    a_pass_goes_over_everything_once,
    a_pass_skips_inactive_subscriptions,
    attempts_go_on_where_they_were,
    what_a_pass_releases_is_due_at_once,
];

/// Four deliveries, of which one waits for its first try, one for its second, one has failed and one is done.
async fn one_of_each(world: &World, subscription: &Subscription) -> [DeliveryId; 4] {
    world.send(4, subscription).await;
    let claimed = world.here.claim(subscription, 4, NOW).await;
    world.here.release(&claimed[..1], NOW).await;
    let outcomes = [retried(&claimed[1], NOW, at(60)), failed(&claimed[2], NOW), delivered(&claimed[3], NOW)];
    world.here.finish(outcomes, NOW).await;
    ids(&claimed).try_into().unwrap()
}

async fn a_pass_claims_all_that_waits(world: World) {
    let ada = world.subscriber("x").await;
    let [first, second, ..] = one_of_each(&world, &ada).await;
    assert_eq!(ids(&world.here.pass(&ada, 10, EVERYTHING, NOW).await), [first, second]);
    assert_eq!(world.waiting(&ada).await, 0);
    let due = world.due(at(100)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
}

async fn a_pass_may_leave_out_what_is_not_due(world: World) {
    let ada = world.subscriber("x").await;
    let [first, second, third, _] = one_of_each(&world, &ada).await;
    let due_by = |seconds| Pass { due_by: Some(at(seconds)), ..EVERYTHING };
    assert_eq!(ids(&world.here.pass(&ada, 10, due_by(59), at(59)).await), [first]);
    // Being due is a matter of what waits, and not of what has failed.
    let pass = Pass { failed: true, ..due_by(60) };
    assert_eq!(ids(&world.here.pass(&ada, 10, pass, at(60)).await), [second, third]);
}

async fn a_pass_may_take_what_has_failed(world: World) {
    let ada = world.subscriber("x").await;
    let [first, second, third, _] = one_of_each(&world, &ada).await;
    let pass = Pass { failed: true, ..EVERYTHING };
    let claimed = world.here.pass(&ada, 10, pass.clone(), NOW).await;
    assert_eq!(ids(&claimed), [first, second, third]);
    assert_eq!(claimed.iter().map(|claimed| claimed.attempts).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(world.waiting(&ada).await, 0);
    assert_eq!(world.delivery(&ada, third).await.state, DeliveryState::Sending);

    world.here.finish(claimed.iter().map(|claimed| delivered(claimed, at(1))).collect::<Vec<_>>(), at(1)).await;
    assert_eq!(world.states(&ada).await, [DeliveryState::Delivered; 4]);
    assert!(world.here.pass(&ada, 10, pass, NOW).await.is_empty());
}

async fn a_pass_takes_nothing_that_is_done_or_held(world: World) {
    let [ada, gone] = world.subscribers("x", 2).await.try_into().unwrap();
    one_of_each(&world, &ada).await;
    one_of_each(&world, &gone).await;
    world.unsubscribe(&gone).await;
    let pass = Pass { failed: true, ..EVERYTHING };
    let (one, two) = (world.process().await, world.process().await);
    let (one, two) = tokio::join!(one.pass(&ada, 10, pass.clone(), NOW), two.pass(&ada, 10, pass.clone(), NOW));
    assert_eq!(one.len() + two.len(), 3);
    assert!(world.here.pass(&gone, 10, pass, NOW).await.is_empty());
}

async fn a_pass_may_be_of_one_type(world: World) {
    let ada = world.subscriber("x").await;
    let batch = ["x", "xy", "x"].into_iter().fold(world.batch(), |batch, event| batch.event(event).to([&ada]));
    batch.accept().await;
    let of = |event| Pass { event: Some(event_type(event)), ..EVERYTHING };
    assert!(world.here.pass(&ada, 10, of("y"), NOW).await.is_empty());
    assert_eq!(world.here.pass(&ada, 10, of("x"), NOW).await.len(), 2);
    assert_eq!(world.here.pass(&ada, 10, of("xy"), NOW).await.len(), 1);
}

async fn a_pass_may_be_of_late_events(world: World) {
    let ada = world.subscriber("x").await;
    for seconds in [10, 20, 30] {
        world.batch().event("x").to([&ada]).at(at(seconds)).accept().await;
    }
    let since = |seconds| Pass { since: Some(at(seconds)), ..EVERYTHING };
    assert!(world.here.pass(&ada, 10, since(31), at(30)).await.is_empty());
    let claimed = world.here.pass(&ada, 10, since(20), at(30)).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.event.time).collect::<Vec<_>>(), [at(20), at(30)]);
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn a_pass_finds_what_it_means_behind_thousands(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2_500, &ada).await;
    world.batch().event("xy").to([&ada]).event("x").to([&ada]).event("xy").to([&ada]).accept().await;
    let mut pass = Pass { event: Some(event_type("xy")), ..EVERYTHING };
    for _ in 0..2 {
        let claimed = world.here.pass(&ada, 1, pass.clone(), NOW).await;
        assert_eq!(claimed.len(), 1);
        pass.after = claimed.last().map(|claimed| claimed.id);
    }
    assert!(world.here.pass(&ada, 1, pass, NOW).await.is_empty());
    assert_eq!(world.waiting(&ada).await, 2_501);
}

async fn a_pass_goes_over_everything_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(23, &ada).await;
    let everything: Vec<_> = world.deliveries(&ada).await.iter().map(|record| record.id).collect();
    // All that it tries fails at once and is due again, or has failed for good: it must not come by a second time.
    let mut pass = Pass { failed: true, ..EVERYTHING };
    let mut seen = Vec::new();
    loop {
        let claimed = world.here.pass(&ada, 5, pass.clone(), NOW).await;
        let Some(last) = claimed.last() else { break };
        pass.after = Some(last.id);
        seen.extend(ids(&claimed));
        assert!(seen.len() <= 24, "some came by a second time");
        let outcome = |(index, claimed)| match index {
            0 => failed(claimed, NOW),
            _ => retried(claimed, NOW, NOW),
        };
        world.here.finish(claimed.iter().enumerate().map(outcome).collect::<Vec<_>>(), NOW).await;
        // What arrives meanwhile is younger.
        if seen.len() == 10 {
            world.send(1, &ada).await;
        }
    }
    assert_eq!(seen[..23], everything);
    assert_eq!(seen.len(), 24);
}

async fn a_pass_skips_inactive_subscriptions(world: World) {
    let ada = world.subscriber("x").await;
    one_of_each(&world, &ada).await;
    world.set_active(&ada, false, NOW).await;
    assert!(world.here.pass(&ada, 10, Pass { failed: true, ..EVERYTHING }, NOW).await.is_empty());
}

async fn attempts_go_on_where_they_were(world: World) {
    let ada = world.subscriber("x").await;
    let [.., third, _] = one_of_each(&world, &ada).await;
    for number in 1..4 {
        let pass = Pass { failed: true, due_by: Some(NOW), after: None, event: None, since: None };
        let claimed = world.here.pass(&ada, 10, pass, NOW).await;
        let claimed = claimed.iter().find(|claimed| claimed.id == third).unwrap();
        assert_eq!(claimed.attempts, number);
        world.here.finish([failed(claimed, at(number.into()))], NOW).await;
    }
    let numbers: Vec<_> = world.delivery(&ada, third).await.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

async fn what_a_pass_releases_is_due_at_once(world: World) {
    let ada = world.subscriber("x").await;
    let [_, second, third, _] = one_of_each(&world, &ada).await;
    let claimed = world.here.pass(&ada, 10, Pass { failed: true, ..EVERYTHING }, NOW).await;
    world.here.release(&claimed, at(1)).await;
    assert_eq!(world.waiting(&ada).await, 3);
    for id in [second, third] {
        let record = world.delivery(&ada, id).await;
        assert_eq!((record.state, record.due_at), (DeliveryState::Waiting, Some(at(1))));
    }
    assert_eq!(world.here.claim(&ada, 10, at(1)).await.len(), 3);
}
