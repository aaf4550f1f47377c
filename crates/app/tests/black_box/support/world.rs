//! The usual beginnings: accounts, subscriptions, triggers.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{
    eventually,
    http::{Answer, Call, Http},
    server::{REGISTRATION_TOKEN, TRIGGER_TOKEN},
};

/// A consumer with its token.
#[derive(Clone)]
pub struct Account {
    pub http: Http,
    pub token: String,
}

/// A subscription as it was answered when it was made.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub id: String,
    pub secret: String,
}

impl Http {
    /// Registers an account.
    pub async fn account(&self, user_id: &str) -> Account {
        let answer = self
            .post("/webhooks/account")
            .bearer(REGISTRATION_TOKEN)
            .json(&json!({"user_id": user_id, "user_email": format!("{user_id}@example.org")}))
            .send()
            .await
            .expect(201);
        Account { http: self.clone(), token: answer["access_token"].as_str().unwrap().to_owned() }
    }

    /// Triggers an event and makes sure that it is accepted.
    pub async fn trigger(&self, event: &str, payload: Value) -> Value {
        self.try_trigger(&json!({"event": event, "payload": payload})).await.expect(202)
    }

    /// Triggers so many events in one request; their ids.
    pub async fn trigger_many(&self, event: &str, count: usize) -> Vec<String> {
        let events: Vec<_> = (0..count).map(|n| json!({"event": event, "payload": {"n": n}})).collect();
        let receipts = self.try_trigger(&Value::from(events)).await.expect(202);
        receipts.as_array().unwrap().iter().map(|receipt| receipt["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Triggers whatever this body says.
    pub async fn try_trigger(&self, body: &Value) -> Answer {
        self.producer().json(body).send().await
    }

    /// Triggers whatever this text says.
    pub async fn trigger_text(&self, text: impl Into<Bytes>) -> Answer {
        self.producer().body("application/json", text).send().await
    }

    /// Triggers a batch in the form of an event a line.
    pub async fn trigger_lines(&self, lines: impl Into<Bytes>) -> Answer {
        self.producer().body("application/x-ndjson", lines).send().await
    }

    /// A trigger that still wants its body.
    pub fn producer(&self) -> Call {
        self.post("/webhooks/trigger").bearer(TRIGGER_TOKEN)
    }

    /// An event with its deliveries.
    pub async fn event(&self, id: &str) -> Value {
        self.get(&format!("/webhooks/events/{id}")).bearer(TRIGGER_TOKEN).send().await.expect(200)
    }

    /// Waits until every delivery of an event is in this state; the event then.
    pub async fn event_in_state(&self, id: &str, state: &str) -> Value {
        eventually(&format!("{id} {state}"), async || {
            let event = self.event(id).await;
            let is_there = |delivery: &Value| delivery["state"] == state;
            event["deliveries"].as_array().unwrap().iter().all(is_there).then_some(event)
        })
        .await
    }
}

impl Account {
    /// The same account, asking another node.
    pub fn at(&self, http: &Http) -> Self {
        Self { http: http.clone(), token: self.token.clone() }
    }

    /// Subscribes to one type of event at one URL.
    pub async fn subscribe(&self, event: &str, url: &str) -> Subscription {
        let answer = self.try_subscribe(event, url).await.expect(201);
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        Subscription { id: text("id"), secret: text("secret") }
    }

    /// Subscribes to one type of event at one URL, with these options.
    pub async fn subscribe_with(&self, event: &str, url: &str, options: Value) -> Subscription {
        let mut body = options;
        (body["event"], body["url"]) = (event.into(), url.into());
        let answer = self.request(Method::POST, "/webhooks/subscribe").json(&body).send().await.expect(201);
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        Subscription { id: text("id"), secret: text("secret") }
    }

    pub async fn try_subscribe(&self, event: &str, url: &str) -> Answer {
        let body = json!({"event": event, "url": url});
        self.http.post("/webhooks/subscribe").bearer(&self.token).json(&body).send().await
    }

    /// Subscribes with all that this body says.
    pub async fn subscribe_as(&self, body: &Value) -> Value {
        self.request(Method::POST, "/webhooks/subscribe").json(body).send().await.expect(201)
    }

    /// Changes a subscription by what this body says.
    pub async fn patch(&self, id: &str, body: &Value) -> Answer {
        self.request(Method::PATCH, &format!("/webhooks/subscriptions/{id}")).json(body).send().await
    }

    /// Posts this body to a path of a subscription's own.
    pub async fn post_to(&self, id: &str, what: &str, body: &Value) -> Answer {
        self.request(Method::POST, &format!("/webhooks/subscriptions/{id}/{what}")).json(body).send().await
    }

    /// A request with the account's token.
    pub fn request(&self, method: Method, path: &str) -> Call {
        self.http.request(method, path).bearer(&self.token)
    }

    /// What the account sees there.
    pub async fn get(&self, path: &str) -> Value {
        self.request(Method::GET, path).send().await.expect(200)
    }

    /// A subscription as it is now.
    pub async fn subscription(&self, id: &str) -> Value {
        self.http.get(&format!("/webhooks/subscriptions/{id}")).bearer(&self.token).send().await.expect(200)
    }

    /// Waits until a subscription is as `wanted` says; the subscription then.
    pub async fn subscription_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || Some(self.subscription(id).await).filter(&wanted)).await
    }

    pub async fn set_active(&self, id: &str, is_active: bool) -> Value {
        let call = self.http.patch(&format!("/webhooks/subscriptions/{id}")).bearer(&self.token);
        call.json(&json!({"is_active": is_active})).send().await.expect(200)
    }

    /// A subscription's deliveries, the newest first.
    pub async fn deliveries(&self, id: &str) -> Vec<Value> {
        let path = format!("/webhooks/subscriptions/{id}/deliveries");
        let answer = self.http.get(&path).bearer(&self.token).send().await.expect(200);
        answer["data"].as_array().unwrap().clone()
    }
}
