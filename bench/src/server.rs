//! A Hookcast to measure: a process of its own on a new store.
//!
//! What the environment says besides is left as it is, so that settings can be compared:
//! `HOOKCAST_DELIVERY_MAX_IN_FLIGHT=256 hookcast-bench run`.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderValue, Method, Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock::now_ns,
    connection::{Connection, bearer, describe, post_json},
    message::EVENT,
    site::Setting,
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
    /// When its process was started.
    pub started_ns: u64,
    pid: u32,
    child: Child,
    _directory: TempDir,
}

impl Server {
    /// Starts `binary` with `settings` on the database at `database_url`; its log goes to `out`.
    pub async fn start(binary: &Path, database_url: &str, settings: &[Setting], out: &Path) -> Result<Self> {
        let directory = tempfile::tempdir_in(out)?;
        let log_path = out.join("server.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let address = free_address()?;
        let started_ns = now_ns();
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
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let pid = child.id().context("the server ended at once")?;
        wait_until_ready(&mut child, address, &log_path).await?;
        Ok(Self { address, started_ns, pid, child, _directory: directory })
    }

    /// Registers the one account of the benchmark.
    pub async fn account(&self) -> Result<Account> {
        let mut connection = Connection::open(self.address).await?;
        let wish = json!({"user_id": "bench"});
        let account = create(&mut connection, "/webhooks/account", &bearer(REGISTRATION_TOKEN)?, &wish).await?;
        let token = account["access_token"].as_str().context("the new account has no access_token")?;
        Ok(Account { address: self.address, token: bearer(token)? })
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

/// Who owns the subscriptions.
pub struct Account {
    address: SocketAddr,
    token: HeaderValue,
}

impl Account {
    /// Makes a subscription of each of `wishes`; their ids, in no order.
    pub async fn subscribe(&self, wishes: Vec<Value>) -> Result<Vec<String>> {
        let wishes = wishes.into_iter().map(|wish| (Method::POST, "/webhooks/subscribe".to_owned(), wish)).collect();
        let made = self.send_all(wishes, StatusCode::CREATED).await?;
        let ids = made.iter().map(|subscription| subscription["id"].as_str().map(str::to_owned));
        ids.collect::<Option<_>>().context("a new subscription has no id")
    }

    /// Makes subscriptions active or inactive; for those that are inactive deliveries wait.
    pub async fn switch(&self, ids: &[String], is_active: bool) -> Result<()> {
        let path = |id: &String| format!("/webhooks/subscriptions/{id}");
        let wishes = ids.iter().map(|id| (Method::PATCH, path(id), json!({"is_active": is_active}))).collect();
        self.send_all(wishes, StatusCode::OK).await?;
        Ok(())
    }

    async fn send_all(&self, wishes: Vec<(Method, String, Value)>, expected: StatusCode) -> Result<Vec<Value>> {
        let connections = Connection::open_many(self.address, SUBSCRIBERS.min(wishes.len())).await?;
        let wishes = Arc::new(Mutex::new(wishes.into_iter()));
        let mut senders = JoinSet::new();
        for mut connection in connections {
            let (token, wishes) = (self.token.clone(), Arc::clone(&wishes));
            senders.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let Some((method, path, wish)) = wishes.lock().await.next() else { return Ok(answers) };
                    answers.push(send(&mut connection, method, &path, &token, &wish, expected).await?);
                }
            });
        }
        let mut answers = Vec::new();
        while let Some(done) = senders.join_next().await {
            let done: Result<Vec<Value>> = done?;
            answers.extend(done?);
        }
        Ok(answers)
    }
}

/// The wishes for subscriptions of `/s/0`, `/s/1` and so on of `receiver` to all events.
pub fn to_all(receiver: SocketAddr, subscriptions: u64) -> Vec<Value> {
    (0..subscriptions).map(|number| json!({"event": EVENT, "url": format!("http://{receiver}/s/{number}")})).collect()
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

async fn create(connection: &mut Connection, path: &str, token: &HeaderValue, wish: &Value) -> Result<Value> {
    send(connection, Method::POST, path, token, wish, StatusCode::CREATED).await
}

async fn send(
    connection: &mut Connection,
    method: Method,
    path: &str,
    token: &HeaderValue,
    wish: &Value,
    expected: StatusCode,
) -> Result<Value> {
    let mut request = post_json(path, token, wish.to_string().into())?;
    *request.method_mut() = method.clone();
    let response = connection.send(request).await?;
    ensure!(response.status() == expected, "{method} {path}: {}", describe(&response));
    Ok(serde_json::from_slice(response.body())?)
}
