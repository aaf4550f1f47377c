//! What attempts make of deliveries.

use std::time::Duration;

use hookcast_core::{
    delivery::{Answer, AttemptResult, DeliveryState, Failure},
    policy::DeactivationPolicy,
};

use super::{
    process::{delivered, failed, gone, retried, unanswered},
    world::{NOW, World, at},
};

cases![
    a_delivery_is_delivered,
    a_delivery_is_tried_again,
    a_delivery_has_failed,
    every_attempt_is_kept,
    every_kind_of_failure_reads_back,
    many_outcomes_are_taken_at_once,
    an_outcome_counts_once,
    an_outcome_counts_once_within_a_write,
    what_others_hold_is_not_touched,
    what_was_taken_over_is_not_touched,
    what_was_released_is_not_touched,
    an_outcome_for_a_deleted_subscription_is_kept,
    a_retry_for_a_deleted_subscription_is_cancelled,
    a_retry_for_an_inactive_subscription_waits,
];

async fn a_delivery_is_delivered(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    let finished = world.here.finish([delivered(&claimed, NOW)], at(1)).await;
    assert_eq!((finished.ignored, finished.deactivated), (0, vec![]));

    let record = world.delivery(&ada, claimed.id).await;
    assert_eq!((record.state, record.due_at), (DeliveryState::Delivered, None));
    assert_eq!(record.attempts, [delivered(&claimed, NOW).attempt]);
    assert_eq!(world.waiting(&ada).await, 0);
    assert!(world.here.claim(&ada, 10, at(1_000)).await.is_empty());
}

async fn a_delivery_is_tried_again(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let first = world.here.claim_one(&ada, NOW).await;
    world.here.finish([retried(&first, NOW, at(60))], at(1)).await;
    let record = world.delivery(&ada, first.id).await;
    assert_eq!((record.state, record.due_at), (DeliveryState::Waiting, Some(at(60))));
    assert_eq!(world.waiting(&ada).await, 1);

    let second = world.process().await.claim_one(&ada, at(60)).await;
    assert_eq!((second.id, second.attempts), (first.id, 1));
}

async fn a_delivery_has_failed(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    world.here.finish([failed(&claimed, NOW)], NOW).await;
    let record = world.delivery(&ada, claimed.id).await;
    assert_eq!((record.state, record.due_at, record.attempts.len()), (DeliveryState::Failed, None, 1));
    assert_eq!(world.waiting(&ada).await, 0);
    assert!(world.here.claim(&ada, 10, at(1_000)).await.is_empty());
}

async fn every_attempt_is_kept(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let mut attempts = Vec::new();
    for seconds in 0..12 {
        let claimed = world.here.claim_one(&ada, at(seconds)).await;
        let outcome = match seconds {
            11 => delivered(&claimed, at(seconds)),
            _ => retried(&claimed, at(seconds), at(seconds + 1)),
        };
        attempts.push(outcome.attempt.clone());
        world.here.finish([outcome], at(seconds)).await;
    }
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert_eq!(world.deliveries(&ada).await[0].attempts, attempts);
}

async fn every_kind_of_failure_reads_back(world: World) {
    let ada = world.subscriber("x").await;
    world.send(Failure::ALL.len(), &ada).await;
    let claimed = world.here.claim(&ada, 10, NOW).await;
    let mut outcomes: Vec<_> =
        claimed.iter().zip(Failure::ALL).map(|(claimed, failure)| unanswered(claimed, NOW, failure, at(1))).collect();
    let excerpt = "<p>\u{fffd} 𝄞\0</p>".repeat(60);
    outcomes[0].attempt.result = AttemptResult::Answered(Answer { status: 599, excerpt, retry_after: None });
    outcomes[0].attempt.latency_ms = u32::MAX;
    world.here.finish(outcomes.clone(), NOW).await;
    for (record, outcome) in world.deliveries(&ada).await.iter().zip(&outcomes) {
        assert_eq!(record.attempts, std::slice::from_ref(&outcome.attempt));
    }
}

async fn many_outcomes_are_taken_at_once(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.send(200, &ada).await;
    world.send(200, &bob).await;
    let claimed = world.here.claim_all([&ada, &bob], 200, NOW).await;
    let outcomes: Vec<_> = claimed.iter().map(|claimed| delivered(claimed, NOW)).collect();
    assert_eq!(world.here.finish(outcomes, NOW).await.ignored, 0);
    for subscription in [&ada, &bob] {
        assert_eq!(world.states(subscription).await, [DeliveryState::Delivered; 200]);
    }
}

