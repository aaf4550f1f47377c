//! What deliveries that wait cost: memory, the time of a restart, and whether each costs more the more there are.
//!
//! They wait because their subscriptions are inactive. A callback that fails would do it as well, but then the breaker and the
//! recovery of the subscription would pace what follows: after `PATCH {"is_active":true}` what waits goes out at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use crate::{
    cost::{compared, cpu_seconds},
    load::Plan,
    measure::mib,
    memory::{self, resident_bytes},
    process,
    report::thousands,
    scenario::{Target, Unit},
    server::{Account, Server, TRIGGER_TOKEN, to_all},
    site::{Faults, Site},
    study::{Finding, Sizes},
};

const FAN_OUT: u64 = 10;
const BATCH: u64 = 100;
/// So many deliveries are drained at the least to tell what one costs: a tick of the processor's clock is 10 ms.
const SAMPLE: u64 = 20_000;
const MEMORY: Target = Target::at_most(80.0);
const RESTART: Target = Target::at_most(1.0);
const POLL: Duration = Duration::from_millis(25);

/// What was found with the most that waits.
struct Large {
    resident_mib: f64,
    restart_seconds: f64,
    /// For 10,000 deliveries.
    cpu_seconds: f64,
}

/// Drains each of the sizes, the largest after a restart; `costs` gets each of them and what 10,000 of its deliveries cost.
pub async fn study(site: &mut Site<'_>, sizes: &Sizes, costs: &mut Vec<(f64, f64)>) -> Result<(Vec<Finding>, Faults)> {
    let mut faults = Faults::default();
    for &waiting in sizes.fewer_waiting {
        let (cost, found) = small(site, waiting).await?;
        costs.push((waiting as f64, cost));
        faults += found;
    }
    let (large, found) = large(site, sizes.waiting, sizes.drained).await?;
    costs.push((sizes.waiting as f64, large.cpu_seconds));
    faults += found;
    Ok((findings(&large, costs), faults))
}

/// `costs` begins with the fewest that waited and ends with the most.
fn findings(large: &Large, costs: &[(f64, f64)]) -> Vec<Finding> {
    let (Some(&few), Some(&most)) = (costs.first(), costs.last()) else { return Vec::new() };
    let waiting = thousands(most.0);
    let restart = Finding {
        name: format!("restart with {waiting} waiting: until the first"),
        value: large.restart_seconds,
        unit: Unit::Seconds,
        ratio: None,
        target: Some(RESTART),
    };
    let name = |waiting| format!("CPU for 10,000 out of {} waiting", thousands(waiting));
    let [few, many] = compared((name(few.0), few.1), (format!("{}, to the former", name(most.0)), most.1));
    vec![memory::line(format!("memory with {waiting} waiting"), large.resident_mib, MEMORY), restart, few, many]
}

/// What 10,000 deliveries cost where never more than `waiting` wait: again and again, as they are so few.
async fn small(site: &mut Site<'_>, waiting: u64) -> Result<(f64, Faults)> {
    let server = site.fresh(&[]).await?;
    let account = server.account().await?;
    let ids = account.subscribe(to_all(site.receiver.address, FAN_OUT)).await?;
    // The first deliveries of a server open its connections, as those after a restart do, which are not counted either.
    let rounds = SAMPLE.div_ceil(waiting);
    let (mut used, mut expected) = (0.0, 0);
    for round in 0..=rounds {
        account.switch(&ids, false).await?;
        expected += fill(&server, waiting).await?;
        let before = cpu_seconds(site, &server)?;
        account.switch(&ids, true).await?;
        site.drained(expected).await?;
        if round > 0 {
            used += cpu_seconds(site, &server)? - before;
        }
    }
    let switching = switching(site, &server, &account, &ids, rounds).await?;
    server.stop().await?;
    let faults = Faults::of(site.receiver.stats().await?, expected);
    Ok(((used - switching) * 10_000.0 / (rounds * waiting) as f64, faults))
}

/// What it costs to make the subscriptions active, which is as much for few deliveries as for many.
async fn switching(site: &Site<'_>, server: &Server, account: &Account, ids: &[String], rounds: u64) -> Result<f64> {
    let mut used = 0.0;
    for _ in 0..rounds {
        account.switch(ids, false).await?;
        let before = cpu_seconds(site, server)?;
        account.switch(ids, true).await?;
        used += cpu_seconds(site, server)? - before;
    }
    Ok(used)
}

async fn large(site: &mut Site<'_>, waiting: u64, most_drained: u64) -> Result<(Large, Faults)> {
    site.receiver.reset().await?;
    let url = site.database.renew()?;
    let server = site.start(&url, &[]).await?;
    let account = server.account().await?;
    let ids = account.subscribe(to_all(site.receiver.address, FAN_OUT)).await?;
    account.switch(&ids, false).await?;
    site.progress.set_message(format!("storing {}", thousands(waiting as f64)));
    let expected = fill(&server, waiting).await?;
    let resident_mib = mib(resident_bytes(&server)?);
    account.switch(&ids, true).await?;
    server.stop().await?;

    let gone = site.receiver.stats().await?.distinct;
    ensure!(gone * 10 < expected, "{gone} of {expected} were delivered before the restart that they should wait for");
    site.receiver.mark().await?;
    let server = site.start(&url, &[]).await?;
    let first_ns = first_after_mark(site).await?;
    let (before, begun) = (cpu_seconds(site, &server)?, site.receiver.stats().await?.distinct);
    site.drained(expected.min(begun.saturating_add(most_drained))).await?;
    let (after, ended) = (cpu_seconds(site, &server)?, site.receiver.stats().await?.distinct);
    let restart_seconds = Duration::from_nanos(first_ns.saturating_sub(server.started_ns)).as_secs_f64();
    server.stop().await?;

    let stats = site.receiver.stats().await?;
    // Where the drain was cut short the rest still waits, and is not lost.
    let is_cut = ended < expected && ended >= begun.saturating_add(most_drained);
    let faults = Faults::of(stats, if is_cut { stats.distinct } else { expected });
    let cpu_seconds = (after - before) * 10_000.0 / (ended - begun).max(1) as f64;
    Ok((Large { resident_mib, restart_seconds, cpu_seconds }, faults))
}

/// Triggers events for `waiting` deliveries, or a few more; how many there are.
async fn fill(server: &Server, waiting: u64) -> Result<u64> {
    let events = waiting.div_ceil(FAN_OUT);
    process::load(server.address, TRIGGER_TOKEN, &Plan { batch: BATCH, ..Plan::of(events) }).await?;
    Ok(events * FAN_OUT)
}

async fn first_after_mark(site: &mut Site<'_>) -> Result<u64> {
    let wait = async {
        loop {
            match site.receiver.stats().await?.first_after_mark_ns {
                Some(first) => return Ok(first),
                None => sleep(POLL).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.context("nothing is delivered after a restart")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_are_compared_with_the_fewest() {
        let large = Large { resident_mib: 50.0, restart_seconds: 0.5, cpu_seconds: 0.6 };
        let found = findings(&large, &[(1000.0, 0.5), (30_000.0, 0.1), (1_000_000.0, 0.6)]);
        let told: Vec<_> = found.iter().map(|finding| (finding.name.as_str(), finding.judged().0)).collect();
        let expected = [
            ("memory with 1,000,000 waiting", 50.0),
            ("restart with 1,000,000 waiting: until the first", 0.5),
            ("CPU for 10,000 out of 1,000 waiting", 0.5),
            ("CPU for 10,000 out of 1,000,000 waiting, to the former", 1.2),
        ];
        assert_eq!(told, expected);
    }
}
