//! `hookcast serve`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::{Global, print, reachable};
use crate::{
    config::{Config, RegistrationMode},
    lifecycle,
    tokens::Tokens,
};

/// Run the server
///
/// It makes its store at the first start, and, unless they are configured, the tokens for registering accounts and for
/// triggering events, in a file beside the store. It stops on SIGTERM and SIGINT: takes no more requests, ends what is in
/// flight and gives back the rest.
///
/// Exit codes: 0 it was stopped and ended well; 1 it could not start, or not end well.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast serve --hints                                         # to try it out
  hookcast serve --listen 0.0.0.0:9000 --database-url sqlite:///var/lib/hookcast/hookcast.db
  hookcast serve --role api --database-url postgres://hookcast@db.example/hookcast
  HOOKCAST_DELIVERY_ALLOW_NETWORKS=127.0.0.0/8 hookcast serve    # callbacks may go to this machine")]
pub struct Args {
    /// Where to listen, such as 127.0.0.1:9000 (setting `listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Which part of the work to do: all, api (take requests) or delivery (deliver); setting `role`
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Print ready-to-paste curl lines, tokens included, once it listens
    #[arg(long)]
    hints: bool,
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let config = global.start(&[("listen", args.listen, "--listen"), ("role", args.role, "--role")])?;
    let hints = args.hints.then(|| Hints::new(&config));
    lifecycle::serve(config, |address, tokens| {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
        let Some(tokens) = tokens else { return };
        if let Some(file) = &tokens.file {
            tracing::info!("the tokens that are not configured were made by Hookcast and are in {}", file.display());
        }
        if let Some(hints) = hints {
            hints.print(reachable(address), tokens);
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// What the lines to paste depend on.
struct Hints {
    is_open: bool,
    may_call_this_machine: bool,
}

impl Hints {
    fn new(config: &Config) -> Self {
        let this_machine = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            is_open: config.registration.mode == RegistrationMode::Open,
            may_call_this_machine: config.delivery.allow_networks.iter().any(|network| network.contains(&this_machine)),
        }
    }

    fn print(&self, address: SocketAddr, tokens: &Tokens) {
        let registration = if self.is_open { String::new() } else { authorization(&tokens.registration) + " " };
        let trigger = authorization(&tokens.trigger);
        let condition = if self.may_call_this_machine {
            ""
        } else {
            "\n#    This server does not call this machine; started with HOOKCAST_DELIVERY_ALLOW_NETWORKS=127.0.0.0/8 it does."
        };
        let program = std::env::current_exe().map_or_else(|_| "hookcast".into(), |path| path.display().to_string());
        let lines = format!(
            r#"
Hookcast listens on http://{address}. In another terminal:

# 1. Register an account; the answer has its access token.
curl -s http://{address}/webhooks/account {registration}-H 'content-type: application/json' -d '{{"user_id":"ada","user_email":"ada@example.org"}}'

# 2. Subscribe with that token; the answer has the secret that signs what you get.{condition}
curl -s http://{address}/webhooks/subscribe -H 'authorization: Bearer ACCESS_TOKEN' -H 'content-type: application/json' -d '{{"event":"relation_added","url":"http://127.0.0.1:8000/"}}'

# 3. Receive: prints and verifies what comes.
{program} listen --port 8000 --secret WHSEC_SECRET

# 4. Trigger an event.
curl -s http://{address}/webhooks/trigger {trigger} -H 'content-type: application/json' -d '{{"event":"relation_added","payload":{{"hello":"world"}}}}'
"#
        );
        if let Err(error) = print(lines) {
            tracing::warn!("no hints: {error:#}");
        }
    }
}

/// The option of `curl` that sends a token, quoted for a shell.
fn authorization(token: &SecretString) -> String {
    format!("-H 'authorization: Bearer {}'", token.expose_secret().replace('\'', r"'\''"))
}
