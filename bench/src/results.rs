//! From single runs to the rows of the table.

use std::fmt;

use serde::Serialize;

use crate::{
    ceiling::Ceilings,
    measure::Measurement,
    scenario::{Metric, Scenario, Target, Unit, Verdict},
    store::Store,
    study::{Finding, Study},
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
    /// What the parts of the benchmark could do by themselves.
    pub ceilings: Option<Ceilings>,
    /// The stores that were compared.
    pub stores: Vec<Store>,
    /// The runs: scenario by scenario, and the stores one after the other within each.
    pub series: Vec<Series>,
    /// The rest: part by part, and the stores one after the other within each.
    pub studies: Vec<Study>,
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
    pub name: String,
    /// On which store; none for what concerns the machine.
    pub store: Option<Store>,
    /// How much it is.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// To the limit, or to what the name says, computed run by run.
    pub ratio: Option<f64>,
    /// Of what its target is.
    pub judged: Unit,
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
    /// Results without any run, with room for those of the scenarios if there are to be any.
    pub fn new(quick: bool, stores: Vec<Store>, scenarios: &[Scenario]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let on_each = |&scenario| stores.iter().map(move |&store| Series { scenario, store, runs: Vec::new() });
        let series = scenarios.iter().flat_map(on_each).collect();
        Self { quick, cores, limits: Vec::new(), ceilings: None, stores, series, studies: Vec::new() }
    }

    /// The rows of the table: number by number, with the stores side by side.
    pub fn rows(&self) -> Vec<Row> {
        let limit = median(self.limits.iter().copied());
        let mut rows: Vec<_> = limit.map(Row::limit).into_iter().collect();
        if let Some(Ceilings { generator, receiver }) = self.ceilings {
            let row = |name: &str, value: f64| {
                Row::bare(name.into(), value, Unit::PerSecond, limit.map(|limit| value / limit))
            };
            rows.push(row("the load generator's own ceiling", generator));
            rows.push(row("the receiver's own ceiling", receiver));
        }
        for group in self.by_scenario() {
            for metric in group[0].scenario.metrics {
                rows.extend(group.iter().filter_map(|series| series.row(metric)));
            }
        }
        for part in self.studies.chunk_by(|one, next| one.part == next.part) {
            let most = part.iter().map(|study| study.findings.len()).max().unwrap_or(0);
            for number in 0..most {
                let found = |study: &Study| Some(Row::of(study.store, study.findings.get(number)?));
                rows.extend(part.iter().filter_map(found));
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
        let of_series = |series: &Series| {
            let found = series.runs.iter().map(|run| run.measured.faults);
            found.map(|faults| (series.to_string(), faults)).collect::<Vec<_>>()
        };
        let in_series = self.series.iter().flat_map(of_series);
        let in_studies = self.studies.iter().map(|study| (study.to_string(), study.faults));
        let found = in_series.chain(in_studies).filter(|(_, faults)| !faults.is_none());
        found.map(|(what, faults)| format!("{what}: {faults}")).collect()
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
            name: metric.name.into(),
            store: Some(self.store),
            value,
            unit: metric.unit,
            ratio,
            judged: metric.unit,
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
    fn limit(value: f64) -> Self {
        Self::bare("the limit: a bare HTTP client".into(), value, Unit::PerSecond, Some(1.0))
    }

    fn of(store: Store, finding: &Finding) -> Self {
        let Finding { name, value, unit, ratio, target } = finding;
        let judged = finding.judged();
        let verdict = target.map(|target| target.judge(judged.0, judged.1));
        let bare = Self::bare(name.clone(), *value, *unit, *ratio);
        Self { store: Some(store), target: *target, judged: judged.1, verdict, ..bare }
    }

    fn bare(name: String, value: f64, unit: Unit, ratio: Option<f64>) -> Self {
        Self {
            name,
            store: None,
            value,
            unit,
            ratio,
            judged: unit,
            target: None,
            verdict: None,
            cpu_seconds: None,
            database_cpu_seconds: None,
            peak_mib: None,
        }
    }
}

/// The median of `numbers`.
pub fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario::SCENARIOS, site::Faults, tally::Latency};

    fn run(limit: f64, delivered_per_second: f64, lost: u64) -> Run {
        let measured = Measurement {
            accepted_per_second: 0.0,
            delivered_per_second,
            latency: Latency::default(),
            cpu_seconds: None,
            database_cpu_seconds: None,
            peak_mib: None,
            refused: 0,
            faults: Faults { lost, surplus: 0 },
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
        let mut results = Results::new(true, Store::ALL.into(), &SCENARIOS);
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
        let mut results = Results::new(true, vec![Store::Sqlite, Store::Redis], &SCENARIOS);
        for store in [Store::Sqlite, Store::Redis] {
            series(&mut results, "fan-out 1", store).runs = vec![run(1000.0, 600.0, 0)];
        }
        let rows = results.rows();
        let found: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.store)).collect();
        let name = "accepted, fan-out 1";
        assert_eq!(found[..2], [(name, Some(Store::Sqlite)), (name, Some(Store::Redis))]);
        assert_eq!(found[2], ("delivered, fan-out 1", Some(Store::Sqlite)));
    }

    #[test]
    fn a_loss_is_a_fault() {
        let mut results = Results::new(true, Store::ALL.into(), &SCENARIOS);
        series(&mut results, "fan-out 1", Store::Redis).runs = vec![run(1.0, 1.0, 0)];
        assert!(results.faults().is_empty());
        series(&mut results, "fan-out 1", Store::Redis).runs = vec![run(1.0, 1.0, 3)];
        assert_eq!(results.faults(), ["fan-out 1 on Redis: 3 lost, 0 too many"]);
    }
}
