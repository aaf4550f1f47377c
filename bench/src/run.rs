//! The whole of it: all scenarios on all stores, several times, with the limit before and after each.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    ceiling::Ceilings,
    database::{Database, folder_for},
    lines,
    load::{CONNECTIONS, Plan},
    measure::{Measurement, measure},
    plot,
    process::Receiver,
    report,
    results::{Results, Run, Series},
    scenario::{ONE_SUBSCRIPTION, Pace, SCENARIOS, Scenario},
    site::{Faults, Site},
    store::Store,
    study::{Part, Sizes, Study},
};

/// Events that show how fast the load generator is.
const CEILING_EVENTS: u64 = 50_000;

/// How many requests each connection makes at the least.
const ROUNDS: u64 = 4;

/// What to measure, and where to put it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure the first rows only, for a minute or so: good for a look, not for a comparison.
    #[arg(long)]
    quick: bool,
    /// Measure 100,000 subscriptions instead of 10,000, 10,000,000 past deliveries instead of 200,000, the whole drain of what
    /// waits, and dead subscriptions for longer: hours.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// What to measure [default: all, or `rates` with --quick].
    #[arg(long = "part", value_name = "PART", value_delimiter = ',')]
    parts: Vec<Part>,
    /// The stores to compare.
    #[arg(long = "store", value_name = "STORE", value_delimiter = ',', default_values_t = Store::ALL)]
    stores: Vec<Store>,
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

    fn sizes(&self) -> Sizes {
        match (self.quick, self.full) {
            (true, _) => Sizes::QUICK,
            (_, true) => Sizes::FULL,
            _ => Sizes::USUAL,
        }
    }

    /// Each part once, in the order of the table.
    fn parts(&self) -> Vec<Part> {
        let usual: &[Part] = if self.quick { &Part::QUICK } else { &Part::ALL };
        let wanted = if self.parts.is_empty() { usual } else { &self.parts };
        Part::ALL.into_iter().filter(|part| wanted.contains(part)).collect()
    }

    fn limit_duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 700 } else { 1000 })
    }

    /// Each store once, in the order of the table.
    fn stores(&self) -> Vec<Store> {
        Store::ALL.into_iter().filter(|store| self.stores.contains(store)).collect()
    }

    /// How long the deliveries of a scenario would take at the limit; a number of deliveries that suits the machine.
    fn seconds_at_limit(&self) -> f64 {
        if self.quick { 0.3 } else { 0.7 }
    }

    fn paced_seconds(&self) -> f64 {
        if self.quick { 4.0 } else { 6.0 }
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

    let (stores, parts) = (options.stores(), options.parts());
    let scenarios: &[Scenario] = if parts.contains(&Part::Rates) { &SCENARIOS } else { &[] };
    let results = Results::new(options.quick, stores, scenarios);
    let studies = parts.iter().filter(|&&part| part != Part::Rates).count() * results.stores.len();
    let progress = progress_bar(u64::from(options.runs()) * results.series.len() as u64 + studies as u64);
    let databases = start_databases(&results.stores, &out, &progress).await?;
    let receiver = Receiver::start().await?;
    let mut bench = Bench { options, server, out, databases, receiver, progress, results };
    bench.measure_all().await?;
    bench.study_all(&parts).await?;
    bench.progress.finish_and_clear();
    report(&bench.results, &bench.out)
}

fn report(results: &Results, out: &Path) -> Result<()> {
    report::print(results, out)?;
    report::write_json(results, &out.join("bench.json"))?;
    if !results.series.is_empty() {
        plot::ratios(results, &out.join("ratios.svg"))?;
        plot::latencies(results, &out.join("latencies.svg"))?;
    }
    lines::throughput(results, &out.join("throughput.svg"))?;
    lines::distributions(results, &out.join("distributions.svg"))?;
    lines::backlog(results, &out.join("backlog.svg"))?;
    let faults = results.faults();
    ensure!(faults.is_empty(), "INVALID, these numbers are worth nothing:\n  {}", faults.join("\n  "));
    Ok(())
}

fn server_next_to_this() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("hookcast"))
}

async fn start_databases(stores: &[Store], out: &Path, progress: &ProgressBar) -> Result<Vec<Database>> {
    let folder = folder_for(stores, out)?;
    if folder != out {
        let note =
            format!("the stores are below {}: PostgreSQL's user may not enter {}", folder.display(), out.display());
        progress.suspend(|| eprintln!("{note}"));
    }
    let mut databases = Vec::new();
    for &store in stores {
        show(progress, store.name(), "starting");
        let started = Database::start(store, folder.clone()).await;
        databases.push(started.with_context(|| format!("cannot start {}", store.name()))?);
    }
    Ok(databases)
}

fn progress_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise}  {prefix}: {msg}");
    let progress = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.enable_steady_tick(Duration::from_millis(200));
    progress
}

