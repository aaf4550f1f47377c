//! Events that are not due before their time, and events that are cancelled.

use hookcast_core::{delivery::DeliveryState, event::Extra, id::EventId, options::Ordering};

use super::{
    process::{EVERYTHING, delivered, retried},
    world::{World, at},
};
use crate::{
    StoreError,
    engine::{Claim, Pass, Which},
    history::EventQuery,
};

cases![
    a_scheduled_event_is_due_at_its_time,
    a_time_that_is_over_is_now,
    a_scheduled_event_holds_back_what_is_behind_it,
    a_scheduled_event_behind_others_is_due_at_its_time,
    activation_hurries_retries_and_nothing_scheduled,
    a_pass_leaves_what_is_scheduled,
    what_waits_of_an_event_is_cancelled,
    what_is_sent_or_has_ended_is_not_cancelled,
    what_was_sent_while_its_event_was_cancelled_is_not_tried_again,
    what_fails_just_when_its_event_is_cancelled_is_not_tried_again,
    a_cancelled_event_says_since_when,
    cancelling_lets_the_next_of_the_group_go,
    cancelling_nothing_known_is_told,
    very_many_deliveries_are_cancelled,
];

async fn a_scheduled_event_is_due_at_its_time(world: World) {
    let ada = world.subscriber("x").await;
    world.batch().event("x").deliver_at(at(60)).to([&ada]).accept().await;
    assert_eq!(world.deliveries(&ada).await[0].due_at, Some(at(60)));
    let due = world.due(at(59)).await;
    assert!(due.subscriptions.is_empty());
    assert_eq!(due.next, Some(at(60)));
    assert!(world.here.claim(&ada, 10, at(59)).await.is_empty());
    assert_eq!(world.here.claim(&ada, 10, at(60)).await.len(), 1);
}

async fn a_time_that_is_over_is_now(world: World) {
    let ada = world.subscriber("x").await;
    world.batch().event("x").at(at(10)).deliver_at(at(5)).to([&ada]).accept().await;
    assert_eq!(world.deliveries(&ada).await[0].due_at, Some(at(10)));
}

async fn a_scheduled_event_holds_back_what_is_behind_it(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let first = world.batch().event("x").deliver_at(at(60)).to([&ada]).accept_one().await;
    world.send(2, &ada).await;
    assert_eq!(world.due(at(59)).await.next, Some(at(60)));
    assert!(world.here.claim(&ada, 10, at(59)).await.is_empty());
    let run = world.here.claim(&ada, 10, at(60)).await;
    assert_eq!((run.len(), run[0].event.id), (3, first));
}

async fn a_scheduled_event_behind_others_is_due_at_its_time(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    world.send(1, &ada).await;
    let head = world.here.claim_one(&ada, at(1)).await;
    world.batch().event("x").deliver_at(at(60)).to([&ada]).accept().await;
    world.here.finish([delivered(&head, at(2))], at(2)).await;
    assert!(world.here.claim(&ada, 10, at(59)).await.is_empty());
    assert_eq!(world.due(at(59)).await.next, Some(at(60)));
    assert_eq!(world.here.claim(&ada, 10, at(60)).await.len(), 1);
}

async fn activation_hurries_retries_and_nothing_scheduled(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let failed = world.here.claim_one(&ada, at(1)).await;
    world.here.finish([retried(&failed, at(2), at(500))], at(2)).await;
    world.batch().event("x").deliver_at(at(400)).to([&ada]).accept().await;
    world.set_active(&ada, false, at(3)).await;
    world.set_active(&ada, true, at(4)).await;
    let due = world.here.claim(&ada, 10, at(4)).await;
    assert_eq!(due.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), [failed.id]);
    assert_eq!(world.due(at(5)).await.next, Some(at(400)));
    assert_eq!(world.here.claim(&ada, 10, at(400)).await.len(), 1);
}

async fn a_pass_leaves_what_is_scheduled(world: World) {
    let ada = world.subscriber("x").await;
    world.batch().event("x").deliver_at(at(60)).to([&ada]).accept().await;
    world.send(1, &ada).await;
    let pass = async |now| {
        let which = Which::Pass(Pass { failed: true, ..EVERYTHING });
        let claim = Claim { holder: world.here.holder, wanted: vec![(ada.id, 10)], which, max_bytes: usize::MAX };
        world.store().claim(claim, at(now)).await.unwrap().len()
    };
    assert_eq!(pass(59).await, 1);
    assert_eq!(pass(60).await, 1);
}

async fn cancel(world: &World, event: EventId) -> u64 {
    world.store().cancel(event, at(7)).await.unwrap()
}

async fn what_waits_of_an_event_is_cancelled(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let event = world.batch().event("x").to([&ada, &bob]).accept_one().await;
    world.batch().event("x").to([&ada]).accept().await;
    assert_eq!(cancel(&world, event).await, 2);
    assert_eq!(cancel(&world, event).await, 0);
    assert_eq!((world.waiting(&ada).await, world.waiting(&bob).await), (1, 0));
    assert_eq!(world.states(&bob).await, [DeliveryState::Cancelled]);
    let claimed = world.here.claim(&ada, 10, at(9)).await;
    assert_eq!(claimed.len(), 1);
    assert_ne!(claimed[0].event.id, event);
    assert!(world.here.claim(&bob, 10, at(9)).await.is_empty());
    assert!(world.due(at(9)).await.subscriptions.is_empty());
}

