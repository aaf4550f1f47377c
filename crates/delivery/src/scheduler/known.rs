//! Which lanes, accounts and hosts are known, and where each lane waits.

use std::sync::Arc;

use hookcast_core::id::SubscriptionId;
use tokio::time::Instant;

use super::{Account, Host, Key, Lane, LaneRules, Place, Scheduler};

impl Scheduler {
    /// Makes a lane, its account and its host known.
    pub(super) fn know(&mut self, subscription: SubscriptionId, rules: &Arc<LaneRules>, now: Instant) -> Key {
        let accounts = &mut self.accounts;
        let account = *self.account_of.entry(rules.account).or_insert_with(|| accounts.insert(Account::default()));
        self.accounts[account].lanes += 1;
        let host = self.know_host(&rules.host);
        let key = self.lanes.insert(Lane::new(subscription, rules, (account, host), self.frame, now));
        self.lane_of.insert(subscription, key);
        key
    }

    fn know_host(&mut self, name: &Arc<str>) -> Key {
        let key = self.host_of.get(name).copied().unwrap_or_else(|| {
            let bounds = self.frame.bounds;
            let most = if bounds.in_flight_per_host == 0 { bounds.in_flight } else { bounds.in_flight_per_host };
            let key = self.hosts.insert(Host::new(most.max(1)));
            self.host_of.insert(Arc::clone(name), key);
            key
        });
        self.hosts[key].lanes += 1;
        key
    }

    /// One lane less goes to a host.
    fn leave_host(&mut self, key: Key, name: &Arc<str>) {
        self.hosts[key].lanes -= 1;
        if self.hosts[key].lanes == 0 {
            self.hosts.remove(key);
            self.host_of.remove(name);
        }
    }

    /// Lets the rules of a subscription hold from now on for what is queued already.
    pub fn follow(&mut self, subscription: SubscriptionId, rules: &Arc<LaneRules>, now: Instant) {
        if let Some(key) = self.lane_of.get(&subscription).copied() {
            self.follow_rules(key, rules, now);
            self.settle(key, now);
        }
    }

    /// Gives a lane the rules that hold now. Its account is always the same; where its host is another one, what it has in flight
    /// counts there from now on. Whoever calls this settles the lane.
    pub(super) fn follow_rules(&mut self, key: Key, rules: &Arc<LaneRules>, now: Instant) {
        if Arc::ptr_eq(&self.lanes[key].rules, rules) {
            return;
        }
        let old = std::mem::replace(&mut self.lanes[key].rules, Arc::clone(rules));
        self.lanes[key].adapt(self.frame);
        if old.host != rules.host {
            let (account, before, in_flight) =
                (self.lanes[key].account, self.lanes[key].host, self.lanes[key].in_flight);
            if let Place::Host(turn) = self.lanes[key].place {
                self.hosts[before].waiting.remove(account, turn);
                self.lanes[key].place = Place::Nowhere;
            }
            let after = self.know_host(&rules.host);
            self.hosts[after].in_flight += in_flight;
            self.lanes[key].host = after;
            self.hosts[before].in_flight -= in_flight;
            self.let_waiting_in(before, now);
            self.leave_host(before, &old.host);
        }
    }

    /// Lets a lane wait where it has to; forgets it where there is nothing to wait for and nothing to remember.
    pub(super) fn settle(&mut self, key: Key, now: Instant) {
        let lane = &mut self.lanes[key];
        if lane.place != Place::Nowhere {
            return;
        }
        if lane.wants_to_start() {
            let ready_at = lane.ready_at(self.frame, now);
            if ready_at > now {
                self.set_timer(key, ready_at);
            } else if self.hosts[lane.host].has_room() {
                lane.place = Place::Turns(self.turns.push(lane.account, key, lane.in_flight));
            } else {
                lane.place = Place::Host(self.hosts[lane.host].waiting.push(lane.account, key, lane.in_flight));
            }
        } else if lane.is_wanted
            && let Some(at) = lane.room_at(self.frame, now)
        {
            self.set_timer(key, at);
        } else if lane.held == 0 {
            let until = lane.is_kept_until(now);
            if until > now { self.set_timer(key, until) } else { self.forget(key) }
        }
    }

    /// Takes a lane out of the turns, so that [`settle`](Self::settle) finds its place anew.
    pub(super) fn lose_turn(&mut self, key: Key) {
        let lane = &mut self.lanes[key];
        if let Place::Turns(turn) = lane.place {
            lane.place = Place::Nowhere;
            self.turns.remove(lane.account, turn);
        }
    }

    fn set_timer(&mut self, key: Key, at: Instant) {
        let lane = &mut self.lanes[key];
        if lane.wakes_at.is_none_or(|earlier| at < earlier) {
            lane.wakes_at = Some(at);
            self.timers.push(at, key);
        }
    }

    fn forget(&mut self, key: Key) {
        let lane = self.lanes.remove(key);
        self.lane_of.remove(&lane.subscription);
        self.accounts[lane.account].lanes -= 1;
        if self.accounts[lane.account].lanes == 0 {
            self.accounts.remove(lane.account);
            self.account_of.remove(&lane.rules.account);
        }
        self.leave_host(lane.host, &lane.rules.host);
    }
}
