//! `hookcast demo`.
use std::process::ExitCode;
/// placeholder
#[derive(clap::Args)]
pub struct Args {}
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
