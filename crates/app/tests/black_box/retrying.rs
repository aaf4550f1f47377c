//! What fails is tried again, as the schedule and the receiver say.

use std::time::Duration;

use hookcast_core::clock::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    receiver::{Receiver, Reply},
    server::Home,
};

#[tokio::test]
async fn retries_follow_the_schedule_with_the_same_event_signed_anew() {
    let mut receiver = Receiver::start().await;
    receiver.next_replies([500_u16, 500]);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1200ms,300ms");
    let server = home.set("HOOKCAST_DELIVERY_RETRY_JITTER", "0").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("relation_added", &receiver.url).await;

    let receipt = server.http.trigger("relation_added", json!({"n": 1})).await;
    let tries = receiver.take(3).await;
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;

    assert!(tries[1].at - tries[0].at > Duration::from_millis(1_150));
    assert!(tries[2].at - tries[1].at > Duration::from_millis(250));
    let listed = event["deliveries"][0]["attempts"].as_array().unwrap();
    assert_eq!(listed.len(), tries.len());
    for (number, (received, attempt)) in (1..).zip(tries.iter().zip(listed)) {
        assert_eq!(received.id(), receipt["id"]);
        assert_eq!(received.body, tries[0].body);
        received.verify(&subscription.secret).unwrap();
        assert_eq!(attempt["number"], number);
        assert_eq!(received.header("webhook-timestamp"), time(&attempt["time"]).as_seconds().to_string());
    }
    assert_ne!(tries[0].header("webhook-timestamp"), tries[1].header("webhook-timestamp"));
}

#[tokio::test]
async fn every_attempt_is_listed_with_what_it_met() {
    let mut receiver = Receiver::start_gated(0).await;
    let long = Reply { body: "é".repeat(1_000), ..Reply::from(503) };
    receiver.next_replies([long, Reply { body: "thank you".into(), ..Reply::from(200) }]);
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("slow", &receiver.url).await;

    let before = SystemClock.now();
    let receipt = server.http.trigger("slow", json!({})).await;
    let first = receiver.next().await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let held = u64::try_from(first.at.elapsed().as_millis()).unwrap();
    receiver.let_through(2);
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;

    let seen_by_producer = &event["deliveries"][0]["attempts"];
    let seen_by_owner = &ada.deliveries(&subscription.id).await[0]["attempts"];
    assert_eq!(seen_by_producer, seen_by_owner);
    let attempts = seen_by_owner.as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["status"], 503);
    assert_eq!(attempts[0]["answer"], "é".repeat(512), "the first KiB");
    assert!(attempts[0]["latency_ms"].as_u64().unwrap() >= held - 1);
    assert_eq!(attempts[1]["status"], 200);
    assert_eq!(attempts[1]["answer"], "thank you");
    assert!(attempts[1]["latency_ms"].is_u64());
    assert!(attempts.iter().all(|attempt| attempt["failure"].is_null()));
    assert!(before <= time(&attempts[0]["time"]) && time(&attempts[0]["time"]) < time(&attempts[1]["time"]));
    assert!(time(&attempts[1]["time"]) <= SystemClock.now());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_used_up_its_schedule_is_kept_and_can_be_sent_again() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "20ms,20ms");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("doomed", &receiver.url).await;
    let receipt = server.http.trigger("doomed", json!({})).await;
    let id = receipt["id"].as_str().unwrap();

    let event = server.http.event_in_state(id, "failed").await;
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 3);
    assert_eq!(event["deliveries"][0]["next_attempt_at"], Value::Null);
    let path = format!("/webhooks/subscriptions/{}/deliveries?state=failed", subscription.id);
    let failed = server.http.get(&path).bearer(&ada.token).send().await.expect(200);
    assert_eq!(failed["data"][0]["event_id"], id);
    assert_eq!(ada.subscription(&subscription.id).await["is_active"], true);

    receiver.always(200);
    let (code, said) = home.resend(&[]);
    assert_eq!((code, &said["attempted"]), (0, &json!(0)), "only `--failed` goes back to it");
    let (code, said) = home.resend(&["--failed"]);
    assert_eq!((code, &said["attempted"], &said["delivered"]), (0, &json!(1), &json!(1)));
    let event = server.http.event_in_state(id, "delivered").await;
    assert_eq!(event["deliveries"][0]["attempts"][3]["status"], 200);
    assert_eq!(receiver.total(), 4);
}

#[tokio::test]
async fn an_empty_schedule_means_no_retries() {
    let mut receiver = Receiver::start().await;
    receiver.next_replies([500_u16]);
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("once", &receiver.url).await;

    let first = server.http.trigger("once", json!({})).await;
    let event = server.http.event_in_state(first["id"].as_str().unwrap(), "failed").await;
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 1);
    let second = server.http.trigger("once", json!({})).await;
    let arrived: Vec<_> = receiver.take(2).await.iter().map(|received| json!(received.id())).collect();
    assert_eq!(arrived, [first["id"].clone(), second["id"].clone()]);
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_in_seconds_gets_it() {
    for status in [429, 503] {
        let asked = Duration::from_secs(2);
        let (pause, planned) = pause_after(Reply { headers: retry_after("2"), ..Reply::from(status) }).await;
        assert!(pause >= asked, "{status}: the next try came {pause:?} later");
        assert!(planned >= asked && planned < Duration::from_secs(60), "{status}: planned {planned:?} later");
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_until_a_date_gets_it() {
    // A date has whole seconds, so that the pause is between two and three.
    let date = SystemClock.now().plus(Duration::from_secs(3));
    let date = jiff::Timestamp::from_millisecond(date.as_millis()).unwrap();
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let (pause, planned) = pause_after(Reply { headers: retry_after(&date), ..Reply::from(503) }).await;
    assert!(pause > Duration::from_secs(1), "the next try came {pause:?} later");
    assert!(planned > Duration::from_secs(1) && planned < Duration::from_secs(4), "planned {planned:?} later");
}

fn retry_after(value: &str) -> Vec<(&'static str, String)> {
    vec![("retry-after", value.to_owned())]
}

/// How long after a first attempt with this answer the second one comes, and how long after it the API says it will come. The
/// schedule itself would have it at once.
async fn pause_after(reply: Reply) -> (Duration, Duration) {
    let mut receiver = Receiver::start().await;
    receiver.next_replies([reply]);
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "0s").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("paused", &receiver.url).await;
    let receipt = server.http.trigger("paused", json!({})).await;
    receiver.next().await;
    let waits = |subscription: &Value| subscription["failure_count"] == 1;
    ada.subscription_when(&subscription.id, "the first failure", waits).await;
    let delivery = server.http.event(receipt["id"].as_str().unwrap()).await["deliveries"][0].clone();
    assert_eq!(delivery["state"], "waiting");
    receiver.next().await;
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    let attempts = &event["deliveries"][0]["attempts"];
    let first = time(&attempts[0]["time"]);
    (time(&attempts[1]["time"]).since(first), time(&delivery["next_attempt_at"]).since(first))
}

fn time(text: &Value) -> Timestamp {
    Timestamp::parse(text.as_str().unwrap()).unwrap()
}
