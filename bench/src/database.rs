//! Where the measured servers keep things: a folder for SQLite, a database server of its own for PostgreSQL and Redis.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{store::Store, usage};

/// The scripts that start and end a database server, with durable settings.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts");
/// The database within PostgreSQL.
const NAME: &str = "bench";

/// Where the measured servers keep things; dropping it ends the database server and removes its files.
pub struct Database {
    /// Of what kind it is.
    pub store: Store,
    folder: TempDir,
    server: Option<Server>,
}

/// A running database server.
struct Server {
    url: String,
    pid: u32,
}

impl Database {
    /// Starts one with its files below `folder`.
    pub async fn start(store: Store, folder: PathBuf) -> Result<Self> {
        // Whoever is interrupted waits for a thread to end and drops what it has made, so that no half-started server is
        // left behind.
        tokio::task::spawn_blocking(move || Self::start_blocking(store, &folder)).await?
    }

    fn start_blocking(store: Store, below: &Path) -> Result<Self> {
        // PostgreSQL runs as another user when this is the superuser's.
        let readable = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new()
            .prefix(&format!("hookcast-bench-{store}."))
            .permissions(readable)
            .tempdir_in(below)?;
        let mut database = Self { store, folder, server: None };
        if store != Store::Sqlite {
            let url = database.script("start")?;
            database.server = Some(Server { url, pid: database.pid()? });
        }
        Ok(database)
    }

    /// Empties it, and tells the URL under which Hookcast finds it.
    pub fn renew(&self) -> Result<String> {
        let renewed = match (self.store, &self.server) {
            (Store::Postgres, Some(server)) => renew_postgres(&server.url),
            (Store::Redis, Some(server)) => renew_redis(&server.url),
            _ => renew_folder(&self.folder.path().join("store")),
        };
        renewed.with_context(|| format!("cannot make a new database of {}", self.store.name()))
    }

    /// Processor time that the database server has used so far; none where there is no such server.
    pub fn cpu_seconds(&self) -> Option<f64> {
        usage::cpu_seconds_with_children(self.server.as_ref()?.pid)
    }

    fn script(&self, verb: &str) -> Result<String> {
        let script = Path::new(SCRIPTS).join(self.store.to_string());
        let mut command = Command::new(&script);
        command.args([verb.as_ref(), self.files().as_os_str()]);
        // A group of its own: Ctrl-C is for the benchmark, which then ends what the script has started.
        command.process_group(0);
        output(command).with_context(|| format!("{} {verb}", script.display()))
    }

    fn pid(&self) -> Result<u32> {
        let file = if self.store == Store::Postgres { "data/postmaster.pid" } else { "pid" };
        let path = self.files().join(file);
        let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let first_line = content.lines().next().unwrap_or_default();
        first_line.trim().parse().with_context(|| format!("no process id in {}", path.display()))
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("server")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.store == Store::Sqlite {
            return;
        }
        let killed = self.script("kill");
        // One that did not start cannot be killed, and has told so.
        if let (Err(error), Some(_)) = (killed, &self.server) {
            eprintln!("{} may still run: {error:#}", self.store.name());
        }
    }
}

fn renew_postgres(url: &str) -> Result<String> {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", url]);
    command.args(["--command", &format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")]);
    command.args(["--command", &format!("CREATE DATABASE {NAME}")]);
    output(command)?;
    let (server, _) = url.rsplit_once('/').context("the URL names no database")?;
    Ok(format!("{server}/{NAME}"))
}

fn renew_redis(url: &str) -> Result<String> {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "-u", url, "FLUSHALL"]);
    output(command)?;
    Ok(url.to_owned())
}

fn renew_folder(folder: &Path) -> Result<String> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder)?;
    Ok(format!("sqlite://{}", folder.join("hookcast.db").display()))
}

/// Runs a command to its end, and tells what it printed.
fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The folder below which all stores keep their files, so that they are compared on the same disk: `out`, or the folder for
/// temporary files where PostgreSQL's own user may not enter `out`.
pub fn folder_for(stores: &[Store], out: &Path) -> Result<PathBuf> {
    let is_foreign = stores.contains(&Store::Postgres) && geteuid().is_root();
    Ok(if is_foreign && !is_open_to_all(out)? { std::env::temp_dir() } else { out.to_owned() })
}

fn is_open_to_all(path: &Path) -> Result<bool> {
    for folder in path.ancestors() {
        if fs::metadata(folder)?.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_folder_is_empty() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("store");
        let url = renew_folder(&folder).unwrap();
        assert_eq!(url, format!("sqlite://{}/hookcast.db", folder.display()));
        fs::write(folder.join("hookcast.db"), "old").unwrap();
        renew_folder(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_open_when_all_above_it_are() {
        let parent = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
        let inner = parent.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        assert!(is_open_to_all(&inner).unwrap());
        fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open_to_all(&inner).unwrap());
    }

    #[test]
    fn a_command_that_fails_tells_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it is broken >&2; exit 3"]);
        assert_eq!(output(command).unwrap_err().to_string(), "exit status: 3: it is broken");
    }
}
