//! What producers may say of an event, and how they find it again.

use std::time::Duration;

use hookcast_core::clock::{Clock as _, SystemClock};
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    http::{Answer, Http},
    receiver::Receiver,
    server::{Home, Server, TRIGGER_TOKEN},
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn server_on(kind: Option<Kind>) -> Server {
    let home = match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    };
    home.set("HOOKCAST_DEDUPLICATE", "forever").serve()
}

fn ago(seconds: u64) -> String {
    SystemClock.now().minus(Duration::from_secs(seconds)).to_string()
}

fn ahead(millis: u64) -> String {
    SystemClock.now().plus(Duration::from_millis(millis)).to_string()
}

async fn get(http: &Http, path: &str) -> Answer {
    http.get(path).bearer(TRIGGER_TOKEN).send().await
}

async fn cancel(http: &Http, id: &str) -> Answer {
    http.request(Method::POST, &format!("/webhooks/events/{id}/cancel")).bearer(TRIGGER_TOKEN).send().await
}

async fn trigger(http: &Http, body: Value) -> String {
    http.try_trigger(&body).await.expect(202)["id"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_one_account_reaches_nobody_else() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
        let adas = ada.subscribe("x", &receiver.url).await.id;
        bob.subscribe("x", &format!("{}/bob", receiver.url)).await;
        let id = trigger(&server.http, json!({"event": "x", "payload": 1, "account": "ada"})).await;
        let got = receiver.take(1).await;
        assert_eq!(got[0].json()["id"], json!(id));
        let event = server.http.event_in_state(&id, "delivered").await;
        assert_eq!((&event["account"], &event["subscriptions"]), (&json!("ada"), &json!(1)));
        assert_eq!(event["deliveries"][0]["subscription_id"], json!(adas));
        assert_eq!(event["not_sent"], json!([]), "others are none of its business");

        // The same content for another account is another event.
        trigger(&server.http, json!({"event": "x", "payload": 1, "account": "bob"})).await;
        assert_eq!(receiver.take(1).await.len(), 1);
        let again = server.http.try_trigger(&json!({"event": "x", "payload": 1, "account": "ada"})).await.expect(202);
        assert_eq!(again["duplicate"], true);

        let unknown = json!([{"event": "x", "payload": 2}, {"event": "x", "payload": 3, "account": "Ada"}]);
        let refused = server.http.try_trigger(&unknown).await.expect_invalid("account");
        assert_eq!(refused["index"], 1);
        assert!(receiver.unseen().is_empty());
        let list = get(&server.http, "/webhooks/events?account=ada").await.expect(200);
        assert_eq!(ids(&list), [id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_event_goes_out_at_its_time() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        let ada = server.http.account("ada").await;
        let subscription = ada.subscribe("x", &receiver.url).await.id;
        let at = ahead(1_500);
        let id = trigger(&server.http, json!({"event": "x", "payload": 1, "deliver_at": at})).await;
        trigger(&server.http, json!({"event": "x", "payload": 2, "deliver_at": ago(60)})).await;
        assert_eq!(receiver.take(1).await[0].json()["payload"], 2, "a time that is over is now");
        let event = server.http.event(&id).await;
        assert_eq!(event["deliver_at"], json!(at));
        assert_eq!(event["deliveries"][0]["why"]["reason"], "scheduled");
        assert_eq!(event["deliveries"][0]["next_attempt_at"], json!(at));
        // Neither a pause nor a command hurries it.
        ada.set_active(&subscription, false).await;
        ada.set_active(&subscription, true).await;
        let got = receiver.take(1).await;
        assert_eq!(got[0].json()["payload"], 1);
        assert!(SystemClock.now().to_string() >= at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_cancelled_and_nothing_else() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        let ada = server.http.account("ada").await;
        ada.subscribe_with("x", &receiver.url, json!({"ordering": "subscription"})).await;
        let first = trigger(&server.http, json!({"event": "x", "payload": 1, "deliver_at": ahead(600_000)})).await;
        let second = trigger(&server.http, json!({"event": "x", "payload": 2})).await;
        assert_eq!(cancel(&server.http, &first).await.expect(200), json!({"cancelled": 1, "others": 0}));
        assert_eq!(receiver.take(1).await[0].json()["id"], json!(second), "what was behind it goes now");
        let event = server.http.event(&first).await;
        assert_eq!(event["deliveries"][0]["state"], "cancelled");
        assert_eq!(cancel(&server.http, &first).await.expect(200), json!({"cancelled": 0, "others": 1}));
        server.http.event_in_state(&second, "delivered").await;
        assert_eq!(cancel(&server.http, &second).await.expect(200), json!({"cancelled": 0, "others": 1}));
        cancel(&server.http, &format!("evt_{}", "0".repeat(32))).await.expect_problem(404);
        assert!(receiver.unseen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_and_found() {
    for kind in STORES {
        let server = server_on(kind).await;
        let before = ago(0);
        let mut all = Vec::new();
        for (n, event) in ["a.x", "b", "a.y", "b", "a.x"].iter().enumerate() {
            let source = format!("source {}", n % 3);
            all.push(trigger(&server.http, json!({"event": event, "payload": n, "source_id": source})).await);
        }
        let list = async |query: &str| get(&server.http, &format!("/webhooks/events?{query}")).await.expect(200);
        let newest: Vec<_> = all.iter().rev().map(String::as_str).collect();
        assert_eq!(ids(&list("").await), newest);
        assert_eq!(ids(&list("order=asc").await), all);
        assert_eq!(ids(&list("event=a.*").await), [newest[0], newest[2], newest[4]]);
        assert_eq!(ids(&list("source_id=source+1").await), [newest[0], newest[3]]);
        assert_eq!(ids(&list("source_id=nothing").await), Vec::<&str>::new());
        assert_eq!(ids(&list(&format!("since={before}&order=asc")).await), all);
        assert_eq!(ids(&list(&format!("until={before}")).await), Vec::<&str>::new());
        let page = list("limit=2").await;
        assert_eq!(ids(&page), newest[..2]);
        assert_eq!(page["data"][0]["payload"], 4);
        assert_eq!((&page["data"][0]["source_id"], &page["data"][0]["account"]), (&json!("source 1"), &Value::Null));
        let cursor = page["next_cursor"].as_str().unwrap();
        assert_eq!(ids(&list(&format!("limit=9&cursor={cursor}")).await), newest[2..]);
        for (query, field) in [
            ("order=up", "order"),
            ("limit=0", "limit"),
            ("cursor=c1", "cursor"),
            ("since=now", "since"),
            ("account=x", "account"),
        ] {
            get(&server.http, &format!("/webhooks/events?{query}")).await.expect_invalid(field);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_said_of_an_event_is_refused() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    for (name, value) in [
        ("deliver_at", json!("tomorrow")),
        ("deliver_at", json!(ahead(31 * 86_400_000))),
        ("deliver_at", json!(7)),
        ("source_id", json!("")),
        ("source_id", json!("a\nb")),
        ("source_id", json!("x".repeat(257))),
        ("account", json!("nobody")),
        ("account", json!(1)),
    ] {
        server.http.try_trigger(&json!({"event": "x", "payload": 1, name: value})).await.expect_invalid(name);
    }
    home.assert_stores(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_follows_and_cancels() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("x", "http://127.0.0.1:3/").await;
    let at = format!("http://{}", server.address);
    let tail = home.start(&["events", "tail", "--json", "--event", "x", "--since", "1m", "--server", &at]);
    let first = trigger(&server.http, json!({"event": "x", "payload": {"n": 1}, "source_id": "s"})).await;
    trigger(&server.http, json!({"event": "y", "payload": 2})).await;
    assert!(tail.stdout.with(&first).contains("\"n\":1"));
    let late = trigger(&server.http, json!({"event": "x", "payload": 3, "deliver_at": ahead(600_000)})).await;
    tail.stdout.with(&late);
    assert_eq!(tail.stdout.all().lines().count(), 2, "each comes once");

    let listed = home.hookcast(&["event", "list", "--source-id", "s", "--json", "--server", &at]).expect(0);
    assert_eq!(listed.json_lines()[0]["id"], json!(first));
    let cancelled = home.hookcast(&["event", "cancel", &late, "--server", &at]).expect(0);
    assert!(cancelled.stdout.starts_with("1 deliveries are cancelled"), "{}", cancelled.stdout);
}
