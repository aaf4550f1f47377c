//! `hookcast resend`.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hookcast_core::{
    clock::{Clock as _, SystemClock, Timestamp},
    delivery::Next,
    event::EventType,
    id::SubscriptionId,
};
use hookcast_delivery::{pass::Summary, service};
use hookcast_store::{
    Store,
    engine::{Outcome, Pass},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Global, PARTIAL, print};
use crate::{
    config::{self, Config},
    lifecycle,
};

/// Make one pass over the deliveries that are due; meant for cron
///
/// Every delivery is tried once. It runs beside a server too and never sends what the server is sending. The limits of subscriptions
/// hold, so that it takes as long as these let it. At its end it gives the notices that wait.
///
/// Exit codes: 0 every delivery succeeded, or there was none; 1 the pass itself failed; 2 some deliveries failed.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast resend                                    # what is due by now
  hookcast resend --all --event relation_added       # what waits for a later time, too
  hookcast resend --failed --since 2h                # once more what has failed for good")]
pub struct Args {
    /// Also what waits for a later time; every try counts as one of the schedule's
    #[arg(long)]
    all: bool,
    /// Also what has failed, its retries used up
    #[arg(long)]
    failed: bool,
    /// Only deliveries of this subscription
    #[arg(long, value_name = "ID")]
    subscription: Option<SubscriptionId>,
    /// Only events of this type
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
    /// Only events accepted at this time or later (RFC 3339), or so long ago at the most, such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    if let Some(duration) = config::parse_duration(text) {
        return Ok(SystemClock.now().minus(duration));
    }
    Timestamp::parse(text).ok_or_else(|| "must be a time such as 2026-01-31T12:00:00Z, or a duration such as 2h".into())
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let config = global.start_quietly(&[])?;
    let summary = lifecycle::with_existing_store(&config, async |store| make_pass(&config, store, &args).await).await?;
    report(summary, args.json)?;
    Ok(if summary.attempted == summary.delivered { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

async fn make_pass(config: &Config, store: &Arc<dyn Store>, args: &Args) -> anyhow::Result<Summary> {
    lifecycle::take_over_dead_servers(config, store).await?;
    let resources = lifecycle::resources(config, Arc::clone(store))?;
    let now = SystemClock.now();
    let pass = Pass {
        due_by: if args.all { None } else { Some(now) },
        failed: args.failed,
        event: args.event.clone(),
        since: args.since,
        after: None,
    };

    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let (tried, delivered) = (AtomicU64::new(0), AtomicU64::new(0));
    let shown = bar.clone();
    let progress = move |outcome: &Outcome| {
        let tried = tried.fetch_add(1, Ordering::Relaxed) + 1;
        let success = u64::from(outcome.verdict.next == Next::Delivered);
        let delivered = delivered.fetch_add(success, Ordering::Relaxed) + success;
        shown.set_message(format!("{tried} tried, {delivered} delivered"));
    };
    let settings = lifecycle::delivery_settings(config);
    let summary = service::run_pass(&resources, settings, pass, args.subscription, Arc::new(progress)).await?;
    bar.finish_and_clear();
    Ok(summary)
}

/// What became of the deliveries, for people or for programs.
fn report(summary: Summary, as_json: bool) -> anyhow::Result<()> {
    let Summary { attempted, delivered, retried, failed, deactivated, held_back } = summary;
    if as_json {
        return print(json!({
            "attempted": attempted, "delivered": delivered, "waiting": retried, "failed": failed,
            "deactivated": deactivated, "held_back": held_back
        }));
    }
    if attempted == 0 {
        print(if held_back == 0 { "nothing was due" } else { "nothing was sent" })?;
    } else {
        print(format_args!(
            "{attempted} tried: {delivered} delivered, {retried} wait for another try, {failed} failed for good"
        ))?;
    }
    if held_back > 0 {
        print(format_args!(
            "{held_back} subscriptions are held back, since they are paused or their account has had its events of the day"
        ))?;
    }
    if deactivated > 0 {
        print(format_args!("{deactivated} subscriptions were deactivated"))?;
    }
    Ok(())
}
