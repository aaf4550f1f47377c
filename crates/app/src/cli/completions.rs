//! `hookcast completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, print};

/// Print the completions of a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast completions bash > ~/.local/share/bash-completion/completions/hookcast
  hookcast completions zsh > ~/.zfunc/_hookcast
  hookcast completions fish > ~/.config/fish/completions/hookcast.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hookcast", &mut text);
    print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