async fn an_outcome_counts_once(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    let outcome = [retried(&claimed, NOW, at(60))];
    assert_eq!(world.here.finish(outcome.clone(), NOW).await.ignored, 0);
    assert_eq!(world.here.finish(outcome, NOW).await.ignored, 1);
    assert_eq!((world.waiting(&ada).await, world.health(&ada).await.failure_count), (1, 1));
}

async fn an_outcome_counts_once_within_a_write(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    let outcomes = [retried(&claimed, NOW, at(60)), delivered(&claimed, NOW)];
    assert_eq!(world.here.finish(outcomes, NOW).await.ignored, 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting]);
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn what_others_hold_is_not_touched(world: World) {
    let ada = world.subscriber("x").await;
    let other = world.process().await;
    world.send(2, &ada).await;
    let (theirs, mine) = (other.claim(&ada, 1, NOW).await, world.here.claim(&ada, 1, NOW).await);
    let strict = DeactivationPolicy { max_failures: 0, after: Duration::ZERO };
    let outcomes = [gone(&theirs[0], NOW, at(60)), delivered(&mine[0], NOW)];
    let finished = world.here.finish_under(strict, outcomes, NOW).await;
    assert_eq!((finished.ignored, finished.deactivated), (1, vec![]));

    assert_eq!(world.states(&ada).await, [DeliveryState::Sending, DeliveryState::Delivered]);
    assert!(world.delivery(&ada, theirs[0].id).await.attempts.is_empty());
    assert!(world.is_active(&ada).await);
    assert_eq!(world.health(&ada).await.failure_count, 0);
    assert_eq!(other.finish([delivered(&theirs[0], NOW)], NOW).await.ignored, 0);
}

async fn what_was_taken_over_is_not_touched(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let other = world.process().await;
    let lost = other.claim_one(&ada, NOW).await;
    other.leave(NOW).await;
    assert_eq!(other.finish([failed(&lost, NOW)], NOW).await.ignored, 1);
    let taken = world.here.claim_one(&ada, NOW).await;
    assert_eq!(other.finish([failed(&lost, NOW)], NOW).await.ignored, 1);

    let record = world.delivery(&ada, taken.id).await;
    assert_eq!((record.state, record.attempts.len()), (DeliveryState::Sending, 0));
    assert_eq!(world.health(&ada).await.failure_count, 0);
    assert_eq!(world.here.finish([delivered(&taken, NOW)], NOW).await.ignored, 0);
}

async fn what_was_released_is_not_touched(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim(&ada, 1, NOW).await;
    world.here.release(&claimed, NOW).await;
    assert_eq!(world.here.finish([delivered(&claimed[0], NOW)], NOW).await.ignored, 1);
    assert_eq!(world.states(&ada).await, [DeliveryState::Waiting]);
}

async fn an_outcome_for_a_deleted_subscription_is_kept(world: World) {
    let gone = world.subscriber("x").await;
    world.send(2, &gone).await;
    let claimed = world.here.claim(&gone, 2, NOW).await;
    world.unsubscribe(&gone).await;
    assert_eq!(world.states(&gone).await, [DeliveryState::Sending; 2]);
    let outcomes = [delivered(&claimed[0], NOW), failed(&claimed[1], NOW)];
    assert_eq!(world.here.finish(outcomes, NOW).await.ignored, 0);
    assert_eq!(world.states(&gone).await, [DeliveryState::Delivered, DeliveryState::Failed]);
}

async fn a_retry_for_a_deleted_subscription_is_cancelled(world: World) {
    let ada = world.account("ada").await;
    let gone = world.subscription(&ada, "x", "https://ada.example").await;
    world.send(2, &gone).await;
    let claimed = world.here.claim(&gone, 2, NOW).await;
    world.unsubscribe(&gone).await;
    let anew = world.subscription(&ada, "x", "https://ada.example").await;
    world.here.finish([retried(&claimed[0], NOW, at(60))], NOW).await;
    world.here.release(&claimed[1..], NOW).await;

    assert_eq!(world.states(&gone).await, [DeliveryState::Cancelled; 2]);
    let records = world.deliveries(&gone).await;
    assert_eq!((records[0].attempts.len(), records[1].attempts.len()), (1, 0));
    assert!(records.iter().all(|record| record.due_at.is_none()));
    let due = world.due(at(100)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
    assert_eq!(world.waiting(&anew).await, 0);
}

async fn a_retry_for_an_inactive_subscription_waits(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    let claimed = world.here.claim_one(&ada, NOW).await;
    world.set_active(&ada, false, NOW).await;
    world.here.finish([retried(&claimed, NOW, at(60))], NOW).await;
    assert_eq!((world.waiting(&ada).await, world.states(&ada).await), (1, vec![DeliveryState::Waiting]));
    assert!(world.due(at(100)).await.subscriptions.is_empty());
    assert!(world.here.claim(&ada, 10, at(100)).await.is_empty());
}
