//! What an act comes to, and whether that is what it must be.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use http::StatusCode;
use serde::Serialize;

use super::act::Record;
use crate::receiver::Verdict;

/// An act in numbers.
#[derive(Debug, Serialize)]
pub struct Tally {
    act: &'static str,
    /// Events that were triggered.
    events: usize,
    /// Events that arrived and were taken.
    delivered: usize,
    /// Callbacks with a right signature.
    verified: usize,
    /// Callbacks.
    attempts: usize,
    /// Callbacks for events that had arrived before.
    retries: usize,
    /// Callbacks that the receiver failed.
    failures: usize,
    latency_ms: Latency,
    /// What is not as it must be.
    problems: Vec<String>,
}

/// From the trigger to the callback that was taken, in milliseconds.
#[derive(Debug, Default, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Tally {
    /// Counts and checks.
    pub fn of(record: &Record) -> Self {
        let is_taken = |status| status == StatusCode::OK;
        let arrivals = &record.arrivals;
        let mut problems = Vec::new();
        let (mut delivered, mut arrived) = (0, 0);
        let mut latencies = Vec::new();
        for triggered in &record.triggered {
            let own = || arrivals.iter().filter(|arrival| arrival.id == triggered.id);
            arrived += usize::from(own().next().is_some());
            let mut taken = own().filter(|arrival| is_taken(arrival.status));
            if let Some(first) = taken.next() {
                delivered += 1;
                latencies.push(first.at.duration_since(triggered.at));
            } else {
                problems.push(format!("{} was not delivered", triggered.id));
            }
            let again = taken.count();
            if again > 0 {
                problems.push(format!("{} was delivered {} times", triggered.id, again + 1));
            }
            if own().any(|arrival| arrival.payload != triggered.payload) {
                problems.push(format!("{} arrived with another payload", triggered.id));
            }
        }
        let verified = arrivals.iter().filter(|arrival| arrival.verdict == Verdict::Verified).count();
        let failures = arrivals.iter().filter(|arrival| !is_taken(arrival.status)).count();
        let unknown = arrivals
            .iter()
            .filter(|arrival| record.triggered.iter().all(|triggered| triggered.id != arrival.id))
            .count();
        if verified != arrivals.len() {
            problems.push(format!("{} callbacks had no right signature", arrivals.len() - verified));
        }
        if unknown > 0 {
            problems.push(format!("{unknown} callbacks were for events that nobody triggered"));
        }
        if !u64::try_from(failures).is_ok_and(|failures| failures == record.failures_meant) {
            problems.push(format!("{failures} attempts failed instead of {}", record.failures_meant));
        }
        Self {
            act: record.name,
            events: record.triggered.len(),
            delivered,
            verified,
            attempts: arrivals.len(),
            retries: arrivals.len() - arrived - unknown,
            failures,
            latency_ms: Latency::of(latencies),
            problems,
        }
    }

    /// What is not as it must be.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Latency {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        // The nearest rank: a latency that occurred, and no mean of two.
        let percentile = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            latencies.get(rank.saturating_sub(1)).map_or(0.0, |latency| {
                // Hundredths of a millisecond are more than the clocks of two processes are worth.
                (latency.as_secs_f64() * 100_000.0).round() / 100.0
            })
        };
        Self { p50: percentile(50), p99: percentile(99), max: percentile(100) }
    }
}

/// All acts in a table.
pub fn table(tallies: &[Tally]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "act",
        "events",
        "delivered",
        "verified",
        "attempts",
        "retries",
        "failures",
        "p50 ms",
        "p99 ms",
        "max ms",
    ]);
    for tally in tallies {
        let counts = [tally.events, tally.delivered, tally.verified, tally.attempts, tally.retries, tally.failures];
        let Latency { p50, p99, max } = tally.latency_ms;
        let mut row = vec![Cell::new(tally.act)];
        row.extend(counts.map(Cell::new));
        row.extend([p50, p99, max].map(|latency| Cell::new(format!("{latency:.1}"))));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::cli::demo::{act::Triggered, subscriber::Arrival};

    fn arrival(id: &str, begin: Instant, after_ms: u64, status: u16) -> Arrival {
        Arrival {
            id: id.into(),
            payload: Value::Null,
            verdict: Verdict::Verified,
            at: begin + Duration::from_millis(after_ms),
            status: StatusCode::from_u16(status).unwrap(),
        }
    }

    fn record(failures_meant: u64, ids: &[&str], arrivals: &[(&str, u64, u16)]) -> Record {
        let begin = Instant::now();
        Record {
            name: "test",
            failures_meant,
            triggered: ids.iter().map(|id| Triggered { id: (*id).into(), payload: Value::Null, at: begin }).collect(),
            arrivals: arrivals.iter().map(|(id, after, status)| arrival(id, begin, *after, *status)).collect(),
        }
    }

    #[test]
    fn what_must_be_has_no_problems() {
        let tally = Tally::of(&record(1, &["a", "b"], &[("a", 1, 500), ("b", 2, 200), ("a", 30, 200)]));
        assert_eq!(tally.problems(), [""; 0]);
        assert_eq!((tally.events, tally.delivered, tally.verified), (2, 2, 3));
        assert_eq!((tally.attempts, tally.retries, tally.failures), (3, 1, 1));
        assert_eq!((tally.latency_ms.p50, tally.latency_ms.p99), (2.0, 30.0));
    }

    #[test]
    fn what_must_not_be_is_named() {
        let mut record = record(0, &["a", "b", "c"], &[("a", 1, 200), ("a", 2, 200), ("b", 3, 500), ("x", 4, 200)]);
        record.arrivals[0].verdict = Verdict::WrongSignature;
        record.arrivals[2].payload = json!(1);
        let tally = Tally::of(&record);
        assert_eq!(
            tally.problems(),
            [
                "a was delivered 2 times",
                "b was not delivered",
                "b arrived with another payload",
                "c was not delivered",
                "1 callbacks had no right signature",
                "1 callbacks were for events that nobody triggered",
                "1 attempts failed instead of 0",
            ]
        );
        assert_eq!(tally.retries, 1);
    }

    #[test]
    fn percentiles_are_latencies_that_occurred() {
        let latency = Latency::of((1..=200).map(Duration::from_millis).collect());
        assert_eq!((latency.p50, latency.p99, latency.max), (100.0, 198.0, 200.0));
        let none = Latency::of(Vec::new());
        assert_eq!((none.p50, none.p99, none.max), (0.0, 0.0, 0.0));
    }
}
