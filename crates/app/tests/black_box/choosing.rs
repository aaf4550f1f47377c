//! What a subscription gets and in what form: patterns, filters and formats.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    receiver::Receiver,
    server::{Home, Server},
    world::Account,
};

const REFERENCES: &str = "$.payload[?@.RelationshipType.Name == 'References']";

/// A payload as producers of citations post it.
fn relation(name: &str) -> Value {
    json!([{"Source": {"ID": "10.1/a"}, "RelationshipType": {"Name": name}, "Target": {"ID": "10.1/b"}}])
}

async fn begin() -> (Server, Account, Receiver) {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    (server, ada, Receiver::start().await)
}

fn id(subscription: &Value) -> &str {
    subscription["id"].as_str().unwrap()
}

/// Subscribes at a path for each name, and gives the ids.
async fn subscribe_each(ada: &Account, receiver: &Receiver, wishes: &[(&str, Value)]) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for (path, wish) in wishes {
        let mut body = wish.clone();
        body["url"] = format!("{}/{path}", receiver.url).into();
        ids.insert((*path).to_owned(), id(&ada.subscribe_as(&body).await).to_owned());
    }
    ids
}

/// Triggers an event and tells the paths at which it arrives, in order. The receipt says how many there will be.
async fn arrivals(server: &Server, receiver: &mut Receiver, body: Value) -> Vec<String> {
    let receipt = server.http.try_trigger(&body).await.expect(202);
    let count = receipt["subscriptions"].as_u64().unwrap().try_into().unwrap();
    let arrived = receiver.take(count).await;
    assert!(arrived.iter().all(|received| received.id() == receipt["id"]));
    let mut paths: Vec<_> = arrived.iter().map(|received| received.uri.path()[1..].to_owned()).collect();
    paths.sort_unstable();
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    paths
}

#[tokio::test]
async fn types_are_chosen_by_name_by_list_and_by_pattern() {
    let (server, ada, mut receiver) = begin().await;
    let wishes = [
        ("exact", json!({"event": "relation_added"})),
        ("list", json!({"event": ["venue_added", "relation_added", "venue_added"]})),
        ("stars", json!({"event": "relation_*"})),
        ("middle", json!({"event": ["*_removed", "venue_*ed"]})),
        ("all", json!({"event": "*"})),
    ];
    let ids = subscribe_each(&ada, &receiver, &wishes).await;
    let shown = ada.subscription(&ids["list"]).await;
    assert_eq!(shown["event"], json!(["relation_added", "venue_added"]), "in order, each once");
    assert_eq!(ada.subscription(&ids["stars"]).await["event"], "relation_*");

    for (event, expected) in [
        ("relation_added", &["all", "exact", "list", "stars"][..]),
        ("relation_removed", &["all", "middle", "stars"]),
        ("venue_added", &["all", "list", "middle"]),
        ("relation_", &["all", "stars"]),
        ("relation", &["all"]),
    ] {
        let body = json!({"event": event, "payload": {"for": event}});
        assert_eq!(arrivals(&server, &mut receiver, body).await, expected, "{event}");
    }
}

#[tokio::test]
async fn types_that_cannot_be_are_refused() {
    let (_server, ada, receiver) = begin().await;
    let many: Vec<_> = (0..33).map(|n| format!("type{n}")).collect();
    for event in [
        json!("a b"),
        json!(""),
        json!([]),
        json!(["a", 7]),
        json!({"a": 1}),
        json!(null),
        json!("*********"),
        json!(many),
    ] {
        let body = json!({"event": event, "url": receiver.url});
        ada.request(Method::POST, "/webhooks/subscribe").json(&body).send().await.expect_invalid("event");
    }
}

