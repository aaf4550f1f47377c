//! What operators pause: nothing is sent there, nothing is lost, and nothing counts as a failure.

use std::{collections::BTreeSet, net::SocketAddr};

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually,
    http::{Answer, Http},
    receiver::{Received, Receiver},
    server::{ADMIN_TOKEN, Home},
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn home_on(kind: Option<Kind>) -> Home {
    match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    }
}

async fn pause(http: &Http, host: &str, body: Value) -> Answer {
    http.request(Method::PUT, &format!("/webhooks/admin/pauses/{host}")).bearer(ADMIN_TOKEN).json(&body).send().await
}

async fn resume(http: &Http, host: &str) -> Answer {
    http.request(Method::DELETE, &format!("/webhooks/admin/pauses/{host}")).bearer(ADMIN_TOKEN).send().await
}

fn ids(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(Received::id).collect()
}

/// Why an event's only delivery that waits does so.
async fn why(http: &Http, event: &str) -> Value {
    let event = http.event(event).await;
    let waiting = event["deliveries"].as_array().unwrap().iter().find(|delivery| delivery["state"] == "waiting");
    waiting.map_or(Value::Null, |delivery| delivery["why"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_host_gets_nothing_and_loses_nothing() {
    for kind in STORES {
        let home = home_on(kind).await;
        let (server, mut paused) = (home.serve(), Receiver::start().await);
        let mut other = Receiver::start_at(SocketAddr::from(([127, 0, 0, 2], 0))).await;
        let http = &server.http;
        let (ada, bob) = (http.account("ada").await, http.account("bob").await);
        let waits = ada.subscribe("x", &paused.url).await.id;
        let url = format!("{}/ordered", paused.url);
        let ordered = ada.subscribe_with("x", &url, json!({"ordering": "subscription"})).await.id;
        bob.subscribe("x", &other.url).await;

        pause(http, "127.0.0.1", json!({"reason": "moving"})).await.expect(201);
        let said = pause(http, "127.0.0.1", json!({"reason": "moving house"})).await.expect(200);
        assert_eq!((&said["host"], &said["reason"]), (&json!("127.0.0.1"), &json!("moving house")));
        let listed = http.get("/webhooks/admin/pauses").bearer(ADMIN_TOKEN).send().await.expect(200);
        assert_eq!(listed["data"], json!([said]));

        let sent: BTreeSet<_> = http.trigger_many("x", 5).await.into_iter().collect();
        assert_eq!(ids(&other.take(5).await), sent);
        for id in &sent {
            let told = eventually("it waits", async || Some(why(http, id).await).filter(|why| !why.is_null())).await;
            assert_eq!(told["reason"], "paused");
            assert!(told["detail"].as_str().unwrap().contains("`127.0.0.1`: moving house"), "{told}");
        }
        let refused = ada.post_to(&waits, "test", &json!({"send": true})).await.expect_problem(409);
        assert!(refused["detail"].as_str().unwrap().contains("moving house"), "{refused}");
        ada.post_to(&waits, "test", &json!({})).await.expect(200);
        let (_, said) = home.resend(&["--all", "--failed"]);
        assert_eq!((&said["attempted"], &said["held_back"]), (&json!(0), &json!(2)));
        let seen = ada.subscription(&waits).await;
        assert_eq!(
            (&seen["waiting"], &seen["failure_count"], &seen["state"]),
            (&json!(5), &json!(0), &json!("active"))
        );
        assert_eq!(paused.total(), 0);

        resume(http, "127.0.0.1").await.expect(204);
        assert_eq!(ids(&paused.take(10).await), sent);
        for id in [&waits, &ordered] {
            ada.subscription_when(id, "nothing waiting", |now| now["waiting"] == 0).await;
        }
        assert_eq!(paused.total(), 10);
        resume(http, "127.0.0.1").await.expect_problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_ends_and_what_is_queued_waits() {
    for kind in STORES {
        let home = home_on(kind).await.set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", "1");
        let (server, mut receiver) = (home.serve(), Receiver::start_gated(0).await);
        let http = &server.http;
        let ada = http.account("ada").await;
        let id = ada.subscribe("x", &receiver.url).await.id;
        let sent: BTreeSet<_> = http.trigger_many("x", 10).await.into_iter().collect();
        let first = receiver.next().await.id();
        pause(http, "127.0.0.1", json!({})).await.expect(201);
        receiver.let_through(100);
        http.event_in_state(&first, "delivered").await;
        let others = sent.iter().filter(|id| **id != first);
        for id in others.clone() {
            let told = eventually("it waits", async || Some(why(http, id).await).filter(|why| !why.is_null())).await;
            assert_eq!(told["reason"], "paused");
        }
        let deliveries = ada.deliveries(&id).await;
        assert_eq!(deliveries.iter().filter(|delivery| delivery["attempts"] == json!([])).count(), 9);
        assert_eq!((receiver.total(), ada.subscription(&id).await["failure_count"].clone()), (1, json!(0)));
        resume(http, "127.0.0.1").await.expect(204);
        assert_eq!(ids(&receiver.take(9).await), others.cloned().collect());
        ada.subscription_when(&id, "nothing waiting", |now| now["waiting"] == 0).await;
        assert_eq!(receiver.total(), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_stays_paused_over_restarts_until_it_is_resumed() {
    let home = Home::new();
    let (server, mut receiver) = (home.serve(), Receiver::start().await);
    let ada = server.http.account("ada").await;
    let id = ada.subscribe("x", &receiver.url).await.id;
    pause(&server.http, "*", json!({"reason": null})).await.expect(201);
    pause(&server.http, "127.0.0.1", json!({})).await.expect(201);
    let event = server.http.trigger("x", json!(1)).await;
    assert!(server.stop().success());
    assert_eq!(home.resend(&[]).1["attempted"], 0);

    let server = home.serve();
    let told = why(&server.http, event["id"].as_str().unwrap()).await;
    assert!(told["detail"].as_str().unwrap().contains("all deliveries"), "{told}");
    resume(&server.http, "*").await.expect(204);
    let told = why(&server.http, event["id"].as_str().unwrap()).await;
    assert!(told["detail"].as_str().unwrap().contains("`127.0.0.1`"), "{told}");
    assert_eq!(receiver.total(), 0);
    resume(&server.http, "127.0.0.1").await.expect(204);
    assert_eq!(receiver.next().await.id(), event["id"]);
    ada.at(&server.http).subscription_when(&id, "nothing waiting", |now| now["waiting"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_pauses_the_others_do_not_send() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let home = Home::on(&kind.shared().await);
        let (nodes, mut receiver) = ([home.serve(), home.serve()], Receiver::start().await);
        let ada = nodes[0].http.account("ada").await;
        let id = ada.subscribe("x", &receiver.url).await.id;
        let there = ada.at(&nodes[1].http);
        pause(&nodes[0].http, "127.0.0.1", json!({})).await.expect(201);
        eventually("the other follows", async || {
            let answer = there.post_to(&id, "test", &json!({"send": true})).await;
            (answer.status == 409).then_some(())
        })
        .await;
        let before = receiver.total();
        receiver.unseen();
        let mut sent = BTreeSet::new();
        for node in &nodes {
            sent.extend(node.http.trigger_many("x", 5).await);
        }
        ada.subscription_when(&id, "all wait", |now| now["waiting"] == 10).await;
        assert_eq!(receiver.total(), before);
        resume(&nodes[1].http, "127.0.0.1").await.expect(204);
        assert_eq!(ids(&receiver.take(10).await), sent);
        assert_eq!(receiver.total(), before + 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_callback_is_not_asked_for_its_consent() {
    let (server, receiver) = (Home::new().serve(), Receiver::start().await);
    let ada = server.http.account("ada").await;
    pause(&server.http, "127.0.0.1", json!({"reason": "moving"})).await.expect(201);
    let made = ada.subscribe_as(&json!({"event": "x", "url": receiver.url, "consent": "challenge"})).await;
    assert_eq!(made["state"], "pending_verification");
    assert!(made["consent_refusal"].as_str().unwrap().contains("moving"), "{made}");
    assert_eq!(receiver.total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_host_is_refused() {
    let server = Home::new().serve();
    for host in ["a..b", "https:%2F%2Fexample.org", "example.org:443", "*.example.org", "a%20b", "256.1.1.1", "%5B::1"]
    {
        pause(&server.http, host, json!({})).await.expect_invalid("host");
        resume(&server.http, host).await.expect_invalid("host");
    }
    pause(&server.http, "a", json!({"reason": "x".repeat(501)})).await.expect_invalid("reason");
    pause(&server.http, "a", json!({"why": "x"})).await.expect_invalid("why");
    for (host, known_as) in [
        ("HOOKS.example.ORG.", "hooks.example.org"),
        ("%5B2001:DB8:0::1%5D", "[2001:db8::1]"),
        ("b%C3%BCcher", "xn--bcher-kva"),
    ] {
        assert_eq!(pause(&server.http, host, json!({})).await.expect(201)["host"], known_as);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_pauses_and_resumes() {
    let home = Home::new();
    let server = home.serve();
    let at = format!("http://{}", server.address);
    let run = |arguments: &[&str]| home.hookcast(&[&["admin"], arguments, &["--server", &at]].concat());
    assert!(
        run(&["pause", "Hooks.example.org", "--reason", "moving"])
            .expect(0)
            .stdout
            .contains("hooks.example.org is paused")
    );
    run(&["pause", "*"]).expect(0);
    let listed = run(&["pauses"]).expect(0).stdout;
    assert!(listed.contains('*') && listed.contains("moving"), "{listed}");
    run(&["resume", "*"]).expect(0);
    run(&["resume", "*"]).expect(1);
    let subscription = format!("sub_{}", "0".repeat(32));
    assert!(run(&["pause", &subscription, "--reason", "x"]).expect(1).stderr.contains("--reason"));
}
