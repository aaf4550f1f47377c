//! What the server says of itself, and what it does when its store can take no more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    http::{Answer, Http},
    receiver::{Received, Receiver, Reply},
    server::Home,
};

/// An event of some size.
fn event(n: usize) -> Value {
    json!({"event": "e", "payload": {"n": n, "text": "x".repeat(8_000)}})
}

/// Makes sure that it is a refusal for the time being, and of nothing but the trigger.
#[track_caller]
fn assert_full(answer: &Answer) {
    answer.expect_problem(503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
}

/// Triggers events until one is refused: the ids of those that were not.
async fn fill(http: &Http) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let answer = http.try_trigger(&event(accepted.len())).await;
        if answer.status != 202 {
            assert_full(&answer);
            return accepted;
        }
        accepted.push(answer.json()["id"].as_str().unwrap().to_owned());
        assert!(accepted.len() < 1_000, "the store takes more than it may");
    }
}

#[tokio::test]
async fn a_server_that_runs_is_live_and_ready() {
    let server = Home::new().serve();
    for path in ["/health/live", "/health/ready", "/health/live/", "/health/ready/"] {
        let answer = server.http.get(path).send().await;
        let said = answer.expect(200);
        assert_eq!((&said["status"], answer.header("content-type")), (&json!("ok"), "application/json"));
        if path.starts_with("/health/ready") {
            let survives = json!({"restart": true, "failover": false});
            assert_eq!(
                (&said["store"]["kind"], &said["store"]["accepted_events_survive"]),
                (&json!("sqlite"), &survives)
            );
        }
        // Nobody needs a token for it, and a wrong one does no harm.
        server.http.get(path).bearer("unknown").send().await.expect(200);
    }
}

