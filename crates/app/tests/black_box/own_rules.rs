//! Rules that a subscription has of its own: when it is tried again, what counts as a success, how long it may take.

use serde_json::{Value, json};

use crate::support::{
    receiver::Receiver,
    server::Home,
    wishes::{EVENT, change, subscribe, text},
};

/// The statuses of an event's attempts, once its only delivery is in this state.
async fn statuses(server: &crate::support::server::Server, state: &str) -> Vec<Value> {
    let receipt = server.http.trigger(EVENT, json!({})).await;
    let event = server.http.event_in_state(&text(&receipt, "id"), state).await;
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["status"].clone()).collect()
}

#[tokio::test]
async fn a_schedule_of_its_own_takes_the_place_of_the_settings() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h").set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let view = subscribe(&ada, &receiver.url, json!({"retries": ["1ms", "2ms"]})).await.expect(201);
    assert_eq!(view["retries"], json!(["1ms", "2ms"]));
    assert_eq!(statuses(&server, "failed").await, [500, 500, 500]);

    let growing = json!({"first": "1ms", "factor": 2, "longest": "4ms", "count": 4});
    let view = change(&ada, &text(&view, "id"), json!({"retries": growing})).await.expect(200);
    assert_eq!(view["retries"], json!({"first": "1ms", "factor": 2.0, "longest": "4ms", "count": 4}));
    assert_eq!(statuses(&server, "failed").await, [500; 5]);

    let view = change(&ada, &text(&view, "id"), json!({"retries": []})).await.expect(200);
    assert_eq!(statuses(&server, "failed").await, [500]);
    let view = change(&ada, &text(&view, "id"), json!({"retries": null})).await.expect(200);
    assert_eq!(view["retries"], json!(["1h"]));
}

#[tokio::test]
async fn what_counts_as_a_success_is_its_own_to_say() {
    let receiver = Receiver::start().await;
    receiver.always(204);
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").serve();
    let ada = server.http.account("ada").await;
    let view = subscribe(&ada, &receiver.url, json!({"success_status": "2xx"})).await.expect(201);
    assert_eq!(statuses(&server, "delivered").await, [204]);
    change(&ada, &text(&view, "id"), json!({"success_status": "200"})).await.expect(200);
    assert_eq!(statuses(&server, "failed").await, [204]);
}

#[tokio::test]
async fn a_callback_that_never_answers_costs_its_own_time_alone() {
    let receiver = Receiver::start_gated(0).await;
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").serve();
    let ada = server.http.account("ada").await;
    subscribe(&ada, &receiver.url, json!({"timeout": "50ms"})).await.expect(201);
    let receipt = server.http.trigger(EVENT, json!({})).await;
    let event = server.http.event_in_state(&text(&receipt, "id"), "failed").await;
    let attempt = &event["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["failure"], "timeout");
    assert!(attempt["latency_ms"].as_u64().unwrap() < 15_000, "the setting's time: {attempt}");
}

#[tokio::test]
async fn wrong_rules_are_refused_by_name_and_change_nothing() {
    let receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_RETENTION_AGE", "20d");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let view = subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    let before = home.stored();
    for (field, value) in [
        ("retries", json!("5s")),
        ("retries", json!(["5"])),
        ("retries", json!([5])),
        ("retries", json!(vec!["1ms"; 101])),
        ("retries", json!(["31d"])),
        // Within thirty days, and longer than events are kept.
        ("retries", json!(["20d"])),
        ("retries", json!({"first": "5s", "factor": 2})),
        ("retries", json!({"count": 5})),
        ("retries", json!({"first": "5s", "count": 5, "times": 3})),
        ("retries", json!({"first": "5s", "count": 5, "factor": 0.5})),
        ("success_status", json!(200)),
        ("success_status", json!("204")),
        ("timeout", json!("0")),
        ("timeout", json!("16s")),
        ("timeout", json!(5)),
        ("rate_limit", json!(0)),
        ("rate_limit", json!("5")),
        ("max_in_flight", json!(0)),
        ("max_in_flight", json!(1.5)),
        ("ordering", json!("yes")),
        ("on_failure", json!(true)),
        ("format", json!("xml")),
        ("consent", json!("please")),
        ("signature", json!("rsa")),
    ] {
        println!("{field}: {value}");
        let wish = json!({field: value});
        change(&ada, &text(&view, "id"), wish.clone()).await.expect_invalid(field);
        subscribe(&ada, &format!("{}/other", receiver.url), wish).await.expect_invalid(field);
    }
    // Whether it is active is no question before it is there.
    subscribe(&ada, &format!("{}/other", receiver.url), json!({"is_active": true})).await.expect_invalid("is_active");
    home.assert_stores(&before);
}
