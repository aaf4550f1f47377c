//! `hookcast store`: on whole stores, for operators.

mod keys;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use hookcast_core::clock::SystemClock;
use hookcast_store::{
    Store,
    transfer::{
        Section,
        copy::{self, Phase, Status},
    },
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Global, print};
use crate::{config::Config, lifecycle};

/// Copy a store to another one
///
/// Exit codes: 0 it is done; 1 it is not.
#[derive(clap::Subcommand)]
pub enum Command {
    Copy(CopyArgs),
    NewKey(keys::NewKeyArgs),
    Rekey(keys::RekeyArgs),
}

/// Copy everything from one store to another, of whatever kind, and compare the two
///
/// Accounts with their tokens, subscriptions, events, deliveries with their attempts and what waits, idempotency keys: all of it
/// keeps its ids. Stop the servers first, and start them on the target when it is done. A copy that was interrupted goes on when
/// the same command is run again; until it is whole, no server starts on the target. The source keeps everything. The file of
/// tokens beside an SQLite store is not a part of it: configure the tokens, or move the file by hand.
///
/// Exit codes: 0 everything is copied and both stores say the same; 1 it is not, and the target is no store to start with.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast store copy --from sqlite://data/hookcast.db --to sqlite:///srv/hookcast.db
  HOOKCAST_COPY_TO=postgres://me:PASSWORD@db/me hookcast store copy --from sqlite://hookcast.db")]
pub struct CopyArgs {
    /// The store to copy
    #[arg(long, value_name = "URL", env = "HOOKCAST_COPY_FROM", hide_env_values = true)]
    from: String,
    /// The store to fill: an empty one, or a copy of the same store that was interrupted
    #[arg(long, value_name = "URL", env = "HOOKCAST_COPY_TO", hide_env_values = true)]
    to: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Copy(args) => run_copy(global, args).await,
        Command::NewKey(keys::NewKeyArgs {}) => keys::new_key(),
        Command::Rekey(args) => keys::rekey(global, &args).await,
    }
}

async fn run_copy(global: &Global, args: CopyArgs) -> anyhow::Result<ExitCode> {
    let from = global.start_quietly(&[("database.url", Some(args.from), "--from")])?;
    let to = global.load(&[("database.url", Some(args.to), "--to")])?.config;
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.enable_steady_tick(Duration::from_millis(100));
    let copied = lifecycle::with_two_stores(&from, &to, async |source, target| copy(source, target, &bar).await).await;
    bar.finish_and_clear();
    report(&from, &to, &copied?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn copy(
    source: &Arc<dyn Store>,
    target: &Arc<dyn Store>,
    bar: &ProgressBar,
) -> anyhow::Result<BTreeMap<Section, u64>> {
    Ok(copy::copy(&**source, &**target, &SystemClock, |status| show(bar, status)).await?)
}

/// Shows where the copy is. How much there is to copy nobody knows before it is copied.
fn show(bar: &ProgressBar, status: Status) {
    let Status { phase, section, done, total } = status;
    let (verb, template) = match phase {
        Phase::Copying => ("copying", "{spinner} {msg}: {human_pos}"),
        Phase::Checking => ("checking", "{spinner} {msg}: {wide_bar} {percent} %"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(format!("{verb} {section}"));
    if let Some(total) = total {
        bar.set_length(total);
    }
    bar.set_position(done);
}

/// What was copied, for people or for programs.
fn report(from: &Config, to: &Config, copied: &BTreeMap<Section, u64>, as_json: bool) -> anyhow::Result<()> {
    let (from, to) = (from.database.url.to_string(), to.database.url.to_string());
    if as_json {
        return print(json!({"from": from, "to": to, "copied": copied, "digests_agree": true}));
    }
    print(format_args!("copied from {from} to {to}"))?;
    for (section, count) in copied {
        print(format_args!("{count:>12} {section}"))?;
    }
    print("the digests of both stores agree")
}
