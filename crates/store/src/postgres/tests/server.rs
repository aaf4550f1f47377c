//! Servers of a test's own, to be set up, stopped and killed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::{
    Settings, Store, StoreError,
    conformance::{place::Place, world::World},
    postgres::PostgresStore,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");

/// A server that goes with this value.
pub(super) struct Server {
    folder: TempDir,
    pub url: String,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::start_by(|server| {
            let mut command = Command::new(SCRIPT);
            command.arg("start").arg(server);
            command
        })
    }

    /// Starts one by a command that may do more than the script does.
    pub(super) fn start_by(command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL is another user where the test is the superuser.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let url = output(command(&folder.path().join("server")));
        Self { folder, url }
    }

    /// A server with these lines in its configuration.
    pub(super) fn set_up(lines: &[&str]) -> Self {
        let server = Self::start();
        server.set(lines);
        server
    }

    /// Starts it again with more lines in its configuration.
    pub(super) fn set(&self, lines: &[&str]) {
        self.stop();
        let mut file = fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).unwrap();
        writeln!(file, "{}", lines.join("\n")).unwrap();
        self.start_again();
    }

    pub(super) fn start_again(&self) {
        assert_eq!(self.run("start"), self.url);
    }

    /// Waits until a store that has been open on it works again: its dead connections are found out one by one.
    pub(super) async fn found_again_by(&self, store: &dyn Store) {
        while let Err(error) = store.check().await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
    }

    pub(super) fn stop(&self) {
        self.run("stop");
    }

    /// Ends it as a power cut would end its processes.
    pub(super) fn kill(&self) {
        self.run("kill");
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("server/data")
    }

    /// What it has written to its log.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server/log")).unwrap()
    }

    pub(super) fn port(&self) -> &str {
        self.url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1
    }

    /// The URL of one of its databases.
    pub(super) fn database(&self, name: &str) -> String {
        format!("{}/{name}", self.url.rsplit_once('/').unwrap().0)
    }

    pub(super) async fn sql(&self, script: &str) {
        sql(&self.url, script).await;
    }

    pub(super) async fn world(&self) -> World {
        World::new(Place::at(&self.url, Settings::default())).await
    }

    pub(super) async fn open(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(&self.url, &Settings::default()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let mut command = Command::new(SCRIPT);
        let command = command.arg("kill").arg(self.folder.path().join("server"));
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Server {
    fn run(&self, verb: &str) -> String {
        let mut command = Command::new(SCRIPT);
        command.arg(verb).arg(self.folder.path().join("server"));
        output(command)
    }
}

fn output(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs SQL beside the store.
pub(super) async fn sql(url: &str, script: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(script).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// Gives a file to the user that the server runs as.
pub(super) fn give_to_server(file: &Path, server: &Server) {
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(server.data()).unwrap();
    std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
