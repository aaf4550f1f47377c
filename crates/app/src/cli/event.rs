//! `hookcast event`: events on a server.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use hookcast_core::{
    clock::{Clock as _, SystemClock, Timestamp},
    id::EventId,
};
use http::Method;
use serde_json::Value;

use super::{
    Global, print,
    remote::{self, Remote, Token},
    resend::since,
};

/// Look at events on a server: who got them, and why others did not; follow new ones, cancel what has not gone out
///
/// The trigger token comes from the settings (`trigger.token`), the credentials file, or the file beside the store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast event list --event 'relation_*' --since 2h
  hookcast event show evt_...
  hookcast events tail --server https://hooks.example.org")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List events, the newest first
    List {
        #[command(flatten)]
        which: Which,
        /// Only those since this time, such as 2026-11-01T12:00:00Z, or how long ago, such as 2h
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Timestamp>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value = "100")]
        limit: usize,
    },
    /// Show an event, its deliveries, and why each that has not arrived has not
    Show {
        /// The event's id
        id: String,
    },
    /// Print new events as they come, until the command is ended
    Tail {
        #[command(flatten)]
        which: Which,
        /// Begin with those since this time, such as 2026-11-01T12:00:00Z, or how long ago, such as 10m; by default with new ones
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Timestamp>,
    },
    /// Cancel what still waits of an event
    Cancel {
        /// The event's id
        id: String,
    },
}

#[derive(clap::Args)]
struct Which {
    /// Only those of these types: types or patterns, such as 'relation_*,object_updated'
    #[arg(long, value_name = "TYPES")]
    event: Option<String>,
    /// Only those that you know by this id
    #[arg(long, value_name = "ID")]
    source_id: Option<String>,
    /// Only those for the account of this user_id alone
    #[arg(long, value_name = "USER_ID")]
    account: Option<String>,
}

impl Which {
    fn query(&self) -> url::form_urlencoded::Serializer<'static, String> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("event", &self.event), ("source_id", &self.source_id), ("account", &self.account)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query
    }
}

/// How often new events are asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How far back they are asked for each time: events of several nodes may be seen a little out of order.
const LOOK_BACK: Duration = Duration::from_secs(5);

const COLUMNS: [(&str, &str); 5] =
    [("event", "/id"), ("time", "/time"), ("type", "/event"), ("source", "/source_id"), ("payload", "/payload")];

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Trigger)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List { which, since, limit } => {
            let mut query = which.query();
            if let Some(since) = since {
                query.append_pair("since", &since.to_string());
            }
            let events = remote.list(&format!("/webhooks/events?{}", query.finish()), limit).await?;
            remote::tell_all(&events, as_json, &COLUMNS)
        }
        Command::Show { id } => {
            let event = remote.get(&format!("/webhooks/events/{}?limit=1000", super::segment(&id))).await?;
            remote::tell(&event, as_json, shown)
        }
        Command::Tail { which, since } => tail(&remote, &which, since, as_json).await,
        Command::Cancel { id } => {
            let path = format!("/webhooks/events/{}/cancel", super::segment(&id));
            let cancelled = remote.ask(Method::POST, &path, None).await?;
            remote::tell(&cancelled, as_json, |cancelled| {
                let count = |name| remote::shown(cancelled, name);
                format!("{} deliveries are cancelled; {} had gone out", count("/cancelled"), count("/others"))
            })
        }
    }
}

async fn tail(remote: &Remote, which: &Which, since: Option<Timestamp>, as_json: bool) -> anyhow::Result<ExitCode> {
    let begun = since.unwrap_or_else(|| SystemClock.now());
    let mut from = begun;
    // The ids of those that were printed and may be answered once more.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    loop {
        let query = which.query().append_pair("order", "asc").append_pair("since", &from.to_string()).finish();
        for event in remote.list(&format!("/webhooks/events?{query}"), usize::MAX).await? {
            let id = remote::shown(&event, "/id");
            if !seen.insert(id.clone()) {
                continue;
            }
            if as_json {
                print(&event)?;
            } else {
                let column = |pointer| remote::shown(&event, pointer);
                print(format_args!("{}  {}  {}  {}", column("/time"), id, column("/event"), column("/payload")))?;
            }
            let time = Timestamp::parse(&remote::shown(&event, "/time")).unwrap_or(from);
            from = from.max(time.minus(LOOK_BACK));
        }
        // Ids begin with their times.
        let oldest = EventId::least(from).to_string();
        seen = seen.split_off(&oldest);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn shown(event: &Value) -> String {
    let list = |name: &str| event.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut text = remote::members(event);
    let (deliveries, not_sent) = (list("deliveries"), list("not_sent"));
    if !deliveries.is_empty() {
        let columns = [
            ("delivery", "/id"),
            ("subscription", "/subscription_id"),
            ("user_id", "/user_id"),
            ("state", "/state"),
            ("why", "/why/reason"),
            ("until", "/why/until"),
        ];
        text += &format!("\n\n{}", remote::table(&deliveries, &columns));
    }
    if !not_sent.is_empty() {
        let columns =
            [("not sent to", "/subscription_id"), ("user_id", "/user_id"), ("why", "/reason"), ("", "/detail")];
        text += &format!("\n\n{}", remote::table(&not_sent, &columns));
    }
    text
}
