//! What holds after whatever has been done, in whatever order, by whatever processes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    id::{DeliveryId, EventId, SubscriptionId},
    policy::DeactivationPolicy,
    subscription::Subscription,
};

use super::{
    process::{EVERYTHING, Process, Trying, delivered, failed, gone, retried},
    world::{ALL, LONG, NOW, World, pages},
};
use crate::{
    Limits, StoreError,
    engine::{Outcome, Pass},
    history::DeliveryRecord,
};

cases![a_story_from_seed_1, a_story_from_seed_2, a_story_from_seed_3, a_story_from_seed_4];

async fn a_story_from_seed_1(world: World) {
    tell(world, 1).await;
}

async fn a_story_from_seed_2(world: World) {
    tell(world, 2).await;
}

async fn a_story_from_seed_3(world: World) {
    tell(world, 3).await;
}

async fn a_story_from_seed_4(world: World) {
    tell(world, 4).await;
}

const STEPS: u64 = 300;
const LIMITS: Limits = Limits { max_waiting: 25, max_size: 0, min_free_disk: 0, busy_timeout: Duration::from_secs(10) };
const POLICY: DeactivationPolicy = DeactivationPolicy { max_failures: 6, after: steps(5) };

/// So many steps take so long: a story lasts some days, since a store may take events away by the day.
const fn steps(count: u64) -> Duration {
    Duration::from_secs(count * 15 * 60)
}

