//! Types of event that are described, and producers with tokens for some types.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually,
    http::{Answer, Call, Http},
    server::{Home, TRIGGER_TOKEN},
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn home_on(kind: Option<Kind>) -> Home {
    match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    }
}

fn call(http: &Http, method: Method, path: &str, token: &str) -> Call {
    http.request(method, path).bearer(token)
}

async fn put_type(http: &Http, event: &str, wish: Value) -> Answer {
    call(http, Method::PUT, &format!("/webhooks/event-types/{event}"), TRIGGER_TOKEN).json(&wish).send().await
}

async fn trigger_with(http: &Http, token: &str, body: Value) -> Answer {
    call(http, Method::POST, "/webhooks/trigger", token).json(&body).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_as_their_type_wants_them() {
    for kind in STORES {
        let server = home_on(kind).await.serve();
        let http = &server.http;
        let schema = json!({
            "type": "object", "required": ["order"], "additionalProperties": false,
            "properties": {"order": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"pattern": "^[a-z]+$"}}},
        });
        let wish = json!({"description": "An order was paid.", "schema": schema, "example": {"order": 7}});
        let made = put_type(http, "order_paid", wish.clone()).await.expect(201);
        assert_eq!((&made["event"], &made["schema"]), (&json!("order_paid"), &schema));
        put_type(http, "order_paid", wish).await.expect(200);

        let event = |payload: Value| json!({"event": "order_paid", "payload": payload});
        http.try_trigger(&event(json!({"order": 1, "tags": ["a"]}))).await.expect(202);
        for (payload, place) in [
            (json!({}), "at ``"),
            (json!({"order": 0}), "at `/order`"),
            (json!({"order": 1, "tags": ["a", "B"]}), "at `/tags/1`"),
            (json!(7), "at ``"),
        ] {
            let refused = http.try_trigger(&event(payload)).await.expect_invalid("payload");
            assert!(refused["detail"].as_str().unwrap().contains(place), "{refused}");
        }
        let batch = json!([event(json!({"order": 2})), event(json!({"order": "2"}))]);
        assert_eq!(http.try_trigger(&batch).await.expect_invalid("payload")["index"], 1);
        let large = event(json!({"order": 3, "tags": vec!["a"; 20_000]}));
        http.try_trigger(&large).await.expect(202);
        // Other types are taken as they are.
        http.try_trigger(&json!({"event": "refund", "payload": {}})).await.expect(202);

        let listed = call(http, Method::GET, "/webhooks/event-types?limit=1", TRIGGER_TOKEN).send().await.expect(200);
        assert_eq!(listed["data"][0]["example"], json!({"order": 7}));
        let path = "/webhooks/event-types/order_paid";
        call(http, Method::DELETE, path, TRIGGER_TOKEN).send().await.expect(204);
        call(http, Method::DELETE, path, TRIGGER_TOKEN).send().await.expect_problem(404);
        call(http, Method::GET, path, TRIGGER_TOKEN).send().await.expect_problem(404);
        http.try_trigger(&event(json!({"n": 1}))).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_types_are_taken_where_that_is_set() {
    for kind in STORES {
        let home = home_on(kind).await.set("HOOKCAST_EVENT_TYPES_REQUIRED", "true");
        let server = home.serve();
        let event = json!({"event": "a/b:c", "payload": 1});
        let refused = server.http.try_trigger(&event).await.expect_invalid("event");
        assert!(refused["detail"].as_str().unwrap().contains("event-types"), "{refused}");
        put_type(&server.http, "a%2Fb:c", json!({})).await.expect(201);
        server.http.try_trigger(&event).await.expect(202);
        if kind.is_some() {
            // Another node learns of a type a moment later.
            let other = home.serve();
            put_type(&server.http, "late", json!({})).await.expect(201);
            let event = json!({"event": "late", "payload": 1});
            eventually("the type is known", async || {
                (other.http.try_trigger(&event).await.status == 202).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_that_make_no_sense_are_refused() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    for (wish, field) in [
        (json!({"schema": {"type": "nonsense"}}), "schema"),
        (json!({"schema": 7}), "schema"),
        (json!({"schema": {"$ref": "https://example.org/schema.json"}}), "schema"),
        (json!({"schema": {"$ref": "file:///etc/passwd"}}), "schema"),
        (json!({"schema": {"pattern": "("}}), "schema"),
        (json!({"schema": {"pattern": "((a{1,1000}){1,1000}){1,1000}"}}), "schema"),
        (json!({"schema": {"type": "object"}, "example": 7}), "example"),
        (json!({"description": 7}), "description"),
        (json!({"schemas": {}}), "schemas"),
    ] {
        put_type(&server.http, "x", wish).await.expect_invalid(field);
    }
    put_type(&server.http, "subscription.failing", json!({})).await.expect_problem(404);
    put_type(&server.http, "a%20b", json!({})).await.expect_problem(404);
    home.assert_stores(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_token_is_for_its_types_alone() {
    for kind in STORES {
        let home = home_on(kind).await;
        let server = home.serve();
        let http = &server.http;
        let wish = json!({"name": "orders", "event": ["order_*", "refund"]});
        let tokens = "/webhooks/trigger-tokens";
        let made = call(http, Method::POST, tokens, TRIGGER_TOKEN).json(&wish).send().await.expect(201);
        let token = made["trigger_token"].as_str().unwrap().to_owned();
        call(http, Method::POST, tokens, TRIGGER_TOKEN).json(&wish).send().await.expect_problem(409);

        let event = |event: &str| json!({"event": event, "payload": 1});
        let own = trigger_with(http, &token, event("order_paid")).await.expect(202);
        trigger_with(http, &token, json!([event("refund"), event("order_made")])).await.expect(202);
        let others = http.try_trigger(&event("other")).await.expect(202);
        trigger_with(http, &token, event("other")).await.expect_problem(403);
        let refused = trigger_with(http, &token, json!([event("refund"), event("other")])).await.expect_problem(403);
        assert_eq!(refused["index"], 1);

        let get = |path: String| call(http, Method::GET, &path, &token).send();
        let path = |event: &Value| format!("/webhooks/events/{}", event["id"].as_str().unwrap());
        get(path(&own)).await.expect(200);
        get(path(&others)).await.expect_problem(404);
        let cancel = format!("{}/cancel", path(&others));
        call(http, Method::POST, &cancel, &token).send().await.expect_problem(404);
        let listed = get("/webhooks/events".into()).await.expect(200);
        let listed = listed["data"].as_array().unwrap().iter();
        let types: BTreeSet<_> = listed.map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(types, BTreeSet::from(["order_made", "order_paid", "refund"]));
        get("/webhooks/event-types".into()).await.expect(200);

        // It sees to neither tokens nor types, and is nobody's access token.
        for (method, path) in [
            (Method::GET, "/webhooks/trigger-tokens"),
            (Method::POST, "/webhooks/trigger-tokens"),
            (Method::DELETE, "/webhooks/trigger-tokens/orders"),
            (Method::PUT, "/webhooks/event-types/order_x"),
            (Method::DELETE, "/webhooks/event-types/order_x"),
            (Method::GET, "/webhooks/subscriptions"),
            (Method::POST, "/webhooks/account"),
        ] {
            call(http, method, path, &token).json(&json!({})).send().await.expect_problem(403);
        }
        let listed = call(http, Method::GET, tokens, TRIGGER_TOKEN).send().await.expect(200);
        assert_eq!(listed["data"][0]["event"], json!(["order_*", "refund"]));
        assert!(!listed.to_string().contains(&token[12..]));

        let other = if kind.is_some() { Some(home.serve()) } else { None };
        if let Some(other) = &other {
            trigger_with(&other.http, &token, event("refund")).await.expect(202);
        }
        call(http, Method::DELETE, "/webhooks/trigger-tokens/orders", TRIGGER_TOKEN).send().await.expect(204);
        trigger_with(http, &token, event("refund")).await.expect_problem(401);
        if let Some(other) = &other {
            eventually("the token is void everywhere", async || {
                (trigger_with(&other.http, &token, event("refund")).await.status == 401).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_token_ends_at_its_time_and_wrong_wishes_are_refused() {
    let home = Home::new();
    let server = home.serve();
    let make =
        |wish: Value| call(&server.http, Method::POST, "/webhooks/trigger-tokens", TRIGGER_TOKEN).json(&wish).send();
    for (wish, field) in [
        (json!({"event": "x"}), "name"),
        (json!({"name": "a b", "event": "x"}), "name"),
        (json!({"name": "a"}), "event"),
        (json!({"name": "a", "event": "a b"}), "event"),
        (json!({"name": "a", "event": "x", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "a", "event": "x", "scope": "write"}), "scope"),
    ] {
        make(wish).await.expect_invalid(field);
    }
    let end = hookcast_core::clock::Clock::now(&hookcast_core::clock::SystemClock);
    let end = end.plus(std::time::Duration::from_millis(700)).to_string();
    let made = make(json!({"name": "a", "event": "*", "expires_at": end})).await.expect(201);
    let token = made["trigger_token"].as_str().unwrap();
    trigger_with(&server.http, token, json!({"event": "x", "payload": 1})).await.expect(202);
    eventually("it ends", async || {
        (trigger_with(&server.http, token, json!({"event": "x", "payload": 1})).await.status == 401).then_some(())
    })
    .await;
}
