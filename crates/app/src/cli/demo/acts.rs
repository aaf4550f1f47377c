//! The three acts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    act::Act,
    api::{Api, Health},
    screen::Screen,
    server::{LONGEST_DELAY, MAX_FAILURES},
};

/// Links between papers, software and data, in the form that citation services exchange.
const LINKS: &str = include_str!("../../../fixtures/scholix-links.json");

/// So many links are posted one by one, the rest in one request.
const ONE_BY_ONE: usize = 20;

/// The failures of the act where a retry helps.
const STUMBLES: u64 = 2;

const DEACTIVATED_WITHIN: Duration = Duration::from_secs(10);

/// The links to trigger.
pub fn links() -> anyhow::Result<Vec<Value>> {
    serde_json::from_str(LINKS).context("the links cannot be read")
}

/// How many callbacks there are in all.
pub fn callbacks(links: &[Value]) -> u64 {
    let links = u64::try_from(links.len()).unwrap_or(u64::MAX);
    links.saturating_add(STUMBLES + 1).saturating_add(u64::from(MAX_FAILURES) + 3)
}

/// Every link arrives once, signed.
pub async fn citations<'a>(stage: (&'a Api, &'a Screen), links: &[Value]) -> anyhow::Result<Act<'a>> {
    let (single, rest) = links.split_at(ONE_BY_ONE.min(links.len()));
    let (_, screen) = stage;
    screen.title(&format!(
        "Act one: {} citations reach a subscriber, {} posted one by one and {} in one request",
        links.len(),
        single.len(),
        rest.len()
    ))?;
    let mut act = Act::begin(stage, "citations", "citation-index", "relation_added", 0).await?;
    screen.step("posting one by one")?;
    for link in single {
        act.trigger(std::slice::from_ref(link)).await?;
        act.receive(1).await?;
    }
    screen.step("posting the rest in one request")?;
    act.trigger(rest).await?;
    act.receive(rest.len()).await?;
    Ok(act)
}

/// A receiver stumbles, and a retry helps.
pub async fn stumbling<'a>(stage: (&'a Api, &'a Screen), links: &[Value]) -> anyhow::Result<Act<'a>> {
    let (_, screen) = stage;
    screen.title(&format!("Act two: a receiver fails {STUMBLES} times before it works"))?;
    let mut act = Act::begin(stage, "stumbling", "stumbling-index", "relation_updated", STUMBLES).await?;
    act.trigger(links.get(..1).context("there are no links")?).await?;
    screen.step("waiting for the retries")?;
    act.receive(3).await?;
    Ok(act)
}

/// A receiver is down until its subscription is made inactive. Once it is mended, nothing is lost.
pub async fn outage<'a>(stage: (&'a Api, &'a Screen), links: &[Value]) -> anyhow::Result<Act<'a>> {
    let (api, screen) = stage;
    let (first, more) = links.get(..3).context("there are too few links")?.split_at(1);
    screen.title("Act three: a receiver is down for long, and nothing is lost")?;
    let mut act = Act::begin(stage, "outage", "sleeping-index", "relation_removed", u64::from(MAX_FAILURES)).await?;
    act.trigger(first).await?;
    screen.step("waiting until it is given up")?;
    act.receive(usize::try_from(MAX_FAILURES)?).await?;
    let Health { failure_count, .. } = deactivated(&act, api).await?;
    ensure!(failure_count == MAX_FAILURES, "the subscription has {failure_count} failures and not {MAX_FAILURES}");
    screen.line(&format!("  After {failure_count} failures in a row the subscription is inactive."))?;

    screen.step("triggering more")?;
    act.trigger(more).await?;
    // Longer than any retry would have taken.
    sleep(LONGEST_DELAY + Duration::from_millis(250)).await;
    let arrived = act.receive_unexpected();
    ensure!(arrived == 0, "{arrived} callbacks came although the subscription was inactive");
    let Health { waiting, .. } = act.subscriber().health(api).await?;
    ensure!(waiting == 3, "{waiting} deliveries wait, and not 3");
    screen
        .line(&format!("  {} more events were triggered; nothing is sent, {waiting} deliveries wait.", more.len()))?;

    act.subscriber().mend();
    let Health { is_active, failure_count, .. } = act.subscriber().activate(api).await?;
    ensure!(is_active && failure_count == 0, "the subscription is not as good as new");
    screen.line("  The receiver is mended and the subscription active again:")?;
    screen.step("waiting for what was held back")?;
    act.receive(3).await?;
    Ok(act)
}

async fn deactivated(act: &Act<'_>, api: &Api) -> anyhow::Result<Health> {
    let deadline = Instant::now() + DEACTIVATED_WITHIN;
    loop {
        let health = act.subscriber().health(api).await?;
        if !health.is_active {
            return Ok(health);
        }
        ensure!(Instant::now() < deadline, "the subscription was still active after {DEACTIVATED_WITHIN:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
