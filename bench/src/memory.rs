//! How much memory a server takes that has nothing to do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use crate::{
    measure::mib,
    scenario::{Target, Unit},
    server::Server,
    site::{Faults, Site},
    study::Finding,
};

const IDLE: Target = Target::at_most(20.0);
/// What a start leaves to do has then been done.
const SETTLED: Duration = Duration::from_secs(2);

/// Looks at a new server on an empty store.
pub async fn idle(site: &mut Site<'_>) -> Result<(Vec<Finding>, Faults)> {
    let server = site.fresh(&[]).await?;
    sleep(SETTLED).await;
    let resident = mib(resident_bytes(&server)?);
    server.stop().await?;
    Ok((vec![line("memory, idle".into(), resident, IDLE)], Faults::default()))
}

/// A line of the table about memory in MiB.
pub fn line(name: String, mebibytes: f64, target: Target) -> Finding {
    Finding { name, value: mebibytes, unit: Unit::Mebibytes, ratio: None, target: Some(target) }
}

/// The memory of `server` that is resident now.
pub fn resident_bytes(server: &Server) -> Result<u64> {
    Ok(server.usage().context("this system does not tell what a process has used")?.resident_bytes)
}
