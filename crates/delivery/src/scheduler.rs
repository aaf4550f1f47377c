//! Which delivery goes next: a data structure without time, tasks or I/O.
//!
//! Work comes in two steps. Room is *reserved* before a delivery is claimed, so that memory is bounded however much waits in
//! the store; then the delivery is *queued* in its subscription's lane, and *starts* when the lane and the whole may have one
//! more attempt in flight. Lanes take turns.
//!
//! No lane can take everything: one may use as much of what all share as is still left over (the dynamic threshold of Choudhury
//! and Hahne, IEEE/ACM ToN 6(2), 1998), and the last quarter is for lanes that have nothing yet. A lane whose callback gives no answer is narrowed to half, down to one attempt at a time,
//! and widened by one with every success. After three attempts in a row without an answer it is *struck*: it gives back what is
//! queued, makes one attempt at a time, and rests between them, longer and longer. All struck lanes together have at most a
//! quarter of the attempts in flight, so that however many callbacks hang, the others go on.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use hookcast_core::{
    format::Message,
    id::{DeliveryId, EventId, SubscriptionId},
};
use hookcast_store::engine::Incarnation;

/// How many deliveries a lane may hold for each attempt that it may have in flight, so that one that finishes is followed at
/// once by another.
const SLOTS_PER_ATTEMPT: usize = 4;

/// Attempts without an answer in a row that make a lane struck.
const STRIKES: u32 = 3;

/// The first rest of a struck lane; each one after it is twice as long, so many times.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGER_RESTS: u32 = 7;

/// A delivery that this process holds.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its id.
    pub delivery: DeliveryId,
    /// Whom it goes to.
    pub subscription: SubscriptionId,
    /// What it brings.
    pub event: EventId,
    /// How many attempts it has had.
    pub attempts: u32,
    /// Those of one group and subscription go one after the other.
    pub group: Option<i64>,
    /// What is sent.
    pub message: Arc<Message>,
    /// Under which lease it is held.
    pub holder: Incarnation,
}

impl Work {
    /// The bytes that it holds in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.message.body.len()
    }
}

/// The bounds of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Attempts in flight, in all.
    pub in_flight: usize,
    /// Attempts in flight for one subscription.
    pub in_flight_per_lane: usize,
    /// Bytes of bodies held, in all. One body is held whatever its size.
    pub bytes: usize,
}

/// What an attempt says about its callback's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// It did its work.
    Good,
    /// It failed, though not for want of strength.
    Neutral,
    /// It gave no answer, or asked for less.
    Overloaded,
}

#[derive(Debug)]
struct Lane {
    /// Attempts that it may have in flight now.
    limit: usize,
    in_flight: usize,
    /// Deliveries reserved, queued or in flight.
    held: usize,
    queue: VecDeque<Work>,
    is_in_turn: bool,
    /// Somebody was turned away: tell when there is room again.
    is_wanted: bool,
    /// Attempts without an answer in a row.
    strikes: u32,
    /// While it was struck it was given room for one attempt, which has not ended yet.
    is_probed: bool,
    is_resting: bool,
}

impl Lane {
    fn is_struck(&self) -> bool {
        self.strikes >= STRIKES
    }

    /// Deliveries that it may hold.
    fn slots(&self) -> usize {
        if self.is_struck() { 1 } else { self.limit * SLOTS_PER_ATTEMPT }
    }

    /// How much it may have where it has `own`, of `all` that is shared and of which `free` is left. The last quarter is for those
    /// that have nothing yet and are not struck.
    fn share(&self, all: usize, free: usize, own: usize) -> usize {
        let share = free.saturating_sub(all / 4);
        if own == 0 && !self.is_struck() { share.max(free.min(1)) } else { share }
    }
}

/// What follows from the end of an attempt.
#[derive(Debug)]
#[must_use]
pub struct Ended {
    /// There is room again where somebody was turned away.
    pub has_room_again: bool,
    /// The lane rests for so long; [`Scheduler::rested`] ends it.
    pub rest: Option<Duration>,
    /// What was queued in a lane that has become struck.
    pub given_back: Vec<Work>,
}

/// Lanes, their queues and what they share.
#[derive(Debug)]
pub struct Scheduler {
    bounds: Bounds,
    lanes: HashMap<SubscriptionId, Lane>,
    /// Lanes with something to start, in the order of their turns.
    turns: VecDeque<SubscriptionId>,
    in_flight: usize,
    /// Lanes that are probed.
    probes: usize,
    held: usize,
    bytes: usize,
    is_closed: bool,
    is_wanted: bool,
}

