//! However a server ends, what it has accepted is delivered, and what is delivered is not repeated without need.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    eventually,
    http::Http,
    receiver::Receiver,
    server::{Home, Server, TRIGGER_TOKEN},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_flight_when_the_server_was_killed_goes_out_at_once_after_the_next_start() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = very_patient();
    let server = home.serve();
    server.http.account("ada").await.subscribe("load", &receiver.url).await;
    let ids = server.http.trigger_many("load", 5).await;
    let before = receiver.take(5).await;
    server.kill();
    receiver.let_through(100);

    // The lease of the first server has a quarter of an hour to go.
    let server = home.serve();
    let after = receiver.take(5).await;
    let all: BTreeSet<_> = ids.iter().cloned().collect();
    for received in [before, after] {
        assert_eq!(received.iter().map(|received| received.id()).collect::<BTreeSet<_>>(), all);
    }
    for id in &ids {
        let event = server.http.event_in_state(id, "delivered").await;
        let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "of the first attempt nobody knows what came of it");
    }
    assert_eq!(receiver.total(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_waits_survives_a_kill() {
    let mut receiver = Receiver::start().await;
    receiver.next_replies([500_u16]);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1s");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("load", &receiver.url).await;
    let receipt = server.http.trigger("load", json!({})).await;
    ada.subscription_when(&subscription.id, "a failure", |now| now["failure_count"] == 1).await;
    server.kill();

    let server = home.serve();
    assert_eq!(receiver.take(2).await[1].id(), receipt["id"]);
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    let numbers: Vec<_> = attempts(&event).iter().map(|attempt| &attempt["number"]).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_in_flight_ends_before_the_server_does_and_is_not_repeated() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = very_patient().set("HOOKCAST_SHUTDOWN_GRACE", "10m");
    let mut server = home.serve();
    server.http.account("ada").await.subscribe("load", &receiver.url).await;
    let receipt = server.http.trigger("load", json!({})).await;
    receiver.next().await;
    server.signal("TERM");
    until_closed(&server).await;
    receiver.let_through(100);
    assert!(server.wait().success());

    let server = home.serve();
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(attempts(&event).len(), 1);
    let another = server.http.trigger("load", json!({})).await;
    assert_eq!(receiver.next().await.id(), another["id"]);
    assert_eq!(receiver.total(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_does_not_keep_a_server_from_stopping() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = very_patient().set("HOOKCAST_SHUTDOWN_GRACE", "1s");
    let mut server = home.serve();
    server.http.account("ada").await.subscribe("load", &receiver.url).await;
    let receipt = server.http.trigger("load", json!({})).await;
    receiver.next().await;
    server.signal("TERM");
    assert!(server.wait().success());
    let log = server.log();
    assert!(log.contains("1 attempts did not end in time"), "{log}");
    assert!(!log.contains("not every outcome was recorded"), "nothing else was waited for: {log}");

    receiver.let_through(100);
    let server = home.serve();
    assert_eq!(receiver.next().await.id(), receipt["id"]);
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_begun_when_the_server_stopped_goes_out_after_the_next_start() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = very_patient()
        .set("HOOKCAST_SHUTDOWN_GRACE", "10m")
        .set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", "2");
    let mut server = home.serve();
    server.http.account("ada").await.subscribe("load", &receiver.url).await;
    let ids: BTreeSet<_> = server.http.trigger_many("load", 50).await.into_iter().collect();
    let mut arrived = receiver.take(2).await;
    server.signal("TERM");
    until_closed(&server).await;
    eventually("the queue's end", async || server.log().contains("stopping").then_some(())).await;
    receiver.let_through(100);
    assert!(server.wait().success());

    let _server = home.serve();
    arrived.extend(receiver.take(48).await);
    assert_eq!(arrived.iter().map(|received| received.id()).collect::<BTreeSet<_>>(), ids, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_share_a_store() {
    let home = Home::new();
    let server = home.serve();
    let log = home.try_serve(&["serve"]).err().expect("only one starts");
    assert!(log.contains("another server has data/hookcast.db: stop it first"), "{log}");
    server.http.get("/health/ready").send().await.expect(200);
    server.http.trigger("load", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_server_stops_nobody() {
    let home = Home::new();
    home.serve().kill();
    assert!(home.path().join("data/hookcast.db.lock").exists());
    let home = home.set("HOOKCAST_LISTEN", "127.0.0.2:0");
    let server = home.serve();
    assert!(server.address.starts_with("127.0.0.2:"));
    server.http.trigger("load", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_beyond_its_lease_does_not_undo_what_others_did() {
    let mut receiver = Receiver::start_gated(0).await;
    receiver.next_replies([500_u16]);
    let home = Home::new()
        .set("HOOKCAST_DELIVERY_LEASE", "3s")
        .set("HOOKCAST_DELIVERY_TIMEOUT", "2s")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("load", &receiver.url).await;
    let receipt = server.http.trigger("load", json!({})).await;
    receiver.next().await;
    freeze(&server, &home).await;
    // The server's attempt fails now, and it does not see it yet. All others succeed.
    receiver.let_through(100);
    eventually("the lease's end", async || {
        let (code, said) = home.resend(&[]);
        assert_eq!(code, 0);
        (said["delivered"] == 1).then_some(())
    })
    .await;
    server.signal("CONT");
    eventually("the late outcome", async || server.log().contains("do not count").then_some(())).await;

    let event = server.http.event(receipt["id"].as_str().unwrap()).await;
    assert_eq!(event["deliveries"][0]["state"], "delivered");
    assert_eq!(attempts(&event).len(), 1);
    assert_eq!(attempts(&event)[0]["status"], 200);
    assert_eq!(ada.subscription(&subscription.id).await["failure_count"], 0);
    let later = server.http.trigger("load", json!({})).await;
    server.http.event_in_state(later["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(receiver.total(), 3);
}

/// Freezes a server, though not while it keeps all others from writing.
async fn freeze(server: &Server, home: &Home) {
    let mut database = rusqlite::Connection::open(home.database()).unwrap();
    database.busy_timeout(std::time::Duration::from_millis(200)).unwrap();
    eventually("a frozen server", async || {
        server.signal("STOP");
        eventually("every thread stopped", async || is_stopped(server.pid()).then_some(())).await;
        let is_free = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).is_ok();
        if !is_free {
            server.signal("CONT");
        }
        is_free.then_some(())
    })
    .await;
}

/// Whether every thread of a process has stopped, which it does a little after it was told to.
fn is_stopped(pid: u32) -> bool {
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.all(|thread| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        // The state follows the command's name, which is in parentheses.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// Waits until a server that is stopping neither accepts events nor says that it is ready.
async fn until_closed(server: &Server) {
    let is_refused = async |call: crate::support::http::Call| match call.try_send().await {
        Ok(answer) => answer.status == 503,
        Err(_) => true,
    };
    eventually("a server that refuses", async || {
        // Each time a client without connections, as others would come.
        let http = Http::new(format!("http://{}", server.address));
        let trigger =
            http.post("/webhooks/trigger").bearer(TRIGGER_TOKEN).json(&json!({"event": "none", "payload": {}}));
        (is_refused(http.get("/health/ready")).await && is_refused(trigger).await).then_some(())
    })
    .await;
}

/// Attempts may hang for longer than any test waits, and so may leases last.
fn very_patient() -> Home {
    Home::new().set("HOOKCAST_DELIVERY_TIMEOUT", "10m").set("HOOKCAST_DELIVERY_LEASE", "15m")
}

fn attempts(event: &Value) -> &Vec<Value> {
    event["deliveries"][0]["attempts"].as_array().unwrap()
}
