//! Lanes that wait for the same: accounts take turns, and within an account those of its lanes go first that have the fewest attempts in
//! flight. Lanes with as many take turns.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use super::Key;

/// Accounts and lanes in the order in which it is their turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Accounts with lanes. One whose last lane has been taken out is left out when its turn comes.
    order: VecDeque<Key>,
    lanes: BTreeMap<Key, BTreeSet<Turn>>,
    pushed: u64,
}

/// A lane's place in the order. The fields are in the order of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    in_flight: usize,
    pushed: u64,
    /// Whose it is.
    pub lane: Key,
}

impl Turns {
    /// Adds a lane, which has so many attempts in flight and is not there yet, behind those that have as many.
    pub(super) fn push(&mut self, account: Key, lane: Key, in_flight: usize) -> Turn {
        self.pushed += 1;
        let turn = Turn { in_flight, pushed: self.pushed, lane };
        let order = &mut self.order;
        let new = || {
            order.push_back(account);
            BTreeSet::new()
        };
        self.lanes.entry(account).or_insert_with(new).insert(turn);
        turn
    }

    /// How many accounts may have lanes here.
    pub(super) fn accounts(&self) -> usize {
        self.order.len()
    }

    /// The account whose turn it is; its next turn comes after all others.
    pub(super) fn next_account(&mut self) -> Option<Key> {
        while let Some(account) = self.order.pop_front() {
            if self.lanes.get(&account).is_some_and(|lanes| !lanes.is_empty()) {
                self.order.push_back(account);
                return Some(account);
            }
            self.lanes.remove(&account);
        }
        None
    }

    /// The turn of one of the account's lanes: the first, or the first after another one.
    pub(super) fn after(&self, account: Key, passed: Option<Turn>) -> Option<Turn> {
        let from = passed.map_or(Bound::Unbounded, Bound::Excluded);
        self.lanes.get(&account)?.range((from, Bound::Unbounded)).next().copied()
    }

    /// Takes out the lane of the account whose turn it is.
    pub(super) fn next_lane(&mut self, account: Key) -> Option<Key> {
        self.lanes.get_mut(&account)?.pop_first().map(|turn| turn.lane)
    }

    /// Takes a lane out.
    pub(super) fn remove(&mut self, account: Key, turn: Turn) {
        if let Some(lanes) = self.lanes.get_mut(&account) {
            lanes.remove(&turn);
        }
    }
}
