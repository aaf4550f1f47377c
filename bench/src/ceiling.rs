//! What the parts of the benchmark could do by themselves, so that one can see that none of them holds the server back.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    load::Plan,
    measure::per_second,
    process::{self, Receiver},
    usage::Usage,
};

/// The most that each part could do, per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ceilings {
    /// Events, one in a request, that the load generator triggers at a server that does nothing.
    pub generator: f64,
    /// Callbacks that the receiver would take if it had a processor of its own all the time: so many it takes in a second of
    /// processor time.
    pub receiver: f64,
}

impl Ceilings {
    /// Measures both against each other, with `events` triggered and callbacks for `duration`.
    pub async fn measure(receiver: &mut Receiver, events: u64, duration: Duration) -> Result<Self> {
        // The receiver answers triggers as well, and does nothing about them.
        let triggered = process::load(receiver.address, "no token", &Plan::of(events)).await?;
        let before = cpu_seconds(receiver)?;
        let requests = receiver.limit(duration).await?.requests;
        let used = cpu_seconds(receiver)? - before;
        Ok(Self {
            generator: per_second(events, triggered.started_ns, triggered.finished_ns),
            receiver: requests as f64 / used.max(f64::MIN_POSITIVE),
        })
    }
}

fn cpu_seconds(receiver: &Receiver) -> Result<f64> {
    let usage = Usage::of(receiver.pid).context("this system does not tell what a process has used")?;
    Ok(usage.cpu_seconds)
}
