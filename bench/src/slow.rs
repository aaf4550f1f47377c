//! A receiver that takes a second to answer: whether it is served at its limit, and what a request in flight costs.

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    clock::now_ns,
    load::Plan,
    measure::per_second,
    memory::resident_bytes,
    message::EVENT,
    process,
    receiver::SLOW,
    report::thousands,
    scenario::{Target, Unit},
    server::TRIGGER_TOKEN,
    site::{Faults, Setting, Site},
    study::{Finding, Sizes},
};

/// How often as much is delivered as may be in flight, and over how many of these the rate is measured: the first wave takes a
/// while to begin, and the last ones are not full.
const WAVES: u64 = 8;
const MEASURED: u32 = 5;
const MEMORY: Target = Target::at_most(32.0);
/// Of the rate that so many in flight, each for a second, would make.
const SERVED: Target = Target { least: 0.9, goal: 0.95 };

/// Measures with as many requests in flight as `sizes` says, all of one subscription.
pub async fn study(site: &mut Site<'_>, sizes: &Sizes) -> Result<(Vec<Finding>, Faults)> {
    let in_flight = sizes.in_flight;
    let server = site.fresh(&settings(in_flight)).await?;
    let url = format!("http://{}/slow/0", site.receiver.address);
    server.account().await?.subscribe(vec![json!({"event": EVENT, "url": url})]).await?;
    let idle = resident_bytes(&server)?;

    let events = WAVES * in_flight;
    // Few connections: what is to be seen is the memory of callbacks, not that of triggers.
    let plan = Plan { batch: 100, connections: 4, ..Plan::of(events) };
    let load = process::load(server.address, TRIGGER_TOKEN, &plan);
    let (_, rate) = tokio::try_join!(load, rate(site))?;
    site.drained(events).await?;
    let peak = server.usage().context("this system does not tell what a process has used")?.peak_bytes;
    server.stop().await?;
    let limit = in_flight as f64 / SLOW.as_secs_f64();

    let of = format!("{} in flight, 1 s each", thousands(in_flight as f64));
    let findings = vec![
        Finding {
            name: format!("delivered, {of}, to {}/s", thousands(limit)),
            value: rate,
            unit: Unit::PerSecond,
            ratio: Some(rate / limit),
            target: Some(SERVED),
        },
        Finding {
            name: format!("memory for each of {of}"),
            value: peak.saturating_sub(idle) as f64 / 1024.0 / in_flight as f64,
            unit: Unit::Kibibytes,
            ratio: None,
            target: Some(MEMORY),
        },
    ];
    Ok((findings, Faults::of(site.receiver.stats().await?, events)))
}

/// Deliveries per second over some waves, from the middle between two of them to the middle between two others.
async fn rate(site: &mut Site<'_>) -> Result<f64> {
    sleep(SLOW * 3 / 2).await;
    let (before, from_ns) = (site.receiver.stats().await?.distinct, now_ns());
    sleep(SLOW * MEASURED).await;
    let (after, to_ns) = (site.receiver.stats().await?.distinct, now_ns());
    Ok(per_second(after - before, from_ns, to_ns))
}

/// One subscription alone gets a third of what the process may have in flight, as others may come at any time: with four times as
/// much it is bounded by its own limit and nothing else.
fn settings(in_flight: u64) -> [Setting; 2] {
    [
        ("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", (4 * in_flight).to_string()),
        ("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", in_flight.to_string()),
    ]
}