/// Three hundred random deeds of two processes, and what must be true between them.
async fn tell(world: World, seed: u64) {
    let mut story = Story::begin(world, seed).await;
    for step in 0..STEPS {
        story.now = NOW.plus(steps(step));
        let actor = story.dice.index(2);
        match story.dice.below(20) {
            0..6 => story.accept(actor).await,
            6..10 => story.claim(actor).await,
            10..14 => story.finish(actor).await,
            14 => story.release(actor).await,
            15 => story.restart(actor).await,
            16 => story.set_active().await,
            17 => story.replace_subscription().await,
            18 => story.pass(actor).await,
            _ => story.purge().await,
        }
        if step % 5 == 0 {
            story.check().await;
        }
    }
    story.drain().await;
    let states: BTreeSet<_> = story.check().await.values().map(|state| state.as_str()).collect();
    assert!(!states.contains("waiting") && !states.contains("sending"));
    assert!(states.len() > 2, "a story in which little happens: {states:?}");
}

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    pub(super) fn is_lucky(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// A process, what it holds and what it once held.
struct Actor {
    process: Process,
    held: Vec<Trying>,
    lost: Vec<Trying>,
}

impl Actor {
    async fn join(world: &World, now: Timestamp) -> Self {
        let process = world.process_with(LIMITS).await;
        process.renew(LONG, now).await.unwrap();
        Self { process, held: Vec::new(), lost: Vec::new() }
    }
}

struct Story {
    world: World,
    dice: Dice,
    now: Timestamp,
    actors: Vec<Actor>,
    living: Vec<Subscription>,
    deleted: Vec<Subscription>,
    /// The accepted events that have not been purged, and how many deliveries each has.
    events: HashMap<EventId, u64>,
    /// How every delivery was when it was last looked at.
    seen: HashMap<DeliveryId, DeliveryState>,
}

impl Story {
    async fn begin(world: World, seed: u64) -> Self {
        let living = world.subscribers("x", 4).await;
        let actors = vec![Actor::join(&world, NOW).await, Actor::join(&world, NOW).await];
        let (events, seen) = (HashMap::new(), HashMap::new());
        Self { world, dice: Dice(seed), now: NOW, actors, living, deleted: Vec::new(), events, seen }
    }

    async fn accept(&mut self, actor: usize) {
        let mut batch = self.world.batch().by(&self.actors[actor].process).at(self.now);
        let mut reserved = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let mut to = self.living.clone();
            to.retain(|_| !self.dice.is_lucky(4));
            let mut indexes = Vec::new();
            for (index, subscription) in to.iter().enumerate() {
                if self.world.is_active(subscription).await && self.dice.is_lucky(3) {
                    indexes.push(u32::try_from(index).unwrap());
                }
            }
            reserved.push(indexes.iter().map(|index| to[*index as usize].clone()).collect::<Vec<_>>());
            batch = batch.event("x").to(&to).reserved(&indexes);
        }
        let accepted = batch.accept().await;
        for ((receipt, held), lanes) in accepted.receipts.iter().zip(&accepted.held).zip(&reserved) {
            self.events.insert(receipt.id, receipt.subscriptions);
            assert_eq!(held.len(), lanes.len());
            for (delivery, subscription) in held.iter().zip(lanes) {
                self.hold(actor, (*delivery, subscription).into());
            }
        }
    }

    /// Notes that a process holds a delivery, which nobody may have held.
    fn hold(&mut self, actor: usize, trying: Trying) {
        assert!(!self.actors.iter().any(|actor| actor.held.iter().any(|held| held.delivery == trying.delivery)));
        self.actors[actor].held.push(trying);
    }

    async fn claim(&mut self, actor: usize) {
        let limit = 1 + self.dice.index(4);
        let claimed = self.actors[actor].process.claim_all(&self.living, limit, self.now).await;
        for claimed in &claimed {
            self.hold(actor, claimed.into());
        }
    }

    async fn pass(&mut self, actor: usize) {
        let subscription = &self.living[self.dice.index(self.living.len())];
        let pass = Pass { failed: self.dice.is_lucky(2), ..EVERYTHING };
        let claimed = self.actors[actor].process.pass(subscription, 5, pass, self.now).await;
        for claimed in &claimed {
            self.hold(actor, claimed.into());
        }
    }

    /// Takes some of what a process holds out of its hands.
    fn some_held(&mut self, actor: usize) -> Vec<Trying> {
        let held = &mut self.actors[actor].held;
        let mut some = Vec::new();
        while !held.is_empty() && !self.dice.is_lucky(6) {
            some.push(held.swap_remove(self.dice.index(held.len())));
        }
        some
    }

    async fn finish(&mut self, actor: usize) {
        let some = self.some_held(actor);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for trying in &some {
            let next = self.now.plus(steps(self.dice.below(40)));
            outcomes.push(match self.dice.below(30) {
                0..12 => delivered(*trying, self.now),
                12..26 => retried(*trying, self.now, next),
                26..29 => failed(*trying, self.now),
                _ => gone(*trying, self.now, next),
            });
        }
        // What it held once and does not hold now is none of its business.
        let Actor { process, held, lost } = &self.actors[actor];
        let is_held = |trying: &Trying| held.iter().chain(&some).any(|held| held.delivery == trying.delivery);
        let stale: Vec<_> = lost.iter().rev().filter(|trying| !is_held(trying)).take(3).collect();
        outcomes.extend(stale.iter().map(|trying| gone(**trying, self.now, self.now)));
        assert_eq!(process.finish_under(POLICY, outcomes, self.now).await.ignored, stale.len());
        self.actors[actor].lost.extend(some);
    }

    async fn release(&mut self, actor: usize) {
        let some = self.some_held(actor);
        let process = &self.actors[actor].process;
        let deliveries = some.iter().map(|trying| trying.delivery).collect();
        process.store.release(process.holder, deliveries, self.now).await.unwrap();
        self.actors[actor].lost.extend(some);
    }

    /// Ends a process, with or without a farewell, and begins another one.
    async fn restart(&mut self, actor: usize) {
        let new = Actor::join(&self.world, self.now).await;
        let old = std::mem::replace(&mut self.actors[actor], new);
        if self.dice.is_lucky(2) {
            old.process.leave(self.now).await;
        } else {
            let moment = Duration::from_millis(1);
            old.process.renew(moment, self.now).await.unwrap();
            self.now = self.now.plus(moment);
            self.actors[actor].process.store.rescue(self.now).await.unwrap();
        }
    }

    async fn set_active(&mut self) {
        let index = self.dice.index(self.living.len());
        self.world.set_active(&self.living[index], !self.dice.is_lucky(4), self.now).await;
    }

    async fn replace_subscription(&mut self) {
        if self.dice.is_lucky(3) {
            let index = self.dice.index(self.living.len());
            let gone = self.living.swap_remove(index);
            self.world.unsubscribe(&gone).await;
            self.deleted.push(gone);
            self.living.push(self.world.subscriber("x").await);
        }
    }

    async fn purge(&mut self) {
        let before = self.now.minus(steps(100));
        let purged = self.actors[0].process.store.purge(before, self.now).await.unwrap();
        let mut gone = Vec::new();
        for event in self.events.keys() {
            match self.world.store().event(*event, ALL).await {
                Ok(_) => {}
                Err(StoreError::NotFound) => gone.push(*event),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(u64::try_from(gone.len()).unwrap(), purged.events);
        self.events.retain(|event, _| !gone.contains(event));
    }

    /// Delivers all there is to deliver.
    async fn drain(&mut self) {
        self.now = NOW.plus(steps(STEPS + 100));
        for subscription in &self.living {
            self.world.set_active(subscription, true, self.now).await;
        }
        for actor in [0, 1] {
            loop {
                let held = std::mem::take(&mut self.actors[actor].held);
                let outcomes: Vec<_> = held.iter().map(|trying| delivered(*trying, self.now)).collect();
                let ignored = self.actors[actor].process.finish(outcomes, self.now).await.ignored;
                assert_eq!(ignored, 0);
                self.claim(actor).await;
                if self.actors[actor].held.is_empty() {
                    break;
                }
            }
        }
    }

    /// Holds what can be read against what was done.
    async fn check(&mut self) -> HashMap<DeliveryId, DeliveryState> {
        let mut records = Vec::new();
        let mut earliest = BTreeMap::new();
        for subscription in self.living.iter().chain(&self.deleted) {
            let list = async |page| self.world.store().deliveries(subscription.id, None, page).await.unwrap();
            let deliveries = pages(40, list).await;
            let waiting: Vec<_> = deliveries.iter().filter_map(|record| record.due_at).collect();
            if self.deleted.iter().any(|deleted| deleted.id == subscription.id) {
                assert!(waiting.is_empty());
            } else {
                let status = self.world.status(subscription).await;
                assert_eq!(status.waiting, u64::try_from(waiting.len()).unwrap());
                assert!(status.waiting <= LIMITS.max_waiting);
                if let Some(first) = waiting.iter().min().filter(|_| status.subscription.is_active) {
                    earliest.insert(subscription.id, *first);
                }
            }
            records.extend(deliveries);
        }
        self.check_due(&earliest).await;
        self.check_deliveries(&records)
    }

    /// Due are those subscriptions of which the first that waits is due.
    async fn check_due(&self, earliest: &BTreeMap<SubscriptionId, Timestamp>) {
        let due = self.world.due(self.now).await;
        let is_due = |(id, first): (&SubscriptionId, &Timestamp)| (*first <= self.now).then_some(*id);
        assert_eq!(
            due.subscriptions.iter().copied().collect::<BTreeSet<_>>(),
            earliest.iter().filter_map(is_due).collect()
        );
        assert!(due.subscriptions.is_sorted_by_key(|id| earliest[id]));
        assert_eq!(due.next, earliest.values().copied().filter(|first| *first > self.now).min());
    }

    /// Every accepted delivery is in one state, and what has ended stays so.
    fn check_deliveries(&mut self, records: &[DeliveryRecord]) -> HashMap<DeliveryId, DeliveryState> {
        let mut events: HashMap<EventId, u64> = self.events.keys().map(|event| (*event, 0)).collect();
        let mut states = HashMap::new();
        for record in records {
            *events.get_mut(&record.event).unwrap() += 1;
            assert!(states.insert(record.id, record.state).is_none(), "{} is there twice", record.id);
            assert_eq!(record.due_at.is_some(), record.state == DeliveryState::Waiting);
            let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
            assert!(numbers.into_iter().eq(1..=u32::try_from(record.attempts.len()).unwrap()));
            if let Some(DeliveryState::Delivered | DeliveryState::Expired | DeliveryState::Cancelled) =
                self.seen.get(&record.id)
            {
                assert_eq!(record.state, self.seen[&record.id]);
            }
        }
        assert_eq!(events, self.events);

        let sent = |(id, state): (&DeliveryId, &DeliveryState)| (*state == DeliveryState::Sending).then_some(*id);
        let held = self.actors.iter().flat_map(|actor| &actor.held).map(|trying| trying.delivery);
        assert_eq!(states.iter().filter_map(sent).collect::<HashSet<_>>(), held.collect());
        self.seen.clone_from(&states);
        states
    }
}
