//! `hookcast check-config`.

use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

use super::Global;

/// Check the settings and show them, with where each one comes from.
///
/// Exits with 1 and names every mistake when there is one. Secrets are not shown.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = global.load(&[])?;
    for warning in &loaded.warnings {
        eprintln!("hookcast: warning: {warning}");
    }
    if args.json {
        let settings = serde_json::json!({"settings": loaded.origins, "warnings": loaded.warnings});
        println!("{settings:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(["setting", "value", "from"]);
    for origin in &loaded.origins {
        table.add_row([origin.key, &origin.value, &origin.source.to_string()]);
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
