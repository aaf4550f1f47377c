//! What accounts may have: subscriptions, and events in a day.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually,
    http::{Answer, Http},
    receiver::{Received, Receiver},
    server::{ADMIN_TOKEN, Home},
    world::Account,
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn home_on(kind: Option<Kind>) -> Home {
    match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    }
}

async fn allow(http: &Http, user_id: &str, quota: Value) -> Answer {
    let call = http.request(Method::PUT, &format!("/webhooks/admin/accounts/{user_id}/quotas")).bearer(ADMIN_TOKEN);
    call.json(&quota).send().await
}

async fn allow_as_all(http: &Http, user_id: &str) {
    let call = http.request(Method::DELETE, &format!("/webhooks/admin/accounts/{user_id}/quotas")).bearer(ADMIN_TOKEN);
    call.send().await.expect(204);
}

/// What an account may have and has, as it sees it.
async fn quotas(account: &Account) -> Value {
    account.get("/webhooks/account").await["quotas"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_no_more_subscriptions_than_it_may() {
    for kind in STORES {
        let server = home_on(kind).await.set("HOOKCAST_LIMITS_SUBSCRIPTIONS_PER_ACCOUNT", "2").serve();
        let http = &server.http;
        let (ada, bob) = (http.account("ada").await, http.account("bob").await);
        let url = |n: u32| format!("http://127.0.0.1:3/{n}");
        let first = ada.subscribe("x", &url(1)).await.id;
        ada.request(Method::POST, "/webhooks/subscribe")
            .json(&json!({"event": "x", "url": null}))
            .send()
            .await
            .expect(201);
        let refused = ada.try_subscribe("x", &url(3)).await.expect_problem(403);
        assert_eq!(refused["type"], "urn:hookcast:problem:quota-exceeded");
        assert!(refused["detail"].as_str().unwrap().contains("may have 2 subscriptions"), "{refused}");
        assert_eq!(ada.try_subscribe("x", &url(1)).await.expect(200)["id"], json!(first));
        assert_eq!(quotas(&ada).await["subscriptions"], json!({"used": 2, "limit": 2}));
        bob.subscribe("x", &url(1)).await;

        let seen = allow(http, "ada", json!({"subscriptions": 3})).await.expect(200);
        assert_eq!(seen["quotas"]["subscriptions"], json!({"used": 2, "limit": 3}));
        ada.subscribe("x", &url(3)).await;
        ada.try_subscribe("x", &url(4)).await.expect_problem(403);
        allow(http, "ada", json!({"subscriptions": 0, "events_per_day": null})).await.expect(200);
        ada.subscribe("x", &url(4)).await;
        allow_as_all(http, "ada").await;
        ada.try_subscribe("x", &url(5)).await.expect_problem(403);
        assert_eq!(quotas(&ada).await["subscriptions"], json!({"used": 4, "limit": 2}));

        for (quota, field) in [
            (json!({"subscriptions": -1}), "subscriptions"),
            (json!({"subscriptions": 1.5}), "subscriptions"),
            (json!({"events_per_day": "7"}), "events_per_day"),
            (json!({"requests": 7}), "requests"),
        ] {
            allow(http, "ada", quota).await.expect_invalid(field);
        }
        allow(http, "nobody", json!({})).await.expect_problem(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_events_of_a_day_waits_and_says_so() {
    for kind in STORES {
        let home = home_on(kind).await;
        let (server, mut receiver, mut other) = (home.serve(), Receiver::start().await, Receiver::start().await);
        let http = &server.http;
        let (ada, bob) = (http.account("ada").await, http.account("bob").await);
        let id = ada.subscribe("x", &receiver.url).await.id;
        bob.subscribe("x", &other.url).await;
        assert_eq!(quotas(&ada).await["events_per_day"], json!({"used": null, "limit": null}));
        allow(http, "ada", json!({"events_per_day": 3})).await.expect(200);
        let sent: BTreeSet<_> = http.trigger_many("x", 5).await.into_iter().collect();
        let mut arrived: BTreeSet<_> = receiver.take(3).await.iter().map(Received::id).collect();
        other.take(5).await;
        let limited = eventually("two are limited", async || {
            let deliveries = ada.deliveries(&id).await;
            let waiting: Vec<_> = deliveries.into_iter().filter(|delivery| delivery["state"] == "waiting").collect();
            (waiting.len() == 2).then_some(waiting)
        })
        .await;
        for delivery in limited {
            assert_eq!((&delivery["why"]["reason"], &delivery["attempts"]), (&json!("limited"), &json!([])));
            let until = delivery["why"]["until"].as_str().unwrap();
            assert!(until.ends_with("T00:00:00.000Z"), "{until}");
        }
        assert_eq!(quotas(&ada).await["events_per_day"], json!({"used": 3, "limit": 3}));
        assert_eq!(home.resend(&["--all"]).1["attempted"], 0);
        assert_eq!((ada.subscription(&id).await["failure_count"].clone(), receiver.total()), (json!(0), 3));

        allow(http, "ada", json!({"events_per_day": 4})).await.expect(200);
        arrived.insert(receiver.next().await.id());
        ada.subscription_when(&id, "one waits", |now| now["waiting"] == 1).await;
        assert_eq!(receiver.total(), 4);
        allow_as_all(http, "ada").await;
        arrived.insert(receiver.next().await.id());
        assert_eq!(arrived, sent);

        // Whoever takes the name later has another account.
        allow(http, "ada", json!({"subscriptions": 1, "events_per_day": 1})).await.expect(200);
        ada.request(Method::DELETE, "/webhooks/account").send().await.expect(204);
        let limits = quotas(&http.account("ada").await).await;
        assert_eq!(
            (&limits["subscriptions"]["limit"], &limits["events_per_day"]["limit"]),
            (&Value::Null, &Value::Null)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_share_the_events_of_a_day() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let home = Home::on(&kind.shared().await).set("HOOKCAST_LIMITS_EVENTS_PER_DAY", "150");
        let (nodes, mut receiver) = ([home.serve(), home.serve()], Receiver::start().await);
        let ada = nodes[0].http.account("ada").await;
        let id = ada.subscribe("x", &receiver.url).await.id;
        for node in &nodes {
            node.http.trigger_many("x", 100).await;
        }
        let arrived: BTreeSet<_> = receiver.take(150).await.iter().map(Received::id).collect();
        assert_eq!(arrived.len(), 150);
        ada.subscription_when(&id, "the others wait", |now| now["waiting"] == 50).await;
        assert_eq!(receiver.total(), 150);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_of_a_day_and_not_used_is_given_back() {
    let used = async |account: &Account| quotas(account).await["events_per_day"]["used"].clone();
    for kind in STORES {
        let home = home_on(kind).await.set("HOOKCAST_LIMITS_EVENTS_PER_DAY", "100000");
        let (server, mut receiver) = (home.serve(), Receiver::start().await);
        let ada = server.http.account("ada").await;
        ada.subscribe("x", &receiver.url).await;
        server.http.trigger("x", json!(1)).await;
        receiver.next().await;
        // A node sees what it has left of its block. Nobody has any of it after a lower limit.
        assert_eq!(used(&ada).await, 1);
        allow(&server.http, "ada", json!({"events_per_day": 500})).await.expect(200);
        assert_eq!(used(&ada).await, 1);
        server.http.trigger("x", json!(2)).await;
        receiver.next().await;
        assert!(server.stop().success());

        let server = home.serve();
        let ada = Account { http: server.http.clone(), ..ada };
        assert_eq!(used(&ada).await, 2);
        if kind.is_some() {
            assert!(server.stop().success());
            let server = home.serve_as("api");
            let ada = Account { http: server.http.clone(), ..ada };
            server.http.trigger("x", json!(3)).await;
            assert_eq!(home.resend(&[]).1["delivered"], 1);
            assert_eq!(used(&ada).await, 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_and_take_nothing() {
    let home = Home::new().set("HOOKCAST_LIMITS_EVENTS_PER_DAY", "3").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "0s,0s");
    let (server, mut receiver) = (home.serve(), Receiver::start().await);
    receiver.next_replies([500_u16, 500]);
    let ada = server.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    let event = server.http.trigger("x", json!(1)).await;
    receiver.take(3).await;
    server.http.event_in_state(event["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(quotas(&ada).await["events_per_day"], json!({"used": 1, "limit": 3}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_limit_of_its_subscription_says_which() {
    let (server, mut receiver) = (Home::new().serve(), Receiver::start().await);
    let mut slow = Receiver::start_gated(0).await;
    let ada = server.http.account("ada").await;
    let paced = ada.subscribe_with("x", &receiver.url, json!({"rate_limit": 0.001})).await.id;
    let narrow = ada.subscribe_with("x", &slow.url, json!({"max_in_flight": 1})).await.id;
    server.http.trigger_many("x", 100).await;
    receiver.next().await;
    slow.next().await;
    for (id, limit) in [(paced, "`rate_limit`"), (narrow, "`max_in_flight`")] {
        let why = eventually("it is limited", async || {
            let path = format!("/webhooks/subscriptions/{id}/deliveries?state=waiting&limit=1");
            let why = ada.get(&path).await["data"][0]["why"].clone();
            (why["reason"] == "limited").then_some(why)
        })
        .await;
        assert!(why["detail"].as_str().unwrap().contains(limit), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_an_account_may_have() {
    let home = Home::new();
    let server = home.serve();
    server.http.account("ada").await;
    let at = format!("http://{}", server.address);
    let run = |arguments: &[&str]| {
        home.hookcast(&[&["admin", "quota", "ada", "--json", "--server", &at], arguments].concat()).expect(0).json()
    };
    let set = run(&["--subscriptions", "7", "--events-per-day", "1000"]);
    assert_eq!(set["subscriptions"], json!({"used": 0, "limit": 7}));
    assert_eq!(run(&[])["events_per_day"], json!({"used": 0, "limit": 1000}));
    assert_eq!(run(&["--clear"])["events_per_day"], json!({"used": null, "limit": null}));
    let shown = home.hookcast(&["admin", "quota", "ada", "--server", &at]).expect(0).stdout;
    assert!(shown.contains("subscriptions") && shown.contains("events today"), "{shown}");
    home.hookcast(&["admin", "quota", "ada", "--clear", "--subscriptions", "1", "--server", &at]).expect(2);
}
