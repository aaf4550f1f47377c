//! `hookcast demo`.

mod act;
mod acts;
mod api;
mod folder;
mod screen;
mod server;
mod subscriber;
mod tally;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::listen::{
    interrupted,
    paint::{BAD, GOOD},
};
use act::{Act, Record};
use api::Api;
use folder::Folder;
use screen::Screen;
use server::Server;
use tally::{Tally, table};

/// For everything together.
const DEADLINE: Duration = Duration::from_secs(60);

/// So much is shown of the log of a server that did not do its part.
const LOG_LINES: usize = 15;

/// See it all work: a server, receivers good and bad, and fifty citation events.
///
/// A server of its own runs on a free port, with its store in a temporary folder; nothing else is touched. Exits with 0 if
/// every event arrived exactly once, rightly signed, and every failure was dealt with as it must be.
#[derive(clap::Args)]
pub struct Args {
    /// Keep the temporary folder with the store and the server's log
    #[arg(long)]
    keep: bool,
    /// Print nothing but the summary, as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let links = acts::links()?;
    let interrupted = interrupted()?;
    let folder = Folder::new(args.keep).context("there is no place for a temporary folder")?;
    let screen = Screen::new(acts::callbacks(&links), args.json);
    let mut server = Server::start(folder.path())?;
    let result = tokio::select! {
        result = timeout(DEADLINE, perform(&mut server, &screen, &links)) => {
            Some(result.unwrap_or_else(|_| Err(anyhow!("it took longer than {DEADLINE:?}"))))
        }
        () = interrupted => None,
    };
    server.kill().await;
    screen.clear();
    if args.keep {
        writeln!(io::stderr(), "The store and the server's log are in {}", folder.path().display())?;
    }
    let records = result.context("interrupted")?.inspect_err(|_| show_log(folder.path()))?;
    let tallies: Vec<_> = records.iter().map(Tally::of).collect();
    conclude(&tallies, begun.elapsed(), &screen, args.json)
}

/// The whole demo. Callbacks are counted once the server has stopped, so that none can be missed.
async fn perform(server: &mut Server, screen: &Screen, links: &[Value]) -> anyhow::Result<Vec<Record>> {
    screen.step(&format!("starting a server on {}", server.address()))?;
    let api = server.ready().await?;
    let acts = tokio::select! {
        acts = play((&api, screen), links) => acts?,
        status = server.ended() => bail!("the server ended by itself: {}", status?),
    };
    screen.step("stopping the server")?;
    server.stop().await?;
    Ok(acts.into_iter().map(Act::end).collect())
}

async fn play<'a>(stage: (&'a Api, &'a Screen), links: &[Value]) -> anyhow::Result<[Act<'a>; 3]> {
    Ok([
        acts::citations(stage, links).await.context("in act one")?,
        acts::stumbling(stage, links).await.context("in act two")?,
        acts::outage(stage, links).await.context("in act three")?,
    ])
}

fn show_log(folder: &Path) {
    let end = server::end_of_log(folder, LOG_LINES);
    if !end.is_empty() {
        // If stderr is closed there is nobody to show it to.
        let _ = writeln!(io::stderr(), "The server's log ends with:\n{end}\n");
    }
}

fn conclude(tallies: &[Tally], elapsed: Duration, screen: &Screen, as_json: bool) -> anyhow::Result<ExitCode> {
    let problems: Vec<_> = tallies.iter().flat_map(Tally::problems).collect();
    let seconds = (elapsed.as_secs_f64() * 100.0).round() / 100.0;
    let mut out = io::stdout();
    if as_json {
        writeln!(out, "{}", json!({"ok": problems.is_empty(), "seconds": seconds, "acts": tallies}))?;
    } else {
        writeln!(out, "\n{}", table(tallies))?;
        writeln!(out, "Milliseconds are from the trigger to the callback that was taken, retries included.\n")?;
        let paint = screen.paint();
        for problem in &problems {
            writeln!(out, "{} {problem}", paint.paint(BAD, '✗'))?;
        }
        if problems.is_empty() {
            let verdict =
                "Every event was delivered exactly once, every signature was right, every failure was made good.";
            writeln!(out, "{} {verdict} ({seconds:.1} s)", paint.paint(GOOD, '✓'))?;
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
