//! Mail servers of a test's own, and what arrives there.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::command::Running;

/// A mail server that keeps what it gets. It goes with this value.
pub struct MailServer {
    folder: TempDir,
    pub url: String,
    _process: Running,
}

impl MailServer {
    /// Starts one, with options as its script takes them.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/smtp"));
        command.arg(folder.path()).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Running::from(command.spawn().unwrap());
        let url = process.stdout.with("://");
        Self { folder, url, _process: process }
    }

    /// Its URL with a name and a password.
    pub fn url_with(&self, login: &str) -> String {
        self.url.replace("://", &format!("://{login}@"))
    }

    /// The mails that it has taken so far, in the order in which they came.
    pub fn mails(&self) -> Vec<Value> {
        let texts = (1..).map_while(|n| fs::read_to_string(self.folder.path().join(format!("{n}.json"))).ok());
        texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
    }
}
