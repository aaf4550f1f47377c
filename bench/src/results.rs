//! From single runs to the rows of the table.

use serde::Serialize;

use crate::{
    measure::Measurement,
    scenario::{SCENARIOS, Scenario, Target, Unit, Verdict},
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
    /// The runs, by scenario.
    pub series: Vec<Series>,
}

/// The runs of one scenario.
#[derive(Debug, Serialize)]
pub struct Series {
    /// What was done.
    pub scenario: Scenario,
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
    /// Processor time for 10,000 deliveries.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the server took.
    pub peak_mib: Option<f64>,
}

impl Results {
    /// Results without any run.
    pub fn new(quick: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let series = SCENARIOS.map(|scenario| Series { scenario, runs: Vec::new() });
        Self { quick, cores, limits: Vec::new(), series: series.into() }
    }

    /// The rows of the table.
    pub fn rows(&self) -> Vec<Row> {
        let limit = Row { value: median(self.limits.iter().copied()).unwrap_or(0.0), ..Row::LIMIT };
        [limit].into_iter().chain(self.series.iter().flat_map(Series::rows)).collect()
    }

    /// What makes the results worthless.
    pub fn faults(&self) -> Vec<String> {
        let runs = self.series.iter().flat_map(|series| series.runs.iter().map(|run| (series.scenario.name, run)));
        let faulty = runs.filter(|(_, run)| !run.measured.is_valid());
        faulty
            .map(|(name, run)| format!("{name}: {} lost, {} too many", run.measured.lost, run.measured.surplus))
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

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.scenario.metrics.iter().filter_map(|metric| {
            let value = self.median(|run| (metric.read)(&run.measured))?;
            let is_rate = metric.unit == Unit::PerSecond;
            let ratio = self.median(|run| Some((metric.read)(&run.measured)? / run.limit?)).filter(|_| is_rate);
            let judged = if is_rate { ratio } else { Some(value) };
            Some(Row {
                name: metric.name,
                value,
                unit: metric.unit,
                ratio,
                target: metric.target,
                verdict: metric.target.zip(judged).map(|(target, number)| target.judge(number, metric.unit)),
                cpu_seconds: self.median(|run| run.measured.cpu_seconds),
                peak_mib: self.median(|run| run.measured.peak_mib),
            })
        })
    }
}

impl Row {
    const LIMIT: Self = Self {
        name: "the limit: a bare HTTP client",
        value: 0.0,
        unit: Unit::PerSecond,
        ratio: Some(1.0),
        target: None,
        verdict: None,
        cpu_seconds: None,
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

    #[test]
    fn ratios_are_computed_run_by_run() {
        let mut results = Results::new(true);
        // The machine was twice as fast in the second run, which concerns the limit and the server alike.
        results.series[2].runs = vec![run(1000.0, 600.0, 0), run(2000.0, 1200.0, 0)];
        let row = results.rows().into_iter().find(|row| row.name == "delivered, fan-out 10").unwrap();
        assert_eq!((row.ratio, row.verdict), (Some(0.6), Some(Verdict::Least)));
    }

    #[test]
    fn a_loss_is_a_fault() {
        let mut results = Results::new(true);
        results.series[1].runs = vec![run(1.0, 1.0, 0)];
        assert!(results.faults().is_empty());
        results.series[1].runs = vec![run(1.0, 1.0, 3)];
        assert_eq!(results.faults(), ["fan-out 1: 3 lost, 0 too many"]);
    }
}
