//! Consumers look at a delivery, and have what has ended sent again.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    receiver::Receiver,
    server::{Home, Server},
    world::Account,
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn server_on(kind: Option<Kind>) -> Server {
    let home = match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    };
    home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0").serve()
}

async fn redeliver(account: &Account, delivery: &str) -> crate::support::http::Answer {
    account.request(Method::POST, &format!("/webhooks/deliveries/{delivery}/redeliver")).send().await
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_delivery_is_shown_and_sent_again() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
        let subscription = ada.subscribe("x", &receiver.url).await;
        let event = server.http.trigger("x", json!({"n": 1})).await;
        receiver.take(1).await;
        let event = server.http.event_in_state(event["id"].as_str().unwrap(), "delivered").await;
        let delivery = id(&event["deliveries"][0]).to_owned();

        let shown = ada.get(&format!("/webhooks/deliveries/{delivery}")).await;
        assert_eq!((&shown["state"], &shown["payload"]), (&json!("delivered"), &json!({"n": 1})));
        assert_eq!(
            (&shown["subscription_id"], shown["attempts"].as_array().unwrap().len()),
            (&json!(subscription.id), 1)
        );

        assert_eq!(redeliver(&ada, &delivery).await.expect(202)["id"], json!(delivery));
        let again = receiver.take(1).await;
        assert_eq!(again[0].json()["payload"], json!({"n": 1}));
        assert!(again[0].verify(&subscription.secret).is_ok());
        server.http.event_in_state(event["id"].as_str().unwrap(), "delivered").await;
        let shown = ada.get(&format!("/webhooks/deliveries/{delivery}")).await;
        assert_eq!(shown["attempts"].as_array().unwrap().len(), 2);

        // It is nobody else's, and what is not there is nobody's.
        let path = format!("/webhooks/deliveries/{delivery}");
        bob.request(Method::GET, &path).send().await.expect_problem(404);
        redeliver(&bob, &delivery).await.expect_problem(404);
        redeliver(&ada, "dlv_nonsense").await.expect_problem(404);
        let away = format!("dlv_{}", "0".repeat(32));
        redeliver(&ada, &away).await.expect_problem(404);
        assert!(receiver.unseen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_failed_since_a_time_is_sent_again() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        receiver.always(500);
        let ada = server.http.account("ada").await;
        let subscription = ada.subscribe("x", &receiver.url).await.id;
        let old = server.http.trigger("x", json!({"n": "old"})).await;
        let old = server.http.event_in_state(old["id"].as_str().unwrap(), "failed").await;
        let ids = server.http.trigger_many("x", 600).await;
        for id in &ids {
            server.http.event_in_state(id, "failed").await;
        }
        let first = server.http.event(&ids[0]).await;
        assert!(first["time"].as_str() > old["time"].as_str());
        receiver.always(200);
        receiver.unseen();

        let since = json!({"since": first["time"]});
        let answer = ada.post_to(&subscription, "redeliver", &since).await.expect(202);
        assert_eq!(answer, json!({"redelivered": 600, "next_cursor": null}));
        receiver.take(600).await;
        for id in &ids {
            server.http.event_in_state(id, "delivered").await;
        }
        server.http.event_in_state(old["id"].as_str().unwrap(), "failed").await;
        let answer = ada.post_to(&subscription, "redeliver", &since).await.expect(202);
        assert_eq!(answer, json!({"redelivered": 0, "next_cursor": null}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_again_is_refused_with_its_reason() {
    let (server, receiver) = (server_on(None).await, Receiver::start_gated(0).await);
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("x", &receiver.url).await.id;
    let event = server.http.trigger("x", json!({})).await;
    let event = server.http.event(event["id"].as_str().unwrap()).await;
    let delivery = id(&event["deliveries"][0]);
    let refused = redeliver(&ada, delivery).await.expect_problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("being sent"), "{refused}");
    for (body, field) in [
        (json!({}), "since"),
        (json!({"since": "yesterday"}), "since"),
        (json!({"since": "2026-01-01T00:00:00Z", "state": "delivered"}), "state"),
        (json!({"since": "2026-01-01T00:00:00Z", "states": "failed"}), "states"),
        (json!({"since": "2026-01-01T00:00:00Z", "cursor": "nonsense"}), "cursor"),
    ] {
        ada.post_to(&subscription, "redeliver", &body).await.expect_invalid(field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_narrowed_by_type_state_and_time() {
    for kind in STORES {
        let (server, mut receiver) = (server_on(kind).await, Receiver::start().await);
        let ada = server.http.account("ada").await;
        let subscription = ada.subscribe("*", &receiver.url).await.id;
        let mut times = Vec::new();
        for n in 0..6 {
            let event = if n % 3 == 0 { "a.rare" } else { "b.common" };
            let id = server.http.trigger(event, json!({"n": n})).await["id"].as_str().unwrap().to_owned();
            times.push(server.http.event_in_state(&id, "delivered").await["time"].as_str().unwrap().to_owned());
        }
        receiver.take(6).await;
        let list = async |query: &str| {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/webhooks/subscriptions/{subscription}/deliveries?{query}&limit=2{cursor}");
                let page = ada.get(&path).await;
                found.extend(
                    page["data"].as_array().unwrap().iter().map(|one| one["event"].as_str().unwrap().to_owned()),
                );
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return found,
                }
            }
        };
        assert_eq!(list("").await.len(), 6);
        assert_eq!(list("event=a.rare").await, ["a.rare"; 2]);
        assert_eq!(list("event=b*&state=delivered").await, ["b.common"; 4]);
        assert!(list("event=b*&state=failed").await.is_empty());
        assert_eq!(list(&format!("since={}", times[3])).await, ["b.common", "b.common", "a.rare"]);
        assert_eq!(list(&format!("until={}&event=a*", times[3])).await, ["a.rare"]);
        assert_eq!(list(&format!("since={}&until={}", times[1], times[3])).await, ["b.common"; 2]);
        for (query, field) in
            [("since=yesterday", "since"), ("until=1", "until"), ("event=%20", "event"), ("state=x", "state")]
        {
            let path = format!("/webhooks/subscriptions/{subscription}/deliveries?{query}");
            ada.request(Method::GET, &path).send().await.expect_invalid(field);
        }
    }
}
