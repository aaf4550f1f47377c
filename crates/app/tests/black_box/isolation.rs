//! Callbacks share one server, and none of them takes what belongs to the others.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{
    receiver::Receiver,
    server::{Home, Server},
};

#[tokio::test]
async fn a_receiver_that_never_answers_delays_nobody_else() {
    let (mut silent, mut healthy) = (Receiver::start_gated(0).await, Receiver::start().await);
    let server = very_patient().serve();
    let ada = server.http.account("ada").await;
    let stuck = ada.subscribe("load", &silent.url).await;
    let ids = server.http.trigger_many("load", 300).await;
    silent.next().await;
    ada.subscribe("load", &healthy.url).await;
    let more = server.http.trigger_many("load", 300).await;
    let single = server.http.trigger("load", json!({})).await;

    let arrived: BTreeSet<_> = healthy.take(301).await.iter().map(|received| received.id()).collect();
    assert!(more.iter().all(|id| arrived.contains(id)) && arrived.contains(single["id"].as_str().unwrap()));
    let untouched = ada.deliveries(&stuck.id).await;
    assert!(untouched.iter().all(|delivery| delivery["attempts"] == json!([])), "nobody waited for a timeout");
    silent.let_through(601);
    for id in [&ids[0], &ids[299], &more[299]] {
        server.http.event_in_state(id, "delivered").await;
    }
}

#[tokio::test]
async fn callbacks_that_never_answer_leave_room_in_a_small_pool() {
    let mut silent = [Receiver::start_gated(0).await, Receiver::start_gated(0).await, Receiver::start_gated(0).await];
    let mut healthy = Receiver::start().await;
    let server = very_patient().set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", "8").serve();
    let ada = server.http.account("ada").await;
    for silent in &mut silent {
        ada.subscribe("silent", &silent.url).await;
        server.http.trigger_many("silent", 200).await;
        silent.next().await;
    }
    ada.subscribe("healthy", &healthy.url).await;
    for _ in 0..20 {
        let receipt = server.http.trigger("healthy", json!({})).await;
        assert_eq!(healthy.next().await.id(), receipt["id"]);
    }
}

#[tokio::test]
async fn a_callback_that_refuses_connections_delays_nobody_else() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut healthy = Receiver::start().await;
    let schedule = ["0s"; 100].join(",");
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &schedule).serve();
    let ada = server.http.account("ada").await;
    let failing = ada.subscribe("load", &format!("http://{dead}/")).await;
    ada.subscribe("load", &healthy.url).await;
    for _ in 0..3 {
        let ids: BTreeSet<_> = server.http.trigger_many("load", 200).await.into_iter().collect();
        let arrived: BTreeSet<_> = healthy.take(200).await.iter().map(|received| received.id()).collect();
        assert_eq!(arrived, ids);
    }
    let is_tried = |now: &serde_json::Value| now["failure_count"].as_u64().unwrap() > 1;
    ada.subscription_when(&failing.id, "failures", is_tried).await;
    assert_eq!(healthy.total(), 600);
}

#[tokio::test]
async fn one_subscription_gets_no_more_at_once_than_it_may() {
    let mut receiver = Receiver::start_gated(0).await;
    let server = very_patient().set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", "3").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("load", &receiver.url).await;
    let ids: BTreeSet<_> = server.http.trigger_many("load", 100).await.into_iter().collect();
    let mut arrived = receiver.take(3).await;
    receiver.let_through(100);
    arrived.extend(receiver.take(97).await);
    assert_eq!(receiver.most_open(), 3);
    assert_eq!(arrived.iter().map(|received| received.id()).collect::<BTreeSet<_>>(), ids);
    ada.subscription_when(&subscription.id, "nothing waiting", |now| now["waiting"] == 0).await;
    assert_eq!(receiver.total(), 100);
}

#[tokio::test]
async fn all_subscriptions_together_get_no_more_at_once_than_they_may() {
    let mut receiver = Receiver::start_gated(0).await;
    let server = very_patient().set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", "8").serve();
    let paths = subscribe_to_paths(&server, &receiver, 40).await;
    server.http.trigger_many("load", 5).await;
    // The last one is for another account.
    let mut arrived = receiver.take(7).await;
    receiver.let_through(200);
    arrived.extend(receiver.take(193).await);
    assert_eq!(receiver.most_open(), 7);
    let pairs: BTreeSet<_> = arrived.iter().map(|received| (received.id(), received.uri.path().to_owned())).collect();
    assert_eq!(pairs.len(), 200);
    assert_eq!(pairs.into_iter().map(|(_, path)| path).collect::<BTreeSet<_>>(), paths);
}

