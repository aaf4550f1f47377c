//! `hookcast token`: an account's access tokens, on a server.

use std::process::ExitCode;

use hookcast_core::clock::{Clock as _, SystemClock, Timestamp};
use http::Method;
use serde_json::json;

use super::{
    Global,
    remote::{self, Remote, Token},
};
use crate::config;

/// Make access tokens for your account on a server, list them, and make them void
///
/// Takes an access token of scope `write`: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file
/// (~/.config/hookcast/credentials.toml, or where HOOKCAST_CREDENTIALS says) under the server's URL. `hookcast account rotate` puts a new
/// one in its own place.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast token create dashboard --scope read
  hookcast token create import --scope write --expires 30d
  hookcast token revoke import --server https://hooks.example.org")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the account's access tokens, those that have expired too
    List,
    /// Make an access token and print it, this once
    Create {
        /// Its name, by which it is revoked
        name: String,
        /// Whether it may only look at subscriptions and deliveries, or change them too
        #[arg(long, value_parser = ["read", "write"])]
        scope: String,
        /// When it ends to be valid, such as 2030-01-31T12:00:00Z, or how soon, such as 30d; never by default
        #[arg(long, value_name = "TIME", value_parser = end)]
        expires: Option<Timestamp>,
    },
    /// Make an access token void, at once
    Revoke {
        /// The token's name
        name: String,
    },
}

/// Reads when something ends.
pub(super) fn end(text: &str) -> Result<Timestamp, String> {
    if let Some(duration) = config::parse_duration(text) {
        return Ok(SystemClock.now().plus(duration));
    }
    Timestamp::parse(text)
        .ok_or_else(|| "must be a time such as 2030-01-31T12:00:00Z, or a duration such as 30d".into())
}

const PATH: &str = "/webhooks/account/tokens";

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Access)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List => {
            let tokens = remote.list(PATH, usize::MAX).await?;
            let columns =
                [("token", "/name"), ("scope", "/scope"), ("created", "/created_at"), ("expires", "/expires_at")];
            remote::tell_all(&tokens, as_json, &columns)
        }
        Command::Create { name, scope, expires } => {
            let wish = json!({"name": name, "scope": scope, "expires_at": expires});
            let made = remote.ask(Method::POST, PATH, Some(&wish)).await?;
            remote::tell(&made, as_json, remote::members_with_secret)
        }
        Command::Revoke { name } => {
            remote.ask(Method::DELETE, &format!("{PATH}/{}", super::segment(&name)), None).await?;
            remote::tell(&json!({"revoked": name}), as_json, |_| format!("{name} is void"))
        }
    }
}
