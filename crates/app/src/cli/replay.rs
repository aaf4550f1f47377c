//! `hookcast replay`: past events to a subscription once more.

use std::{process::ExitCode, time::Duration};

use hookcast_core::clock::Timestamp;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::{
    Global, PARTIAL,
    remote::{self, Remote, Token},
    resend::since,
};

/// Send past events to a subscription once more, or for the first time
///
/// A replay is a job on the server, which goes on whatever becomes of this command. Events go out under their first ids and times, in
/// their order, as the subscription's types and filter are now. Takes an account's access token, as `hookcast subscription` does.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast replay start sub_... --since 2h --preview
  hookcast replay start sub_... --since 2026-11-01T12:00:00Z --event 'relation_*' --rate 20 --wait
  hookcast replay pause sub_... rpl_...")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Begin a replay, or count what it would send
    Start {
        /// The subscription's id
        subscription: String,
        /// Events since this time, such as 2026-11-01T12:00:00Z, or how long ago, such as 2h
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Timestamp,
        /// Events before this time
        #[arg(long, value_name = "TIME", value_parser = since)]
        until: Option<Timestamp>,
        /// Only those of these types: types or patterns, such as 'relation_*,object_updated'
        #[arg(long, value_name = "TYPES")]
        event: Option<String>,
        /// Only those that this JSONPath query selects, beside the subscription's own filter
        #[arg(long, value_name = "JSONPATH")]
        filter: Option<String>,
        /// At most so many events in a second; 100 by default
        #[arg(long, value_name = "COUNT")]
        rate: Option<u32>,
        /// Only count what it would send
        #[arg(long, conflicts_with = "wait")]
        preview: bool,
        /// Wait for its end
        #[arg(long)]
        wait: bool,
    },
    /// List a subscription's replays
    List {
        /// The subscription's id
        subscription: String,
    },
    /// Show a replay
    Show(Which),
    /// Wait for a replay's end
    Wait(Which),
    /// Let a replay rest
    Pause(Which),
    /// Let a paused replay go on
    Resume(Which),
    /// End a replay; what it has sent stays
    Cancel(Which),
}

#[derive(clap::Args)]
struct Which {
    /// The subscription's id
    subscription: String,
    /// The replay's id
    replay: String,
}

impl Which {
    fn path(&self) -> String {
        format!("{}/{}", path_of(&self.subscription), super::segment(&self.replay))
    }
}

fn path_of(subscription: &str) -> String {
    format!("/webhooks/subscriptions/{}/replays", super::segment(subscription))
}

const COLUMNS: [(&str, &str); 6] = [
    ("replay", "/id"),
    ("state", "/state"),
    ("since", "/since"),
    ("until", "/until"),
    ("reached", "/reached"),
    ("sent", "/replayed"),
];

/// How often it is asked how far a replay is.
const ASK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Access)?;
    let as_json = args.remote.json;
    let set = async |which: Which, state: &str| {
        let changed = remote.ask(Method::PATCH, &which.path(), Some(&json!({"state": state}))).await?;
        remote::tell(&changed, as_json, remote::members)
    };
    match args.command {
        Command::Start { subscription, since, until, event, filter, rate, preview, wait: is_waited_for } => {
            let mut wish = Map::from_iter([("since".to_owned(), json!(since)), ("preview".to_owned(), json!(preview))]);
            let more =
                [("until", json!(until)), ("event", json!(event)), ("filter", json!(filter)), ("rate", json!(rate))];
            wish.extend(
                more.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)),
            );
            let made = remote.ask(Method::POST, &path_of(&subscription), Some(&wish.into())).await?;
            if is_waited_for {
                let replay = remote::shown(&made, "/id");
                return wait(&remote, &Which { subscription, replay }, as_json).await;
            }
            remote::tell(&made, as_json, remote::members)
        }
        Command::List { subscription } => {
            let replays = remote.list(&path_of(&subscription), usize::MAX).await?;
            remote::tell_all(&replays, as_json, &COLUMNS)
        }
        Command::Show(which) => remote::tell(&remote.get(&which.path()).await?, as_json, remote::members),
        Command::Wait(which) => wait(&remote, &which, as_json).await,
        Command::Pause(which) => set(which, "paused").await,
        Command::Resume(which) => set(which, "running").await,
        Command::Cancel(which) => set(which, "cancelled").await,
    }
}

/// Shows how far a replay is until it has ended or is paused.
async fn wait(remote: &Remote, which: &Which, as_json: bool) -> anyhow::Result<ExitCode> {
    let bar = ProgressBar::new(1_000).with_style(ProgressStyle::with_template("{bar:40} {msg}")?);
    loop {
        let replay = remote.get(&which.path()).await?;
        let count = |pointer| remote::shown(&replay, pointer);
        bar.set_position(part(&replay));
        bar.set_message(format!("{} events looked at, {} go out", count("/looked_at"), count("/replayed")));
        match replay["state"].as_str() {
            Some("running") => tokio::time::sleep(ASK_EVERY).await,
            state => {
                bar.finish_and_clear();
                let is_done = state == Some("done");
                remote::tell(&replay, as_json, remote::members)?;
                return Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) });
            }
        }
    }
}

/// How far it has come in its range, in thousandths.
fn part(replay: &Value) -> u64 {
    let time = |name: &str| replay[name].as_str().and_then(Timestamp::parse).map(Timestamp::as_millis);
    match (time("since"), time("reached"), time("until")) {
        (Some(since), Some(reached), Some(until)) if until > since => {
            u64::try_from((reached - since).max(0) * 1_000 / (until - since)).unwrap_or(0)
        }
        _ => 0,
    }
}
