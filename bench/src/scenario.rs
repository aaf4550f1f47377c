//! What is measured, and what is hoped for.

use serde::Serialize;

use crate::{measure::Measurement, store::Store};

/// A way of using the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// Subscriptions for each event.
    pub fan_out: u64,
    /// Events in one request.
    pub batch: u64,
    /// How fast requests come.
    pub pace: Pace,
    /// What is of interest about it.
    #[serde(skip)]
    pub metrics: &'static [Metric],
}

/// How fast requests come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Pace {
    /// As fast as the server takes them.
    Saturating,
    /// At this rate per second.
    Rate(f64),
    /// At half the rate of deliveries that [`ONE_SUBSCRIPTION`] reached on the same store.
    HalfOfSaturation,
}

/// A number that a measurement yields.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// What it is called in the table.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Takes it out of a measurement.
    pub read: fn(&Measurement) -> Option<f64>,
    /// What is hoped for.
    pub targets: Targets,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A rate, which is judged by its ratio to the limit; more is better.
    PerSecond,
    /// A latency; less is better.
    Milliseconds,
    /// Processor time, or time; less is better.
    Seconds,
    /// A ratio to something else; less is better.
    Times,
    /// Memory; less is better.
    Mebibytes,
    /// Memory; less is better.
    Kibibytes,
}

/// What is hoped for from each store.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// From one within the server's process.
    embedded: Option<Target>,
    /// From one that is a server itself: it shares the machine, and every group of writes is a journey to it.
    remote: Option<Target>,
}

/// What is hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Worse is not good enough.
    pub least: f64,
    /// As good as one would wish.
    pub goal: f64,
}

/// How a number compares with its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as one would wish.
    Goal,
    /// Good enough.
    Least,
    /// Not good enough.
    Below,
}

impl Targets {
    const NONE: Self = Self { embedded: None, remote: None };

    /// The least and the goal, of each.
    const fn ratios(embedded: (f64, f64), remote: (f64, f64)) -> Self {
        let embedded = Target { least: embedded.0, goal: embedded.1 };
        let remote = Target { least: remote.0, goal: remote.1 };
        Self { embedded: Some(embedded), remote: Some(remote) }
    }

    const fn at_most(embedded: f64, remote: f64) -> Self {
        Self::ratios((embedded, embedded), (remote, remote))
    }

    /// What is hoped for from `store`.
    pub fn of(self, store: Store) -> Option<Target> {
        match store {
            Store::Sqlite => self.embedded,
            Store::Postgres | Store::Redis => self.remote,
        }
    }
}

impl Target {
    /// The goal of being no more than `most`, with nothing between good and bad.
    pub const fn at_most(most: f64) -> Self {
        Self { least: most, goal: most }
    }

    /// What to say about `number`, which is a ratio where `unit` is a rate.
    pub fn judge(self, number: f64, unit: Unit) -> Verdict {
        let reaches = |mark: f64| if unit == Unit::PerSecond { number >= mark } else { number <= mark };
        match (reaches(self.goal), reaches(self.least)) {
            (true, _) => Verdict::Goal,
            (_, true) => Verdict::Least,
            _ => Verdict::Below,
        }
    }
}

/// The name of the scenario whose saturation others refer to.
pub const ONE_SUBSCRIPTION: &str = "fan-out 1";

/// All scenarios, in the order in which they are measured.
pub const SCENARIOS: [Scenario; 7] = [
    saturating("accept only", 0, 1, &[accepted("accepted, no subscription")]),
    saturating(
        ONE_SUBSCRIPTION,
        1,
        1,
        &[
            accepted("accepted, fan-out 1"),
            delivered("delivered, fan-out 1", Targets::ratios((0.25, 0.35), (0.12, 0.20))),
            Metric {
                name: "CPU for 10,000, fan-out 1",
                unit: Unit::Seconds,
                read: |measured| measured.cpu_seconds,
                targets: Targets::at_most(1.0, 1.5),
            },
            memory("memory at saturation, fan-out 1"),
        ],
    ),
    saturating(
        "fan-out 10",
        10,
        1,
        &[
            delivered("delivered, fan-out 10", Targets::ratios((0.50, 0.70), (0.25, 0.40))),
            memory("memory at saturation, fan-out 10"),
        ],
    ),
    saturating(
        "fan-out 1,000",
        1000,
        1,
        &[delivered("delivered, fan-out 1,000", Targets::ratios((0.55, 0.80), (0.30, 0.50)))],
    ),
    saturating(
        "batches of 100",
        1,
        100,
        &[delivered("delivered, batches of 100", Targets::ratios((0.50, 0.70), (0.25, 0.40)))],
    ),
    Scenario {
        name: "100 events/s",
        fan_out: 1,
        batch: 1,
        pace: Pace::Rate(100.0),
        metrics: &[
            p50("latency p50 at 100/s", Targets::at_most(1.0, 2.0)),
            p99("latency p99 at 100/s", Targets::at_most(3.0, 5.0)),
        ],
    },
    Scenario {
        name: "half of saturation",
        fan_out: 1,
        batch: 1,
        pace: Pace::HalfOfSaturation,
        metrics: &[
            p50("latency p50 at half load", Targets::NONE),
            p99("latency p99 at half load", Targets::at_most(10.0, 20.0)),
        ],
    },
];

const fn saturating(name: &'static str, fan_out: u64, batch: u64, metrics: &'static [Metric]) -> Scenario {
    Scenario { name, fan_out, batch, pace: Pace::Saturating, metrics }
}

const fn accepted(name: &'static str) -> Metric {
    Metric { name, unit: Unit::PerSecond, read: |measured| Some(measured.accepted_per_second), targets: Targets::NONE }
}

const fn delivered(name: &'static str, targets: Targets) -> Metric {
    Metric { name, unit: Unit::PerSecond, read: |measured| Some(measured.delivered_per_second), targets }
}

const fn memory(name: &'static str) -> Metric {
    let read = |measured: &Measurement| measured.peak_mib;
    Metric { name, unit: Unit::Mebibytes, read, targets: Targets::at_most(60.0, 60.0) }
}

const fn p50(name: &'static str, targets: Targets) -> Metric {
    let read = |measured: &Measurement| Some(f64::from(measured.latency.p50_us) / 1000.0);
    Metric { name, unit: Unit::Milliseconds, read, targets }
}

const fn p99(name: &'static str, targets: Targets) -> Metric {
    let read = |measured: &Measurement| Some(f64::from(measured.latency.p99_us) / 1000.0);
    Metric { name, unit: Unit::Milliseconds, read, targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_a_server_has_targets_of_its_own() {
        let targets = Targets::at_most(1.0, 2.0);
        assert_eq!(targets.of(Store::Sqlite).map(|target| target.goal), Some(1.0));
        assert_eq!(targets.of(Store::Postgres), Some(Target { least: 2.0, goal: 2.0 }));
        assert_eq!(targets.of(Store::Redis), targets.of(Store::Postgres));
    }

    #[test]
    fn more_is_better_for_rates_and_less_for_times() {
        let rate = Target { least: 0.25, goal: 0.35 };
        assert_eq!(rate.judge(0.35, Unit::PerSecond), Verdict::Goal);
        assert_eq!(rate.judge(0.30, Unit::PerSecond), Verdict::Least);
        assert_eq!(rate.judge(0.20, Unit::PerSecond), Verdict::Below);
        let time = Target { least: 3.0, goal: 3.0 };
        assert_eq!(time.judge(2.9, Unit::Milliseconds), Verdict::Goal);
        assert_eq!(time.judge(3.1, Unit::Milliseconds), Verdict::Below);
    }
}
