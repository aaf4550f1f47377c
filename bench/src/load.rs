//! The load generator: triggers events, as fast as the server takes them or at a given rate.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use crate::{
    clock::now_ns,
    connection::{Connection, bearer, describe, post_json},
    message,
};

/// Where events are triggered.
pub const TRIGGER: &str = "/webhooks/trigger";
/// Connections to the server where nobody says otherwise.
pub const CONNECTIONS: usize = 64;

/// What to send, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// How many events to trigger.
    #[arg(long)]
    pub events: u64,
    /// Events in one request.
    #[arg(long, default_value_t = 1)]
    pub batch: u64,
    /// Requests per second; as many as the server takes when absent.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Connections to the server.
    #[arg(long, default_value_t = CONNECTIONS)]
    pub connections: usize,
    /// The type of all events [default: the one that is subscribed to].
    #[arg(long, conflicts_with = "types")]
    pub event: Option<String>,
    /// Events of so many types, in turns.
    #[arg(long, default_value_t = 1)]
    pub types: u64,
}

impl Plan {
    fn event(&self, sequence: u64) -> Cow<'_, str> {
        self.event.as_deref().map_or_else(|| message::event(self.types, sequence), Cow::from)
    }

    /// To trigger `events`, one in a request and as fast as the server takes them.
    pub fn of(events: u64) -> Self {
        Self { events, batch: 1, rate: None, connections: CONNECTIONS, event: None, types: 1 }
    }
}

/// What became of it. All events of the plan were accepted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// When the first request was sent.
    pub started_ns: u64,
    /// When the last answer came.
    pub finished_ns: u64,
    /// How many requests were refused with `503` and sent again.
    pub refused: u64,
}

/// Carries out `plan` against the server.
pub async fn run(server: SocketAddr, token: &str, plan: &Plan) -> Result<Accepted> {
    let token = bearer(token)?;
    let connections = Connection::open_many(server, plan.connections).await?;
    let work = Arc::new(Work::new(plan));
    let started_ns = now_ns();
    let mut senders = JoinSet::new();
    for connection in connections {
        senders.spawn(send_all(connection, token.clone(), Arc::clone(&work)));
    }
    let mut refused = 0;
    while let Some(done) = senders.join_next().await {
        refused += done??;
    }
    Ok(Accepted { started_ns, finished_ns: now_ns(), refused })
}

/// Hands out the events to the connections.
struct Work {
    next: AtomicU64,
    plan: Plan,
    pace: Option<Mutex<mpsc::UnboundedReceiver<u64>>>,
}

impl Work {
    fn new(plan: &Plan) -> Self {
        let requests = plan.events.div_ceil(plan.batch);
        let pace = plan.rate.map(|rate| Mutex::new(pace(requests, rate)));
        Self { next: AtomicU64::new(0), plan: plan.clone(), pace }
    }

    /// The first event of the next request, how many there are in it, and when its time came.
    async fn next(&self) -> Option<(u64, u64, u64)> {
        let sent_ns = match &self.pace {
            Some(pace) => pace.lock().await.recv().await?,
            None => now_ns(),
        };
        let first = self.next.fetch_add(self.plan.batch, Ordering::Relaxed);
        let events = self.plan.batch.min(self.plan.events.saturating_sub(first));
        (events > 0).then_some((first, events, sent_ns))
    }
}

/// Tells when it is time for a request, whether or not the earlier ones were answered: a request that has to wait for a
/// connection is late from its user's point of view, too.
///
/// A thread, as the runtime's timer counts in whole milliseconds, which is as much as is to be measured.
fn pace(requests: u64, rate: f64) -> mpsc::UnboundedReceiver<u64> {
    let (due, pace) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let start = Instant::now();
        for request in 0..requests {
            let moment = start + Duration::from_secs_f64(request as f64 / rate);
            std::thread::sleep(moment.saturating_duration_since(Instant::now()));
            if due.send(now_ns()).is_err() {
                return;
            }
        }
    });
    pace
}

async fn send_all(mut connection: Connection, token: HeaderValue, work: Arc<Work>) -> Result<u64> {
    let mut refused = 0;
    while let Some((first, events, sent_ns)) = work.next().await {
        let body = message::trigger(first, events, sent_ns, |sequence| work.plan.event(sequence));
        loop {
            let response = connection.send(post_json(TRIGGER, &token, body.clone())?).await?;
            match response.status() {
                StatusCode::ACCEPTED => break expect_events(&response, events)?,
                StatusCode::SERVICE_UNAVAILABLE => {
                    refused += 1;
                    tokio::time::sleep(retry_after(&response)?).await;
                }
                _ => bail!("the server answered {}", describe(&response)),
            }
        }
    }
    Ok(refused)
}

/// Whether the answer to a batch tells of all of its events.
fn expect_events(response: &Response<Bytes>, events: u64) -> Result<()> {
    if events > 1 {
        let accepted: Vec<IgnoredAny> = serde_json::from_slice(response.body()).context("the answer is no array")?;
        ensure!(accepted.len() as u64 == events, "the server accepted {} of {events} events", accepted.len());
    }
    Ok(())
}

fn retry_after(response: &Response<Bytes>) -> Result<Duration> {
    let value = response.headers().get(RETRY_AFTER).context("a 503 without Retry-After")?;
    let seconds = value.to_str()?.parse().context("Retry-After is no number of seconds")?;
    Ok(Duration::from_secs(seconds))
}
