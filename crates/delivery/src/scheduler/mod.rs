//! Which delivery goes next: a data structure without tasks or I/O. Time comes in.
//!
//! Work comes in two steps. Room is *reserved* before a delivery is claimed, so that memory is bounded however much waits in
//! the store; then the delivery is *queued* in its subscription's lane, and *starts* when everything that bounds it allows one
//! more attempt: its lane, its account, its host, its rate, and the whole. Accounts take turns, and within an account its
//! lanes.
//!
//! No account and no lane can take everything: each gets as much of what all share as is still left over, and something is
//! always kept for those that have nothing yet. A lane whose callback gives no answer is narrowed to half, down to one attempt at
//! a time, and widened by one with every success. After three attempts in a row without an answer, or several that failed in any
//! way, it is *struck*: it gives back what is queued, makes one attempt at a time, and rests between them, longer and longer.
//! A lane whose breaker is open makes one attempt at a time, too, and it is for the store to say when. All these *narrow* lanes
//! together have at most a quarter of the attempts in flight, so that however many callbacks hang, the others go on.
//!
//! What waits for its time, a rest or a rate, is looked at when the scheduler is woken; what waits for its
//! host is let in when an attempt there ends. So nothing is looked at again and again while it cannot start.
//!
//! Of an ordered group one is queued or in flight at a time; the others follow when it is done for good, and are given back when
//! it is to be tried again.

mod burst;
mod flight;
mod host;
mod known;
mod lane;
pub(crate) mod rate;
mod room;
mod share;
mod timers;
mod turns;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hookcast_core::{
    format::Message,
    id::{AccountId, DeliveryId, EventId, IdMap, SubscriptionId},
};
use hookcast_store::engine::Incarnation;
use slab::Slab;
use tokio::time::Instant;

use self::{
    burst::Burst,
    host::Host,
    lane::{Frame, Lane, Place},
    rate::Throughput,
    share::Pool,
    timers::Timers,
    turns::Turns,
};

/// How many deliveries a lane may hold for each attempt that it may have in flight, and all lanes together for each that may be in flight
/// in all. What is not held has to be written as waiting and be claimed again, which costs more than its delivery; and what is
/// held of one event shares its body.
const SLOTS_PER_ATTEMPT: usize = 32;

/// Where a lane, an account or a host is kept while it is known.
type Key = usize;

/// A delivery that this process holds.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its id.
    pub delivery: DeliveryId,
    /// Whom it goes to.
    pub subscription: SubscriptionId,
    /// Of those of one group and subscription one is sent at a time, in the order in which they are queued.
    pub group: Option<i64>,
    /// What it brings.
    pub event: EventId,
    /// How many attempts it has had.
    pub attempts: u32,
    /// What is sent.
    pub message: Arc<Message>,
    /// Under which lease it is held.
    pub holder: Incarnation,
    /// When its attempt began, once it has.
    pub begun: Option<Instant>,
}

impl Work {
    /// The bytes that it holds in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.message.body.len()
    }
}

/// A limit of a subscription's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OwnLimit {
    /// So many attempts at the same time.
    InFlight(usize),
    /// So many attempts that begin in a second.
    Rate(f64),
    /// So many attempts at the same time, since its callback has answered that it is overloaded, or not at all.
    Overloaded(usize),
    /// Its callback has just come back, and is sent more and more.
    Recovering,
}

/// What is known about a subscription that bounds its lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneRules {
    /// Whose it is.
    pub account: AccountId,
    /// Where it goes: scheme, host and port.
    pub host: Arc<str>,
    /// Attempts in flight, over all nodes, at the most; each node has its part, one at the least.
    pub max_in_flight: Option<usize>,
    /// Attempts that begin in a second, over all nodes, at the most.
    pub rate_limit: Option<f64>,
    /// Its breaker is open: the store hands out one delivery now and then.
    pub is_open: bool,
    /// When its breaker closed last; its rate is bounded for a while after that.
    pub recovering_since: Option<Instant>,
}

impl LaneRules {
    /// A limit that it has, if it has one.
    fn own_limit(&self) -> Option<OwnLimit> {
        self.rate_limit.map(OwnLimit::Rate).or_else(|| self.max_in_flight.map(OwnLimit::InFlight))
    }
}

/// The bounds of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Attempts in flight, in all.
    pub in_flight: usize,
    /// Attempts in flight for one subscription.
    pub in_flight_per_lane: usize,
    /// Attempts in flight to one host; 0: as many as in all.
    pub in_flight_per_host: usize,
    /// Attempts that have just begun, within the last three milliseconds, and not ended: as many as the processors can work on.
    pub just_begun: usize,
    /// Bytes of bodies held, in all. One body is held whatever its size.
    pub bytes: usize,
    /// Attempts that fail in a row after which a lane makes one at a time; 0: however many fail.
    pub breaker_failures: u32,
    /// Attempts that begin in a second, over all nodes, after a breaker has closed. It doubles every ten seconds, and after a
    /// hundred it bounds nothing.
    pub recovery_rate: f64,
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
    /// It was not asked.
    Untried,
}

