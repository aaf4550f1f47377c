//! `hookcast event`: events on a server.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    Global,
    remote::{self, Remote, Token},
};

/// Look at an event on a server: who got it, and why others did not
///
/// The trigger token comes from the settings (`trigger.token`), the credentials file, or the file beside the store.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show an event, its deliveries, and why each that has not arrived has not
    Show {
        /// The event's id
        id: String,
    },
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Trigger)?;
    match args.command {
        Command::Show { id } => {
            let event = remote.get(&format!("/webhooks/events/{}?limit=1000", super::segment(&id))).await?;
            remote::tell(&event, args.remote.json, shown)
        }
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
