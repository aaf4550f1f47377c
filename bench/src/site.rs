//! What every measurement works with: a binary, a store, a receiver.

use std::{fmt, ops::AddAssign, path::Path, time::Duration};

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    database::Database,
    load::{Accepted, Plan},
    process::{self, Receiver},
    server::{Server, TRIGGER_TOKEN},
    tally::Stats,
};

/// How long nothing may arrive before the rest is given up: longer than the pause before a first retry.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(25);

/// A setting of the server by its name in the environment.
pub type Setting = (&'static str, String);

/// What every measurement works with.
pub struct Site<'a> {
    /// The server's program.
    pub binary: &'a Path,
    /// Where it keeps things.
    pub database: &'a Database,
    /// Where its log goes.
    pub out: &'a Path,
    /// Where callbacks go.
    pub receiver: &'a mut Receiver,
    /// Where to say what goes on.
    pub progress: &'a ProgressBar,
}

/// What should have arrived once and did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Deliveries that did not arrive.
    pub lost: u64,
    /// Deliveries that arrived more than once, or that nobody asked for.
    pub surplus: u64,
}

impl Faults {
    /// Of a receiver that should have had `expected` deliveries.
    pub fn of(stats: Stats, expected: u64) -> Self {
        let lost = expected.saturating_sub(stats.distinct);
        Self { lost, surplus: stats.total.saturating_sub(expected.min(stats.distinct)) }
    }

    /// Whether there are any.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} lost, {} too many", self.lost, self.surplus)
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.surplus += other.surplus;
    }
}

impl Site<'_> {
    /// Starts a server on an empty store, with a receiver that remembers nothing.
    pub async fn fresh(&mut self, settings: &[Setting]) -> Result<Server> {
        self.receiver.reset().await?;
        let url = self.database.renew()?;
        self.start(&url, settings).await
    }

    /// Starts a server on the store at `url` as it is.
    pub async fn start(&self, url: &str, settings: &[Setting]) -> Result<Server> {
        Server::start(self.binary, url, settings, self.out).await
    }

    /// Triggers what `plan` says, and waits until `expected` deliveries have arrived since the receiver's last reset.
    pub async fn load(&mut self, server: &Server, plan: &Plan, expected: u64) -> Result<Accepted> {
        let load = process::load(server.address, TRIGGER_TOKEN, plan);
        let (accepted, ()) = tokio::try_join!(load, drained(self.receiver, expected, self.progress))?;
        // A server that refused the load for long may have worn out the first wait's patience.
        self.drained(expected).await?;
        Ok(accepted)
    }

    /// Waits until `expected` deliveries have arrived, or nothing arrives any more.
    pub async fn drained(&mut self, expected: u64) -> Result<()> {
        drained(self.receiver, expected, self.progress).await
    }
}

async fn drained(receiver: &mut Receiver, expected: u64, progress: &ProgressBar) -> Result<()> {
    let mut arrived = 0;
    let mut deadline = Instant::now() + PATIENCE;
    while arrived < expected && Instant::now() < deadline {
        sleep(POLL).await;
        let now_arrived = receiver.stats().await?.distinct;
        if now_arrived > arrived {
            arrived = now_arrived;
            deadline = Instant::now() + PATIENCE;
        }
        progress.set_message(format!("{arrived} of {expected} delivered"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_are_told_apart() {
        let stats = |total, distinct| Stats {
            total,
            distinct,
            duplicates: total - distinct,
            first_after_mark_ns: None,
            last_arrival_ns: 0,
        };
        assert!(Faults::of(stats(5, 5), 5).is_none());
        assert_eq!(Faults::of(stats(5, 4), 5), Faults { lost: 1, surplus: 1 });
        assert_eq!(Faults::of(stats(6, 6), 5), Faults { lost: 0, surplus: 1 });
    }
}
