//! `hookcast migrate`.

use std::process::ExitCode;

use super::{Global, print};
use crate::lifecycle;

/// Create the store's tables or bring them up to date
///
/// `serve` does this at its start too; run it ahead of time when an upgrade should not do it. It is safe beside a running server
/// and beside itself.
///
/// Exit codes: 0 the store is up to date; 1 it could not be brought there.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let config = global.start(&[])?;
    lifecycle::open_store(&config).await?.close().await;
    let store = config.database.url.to_string();
    if args.json {
        print(serde_json::json!({"store": store, "up_to_date": true}))?;
    } else {
        print(format_args!("{store} is up to date"))?;
    }
    Ok(ExitCode::SUCCESS)
}
