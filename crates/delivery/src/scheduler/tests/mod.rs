//! The scheduler by itself: who starts, who waits, who is told. Time passes when a test says so.

mod books;
mod breaker;
mod fairness;
mod groups;
mod hosts;
mod lanes;
mod rates;

use std::{collections::HashMap, time::Duration};

use hookcast_core::clock::Timestamp;

use super::*;

const BOUNDS: Bounds = Bounds {
    in_flight: 8,
    in_flight_per_lane: 4,
    in_flight_per_host: 0,
    just_begun: usize::MAX,
    bytes: 1_000,
    breaker_failures: 0,
    recovery_rate: 100.0,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn subscription(n: u16) -> SubscriptionId {
    let [high, low] = n.to_be_bytes();
    SubscriptionId::from_bytes([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

/// A lane of account 1 whose host no other lane has.
fn rules(lane: u16) -> LaneRules {
    LaneRules {
        account: account(1),
        host: format!("https://{lane}.example").into(),
        max_in_flight: None,
        rate_limit: None,
        is_open: false,
        recovering_since: None,
    }
}

/// A scheduler, what it was told about its lanes, and a clock.
struct World {
    scheduler: Scheduler,
    rules: HashMap<u16, Arc<LaneRules>>,
    now: Instant,
    queued: u64,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        Self { scheduler: Scheduler::new(bounds), rules: HashMap::new(), now: Instant::now(), queued: 0 }
    }

    fn set(&mut self, lane: u16, change: impl FnOnce(&mut LaneRules)) {
        let mut rules = LaneRules::clone(&self.rules_of(lane));
        change(&mut rules);
        self.rules.insert(lane, Arc::new(rules));
    }

    fn rules_of(&mut self, lane: u16) -> Arc<LaneRules> {
        Arc::clone(self.rules.entry(lane).or_insert_with(|| Arc::new(rules(lane))))
    }

    fn reserve(&mut self, lane: u16, count: usize, bytes: usize) -> usize {
        let rules = self.rules_of(lane);
        self.scheduler.reserve(subscription(lane), &rules, count, bytes, self.now)
    }

    fn reserve_fresh(&mut self, lane: u16) -> bool {
        let rules = self.rules_of(lane);
        self.scheduler.reserve_fresh(subscription(lane), &rules, 2, self.now)
    }

    fn is_crowded(&mut self, lane: u16) -> bool {
        let rules = self.rules_of(lane);
        self.scheduler.is_crowded(subscription(lane), &rules, 1, self.now)
    }

    fn unreserve(&mut self, lane: u16, count: usize, bytes: usize) {
        self.scheduler.unreserve(subscription(lane), count, bytes, self.now);
    }

    /// Queues as many deliveries as there is room for, up to `count`; answers how many that were.
    fn fill(&mut self, lane: u16, count: usize) -> usize {
        let granted = self.reserve(lane, count, 2);
        for _ in 0..granted {
            self.queue(lane, None);
        }
        granted
    }

    /// Queues a delivery for which 2 bytes were reserved; answers its number.
    fn queue(&mut self, lane: u16, group: Option<i64>) -> u64 {
        self.queued += 1;
        let work = Work {
            delivery: DeliveryId::from_position(Timestamp::from_millis(0), self.queued),
            subscription: subscription(lane),
            group,
            event: EventId::from_bytes([0; 16]),
            attempts: 0,
            message: message(b"{}"),
            holder: Incarnation(1),
            begun: None,
        };
        self.scheduler.queue(work, 2, self.now);
        self.queued
    }

    fn start(&mut self) -> Option<Work> {
        self.scheduler.start_next(self.now)
    }

    fn start_all(&mut self) -> Vec<Work> {
        std::iter::from_fn(|| self.start()).collect()
    }

    fn end(&mut self, work: &Work, feedback: Feedback) -> Ended {
        self.scheduler.end(work, feedback, feedback == Feedback::Good, self.now)
    }

    /// Lets time pass; answers whether there is room again.
    fn pass(&mut self, time: Duration) -> bool {
        self.now += time;
        self.scheduler.wake(self.now)
    }

    /// Lets time pass until the scheduler wants to be woken; answers how long that took.
    fn pass_to_wake(&mut self) -> Duration {
        let time = self.scheduler.next_wake().unwrap() - self.now;
        self.pass(time);
        time
    }

    fn full_lanes(&mut self) -> HashSet<SubscriptionId> {
        self.scheduler.full_lanes(self.now)
    }

    fn has_room(&mut self, lane: u16) -> bool {
        let rules = self.rules_of(lane);
        self.scheduler.has_room(subscription(lane), &rules, self.now)
    }

    /// Lets a lane's attempts end without an answer until it is struck.
    fn strike(&mut self, lane: u16) -> Vec<Work> {
        self.fill(lane, 8);
        for _ in 0..2 {
            let work = self.start().unwrap();
            assert!(self.end(&work, Feedback::Overloaded).given_back.is_empty());
            self.fill(lane, 1);
        }
        let work = self.start().unwrap();
        self.end(&work, Feedback::Overloaded).given_back
    }

    fn held(&self) -> (usize, usize, usize) {
        (self.scheduler.held, self.scheduler.bytes, self.scheduler.in_flight())
    }
}

fn positions(work: &[Work]) -> Vec<u64> {
    work.iter().map(|work| work.delivery.position()).collect()
}

/// What is sent, of these bytes.
fn message(body: &'static [u8]) -> Arc<Message> {
    Arc::new(Message { content_type: "application/json", headers: Vec::new(), body: body.into() })
}
