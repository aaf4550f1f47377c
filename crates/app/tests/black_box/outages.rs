//! The database server is away for a while: nothing is promised that is not kept, and nothing needs a person afterwards.

use serde_json::json;

use crate::{
    nodes::on_servers,
    support::{
        database::{Database, Kind},
        eventually,
        http::Answer,
        receiver::Receiver,
        server::{Home, Server},
    },
};

on_servers![
    events_are_refused_while_the_database_is_away,
    what_is_in_flight_ends_and_is_recorded_when_the_database_is_back,
    a_database_that_stands_still_holds_nobody_for_ever,
    a_killed_database_loses_nothing_that_was_accepted,
    a_node_waits_for_no_database_at_its_start,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_was_waited_for_takes_over_and_nothing_is_lost() {
    let primary = Database::start(Kind::Postgres);
    let standby = primary.standby();
    let host = |url: &str| url.split(['@', '/']).nth(3).unwrap().to_owned();
    let hosts = format!("{},{}", host(&primary.url), host(&standby.url));
    let node = Home::on(&format!("postgres://hookcast@{hosts}/postgres?target_session_attrs=read-write")).serve();
    let survives = node.http.get("/health/ready").send().await.expect(200)["store"]["accepted_events_survive"].clone();
    assert_eq!(survives, json!({"restart": true, "failover": true}));
    let mut receiver = Receiver::start().await;
    let ada = node.http.account("ada").await;
    let subscription = ada.subscribe("x", &receiver.url).await;
    // They wait, so that only the database knows of them.
    ada.set_active(&subscription.id, false).await;
    let mut promised = Vec::new();
    for n in 0..50 {
        promised.push(trigger(&node, n).await.expect(202)["id"].as_str().unwrap().to_owned());
    }

    primary.kill();
    standby.promote().await;
    readiness(&node, 200).await;
    ada.set_active(&subscription.id, true).await;
    expect_all(&mut receiver, promised).await;
    trigger(&node, 50).await.expect(202);
    receiver.next().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_a_crash_has_undone_strands_no_delivery() {
    let database = Database::start(Kind::Postgres);
    // What is not synced at its commit is lost for sure.
    database.configure("wal_writer_delay = 10s");
    database.stop();
    database.start_again();
    let home = Home::on(&database.url)
        .set("HOOKCAST_DELIVERY_TIMEOUT", "500ms")
        .set("HOOKCAST_DELIVERY_CONNECT_TIMEOUT", "500ms")
        .set("HOOKCAST_DELIVERY_LEASE", "1s")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let node = home.serve();
    let mut receiver = Receiver::start().await;
    node.http.account("ada").await.subscribe("x", &receiver.url).await;
    receiver.next_replies([500]);
    let id = trigger(&node, 1).await.expect(202)["id"].as_str().unwrap().to_owned();
    receiver.next().await;
    node.http.event_in_state(&id, "waiting").await;

    database.kill();
    database.start_again();
    readiness(&node, 200).await;
    // It is held again by a process that has done with it, and so would wait for ever. It comes long before its retry is due.
    assert_eq!(receiver.next().await.id(), id);
    node.http.event_in_state(&id, "delivered").await;
}

async fn trigger(node: &Server, n: u64) -> Answer {
    node.http.try_trigger(&json!({"event": "x", "payload": {"n": n}})).await
}

/// Makes sure that these events arrive next, each of them once, in whatever order.
async fn expect_all(receiver: &mut Receiver, mut promised: Vec<String>) {
    let mut arrived: Vec<_> = receiver.take(promised.len()).await.iter().map(|received| received.id()).collect();
    arrived.sort();
    promised.sort();
    assert_eq!(arrived, promised);
}

/// Waits until the node is as ready as that.
async fn readiness(node: &Server, status: u16) {
    eventually(&format!("/health/ready answers {status}"), async || {
        (node.http.get("/health/ready").send().await.status == status).then_some(())
    })
    .await;
}

async fn events_are_refused_while_the_database_is_away(kind: Kind) {
    let database = Database::start(kind);
    let home = Home::on(&database.url);
    let node = home.serve();
    let mut receiver = Receiver::start().await;
    node.http.account("ada").await.subscribe("x", &receiver.url).await;
    trigger(&node, 1).await.expect(202);
    receiver.next().await;

    database.stop();
    for n in 2..10 {
        let answer = trigger(&node, n).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:hookcast:problem:unavailable");
        assert!(!problem.to_string().contains("127.0.0.1"), "its inside is for the log: {problem}");
    }
    readiness(&node, 503).await;
    node.http.get("/health/live").send().await.expect(200);

    database.start_again();
    readiness(&node, 200).await;
    trigger(&node, 10).await.expect(202);
    assert_eq!(receiver.next().await.json()["payload"]["n"], 10);
    assert!(receiver.unseen().is_empty());
    assert!(node.stop().success());
}

async fn what_is_in_flight_ends_and_is_recorded_when_the_database_is_back(kind: Kind) {
    let database = Database::start(kind);
    // Long enough that nobody takes it over meanwhile.
    let home = Home::on(&database.url).set("HOOKCAST_DELIVERY_TIMEOUT", "20s").set("HOOKCAST_DELIVERY_LEASE", "60s");
    let node = home.serve();
    let mut receiver = Receiver::start_gated(0).await;
    node.http.account("ada").await.subscribe("x", &receiver.url).await;
    let id = trigger(&node, 1).await.expect(202)["id"].as_str().unwrap().to_owned();
    receiver.next().await;

    database.stop();
    receiver.let_through(1);
    eventually("the recorder meets the outage", async || {
        node.log().contains("the store does not take outcomes; trying again").then_some(())
    })
    .await;
    database.start_again();
    readiness(&node, 200).await;
    let event = node.http.event_in_state(&id, "delivered").await;
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 1);
    assert!(receiver.unseen().is_empty(), "it was sent once");
}

async fn a_database_that_stands_still_holds_nobody_for_ever(kind: Kind) {
    let database = Database::start(kind);
    let home = Home::on(&database.url);
    let node = home.serve();
    let mut receiver = Receiver::start().await;
    node.http.account("ada").await.subscribe("x", &receiver.url).await;
    trigger(&node, 1).await.expect(202);
    receiver.next().await;

    database.freeze();
    let refused = trigger(&node, 2).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{refused:?}");
    database.thaw();
    readiness(&node, 200).await;
    trigger(&node, 3).await.expect(202);
    // The second one may have been stored when the database went on, and then arrives, too.
    let mut arrived = Vec::new();
    while !arrived.contains(&json!(3)) {
        arrived.push(receiver.next().await.json()["payload"]["n"].clone());
    }
}

async fn a_killed_database_loses_nothing_that_was_accepted(kind: Kind) {
    let database = Database::start(kind);
    let home = Home::on(&database.url);
    let node = home.serve();
    let mut receiver = Receiver::start().await;
    let ada = node.http.account("ada").await;
    let subscription = ada.subscribe("x", &receiver.url).await;
    // They wait, so that only the database knows of them.
    ada.set_active(&subscription.id, false).await;
    let mut promised = Vec::new();
    for round in 0..5 {
        for n in 0..20 {
            let answer = trigger(&node, round * 100 + n).await;
            promised.push(answer.expect(202)["id"].as_str().unwrap().to_owned());
        }
        database.kill();
        database.start_again();
        readiness(&node, 200).await;
    }
    ada.set_active(&subscription.id, true).await;
    expect_all(&mut receiver, promised).await;
}

async fn a_node_waits_for_no_database_at_its_start(kind: Kind) {
    let database = Database::start(kind);
    database.stop();
    let complaint = Home::on(&database.url).refusal(&["serve"]);
    assert!(complaint.contains("the store at ") && complaint.lines().count() <= 3, "{complaint}");
}