/// What follows from the end of an attempt.
#[derive(Debug)]
#[must_use]
pub struct Ended {
    /// There is room again where somebody was turned away.
    pub has_room_again: bool,
    /// There is room where nobody was turned away, and somebody waits with new events.
    pub has_room_for_new: bool,
    /// What was queued in a lane that has become struck, or behind one of its group that is not done.
    pub given_back: Vec<Work>,
}

/// What an account has of what all share.
#[derive(Debug, Default)]
struct Account {
    /// Without any it is forgotten.
    lanes: usize,
    in_flight: usize,
    held: usize,
    bytes: usize,
    probes: usize,
    /// Subscriptions for which there was no room, since the account has what it may.
    turned_away: HashSet<SubscriptionId>,
    /// Something was left in the store for want of room: tell when there is room again.
    is_wanted: bool,
    /// Somebody waits with new events.
    is_awaited: bool,
}

/// Lanes, their queues and what they share.
#[derive(Debug)]
pub struct Scheduler {
    frame: Frame,
    lanes: Slab<Lane>,
    accounts: Slab<Account>,
    hosts: Slab<Host>,
    lane_of: IdMap<SubscriptionId, Key>,
    account_of: IdMap<AccountId, Key>,
    host_of: HashMap<Arc<str>, Key>,
    /// Lanes with something to start.
    turns: Turns,
    timers: Timers,
    in_flight: usize,
    /// Lanes that are probed.
    probes: usize,
    held: usize,
    bytes: usize,
    is_closed: bool,
    is_wanted: bool,
    /// Attempts that end, of all lanes.
    ends: Throughput,
    burst: Burst,
    /// When something was held again, the last time that nothing was.
    busy_since: Instant,
}

impl Scheduler {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let now = Instant::now();
        Self {
            frame: Frame { bounds, nodes: 1 },
            lanes: Slab::new(),
            accounts: Slab::new(),
            hosts: Slab::new(),
            lane_of: IdMap::default(),
            account_of: IdMap::default(),
            host_of: HashMap::new(),
            turns: Turns::default(),
            timers: Timers::default(),
            in_flight: 0,
            probes: 0,
            held: 0,
            bytes: 0,
            is_closed: false,
            is_wanted: false,
            ends: Throughput::new(now),
            burst: Burst::new(bounds.just_begun, now),
            busy_since: now,
        }
    }

    /// Says how many nodes send, this one included: each uses its part of what a subscription's own limits allow. Answers
    /// whether that is news.
    pub fn set_share(&mut self, nodes: u32, now: Instant) -> bool {
        if self.frame.nodes == nodes.max(1) {
            return false;
        }
        self.frame.nodes = nodes.max(1);
        for key in self.keys() {
            self.lanes[key].adapt(self.frame);
            self.settle(key, now);
        }
        true
    }

    /// When [`wake`](Self::wake) has something to do, or something may start that had to wait.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.burst.next()).min()
    }

    /// Looks at the lanes whose time has come. Answers whether there is room again where somebody was turned away; something may
    /// start, too.
    pub fn wake(&mut self, now: Instant) -> bool {
        self.burst.wake();
        let mut has_room_again = false;
        while let Some((at, key)) = self.timers.pop(now) {
            let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.wakes_at == Some(at)) else { continue };
            lane.wakes_at = None;
            has_room_again |= lane.take_wish(self.frame, now);
            self.settle(key, now);
        }
        has_room_again
    }

    /// Starts nothing more; answers everything that was queued.
    pub fn close(&mut self) -> Vec<Work> {
        self.is_closed = true;
        self.turns = Turns::default();
        let mut queued = Vec::new();
        for key in self.keys() {
            self.lanes[key].place = Place::Nowhere;
            queued.extend(self.give_back(key));
        }
        for (_, host) in &mut self.hosts {
            host.waiting = Turns::default();
        }
        queued
    }

    /// For which of its own limits a subscription's deliveries wait. What other nodes have queued is not known here: where they send, it
    /// is one that the subscription has.
    #[must_use]
    pub fn limit_of(&self, subscription: SubscriptionId, rules: &LaneRules, now: Instant) -> Option<OwnLimit> {
        let sends_alone = self.frame.nodes == 1 && self.frame.bounds.in_flight > 0;
        match self.lane_of.get(&subscription) {
            Some(key) => self.lanes[*key].own_limit(self.frame, now),
            None if sends_alone => None,
            None => rules.own_limit(),
        }
    }

    /// Attempts in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn keys(&self) -> Vec<Key> {
        self.lanes.iter().map(|(key, _)| key).collect()
    }

    fn slot_pool(&self) -> Pool {
        let all = self.frame.bounds.in_flight * SLOTS_PER_ATTEMPT;
        Pool { all, free: if self.is_closed { 0 } else { all.saturating_sub(self.held) } }
    }

    fn byte_pool(&self) -> Pool {
        let all = self.frame.bounds.bytes;
        Pool { all, free: all.saturating_sub(self.bytes) }
    }

    fn flight_pool(&self) -> Pool {
        let all = self.frame.bounds.in_flight;
        Pool { all, free: all.saturating_sub(self.in_flight) }
    }

    /// Attempts of narrow lanes: a quarter of all.
    fn probe_pool(&self) -> Pool {
        let all = (self.frame.bounds.in_flight / 4).max(1);
        Pool { all, free: all.saturating_sub(self.probes) }
    }
}

#[cfg(test)]
mod tests;
