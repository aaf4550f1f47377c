//! `hookcast trigger-token`: tokens of producers, on a server.

use std::process::ExitCode;

use hookcast_core::clock::Timestamp;
use http::Method;
use serde_json::json;

use super::{
    Global,
    remote::{self, Remote, Token},
    token::end,
};

/// Make tokens on a server for producers of some types of event, list them, and make them void
///
/// Takes the trigger token of the server's settings: `trigger.token`, `trigger_token` in the credentials file, or that of the file beside
/// the store. A producer gives its own token to `hookcast trigger` and `hookcast event` in the same way.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast trigger-token create orders 'order_*' refund
  hookcast trigger-token create import 'import.*' --expires 30d
  hookcast trigger-token revoke orders --server https://hooks.example.org")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the tokens of producers, those that have expired too
    List,
    /// Make a token and print it, this once
    Create {
        /// Its name, by which it is revoked
        name: String,
        /// The types that it may trigger, look at and cancel: types or patterns, such as 'order_*'
        #[arg(required = true, value_name = "TYPE", value_delimiter = ',')]
        events: Vec<String>,
        /// When it ends to be valid, such as 2030-01-31T12:00:00Z, or how soon, such as 30d; never by default
        #[arg(long, value_name = "TIME", value_parser = end)]
        expires: Option<Timestamp>,
    },
    /// Make a token void: at once where it is asked, on other nodes within a second
    Revoke {
        /// The token's name
        name: String,
    },
}

const PATH: &str = "/webhooks/trigger-tokens";

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Trigger)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List => {
            let tokens = remote.list(PATH, usize::MAX).await?;
            let columns =
                [("token", "/name"), ("types", "/event"), ("created", "/created_at"), ("expires", "/expires_at")];
            remote::tell_all(&tokens, as_json, &columns)
        }
        Command::Create { name, events, expires } => {
            let wish = json!({"name": name, "event": events, "expires_at": expires});
            let made = remote.ask(Method::POST, PATH, Some(&wish)).await?;
            remote::tell(&made, as_json, remote::members_with_secret)
        }
        Command::Revoke { name } => {
            remote.ask(Method::DELETE, &format!("{PATH}/{}", super::segment(&name)), None).await?;
            remote::tell(&json!({"revoked": name}), as_json, |_| format!("{name} is void"))
        }
    }
}
