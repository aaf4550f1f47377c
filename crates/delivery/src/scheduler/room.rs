//! Room: who may hold how much.

use std::{collections::HashSet, sync::Arc};

use hookcast_core::id::{AccountId, SubscriptionId};
use tokio::time::Instant;

use super::{Account, Key, LaneRules, Scheduler, rate::MEASURED_OVER};

/// So many attempts end in a second where what bounds them is this node, and not their callbacks.
const AT_ITS_LIMIT: f64 = 10_000.0;

impl Scheduler {
    /// Reserves room for up to `count` deliveries of a lane with bodies of `bytes` each; answers for how many. A lane for which there
    /// is none counts as [full](Self::full_lanes) until there is some.
    pub fn reserve(
        &mut self,
        subscription: SubscriptionId,
        rules: &Arc<LaneRules>,
        count: usize,
        bytes: usize,
        now: Instant,
    ) -> usize {
        let granted = self.grant(subscription, rules, count, bytes, now);
        if granted == 0
            && let Some(key) = self.account_of.get(&rules.account)
            && self.is_account_full(*key)
        {
            self.accounts[*key].turned_away.insert(subscription);
        }
        granted
    }

    /// Reserves room for a delivery of a new event with a body of `bytes`; answers whether there is any. There is none
    /// where the breaker is open: what goes out then is for the store to choose.
    pub fn reserve_fresh(
        &mut self,
        subscription: SubscriptionId,
        rules: &Arc<LaneRules>,
        bytes: usize,
        now: Instant,
    ) -> bool {
        !rules.is_open && self.grant(subscription, rules, 1, bytes, now) == 1
    }

    fn grant(
        &mut self,
        subscription: SubscriptionId,
        rules: &Arc<LaneRules>,
        count: usize,
        bytes: usize,
        now: Instant,
    ) -> usize {
        let key = if let Some(key) = self.lane_of.get(&subscription).copied() {
            self.follow_rules(key, rules, now);
            key
        } else {
            // Of the lanes of an account that has all it may, nothing needs to be known.
            let account = self.account_of.get(&rules.account).copied();
            if let Some(account) = account.filter(|account| self.is_account_full(*account)) {
                self.accounts[account].is_wanted = true;
                self.is_wanted = true;
                return 0;
            }
            self.know(subscription, rules, now)
        };
        let wanted = self.own_room(key, now).min(count);
        let granted = wanted.min(self.share(key)).min(self.bodies(key, bytes));
        if self.held == 0 {
            self.busy_since = now;
        }
        self.hold(key, granted, granted * bytes);
        let lane = &mut self.lanes[key];
        let account = &mut self.accounts[lane.account];
        if lane.is_narrow() && granted > 0 {
            lane.is_probed = true;
            account.probes += 1;
            self.probes += 1;
        }
        lane.is_wanted |= granted < count;
        account.is_wanted |= granted < wanted;
        self.is_wanted |= granted < wanted;
        self.settle(key, now);
        granted
    }

    /// For how many more deliveries a lane has room, as far as it is up to itself.
    fn own_room(&self, key: Key, now: Instant) -> usize {
        let lane = &self.lanes[key];
        if lane.is_narrow() && lane.is_resting(now) { 0 } else { lane.slots(self.frame, now).saturating_sub(lane.held) }
    }

    /// For how many more deliveries a lane has room, as far as it is up to those with whom it shares.
    fn share(&self, key: Key) -> usize {
        let lane = &self.lanes[key];
        let account = &self.accounts[lane.account];
        if lane.is_narrow() && !self.has_probes_left(account) {
            return 0;
        }
        let share = self.slot_pool().of_account(account.held).of_lane(lane.held, !lane.is_narrow());
        // Each one granted is one less that is left over.
        share.saturating_sub(lane.held).div_ceil(2)
    }

    fn has_room_in(&self, key: Key, now: Instant) -> bool {
        self.own_room(key, now) > 0 && self.share(key) > 0 && self.bodies(key, 0) > 0
    }

    /// For how many more bodies of `bytes` each there is room. One body is held whatever its size.
    fn bodies(&self, key: Key, bytes: usize) -> usize {
        let lane = &self.lanes[key];
        let account = &self.accounts[lane.account];
        let rest = self.byte_pool().of_account(account.bytes).rest_for_lane(lane.bytes);
        let fit = if rest == 0 { 0 } else { rest.checked_div(bytes).unwrap_or(usize::MAX) };
        fit.max(usize::from(self.held == 0))
    }

    /// Whether there is no room for anybody. It is told when there is again.
    pub fn is_full(&mut self) -> bool {
        let is_full = self.slot_pool().free == 0 || self.byte_pool().free == 0;
        self.is_wanted |= is_full;
        is_full
    }

    /// Gives back room that was reserved and not used.
    pub fn unreserve(&mut self, subscription: SubscriptionId, count: usize, bytes: usize, now: Instant) {
        if let Some(key) = self.lane_of.get(&subscription).copied().filter(|_| count > 0) {
            self.let_go(key, count, count * bytes);
            self.end_probe(key);
            self.settle(key, now);
        }
    }

