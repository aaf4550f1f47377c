//! What deliveries cost: processor time of the server and of its database together.

use anyhow::{Context as _, Result};

use crate::{
    load::Plan,
    scenario::{Target, Unit},
    server::Server,
    site::{Faults, Site},
    study::Finding,
};

/// How much more a delivery may cost where there is much of something.
const GROWTH: Target = Target::at_most(1.3);

/// Processor time that `server` and its database have used so far, in seconds.
pub fn cpu_seconds(site: &Site<'_>, server: &Server) -> Result<f64> {
    let usage = server.usage().context("this system does not tell what a process has used")?;
    Ok(usage.cpu_seconds + site.database.cpu_seconds().unwrap_or(0.0))
}

/// Processor seconds for 10,000 deliveries of `plan`, whose events have `fan_out` each.
pub async fn of_load(site: &mut Site<'_>, server: &Server, plan: &Plan, fan_out: u64) -> Result<(f64, Faults)> {
    site.receiver.reset().await?;
    let before = cpu_seconds(site, server)?;
    let expected = plan.events * fan_out;
    site.load(server, plan, expected).await?;
    let after = cpu_seconds(site, server)?;
    let faults = Faults::of(site.receiver.stats().await?, expected);
    Ok(((after - before) * 10_000.0 / expected as f64, faults))
}

/// A line that tells what 10,000 deliveries cost, and one for where there is much, compared with it.
pub fn compared(few: (String, f64), many: (String, f64)) -> [Finding; 2] {
    let finding = |(name, value), ratio, target| Finding { name, value, unit: Unit::Seconds, ratio, target };
    let ratio = many.1 / few.1;
    [finding(few, None, None), finding(many, Some(ratio), Some(GROWTH))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_line_is_judged_by_its_ratio() {
        let [few, many] = compared(("few".into(), 0.5), ("many".into(), 0.6));
        assert_eq!((few.ratio, few.target), (None, None));
        assert_eq!(many.judged(), (1.2, Unit::Times));
        assert_eq!(many.target, Some(GROWTH));
    }
}
