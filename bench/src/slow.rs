//! A receiver that takes a second to answer: whether it is served at its limit, and what a request in flight costs.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    load::Plan,
    measure::per_second,
    memory::resident_bytes,
    message::EVENT,
    receiver::SLOW,
    report::thousands,
    scenario::{Target, Unit},
    site::{Faults, Setting, Site},
    study::{Finding, Sizes},
};

/// How often as much is delivered as may be in flight: the first time takes a while to begin, which is a part of the whole.
const WAVES: u64 = 6;
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
    let accepted = site.load(&server, &Plan { batch: 100, ..Plan::of(events) }, events).await?;
    let peak = server.usage().context("this system does not tell what a process has used")?.peak_bytes;
    server.stop().await?;
    let stats = site.receiver.stats().await?;
    let rate = per_second(stats.distinct, accepted.started_ns, stats.last_arrival_ns);
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
    Ok((findings, Faults::of(stats, events)))
}

fn settings(in_flight: u64) -> [Setting; 2] {
    [
        ("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", in_flight.to_string()),
        ("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_SUBSCRIPTION", in_flight.to_string()),
    ]
}
