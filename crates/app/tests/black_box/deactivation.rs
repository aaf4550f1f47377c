//! Subscriptions that fail for too long become inactive, and nothing of theirs is lost by it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use hookcast_core::clock::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    eventually,
    receiver::Receiver,
    server::{Home, Server, TRIGGER_TOKEN},
    world::{Account, Subscription},
};

#[tokio::test]
async fn failures_in_a_row_are_counted_and_a_success_ends_the_row() {
    let receiver = Receiver::start().await;
    let (server, ada, subscription) = subscribed(&without_retries(), &receiver).await;
    receiver.always(500);
    let mut since = Value::Null;
    for count in 1..=3 {
        trigger_until(&server, "failed").await;
        let now = ada.subscription(&subscription.id).await;
        assert_eq!(now["failure_count"], count);
        assert!(now["failing_since"].is_string());
        assert!(count == 1 || now["failing_since"] == since, "it is since the first failure");
        since = now["failing_since"].clone();
    }
    receiver.always(200);
    trigger_until(&server, "delivered").await;
    let now = ada.subscription(&subscription.id).await;
    assert_eq!((&now["failure_count"], &now["failing_since"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn retries_count_as_failures_too() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "20ms,20ms,20ms");
    let (server, ada, subscription) = subscribed(&home, &receiver).await;
    trigger_until(&server, "failed").await;
    assert_eq!(ada.subscription(&subscription.id).await["failure_count"], 4);
}

#[tokio::test]
async fn max_send_attempts_is_the_exact_number_of_failures_in_a_row() {
    for limit in [1, 3] {
        let receiver = Receiver::start().await;
        let home = Home::new().set("MAX_SEND_ATTEMPTS", &limit.to_string());
        let (server, ada, subscription) = subscribed(&home, &receiver).await;
        let almost: Vec<u16> = vec![500; limit - 1];
        receiver.next_replies([almost.clone(), vec![200], almost, vec![200]].concat());
        trigger_until(&server, "delivered").await;
        trigger_until(&server, "delivered").await;
        assert_eq!(ada.subscription(&subscription.id).await["is_active"], true, "fewer than {limit} in a row");

        let before = receiver.total();
        receiver.always(500);
        let receipt = server.http.trigger("watched", json!({})).await;
        let now = ada.subscription_when(&subscription.id, "inactive", is_inactive).await;
        assert_eq!((&now["failure_count"], &now["waiting"]), (&json!(limit), &json!(1)));
        let_retry_pass(&server, &ada, &receipt).await;
        assert_eq!(receiver.total() - before, limit);
        let event = server.http.event(receipt["id"].as_str().unwrap()).await;
        assert_eq!(event["deliveries"][0]["state"], "waiting");
        assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), limit);
    }
}

/// Lets the time pass at which the event's delivery was to be tried again, and the server look for what is due.
async fn let_retry_pass(server: &Server, ada: &Account, event: &Value) {
    let due = server.http.event(event["id"].as_str().unwrap()).await["deliveries"][0]["next_attempt_at"].clone();
    let due = Timestamp::parse(due.as_str().unwrap()).unwrap();
    eventually("the next attempt's time", async || (SystemClock.now() > due).then_some(())).await;
    let mut receiver = Receiver::start().await;
    let elsewhere = ada.subscribe("elsewhere", &receiver.url).await;
    ada.set_active(&elsewhere.id, false).await;
    server.http.trigger("elsewhere", json!({})).await;
    ada.set_active(&elsewhere.id, true).await;
    receiver.next().await;
}

#[tokio::test]
async fn too_many_failures_deactivate_once_they_have_lasted_long_enough() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new()
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["50ms"; 100].join(","))
        .set("HOOKCAST_DELIVERY_MAX_FAILURES", "2")
        .set("HOOKCAST_DELIVERY_DEACTIVATE_AFTER", "1500ms");
    let (server, ada, subscription) = subscribed(&home, &receiver).await;
    let begun = Instant::now();
    server.http.trigger("watched", json!({})).await;
    let now = ada.subscription_when(&subscription.id, "inactive", is_inactive).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_500));
    assert!(now["failure_count"].as_u64().unwrap() > 3, "{now}");
    assert_eq!(now["waiting"], 1);
}

#[tokio::test]
async fn failures_that_have_not_lasted_for_days_deactivate_nothing() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let (server, ada, subscription) =
        subscribed(&without_retries().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0"), &receiver).await;
    // One after the other, since those that fail side by side count once.
    for _ in 0..60 {
        trigger_until(&server, "failed").await;
    }
    let now = ada.subscription_when(&subscription.id, "60 failures", |now| now["failure_count"] == 60).await;
    assert_eq!(now["is_active"], true);
    trigger_until(&server, "failed").await;
    assert_eq!(receiver.total(), 61);
}

#[tokio::test]
async fn a_callback_that_says_that_it_is_gone_is_believed_at_once() {
    let mut receiver = Receiver::start().await;
    receiver.next_replies([410_u16]);
    let (server, ada, subscription) = subscribed(&Home::new(), &receiver).await;
    let receipt = server.http.trigger("watched", json!({})).await;
    let now = ada.subscription_when(&subscription.id, "inactive", is_inactive).await;
    assert_eq!(now["failure_count"], 1);
    let_retry_pass(&server, &ada, &receipt).await;
    assert_eq!(receiver.total(), 1);

    ada.set_active(&subscription.id, true).await;
    assert_eq!(receiver.take(2).await[1].id(), receipt["id"]);
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
}

