//! The dry run: what a subscription would get, and what its callback makes of it, without a trace.

use serde_json::{Value, json};

use crate::support::{
    loopback_address,
    receiver::{Receiver, Reply},
    server::{Home, Server},
    world::Account,
};

async fn begin() -> (Server, Home, Account, Receiver) {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    (server, home, ada, Receiver::start().await)
}

async fn try_out(ada: &Account, subscription: &Value, body: Value) -> Value {
    ada.post_to(subscription["id"].as_str().unwrap(), "test", &body).await.expect(200)
}

#[tokio::test]
async fn it_tells_whether_an_event_would_be_sent() {
    let (_server, home, ada, receiver) = begin().await;
    let filtered = json!({"event": ["relation_*", "venue_added"], "url": receiver.url, "filter": "$.payload.wanted"});
    let filtered = ada.subscribe_as(&filtered).await;
    let plain = ada.subscribe_as(&json!({"event": "*", "url": receiver.url})).await;
    ada.set_active(plain["id"].as_str().unwrap(), false).await;
    let before = home.stored();
    let wanted = json!({"wanted": 1});
    for (subscription, body, matches, pattern, filter) in [
        (&filtered, json!({"event": "relation_added", "payload": wanted}), true, true, json!(true)),
        (&filtered, json!({"event": "relation_added", "payload": {}}), false, true, json!(false)),
        (&filtered, json!({"event": "other", "payload": wanted}), false, false, json!(true)),
        (&filtered, json!({}), false, true, json!(false)),
        (&plain, json!({"event": "anything", "key": "k"}), true, true, Value::Null),
        (&plain, json!({"event": "subscription.failing"}), false, false, Value::Null),
    ] {
        let told = try_out(&ada, subscription, body.clone()).await;
        assert_eq!(
            (&told["matches"], &told["pattern"], &told["filter"]),
            (&json!(matches), &json!(pattern), &filter),
            "{body}: {told}"
        );
        assert_eq!(told["exchange"], Value::Null);
    }
    assert_eq!(try_out(&ada, &filtered, json!({})).await["event"], "venue_added", "the first exact type");
    assert_eq!(try_out(&ada, &filtered, json!({})).await["state"], "active");
    assert_eq!(try_out(&ada, &plain, json!({})).await["state"], "inactive");
    assert_eq!(receiver.total(), 0);
    home.assert_stores(&before);
}

#[tokio::test]
async fn an_account_has_one_test_delivery_on_its_way_at_a_time() {
    let (server, _home, ada, _) = begin().await;
    let mut slow = Receiver::start_gated(0).await;
    let subscribed = ada.subscribe("x", &slow.url).await;
    let send = json!({"send": true});
    let first = async { ada.post_to(&subscribed.id, "test", &send).await.expect(200) };
    let others = async {
        slow.next().await;
        let answer = ada.post_to(&subscribed.id, "test", &send).await;
        answer.expect_problem(429);
        assert_eq!(answer.header("retry-after"), "1");
        // What sends nothing needs no room, and other accounts have their own.
        ada.post_to(&subscribed.id, "test", &json!({})).await.expect(200);
        let bob = server.http.account("bob").await;
        let of_bob = bob.subscribe("x", &slow.url).await;
        slow.let_through(2);
        bob.post_to(&of_bob.id, "test", &send).await.expect(200);
    };
    let (told, ()) = tokio::join!(first, others);
    assert_eq!(told["exchange"]["delivered"], true);
    assert_eq!(slow.total(), 2);
    slow.let_through(1);
    ada.post_to(&subscribed.id, "test", &send).await.expect(200);
}