impl Scheduler {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            in_flight: 0,
            probes: 0,
            held: 0,
            bytes: 0,
            is_closed: false,
            is_wanted: false,
        }
    }

    /// Reserves room for up to `count` deliveries of a lane with bodies of `bytes` each; answers for how many.
    pub fn reserve(&mut self, subscription: SubscriptionId, count: usize, bytes: usize) -> usize {
        let (slots, free) = (self.slots(), self.free_slots());
        let has_probes_left = self.has_probes_left();
        let in_flight_per_lane = self.bounds.in_flight_per_lane;
        let lane = self.lanes.entry(subscription).or_insert_with(|| Lane {
            limit: in_flight_per_lane,
            in_flight: 0,
            held: 0,
            queue: VecDeque::new(),
            is_in_turn: false,
            is_wanted: false,
            strikes: 0,
            is_probed: false,
            is_resting: false,
        });
        let mut granted = count.min(lane.slots().saturating_sub(lane.held));
        if lane.is_struck() && (lane.held > 0 || lane.is_resting || !has_probes_left) {
            granted = 0;
        }
        granted = granted.min(match lane.share(slots, free, lane.held) {
            0 => 0,
            // Each one granted is one less that is left over.
            share => share.saturating_sub(lane.held).div_ceil(2),
        });
        if self.held > 0 && bytes > 0 {
            granted = granted.min(self.bounds.bytes.saturating_sub(self.bytes) / bytes);
        }
        lane.is_probed |= lane.is_struck() && granted > 0;
        self.probes += usize::from(lane.is_probed && granted > 0);
        lane.held += granted;
        lane.is_wanted |= granted < count;
        self.is_wanted |= granted < count;
        self.held += granted;
        self.bytes += granted * bytes;
        self.forget_if_idle(subscription);
        granted
    }

    /// Whether there is no room for anybody. It is told when there is again.
    pub fn is_full(&mut self) -> bool {
        let is_full = self.free_slots() == 0;
        self.is_wanted |= is_full;
        is_full
    }

    /// Gives back room that was reserved and not used.
    pub fn unreserve(&mut self, subscription: SubscriptionId, count: usize, bytes: usize) {
        self.held -= count;
        self.bytes = self.bytes.saturating_sub(count * bytes);
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.held -= count;
            if count > 0 && std::mem::take(&mut lane.is_probed) {
                self.probes -= 1;
            }
        }
        self.forget_if_idle(subscription);
    }

    /// Corrects what was reserved when the bodies turn out to be of another size.
    pub fn resize(&mut self, reserved: usize, actual: usize) {
        self.bytes = (self.bytes + actual).saturating_sub(reserved);
    }

    /// Queues a delivery for which room was reserved.
    pub fn queue(&mut self, work: Work) {
        let subscription = work.subscription;
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.queue.push_back(work);
            Self::give_turn(&mut self.turns, subscription, lane);
        }
    }

    /// The next delivery to start, which counts as in flight from now on.
    pub fn start_next(&mut self) -> Option<Work> {
        if self.is_closed {
            return None;
        }
        for _ in 0..self.turns.len() {
            let free = self.bounds.in_flight.saturating_sub(self.in_flight);
            if free == 0 {
                return None;
            }
            let subscription = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&subscription) else { continue };
            lane.is_in_turn = false;
            let share = lane.share(self.bounds.in_flight, free, lane.in_flight);
            let may_start = lane.in_flight < lane.limit.min(share) && !lane.is_resting;
            let started = if may_start { lane.queue.pop_front() } else { None };
            if started.is_some() {
                lane.in_flight += 1;
                self.in_flight += 1;
            }
            Self::give_turn(&mut self.turns, subscription, lane);
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// Ends an attempt.
    pub fn end(&mut self, work: &Work, feedback: Feedback) -> Ended {
        self.in_flight -= 1;
        self.held -= 1;
        self.bytes = self.bytes.saturating_sub(work.bytes());
        let mut ended = Ended { has_room_again: false, rest: None, given_back: Vec::new() };
        if let Some(lane) = self.lanes.get_mut(&work.subscription) {
            lane.in_flight -= 1;
            lane.held -= 1;
            if std::mem::take(&mut lane.is_probed) {
                self.probes -= 1;
                // Its place may be what another struck lane waits for.
                ended.has_room_again = true;
            }
            match feedback {
                Feedback::Good => {
                    lane.limit = self.bounds.in_flight_per_lane.min(lane.limit + 1);
                    lane.strikes = 0;
                }
                Feedback::Neutral => lane.strikes = 0,
                Feedback::Overloaded => {
                    lane.limit = (lane.limit / 2).max(1);
                    lane.strikes = lane.strikes.saturating_add(1);
                }
            }
            if lane.is_struck() && !lane.is_resting {
                lane.limit = 1;
                lane.is_resting = true;
                ended.rest = Some(FIRST_REST * 2_u32.pow((lane.strikes - STRIKES).min(LONGER_RESTS)));
                ended.given_back.extend(lane.queue.drain(..));
                lane.held -= ended.given_back.len();
                self.held -= ended.given_back.len();
                let bytes: usize = ended.given_back.iter().map(|work| work.bytes()).sum();
                self.bytes = self.bytes.saturating_sub(bytes);
            }
            // Half empty, and not at the first free place: claims are cheaper by the dozen.
            if lane.is_wanted && lane.held <= lane.slots() / 2 {
                lane.is_wanted = false;
                ended.has_room_again = true;
            }
            Self::give_turn(&mut self.turns, work.subscription, lane);
        }
        if self.is_wanted && self.held <= self.slots() / 2 {
            self.is_wanted = false;
            ended.has_room_again = true;
        }
        self.forget_if_idle(work.subscription);
        ended
    }

    /// Ends a lane's rest.
    pub fn rested(&mut self, subscription: SubscriptionId) {
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.is_resting = false;
            Self::give_turn(&mut self.turns, subscription, lane);
        }
        self.forget_if_idle(subscription);
    }

    /// Lanes that need no more for now: the full ones, and those that were and are not half empty yet.
    pub fn full_lanes(&mut self) -> HashSet<SubscriptionId> {
        let (all, free) = (self.slots(), self.free_slots());
        let has_probes_left = self.has_probes_left();
        let mut full = HashSet::new();
        for (subscription, lane) in &mut self.lanes {
            let slots = lane.slots();
            let is_put_off = lane.is_struck() && (lane.is_resting || !has_probes_left);
            let is_half_empty = lane.held <= slots / 2;
            if is_put_off
                || lane.held >= slots.min(lane.share(all, free, lane.held))
                || lane.is_wanted && !is_half_empty
            {
                lane.is_wanted = true;
                full.insert(*subscription);
            }
        }
        full
    }

    /// Whether a lane has room for one more.
    #[must_use]
    pub fn has_room(&self, subscription: SubscriptionId) -> bool {
        let (slots, free) = (self.slots(), self.free_slots());
        let has_room =
            |lane: &Lane| lane.held < lane.slots().min(lane.share(slots, free, lane.held)) && !lane.is_resting;
        self.lanes.get(&subscription).map_or(free > 0, has_room)
    }

    /// Starts nothing more; answers everything that was queued.
    pub fn close(&mut self) -> Vec<Work> {
        self.is_closed = true;
        self.turns.clear();
        let mut queued = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.is_in_turn = false;
            lane.held -= lane.queue.len();
            queued.extend(lane.queue.drain(..));
        }
        self.held -= queued.len();
        queued
    }

    /// Attempts in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn slots(&self) -> usize {
        self.bounds.in_flight * SLOTS_PER_ATTEMPT
    }

    /// Attempts that all struck lanes together may have.
    fn most_probes(&self) -> usize {
        (self.bounds.in_flight / 4).max(1)
    }

    fn has_probes_left(&self) -> bool {
        self.probes < self.most_probes()
    }

    fn free_slots(&self) -> usize {
        if self.is_closed || self.bytes >= self.bounds.bytes { 0 } else { self.slots().saturating_sub(self.held) }
    }

    fn give_turn(turns: &mut VecDeque<SubscriptionId>, subscription: SubscriptionId, lane: &mut Lane) {
        let may_start = lane.in_flight < lane.limit && !lane.is_resting;
        if may_start && !lane.is_in_turn && !lane.queue.is_empty() {
            lane.is_in_turn = true;
            turns.push_back(subscription);
        }
    }

    /// A lane that knows nothing worth knowing is not kept. One that somebody waits for is kept until it has told them.
    fn forget_if_idle(&mut self, subscription: SubscriptionId) {
        let limit = self.bounds.in_flight_per_lane;
        if self.lanes.get(&subscription).is_some_and(|lane| lane.held == 0 && lane.limit == limit && !lane.is_resting) {
            self.lanes.remove(&subscription);
        }
    }
}

#[cfg(test)]
mod tests;
