//! From single runs to the rows of the table.

use std::fmt;

use serde::Serialize;

use crate::{
    measure::Measurement,
    scenario::{Metric, SCENARIOS, Scenario, Target, Unit, Verdict},
    store::Store,
};

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Whether it was a quick look only.
    pub quick: bool,
    /// How many processors there were.
    pub cores: usize,
    /// The limit, each time it was measured, in requests per second.
    pub limits: Vec<f64>,
    /// The stores that were compared.
    pub stores: Vec<Store>,
    /// The runs: scenario by scenario, and the stores one after the other within each.
    pub series: Vec<Series>,
}

/// The runs of one scenario on one store.
#[derive(Debug, Serialize)]
pub struct Series {
    /// What was done.
    pub scenario: Scenario,
    /// On which store.
    pub store: Store,
    /// What came out of it.
    pub runs: Vec<Run>,
}

/// One run of a scenario.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The limit at the same time.
    pub limit: Option<f64>,
    /// What came out of it.
    #[serde(flatten)]
    pub measured: Measurement,
}

/// A row of the table: medians over the runs.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it tells.
    pub name: &'static str,
    /// On which store; none for what concerns the machine.
    pub store: Option<Store>,
    /// How much it is.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// To the limit, computed run by run.
    pub ratio: Option<f64>,
    /// What is hoped for.
    pub target: Option<Target>,
    /// Whether it is reached.
    pub verdict: Option<Verdict>,
    /// Processor time of the server for 10,000 deliveries.
    pub cpu_seconds: Option<f64>,
    /// Processor time of the database server for 10,000 deliveries.
    pub database_cpu_seconds: Option<f64>,
    /// The most memory that the server took.
    pub peak_mib: Option<f64>,
}

impl Results {
    /// Results without any run.
    pub fn new(quick: bool, stores: Vec<Store>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let on_each = |scenario| stores.iter().map(move |&store| Series { scenario, store, runs: Vec::new() });
        let series = SCENARIOS.into_iter().flat_map(on_each).collect();
        Self { quick, cores, limits: Vec::new(), stores, series }
    }

    /// The rows of the table: number by number, with the stores side by side.
    pub fn rows(&self) -> Vec<Row> {
        let limit = Row { value: median(self.limits.iter().copied()).unwrap_or(0.0), ..Row::LIMIT };
        let mut rows = vec![limit];
        for group in self.by_scenario() {
            for metric in group[0].scenario.metrics {
                rows.extend(group.iter().filter_map(|series| series.row(metric)));
            }
        }
        rows
    }

    /// The series of each scenario, one for each store.
    pub fn by_scenario(&self) -> impl Iterator<Item = &[Series]> {
        self.series.chunk_by(|one, next| one.scenario.name == next.scenario.name)
    }

    /// What makes the results worthless.
    pub fn faults(&self) -> Vec<String> {
        let runs = self.series.iter().flat_map(|series| series.runs.iter().map(move |run| (series, run)));
        let faulty = runs.filter(|(_, run)| !run.measured.is_valid());
        faulty
            .map(|(series, run)| {
                let Measurement { lost, surplus, .. } = run.measured;
                format!("{series}: {lost} lost, {surplus} too many")
            })
            .collect()
    }

    /// How many requests were refused for a while.
    pub fn refused(&self) -> u64 {
        self.series.iter().flat_map(|series| &series.runs).map(|run| run.measured.refused).sum()
    }
}

impl Series {
    /// The median of what `read` finds in the runs.
    pub fn median(&self, read: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(self.runs.iter().filter_map(read))
    }

    fn row(&self, metric: &Metric) -> Option<Row> {
        let value = self.median(|run| (metric.read)(&run.measured))?;
        let is_rate = metric.unit == Unit::PerSecond;
        let ratio = self.median(|run| Some((metric.read)(&run.measured)? / run.limit?)).filter(|_| is_rate);
        let judged = if is_rate { ratio } else { Some(value) };
        let target = metric.targets.of(self.store);
        Some(Row {
            name: metric.name,
            store: Some(self.store),
            value,
            unit: metric.unit,
            ratio,
            target,
            verdict: target.zip(judged).map(|(target, number)| target.judge(number, metric.unit)),
            cpu_seconds: self.median(|run| run.measured.cpu_seconds),
            database_cpu_seconds: self.median(|run| run.measured.database_cpu_seconds),
            peak_mib: self.median(|run| run.measured.peak_mib),
        })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.scenario.name, self.store.name())
    }
}

impl Row {
    const LIMIT: Self = Self {
        name: "the limit: a bare HTTP client",
        store: None,
        value: 0.0,
        unit: Unit::PerSecond,
        ratio: Some(1.0),
        target: None,
        verdict: None,
        cpu_seconds: None,
        database_cpu_seconds: None,
        peak_mib: None,
    };
}

fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Latency;

    fn run(limit: f64, delivered_per_second: f64, lost: u64) -> Run {
        let measured = Measurement {
            accepted_per_second: 0.0,
            delivered_per_second,
            latency: Latency::default(),
            cpu_seconds: None,
            database_cpu_seconds: None,
            peak_mib: None,
            refused: 0,
            lost,
            surplus: 0,
        };
        Run { limit: Some(limit), measured }
    }

    #[test]
    fn medians() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
    }

    fn series<'a>(results: &'a mut Results, scenario: &str, store: Store) -> &'a mut Series {
        let mut found = results.series.iter_mut();
        found.find(|series| (series.scenario.name, series.store) == (scenario, store)).unwrap()
    }

    #[test]
    fn ratios_are_computed_run_by_run_and_judged_by_the_store() {
        let mut results = Results::new(true, Store::ALL.into());
        // The machine was twice as fast in the second run, which concerns the limit and the server alike.
        for store in [Store::Sqlite, Store::Postgres] {
            series(&mut results, "fan-out 10", store).runs = vec![run(1000.0, 600.0, 0), run(2000.0, 1200.0, 0)];
        }
        let rows = results.rows();
        let found = rows.iter().filter(|row| row.name == "delivered, fan-out 10");
        let judged: Vec<_> = found.map(|row| (row.store, row.ratio, row.verdict)).collect();
        let expected = [(Store::Sqlite, Verdict::Least), (Store::Postgres, Verdict::Goal)];
        assert_eq!(judged, expected.map(|(store, verdict)| (Some(store), Some(0.6), Some(verdict))));
    }

    #[test]
    fn the_stores_stand_side_by_side() {
        let mut results = Results::new(true, vec![Store::Sqlite, Store::Redis]);
        for store in [Store::Sqlite, Store::Redis] {
            series(&mut results, "fan-out 1", store).runs = vec![run(1000.0, 600.0, 0)];
        }
        let rows = results.rows();
        let found: Vec<_> = rows.iter().map(|row| (row.name, row.store)).collect();
        let name = "accepted, fan-out 1";
        assert_eq!(found[1..3], [(name, Some(Store::Sqlite)), (name, Some(Store::Redis))]);
        assert_eq!(found[3], ("delivered, fan-out 1", Some(Store::Sqlite)));
    }

    #[test]
    fn a_loss_is_a_fault() {
        let mut results = Results::new(true, Store::ALL.into());
        series(&mut results, "fan-out 1", Store::Redis).runs = vec![run(1.0, 1.0, 0)];
        assert!(results.faults().is_empty());
        series(&mut results, "fan-out 1", Store::Redis).runs = vec![run(1.0, 1.0, 3)];
        assert_eq!(results.faults(), ["fan-out 1 on Redis: 3 lost, 0 too many"]);
    }
}
