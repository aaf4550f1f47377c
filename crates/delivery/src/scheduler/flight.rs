//! Attempts: which one starts, and what follows from its end.

use tokio::time::Instant;

use super::{Ended, Feedback, Key, Place, Pool, Scheduler, Work};

impl Scheduler {
    /// Queues a delivery for which room was reserved, with so many bytes.
    pub fn queue(&mut self, work: Work, reserved: usize, now: Instant) {
        if let Some(key) = self.lane_of.get(&work.subscription).copied() {
            self.hold(key, 0, work.bytes());
            self.let_go(key, 0, reserved);
            self.lanes[key].push(work);
            self.settle(key, now);
        }
    }

    /// The next delivery to start, which counts as in flight from now on.
    pub fn start_next(&mut self, now: Instant) -> Option<Work> {
        let pool = self.flight_pool();
        if self.is_closed || pool.free == 0 || self.turns.accounts() == 0 || !self.burst.has_room(now) {
            return None;
        }
        for _ in 0..self.turns.accounts() {
            let account = self.turns.next_account()?;
            let pool = pool.of_account(self.accounts[account].in_flight);
            let started = if pool.free > 0 { self.start_of(account, pool, now) } else { None };
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// The next delivery of an account to start, which has so much room for attempts.
    fn start_of(&mut self, account: Key, pool: Pool, now: Instant) -> Option<Work> {
        let mut passed = None;
        while let Some(turn) = self.turns.after(account, passed) {
            let key = turn.lane;
            let lane = &self.lanes[key];
            if lane.wants_to_start() && lane.in_flight >= pool.of_lane(lane.in_flight, !lane.is_narrow()) {
                // Those behind it have no fewer in flight, and so no more room, unless it has less only because it is narrow.
                if !lane.is_narrow() {
                    return None;
                }
                passed = Some(turn);
                continue;
            }
            self.lose_turn(key);
            let lane = &mut self.lanes[key];
            let host = &mut self.hosts[lane.host];
            let may_start = lane.wants_to_start() && host.has_room() && lane.ready_at(self.frame, now) <= now;
            let mut started = if may_start { lane.start(self.frame, now) } else { None };
            if let Some(work) = &mut started {
                work.begun = Some(now);
                host.in_flight += 1;
                self.accounts[account].in_flight += 1;
                self.in_flight += 1;
                self.burst.begin(now);
            }
            self.settle(key, now);
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// Ends an attempt. `is_settled`: the delivery is done for good, and the next one of its group follows.
    pub fn end(&mut self, work: &Work, feedback: Feedback, is_settled: bool, now: Instant) -> Ended {
        let mut ended = Ended { has_room_again: false, has_room_for_new: false, given_back: Vec::new() };
        let Some(key) = self.lane_of.get(&work.subscription).copied() else { return ended };
        self.let_go(key, 1, work.bytes());
        if let Some(begun) = work.begun {
            self.burst.end(begun);
        }
        // The place of a probe may be what another narrow lane waits for.
        ended.has_room_again |= self.end_probe(key);

        // With one less in flight its turn comes earlier.
        self.lose_turn(key);
        let lane = &mut self.lanes[key];
        let (account, host) = (lane.account, lane.host);
        lane.in_flight -= 1;
        lane.ends.count(now);
        self.ends.count(now);
        self.accounts[account].in_flight -= 1;
        self.hosts[host].in_flight -= 1;
        self.in_flight -= 1;

        // What a narrow lane meets says nothing new about its host.
        if !lane.is_narrow() {
            self.hosts[host].learn(key, feedback);
        }
        let is_struck = lane.learn(feedback, self.frame.bounds.breaker_failures, now);
        if let Some(group) = work.group {
            ended.given_back.extend(lane.follow(group, is_settled));
        }
        if is_struck {
            lane.is_wanted = true;
            ended.given_back.extend(lane.drain());
        }
        self.let_go(key, ended.given_back.len(), ended.given_back.iter().map(|work| work.bytes()).sum());

        ended.has_room_again |= self.take_wishes(key, now);
        ended.has_room_for_new = self.lets_new_in(account);
        self.let_waiting_in(host, now);
        self.settle(key, now);
        ended
    }

    /// Whether somebody is to be told that there is room again: for this lane, for its account, or for all.
    fn take_wishes(&mut self, key: Key, now: Instant) -> bool {
        let slots = self.slot_pool();
        let lane = &mut self.lanes[key];
        let account = &mut self.accounts[lane.account];
        let for_lane = lane.take_wish(self.frame, now);
        let for_account = account.is_wanted && account.held <= slots.of_account(account.held).all / 2;
        if for_account {
            account.is_wanted = false;
            account.turned_away.clear();
        }
        let for_all = self.is_wanted && self.held <= slots.all / 2;
        self.is_wanted &= !for_all;
        for_lane || for_account || for_all
    }

    /// Whether those that wait with new events are to be told that there is room. Where something of the account has been left in the
    /// store, that comes first.
    fn lets_new_in(&mut self, account: Key) -> bool {
        let slots = self.slot_pool();
        let account = &mut self.accounts[account];
        let lets_in = account.is_awaited && !account.is_wanted && slots.of_account(account.held).has_much_left();
        account.is_awaited &= !lets_in;
        lets_in
    }

    /// Gives up what a lane has not started.
    pub(super) fn give_back(&mut self, key: Key) -> Vec<Work> {
        let drained = self.lanes[key].drain();
        self.let_go(key, drained.len(), drained.iter().map(|work| work.bytes()).sum());
        drained
    }

    /// Gives turns to lanes that wait for a host, as many as it has room for.
    pub(super) fn let_waiting_in(&mut self, host: Key, now: Instant) {
        let room = self.hosts[host].limit.saturating_sub(self.hosts[host].in_flight);
        for _ in 0..room {
            let Some(key) = self.next_waiting(host) else { break };
            self.lanes[key].place = Place::Nowhere;
            self.settle(key, now);
        }
    }

    /// Takes out the lane that waits for a host and whose turn it is. Accounts that have all they may are passed over, unless all
    /// have.
    fn next_waiting(&mut self, host: Key) -> Option<Key> {
        let pool = self.flight_pool();
        let waiting = &mut self.hosts[host].waiting;
        for _ in 0..waiting.accounts() {
            let account = waiting.next_account()?;
            if pool.of_account(self.accounts[account].in_flight).free > 0 {
                return waiting.next_lane(account);
            }
        }
        let account = waiting.next_account()?;
        waiting.next_lane(account)
    }
}
