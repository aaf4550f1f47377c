//! The whole of it: all scenarios, several times, with the limit before and after each.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    load::Plan,
    measure::{Measurement, measure},
    plot,
    process::Receiver,
    report,
    results::{Results, Run},
    scenario::{ONE_SUBSCRIPTION, Pace, SCENARIOS, Scenario},
};

const CONNECTIONS: usize = 64;

/// What to measure, and where to put it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure for a minute instead of five: good for a look, not for a comparison.
    #[arg(long)]
    quick: bool,
    /// The hookcast binary [default: next to this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// How often to measure each number; the median counts [default: 3, or 1 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Where to put bench.json, the plots and the server's log.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

impl Options {
    fn runs(&self) -> u32 {
        self.runs.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn limit_duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 700 } else { 1500 })
    }

    /// How long the deliveries of a scenario would take at the limit; a number of deliveries that suits the machine.
    fn seconds_at_limit(&self) -> f64 {
        if self.quick { 0.3 } else { 1.0 }
    }

    fn paced_seconds(&self) -> f64 {
        if self.quick { 5.0 } else { 10.0 }
    }
}

/// Measures, prints the table and writes the files.
pub async fn run(options: Options) -> Result<()> {
    fs::create_dir_all(&options.out)?;
    let server = options.server.clone().map_or_else(server_next_to_this, Ok)?;
    let server = server.canonicalize().with_context(|| format!("there is no server at {}", server.display()))?;
    let out = options.out.canonicalize()?;
    // Only the log of this run is of interest, and each server of it appends.
    fs::write(out.join("server.log"), "")?;

    let receiver = Receiver::start().await?;
    let progress = progress_bar(u64::from(options.runs()) * SCENARIOS.len() as u64);
    let mut bench = Bench { results: Results::new(options.quick), options, server, out, receiver, progress };
    bench.measure_all().await?;
    bench.progress.finish_and_clear();
    report(&bench.results, &bench.out)
}

fn report(results: &Results, out: &Path) -> Result<()> {
    report::print(results, out)?;
    report::write_json(results, &out.join("bench.json"))?;
    plot::ratios(results, &out.join("ratios.svg"))?;
    plot::latencies(results, &out.join("latencies.svg"))?;
    let faults = results.faults();
    ensure!(faults.is_empty(), "INVALID, these numbers are worth nothing:\n  {}", faults.join("\n  "));
    Ok(())
}

fn server_next_to_this() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("hookcast"))
}

fn progress_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise}  {prefix}: {msg}");
    let progress = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.enable_steady_tick(Duration::from_millis(200));
    progress
}

struct Bench {
    options: Options,
    server: PathBuf,
    out: PathBuf,
    receiver: Receiver,
    progress: ProgressBar,
    results: Results,
}

impl Bench {
    async fn measure_all(&mut self) -> Result<()> {
        // The scenarios that depend on the saturation of another come after all runs of that.
        let (saturating, paced): (Vec<_>, Vec<_>) =
            SCENARIOS.into_iter().enumerate().partition(|(_, scenario)| scenario.pace == Pace::Saturating);
        for _ in 0..self.options.runs() {
            let mut before = self.limit().await?;
            for (index, scenario) in &saturating {
                let measured = self.measure(scenario, before).await?;
                let after = self.limit().await?;
                // What else goes on on the machine drifts; the limit on both sides is the nearest to what it was between.
                self.record(*index, measured, Some(f64::midpoint(before, after)));
                before = after;
            }
        }
        for _ in 0..self.options.runs() {
            for (index, scenario) in &paced {
                let measured = self.measure(scenario, 0.0).await?;
                self.record(*index, measured, None);
            }
        }
        Ok(())
    }

    async fn limit(&mut self) -> Result<f64> {
        self.progress.set_prefix("the limit");
        self.progress.set_message("a bare HTTP client");
        let rate = self.receiver.limit(self.options.limit_duration()).await?.rate();
        self.results.limits.push(rate);
        Ok(rate)
    }

    async fn measure(&mut self, scenario: &Scenario, limit: f64) -> Result<Measurement> {
        self.progress.set_prefix(scenario.name);
        self.progress.set_message("starting");
        let plan = self.plan(scenario, limit)?;
        measure(&self.server, &self.out, &mut self.receiver, &plan, scenario.fan_out, &self.progress)
            .await
            .with_context(|| format!("in the scenario {:?}", scenario.name))
    }

    fn plan(&self, scenario: &Scenario, limit: f64) -> Result<Plan> {
        let rate = match scenario.pace {
            Pace::Saturating => None,
            Pace::Rate(rate) => Some(rate),
            Pace::HalfOfSaturation => Some(self.saturation()? / 2.0),
        };
        let events = match rate {
            Some(rate) => rate * self.options.paced_seconds(),
            None => limit * self.options.seconds_at_limit() / scenario.fan_out.max(1) as f64,
        };
        Ok(Plan { events: (events as u64).max(1), batch: scenario.batch, rate, connections: CONNECTIONS })
    }

    fn saturation(&self) -> Result<f64> {
        let series = self.results.series.iter().find(|series| series.scenario.name == ONE_SUBSCRIPTION);
        let rate = series.and_then(|series| series.median(|run| Some(run.measured.delivered_per_second)));
        match rate {
            Some(rate) if rate > 0.0 => Ok(rate),
            _ => bail!("nothing was delivered, so that there is no saturation"),
        }
    }

    fn record(&mut self, index: usize, measured: Measurement, limit: Option<f64>) {
        if !measured.is_valid() {
            let name = self.results.series[index].scenario.name;
            let Measurement { lost, surplus, .. } = measured;
            self.progress.suspend(|| eprintln!("INVALID: {name}: {lost} lost, {surplus} too many"));
        }
        self.results.series[index].runs.push(Run { limit, measured });
        self.progress.inc(1);
    }
}
