//! `hookcast account show`, `change`, `rotate` and `delete`: one's own account, on a server.

use std::process::ExitCode;

use anyhow::bail;
use http::Method;
use serde_json::json;

use super::{
    Global,
    remote::{self, Remote, Token},
};

const PATH: &str = "/webhooks/account";

#[derive(clap::Subcommand)]
pub enum Command {
    /// Show your own account, as a server has it
    ///
    /// Takes its access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file.
    Show {
        #[command(flatten)]
        remote: remote::Which,
    },
    /// Change where the notices of your own account go, on a server
    ///
    /// Takes its access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file.
    Change {
        #[command(flatten)]
        remote: remote::Which,
        #[command(flatten)]
        wish: Wish,
    },
    /// Put a new access token in the place of the one that you ask a server with, and print it, this once
    ///
    /// The one before is void at once: give the new one to HOOKCAST_ACCESS_TOKEN, or to the credentials file. Where you ask with a token
    /// of a provider, the account's token `default` is made anew.
    Rotate {
        #[command(flatten)]
        remote: remote::Which,
    },
    /// Delete your own account on a server, with its tokens, subscriptions and notices; what waits is cancelled
    ///
    /// Takes its access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file.
    Delete {
        #[command(flatten)]
        remote: remote::Which,
        /// Do it; without this the command only says which account it would delete
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Wish {
    /// Where notices go
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Send no notices by mail
    #[arg(long)]
    no_email: bool,
}

pub async fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    let at = |which: &remote::Which| Remote::new(global, which.server.as_deref(), Token::Access);
    match command {
        Command::Show { remote: which } => remote::tell(&at(&which)?.get(PATH).await?, which.json, remote::members),
        Command::Change { remote: which, wish } => {
            // Without an address it is null, which is what `--no-email` says.
            let wish = json!({"user_email": wish.email});
            let changed = at(&which)?.ask(Method::PATCH, PATH, Some(&wish)).await?;
            remote::tell(&changed, which.json, remote::members)
        }
        Command::Rotate { remote: which } => {
            let rotated = at(&which)?.ask(Method::POST, &format!("{PATH}/rotate"), None).await?;
            remote::tell(&rotated, which.json, remote::members_with_secret)
        }
        Command::Delete { remote: which, yes } => {
            let remote = at(&which)?;
            let user_id = remote::shown(&remote.get(PATH).await?, "/user_id");
            if !yes {
                bail!(
                    "this would delete the account `{user_id}` with its tokens and subscriptions, and cannot be undone: say --yes"
                );
            }
            remote.ask(Method::DELETE, PATH, None).await?;
            remote::tell(&json!({"deleted": user_id}), which.json, |_| format!("{user_id} is deleted"))
        }
    }
}
