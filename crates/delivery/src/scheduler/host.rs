//! What all lanes share that go to the same host.
//!
//! A host may have as many attempts in flight as the configuration says. Where two of its lanes, one after the other, ask for less
//! or get no answer, and nothing succeeds between them, it is the host that is overloaded: it may have half of what it has, and
//! one more with every success. It keeps `FLOOR` all the same, so that those who have callbacks there cannot shut it for others;
//! each lane is narrowed by itself besides.

use super::{Feedback, Key, turns::Turns};

/// A host that is overloaded may have so many attempts in flight.
const FLOOR: usize = 8;

#[derive(Debug)]
pub(super) struct Host {
    /// Attempts that it may have in flight now, and the most that it may ever have.
    pub limit: usize,
    most: usize,
    pub in_flight: usize,
    /// Lanes that go there. Without any it is forgotten.
    pub lanes: usize,
    /// Lanes that could start if it had room.
    pub waiting: Turns,
    /// The lane that it was too much for last, with no success since then.
    overloaded_by: Option<Key>,
}

impl Host {
    pub(super) fn new(most: usize) -> Self {
        Self { limit: most, most, in_flight: 0, lanes: 0, waiting: Turns::default(), overloaded_by: None }
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.limit
    }

    /// Learns from an attempt of a lane, which has ended.
    pub(super) fn learn(&mut self, lane: Key, feedback: Feedback) {
        match feedback {
            Feedback::Good => {
                self.limit = self.most.min(self.limit + 1);
                self.overloaded_by = None;
            }
            Feedback::Overloaded => match self.overloaded_by {
                Some(other) if other != lane => {
                    let had = self.limit.min(self.in_flight + 1);
                    self.limit = (had / 2).max(FLOOR).min(self.limit);
                    self.overloaded_by = None;
                }
                _ => self.overloaded_by = Some(lane),
            },
            Feedback::Neutral | Feedback::Untried => {}
        }
    }
}
