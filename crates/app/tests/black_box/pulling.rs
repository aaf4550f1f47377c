//! Consumers without a callback fetch their events, a page at a time or as a stream.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE,
    database::Kind,
    server::{Home, Server},
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

/// Subscribes without a callback; the subscription's path.
async fn puller(account: &Account, more: Value) -> String {
    let mut wish = json!({"event": "x", "url": null});
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = account.request(Method::POST, "/webhooks/subscribe").json(&wish).send().await.expect(201);
    format!("/webhooks/subscriptions/{}", made["id"].as_str().unwrap())
}

async fn fetch(account: &Account, path: &str, query: &str) -> Value {
    account.get(&format!("{path}/events{query}")).await
}

fn numbers(page: &Value) -> Vec<u64> {
    page["data"].as_array().unwrap().iter().map(|event| event["body"]["payload"]["n"].as_u64().unwrap()).collect()
}

async fn send(server: &Server, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        server.http.trigger("x", json!({"n": n})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_fetched_in_order_until_they_are_confirmed() {
    for kind in STORES {
        let server = home_on(kind).await.serve();
        let ada = server.http.account("ada").await;
        let path = puller(&ada, json!({})).await;
        assert_eq!(fetch(&ada, &path, "").await, json!({"data": [], "next_cursor": null}));
        send(&server, 1..=5).await;

        let first = fetch(&ada, &path, "?limit=2").await;
        assert_eq!(numbers(&first), [1, 2]);
        assert_eq!(first["data"][0]["body"]["id"], first["data"][0]["event_id"]);
        assert_eq!(fetch(&ada, &path, "?limit=2").await, first, "what is not confirmed is given again");
        let cursor = first["next_cursor"].as_str().unwrap();
        assert_eq!(first["data"][1]["cursor"], json!(cursor));
        let shown = ada.get(&path).await;
        assert_eq!((&shown["waiting"], &shown["is_active"], &shown["url"]), (&json!(5), &json!(true), &Value::Null));

        let rest = fetch(&ada, &path, &format!("?cursor={cursor}")).await;
        assert_eq!(numbers(&rest), [3, 4, 5]);
        assert_eq!(ada.get(&path).await["waiting"], 3);
        let delivery = format!("/webhooks/deliveries/{}", first["data"][0]["delivery_id"].as_str().unwrap());
        assert_eq!(ada.get(&delivery).await["state"], "delivered");
        let event = server.http.event(rest["data"][0]["event_id"].as_str().unwrap()).await;
        assert_eq!(event["deliveries"][0]["why"]["reason"], "not_fetched");

        let cursor = rest["next_cursor"].as_str().unwrap();
        for _ in 0..2 {
            let end = fetch(&ada, &path, &format!("?cursor={cursor}")).await;
            assert_eq!(end, json!({"data": [], "next_cursor": cursor}));
        }
        assert_eq!(ada.get(&path).await["waiting"], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_answered_when_an_event_comes() {
    for kind in STORES {
        let home = home_on(kind).await;
        let server = home.serve();
        let ada = server.http.account("ada").await;
        let path = puller(&ada, json!({})).await;
        let waiting = fetch(&ada, &path, "?wait=30s");
        let (page, ()) = tokio::join!(waiting, send(&server, 1..=1));
        assert_eq!(numbers(&page), [1]);
        let cursor = page["next_cursor"].as_str().unwrap();
        let late = fetch(&ada, &path, &format!("?cursor={cursor}&wait=50ms")).await;
        assert_eq!(late, json!({"data": [], "next_cursor": cursor}));
        // Another node's events are found, too.
        if kind.is_some() {
            let other = home.serve();
            let query = format!("?cursor={cursor}&wait=30s");
            let (page, ()) = tokio::join!(fetch(&ada, &path, &query), send(&other, 2..=2));
            assert_eq!(numbers(&page), [2]);
        }
    }
}

/// Reads a stream until so many events have come; their places, types and data.
async fn events(body: &mut hyper::body::Incoming, count: usize) -> Vec<(String, String, Value)> {
    let mut text = String::new();
    let reading = async {
        loop {
            let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
            let events: Vec<_> = whole.split("\n\n").filter(|event| event.contains("data:")).collect();
            if events.len() >= count {
                return events.into_iter().map(parse).collect();
            }
            let frame = body.frame().await.expect("more of the stream").unwrap();
            text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("events in time")
}

fn parse(event: &str) -> (String, String, Value) {
    let all = |name: &str| -> Vec<&str> {
        event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    };
    (all("id").concat(), all("event").concat(), serde_json::from_str(&all("data").join("\n")).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_brings_events_and_goes_on_from_the_last_one() {
    for kind in STORES {
        let server = home_on(kind).await.serve();
        let ada = server.http.account("ada").await;
        let path = puller(&ada, json!({"format": "raw"})).await;
        send(&server, 1..=2).await;
        let stream = || ada.request(Method::GET, &format!("{path}/events")).header("accept", "text/event-stream");
        let (head, mut body) = stream().open().await;
        assert_eq!((head.status.as_u16(), &head.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        let first = events(&mut body, 2).await;
        send(&server, 3..=3).await;
        let more = events(&mut body, 1).await;
        assert_eq!(more[0].2, json!({"n": 3}));
        assert_eq!((first[0].1.as_str(), &first[1].2), ("x", &json!({"n": 2})));
        drop(body);

        // The last one may have been lost on its way.
        let (_, mut body) = stream().header("last-event-id", &first[1].0).open().await;
        assert_eq!(events(&mut body, 1).await, more);
        assert_eq!(ada.get(&path).await["waiting"], 1);
        drop(body);
        let (_, mut body) = stream().header("last-event-id", &more[0].0).open().await;
        send(&server, 4..=4).await;
        assert_eq!(events(&mut body, 1).await[0].2, json!({"n": 4}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_in_a_payload_break_no_stream() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let path = puller(&ada, json!({"format": "raw"})).await;
    let body = "{\"event\": \"x\", \"payload\": {\r\n\t\"n\":\r1,\n\n\"m\": \"a\\r\\nb\"}}";
    server.http.producer().body("application/json", body).send().await.expect(202);
    let call = ada.request(Method::GET, &format!("{path}/events")).header("accept", "text/event-stream");
    let (_, mut body) = call.open().await;
    assert_eq!(events(&mut body, 1).await[0].2, json!({"n": 1, "m": "a\r\nb"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_server_stops() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let path = puller(&ada, json!({})).await;
    let call = ada.request(Method::GET, &format!("{path}/events")).header("accept", "text/event-stream");
    let (_, body) = call.open().await;
    server.signal("TERM");
    tokio::time::timeout(PATIENCE, body.collect()).await.expect("the stream's end").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_waits_so_often_and_no_more() {
    let server = Home::new().serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let (path, bobs) = (puller(&ada, json!({})).await, puller(&bob, json!({})).await);
    let stream = |account: &Account, path: &str| {
        account.request(Method::GET, &format!("{path}/events")).header("accept", "text/event-stream")
    };
    let mut streams = Vec::new();
    for _ in 0..16 {
        let (head, body) = stream(&ada, &path).open().await;
        assert_eq!(head.status, 200);
        streams.push(body);
    }
    stream(&ada, &path).send().await.expect_problem(429);
    ada.request(Method::GET, &format!("{path}/events?wait=1s")).send().await.expect_problem(429);
    fetch(&ada, &path, "").await;
    assert_eq!(stream(&bob, &bobs).open().await.0.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_nothing_without_a_callback_is_refused() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let path = puller(&ada, json!({"filter": "$.payload.n"})).await;
    let id = path.rsplit('/').next().unwrap();
    send(&server, 1..=1).await;
    let before = home.stored();
    let subscribe = |wish: Value| ada.request(Method::POST, "/webhooks/subscribe").json(&wish).send();
    let change = |wish: Value| ada.request(Method::PATCH, &path).json(&wish).send();
    for (name, value) in [
        ("signature", json!("ed25519")),
        ("auth", json!({"type": "bearer", "token": "t"})),
        ("ordering", json!("none")),
        ("retries", json!([])),
        ("timeout", json!("1s")),
        ("headers", json!({"x-a": "b"})),
        ("consent", json!("challenge")),
        ("format", json!("cloudevents-binary")),
    ] {
        subscribe(json!({"event": "y", "url": null, name: value})).await.expect_invalid(name);
        change(json!({ name: value })).await.expect_invalid(name);
    }
    change(json!({"url": "http://127.0.0.1:3/"})).await.expect_invalid("url");
    change(json!({"is_active": false})).await.expect_invalid("is_active");
    subscribe(json!({"event": "y"})).await.expect_invalid("url");
    for action in ["verify", "rotate-secret"] {
        ada.request(Method::POST, &format!("{path}/{action}")).send().await.expect_problem(409);
    }
    ada.post_to(id, "test", &json!({"event": "x", "send": true})).await.expect_problem(409);
    ada.post_to(id, "redeliver", &json!({"since": "2026-01-01T00:00:00Z"})).await.expect_problem(409);
    let delivery = fetch(&ada, &path, "").await["data"][0]["delivery_id"].clone();
    let redeliver = format!("/webhooks/deliveries/{}/redeliver", delivery.as_str().unwrap());
    ada.request(Method::POST, &redeliver).send().await.expect_problem(409);
    for (query, field) in [
        ("?cursor=c1", "cursor"),
        ("?cursor=", "cursor"),
        ("?limit=0", "limit"),
        ("?wait=61s", "wait"),
        ("?wait=long", "wait"),
    ] {
        ada.request(Method::GET, &format!("{path}/events{query}")).send().await.expect_invalid(field);
    }
    let call = ada.request(Method::GET, &format!("{path}/events")).header("last-event-id", "x");
    call.send().await.expect_invalid("Last-Event-ID");
    home.assert_stores(&before);

    // What means something can be changed, and a dry run tells whether an event would come.
    assert_eq!(change(json!({"filter": null, "format": "standard"})).await.expect(200)["filter"], Value::Null);
    assert_eq!(ada.post_to(id, "test", &json!({"event": "x"})).await.expect(200)["matches"], true);
    let again = subscribe(json!({"event": "x", "url": null})).await.expect(200);
    assert_eq!(again["id"], json!(id));
    let with_url = ada.subscribe("x", "http://127.0.0.1:3/").await.id;
    let wish = json!({"url": null});
    ada.request(Method::PATCH, &format!("/webhooks/subscriptions/{with_url}"))
        .json(&wish)
        .send()
        .await
        .expect_invalid("url");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_confirmed_survives_a_kill() {
    for kind in STORES {
        let home = home_on(kind).await;
        let server = home.serve();
        let ada = server.http.account("ada").await;
        let path = puller(&ada, json!({})).await;
        send(&server, 1..=4).await;
        let first = fetch(&ada, &path, "?limit=2").await;
        let second = fetch(&ada, &path, &format!("?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
        assert_eq!(numbers(&second), [3]);
        server.kill();
        let server = home.serve();
        let ada = ada.at(&server.http);
        assert_eq!(numbers(&fetch(&ada, &path, "").await), [3, 4]);
        send(&server, 5..=5).await;
        assert_eq!(numbers(&fetch(&ada, &path, "").await), [3, 4, 5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_fetches_exports_and_applies() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let base = format!("http://{}", server.address);
    let home = home.set("HOOKCAST_ACCESS_TOKEN", &ada.token);
    let run = |arguments: &[&str]| {
        let output = home.run(&[arguments, &["--server", &base]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let made: Value = serde_json::from_str(&run(&["subscription", "create", "x", "--json"])).unwrap();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["url"], Value::Null);
    send(&server, 1..=150).await;
    let lines = run(&["subscription", "fetch", id]);
    let printed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed.len(), 150);
    assert_eq!(printed[149]["payload"]["n"], 150);
    assert_eq!(run(&["subscription", "fetch", id]), "");

    let exported = run(&["export"]);
    assert!(exported.contains("url = \"\""), "{exported}");
    let file = home.path().join("hooks.toml");
    std::fs::write(&file, &exported).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(run(&["apply", "-f", file]).trim(), "nothing to do");
    run(&["subscription", "delete", id]);
    assert!(run(&["apply", "-f", file]).starts_with("+ x"));
    assert_eq!(run(&["apply", "-f", file]).trim(), "nothing to do");
}
