//! `hookcast delivery`: an account's deliveries on a server.

use std::process::ExitCode;

use hookcast_core::clock::Timestamp;
use http::Method;
use serde_json::{Value, json};

use super::{
    Global, print,
    remote::{self, Remote, Token},
    resend::since,
};

/// Look at deliveries on a server, and have them sent again
///
/// Takes an account's access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file
/// (~/.config/hookcast/credentials.toml, or where HOOKCAST_CREDENTIALS says) under the server's URL.
#[derive(clap::Args)]
#[command(after_help = r#"Examples:
  hookcast delivery list sub_... --state failed
  hookcast delivery show dlv_... --server https://hooks.example.org
  hookcast delivery redeliver dlv_...

A credentials file:
  ["https://hooks.example.org"]
  access_token = "hkc_access_...""#)]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List a subscription's deliveries, the newest first
    List {
        /// The subscription's id
        subscription: String,
        /// Only those of this state: waiting, sending, delivered, failed, expired or cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only those of this type of event, or of a pattern such as 'relation_*'
        #[arg(long)]
        event: Option<String>,
        /// Only those of events since this time, such as 2026-11-01T12:00:00Z, or how long ago, such as 2h
        #[arg(long, value_name = "TIME", value_parser = since)]
        since: Option<Timestamp>,
        /// Only those of events before this time
        #[arg(long, value_name = "TIME", value_parser = since)]
        until: Option<Timestamp>,
        /// The most to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a delivery with its payload and every attempt
    Show {
        /// The delivery's id
        id: String,
    },
    /// Send a delivery again that was delivered, has failed or has expired
    Redeliver {
        /// The delivery's id
        id: String,
    },
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Access)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List { subscription, state, event, since, until, limit } => {
            let mut path = format!("/webhooks/subscriptions/{}/deliveries?", super::segment(&subscription));
            let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
            for (name, value) in [("state", state), ("event", event), ("since", time(since)), ("until", time(until))] {
                if let Some(value) = value {
                    path += &format!("{name}={}&", super::segment(&value));
                }
            }
            let deliveries = remote.list(&path, usize::try_from(limit)?).await?;
            list(&deliveries, as_json)
        }
        Command::Show { id } => {
            let delivery = remote.get(&format!("/webhooks/deliveries/{}", super::segment(&id))).await?;
            remote::tell(&delivery, as_json, shown)
        }
        Command::Redeliver { id } => {
            let path = format!("/webhooks/deliveries/{}/redeliver", super::segment(&id));
            let delivery = remote.ask(Method::POST, &path, None).await?;
            remote::tell(&delivery, as_json, |delivery| {
                format!("{} waits to be sent again", remote::shown(delivery, "/id"))
            })
        }
    }
}

fn list(deliveries: &[Value], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        deliveries.iter().try_for_each(print)?;
        return Ok(ExitCode::SUCCESS);
    }
    let counted: Vec<Value> = deliveries.iter().map(with_count).collect();
    let columns = [
        ("delivery", "/id"),
        ("event", "/event"),
        ("state", "/state"),
        ("attempts", "/count"),
        ("why", "/why/reason"),
        ("until", "/why/until"),
    ];
    print(remote::table(&counted, &columns))?;
    Ok(ExitCode::SUCCESS)
}

/// The delivery with how many attempts it has had.
fn with_count(delivery: &Value) -> Value {
    let mut delivery = delivery.clone();
    delivery["count"] = json!(delivery["attempts"].as_array().map_or(0, Vec::len));
    delivery
}

fn shown(delivery: &Value) -> String {
    let attempts = delivery["attempts"].as_array().cloned().unwrap_or_default();
    let columns = [
        ("attempt", "/number"),
        ("time", "/time"),
        ("ms", "/latency_ms"),
        ("status", "/status"),
        ("failure", "/failure"),
        ("answer", "/answer"),
        ("", "/detail"),
    ];
    format!("{}\n\n{}", remote::members(delivery), remote::table(&attempts, &columns))
}
