//! How much of what all share one may have.
//!
//! Thresholds move with what is left over (Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998): whoever has more than its share of
//! that gets no more, and room that somebody else wants is free before it is asked for. They hold for accounts first, and for
//! the lanes of an account within what the account may have.

/// An account may have so many times what is left over: alone it has nine tenths of everything, and all but one of a few.
const GREED: usize = 16;

/// The last part of everything, one in so many, is for accounts that have nothing yet.
const FOR_NEW_ACCOUNTS: usize = 32;

/// One part in so many is much.
const MUCH: usize = 8;

/// The last part of what an account may have, one in so many, is for its lanes that have nothing yet.
const FOR_NEW_LANES: usize = 4;

/// Something that is shared: how much there is of it, and how much of that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub all: usize,
    pub free: usize,
}

impl Pool {
    /// What is left for lanes that have something already.
    fn for_old_lanes(self) -> usize {
        self.free.saturating_sub(self.all / FOR_NEW_LANES)
    }

    /// Whether there is too little for something new that takes `wanted`, or a good part of everything.
    pub(super) fn has_too_little_for(self, wanted: usize) -> bool {
        self.for_old_lanes() < wanted.min(self.all / MUCH).max(1)
    }

    /// Whether so much is left that those who wait may come: not so little that they come for each piece, and not so much that all come at
    /// once.
    pub(super) fn has_much_left(self) -> bool {
        !self.has_too_little_for(usize::MAX)
    }

    /// What is shared by the lanes of an account that has `own` of this.
    pub(super) fn of_account(self, own: usize) -> Self {
        let left = self.free.saturating_sub(self.all / FOR_NEW_ACCOUNTS);
        // The most by which `own` can grow without passing GREED times what is left over then.
        let more = (GREED * left).saturating_sub(own) / (GREED + 1);
        let more = if own == 0 { more.max(self.free.min(1)) } else { more };
        Self { all: own + more, free: more }
    }

    /// How much a lane may have in all that has `own` of its account's. `is_welcome`: it may have something of the part that is
    /// kept for lanes without anything.
    pub(super) fn of_lane(self, own: usize, is_welcome: bool) -> usize {
        let share = self.for_old_lanes();
        if own == 0 && is_welcome { share.max(self.free.min(1)) } else { share }
    }

    /// How much more a lane may take that has `own` of its account's, where what it takes comes in large pieces and one lane may
    /// well need most of it: only what is kept for lanes without anything is out of its reach.
    pub(super) fn rest_for_lane(self, own: usize) -> usize {
        if own == 0 { self.free } else { self.for_old_lanes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_alone_may_have_nine_tenths() {
        let alone = |own| Pool { all: 1_024, free: 1_024 - own }.of_account(own);
        assert_eq!(alone(0), Pool { all: 933, free: 933 });
        assert_eq!(alone(800), Pool { all: 933, free: 133 });
        assert_eq!(alone(933).free, 0);
    }

    #[test]
    fn another_one_finds_room_at_once_and_a_new_one_always() {
        let crowded = Pool { all: 1_024, free: 1_024 - 933 };
        assert!(crowded.of_account(0).free > 50);
        let more_crowded = Pool { all: 1_024, free: 5 };
        assert_eq!((more_crowded.of_account(1).free, more_crowded.of_account(0).free), (0, 1));
    }

    #[test]
    fn one_place_of_a_few_stays_free() {
        for all in 2..=16 {
            assert_eq!(Pool { all, free: all }.of_account(0).all, all - 1);
        }
    }

    #[test]
    fn of_a_single_place_whoever_comes_first_has_it() {
        assert_eq!(Pool { all: 1, free: 1 }.of_account(0), Pool { all: 1, free: 1 });
        assert_eq!(Pool { all: 1, free: 1 }.of_lane(0, true), 1);
        assert_eq!(Pool { all: 1, free: 0 }.of_account(0).free, 0);
    }
}
