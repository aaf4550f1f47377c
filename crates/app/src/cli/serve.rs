//! `hookcast serve`.

use std::{net::SocketAddr, process::ExitCode};

use secrecy::ExposeSecret as _;

use super::Global;
use crate::{config::RegistrationMode, lifecycle, tokens::Tokens};

/// Run the server.
///
/// It stops on SIGTERM and SIGINT: takes no more requests, ends what is in flight, gives back the rest, and exits with 0.
#[derive(clap::Args)]
pub struct Args {
    /// Where to listen, such as 127.0.0.1:9000 (setting `listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Print ready-to-paste curl lines, tokens included, once it listens
    #[arg(long)]
    hints: bool,
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let config = global.start(&[("listen", args.listen, "--listen")])?;
    let is_open = config.registration.mode == RegistrationMode::Open;
    lifecycle::serve(config, |address, tokens| {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
        if let Some(file) = &tokens.file {
            tracing::info!("tokens that are not configured are in {}", file.display());
        }
        if args.hints {
            print_hints(address, tokens, is_open);
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn print_hints(address: SocketAddr, tokens: &Tokens, is_open: bool) {
    let registration =
        if is_open { String::new() } else { format!("-H 'authorization: Bearer {}' ", tokens.registration.expose_secret()) };
    let trigger = tokens.trigger.expose_secret();
    println!(
        r#"
Hookcast listens on http://{address}. In another terminal:

# 1. Register an account; the answer has its access token.
curl -s http://{address}/webhooks/account {registration}-H 'content-type: application/json' -d '{{"user_id":"ada","user_email":"ada@example.org"}}'

# 2. Subscribe with that token; the answer has the secret that signs what you get.
curl -s http://{address}/webhooks/subscribe -H 'authorization: Bearer ACCESS_TOKEN' -H 'content-type: application/json' -d '{{"event":"relation_added","url":"http://localhost:8000/"}}'

# 3. Receive: prints and verifies what comes.
hookcast listen --port 8000 --secret WHSEC_SECRET

# 4. Trigger an event.
curl -s http://{address}/webhooks/trigger -H 'authorization: Bearer {trigger}' -H 'content-type: application/json' -d '{{"event":"relation_added","payload":{{"hello":"world"}}}}'
"#
    );
}