#[tokio::test]
async fn an_account_with_many_callbacks_that_never_answer_delays_no_other_account() {
    let (mut silent, mut healthy) = (Receiver::start_gated(0).await, Receiver::start().await);
    let server = very_patient().set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", "8").serve();
    subscribe_to_paths(&server, &silent, 40).await;
    server.http.trigger_many("load", 50).await;
    silent.take(7).await;
    server.http.account("bob").await.subscribe("healthy", &healthy.url).await;
    for _ in 0..20 {
        let receipt = server.http.trigger("healthy", json!({})).await;
        assert_eq!(healthy.next().await.id(), receipt["id"]);
    }
}

#[tokio::test]
async fn an_event_reaches_each_of_many_subscriptions_exactly_once() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let paths = subscribe_to_paths(&server, &receiver, 300).await;
    let receipt = server.http.trigger("load", json!({})).await;
    assert_eq!(receipt["subscriptions"], 300);
    let arrived: BTreeSet<_> = receiver.take(300).await.iter().map(|received| received.uri.path().to_owned()).collect();
    assert_eq!(arrived, paths);

    let id = receipt["id"].as_str().unwrap();
    let mut seen = 0;
    let mut path = format!("/webhooks/events/{id}");
    server.http.event_in_state(id, "delivered").await;
    loop {
        let page = server.http.get(&path).bearer(crate::support::server::TRIGGER_TOKEN).send().await.expect(200);
        assert_eq!(page["subscriptions"], 300);
        seen += page["deliveries"].as_array().unwrap().len();
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/webhooks/events/{id}?cursor={cursor}");
    }
    assert_eq!(seen, 300);
    assert_eq!(receiver.total(), 300);
}

#[tokio::test]
async fn a_backlog_drains_to_its_end_and_within_bounds() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", "16").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("load", &receiver.url).await;
    ada.set_active(&subscription.id, false).await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        ids.extend(server.http.trigger_many("load", 1_000).await);
    }
    assert_eq!(ada.subscription(&subscription.id).await["waiting"], 3_000);

    ada.set_active(&subscription.id, true).await;
    let arrived: BTreeSet<_> = receiver.take(3_000).await.iter().map(|received| received.id()).collect();
    assert_eq!(arrived, ids);
    assert!(receiver.most_open() <= 16, "{} at once", receiver.most_open());
    let path = format!("/webhooks/subscriptions/{}/deliveries?state=sending", subscription.id);
    crate::support::eventually("every outcome recorded", async || {
        let sending = server.http.get(&path).bearer(&ada.token).send().await.expect(200);
        (sending["data"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(ada.subscription(&subscription.id).await["waiting"], 0);
    assert_eq!(receiver.total(), 3_000, "each once");
}

/// Attempts may hang for longer than any test waits.
fn very_patient() -> Home {
    Home::new().set("HOOKCAST_DELIVERY_TIMEOUT", "10m").set("HOOKCAST_DELIVERY_LEASE", "15m")
}

/// Makes so many subscriptions at paths of their own; the paths.
async fn subscribe_to_paths(server: &Server, receiver: &Receiver, count: usize) -> BTreeSet<String> {
    let ada = server.http.account("ada").await;
    let paths: BTreeSet<_> = (0..count).map(|n| format!("/{n}")).collect();
    for path in &paths {
        ada.subscribe("load", &format!("{}{path}", receiver.url)).await;
    }
    paths
}

#[tokio::test]
async fn more_hanging_callbacks_than_the_pool_is_large_do_not_starve_a_healthy_one() {
    let hanging = Receiver::start_gated(0).await;
    let mut healthy = Receiver::start().await;
    let server = Home::new()
        .set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", "8")
        .set("HOOKCAST_DELIVERY_TIMEOUT", "300ms")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["20ms"; 100].join(","))
        .serve();
    let ada = server.http.account("ada").await;
    for n in 0..40 {
        ada.subscribe("hang", &format!("{}/{n}", hanging.url)).await;
    }
    for n in 0..5 {
        server.http.trigger("hang", json!(n)).await;
    }
    let bob = server.http.account("bob").await;
    bob.subscribe("go", &healthy.url).await;
    for n in 0..30 {
        let receipt = server.http.trigger("go", json!(n)).await;
        assert_eq!(healthy.next().await.id(), receipt["id"]);
    }
}
