//! Past events go to a subscription once more, as jobs that outlive their server.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually,
    receiver::{Received, Receiver},
    server::{Home, TRIGGER_TOKEN},
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

fn since_long() -> Value {
    json!("2020-01-01T00:00:00Z")
}

fn path_of(subscription: &str) -> String {
    format!("/webhooks/subscriptions/{subscription}/replays")
}

async fn start(account: &Account, subscription: &str, wish: Value) -> String {
    let call = account.request(Method::POST, &path_of(subscription)).json(&wish);
    call.send().await.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn in_state(account: &Account, subscription: &str, id: &str, state: &str) -> Value {
    let path = format!("{}/{id}", path_of(subscription));
    let found = async || Some(account.get(&path).await).filter(|replay| replay["state"] == state);
    eventually(&format!("a replay is {state}"), found).await
}

async fn patch(account: &Account, subscription: &str, id: &str, wish: Value) -> crate::support::http::Answer {
    account.request(Method::PATCH, &format!("{}/{id}", path_of(subscription))).json(&wish).send().await
}

fn numbers(got: &[Received]) -> Vec<u64> {
    got.iter().map(|request| request.json()["payload"]["n"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_later_gets_what_was_before() {
    for kind in STORES {
        let (server, mut receiver) = (home_on(kind).await.serve(), Receiver::start().await);
        let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
        let mut events = Vec::new();
        for n in 0..30 {
            events.push(server.http.trigger("x", json!({"n": n})).await);
        }
        server.http.trigger("y", json!({"n": 100})).await;
        server.http.try_trigger(&json!({"event": "x", "payload": {"n": 101}, "account": "bob"})).await.expect(202);
        let gone = server.http.trigger("x", json!({"n": 7})).await["id"].as_str().unwrap().to_owned();
        let cancel = server.http.request(Method::POST, &format!("/webhooks/events/{gone}/cancel"));
        cancel.bearer(TRIGGER_TOKEN).send().await.expect(200);
        assert!(server.http.event(&gone).await["cancelled_at"].is_string());
        let subscription = ada
            .subscribe_with("x", &receiver.url, json!({"ordering": "subscription", "filter": "$.payload[?@ < 25]"}))
            .await;
        bob.subscribe("x", &format!("{}/bob", receiver.url)).await;

        let preview = json!({"since": since_long(), "preview": true});
        let counted = ada.request(Method::POST, &path_of(&subscription.id)).json(&preview).send().await.expect(200);
        assert_eq!(counted, json!({"matching": 25, "looked_at": 33, "complete": true}));

        let id = start(&ada, &subscription.id, json!({"since": since_long(), "rate": 1000})).await;
        let got = receiver.take(25).await;
        assert_eq!(numbers(&got), (0..25).collect::<Vec<_>>());
        for (request, event) in got.iter().zip(&events) {
            assert_eq!((&request.json()["id"], &request.json()["time"]), (&event["id"], &event["time"]));
            assert_eq!(request.header("webhook-id"), event["id"].as_str().unwrap());
            assert!(request.verify(&subscription.secret).is_ok());
        }
        let done = in_state(&ada, &subscription.id, &id, "done").await;
        assert_eq!((&done["replayed"], &done["looked_at"]), (&json!(25), &json!(33)));

        // Again, it is the same and no more: what was sent again is not sent again for that.
        let wish = json!({"since": since_long(), "filter": "$.payload[?@ == 3]", "event": "x,z*"});
        let id = start(&ada, &subscription.id, wish).await;
        assert_eq!(numbers(&receiver.take(1).await), [3]);
        in_state(&ada, &subscription.id, &id, "done").await;
        let list = ada.get(&path_of(&subscription.id)).await;
        assert_eq!(list["data"].as_array().unwrap().len(), 2);
        assert!(receiver.unseen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_rests_goes_on_and_ends_as_it_is_told() {
    for kind in STORES {
        let home = home_on(kind).await;
        let (server, mut receiver) = (home.serve(), Receiver::start().await);
        let ada = server.http.account("ada").await;
        for n in 0..40 {
            server.http.trigger("x", json!({"n": n})).await;
        }
        let subscription = ada.subscribe("x", &receiver.url).await.id;
        let id = start(&ada, &subscription, json!({"since": since_long(), "rate": 5})).await;
        receiver.take(5).await;
        let paused = patch(&ada, &subscription, &id, json!({"state": "paused"})).await.expect(200);
        assert_eq!(paused["state"], "paused");
        // A step that was under way may still be noted.
        let seen = 5 + receiver.unseen().len();
        server.kill();
        let server = home.serve();
        let ada = ada.at(&server.http);
        let replay = in_state(&ada, &subscription, &id, "paused").await;
        assert!(replay["replayed"].as_u64().unwrap() <= 15, "{replay}");
        patch(&ada, &subscription, &id, json!({"state": "running", "rate": 1000})).await.expect(200);
        let done = in_state(&ada, &subscription, &id, "done").await;
        assert_eq!(done["replayed"], 40);
        receiver.take(40 - seen).await;
        patch(&ada, &subscription, &id, json!({"state": "running"})).await.expect_problem(409);

        let id = start(&ada, &subscription, json!({"since": since_long(), "rate": 1})).await;
        patch(&ada, &subscription, &id, json!({"state": "cancelled"})).await.expect(200);
        in_state(&ada, &subscription, &id, "cancelled").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_goes_out_once_however_often_the_server_dies() {
    for kind in STORES {
        let home = home_on(kind).await;
        let mut server = home.serve();
        let mut ada = server.http.account("ada").await;
        server.http.trigger_many("x", 200).await;
        let path = {
            let wish = json!({"event": "x", "url": null});
            let made = ada.request(Method::POST, "/webhooks/subscribe").json(&wish).send().await.expect(201);
            made["id"].as_str().unwrap().to_owned()
        };
        let id = start(&ada, &path, json!({"since": since_long(), "rate": 60})).await;
        for _ in 0..2 {
            let before = ada.get(&format!("{}/{id}", path_of(&path))).await["replayed"].as_u64().unwrap();
            eventually("it goes on", async || {
                let replay = ada.get(&format!("{}/{id}", path_of(&path))).await;
                (replay["replayed"].as_u64().unwrap() > before || replay["state"] == "done").then_some(())
            })
            .await;
            server.kill();
            server = home.serve();
            ada = ada.at(&server.http);
        }
        in_state(&ada, &path, &id, "done").await;
        let page = ada.get(&format!("/webhooks/subscriptions/{path}/events?limit=1000")).await;
        let events = page["data"].as_array().unwrap();
        assert_eq!(events.len(), 200);
        let ids: BTreeSet<_> = events.iter().map(|event| event["body"]["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_without_its_subscription_fails_and_wrong_wishes_are_refused() {
    let home = Home::new();
    let server = home.serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let subscription = ada.subscribe("x", "http://127.0.0.1:3/").await.id;
    let make = |wish: Value| ada.request(Method::POST, &path_of(&subscription)).json(&wish).send();
    for (wish, field) in [
        (json!({}), "since"),
        (json!({"since": "yesterday"}), "since"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "since"),
        (json!({"since": since_long(), "until": "2019-01-01T00:00:00Z"}), "until"),
        (json!({"since": since_long(), "event": "a b"}), "event"),
        (json!({"since": since_long(), "filter": "payload"}), "filter"),
        (json!({"since": since_long(), "rate": 0}), "rate"),
        (json!({"since": since_long(), "rate": 10_001}), "rate"),
        (json!({"since": since_long(), "rates": 1}), "rates"),
    ] {
        make(wish).await.expect_invalid(field);
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(start(&ada, &subscription, json!({"since": since_long(), "rate": 1})).await);
        patch(&ada, &subscription, &ids[ids.len() - 1], json!({"state": "paused"})).await;
    }
    make(json!({"since": since_long()})).await.expect_problem(409);
    patch(&ada, &subscription, &ids[0], json!({"state": "done"})).await.expect_invalid("state");
    let of_bob = format!("{}/{}", path_of(&subscription), ids[0]);
    bob.request(Method::GET, &of_bob).send().await.expect_problem(404);
    let unknown = format!("{}/rpl_{}", path_of(&subscription), "0".repeat(32));
    ada.request(Method::GET, &unknown).send().await.expect_problem(404);
    ada.request(Method::PATCH, &unknown).json(&json!({"rate": 1})).send().await.expect_problem(404);
    ada.request(Method::GET, &format!("{}/x", path_of(&subscription))).send().await.expect_problem(404);
    let page = ada.get(&format!("{}?limit=2", path_of(&subscription))).await;
    let rest = ada.get(&format!("{}?cursor={}", path_of(&subscription), page["next_cursor"].as_str().unwrap())).await;
    let listed = [&page, &rest].map(|page| page["data"].as_array().unwrap().len());
    assert_eq!(listed, [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_begins_a_replay_and_waits_for_its_end() {
    let home = Home::new();
    let (server, mut receiver) = (home.serve(), Receiver::start().await);
    let ada = server.http.account("ada").await;
    for n in 0..10 {
        server.http.trigger("x", json!({"n": n})).await;
    }
    let subscription = ada.subscribe("x", &receiver.url).await.id;
    let home = home.set("HOOKCAST_ACCESS_TOKEN", &ada.token);
    let at = format!("http://{}", server.address);
    let run = |arguments: &[&str]| home.hookcast(&[arguments, &["--json", "--server", &at]].concat()).expect(0).json();
    assert_eq!(run(&["replay", "start", &subscription, "--since", "1h", "--preview"])["matching"], 10);
    let done = run(&["replay", "start", &subscription, "--since", "1h", "--rate", "1000", "--wait"]);
    assert_eq!((&done["state"], &done["replayed"]), (&json!("done"), &json!(10)));
    receiver.take(10).await;
    let id = done["id"].as_str().unwrap();
    assert_eq!(run(&["replay", "show", &subscription, id])["id"], json!(id));
    let listed = home.hookcast(&["replay", "list", &subscription, "--server", &at]).expect(0).stdout;
    assert!(listed.contains(id) && listed.contains("done"), "{listed}");
}