async fn what_is_sent_or_has_ended_is_not_cancelled(world: World) {
    let [ada, bob, cyd] = world.subscribers("x", 3).await.try_into().unwrap();
    let event = world.batch().event("x").to([&ada, &bob, &cyd]).accept_one().await;
    let done = world.here.claim_one(&ada, at(1)).await;
    world.here.finish([delivered(&done, at(1))], at(1)).await;
    let sending = world.here.claim_one(&bob, at(1)).await;
    assert_eq!(cancel(&world, event).await, 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Delivered]);
    assert_eq!(world.states(&bob).await, [DeliveryState::Sending]);
    assert_eq!(world.states(&cyd).await, [DeliveryState::Cancelled]);
    world.here.finish([delivered(&sending, at(2))], at(2)).await;
    assert_eq!(world.states(&bob).await, [DeliveryState::Delivered]);
    assert_eq!(cancel(&world, event).await, 0);
}

async fn what_was_sent_while_its_event_was_cancelled_is_not_tried_again(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let cyd = world.ordered("x", Ordering::Subscription).await;
    let event = world.batch().event("x").to([&ada, &bob, &cyd]).accept_one().await;
    let next = world.batch().event("x").to([&cyd]).accept_one().await;
    let mut sending = Vec::new();
    for subscription in [&ada, &bob, &cyd] {
        sending.push(world.here.claim(subscription, 10, at(1)).await);
    }
    assert_eq!(cancel(&world, event).await, 0);
    world.here.finish([retried(&sending[0][0], at(2), at(9))], at(2)).await;
    world.here.release(&sending[1], at(2)).await;
    world.here.release(&sending[2], at(2)).await;
    for subscription in [&ada, &bob] {
        assert_eq!(world.states(subscription).await, [DeliveryState::Cancelled]);
        assert_eq!(world.waiting(subscription).await, 0);
    }
    assert_eq!(world.delivery(&ada, sending[0][0].id).await.attempts.len(), 1, "what was tried is kept");
    // What was behind it goes.
    let run = world.here.claim(&cyd, 10, at(9)).await;
    assert_eq!(run.iter().map(|claimed| claimed.event.id).collect::<Vec<_>>(), [next]);
    assert_eq!(world.due(at(99)).await.subscriptions, []);
}

async fn what_fails_just_when_its_event_is_cancelled_is_not_tried_again(world: World) {
    let subscribers = world.subscribers("x", 8).await;
    for _ in 0..20 {
        let event = world.batch().event("x").to(subscribers.iter().collect::<Vec<_>>()).accept_one().await;
        let mut failed = Vec::new();
        let mut untried = Vec::new();
        for (index, subscription) in subscribers.iter().enumerate() {
            let claimed = world.here.claim_one(subscription, at(1)).await;
            if index % 2 == 0 { failed.push(retried(&claimed, at(2), at(9))) } else { untried.push(claimed) }
        }
        tokio::join!(world.here.finish(failed, at(2)), world.here.release(&untried, at(2)), cancel(&world, event));
    }
    for subscription in &subscribers {
        assert_eq!(world.states(subscription).await, [DeliveryState::Cancelled; 20]);
        assert_eq!(world.waiting(subscription).await, 0);
    }
}

async fn a_cancelled_event_says_since_when(world: World) {
    let ada = world.subscriber("x").await;
    let told =
        Extra { source_id: Some(r#"é","cancelled_at":1,""#.into()), deliver_at: Some(at(60)), ..Extra::default() };
    for (extra, recipients) in [(Extra::default(), vec![]), (Extra::default(), vec![&ada]), (told, vec![&ada])] {
        let event = world.batch().event("x").extra(extra.clone()).to(recipients).accept_one().await;
        assert_eq!(world.event(event).await.event.cancelled_at(), None);
        for time in [7, 8] {
            world.store().cancel(event, at(time)).await.unwrap();
            let expected = Extra { cancelled_at: Some(at(7)), ..extra.clone() };
            assert_eq!(world.event(event).await.event.extra.as_deref(), Some(&expected));
        }
    }
    let query = EventQuery {
        source_id: None,
        since: at(0),
        until: at(9),
        ascending: true,
        after: None,
        limit: 9,
        max_bytes: usize::MAX,
    };
    let listed = world.store().events(query).await.unwrap();
    assert!(listed.len() == 3 && listed.iter().all(|event| event.cancelled_at() == Some(at(7))));
}

async fn cancelling_lets_the_next_of_the_group_go(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    let first = world.batch().event("x").deliver_at(at(1_000)).to([&ada]).accept_one().await;
    let second = world.batch().event("x").to([&ada]).accept_one().await;
    let third = world.batch().event("x").to([&ada]).accept_one().await;
    assert!(world.here.claim(&ada, 10, at(9)).await.is_empty());
    assert_eq!(cancel(&world, second).await, 1);
    assert_eq!(cancel(&world, first).await, 1);
    let run = world.here.claim(&ada, 10, at(9)).await;
    assert_eq!(run.iter().map(|claimed| claimed.event.id).collect::<Vec<_>>(), [third]);
}

async fn cancelling_nothing_known_is_told(world: World) {
    let unknown = world.store().cancel(EventId::new(at(0), [1; 10]), at(7)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
    let nobody = world.batch().event("x").accept_one().await;
    assert_eq!(cancel(&world, nobody).await, 0);
    let ada = world.subscriber("x").await;
    let event = world.batch().event("x").to([&ada]).accept_one().await;
    world.unsubscribe(&ada).await;
    assert_eq!(cancel(&world, event).await, 0);
}

async fn very_many_deliveries_are_cancelled(world: World) {
    let thousand = world.thousand("x").await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(world.batch().event("x").to(&thousand).accept_one().await);
    }
    world.here.claim(&thousand[7], 1, at(1)).await;
    assert_eq!(cancel(&world, events[0]).await, 999);
    assert_eq!(cancel(&world, events[1]).await, 1_000);
    assert_eq!((world.waiting(&thousand[7]).await, world.waiting(&thousand[8]).await), (1, 1));
}
