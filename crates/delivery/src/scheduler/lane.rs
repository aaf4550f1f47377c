//! A subscription's lane: what is queued, how wide it is, what it has learned about its callback.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hookcast_core::id::SubscriptionId;
use tokio::time::Instant;

use super::{
    Bounds, Feedback, Key, LaneRules, OwnLimit, SLOTS_PER_ATTEMPT, Work,
    rate::{HORIZON, Meter, Pace, Throughput},
    turns::Turn,
};

/// Attempts without an answer in a row that make a lane struck.
const STRIKES: u32 = 3;

/// The first rest of a struck lane; each one after it is twice as long, so many times.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGER_RESTS: u32 = 7;

/// How long an idle lane is kept, since it may be needed again at once; and how long if it has learned something about its
/// callback.
const IDLE: Duration = Duration::from_secs(1);
const MEMORY: Duration = Duration::from_secs(3_600);

/// Where a lane waits for its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has nothing to start, or must not, or its timer is set.
    Nowhere,
    /// In the turns of its account.
    Turns(Turn),
    /// With its host.
    Host(Turn),
}

/// The bounds of a lane as far as they are not its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub bounds: Bounds,
    /// How many nodes share what its rules allow.
    pub nodes: u32,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub subscription: SubscriptionId,
    pub rules: Arc<LaneRules>,
    pub account: Key,
    pub host: Key,
    /// Attempts that it may have in flight now, and the most that it may ever have.
    limit: usize,
    most: usize,
    pub in_flight: usize,
    /// Deliveries reserved, queued or in flight.
    pub held: usize,
    pub bytes: usize,
    queue: VecDeque<Work>,
    pub ends: Throughput,
    /// Groups of which one is queued or in flight, and what comes after it.
    followers: HashMap<i64, VecDeque<Work>>,
    pub place: Place,
    /// Somebody was turned away: tell when there is room again.
    pub is_wanted: bool,
    /// Attempts in a row without an answer, and without success.
    strikes: u32,
    failures: u32,
    is_struck: bool,
    /// While it was narrow it was given room for one attempt, which has not ended yet.
    pub is_probed: bool,
    rests_until: Option<Instant>,
    meter: Meter,
    /// When its timer goes off.
    pub wakes_at: Option<Instant>,
    /// When it last ended an attempt, or was made.
    used_at: Instant,
}

impl Lane {
    pub(super) fn new(
        subscription: SubscriptionId,
        rules: &Arc<LaneRules>,
        (account, host): (Key, Key),
        frame: Frame,
        now: Instant,
    ) -> Self {
        let mut lane = Self {
            subscription,
            rules: Arc::clone(rules),
            account,
            host,
            limit: frame.bounds.in_flight_per_lane,
            most: frame.bounds.in_flight_per_lane,
            in_flight: 0,
            held: 0,
            bytes: 0,
            queue: VecDeque::new(),
            ends: Throughput::new(now),
            followers: HashMap::new(),
            place: Place::Nowhere,
            is_wanted: false,
            strikes: 0,
            failures: 0,
            is_struck: false,
            is_probed: false,
            rests_until: None,
            meter: Meter::default(),
            wakes_at: None,
            used_at: now,
        };
        lane.adapt(frame);
        lane
    }

    /// Takes over what its rules and the frame say now.
    pub(super) fn adapt(&mut self, frame: Frame) {
        let own =
            self.rules.max_in_flight.map(|most| most.div_ceil(usize::try_from(frame.nodes).unwrap_or(usize::MAX)));
        let most = frame.bounds.in_flight_per_lane.min(own.unwrap_or(usize::MAX)).max(1);
        // One that has never been narrowed is as wide as it may be.
        self.limit = if self.limit == self.most { most } else { self.limit.min(most) };
        self.most = most;
        if self.rules.is_open {
            self.limit = 1;
        }
    }

    /// Whether it makes one attempt at a time, to find out how its callback is.
    pub(super) fn is_narrow(&self) -> bool {
        self.is_struck || self.rules.is_open
    }

    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    fn pace(&self, frame: Frame, now: Instant) -> Option<Pace> {
        Pace::of(&self.rules, frame.bounds.recovery_rate, frame.nodes, now)
    }

    /// Deliveries that it may hold.
    pub(super) fn slots(&self, frame: Frame, now: Instant) -> usize {
        let slots = if self.is_narrow() { 1 } else { self.limit * SLOTS_PER_ATTEMPT };
        self.pace(frame, now)
            .map_or(slots, |pace| slots.min(self.meter.within_horizon(pace, now).saturating_add(self.in_flight)))
    }

    /// Whether it has enough room to be worth looking for more: half, and not the first free place. Claims are cheaper by the dozen.
    pub(super) fn is_half_empty(&self, frame: Frame, now: Instant) -> bool {
        let slots = self.slots(frame, now);
        self.held < slots && self.held <= slots / 2
    }

    /// Whether it has something to start as soon as it may.
    pub(super) fn wants_to_start(&self) -> bool {
        self.in_flight < self.limit && !self.queue.is_empty()
    }

    /// When the next attempt may start.
    pub(super) fn ready_at(&self, frame: Frame, now: Instant) -> Instant {
        let rested = self.rests_until.unwrap_or(now).max(now);
        self.pace(frame, now).map_or(rested, |pace| rested.max(self.meter.ready_at(pace, 0, now)))
    }