    /// Lanes that need no more for now: the full ones, and those that were and are not half empty yet; those of an account too that
    /// has what it may.
    pub fn full_lanes(&mut self, now: Instant) -> HashSet<SubscriptionId> {
        let (slots, bytes) = (self.slot_pool(), self.byte_pool());
        let mut full = HashSet::new();
        for (_, account) in &mut self.accounts {
            let has_room = bytes.of_account(account.bytes).free > 0;
            if has_room && account.held <= slots.of_account(account.held).all / 2 {
                account.turned_away.clear();
            }
            full.extend(account.turned_away.iter().copied());
        }
        for key in self.keys() {
            let is_full = !self.has_room_in(key, now);
            let lane = &mut self.lanes[key];
            if is_full || lane.is_wanted && !lane.is_half_empty(self.frame, now) {
                lane.is_wanted = true;
                full.insert(lane.subscription);
                self.settle(key, now);
            }
        }
        full
    }

    /// Whether a lane has room for one more that is [fresh](Self::reserve_fresh).
    #[must_use]
    pub fn has_room(&self, subscription: SubscriptionId, rules: &LaneRules, now: Instant) -> bool {
        if rules.is_open {
            return false;
        }
        let account = || self.account_of.get(&rules.account).copied();
        match self.lane_of.get(&subscription).copied() {
            Some(key) => self.has_room_in(key, now),
            None => account().map_or(self.slot_pool().free > 0, |key| !self.is_account_full(key)),
        }
    }

    /// Whether one more that is [fresh](Self::reserve_fresh) had better wait for room, which there will be within a moment: there is none,
    /// or others wait for it; what is held goes out as fast as this node can send, as far as is known; and no other node could take what is
    /// left in the store. It is told when there is room.
    ///
    /// `wanted` is how many there are of it, for this subscription and others.
    pub fn is_crowded(&mut self, subscription: SubscriptionId, rules: &LaneRules, wanted: usize, now: Instant) -> bool {
        let may_wait = !self.is_closed && self.frame.nodes == 1 && !rules.is_open;
        may_wait && (self.is_lane_crowded(subscription, now) || self.is_account_crowded(rules.account, wanted, now))
    }

    fn is_lane_crowded(&mut self, subscription: SubscriptionId, now: Instant) -> bool {
        let has_just_begun = self.has_just_begun(now);
        let Some(key) = self.lane_of.get(&subscription).copied() else { return false };
        let room = self.own_room(key, now);
        let lane = &mut self.lanes[key];
        let is_crowded = room == 0 || lane.is_wanted && !lane.is_half_empty(self.frame, now);
        let may_get_on = has_just_begun && !lane.is_bounded(self.frame, now);
        let gets_on = is_crowded && (lane.ends.per_second(now) >= AT_ITS_LIMIT || may_get_on);
        lane.is_wanted |= gets_on;
        gets_on
    }

    fn is_account_crowded(&mut self, account: AccountId, wanted: usize, now: Instant) -> bool {
        let has_just_begun = self.has_just_begun(now);
        let Some(key) = self.account_of.get(&account).copied() else { return false };
        let pool = self.slot_pool().of_account(self.accounts[key].held);
        let account = &mut self.accounts[key];
        let is_crowded = pool.has_too_little_for(wanted)
            || account.is_wanted && account.held > pool.all / 2
            || account.is_awaited && !pool.has_much_left();
        let gets_on = is_crowded && (self.ends.per_second(now) >= AT_ITS_LIMIT || has_just_begun);
        account.is_awaited |= gets_on;
        gets_on
    }

    /// Whether something has been held for so short a time that it is not known how fast it goes out.
    fn has_just_begun(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.busy_since) < 2 * MEASURED_OVER
    }

    fn is_account_full(&self, key: Key) -> bool {
        let account = &self.accounts[key];
        self.slot_pool().of_account(account.held).free == 0 || self.byte_pool().of_account(account.bytes).free == 0
    }

    fn has_probes_left(&self, account: &Account) -> bool {
        self.probe_pool().of_account(account.probes).free > 0
    }

    /// Ends the probe of a lane, if there is one; answers whether there was.
    pub(super) fn end_probe(&mut self, key: Key) -> bool {
        let lane = &mut self.lanes[key];
        let was_probed = std::mem::take(&mut lane.is_probed);
        if was_probed {
            self.accounts[lane.account].probes -= 1;
            self.probes -= 1;
        }
        was_probed
    }

    pub(super) fn hold(&mut self, key: Key, count: usize, bytes: usize) {
        let lane = &mut self.lanes[key];
        let account = &mut self.accounts[lane.account];
        for held in [&mut lane.held, &mut account.held, &mut self.held] {
            *held += count;
        }
        for held in [&mut lane.bytes, &mut account.bytes, &mut self.bytes] {
            *held += bytes;
        }
    }

    pub(super) fn let_go(&mut self, key: Key, count: usize, bytes: usize) {
        let lane = &mut self.lanes[key];
        let account = &mut self.accounts[lane.account];
        for held in [&mut lane.held, &mut account.held, &mut self.held] {
            *held -= count;
        }
        for held in [&mut lane.bytes, &mut account.bytes, &mut self.bytes] {
            *held -= bytes;
        }
    }
}
