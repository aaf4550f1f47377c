//! What is measured, and what is hoped for.

use serde::Serialize;

use crate::measure::Measurement;

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
    /// At half the rate of deliveries that [`ONE_SUBSCRIPTION`] reached.
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
    pub target: Option<Target>,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A rate, which is judged by its ratio to the limit; more is better.
    PerSecond,
    /// A latency; less is better.
    Milliseconds,
    /// Processor time; less is better.
    Seconds,
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

impl Target {
    const fn ratio(least: f64, goal: f64) -> Option<Self> {
        Some(Self { least, goal })
    }

    const fn at_most(most: f64) -> Option<Self> {
        Some(Self { least: most, goal: most })
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
            delivered("delivered, fan-out 1", Target::ratio(0.25, 0.35)),
            Metric {
                name: "CPU for 10,000, fan-out 1",
                unit: Unit::Seconds,
                read: |measured| measured.cpu_seconds,
                target: Target::at_most(1.0),
            },
        ],
    ),
    saturating("fan-out 10", 10, 1, &[delivered("delivered, fan-out 10", Target::ratio(0.50, 0.70))]),
    saturating("fan-out 100", 100, 1, &[delivered("delivered, fan-out 100", None)]),
    saturating("batches of 100", 1, 100, &[delivered("delivered, batches of 100", Target::ratio(0.50, 0.70))]),
    Scenario {
        name: "100 events/s",
        fan_out: 1,
        batch: 1,
        pace: Pace::Rate(100.0),
        metrics: &[
            p50("latency p50 at 100/s", Target::at_most(1.0)),
            p99("latency p99 at 100/s", Target::at_most(3.0)),
        ],
    },
    Scenario {
        name: "half of saturation",
        fan_out: 1,
        batch: 1,
        pace: Pace::HalfOfSaturation,
        metrics: &[p50("latency p50 at half load", None), p99("latency p99 at half load", None)],
    },
];

const fn saturating(name: &'static str, fan_out: u64, batch: u64, metrics: &'static [Metric]) -> Scenario {
    Scenario { name, fan_out, batch, pace: Pace::Saturating, metrics }
}

const fn accepted(name: &'static str) -> Metric {
    Metric { name, unit: Unit::PerSecond, read: |measured| Some(measured.accepted_per_second), target: None }
}

const fn delivered(name: &'static str, target: Option<Target>) -> Metric {
    Metric { name, unit: Unit::PerSecond, read: |measured| Some(measured.delivered_per_second), target }
}

const fn p50(name: &'static str, target: Option<Target>) -> Metric {
    let read = |measured: &Measurement| Some(f64::from(measured.latency.p50_us) / 1000.0);
    Metric { name, unit: Unit::Milliseconds, read, target }
}

const fn p99(name: &'static str, target: Option<Target>) -> Metric {
    let read = |measured: &Measurement| Some(f64::from(measured.latency.p99_us) / 1000.0);
    Metric { name, unit: Unit::Milliseconds, read, target }
}

#[cfg(test)]
mod tests {
    use super::*;

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
