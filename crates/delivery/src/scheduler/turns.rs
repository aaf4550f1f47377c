//! Lanes that wait for the same: accounts take turns, and within an account its lanes.

use std::collections::{BTreeMap, VecDeque};

use super::Key;

/// Lanes in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    order: VecDeque<Key>,
    /// The lanes of each account in `order`. One without any is let go when its turn comes.
    lanes: BTreeMap<Key, VecDeque<Key>>,
}

impl Turns {
    /// Lets a lane wait behind the others of its account.
    pub(super) fn push(&mut self, account: Key, lane: Key) {
        let order = &mut self.order;
        let new = || {
            order.push_back(account);
            VecDeque::new()
        };
        self.lanes.entry(account).or_insert_with(new).push_back(lane);
    }

    /// The accounts with lanes that wait, at the most.
    pub(super) fn accounts(&self) -> usize {
        self.order.len()
    }

    /// The account whose turn it is; it is the last one from now on.
    pub(super) fn next_account(&mut self) -> Option<Key> {
        while let Some(account) = self.order.pop_front() {
            if self.lanes_of(account) > 0 {
                self.order.push_back(account);
                return Some(account);
            }
            self.lanes.remove(&account);
        }
        None
    }

    /// How many lanes of an account wait.
    pub(super) fn lanes_of(&self, account: Key) -> usize {
        self.lanes.get(&account).map_or(0, VecDeque::len)
    }

    /// Takes out the lane of an account whose turn it is.
    pub(super) fn next_lane(&mut self, account: Key) -> Option<Key> {
        self.lanes.get_mut(&account)?.pop_front()
    }

    /// Takes out a lane wherever it waits.
    pub(super) fn remove(&mut self, account: Key, lane: Key) {
        if let Some(lanes) = self.lanes.get_mut(&account) {
            lanes.retain(|waiting| *waiting != lane);
        }
    }
}
