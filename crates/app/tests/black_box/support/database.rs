//! Database servers: the shared ones that the tests are run with, and those of a test's own, to be stopped and killed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::server::Home;

/// Kinds of database servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    Redis,
}

impl Kind {
    /// What starts and stops one.
    fn script(self) -> &'static str {
        match self {
            Self::Postgres => concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres"),
            Self::Redis => concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/redis"),
        }
    }

    /// A store of its own on the server that all tests share.
    pub async fn shared(self) -> String {
        let name = format!("box_{:x}_{:x}", std::process::id(), rand::random::<u64>());
        match self {
            Self::Postgres => {
                let server = variable("HOOKCAST_TEST_POSTGRES");
                let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
                format!("{}/{name}", server.rsplit_once('/').unwrap().0)
            }
            Self::Redis => format!("{}?prefix={name}", variable("HOOKCAST_TEST_REDIS")),
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} names no server: run the tests with `make test`, or behind `scripts/with-stores`")
    })
}

/// A server of a test's own. It goes with this value.
pub struct Database {
    kind: Kind,
    folder: TempDir,
    pub url: String,
}

impl Database {
    pub fn start(kind: Kind) -> Self {
        let folder = new_folder();
        let url = run(kind, "start", &folder.path().join("server"));
        Self { kind, folder, url }
    }

    /// Starts it again, where it was.
    pub fn start_again(&self) {
        assert_eq!(self.run("start"), self.url);
    }

    /// Starts a PostgreSQL that follows this one, which from now on waits for it at every commit.
    pub fn standby(&self) -> Self {
        let folder = new_folder();
        let primary = self.folder.path().join("server");
        let mut command = Command::new(self.kind.script());
        let url = output(command.arg("standby").arg(folder.path().join("server")).arg(primary));
        Self { kind: self.kind, folder, url }
    }

    /// Makes a standby a server of its own, which waits for no other.
    pub async fn promote(&self) {
        self.run("promote");
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// Adds lines to its settings, which it follows from its next start on.
    pub fn configure(&self, lines: &str) {
        use std::io::Write as _;
        let file = self.folder.path().join("server/data/postgresql.conf");
        writeln!(fs::OpenOptions::new().append(true).open(file).unwrap(), "{lines}").unwrap();
    }

    /// Stops it as an operator would.
    pub fn stop(&self) {
        self.run("stop");
    }

    /// Ends it as a power cut would end its processes.
    pub fn kill(&self) {
        self.run("kill");
    }

    /// Lets it stand still: connections stay, and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal to all of its processes.
    fn signal(&self, name: &str) {
        let file = match self.kind {
            Kind::Postgres => "data/postmaster.pid",
            Kind::Redis => "pid",
        };
        let text = fs::read_to_string(self.folder.path().join("server").join(file)).unwrap();
        let main = text.lines().next().unwrap().trim().to_owned();
        let all = children(&main).into_iter().chain([main]);
        // A child may have ended meanwhile.
        Command::new("kill").args(["-s", name]).args(all).stderr(Stdio::null()).status().unwrap();
    }

    fn run(&self, verb: &str) -> String {
        run(self.kind, verb, &self.folder.path().join("server"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut command = Command::new(self.kind.script());
        let command = command.arg("kill").arg(self.folder.path().join("server"));
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The processes that this one has started.
fn children(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_child = |process: &String| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|found| found.trim() == parent))
    };
    processes.filter(is_child).collect()
}

/// A folder for a server. PostgreSQL is another user where the test is the superuser.
fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn run(kind: Kind, verb: &str, folder: &Path) -> String {
    output(Command::new(kind.script()).arg(verb).arg(folder))
}

/// What a script prints; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Home {
    /// Settings for nodes on a database server, which notice soon when one of them has died.
    pub fn on(url: &str) -> Self {
        Self::new()
            .set("HOOKCAST_DATABASE_URL", url)
            .set("HOOKCAST_DELIVERY_TIMEOUT", "1s")
            .set("HOOKCAST_DELIVERY_CONNECT_TIMEOUT", "1s")
            .set("HOOKCAST_DELIVERY_LEASE", "3s")
    }
}
