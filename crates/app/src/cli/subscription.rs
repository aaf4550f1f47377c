//! `hookcast subscription`: an account's subscriptions on a server.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use hookcast_core::clock::Timestamp;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Global, print,
    remote::{self, Remote, Token},
    resend::since,
};

/// Make subscriptions on a server, look at them, pause, resume and delete them
///
/// Takes an account's access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file
/// (~/.config/hookcast/credentials.toml, or where HOOKCAST_CREDENTIALS says) under the server's URL.
#[derive(clap::Args)]
#[command(after_help = r#"Examples:
  hookcast subscription create relation_added https://example.org/hook
  hookcast subscription create 'relation_*' https://example.org/hook --options '{"ordering": "key", "rate_limit": 20}'
  hookcast subscription create relation_added
  hookcast subscription fetch sub_... --follow
  hookcast subscription list --server https://hooks.example.org
  hookcast subscription redeliver sub_... --since 2h"#)]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the account's subscriptions
    List,
    /// Show a subscription
    Show {
        /// The subscription's id
        id: String,
    },
    /// Subscribe a URL to events, and print the secret that signs them, this once
    Create {
        /// The type of event, such as relation_added, or a pattern such as 'relation_*'
        event: String,
        /// The callback; without one the events are fetched
        url: Option<String>,
        /// More of what the request takes, as a JSON object, such as {"ordering": "key"}
        #[arg(long, value_name = "JSON")]
        options: Option<String>,
    },
    /// Send nothing until it is resumed; what comes meanwhile waits
    Pause {
        /// The subscription's id
        id: String,
    },
    /// Send again, what waits first
    Resume {
        /// The subscription's id
        id: String,
    },
    /// Delete a subscription; what waits for it is cancelled
    Delete {
        /// The subscription's id
        id: String,
    },
    /// Print the events of a subscription without a callback, a line of JSON each; what was printed counts as delivered
    Fetch {
        /// The subscription's id
        id: String,
        /// Wait for more, until the command is ended
        #[arg(short, long)]
        follow: bool,
    },
    /// Send again what has failed, or expired, of events since a time
    Redeliver {
        /// The subscription's id
        id: String,
        /// The time, such as 2026-11-01T12:00:00Z, or how long ago, such as 2h
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Timestamp,
        /// What has failed, or what has expired
        #[arg(long, default_value = "failed", value_parser = ["failed", "expired"])]
        state: String,
    },
}

const COLUMNS: [(&str, &str); 6] = [
    ("subscription", "/id"),
    ("event", "/event"),
    ("url", "/url"),
    ("state", "/state"),
    ("failures", "/failure_count"),
    ("waiting", "/waiting"),
];

fn path_of(id: &str) -> String {
    format!("/webhooks/subscriptions/{}", super::segment(id))
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Access)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List => {
            let subscriptions = remote.list("/webhooks/subscriptions", usize::MAX).await?;
            remote::tell_all(&subscriptions, as_json, &COLUMNS)
        }
        Command::Show { id } => remote::tell(&remote.get(&path_of(&id)).await?, as_json, remote::members),
        Command::Create { event, url, options } => {
            let wish = wish(event, url, options.as_deref())?;
            let made = remote.ask(Method::POST, "/webhooks/subscribe", Some(&wish)).await?;
            remote::tell(&made, as_json, remote::members)
        }
        Command::Pause { id } => set_active(&remote, &id, false, as_json).await,
        Command::Resume { id } => set_active(&remote, &id, true, as_json).await,
        Command::Delete { id } => {
            remote.ask(Method::DELETE, &path_of(&id), None).await?;
            remote::tell(&json!({"deleted": id}), as_json, |_| format!("{id} is deleted"))
        }
        Command::Fetch { id, follow } => fetch(&remote, &id, follow).await,
        Command::Redeliver { id, since, state } => redeliver(&remote, &id, since, &state, as_json).await,
    }
}

fn wish(event: String, url: Option<String>, options: Option<&str>) -> anyhow::Result<Value> {
    let mut wish: Map<String, Value> = match options {
        Some(text) => serde_json::from_str(text).context("--options is not a JSON object")?,
        None => Map::new(),
    };
    for (name, value) in [("event", event.into()), ("url", Value::from(url))] {
        if wish.insert(name.to_owned(), value).is_some() {
            bail!("--options must not have `{name}`, which is an argument of its own");
        }
    }
    Ok(wish.into())
}

async fn set_active(remote: &Remote, id: &str, is_active: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let changed = remote.ask(Method::PATCH, &path_of(id), Some(&json!({"is_active": is_active}))).await?;
    remote::tell(&changed, as_json, |changed| {
        let word = if is_active { "active" } else { "paused" };
        format!("{id} is {word}; {} deliveries wait", remote::shown(changed, "/waiting"))
    })
}

/// One request sends so many again and no more; the next one goes on from there.
async fn redeliver(
    remote: &Remote,
    id: &str,
    since: Timestamp,
    state: &str,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut wish = json!({"since": since, "state": state});
    let mut total = 0;
    loop {
        let done = remote.ask(Method::POST, &format!("{}/redeliver", path_of(id)), Some(&wish)).await?;
        total += done["redelivered"].as_u64().unwrap_or_default();
        if done["next_cursor"].is_null() {
            break;
        }
        wish["cursor"] = done["next_cursor"].clone();
    }
    remote::tell(&json!({"redelivered": total}), as_json, |_| format!("{total} deliveries wait to be sent again"))
}

/// What was printed is confirmed by the request for what follows, so that nothing is lost where this ends in the middle.
async fn fetch(remote: &Remote, id: &str, follow: bool) -> anyhow::Result<ExitCode> {
    let path = format!("{}/events", path_of(id));
    let mut cursor = None;
    loop {
        let wait = if follow && cursor.is_some() { "30s" } else { "0s" };
        let behind = cursor.map(|cursor: String| format!("&cursor={cursor}")).unwrap_or_default();
        let page = remote.get(&format!("{path}?wait={wait}{behind}")).await?;
        let events = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        events.iter().map(|event| &event["body"]).try_for_each(print)?;
        if events.is_empty() && !follow {
            return Ok(ExitCode::SUCCESS);
        }
        // Before anything has come there is no place yet, and every place is behind this one.
        cursor = Some(page["next_cursor"].as_str().unwrap_or("p0").to_owned());
    }
}
