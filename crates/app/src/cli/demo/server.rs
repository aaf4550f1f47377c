//! A server of the demo's own: another process of this program, with a store and settings of its own.

use std::{
    ffi::OsStr,
    fs::File,
    net::{SocketAddr, TcpListener},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::api::Api;

/// After so many failures in a row a subscription becomes inactive.
pub const MAX_FAILURES: u32 = 5;

/// Delays short enough to watch, and more of them than the failures that a subscription is allowed.
const RETRY_SCHEDULE: &str = "200ms,300ms,500ms,500ms,500ms,1s,1s,1s";

/// The longest of those that are waited for.
pub const LONGEST_DELAY: Duration = Duration::from_millis(500);

const READY_WITHIN: Duration = Duration::from_secs(15);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const LOG: &str = "server.log";

/// A server at work. It is killed when this is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    registration_token: String,
    trigger_token: String,
}

impl Server {
    /// Starts one that keeps everything in `folder`.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let address = free_address().context("no port is free")?;
        let log = File::create(folder.join(LOG))?;
        let (registration_token, trigger_token) = (token(), token());
        let mut command = Command::new(std::env::current_exe()?);
        // What is set for another server, in the environment or in a file here, is not meant for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        let child = command
            .arg("serve")
            .current_dir(folder)
            .env("HOOKCAST_LISTEN", address.to_string())
            .env("HOOKCAST_DATABASE_URL", "sqlite://hookcast.db")
            .env("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8")
            .env("HOOKCAST_DELIVERY_RETRY_SCHEDULE", RETRY_SCHEDULE)
            .env("HOOKCAST_DELIVERY_DEACTIVATE_AFTER", "0")
            .env("MAX_SEND_ATTEMPTS", MAX_FAILURES.to_string())
            .env("WEBHOOK_REGISTRATION_TOKEN", &registration_token)
            .env("WEBHOOK_TRIGGER_TOKEN", &trigger_token)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the server cannot be started")?;
        Ok(Self { child, address, registration_token, trigger_token })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it is ready to work.
    pub async fn ready(&mut self) -> anyhow::Result<Api> {
        let base = format!("http://{}", self.address);
        let api = Api::new(base, self.registration_token.clone(), self.trigger_token.clone())?;
        let deadline = Instant::now() + READY_WITHIN;
        while !api.is_ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it was ready: {status}");
            }
            ensure!(Instant::now() < deadline, "the server was not ready within {READY_WITHIN:?}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(api)
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.context("the server has ended by itself")?, Signal::TERM)?;
        let stopped = timeout(STOPPED_WITHIN, self.child.wait()).await;
        let status = stopped.with_context(|| format!("the server did not stop within {STOPPED_WITHIN:?}"))??;
        ensure!(status.success(), "the server did not stop cleanly: {status}");
        Ok(())
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        // It fails if there is nothing left to kill.
        let _ = self.child.kill().await;
    }
}

/// The last lines of a server's log.
pub fn end_of_log(folder: &Path, lines: usize) -> String {
    let log = std::fs::read(folder.join(LOG)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let all: Vec<_> = log.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn is_setting(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"HOOKCAST_")
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn token() -> String {
    format!("demo_{:032x}", rand::random::<u128>())
}
