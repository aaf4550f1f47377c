//! The real binary as a child process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, http::Http};

pub const REGISTRATION_TOKEN: &str = "test-registration-token";
pub const TRIGGER_TOKEN: &str = "test-trigger-token";
pub const ADMIN_TOKEN: &str = "test-admin-token";

/// A folder with a store, and the settings to run commands on it.
pub struct Home {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Home {
    /// Settings fit for tests: callbacks to this machine are allowed, and retries come soon.
    pub fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap(), settings: Vec::new() };
        home.set("HOOKCAST_LISTEN", "127.0.0.1:0")
            .set("HOOKCAST_DATABASE_URL", "sqlite://data/hookcast.db")
            .set("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8")
            .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "20ms,20ms,20ms,20ms")
            .set("HOOKCAST_DATABASE_MIN_FREE_DISK", "0")
            .set("WEBHOOK_REGISTRATION_TOKEN", REGISTRATION_TOKEN)
            .set("WEBHOOK_TRIGGER_TOKEN", TRIGGER_TOKEN)
            .set("HOOKCAST_ADMIN_TOKEN", ADMIN_TOKEN)
    }

    /// Sets a variable of the environment, or another value for one.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(set, _)| set != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable.
    pub fn unset(mut self, name: &str) -> Self {
        self.settings.retain(|(set, _)| set != name);
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("data/hookcast.db")
    }

    /// All that clients have put into the store, row by row.
    pub fn stored(&self) -> Vec<String> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let mut rows = Vec::new();
        for table in [
            "accounts",
            "subscriptions",
            "events",
            "deliveries",
            "fingerprints",
            "idempotency_keys",
            "documents WHERE kind <> 'audit'",
        ] {
            let mut statement = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
                let values =
                    (0..columns).map(|column| row.get(column)).collect::<Result<Vec<rusqlite::types::Value>, _>>()?;
                Ok(format!("{table}: {values:?}"))
            };
            rows.extend(statement.query_map([], row).unwrap().map(Result::unwrap));
        }
        rows
    }

    /// Makes sure that nothing of [`stored`](Self::stored) has changed.
    #[track_caller]
    pub fn assert_stores(&self, before: &[String]) {
        let now = self.stored();
        let new: Vec<_> = now.iter().filter(|row| !before.contains(row)).collect();
        assert!(
            now == before,
            "the store has changed: {} rows were there, {} are, among them {new:?}",
            before.len(),
            now.len()
        );
    }

    /// A command on this folder, with nothing of this process's own environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookcast"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `hookcast resend --json`; its exit code, and what it says.
    pub fn resend(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.run(&[&["resend", "--json"], arguments].concat());
        let said = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("the pass failed: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), said)
    }

    /// Starts the server and waits until it listens.
    pub fn serve(&self) -> Server {
        match self.try_serve(&["serve"]) {
            Ok(server) => server,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// Starts a node of this role and waits until it listens.
    pub fn serve_as(&self, role: &str) -> Server {
        match self.try_serve(&["serve", "--role", role]) {
            Ok(server) => server,
            Err(log) => panic!("the node did not start:\n{log}"),
        }
    }

    /// Starts the server; what it wrote when it ends before it listens.
    pub fn try_serve(&self, arguments: &[&str]) -> Result<Server, String> {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, address) = mpsc::channel();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(length) if length > 0) {
                if let Some((_, rest)) = line.split_once("listening on http://") {
                    // In a line of JSON a quotation mark follows.
                    let address = rest.split(|c: char| c.is_whitespace() || c == '"').next();
                    let _ = sender.send(address.unwrap_or_default().to_owned());
                }
                written.lock().unwrap().push_str(&line);
                line.clear();
            }
            let _ = lines.read_to_end(&mut Vec::new());
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Server { http: Http::new(format!("http://{address}")), address, child, log }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(log.lock().unwrap().clone())
            }
        }
    }
}

/// A running server. Killed when it is dropped.
pub struct Server {
    pub http: Http,
    pub address: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it as an operator would.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Ends it as a power cut would end its process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}