#[tokio::test]
async fn a_test_delivery_shows_the_whole_exchange_and_leaves_no_trace() {
    let (server, home, ada, mut receiver) = begin().await;
    let subscription = ada
        .subscribe_as(&json!({
            "event": "relation_added", "url": format!("{}/hook?token=hidden", receiver.url),
            "auth": {"type": "bearer", "token": "s3cret-token"}, "headers": {"X-Team": "citations"},
        }))
        .await;
    let before = home.stored();
    let reply =
        Reply { status: 202, headers: vec![("x-served-by", "box 7".to_owned())], body: "no\u{202e}pe".to_owned() };
    receiver.next_replies([reply]);
    let told = try_out(&ada, &subscription, json!({"send": true})).await;
    let received = receiver.next().await;
    received.verify(subscription["secret"].as_str().unwrap()).unwrap();
    assert_eq!(received.header("authorization"), "Bearer s3cret-token");
    assert_eq!(received.uri.query(), Some("token=hidden"));
    assert_eq!(received.json()["payload"], json!({"test": true}));
    assert_eq!(received.id(), told["id"]);

    let exchange = &told["exchange"];
    let (request, response) = (&exchange["request"], &exchange["response"]);
    assert_eq!((&request["method"], &exchange["failure"]), (&json!("POST"), &Value::Null));
    assert_eq!(request["url"], format!("{}/hook?token=***", receiver.url));
    assert_eq!(request["body"].as_str().unwrap().as_bytes(), received.body);
    // All that came was shown, and nothing else, but for the secret.
    let shown = request["headers"].as_object().unwrap();
    assert_eq!(shown["authorization"], "***");
    let came: Vec<_> = received.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(shown.len(), came.len(), "{shown:?} {came:?}");
    for name in came.into_iter().filter(|name| *name != "authorization") {
        assert_eq!(shown[name], received.header(name), "{name}");
    }
    assert_eq!((&response["status"], &response["body"]), (&json!(202), &json!("no\u{fffd}pe")));
    assert_eq!(response["headers"]["x-served-by"], "box 7");
    assert_eq!(exchange["delivered"], false, "only 200 is a success here");
    assert!(exchange["latency_ms"].is_u64());
    assert!(!told.to_string().contains("s3cret") && !told.to_string().contains("hidden"), "{told}");

    // Not even the failures of an inactive one count.
    ada.set_active(subscription["id"].as_str().unwrap(), false).await;
    let before_inactive = home.stored();
    receiver.next_replies([500, 410]);
    for status in [500, 410] {
        let told = try_out(&ada, &subscription, json!({"send": true, "payload": [1], "key": "k"})).await;
        assert_eq!((&told["state"], &told["exchange"]["response"]["status"]), (&json!("inactive"), &json!(status)));
    }
    home.assert_stores(&before_inactive);
    assert_eq!(before.len(), before_inactive.len());
    let now = ada.subscription(subscription["id"].as_str().unwrap()).await;
    assert_eq!((&now["failure_count"], &now["waiting"]), (&json!(0), &json!(0)));
    let path = format!("/webhooks/events/{}", told["id"].as_str().unwrap());
    server.http.get(&path).bearer(crate::support::server::TRIGGER_TOKEN).send().await.expect_problem(404);
}

#[tokio::test]
async fn only_what_matches_is_sent() {
    let (_server, _home, ada, receiver) = begin().await;
    let body = json!({"event": "a", "url": receiver.url, "filter": "$.payload.wanted"});
    let subscription = ada.subscribe_as(&body).await;
    for body in [json!({"send": true}), json!({"send": true, "event": "b", "payload": {"wanted": 1}})] {
        let told = try_out(&ada, &subscription, body).await;
        assert_eq!((&told["matches"], &told["exchange"]), (&json!(false), &Value::Null));
    }
    assert_eq!(receiver.total(), 0);
    let told = try_out(&ada, &subscription, json!({"send": true, "payload": {"wanted": 1}})).await;
    assert_eq!(told["exchange"]["delivered"], true);
    assert_eq!(receiver.total(), 1);
}

#[tokio::test]
async fn a_failure_is_told_with_its_stage() {
    let home = Home::new().set("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let nobody = format!("http://{}/?token=hidden", loopback_address());
    let gated = Receiver::start_gated(0).await;
    for (url, stage) in [(nobody.as_str(), "connect"), (gated.url.as_str(), "timeout")] {
        let subscription = ada.subscribe_as(&json!({"event": "a", "url": url, "timeout": "200ms"})).await;
        let told = try_out(&ada, &subscription, json!({"send": true})).await;
        let exchange = &told["exchange"];
        assert_eq!((&exchange["failure"]["stage"], &exchange["response"]), (&json!(stage), &Value::Null), "{told}");
        assert_eq!(exchange["delivered"], false);
        assert!(!told.to_string().contains("hidden"), "{told}");
    }

    // Where callbacks may not go any more, no test goes either.
    let receiver = Receiver::start().await;
    let subscription = ada.subscribe_as(&json!({"event": "a", "url": receiver.url})).await;
    drop(server);
    let server = home.unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS").serve();
    let told = try_out(&ada.at(&server.http), &subscription, json!({"send": true})).await;
    assert_eq!(told["exchange"]["failure"]["stage"], "address_refused", "{told}");
    assert_eq!(receiver.total(), 0);
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused() {
    let (server, _home, ada, receiver) = begin().await;
    let subscription = ada.subscribe("a", &receiver.url).await;
    for (body, field) in [
        (json!({"event": "a b"}), "event"),
        (json!({"key": ""}), "key"),
        (json!({"send": "yes"}), "send"),
        (json!({"sent": true}), "sent"),
    ] {
        ada.post_to(&subscription.id, "test", &body).await.expect_invalid(field);
    }
    let bob = server.http.account("bob").await;
    bob.post_to(&subscription.id, "test", &json!({"send": true})).await.expect_problem(404);
    receiver.next_replies([403]);
    let body = json!({"event": "b", "url": receiver.url, "consent": "cloudevents"});
    let pending = ada.subscribe_as(&body).await;
    let id = pending["id"].as_str().unwrap();
    ada.post_to(id, "test", &json!({"send": true})).await.expect_problem(409);
    assert_eq!(ada.post_to(id, "test", &json!({})).await.expect(200)["state"], "pending_verification");
    assert_eq!(receiver.total(), 1, "the question whether it wants anything");
}
