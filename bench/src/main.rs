//! The performance table of Hookcast, measured from outside: through its command line, its environment and HTTP.
//!
//! `hookcast-bench run` starts the other commands, and the server, as processes of their own.

mod backlog;
mod ceiling;
mod clock;
mod connection;
mod cost;
mod database;
mod dead;
mod growth;
mod limit;
mod lines;
mod load;
mod measure;
mod memory;
mod message;
mod plot;
mod process;
mod receiver;
mod report;
mod results;
mod run;
mod scenario;
mod server;
mod site;
mod slow;
mod store;
mod study;
mod tally;
mod usage;

use std::{io::Write as _, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Parser;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// The performance table of Hookcast.
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    /// Measures everything; prints a table and writes bench.json and plots.
    Run(run::Options),
    /// Answers and counts callbacks.
    Receiver {
        /// Where to listen; the address is the first line of the output.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Posts to a receiver as fast as a bare HTTP client can.
    Limit {
        /// Where the receiver listens.
        #[arg(long)]
        receiver: SocketAddr,
        /// For how long.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Connections to the receiver.
        #[arg(long, default_value_t = 64)]
        connections: usize,
    },
    /// Triggers events.
    Load {
        /// Where the server listens.
        #[arg(long)]
        server: SocketAddr,
        /// The token to trigger with.
        #[arg(long, env = "WEBHOOK_TRIGGER_TOKEN", hide_env_values = true)]
        token: String,
        #[command(flatten)]
        plan: load::Plan,
    },
}

// One thread each: with several, generator and receiver take the processors from the server, and the limit is lower.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match execute(Command::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(options) => tokio::select! {
            // Dropping the rest ends the processes that it has started.
            done = run::run(options) => done,
            stopped = interrupted() => stopped,
        },
        Command::Receiver { listen } => receiver::run(listen).await,
        Command::Limit { receiver, seconds, connections } => {
            print(&limit::run(receiver, connections, Duration::try_from_secs_f64(seconds)?).await?)
        }
        Command::Load { server, token, plan } => print(&load::run(server, &token, &plan).await?),
    }
}

async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

fn print(report: &impl Serialize) -> Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(report)?)?;
    Ok(())
}
