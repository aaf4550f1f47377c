//! One measurement: a fresh server, some load, and the wait until all of it has arrived.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::{
    load::{Accepted, Plan},
    server::to_all,
    site::{Faults, Site},
    tally::{Latency, Stats},
    usage::Usage,
};

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
    /// What went wrong.
    #[serde(flatten)]
    pub faults: Faults,
}

/// Measures how the server copes with `plan` on an empty store when each event has `fan_out` subscriptions.
pub async fn measure(site: &mut Site<'_>, plan: &Plan, fan_out: u64) -> Result<Measurement> {
    let server = site.fresh(&[]).await?;
    server.account().await?.subscribe(to_all(site.receiver.address, fan_out)).await?;
    let (before, database_before) = (server.usage(), site.database.cpu_seconds());

    let expected = plan.events * fan_out;
    let accepted = site.load(&server, plan, expected).await?;

    let (after, database_after) = (server.usage(), site.database.cpu_seconds());
    server.stop().await?;
    // Only now is it certain that nothing more will come.
    let stats = site.receiver.stats().await?;
    let latency = site.receiver.latency().await?;
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
        peak_mib: after.map(|usage| mib(usage.peak_bytes)),
        refused: accepted.refused,
        faults: Faults::of(stats, expected),
    })
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn delivered_per_second(stats: Stats, accepted: Accepted) -> f64 {
    per_second(stats.distinct, accepted.started_ns, stats.last_arrival_ns)
}

/// A rate.
pub fn per_second(count: u64, from_ns: u64, to_ns: u64) -> f64 {
    let seconds = Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
