//! The server's API, as producers and subscribers use it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use hookcast_core::{clock::SystemClock, signing::SigningSecret};
use hookcast_delivery::client::{Client, ClientSettings};
use http::{Method, Request, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_MAX: usize = 1024 * 1024;

/// Talks to a server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    registration_token: String,
    trigger_token: String,
}

#[derive(Deserialize)]
struct Account {
    access_token: String,
}

/// A new subscription.
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// Signs what is delivered.
    pub secret: SigningSecret,
}

/// How a subscription fares.
#[derive(Deserialize)]
pub struct Health {
    /// Whether deliveries are sent.
    pub is_active: bool,
    /// Failed attempts since the last success.
    pub failure_count: u32,
    /// Deliveries that wait.
    pub waiting: u64,
}

/// What a producer gets for an event.
#[derive(Deserialize)]
pub struct Receipt {
    /// The event's id.
    pub id: String,
    /// Whether it came before.
    pub duplicate: bool,
    /// How many subscriptions it goes to.
    pub subscriptions: u64,
}

impl Api {
    /// Of the server at `base`, such as `http://127.0.0.1:9000`.
    pub fn new(base: String, registration_token: String, trigger_token: String) -> anyhow::Result<Self> {
        let client = Client::new(ClientSettings::unguarded(TIMEOUT), Arc::new(SystemClock))?;
        Ok(Self { client, base, registration_token, trigger_token })
    }

    /// Whether the server can do its work.
    pub async fn is_ready(&self) -> bool {
        let answer = self.call(Method::GET, "/health/ready", None, None).await;
        answer.is_ok_and(|(status, _)| status == StatusCode::OK)
    }

    /// Registers an account; answers its access token.
    pub async fn register(&self, user_id: &str) -> anyhow::Result<String> {
        let account = json!({"user_id": user_id, "user_email": format!("{user_id}@example.org")});
        let account: Account = self
            .expect(StatusCode::CREATED, Method::POST, "/webhooks/account", &self.registration_token, Some(&account))
            .await?;
        Ok(account.access_token)
    }

    /// Subscribes a URL to a type of event.
    pub async fn subscribe(&self, token: &str, event: &str, url: &str) -> anyhow::Result<Subscription> {
        #[derive(Deserialize)]
        struct Created {
            id: String,
            secret: String,
        }
        let subscription = json!({"event": event, "url": url});
        let Created { id, secret } =
            self.expect(StatusCode::CREATED, Method::POST, "/webhooks/subscribe", token, Some(&subscription)).await?;
        Ok(Subscription { id, secret: SigningSecret::parse(&secret)? })
    }

    /// How a subscription fares.
    pub async fn health(&self, token: &str, id: &str) -> anyhow::Result<Health> {
        self.expect(StatusCode::OK, Method::GET, &format!("/webhooks/subscriptions/{id}"), token, None).await
    }

    /// Makes a subscription active again.
    pub async fn activate(&self, token: &str, id: &str) -> anyhow::Result<Health> {
        let change = json!({"is_active": true});
        let path = format!("/webhooks/subscriptions/{id}");
        self.expect(StatusCode::OK, Method::PATCH, &path, token, Some(&change)).await
    }

    /// Triggers an event for each payload: one by itself, or several in one request.
    pub async fn trigger(&self, event: &str, payloads: &[Value]) -> anyhow::Result<Vec<Receipt>> {
        let mut events: Vec<_> = payloads.iter().map(|payload| json!({"event": event, "payload": payload})).collect();
        let token = &self.trigger_token;
        if let [event] = &mut *events {
            let receipt =
                self.expect(StatusCode::ACCEPTED, Method::POST, "/webhooks/trigger", token, Some(event)).await?;
            return Ok(vec![receipt]);
        }
        let events = Value::Array(events);
        self.expect(StatusCode::ACCEPTED, Method::POST, "/webhooks/trigger", token, Some(&events)).await
    }

    async fn expect<T: DeserializeOwned>(
        &self,
        expected: StatusCode,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let what = format!("{method} {path}");
        let (status, answer) = self.call(method, path, Some(token), body).await.with_context(|| what.clone())?;
        ensure!(status == expected, "{what}: {status} instead of {expected}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).with_context(|| format!("{what}: not the answer that is documented"))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let (head, body) = self.client.exchange(request.body(body)?, ANSWER_MAX).await?.into_parts();
        Ok((head.status, body))
    }
}
