//! What holds of deliveries that go one after the other, after whatever two processes have done.

use std::{collections::HashMap, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::EventId,
    options::{Options, Ordering},
    subscription::Subscription,
};

use super::{
    invariants::Dice,
    process::{EVERYTHING, Process, delivered, failed, retried},
    world::{LONG, NOW, World},
};
use crate::engine::{Claimed, Role};

cases![an_ordered_story_from_seed_1, an_ordered_story_from_seed_2, an_ordered_story_from_seed_3];

async fn an_ordered_story_from_seed_1(world: World) {
    tell(world, 11).await;
}

async fn an_ordered_story_from_seed_2(world: World) {
    tell(world, 12).await;
}

async fn an_ordered_story_from_seed_3(world: World) {
    tell(world, 13).await;
}

const STEPS: u64 = 400;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// A process and the runs that it holds, by group.
struct Actor {
    process: Process,
    runs: HashMap<i64, Vec<Claimed>>,
}

struct Story {
    world: World,
    dice: Dice,
    now: Timestamp,
    actors: Vec<Actor>,
    ada: Subscription,
    /// For each key the numbers of its events in the order of acceptance, and how many of them have ended.
    accepted: HashMap<String, Vec<u64>>,
    events: HashMap<String, Vec<EventId>>,
    ended: HashMap<String, usize>,
    next: u64,
}

async fn tell(world: World, seed: u64) {
    let options = Options { ordering: Some(Ordering::Key), ..Options::default() };
    let ada = world.subscriber_with("x", options).await;
    let mut actors = Vec::new();
    for _ in 0..2 {
        actors.push(Actor { process: world.process().await, runs: HashMap::new() });
    }
    let (accepted, events, ended) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut story = Story { world, dice: Dice(seed), now: NOW, actors, ada, accepted, events, ended, next: 0 };
    for step in 0..STEPS {
        story.now = story.now.plus(Duration::from_secs(1));
        let actor = story.dice.index(2);
        match story.dice.below(12) {
            0..3 => story.accept(actor).await,
            3..5 => story.claim(actor).await,
            5 => story.pass(actor).await,
            6..10 => story.finish(actor).await,
            10 => story.release(actor).await,
            _ => story.restart(actor).await,
        }
        if step % 5 == 0 {
            story.check().await;
        }
    }
    story.drain().await;
}

fn key(claimed: &Claimed) -> String {
    claimed.event.key.clone().unwrap()
}

fn number(claimed: &Claimed) -> u64 {
    claimed.event.payload.get().parse().unwrap()
}

impl Story {
    async fn accept(&mut self, actor: usize) {
        let mut batch = self.world.batch().by(&self.actors[actor].process).at(self.now);
        let mut keys = Vec::new();
        for _ in 0..=self.dice.below(4) {
            let key = KEYS[self.dice.index(KEYS.len())];
            self.next += 1;
            batch = batch.event("x").keyed(key).payload(&self.next.to_string()).to([&self.ada]);
            self.accepted.entry(key.to_owned()).or_default().push(self.next);
            keys.push(key);
        }
        for (key, receipt) in keys.into_iter().zip(batch.accept().await.receipts) {
            self.events.entry(key.to_owned()).or_default().push(receipt.id);
        }
    }

    async fn claim(&mut self, actor: usize) {
        let limit = 1 + self.dice.index(6);
        let claimed = self.actors[actor].process.claim(&self.ada, limit, self.now).await;
        self.begin(actor, limit, claimed);
    }

    /// A pass takes the first of each key, whenever it is due, and nothing behind it.
    async fn pass(&mut self, actor: usize) {
        let limit = 1 + self.dice.index(3);
        let claimed = self.actors[actor].process.pass(&self.ada, limit, EVERYTHING, self.now).await;
        assert!(claimed.iter().all(|claimed| !self.actors[actor].runs.contains_key(&claimed.group.unwrap())));
        self.begin(actor, limit, claimed);
    }

