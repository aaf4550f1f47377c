//! The parts of a measurement that are processes of their own, so that none of them uses the time of another.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    connection::Connection,
    limit::Limit,
    load::{Accepted, Plan},
    tally::{Latency, Stats},
};

/// A running receiver.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    control: Connection,
    _child: Child,
}

impl Receiver {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let mut child = this_program()?.arg("receiver").stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("the receiver has no stdout")?;
        let first_line = BufReader::new(stdout).lines().next_line().await?.context("the receiver did not start")?;
        let address = first_line.parse().context("the receiver did not say where it listens")?;
        let pid = child.id().context("the receiver ended at once")?;
        Ok(Self { address, pid, control: Connection::open(address).await?, _child: child })
    }

    /// Forgets what arrived.
    pub async fn reset(&mut self) -> Result<()> {
        self.tell("/reset").await
    }

    /// Tells when the next one comes as the first.
    pub async fn mark(&mut self) -> Result<()> {
        self.tell("/mark").await
    }

    async fn tell(&mut self, path: &str) -> Result<()> {
        let response = self.control.send(http::Request::post(path).body(Default::default())?).await?;
        if !response.status().is_success() {
            bail!("the receiver does not take {path}: {}", response.status());
        }
        Ok(())
    }

    /// How much arrived since the last reset.
    pub async fn stats(&mut self) -> Result<Stats> {
        self.control.get("/stats").await
    }

    /// How fast it arrived.
    pub async fn latency(&mut self) -> Result<Latency> {
        self.control.get("/latencies").await
    }

    /// Measures how much the receiver takes.
    pub async fn limit(&mut self, duration: Duration) -> Result<Limit> {
        self.reset().await?;
        let mut command = this_program()?;
        command.args(["limit", "--receiver", &self.address.to_string()]);
        command.args(["--seconds", &duration.as_secs_f64().to_string()]);
        let limit: Limit = report(command).await.context("cannot measure the limit")?;
        let stats = self.stats().await?;
        if (stats.distinct, stats.duplicates) != (limit.requests, 0) {
            bail!("the receiver miscounts: {} requests, but {stats:?}", limit.requests);
        }
        Ok(limit)
    }
}

/// Generates load in a process of its own.
pub async fn load(server: SocketAddr, token: &str, plan: &Plan) -> Result<Accepted> {
    let mut command = this_program()?;
    command.env("WEBHOOK_TRIGGER_TOKEN", token);
    command.args(["load", "--server", &server.to_string()]);
    command.args(["--events", &plan.events.to_string(), "--batch", &plan.batch.to_string()]);
    command.args(["--connections", &plan.connections.to_string()]);
    match &plan.event {
        Some(event) => command.args(["--event", event]),
        None => command.args(["--types", &plan.types.to_string()]),
    };
    if let Some(rate) = plan.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    report(command).await.context("the load generator failed")
}

fn this_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Runs a command to its end; its output is its report.
async fn report<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the report is not valid")
}
