//! `hookcast health`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hookcast_core::clock::SystemClock;
use hookcast_delivery::client::{Client, ClientSettings};
use http::{Request, StatusCode};
use serde_json::Value;

use super::{Global, print, server};
use crate::config;

/// The most bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Ask a server whether it can do its work
///
/// For health checks where there is no other program to ask with, as in a container. Needs no token.
///
/// Exit codes: 0 the server is ready; 1 it is not, which it gives the reason for, or it did not answer.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast health
  hookcast health --server https://hooks.example.org --json
  until hookcast health --timeout 1s; do sleep 1; done")]
pub struct Args {
    /// The server; by default the one that the settings describe
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// How long to wait for the answer, such as 5s or 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    timeout: Duration,
    /// Ask only whether its process lives, not whether it can do its work
    #[arg(long)]
    live: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let duration = config::parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "must be a duration such as 5s or 500ms, and not 0".to_owned())
}

pub async fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    // The server has said at its start what there is to say of the settings; not again every few seconds.
    let config = global.load(&[])?.config;
    let server = server(&config, args.server.as_deref())?;
    let (path, word) = if args.live { ("/health/live", "live") } else { ("/health/ready", "ready") };
    let request = Request::get(format!("{server}{path}")).body(Bytes::new());
    let request = request.context("the request cannot be made")?;
    let client = Client::new(ClientSettings::unguarded(args.timeout), Arc::new(SystemClock))?;
    let response = client.exchange(request, ANSWER_MAX).await.with_context(|| format!("no answer from {server}"))?;

    let status = response.status();
    let answer: Value = serde_json::from_slice(response.body()).with_context(|| {
        format!("the answer from {server} ({}) is not JSON; is it a Hookcast server?", status.as_u16())
    })?;
    let is_well = status == StatusCode::OK && answer["status"] == "ok";
    if args.json {
        print(&answer)?;
        return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !is_well {
        let detail = answer["detail"].as_str().unwrap_or("no reason given; is it a Hookcast server?");
        bail!("{server} is not {word} ({}): {detail}", status.as_u16());
    }
    print(format_args!("{server} is {word}"))?;
    Ok(ExitCode::SUCCESS)
}