#[tokio::test]
async fn a_refusal_says_once_what_it_is_about() {
    let (_server, ada, receiver) = begin().await;
    for (wishes, member, detail) in [
        (json!({"event": ["a", "b c"]}), "event", r#"`event`: "b c" may only have letters, digits"#),
        (json!({"event": []}), "event", "`event`: there must be 1 to 32 event types or patterns"),
        (json!({"event": 7}), "event", "`event` must be an event type, or a list of them"),
        (json!({"url": "ftp://example.org"}), "url", "`url`: the URL must begin with `https://` or `http://`"),
        (json!({"secret": "hush"}), "secret", "`secret`: a signing secret begins with `whsec_`"),
    ] {
        let mut body = json!({"event": "a", "url": receiver.url});
        body.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
        let answer = ada.request(Method::POST, "/webhooks/subscribe").json(&body).send().await;
        let problem = answer.expect_invalid(member);
        assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{problem}");
    }
}

#[tokio::test]
async fn what_is_chosen_can_be_changed_unless_another_subscription_is_so_already() {
    let (server, ada, mut receiver) = begin().await;
    let wishes = [("first", json!({"event": "a"})), ("second", json!({"event": ["b", "c"]}))];
    let ids = subscribe_each(&ada, &receiver, &wishes).await;
    let (first, second) = (&ids["first"], &ids["second"]);

    let moved = format!("{}/moved", receiver.url);
    let now = ada.patch(first, &json!({"event": ["d", "b*"], "url": moved})).await.expect(200);
    assert_eq!((&now["event"], &now["url"]), (&json!(["b*", "d"]), &json!(moved)));
    for (event, expected) in [("a", &[][..]), ("d", &["moved"]), ("b", &["moved", "second"]), ("c", &["second"])] {
        let body = json!({"event": event, "payload": {"for": event}});
        assert_eq!(arrivals(&server, &mut receiver, body).await, expected, "{event}");
    }

    // The order in which types are named makes no other subscription.
    let taken = json!({"event": ["d", "b*"], "url": moved});
    ada.patch(second, &taken).await.expect_problem(409);
    let now = ada.subscription(second).await;
    assert_eq!(now["event"], json!(["b", "c"]), "nothing has changed");
    let again = ada.request(Method::POST, "/webhooks/subscribe").json(&taken).send().await.expect(200);
    assert_eq!(again["id"], json!(first), "it is the same as the first");
    ada.patch(first, &taken).await.expect(200);

    ada.patch(second, &json!({"url": "ftp://127.0.0.1/"})).await.expect_invalid("url");
    ada.patch(second, &json!({"event": "not a type"})).await.expect_invalid("event");
    let bob = server.http.account("bob").await;
    bob.patch(second, &json!({"event": "stolen"})).await.expect_problem(404);
    bob.subscribe_as(&taken).await;
}

#[tokio::test]
async fn a_filter_lets_through_what_it_selects() {
    let (server, ada, mut receiver) = begin().await;
    let wishes = [
        ("unfiltered", json!({"event": "relation_added"})),
        ("references", json!({"event": "relation_*", "filter": REFERENCES})),
        ("keyed", json!({"event": "*", "filter": "$[?@ == 'k1']"})),
        ("typed", json!({"event": "*", "filter": "$[?@ == 'venue_added']"})),
        ("nobody", json!({"event": "*", "filter": "$.payload.none"})),
    ];
    let ids = subscribe_each(&ada, &receiver, &wishes).await;
    assert_eq!(ada.subscription(&ids["references"]).await["filter"], REFERENCES);
    let payload = relation("References");
    for (body, expected) in [
        (json!({"event": "relation_added", "payload": payload}), &["references", "unfiltered"][..]),
        (json!({"event": "relation_added", "payload": relation("IsSupplementTo")}), &["unfiltered"]),
        (json!({"event": "relation_added", "payload": relation("Else"), "key": "k1"}), &["keyed", "unfiltered"]),
        (json!({"event": "venue_added", "payload": payload}), &["typed"]),
        (json!({"event": "venue_removed", "payload": payload}), &[]),
    ] {
        assert_eq!(arrivals(&server, &mut receiver, body.clone()).await, expected, "{body}");
    }

    // A filter can be taken away, and set.
    ada.patch(&ids["references"], &json!({"filter": null})).await.expect(200);
    ada.patch(&ids["unfiltered"], &json!({"filter": "$.payload.none"})).await.expect(200);
    let body = json!({"event": "relation_added", "payload": {"n": 2}});
    assert_eq!(arrivals(&server, &mut receiver, body).await, ["references"]);
}

#[tokio::test]
async fn what_no_filter_can_look_into_is_delivered() {
    let (server, ada, mut receiver) = begin().await;
    subscribe_each(&ada, &receiver, &[("choosy", json!({"event": "deep", "filter": "$.payload.none"}))]).await;
    let payload = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let receipt = server.http.trigger_text(format!(r#"{{"event":"deep","payload":{payload}}}"#)).await.expect(202);
    assert_eq!(receiver.next().await.id(), receipt["id"]);
}

#[tokio::test]
async fn a_wrong_filter_is_refused_with_its_place() {
    let (_server, ada, receiver) = begin().await;
    let subscription = ada.subscribe("a", &receiver.url).await;
    for (filter, at) in [
        (json!("payload"), 1),
        (json!("$.payload[?@.a == ]"), 19),
        (json!("$..a..b"), 5),
        (json!("$[?search(@.a, '(')]"), 16),
    ] {
        let body = json!({"event": "a", "url": receiver.url, "filter": filter});
        for answer in [
            ada.request(Method::POST, "/webhooks/subscribe").json(&body).send().await,
            ada.patch(&subscription.id, &json!({"filter": filter})).await,
        ] {
            let problem = answer.expect_invalid("filter");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("`filter` at character {at}: ")), "{filter}: {detail}");
        }
    }
    ada.patch(&subscription.id, &json!({"filter": 7})).await.expect_invalid("filter");
    assert_eq!(ada.subscription(&subscription.id).await["filter"], Value::Null);
}

#[tokio::test]
async fn of_many_subscriptions_with_filters_each_gets_its_own() {
    let (server, ada, mut receiver) = begin().await;
    let wishes: Vec<(String, Value)> = (0..60)
        .map(|n| (format!("s{n}"), json!({"event": "numbered", "filter": format!("$[?@.n == {}]", n % 20)})))
        .collect();
    let wishes: Vec<_> = wishes.iter().map(|(path, wish)| (path.as_str(), wish.clone())).collect();
    subscribe_each(&ada, &receiver, &wishes).await;
    // Small ones are looked into at once, large ones elsewhere.
    for (n, filler) in [(3, 10), (17, 50_000), (21, 10)] {
        let body = json!({"event": "numbered", "payload": {"n": n, "filler": "x".repeat(filler)}});
        let mut expected: Vec<_> = (0..60).filter(|s| s % 20 == n).map(|s| format!("s{s}")).collect();
        expected.sort_unstable();
        assert_eq!(arrivals(&server, &mut receiver, body).await, expected);
    }
}

#[tokio::test]
async fn each_format_arrives_as_it_is_described_and_signed() {
    let (server, ada, mut receiver) = begin().await;
    let mut secrets = BTreeMap::new();
    for format in ["hookcast", "standard", "cloudevents", "cloudevents-binary", "raw"] {
        let body = json!({"event": "relation_added", "url": format!("{}/{format}", receiver.url), "format": format});
        let subscription = ada.subscribe_as(&body).await;
        assert_eq!(subscription["format"], format);
        secrets.insert(format.to_owned(), subscription["secret"].as_str().unwrap().to_owned());
    }
    let payload = r#"{ "b": 1.10, "a": "é" }"#;
    let text = format!(r#"{{"event":"relation_added","key":"k 1","payload":{payload}}}"#);
    let receipt = server.http.trigger_text(text).await.expect(202);
    let event = receipt["id"].as_str().unwrap();
    for received in receiver.take(5).await {
        let format = &received.uri.path()[1..];
        received.verify(&secrets[format]).unwrap();
        assert_eq!(received.id(), event);
        let body = std::str::from_utf8(&received.body).unwrap();
        assert!(body.contains(payload), "{format}: the payload is as it was written: {body}");
        let content_type = match format {
            "cloudevents" => "application/cloudevents+json; charset=utf-8",
            _ => "application/json",
        };
        assert_eq!(received.header("content-type"), content_type, "{format}");
        let is_binary = format == "cloudevents-binary";
        assert_eq!(received.headers.contains_key("ce-id"), is_binary, "{format}");
        match format {
            "hookcast" => {
                let body = received.json();
                assert_eq!(
                    (&body["id"], &body["event"], &body["key"]),
                    (&json!(event), &json!("relation_added"), &json!("k 1"))
                );
            }
            "standard" => {
                let body = received.json();
                assert_eq!((&body["type"], &body["data"]["b"]), (&json!("relation_added"), &json!(1.10)));
                assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
            }
            "cloudevents" => {
                let body = received.json();
                for (name, value) in [
                    ("specversion", "1.0"),
                    ("id", event),
                    ("type", "relation_added"),
                    ("datacontenttype", "application/json"),
                    ("partitionkey", "k 1"),
                ] {
                    assert_eq!(body[name], value, "{body}");
                }
            }
            "cloudevents-binary" => {
                assert_eq!(body, payload);
                for (name, value) in [
                    ("ce-specversion", "1.0"),
                    ("ce-id", event),
                    ("ce-type", "relation_added"),
                    ("ce-partitionkey", "k%201"),
                ] {
                    assert_eq!(received.header(name), value);
                }
            }
            _ => assert_eq!(body, payload),
        }
    }

    // What is sent follows a change, and no choice is what the setting says.
    let id = ada.get("/webhooks/subscriptions").await["data"][4]["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.subscription(&id).await["format"], "raw");
    assert_eq!(ada.patch(&id, &json!({"format": null, "event": "b"})).await.expect(200)["format"], "hookcast");
    server.http.trigger("b", json!({"n": 1})).await;
    assert_eq!(receiver.next().await.json()["event"], "b");
    ada.patch(&id, &json!({"format": "xml"})).await.expect_invalid("format");
}
