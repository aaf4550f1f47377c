//! Whatever happens, in whatever order: the books are right, no bound is passed, and nothing is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TIGHT: Bounds = Bounds {
    in_flight: 12,
    in_flight_per_lane: 4,
    in_flight_per_host: 5,
    just_begun: 6,
    bytes: 60,
    breaker_failures: 4,
    recovery_rate: 3.0,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve {
        lane: u16,
        count: usize,
        is_fresh: bool,
    },
    /// Queues or gives back one of the places that are reserved.
    Use {
        place: usize,
        group: Option<i64>,
        is_needed: bool,
    },
    Start,
    End {
        attempt: usize,
        feedback: Feedback,
        is_settled: bool,
    },
    Pass {
        millis: u64,
    },
    Change {
        lane: u16,
        rules: usize,
    },
    Share {
        nodes: u32,
    },
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let feedback = prop_oneof![
        4 => Just(Feedback::Good),
        2 => Just(Feedback::Overloaded),
        1 => Just(Feedback::Neutral),
        1 => Just(Feedback::Untried),
    ];
    prop_oneof![
        4 => (0..9_u16, 1..6_usize, any::<bool>())
            .prop_map(|(lane, count, is_fresh)| Step::Reserve { lane, count, is_fresh }),
        8 => (any::<usize>(), proptest::option::of(0..2_i64), prop::bool::weighted(0.8))
            .prop_map(|(place, group, is_needed)| Step::Use { place, group, is_needed }),
        8 => Just(Step::Start),
        8 => (any::<usize>(), feedback, any::<bool>())
            .prop_map(|(attempt, feedback, is_settled)| Step::End { attempt, feedback, is_settled }),
        2 => (0..3_000_u64).prop_map(|millis| Step::Pass { millis }),
        1 => (0..9_u16, 0..6_usize).prop_map(|(lane, rules)| Step::Change { lane, rules }),
        1 => (0..4_u32).prop_map(|nodes| Step::Share { nodes }),
        1 => Just(Step::Look),
    ]
}

/// What must hold is known from outside: what was reserved, queued, started.
struct Model {
    world: World,
    /// The lanes of reserved places.
    reserved: Vec<u16>,
    /// What is queued, by its number.
    queued: BTreeMap<u64, (u16, Option<i64>)>,
    in_flight: Vec<Work>,
}