#[tokio::test]
async fn the_command_asks_the_server_that_the_settings_describe() {
    let home = Home::new().set("HOOKCAST_LISTEN", "0.0.0.0:0");
    let server = home.serve();
    let (_, port) = server.address.rsplit_once(':').unwrap();
    // What listens everywhere is asked at the loopback interface.
    let home = home.set("HOOKCAST_LISTEN", &format!("0.0.0.0:{port}"));
    let url = format!("http://127.0.0.1:{port}");
    assert_eq!(home.expect(&["health"]), format!("{url} is ready\n"));
    assert_eq!(home.expect(&["health", "--live"]), format!("{url} is live\n"));
    assert_eq!(home.expect(&["health", "--server", &format!("{url}/")]), format!("{url} is ready\n"));
    let answer = home.hookcast(&["health", "--json"]).expect(0).json();
    assert_eq!((&answer["status"], &answer["store"]["kind"]), (&json!("ok"), &json!("sqlite")));
    assert_eq!(home.hookcast(&["health", "--live", "--json"]).expect(0).json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn the_command_says_why_a_server_is_not_ready() {
    let home = Home::new().set("HOOKCAST_DATABASE_MAX_SIZE", "1MiB");
    let server = home.serve();
    fill(&server.http).await;
    // Ready is what has room for a small event.
    let small = json!({"event": "e", "payload": "x".repeat(500)});
    while server.http.try_trigger(&small).await.status == 202 {}
    let url = format!("http://{}", server.address);
    let told = home.refusal(&["health", "--server", &url]);
    assert!(told.starts_with(&format!("hookcast: {url} is not ready (503): the store is full")), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let ended = home.hookcast(&["health", "--json", "--server", &url]).expect(1);
    assert_eq!((&ended.json()["status"], ended.stderr.as_str()), (&json!(503), ""));
    // It lives all the same.
    home.expect(&["health", "--live", "--server", &url]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_fails_where_no_server_answers() {
    let home = Home::new();
    let server = home.serve();
    let url = format!("http://{}", server.address);
    server.signal("STOP");
    let told = home.refusal(&["health", "--timeout", "100ms", "--server", &url]);
    assert!(told.starts_with(&format!("hookcast: no answer from {url}: ")), "{told}");
    server.kill();
    let told = home.refusal(&["health", "--server", &url]);
    assert!(told.contains("Connection refused"), "{told}");

    let other = Receiver::start().await;
    let told = home.refusal(&["health", "--server", &other.url]);
    assert!(told.contains("is it a Hookcast server?"), "{told}");
    let told = home.refusal(&["health"]);
    assert!(told.contains("say which with --server"), "{told}");
    let told = home.refusal(&["health", "--server", "http://ada:hidden@127.0.0.1"]);
    assert!(told.contains("without a name and a password") && !told.contains("hidden"), "{told}");
    home.hookcast(&["health", "--timeout", "0"]).expect(2);
}

#[tokio::test]
async fn a_full_store_refuses_events_and_delivers_those_it_has() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new().set("HOOKCAST_DATABASE_MAX_SIZE", "1MiB");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", &receiver.url).await;
    let accepted = fill(&server.http).await;
    assert!(accepted.len() > 50, "only {} events in a mebibyte", accepted.len());

    // Again and again, alone or together, without a trace.
    let stored = || home.stored().iter().filter(|row| row.starts_with("events:")).count();
    assert_full(&server.http.try_trigger(&event(0)).await);
    assert_full(&server.http.try_trigger(&json!([event(0), event(1)])).await);
    assert_full(&server.http.producer().header("idempotency-key", "k").json(&event(0)).send().await);
    assert_eq!(stored(), accepted.len());

    // What is there can be read, and goes out.
    assert_eq!(server.http.event(&accepted[0]).await["payload"]["n"], 0);
    let deliveries = ada.get(&format!("/webhooks/subscriptions/{}/deliveries?limit=1000", subscription.id)).await;
    assert_eq!(deliveries["data"].as_array().unwrap().len(), accepted.len());
    receiver.let_through(accepted.len());
    let arrived: BTreeSet<_> = receiver.take(accepted.len()).await.iter().map(Received::id).collect();
    assert_eq!(arrived, accepted.iter().cloned().collect());
    for id in &accepted {
        let event = server.http.event_in_state(id, "delivered").await;
        assert_eq!(event["deliveries"][0]["attempts"][0]["status"], 200);
    }
    assert_full(&server.http.try_trigger(&event(0)).await);
    assert_eq!((stored(), receiver.total()), (accepted.len(), accepted.len()));

    // A larger one takes more.
    assert!(server.stop().success());
    let server = home.set("HOOKCAST_DATABASE_MAX_SIZE", "2MiB").serve();
    receiver.let_through(1);
    let receipt = server.http.try_trigger(&event(0)).await.expect(202);
    assert_eq!(receiver.next().await.id(), receipt["id"]);
}

#[tokio::test]
async fn a_batch_for_which_there_is_no_room_leaves_nothing_behind() {
    let mut receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DATABASE_MAX_SIZE", "1MiB");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    let before = home.stored();
    let batch: Vec<_> = (0..200).map(event).collect();
    for _ in 0..3 {
        assert_full(&server.http.try_trigger(&json!(batch)).await);
    }
    home.assert_stores(&before);
    let receipt = server.http.try_trigger(&event(0)).await.expect(202);
    assert_eq!(receiver.next().await.id(), receipt["id"]);
    assert_eq!(receiver.total(), 1);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_events() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    let waiting = server.http.trigger("e", json!(1)).await;
    server.kill();

    let disk = rustix::fs::statvfs(home.path()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    let wanted = free.saturating_mul(2).min(1 << 40);
    if free >= wanted {
        println!("no setting asks for as much room as there is here");
        return;
    }
    let server = home
        .set("HOOKCAST_DATABASE_MIN_FREE_DISK", &wanted.to_string())
        .set("HOOKCAST_DELIVERY_LEASE", "1s")
        .set("HOOKCAST_DELIVERY_TIMEOUT", "500ms")
        .serve();
    assert_full(&server.http.trigger_text(r#"{"event":"e","payload":2}"#).await);
    // What it had taken before goes out all the same, and accounts change little.
    receiver.let_through(10);
    server.http.event_in_state(waiting["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(receiver.next().await.id(), waiting["id"]);
    server.http.account("bob").await;
}

#[tokio::test]
async fn a_full_store_has_room_for_what_becomes_of_its_events() {
    let receiver = Receiver::start().await;
    let home = Home::new()
        .set("HOOKCAST_DATABASE_MAX_SIZE", "1MiB")
        .set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["1ms"; 100].join(","));
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", &receiver.url).await;
    ada.set_active(&subscription.id, false).await;
    let accepted = fill(&server.http).await;
    // Nine refusals for each, with as much text as is kept.
    let refusal = Reply { status: 500, body: "no ".repeat(1_000), ..Reply::default() };
    receiver.next_replies(vec![refusal; accepted.len() * 9]);
    ada.set_active(&subscription.id, true).await;
    for id in &accepted {
        server.http.event_in_state(id, "delivered").await;
    }
    assert_eq!(receiver.total(), accepted.len() * 10);
    assert_full(&server.http.try_trigger(&event(0)).await);
}
