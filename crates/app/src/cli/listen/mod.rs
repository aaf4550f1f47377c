//! `hookcast listen`.

mod forward;
mod json_text;
pub(super) mod paint;
mod repeats;
mod reply;
mod report;

use std::{
    io::{self, Stdout, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use axum::response::{IntoResponse as _, Response};
use hookcast_core::clock::SystemClock;
use http::StatusCode;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use crate::receiver::{Key, Received, Receiver, Verifier};
use forward::{Forwarder, Target};
use paint::{Paint, STRONG};
use reply::Plan;
use report::{Answered, Reporter, Style};

/// How long answers that are on their way may take when it stops.
const GRACE: Duration = Duration::from_secs(2);

/// Receive webhooks on this machine: print them, verify them, forward them, or play a bad receiver.
///
/// Whatever is posted, to any path, is answered with 200 and printed. Ctrl-C ends it.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 it was ended, or --count was reached; 1 it could not listen.\n\nExamples:
  hookcast listen --secret-file secret.txt                 # print and verify
  hookcast listen --forward http://localhost:3000/hooks    # pass on to a program under development
  hookcast listen --fail 3 --status 503                    # see how failed deliveries are retried
  hookcast listen --json --count 1 | jq .body.payload      # wait for one delivery in a script")]
pub struct Args {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Short for --listen 127.0.0.1:PORT
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// The subscription's secret (whsec_) or its public key (whpk_), to verify signatures with; may be given several times.
    /// Other users of this machine can see it: --secret-file is for real secrets
    #[arg(long, value_name = "KEY")]
    secret: Vec<String>,
    /// A file with secrets or public keys, one in a line
    #[arg(long, value_name = "PATH")]
    secret_file: Vec<PathBuf>,
    /// Pass deliveries on to the program at this URL, the path appended, and answer what it answers; 502 if it does not
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    forward: Option<Target>,
    /// Answer the first N deliveries with 500, or with --status
    #[arg(long, value_name = "N")]
    fail: Option<u64>,
    /// Answer with this status; with --fail only the first N
    #[arg(long, value_name = "STATUS", value_parser = final_status)]
    status: Option<StatusCode>,
    /// Wait so many milliseconds before answering
    #[arg(long, value_name = "MS", default_value_t = 0, hide_default_value = true)]
    delay: u64,
    /// Exit after N deliveries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One line for each delivery, without its payload
    #[arg(long)]
    quiet: bool,
    /// One JSON object for each delivery on stdout: id, event, time, method, path, verified (true, false, or null without a
    /// secret), verdict, status, headers, body
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

fn final_status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()));
    status.ok_or_else(|| "must be a number from 200 to 599".into())
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.forward.is_none() || args.status.is_none() || args.fail.is_some(),
        "--status with --forward needs --fail: what is forwarded gets the answer of the program"
    );
    // Not left to the parser of the command line, which would show what it refuses.
    let given = args.secret.iter().map(|key| Key::parse(key).context("--secret"));
    let mut keys: Vec<_> = given.collect::<Result<_, _>>()?;
    for path in &args.secret_file {
        keys.extend(read_keys(path)?);
    }
    let style = match (args.json, args.quiet) {
        (true, _) => Style::Json,
        (_, true) => Style::Lines,
        _ => Style::Blocks,
    };
    let paint = Paint::for_stdout();
    let desk = Arc::new(Desk {
        plan: Plan::new(args.fail, args.status),
        forwarder: args.forward.clone().map(Forwarder::new).transpose()?,
        delay: Duration::from_millis(args.delay),
        count: args.count,
        received: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        reporter: Mutex::new(Reporter::new(io::stdout(), style, paint)),
        is_done: Notify::new(),
    });

    let address = args.port.map_or(args.listen, |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let interrupted = interrupted()?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let has_key = !keys.is_empty();
    let verifier = Verifier::new(keys);
    let receiver = Receiver::start(listener, verifier, Arc::new(SystemClock), {
        let desk = Arc::clone(&desk);
        move |received| Arc::clone(&desk).handle(received)
    })?;
    let introduction = introduction(receiver.address(), has_key, args.forward.as_ref(), paint);
    say(style, &introduction)?;

    tokio::select! {
        () = interrupted => {}
        () = desk.is_done.notified() => {}
    }
    receiver.stop(GRACE).await;
    let totals = desk.reporter.lock().unwrap_or_else(PoisonError::into_inner).totals();
    say(style, &format!("{totals}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves when the process is asked to end.
///
/// # Errors
/// The system refuses to tell.
pub(super) fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Tells people something, out of the way of programs that read stdout.
fn say(style: Style, text: &str) -> io::Result<()> {
    let said = match style {
        Style::Json => io::stderr().write_all(text.as_bytes()),
        Style::Lines | Style::Blocks => io::stdout().write_all(text.as_bytes()),
    };
    // Whoever closes the pipe has read enough.
    said.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

fn read_keys(path: &Path) -> anyhow::Result<Vec<Key>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let keys =
        lines.map(|(index, line)| Key::parse(line).with_context(|| format!("{}, line {}", path.display(), index + 1)));
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    ensure!(!keys.is_empty(), "{} holds no secret", path.display());
    Ok(keys)
}

/// What to do to get something here.
fn introduction(address: SocketAddr, has_key: bool, forward: Option<&Target>, paint: Paint) -> String {
    let reached = super::reachable(address);
    let network = match reached.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => "127.0.0.0/8".to_owned(),
        ip => ip.to_string(),
    };
    let url = paint.paint(STRONG, format!("http://{reached}/"));
    let mut text = format!("Subscribe with the URL {url} or any path below it.\n");
    text += &format!("The server must allow callbacks to it: HOOKCAST_DELIVERY_ALLOW_NETWORKS={network}\n");
    if !has_key {
        text += "To verify signatures, give the subscription's secret, or its public key, with --secret or --secret-file.\n";
    }
    if let Some(target) = forward {
        text += &format!("What arrives goes on to {target}\n");
    }
    text + "\n"
}

/// Where deliveries are answered and written down.
struct Desk {
    plan: Plan,
    forwarder: Option<Forwarder>,
    delay: Duration,
    count: Option<u64>,
    received: AtomicU64,
    answered: AtomicU64,
    reporter: Mutex<Reporter<Stdout>>,
    is_done: Notify,
}

impl Desk {
    async fn handle(self: Arc<Self>, received: Received) -> Response {
        let number = self.received.fetch_add(1, Ordering::Relaxed) + 1;
        let (response, reason) = match (self.plan.answer_to(number), &self.forwarder) {
            (Some(status), _) => (status.into_response(), None),
            (None, Some(forwarder)) => forwarder.pass(&received).await,
            (None, None) => (StatusCode::OK.into_response(), None),
        };
        self.report(&received, &Answered { status: response.status(), reason: reason.as_deref() });
        tokio::time::sleep(self.delay).await;
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if self.count.is_some_and(|count| answered >= count) {
            self.is_done.notify_one();
        }
        response
    }

    fn report(&self, received: &Received, answered: &Answered<'_>) {
        let written = self.reporter.lock().unwrap_or_else(PoisonError::into_inner).report(received, answered);
        if written.is_err() {
            // Nobody reads on.
            self.is_done.notify_one();
        }
    }
}
