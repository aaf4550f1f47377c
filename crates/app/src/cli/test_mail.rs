//! `hookcast test-mail`.

use std::process::ExitCode;

use anyhow::Context as _;
use hookcast_core::clock::{Clock as _, SystemClock};

use super::{Global, print};
use crate::lifecycle;

/// Send a mail, to see whether mails arrive
///
/// It goes the way of those that tell the owners of subscriptions when a callback fails, recovers or is given up: through the
/// server of `mail.smtp`. What the server takes may still be lost or refused later, so look into the mailbox as well.
///
/// Exit codes: 0 the server took it; 1 it did not, or perhaps not, with the reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast test-mail ada@example.org
  hookcast test-mail ada@example.org --set mail.smtp=smtp://localhost:25 --set mail.tls=off")]
pub struct Args {
    /// Whom to send it to
    #[arg(value_name = "ADDRESS")]
    to: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let config = global.start(&[])?;
    let mailer = lifecycle::mailer(&config)?.context("no server for mails is set: see mail.smtp and mail.from")?;
    let (id, server) = (format!("test_{:032x}", rand::random::<u128>()), mailer.server());
    let sent = mailer.send_test(&args.to, &id, SystemClock.now()).await;
    sent.with_context(|| format!("the mail to {} through {server}", args.to))?;
    if args.json {
        print(serde_json::json!({"server": server.to_string(), "to": args.to, "id": id}))?;
    } else {
        print(format_args!("{server} took the mail to {}", args.to))?;
    }
    Ok(ExitCode::SUCCESS)
}
