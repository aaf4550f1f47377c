//! Whether a delivery costs more where there are many subscriptions, or a long history.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    cost::{compared, of_load},
    load::Plan,
    message,
    report::thousands,
    server::to_all,
    site::{Faults, Site},
    study::{Finding, Sizes},
};

const FAN_OUT: u64 = 10;
/// Events whose deliveries tell the cost.
const SAMPLE: u64 = 5000;
/// Events before that at the least, so that connections are open and memory is there; each subscription gets one.
const WARM_UP: u64 = 500;
/// Deliveries that are made and counted at a time: the receiver remembers each of them.
const CHUNK: u64 = 500_000;

/// Compares ten subscriptions with many, by event types that ten of them have in common each.
pub async fn subscriptions(site: &mut Site<'_>, sizes: &Sizes) -> Result<(Vec<Finding>, Faults)> {
    let many = sizes.subscriptions;
    let (cost_of_few, mut faults) = cost_with(site, FAN_OUT).await?;
    let (cost_of_many, found) = cost_with(site, many).await?;
    faults += found;
    let name = |number: u64| format!("CPU for 10,000, {} subscriptions", thousands(number as f64));
    let few = (name(FAN_OUT), cost_of_few);
    let many = (format!("{}, to the former", name(many)), cost_of_many);
    Ok((compared(few, many).into(), faults))
}

async fn cost_with(site: &mut Site<'_>, subscriptions: u64) -> Result<(f64, Faults)> {
    let types = (subscriptions / FAN_OUT).max(1);
    let server = site.fresh(&[]).await?;
    site.progress.set_message(format!("making {} subscriptions", thousands(subscriptions as f64)));
    let url = |number| format!("http://{}/s/{number}", site.receiver.address);
    let wish = |number| json!({"event": message::event(types, number), "url": url(number)});
    let wishes: Vec<Value> = (0..types * FAN_OUT).map(wish).collect();
    server.account().await?.subscribe(wishes).await?;

    let plan = |events| Plan { types, ..Plan::of(events) };
    let (_, mut faults) = of_load(site, &server, &plan(WARM_UP.max(types)), FAN_OUT).await?;
    let (cost, found) = of_load(site, &server, &plan(SAMPLE), FAN_OUT).await?;
    faults += found;
    server.stop().await?;
    Ok((cost, faults))
}

/// Compares an empty store with one that remembers many deliveries.
pub async fn history(site: &mut Site<'_>, sizes: &Sizes) -> Result<(Vec<Finding>, Faults)> {
    let server = site.fresh(&[]).await?;
    server.account().await?.subscribe(to_all(site.receiver.address, FAN_OUT)).await?;
    let (_, mut faults) = of_load(site, &server, &Plan::of(WARM_UP), FAN_OUT).await?;
    let (empty, found) = of_load(site, &server, &Plan::of(SAMPLE), FAN_OUT).await?;
    faults += found;

    let mut past = 0;
    while past < sizes.history {
        let events = CHUNK.min(sizes.history - past).div_ceil(FAN_OUT);
        let (_, found) = of_load(site, &server, &Plan { batch: 100, ..Plan::of(events) }, FAN_OUT).await?;
        faults += found;
        past += events * FAN_OUT;
    }
    let (full, found) = of_load(site, &server, &Plan::of(SAMPLE), FAN_OUT).await?;
    faults += found;
    server.stop().await?;
    let name = format!("CPU for 10,000 after {} deliveries, to the former", thousands(past as f64));
    Ok((compared(("CPU for 10,000, empty store".into(), empty), (name, full)).into(), faults))
}
