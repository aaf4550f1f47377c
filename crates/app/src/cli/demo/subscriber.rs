//! Somebody who subscribes: an account, a subscription, and a receiver, which may fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::response::{IntoResponse as _, Response};
use hookcast_core::clock::SystemClock;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, timeout},
};

use super::api::{Api, Health};
use crate::receiver::{Key, Received, Receiver, Verdict, Verifier};

const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// A callback as the receiver got and answered it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The event's id, as the body has it; empty if it is no envelope.
    pub id: String,
    /// The event's payload.
    pub payload: Value,
    /// What its signature is worth.
    pub verdict: Verdict,
    /// When it was there.
    pub at: Instant,
    /// What was answered.
    pub status: StatusCode,
}

/// Somebody who subscribes.
pub struct Subscriber {
    token: String,
    subscription: String,
    failures_left: Arc<AtomicU64>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    _receiver: Receiver,
}

impl Subscriber {
    /// Registers `user_id` and subscribes a receiver that answers `500` to the first `failures` callbacks.
    pub async fn join(api: &Api, user_id: &str, event: &str, failures: u64) -> anyhow::Result<Self> {
        let token = api.register(user_id).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/{user_id}", listener.local_addr()?);
        let subscription = api.subscribe(&token, event, &url).await?;
        let failures_left = Arc::new(AtomicU64::new(failures));
        let (sender, arrivals) = mpsc::unbounded_channel();
        let handler = {
            let failures_left = Arc::clone(&failures_left);
            move |received| std::future::ready(answer(&received, &failures_left, &sender))
        };
        let verifier = Verifier::new([Key::from(&subscription.secret)]);
        let receiver = Receiver::start(listener, verifier, Arc::new(SystemClock), handler)?;
        Ok(Self { token, subscription: subscription.id, failures_left, arrivals, _receiver: receiver })
    }

    /// The next callback.
    pub async fn next(&mut self) -> anyhow::Result<Arrival> {
        let arrival = timeout(ARRIVES_WITHIN, self.arrivals.recv()).await;
        arrival
            .with_context(|| format!("no callback came within {ARRIVES_WITHIN:?}"))?
            .context("the receiver has stopped")
    }

    /// A callback that is there already.
    pub fn next_now(&mut self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }

    /// Fails no more.
    pub fn mend(&self) {
        self.failures_left.store(0, Ordering::Relaxed);
    }

    /// How the subscription fares.
    pub async fn health(&self, api: &Api) -> anyhow::Result<Health> {
        api.health(&self.token, &self.subscription).await
    }

    /// Makes the subscription active again.
    pub async fn activate(&self, api: &Api) -> anyhow::Result<Health> {
        api.activate(&self.token, &self.subscription).await
    }
}

fn answer(received: &Received, failures_left: &AtomicU64, arrivals: &mpsc::UnboundedSender<Arrival>) -> Response {
    #[derive(Default, Deserialize)]
    struct Envelope {
        id: String,
        payload: Value,
    }
    let fails = failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let Envelope { id, payload } = serde_json::from_slice(&received.body).unwrap_or_default();
    let arrival = Arrival { id, payload, verdict: received.verdict, at: received.instant, status };
    // Nobody waits for it once the demo is over.
    let _ = arrivals.send(arrival);
    status.into_response()
}