    /// What is claimed of a key is what comes next of it, without a gap, and nobody holds anything else of it.
    fn begin(&mut self, actor: usize, limit: usize, claimed: Vec<Claimed>) {
        assert!(claimed.len() <= limit);
        for claimed in claimed {
            let group = claimed.group.unwrap();
            assert!(!self.actors[1 - actor].runs.contains_key(&group), "two processes hold one group");
            let key = key(&claimed);
            let run = self.actors[actor].runs.entry(group).or_default();
            let place = self.ended.get(&key).copied().unwrap_or(0) + run.len();
            assert_eq!(number(&claimed), self.accepted[&key][place], "out of order");
            run.push(claimed);
        }
    }

    /// The first of a run ends in some way; where it is to be tried again, or now and then in any case, the rest goes back.
    async fn finish(&mut self, actor: usize) {
        let Some(group) = self.actors[actor].runs.keys().copied().min() else { return };
        let mut run = self.actors[actor].runs.remove(&group).unwrap();
        let first = run.remove(0);
        let outcome = match self.dice.below(6) {
            0..3 => delivered(&first, self.now),
            3 => failed(&first, self.now),
            _ => retried(&first, self.now, self.now.plus(Duration::from_secs(self.dice.below(5)))),
        };
        let is_settled = !matches!(outcome.verdict.next, hookcast_core::delivery::Next::RetryAt(_));
        let process = &self.actors[actor].process;
        assert_eq!(process.finish([outcome], self.now).await.ignored, 0);
        if is_settled {
            *self.ended.entry(key(&first)).or_default() += 1;
        }
        if run.is_empty() {
            return;
        }
        if is_settled && !self.dice.is_lucky(4) {
            self.actors[actor].runs.insert(group, run);
        } else {
            process.release(&run, self.now).await;
        }
    }

    async fn release(&mut self, actor: usize) {
        let Some(group) = self.actors[actor].runs.keys().copied().max() else { return };
        let mut run = self.actors[actor].runs.remove(&group).unwrap();
        run.reverse();
        self.actors[actor].process.release(&run, self.now).await;
    }

    /// Ends a process, with or without a farewell, and begins another one.
    async fn restart(&mut self, actor: usize) {
        let process = Process::join(self.world.store().clone(), Role::Server, LONG, self.now).await;
        let old = std::mem::replace(&mut self.actors[actor], Actor { process, runs: HashMap::new() });
        if self.dice.is_lucky(2) {
            old.process.leave(self.now).await;
        } else {
            let moment = Duration::from_millis(1);
            old.process.renew(moment, self.now).await.unwrap();
            self.now = self.now.plus(moment);
            self.world.store().rescue(self.now).await.unwrap();
        }
    }

    /// Of each key's deliveries that have not ended only the first may be due, and is unless somebody holds it.
    async fn check(&self) {
        let records: HashMap<_, _> =
            self.world.deliveries(&self.ada).await.into_iter().map(|record| (record.event, record)).collect();
        for events in self.events.values() {
            let mut unfinished = events
                .iter()
                .map(|event| &records[event])
                .filter(|record| matches!(record.state, DeliveryState::Waiting | DeliveryState::Sending));
            let Some(head) = unfinished.next() else { continue };
            assert_eq!(head.due_at.is_some(), head.state == DeliveryState::Waiting, "{head:?}");
            for record in unfinished {
                assert_eq!(record.due_at, None, "{record:?} is behind {head:?}");
            }
        }
    }

    async fn drain(&mut self) {
        for actor in [0, 1] {
            let runs = std::mem::take(&mut self.actors[actor].runs);
            for run in runs.into_values() {
                self.actors[actor].process.release(&run, self.now).await;
            }
        }
        self.now = self.now.plus(Duration::from_secs(60));
        loop {
            self.claim(0).await;
            let runs = std::mem::take(&mut self.actors[0].runs);
            if runs.is_empty() {
                break;
            }
            for run in runs.into_values() {
                for claimed in run {
                    self.actors[0].process.finish([delivered(&claimed, self.now)], self.now).await;
                    *self.ended.entry(key(&claimed)).or_default() += 1;
                }
            }
        }
        for (key, accepted) in &self.accepted {
            assert_eq!(self.ended[key], accepted.len(), "something of {key} is left");
        }
        assert_eq!(self.world.waiting(&self.ada).await, 0);
    }
}
