//! A Hookcast to measure: a process of its own on a new store.
//!
//! What the environment says besides is left as it is, so that settings can be compared:
//! `HOOKCAST_DELIVERY_MAX_IN_FLIGHT=256 hookcast-bench run`.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    connection::{Connection, bearer, describe, post_json},
    message::EVENT,
    usage::Usage,
};

/// The token to trigger events with.
pub const TRIGGER_TOKEN: &str = "trigger-token-of-the-benchmark";
const REGISTRATION_TOKEN: &str = "registration-token-of-the-benchmark";
const READY_WITHIN: Duration = Duration::from_secs(15);
/// How many subscribe at a time: a thousand would be too many for one after the other.
const SUBSCRIBERS: usize = 16;
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A running Hookcast.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    pid: u32,
    child: Child,
    _directory: TempDir,
}

impl Server {
    /// Starts `binary` on the database at `database_url`; its log goes to `out`.
    pub async fn start(binary: &Path, database_url: &str, out: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(out)?;
        let log_path = out.join("server.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let address = free_address()?;
        let mut child = Command::new(binary)
            .arg("serve")
            // A configuration file where the benchmark happens to be started is not meant for it.
            .current_dir(directory.path())
            .env("HOOKCAST_LISTEN", address.to_string())
            .env("HOOKCAST_DATABASE_URL", database_url)
            .env("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8")
            .env("HOOKCAST_LOG_LEVEL", "warn")
            .env("WEBHOOK_REGISTRATION_TOKEN", REGISTRATION_TOKEN)
            .env("WEBHOOK_TRIGGER_TOKEN", TRIGGER_TOKEN)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let pid = child.id().context("the server ended at once")?;
        wait_until_ready(&mut child, address, &log_path).await?;
        Ok(Self { address, pid, child, _directory: directory })
    }

    /// Subscribes `/s/0`, `/s/1` and so on of `receiver`.
    pub async fn subscribe(&self, receiver: SocketAddr, subscriptions: u64) -> Result<()> {
        let mut connections = Connection::open_many(self.address, SUBSCRIBERS).await?;
        let account = json!({"user_id": "bench"});
        let account = create(&mut connections[0], "/webhooks/account", &bearer(REGISTRATION_TOKEN)?, &account).await?;
        let token = account["access_token"].as_str().context("the new account has no access_token")?;
        let token = bearer(token)?;
        let mut subscribers = JoinSet::new();
        for (first, mut connection) in (0..subscriptions).zip(connections) {
            let token = token.clone();
            subscribers.spawn(async move {
                for number in (first..subscriptions).step_by(SUBSCRIBERS) {
                    let subscription = json!({"event": EVENT, "url": format!("http://{receiver}/s/{number}")});
                    create(&mut connection, "/webhooks/subscribe", &token, &subscription).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = subscribers.join_next().await {
            done??;
        }
        Ok(())
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid)
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(pid, Signal::TERM)?;
        let status = timeout(STOPPED_WITHIN, self.child.wait()).await.context("the server does not stop")??;
        ensure!(status.success(), "the server did not stop cleanly: {status}; see server.log");
        Ok(())
    }
}

/// What a server that gave up said last.
fn last_line(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    log.lines().last().unwrap_or("it has said nothing").to_owned()
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn wait_until_ready(child: &mut Child, address: SocketAddr, log: &Path) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !is_ready(address).await {
        if let Some(status) = child.try_wait()? {
            bail!("the server did not start: {status}: {}", last_line(log));
        }
        let is_in_time = Instant::now() < deadline;
        ensure!(is_in_time, "the server is not ready after {READY_WITHIN:?}: {}", last_line(log));
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    let Ok(request) = Request::get("/health/ready").body(Default::default()) else { return false };
    connection.send(request).await.is_ok_and(|response| response.status() == StatusCode::OK)
}

async fn create(connection: &mut Connection, path: &str, token: &HeaderValue, body: &Value) -> Result<Value> {
    let response = connection.send(post_json(path, token, body.to_string().into())?).await?;
    ensure!(response.status() == StatusCode::CREATED, "POST {path}: {}", describe(&response));
    Ok(serde_json::from_slice(response.body())?)
}
