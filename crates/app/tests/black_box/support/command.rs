//! Commands: those that run to their end, and those that go on until they are stopped.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{PATIENCE, http::Http, server::Home};

/// What a command left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    /// Runs a command to its end.
    pub fn hookcast(&self, arguments: &[&str]) -> Ended {
        self.hookcast_reading("", arguments)
    }

    /// Runs a command that reads `input` to its end.
    pub fn hookcast_reading(&self, input: &str, arguments: &[&str]) -> Ended {
        finish(&mut self.command(arguments), input)
    }

    /// Runs a command to its end and makes sure that it succeeds; what it printed.
    #[track_caller]
    pub fn expect(&self, arguments: &[&str]) -> String {
        self.hookcast(arguments).expect(0).stdout
    }

    /// Runs a command to its end and makes sure that it fails with 1 and prints nothing; its complaint.
    #[track_caller]
    pub fn refusal(&self, arguments: &[&str]) -> String {
        self.hookcast(arguments).refusal()
    }

    /// Starts a command that goes on.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap().into()
    }

    /// Starts the server with these arguments and waits until it listens.
    pub fn serve_with(&self, arguments: &[&str]) -> (Running, Http) {
        let server = self.start(&[&["serve"], arguments].concat());
        let address = server.stderr.word_after("listening on ");
        (server, Http::new(address))
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }
}

/// Runs any command to its end.
pub fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who does not read it all has ended before; that shows elsewhere.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (stdout, stderr) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    let status = wait(&mut child).unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap()
    });
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Ended {
    /// The same, after making sure of the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn refusal(self) -> String {
        let Self { stdout, stderr, .. } = self.expect(1);
        assert_eq!(stdout, "");
        stderr
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// One JSON text a line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A command that goes on. Killed when it is dropped.
pub struct Running {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Running {
    /// Asks it to end as an operator would; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.end()
    }

    /// Waits until it ends by itself; its exit code.
    pub fn end(&mut self) -> Option<i32> {
        wait(&mut self.child).expect("the command ends").code()
    }
}

impl From<Child> for Running {
    fn from(mut child: Child) -> Self {
        let lines = |from: Option<Box<dyn Read + Send>>| from.map_or_else(|| Lines::of(io::empty()), Lines::of);
        let stdout = lines(child.stdout.take().map(|from| Box::new(from) as _));
        let stderr = lines(child.stderr.take().map(|from| Box::new(from) as _));
        Self { child, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("printed:\n{}\ncomplained:\n{}", self.stdout.all(), self.stderr.all());
        }
    }
}

/// The lines that a command writes.
pub struct Lines {
    next: mpsc::Receiver<String>,
    all: Arc<Mutex<String>>,
}

impl Lines {
    fn of(from: impl Read + Send + 'static) -> Self {
        let (sender, next) = mpsc::channel();
        let all = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&all);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                let line = line.unwrap();
                *copy.lock().unwrap() += &format!("{line}\n");
                let _ = sender.send(line);
            }
        });
        Self { next, all }
    }

    /// The next line that holds `text`.
    pub fn with(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let patience = PATIENCE.saturating_sub(begun.elapsed());
            match self.next.recv_timeout(patience) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => panic!("no line with `{text}` came, but:\n{}", self.all()),
            }
        }
    }

    /// What follows `text` in the next line that holds it, up to a space.
    pub fn word_after(&self, text: &str) -> String {
        let line = self.with(text);
        let (_, rest) = line.split_once(text).unwrap();
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// All lines that are still to come, once the command has ended.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next.recv_timeout(PATIENCE).ok()).collect()
    }

    /// Everything so far.
    pub fn all(&self) -> String {
        self.all.lock().unwrap().clone()
    }
}
