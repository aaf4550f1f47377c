//! Copying a store: section by section, then a comparison of both sides.

use std::{collections::BTreeMap, time::Duration};

use hookcast_core::clock::{Clock, Timestamp};

use super::{Portion, Progress, Section, Step, sum::Sum};
use crate::{Store, error::StoreError};

/// What is in memory at once.
const PORTION: Portion = Portion { items: 1_000, bytes: 4 * 1024 * 1024 };

/// What runs out within this time is copied but not compared: a store may forget it while the other side is being read.
const SHORT_LIVED: Duration = Duration::from_secs(3_600);

/// What a copy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It brings items to the target.
    Copying,
    /// It reads both stores and compares them.
    Checking,
}

/// Where a copy is.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What it does.
    pub phase: Phase,
    /// With which section.
    pub section: Section,
    /// How many of the section's items it has done, in both stores where it checks.
    pub done: u64,
    /// How many there are to do, where it is known.
    pub total: Option<u64>,
}

/// Why a copy is not whole. Except for [`Differs`](Self::Differs), doing it again goes on where it ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CopyError {
    /// The source belongs to another copy.
    #[error("the source is itself an unfinished copy: finish that one first")]
    SourceUnfinished,
    /// Somebody works on a store.
    #[error(
        "processes that hold a lease in the {side}: {processes}. Stop them, or let the leases of those that were killed run out, \
         and copy again"
    )]
    InUse {
        /// Which store: `source` or `target`.
        side: &'static str,
        /// How many processes.
        processes: u64,
    },
    /// Something is there.
    #[error("the target is not empty: it holds {0}, and a copy needs a store of its own")]
    NotEmpty(Section),
    /// The two are not the same.
    #[error(
        "the {0} of the two stores differ: the source has changed since the copy began, or a store is broken. The target is not \
         whole; empty it and copy again"
    )]
    Differs(Section),
    /// The source failed.
    #[error("the source: {0}")]
    Source(#[source] StoreError),
    /// The target failed.
    #[error("the target: {0}")]
    Target(#[source] StoreError),
}

/// Copies all that `from` keeps to `to`, which is empty or an earlier copy that was interrupted, and compares the two. Answers how
/// many items were copied of each section. `report` is told now and then where it is.
///
/// # Errors
/// See [`CopyError`]. The target stays marked as an unfinished copy, unless nothing was written.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    clock: &dyn Clock,
    report: impl Fn(Status) + Sync,
) -> Result<BTreeMap<Section, u64>, CopyError> {
    let progress = begin(from, to, clock).await?;
    let progress = bring(from, to, clock, progress, &report).await?;
    for section in Section::ALL {
        compare(from, to, clock, section, &progress, &report).await?;
    }
    to.finish_import().await.map_err(CopyError::Target)?;
    Ok(progress.copied)
}

/// Makes sure that the two stores are fit for it, and marks the target.
async fn begin(from: &dyn Store, to: &dyn Store, clock: &dyn Clock) -> Result<Progress, CopyError> {
    if from.progress().await.map_err(CopyError::Source)?.is_some() {
        return Err(CopyError::SourceUnfinished);
    }
    let now = clock.now();
    let in_use = |side, processes| if processes == 0 { Ok(()) } else { Err(CopyError::InUse { side, processes }) };
    in_use("source", from.live_processes(now).await.map_err(CopyError::Source)?)?;
    let unfinished = to.progress().await.map_err(CopyError::Target)?;
    if unfinished.is_none() {
        ensure_empty(to).await?;
    }
    in_use("target", to.live_processes(now).await.map_err(CopyError::Target)?)?;
    if let Some(progress) = unfinished {
        return Ok(progress);
    }
    let progress = Progress {
        next: Some(Step { section: Section::ALL[0], after: None }),
        copied: Section::ALL.into_iter().map(|section| (section, 0)).collect(),
    };
    to.import(Vec::new(), &progress).await.map_err(CopyError::Target)?;
    Ok(progress)
}

async fn ensure_empty(target: &dyn Store) -> Result<(), CopyError> {
    for section in Section::ALL {
        let found = target.export(section, None, Portion { items: 1, bytes: 1 }).await.map_err(CopyError::Target)?;
        if !found.items.is_empty() {
            return Err(CopyError::NotEmpty(section));
        }
    }
    Ok(())
}

/// Brings everything that is not there yet.
async fn bring(
    from: &dyn Store,
    to: &dyn Store,
    clock: &dyn Clock,
    mut progress: Progress,
    report: &(impl Fn(Status) + Sync),
) -> Result<Progress, CopyError> {
    while let Some(Step { section, after }) = progress.next.take() {
        let mut part = from.export(section, after, PORTION).await.map_err(CopyError::Source)?;
        let now = clock.now();
        part.items.retain(|item| item.expires_at().is_none_or(|end| end > now));
        let done = progress.copied.entry(section).or_default();
        *done += u64::try_from(part.items.len()).unwrap_or(u64::MAX);
        report(Status { phase: Phase::Copying, section, done: *done, total: None });
        progress.next = match part.next {
            Some(place) => Some(Step { section, after: Some(place) }),
            None => section.following().map(|section| Step { section, after: None }),
        };
        to.import(part.items, &progress).await.map_err(CopyError::Target)?;
    }
    Ok(progress)
}

async fn compare(
    from: &dyn Store,
    to: &dyn Store,
    clock: &dyn Clock,
    section: Section,
    progress: &Progress,
    report: &(impl Fn(Status) + Sync),
) -> Result<(), CopyError> {
    let horizon = clock.now().plus(SHORT_LIVED);
    let total = progress.copied.get(&section).map(|count| count.saturating_mul(2));
    let report = |done| report(Status { phase: Phase::Checking, section, done, total });
    let there = sum(from, section, horizon, report).await.map_err(CopyError::Source)?;
    let here = sum(to, section, horizon, |done| report(there.count + done)).await.map_err(CopyError::Target)?;
    if there == here { Ok(()) } else { Err(CopyError::Differs(section)) }
}

/// The sum of a section's items that last beyond `horizon`.
async fn sum(store: &dyn Store, section: Section, horizon: Timestamp, report: impl Fn(u64)) -> Result<Sum, StoreError> {
    let (mut sum, mut after) = (Sum::default(), None);
    loop {
        let part = store.export(section, after, PORTION).await?;
        let lasting = |end| end > horizon;
        part.items.iter().filter(|item| item.expires_at().is_none_or(lasting)).for_each(|item| sum.add(item));
        report(sum.count);
        after = part.next;
        if after.is_none() {
            return Ok(sum);
        }
    }
}
