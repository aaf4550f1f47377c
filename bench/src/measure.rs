//! One measurement: a fresh server, some load, and the wait until all of it has arrived.

use std::{path::Path, time::Duration};

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    database::Database,
    load::{Accepted, Plan},
    process::{self, Receiver},
    server::{Server, TRIGGER_TOKEN},
    tally::{Latency, Stats},
    usage::Usage,
};

/// How long nothing may arrive before the rest is given up: longer than the pause before a first retry.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(25);

/// What a measurement has found.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Events that were accepted per second.
    pub accepted_per_second: f64,
    /// Deliveries per second, from the first trigger to the last arrival.
    pub delivered_per_second: f64,
    /// From trigger to callback.
    pub latency: Latency,
    /// Processor time of the server per 10,000 deliveries, or per 10,000 events where nothing is delivered.
    pub cpu_seconds: Option<f64>,
    /// Processor time of the database server, likewise; none where there is no such server.
    pub database_cpu_seconds: Option<f64>,
    /// The most memory that the server took.
    pub peak_mib: Option<f64>,
    /// Requests that were refused with `503` and sent again.
    pub refused: u64,
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Deliveries that arrived more than once, or that nobody asked for.
    pub surplus: u64,
}

impl Measurement {
    /// Whether everything arrived, and once.
    pub fn is_valid(&self) -> bool {
        self.lost == 0 && self.surplus == 0
    }
}

/// Measures how `binary` copes with `plan` on an empty `database` when each event has `fan_out` subscriptions.
pub async fn measure(
    binary: &Path,
    database: &Database,
    out: &Path,
    receiver: &mut Receiver,
    plan: &Plan,
    fan_out: u64,
    progress: &ProgressBar,
) -> Result<Measurement> {
    receiver.reset().await?;
    let server = Server::start(binary, &database.renew()?, out).await?;
    server.subscribe(receiver.address, fan_out).await?;
    let (before, database_before) = (server.usage(), database.cpu_seconds());

    let expected = plan.events * fan_out;
    let load = process::load(server.address, TRIGGER_TOKEN, plan);
    let (accepted, ()) = tokio::try_join!(load, drained(receiver, expected, progress))?;
    // A server that refused the load for long may have worn out the first wait's patience.
    drained(receiver, expected, progress).await?;

    let (after, database_after) = (server.usage(), database.cpu_seconds());
    server.stop().await?;
    // Only now is it certain that nothing more will come.
    let stats = receiver.stats().await?;
    let latency = receiver.latency().await?;
    let cpu_of = |usage: Option<Usage>| usage.map(|usage| usage.cpu_seconds);
    let per_10_000 = |before: Option<f64>, after: Option<f64>| {
        let deliveries = expected.max(plan.events) as f64;
        Some((after? - before?) * 10_000.0 / deliveries)
    };
    Ok(Measurement {
        accepted_per_second: per_second(plan.events, accepted.started_ns, accepted.finished_ns),
        delivered_per_second: delivered_per_second(stats, accepted),
        latency,
        cpu_seconds: per_10_000(cpu_of(before), cpu_of(after)),
        database_cpu_seconds: per_10_000(database_before, database_after),
        peak_mib: after.map(|usage| usage.peak_bytes as f64 / f64::from(1 << 20)),
        refused: accepted.refused,
        lost: expected.saturating_sub(stats.distinct),
        surplus: stats.total.saturating_sub(expected.min(stats.distinct)),
    })
}

/// Waits until `expected` deliveries have arrived, or nothing arrives any more.
async fn drained(receiver: &mut Receiver, expected: u64, progress: &ProgressBar) -> Result<()> {
    let mut arrived = 0;
    let mut deadline = Instant::now() + PATIENCE;
    while arrived < expected && Instant::now() < deadline {
        sleep(POLL).await;
        let now_arrived = receiver.stats().await?.distinct;
        if now_arrived > arrived {
            arrived = now_arrived;
            deadline = Instant::now() + PATIENCE;
        }
        progress.set_message(format!("{arrived} of {expected} delivered"));
    }
    Ok(())
}

fn delivered_per_second(stats: Stats, accepted: Accepted) -> f64 {
    per_second(stats.distinct, accepted.started_ns, stats.last_arrival_ns)
}

fn per_second(count: u64, from_ns: u64, to_ns: u64) -> f64 {
    let seconds = Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