/// Shows what goes on now, and never what goes on next beside what was last.
fn show(progress: &ProgressBar, what: &str, state: &'static str) {
    progress.set_message("");
    progress.set_prefix(what.to_owned());
    progress.set_message(state);
}

struct Bench {
    options: Options,
    server: PathBuf,
    out: PathBuf,
    databases: Vec<Database>,
    receiver: Receiver,
    progress: ProgressBar,
    results: Results,
}

impl Bench {
    async fn measure_all(&mut self) -> Result<()> {
        // The scenarios that depend on the saturation of another come after all runs of that.
        let (saturating, paced): (Vec<_>, Vec<_>) = (0..self.results.series.len())
            .partition(|&index| self.results.series[index].scenario.pace == Pace::Saturating);
        if self.results.series.is_empty() {
            return Ok(());
        }
        show(&self.progress, "the ceilings", "load generator and receiver");
        let ceilings = Ceilings::measure(&mut self.receiver, CEILING_EVENTS, self.options.limit_duration());
        self.results.ceilings = Some(ceilings.await?);
        for _ in 0..self.options.runs() {
            let mut before = self.limit().await?;
            for &index in &saturating {
                let measured = self.measure(index, before).await?;
                let after = self.limit().await?;
                // What else goes on on the machine drifts; the limit on both sides is the nearest to what it was between.
                self.record(index, measured, Some(f64::midpoint(before, after)));
                before = after;
            }
        }
        for _ in 0..self.options.runs() {
            for &index in &paced {
                let measured = self.measure(index, 0.0).await?;
                self.record(index, measured, None);
            }
        }
        Ok(())
    }

    async fn limit(&mut self) -> Result<f64> {
        show(&self.progress, "the limit", "a bare HTTP client");
        let rate = self.receiver.limit(self.options.limit_duration()).await?.rate();
        self.results.limits.push(rate);
        Ok(rate)
    }

    async fn measure(&mut self, index: usize, limit: f64) -> Result<Measurement> {
        let series = &self.results.series[index];
        show(&self.progress, &series.to_string(), "starting");
        let plan = self.plan(series, limit)?;
        let (name, store, fan_out) = (series.to_string(), series.store, series.scenario.fan_out);
        measure(&mut self.site(store)?, &plan, fan_out).await.context(name)
    }

    fn site(&mut self, store: Store) -> Result<Site<'_>> {
        let database = self.databases.iter().find(|database| database.store == store);
        Ok(Site {
            binary: &self.server,
            database: database.context("the store was not started")?,
            out: &self.out,
            receiver: &mut self.receiver,
            progress: &self.progress,
        })
    }

    async fn study_all(&mut self, parts: &[Part]) -> Result<()> {
        let sizes = self.options.sizes();
        for &part in parts.iter().filter(|&&part| part != Part::Rates) {
            for store in self.results.stores.clone() {
                let name = format!("{} on {}", part.name(), store.name());
                show(&self.progress, &name, "starting");
                let study = Study::of(part, self.site(store)?, &sizes).await.context(name)?;
                self.warn(&study.to_string(), study.faults);
                self.results.studies.push(study);
                self.progress.inc(1);
            }
        }
        Ok(())
    }

    fn warn(&self, what: &str, faults: Faults) {
        if !faults.is_none() {
            self.progress.suspend(|| eprintln!("INVALID: {what}: {faults}"));
        }
    }

    fn plan(&self, Series { scenario, store, .. }: &Series, limit: f64) -> Result<Plan> {
        let rate = match scenario.pace {
            Pace::Saturating => None,
            Pace::Rate(rate) => Some(rate),
            Pace::HalfOfSaturation => Some(self.saturation(*store)? / 2.0),
        };
        let events = match rate {
            Some(rate) => rate * self.options.paced_seconds(),
            // Each connection is to have asked some times, or what is measured is how the first requests are taken in.
            None => {
                let suits = limit * self.options.seconds_at_limit() / scenario.fan_out.max(1) as f64;
                suits.max((CONNECTIONS as u64 * scenario.batch * ROUNDS) as f64)
            }
        };
        Ok(Plan { batch: scenario.batch, rate, ..Plan::of((events as u64).max(1)) })
    }

    fn saturation(&self, store: Store) -> Result<f64> {
        let mut on_store = self.results.series.iter().filter(|series| series.store == store);
        let saturated = on_store.find(|series| series.scenario.name == ONE_SUBSCRIPTION);
        let rate = saturated.and_then(|series| series.median(|run| Some(run.measured.delivered_per_second)));
        match rate {
            Some(rate) if rate > 0.0 => Ok(rate),
            _ => bail!("nothing was delivered on {}, so that there is no saturation", store.name()),
        }
    }

    fn record(&mut self, index: usize, measured: Measurement, limit: Option<f64>) {
        self.warn(&self.results.series[index].to_string(), measured.faults);
        self.results.series[index].runs.push(Run { limit, measured });
        self.progress.inc(1);
    }
}
