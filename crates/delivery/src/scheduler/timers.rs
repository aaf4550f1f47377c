//! When lanes want to be looked at again.

use std::{cmp::Reverse, collections::BinaryHeap};

use tokio::time::Instant;

use super::Key;

/// Times at which lanes are to be looked at. Looking once too often does no harm.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Key)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Instant, lane: Key) {
        self.0.push(Reverse((at, lane)));
    }

    /// The first time of all.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out what has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Key)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(timer)| timer)
    }
}
