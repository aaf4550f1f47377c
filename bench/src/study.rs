//! Comparisons and limits that one server under one load does not show: what there is, how large, and what is hoped for.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    backlog, dead, growth, memory,
    scenario::{Target, Unit},
    site::{Faults, Site},
    slow,
    store::Store,
};

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The scenarios: rates and latencies.
    Rates,
    /// The memory of a server that has nothing to do.
    Idle,
    /// Dead subscriptions among healthy ones.
    Dead,
    /// Deliveries that wait, and a restart with them.
    Backlog,
    /// Many subscriptions.
    Subscriptions,
    /// Many past deliveries.
    History,
    /// A receiver that takes a second to answer.
    Slow,
}

impl Part {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::Rates, Self::Idle, Self::Dead, Self::Backlog, Self::Subscriptions, Self::History, Self::Slow];
    /// Those for a quick look.
    pub const QUICK: [Self; 2] = [Self::Rates, Self::Idle];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rates => "rates",
            Self::Idle => "idle",
            Self::Dead => "dead among healthy",
            Self::Backlog => "backlog",
            Self::Subscriptions => "subscriptions",
            Self::History => "history",
            Self::Slow => "slow receiver",
        }
    }
}

/// How large the studies are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// How often each number of dead subscriptions is compared with none.
    pub dead_rounds: usize,
    /// How long the load lasts each time.
    pub dead_seconds: f64,
    /// Deliveries that wait.
    pub waiting: u64,
    /// The same, in what they are compared with, and in between.
    pub fewer_waiting: &'static [u64],
    /// How many of those that wait are delivered at the most.
    pub drained: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Deliveries that are remembered.
    pub history: u64,
    /// Requests in flight to the slow receiver.
    pub in_flight: u64,
}

impl Sizes {
    /// For a look.
    pub const QUICK: Self = Self {
        dead_rounds: 1,
        waiting: 100_000,
        drained: 50_000,
        subscriptions: 1000,
        history: 100_000,
        in_flight: 500,
        ..Self::USUAL
    };
    /// For a run over all stores that takes about a quarter of an hour.
    pub const USUAL: Self = Self {
        dead_rounds: 3,
        dead_seconds: 5.0,
        waiting: 1_000_000,
        fewer_waiting: &[1000, 30_000],
        drained: 200_000,
        subscriptions: 10_000,
        history: 200_000,
        in_flight: 2000,
    };
    /// For as much as is promised.
    pub const FULL: Self = Self {
        dead_rounds: 5,
        dead_seconds: 20.0,
        drained: u64::MAX,
        subscriptions: 100_000,
        history: 10_000_000,
        ..Self::USUAL
    };
}

/// A number that a study has found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it tells.
    pub name: String,
    /// How much it is.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// To what it is compared with, as the name says.
    pub ratio: Option<f64>,
    /// What is hoped for: from the ratio if there is one, else from the value.
    pub target: Option<Target>,
}

impl Finding {
    /// The number that the target is about, and its unit.
    pub fn judged(&self) -> (f64, Unit) {
        match (self.ratio, self.unit) {
            (Some(ratio), Unit::PerSecond) => (ratio, Unit::PerSecond),
            (Some(ratio), _) => (ratio, Unit::Times),
            (None, unit) => (self.value, unit),
        }
    }
}

/// What a study has found on one store.
#[derive(Debug, Serialize)]
pub struct Study {
    /// What was done.
    pub part: Part,
    /// On which store.
    pub store: Store,
    /// What came out of it.
    pub findings: Vec<Finding>,
    /// How many deliveries waited, and what 10,000 of them cost, where that was measured.
    pub cost_by_waiting: Vec<(f64, f64)>,
    /// What went wrong.
    #[serde(flatten)]
    pub faults: Faults,
}

impl Study {
    /// Carries out `part`, which is none of the scenarios.
    pub async fn of(part: Part, mut site: Site<'_>, sizes: &Sizes) -> Result<Self> {
        let store = site.database.store;
        let mut cost_by_waiting = Vec::new();
        let (findings, faults) = match part {
            Part::Rates => (Vec::new(), Faults::default()),
            Part::Idle => memory::idle(&mut site).await?,
            Part::Dead => dead::study(&mut site, sizes).await?,
            Part::Backlog => backlog::study(&mut site, sizes, &mut cost_by_waiting).await?,
            Part::Subscriptions => growth::subscriptions(&mut site, sizes).await?,
            Part::History => growth::history(&mut site, sizes).await?,
            Part::Slow => slow::study(&mut site, sizes).await?,
        };
        Ok(Self { part, store, findings, cost_by_waiting, faults })
    }
}

impl fmt::Display for Study {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.part.name(), self.store.name())
    }
}