#[tokio::test]
async fn what_came_for_an_inactive_subscription_goes_out_once_it_is_active_again() {
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("MAX_SEND_ATTEMPTS", "1").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let (server, ada, subscription) = subscribed(&home, &receiver).await;
    let mut ids = server.http.trigger_many("watched", 1).await;
    ada.subscription_when(&subscription.id, "inactive", is_inactive).await;
    receiver.next().await;
    for _ in 0..3 {
        ids.extend(server.http.trigger_many("watched", 1).await);
    }
    let now = ada.subscription(&subscription.id).await;
    assert_eq!((&now["is_active"], &now["waiting"], &now["expired"]), (&json!(false), &json!(4), &json!(0)));
    for id in &ids {
        let event = server.http.event(id).await;
        assert_eq!(event["deliveries"][0]["state"], "waiting");
        assert_eq!(event["deliveries"][0]["is_active"], false);
        assert_eq!(event["unreached"]["reason"], "inactive");
    }
    assert_eq!(receiver.total(), 1);

    receiver.always(200);
    let now = ada.set_active(&subscription.id, true).await;
    assert_eq!((&now["is_active"], &now["failure_count"]), (&json!(true), &json!(0)));
    let arrived: BTreeSet<_> = receiver.take(4).await.iter().map(|received| received.id()).collect();
    assert_eq!(arrived, ids.iter().cloned().collect());
    for id in &ids {
        assert_eq!(server.http.event_in_state(id, "delivered").await["unreached"], Value::Null);
    }
    assert_eq!(receiver.total(), 5);
}

#[tokio::test]
async fn an_event_tells_why_it_reached_nobody() {
    let receiver = Receiver::start().await;
    let (server, ada, subscription) = subscribed(&Home::new(), &receiver).await;
    let lonely = server.http.trigger("unheard_of", json!({})).await;
    assert_eq!(lonely["subscriptions"], 0);
    let event = server.http.event(lonely["id"].as_str().unwrap()).await;
    assert_eq!(event["unreached"]["reason"], "no_subscription");
    assert!(event["unreached"]["detail"].as_str().unwrap().contains("unheard_of"));

    let reached = trigger_until(&server, "delivered").await;
    assert_eq!(reached["unreached"], Value::Null);

    ada.set_active(&subscription.id, false).await;
    let parked = server.http.trigger("watched", json!({})).await;
    let event = server.http.event(parked["id"].as_str().unwrap()).await;
    assert_eq!(event["unreached"]["reason"], "inactive");

    let other = Receiver::start().await;
    ada.subscribe("watched", &other.url).await;
    let half = server.http.trigger("watched", json!({})).await;
    let event = server.http.event(half["id"].as_str().unwrap()).await;
    assert_eq!((&half["subscriptions"], &event["unreached"]), (&json!(2), &Value::Null), "it reaches one of two");
}

#[tokio::test]
async fn of_too_many_that_wait_the_oldest_expire() {
    let mut receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DELIVERY_MAX_WAITING", "3");
    let (server, ada, subscription) = subscribed(&home, &receiver).await;
    ada.set_active(&subscription.id, false).await;
    let mut ids = Vec::new();
    for count in [1, 2, 2] {
        ids.extend(server.http.trigger_many("watched", count).await);
    }
    let now = ada.subscription(&subscription.id).await;
    assert_eq!((&now["waiting"], &now["expired"]), (&json!(3), &json!(2)));
    let (expired, kept) = ids.split_at(2);
    for (ids, state) in [(expired, "expired"), (kept, "waiting")] {
        for id in ids {
            assert_eq!(server.http.event(id).await["deliveries"][0]["state"], state);
        }
    }

    ada.set_active(&subscription.id, true).await;
    let arrived: BTreeSet<_> = receiver.take(3).await.iter().map(|received| received.id()).collect();
    assert_eq!(arrived, kept.iter().cloned().collect());
    for id in kept {
        server.http.event_in_state(id, "delivered").await;
    }
    assert_eq!(receiver.total(), 3);
}

#[tokio::test]
async fn old_events_go_with_their_deliveries_and_what_still_waited_counts_as_expired() {
    let mut receiver = Receiver::start().await;
    let home = without_retries().set("HOOKCAST_RETENTION_AGE", "1s");
    let (server, ada, subscription) = subscribed(&home, &receiver).await;
    let delivered = server.http.trigger("watched", json!({})).await;
    receiver.next().await;
    ada.set_active(&subscription.id, false).await;
    let parked = server.http.trigger("watched", json!({})).await;

    for receipt in [delivered, parked] {
        let path = format!("/webhooks/events/{}", receipt["id"].as_str().unwrap());
        eventually("the event's end", async || {
            (server.http.get(&path).bearer(TRIGGER_TOKEN).send().await.status == 404).then_some(())
        })
        .await;
    }
    let now = ada.subscription(&subscription.id).await;
    assert_eq!((&now["waiting"], &now["expired"]), (&json!(0), &json!(1)));
    assert_eq!(ada.deliveries(&subscription.id).await, Vec::<Value>::new());
    ada.set_active(&subscription.id, true).await;
    let later = server.http.trigger("watched", json!({})).await;
    assert_eq!(receiver.next().await.id(), later["id"]);
}

fn without_retries() -> Home {
    Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "")
}

fn is_inactive(subscription: &Value) -> bool {
    subscription["is_active"] == false
}

/// A server with one subscription, to events that are `watched`.
async fn subscribed(home: &Home, receiver: &Receiver) -> (Server, Account, Subscription) {
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("watched", &receiver.url).await;
    (server, ada, subscription)
}

/// Triggers an event and waits until its delivery is in this state; the event then.
async fn trigger_until(server: &Server, state: &str) -> Value {
    let receipt = server.http.trigger("watched", json!({})).await;
    server.http.event_in_state(receipt["id"].as_str().unwrap(), state).await
}