    /// Which of its own limits keeps the next attempt from starting now.
    pub(super) fn own_limit(&self, frame: Frame, now: Instant) -> Option<OwnLimit> {
        if !self.is_narrow() && self.in_flight >= self.limit {
            if self.limit < self.most {
                return Some(OwnLimit::Overloaded(self.limit));
            }
            // Where the node's own bound is the narrower one, it is that.
            let own = self.rules.max_in_flight.filter(|_| self.most < frame.bounds.in_flight_per_lane);
            if let Some(own) = own {
                return Some(OwnLimit::InFlight(own));
            }
        }
        let pace = self.pace(frame, now).filter(|pace| self.meter.ready_at(*pace, 0, now) > now)?;
        let is_own = |rate: &f64| Pace::per_second(rate / f64::from(frame.nodes)) == pace;
        Some(self.rules.rate_limit.filter(is_own).map_or(OwnLimit::Recovering, OwnLimit::Rate))
    }

    /// Whether something of its own bounds it, or what it has learned of its callback.
    pub(super) fn is_bounded(&self, frame: Frame, now: Instant) -> bool {
        self.is_narrow() || self.limit < frame.bounds.in_flight_per_lane || self.pace(frame, now).is_some()
    }

    /// When there will be room for one more, where a rest or its pace is what it waits for.
    pub(super) fn room_at(&self, frame: Frame, now: Instant) -> Option<Instant> {
        if self.is_resting(now) {
            return self.rests_until;
        }
        let pace = self.pace(frame, now)?;
        let ready = self.meter.ready_at(pace, self.held - self.in_flight, now);
        ready.checked_sub(HORIZON).filter(|at| *at > now)
    }

    /// Whether somebody is to be told that there is room again, which they are thereby.
    pub(super) fn take_wish(&mut self, frame: Frame, now: Instant) -> bool {
        let is_told = self.is_wanted && !self.is_resting(now) && self.is_half_empty(frame, now);
        self.is_wanted &= !is_told;
        is_told
    }

    pub(super) fn push(&mut self, work: Work) {
        match work.group.map(|group| self.followers.get_mut(&group).ok_or(group)) {
            Some(Ok(followers)) => followers.push_back(work),
            Some(Err(group)) => {
                self.followers.insert(group, VecDeque::new());
                self.queue.push_back(work);
            }
            None => self.queue.push_back(work),
        }
    }

    /// Starts the next attempt, if there is one.
    pub(super) fn start(&mut self, frame: Frame, now: Instant) -> Option<Work> {
        let work = self.queue.pop_front()?;
        self.in_flight += 1;
        if let Some(pace) = self.pace(frame, now) {
            self.meter.take(pace, now);
        }
        Some(work)
    }

    /// Learns from an attempt that has ended. Answers whether that made it struck, or kept it so: it rests then.
    pub(super) fn learn(&mut self, feedback: Feedback, breaker_failures: u32, now: Instant) -> bool {
        self.used_at = now;
        match feedback {
            Feedback::Good => {
                (self.strikes, self.failures) = (0, 0);
                if !self.rules.is_open {
                    self.limit = self.most.min(self.limit + 1);
                }
            }
            Feedback::Neutral => {
                self.strikes = 0;
                self.failures = self.failures.saturating_add(1);
            }
            Feedback::Overloaded => {
                self.strikes = self.strikes.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                self.limit = (self.limit / 2).max(1);
            }
            Feedback::Untried => return false,
        }
        let by_strikes = self.strikes.checked_sub(STRIKES);
        let by_failures = self.failures.checked_sub(breaker_failures).filter(|_| breaker_failures > 0);
        let excess = by_strikes.max(by_failures);
        self.is_struck = excess.is_some();
        match excess {
            Some(excess) if !self.is_resting(now) => {
                self.limit = 1;
                self.rests_until = Some(now + FIRST_REST * 2_u32.pow(excess.min(LONGER_RESTS)));
                true
            }
            _ => false,
        }
    }

    /// After one of a group has ended: the next one follows, or all that were to follow are given back.
    pub(super) fn follow(&mut self, group: i64, is_settled: bool) -> VecDeque<Work> {
        let Some(mut followers) = self.followers.remove(&group) else { return VecDeque::new() };
        if is_settled && let Some(next) = followers.pop_front() {
            self.queue.push_back(next);
            self.followers.insert(group, std::mem::take(&mut followers));
        }
        followers
    }

    /// Gives up everything that has not started.
    pub(super) fn drain(&mut self) -> Vec<Work> {
        let mut drained = Vec::from(std::mem::take(&mut self.queue));
        for group in drained.iter().filter_map(|head| head.group).collect::<Vec<_>>() {
            drained.extend(self.followers.remove(&group).into_iter().flatten());
        }
        drained.extend(self.followers.values_mut().flat_map(|followers| followers.drain(..)));
        drained
    }

    /// How long it is kept while it is idle.
    pub(super) fn is_kept_until(&self, now: Instant) -> Instant {
        let knows_nothing = self.limit == self.most && self.failures == 0;
        let until = self.used_at + if knows_nothing { IDLE } else { MEMORY };
        until.max(self.meter.due.unwrap_or(now))
    }
}
