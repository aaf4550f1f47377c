//! `hookcast check-config`.

use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use hookcast_store::Location;

use super::{Global, complain, print};
use crate::config;

/// Check the settings and show them, with where each one comes from
///
/// Reads them as every other command does, and changes nothing. Secrets are not shown.
///
/// Exit codes: 0 the settings are fine, warnings aside; 1 they are not: every mistake is named, with its place.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast check-config --config /etc/hookcast.toml
  HOOKCAST_DELIVERY_TIMEOUT=25s hookcast check-config
  hookcast check-config --json | jq '.settings[] | select(.source != \"default\")'")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print what settings there are instead, and what each means and takes, as a table in Markdown
    #[arg(long, conflicts_with = "json")]
    reference: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    if args.reference {
        print(config::reference().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = global.load(&[])?;
    Location::parse(loaded.config.database.url.expose()).context("database.url")?;
    for warning in &loaded.warnings {
        complain(format_args!("warning: {warning}"));
    }
    if args.json {
        let settings = serde_json::json!({"settings": loaded.origins, "warnings": loaded.warnings});
        print(format_args!("{settings:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["setting", "value", "from"]);
    for origin in &loaded.origins {
        table.add_row([origin.key, &origin.value, &origin.source.to_string()]);
    }
    print(table)?;
    Ok(ExitCode::SUCCESS)
}