fn lane_of(work: &Work) -> u16 {
    let bytes = work.subscription.to_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

impl Model {
    fn new() -> Self {
        let mut world = World::new(TIGHT);
        for lane in 0..9 {
            world.set(lane, |rules| {
                rules.account = account(u8::try_from(lane % 3).unwrap());
                rules.host = format!("https://{}.example", lane % 2).into();
            });
        }
        Self { world, reserved: Vec::new(), queued: BTreeMap::new(), in_flight: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Reserve { lane, count, is_fresh } => {
                let granted = if is_fresh {
                    usize::from(self.world.reserve_fresh(lane))
                } else {
                    self.world.reserve(lane, count, 2)
                };
                assert!(granted <= count);
                self.reserved.extend(std::iter::repeat_n(lane, granted));
            }
            Step::Use { place, group, is_needed } if !self.reserved.is_empty() => {
                let lane = self.reserved.swap_remove(place % self.reserved.len());
                if is_needed {
                    let number = self.world.queue(lane, group);
                    self.queued.insert(number, (lane, group));
                } else {
                    self.world.unreserve(lane, 1, 2);
                }
            }
            Step::Start => {
                self.start();
            }
            Step::End { attempt, feedback, is_settled } if !self.in_flight.is_empty() => {
                let attempt = attempt % self.in_flight.len();
                self.end(attempt, feedback, is_settled);
            }
            Step::Pass { millis } => {
                self.world.pass(Duration::from_millis(millis));
            }
            Step::Change { lane, rules: change } => self.world.set(lane, |rules| match change {
                0 => rules.is_open = !rules.is_open,
                1 => rules.rate_limit = if rules.rate_limit.is_none() { Some(2.0) } else { None },
                2 => rules.max_in_flight = if rules.max_in_flight.is_none() { Some(2) } else { None },
                3 => rules.host = "https://0.example".into(),
                4 => rules.host = "https://1.example".into(),
                _ => rules.rate_limit = Some(50.0),
            }),
            Step::Share { nodes } => {
                self.world.scheduler.set_share(nodes, self.world.now);
            }
            Step::Look => {
                self.world.full_lanes();
            }
            Step::Use { .. } | Step::End { .. } => {}
        }
        self.check();
    }

    fn start(&mut self) -> bool {
        let Some(work) = self.world.start() else { return false };
        let number = work.delivery.position();
        let (lane, group) = self.queued.remove(&number).expect("what starts was queued");
        assert_eq!((lane, group), (lane_of(&work), work.group));
        if group.is_some() {
            let is_same = |other: &Work| lane_of(other) == lane && other.group == group;
            assert!(!self.in_flight.iter().any(is_same), "two of a group are in flight");
            let earlier = self.queued.range(..number).find(|(_, other)| **other == (lane, group));
            assert_eq!(earlier, None, "one of a group was passed over");
        }
        self.in_flight.push(work);
        true
    }

    fn end(&mut self, attempt: usize, feedback: Feedback, is_settled: bool) {
        let work = self.in_flight.swap_remove(attempt);
        let ended = self.world.scheduler.end(&work, feedback, is_settled, self.world.now);
        for work in ended.given_back {
            assert!(self.queued.remove(&work.delivery.position()).is_some(), "what is given back was queued");
        }
    }

    fn check(&self) {
        let scheduler = &self.world.scheduler;
        let held = self.reserved.len() + self.queued.len() + self.in_flight.len();
        assert_eq!(self.world.held(), (held, 2 * held, self.in_flight.len()));
        assert!(self.in_flight.len() <= TIGHT.in_flight && held <= TIGHT.in_flight * SLOTS_PER_ATTEMPT);
        assert!(scheduler.bytes <= TIGHT.bytes);
        assert!(scheduler.probes <= TIGHT.in_flight / 4);

        let lanes = || scheduler.lanes.iter().map(|(_, lane)| lane);
        let accounts = || scheduler.accounts.iter().map(|(_, account)| account);
        assert_eq!(lanes().map(|lane| lane.held).sum::<usize>(), held);
        assert_eq!(accounts().map(|account| (account.held, account.bytes)).sum_pairs(), (held, 2 * held));
        assert_eq!(lanes().map(|lane| (lane.in_flight, lane.bytes)).sum_pairs(), (self.in_flight.len(), 2 * held));
        assert_eq!(accounts().map(|account| account.in_flight).sum::<usize>(), self.in_flight.len());
        assert_eq!(lanes().filter(|lane| lane.is_probed).count(), scheduler.probes);
        assert_eq!(accounts().map(|account| account.probes).sum::<usize>(), scheduler.probes);
        for (key, host) in &scheduler.hosts {
            let there = || lanes().filter(|lane| lane.host == key);
            assert_eq!(there().count(), host.lanes);
            assert_eq!(there().map(|lane| lane.in_flight).sum::<usize>(), host.in_flight);
        }
        for lane in lanes() {
            assert!(lane.in_flight <= TIGHT.in_flight_per_lane);
        }
    }

    /// Everything goes on and nothing new comes.
    fn finish(mut self) {
        while let Some(lane) = self.reserved.pop() {
            self.world.unreserve(lane, 1, 2);
        }
        for _ in 0..10_000 {
            while self.start() {}
            self.check();
            if !self.in_flight.is_empty() {
                self.end(0, Feedback::Good, true);
            } else if self.queued.is_empty() {
                break;
            } else {
                self.world.pass_to_wake();
            }
        }
        assert!(self.queued.is_empty(), "stuck: {:?}", self.queued);
        while self.world.scheduler.next_wake().is_some() {
            self.world.pass_to_wake();
        }
        let scheduler = &self.world.scheduler;
        assert!(scheduler.lanes.is_empty() && scheduler.accounts.is_empty() && scheduler.hosts.is_empty());
    }
}

trait SumPairs {
    fn sum_pairs(self) -> (usize, usize);
}

impl<I: Iterator<Item = (usize, usize)>> SumPairs for I {
    fn sum_pairs(self) -> (usize, usize) {
        self.fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_right_whatever_happens(steps in prop::collection::vec(step(), 1..300)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.finish();
    }
}
