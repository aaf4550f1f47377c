//! What outcomes make of a subscription is what the rules say, however a store reckons.

use std::{collections::BTreeMap, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    id::SubscriptionId,
    policy::{BreakerPolicy, DeactivationPolicy, HealthPolicy},
    subscription::Health,
};

use super::{
    invariants::Dice,
    process::{EVERYTHING, delivered, failed, gone, retried},
    world::{NOW, World},
};
use crate::{
    engine::{Claimed, Finished, Outcome},
    transition::Transition,
};

cases![the_rules_hold_from_seed_1, the_rules_hold_from_seed_2, the_rules_hold_from_seed_3];

// Elsewhere the rules are the very ones that are held against it; PostgreSQL deactivates after a batch.
cases![on redis: the_rules_hold_for_batches];

async fn the_rules_hold_for_batches(world: World) {
    tell(world, 24, true).await;
}

async fn the_rules_hold_from_seed_1(world: World) {
    tell(world, 21, false).await;
}

async fn the_rules_hold_from_seed_2(world: World) {
    tell(world, 22, false).await;
}

async fn the_rules_hold_from_seed_3(world: World) {
    tell(world, 23, false).await;
}

const STEPS: u64 = 150;
const POLICY: HealthPolicy = HealthPolicy {
    deactivation: DeactivationPolicy { max_failures: 6, after: Duration::from_secs(12) },
    breaker: BreakerPolicy {
        failures: 2,
        first_pause: Duration::from_millis(1_500),
        longest_pause: Duration::from_secs(9),
    },
};

/// A subscription as the rules say that it is.
struct Expected {
    id: SubscriptionId,
    health: Health,
    is_active: bool,
}

/// What an owner is told: what has become of the subscription, why, after how many failures and since when.
type Told = (&'static str, String, u32, Option<Timestamp>);

impl Expected {
    fn judge(&mut self, outcomes: &[Outcome], now: Timestamp, told: &mut Vec<Told>) -> Finished {
        let mut finished = Finished::default();
        for outcome in outcomes {
            let transition = Transition::of(outcome, self.health, self.is_active, &POLICY, now);
            match (self.health.is_open(), transition.health.is_open()) {
                (false, true) => finished.opened.push(self.id),
                (true, false) => finished.closed.push(self.id),
                _ => {}
            }
            if let Some((kind, reason)) = transition.notice {
                let Health { failure_count, failing_since, .. } = transition.told;
                told.push((kind.as_str(), reason.to_owned(), failure_count, failing_since));
            }
            if transition.deactivates() {
                finished.deactivated.push(self.id);
                self.is_active = false;
            }
            self.health = transition.health;
        }
        finished
    }
}

/// Attempts with whatever end, whose outcomes are recorded one by one or as many at a time as there are.
async fn tell(world: World, seed: u64, is_in_batches: bool) {
    let ada = world.subscriber("x").await;
    let mut expected = Expected { id: ada.id, health: Health::default(), is_active: true };
    let (mut dice, mut now) = (Dice(seed), NOW);
    let (mut changes, mut notices) = (0, 0);
    for _ in 0..STEPS {
        now = now.plus(Duration::from_millis(dice.below(5_000)));
        world.send(2, &ada).await;
        let limit = 1 + dice.index(6);
        let claimed = world.here.pass(&ada, limit, EVERYTHING, now).await;
        let outcomes: Vec<_> = claimed.iter().map(|claimed| outcome(&mut dice, claimed, now)).collect();
        let mut told = Vec::new();
        for outcomes in outcomes.chunks(if is_in_batches { limit } else { 1 }) {
            let version = world.version().await;
            let wanted = expected.judge(outcomes, now, &mut told);
            let finished = world.store().finish(world.here.holder, outcomes.into(), POLICY, now).await.unwrap();
            assert_eq!(finished.ignored, 0);
            assert_eq!(
                (&finished.deactivated, &finished.opened, &finished.closed),
                (&wanted.deactivated, &wanted.opened, &wanted.closed)
            );
            let status = world.status(&ada).await.subscription;
            assert_eq!((status.health, status.is_active), (expected.health, expected.is_active));
            let is_change = wanted.changes_catalogue();
            assert_eq!(world.version().await > version, is_change);
            changes += u32::from(is_change);
        }
        notices += told.len();
        assert_eq!(once_each(take(&world, now).await), once_each(told));
        if !expected.is_active {
            world.set_active(&ada, true, now).await;
            expected = Expected { health: Health::default(), is_active: true, ..expected };
        }
    }
    assert!(changes > 20 && notices > 20, "a story in which little happens: {changes} changes, {notices} notices");
}

/// What came of an attempt that began some time ago and took some time.
fn outcome(dice: &mut Dice, claimed: &Claimed, now: Timestamp) -> Outcome {
    let began = now.minus(Duration::from_millis(dice.below(4_000)));
    let mut outcome = match dice.below(20) {
        0..5 => delivered(claimed, began),
        5..7 => failed(claimed, began),
        7 => gone(claimed, began, now),
        _ => retried(claimed, began, now),
    };
    outcome.attempt.latency_ms = u32::try_from(dice.below(1_500)).unwrap();
    outcome
}

/// The first of each kind: a store may leave out what is told a second time of one moment.
fn once_each(mut told: Vec<Told>) -> BTreeMap<&'static str, Told> {
    told.reverse();
    told.into_iter().map(|told| (told.0, told)).collect()
}

/// Takes all that is to be told, and says that it was.
async fn take(world: &World, now: Timestamp) -> Vec<Told> {
    let mut told = Vec::new();
    for pending in world.store().take_notices(100, now.plus(Duration::from_secs(1)), now).await.unwrap() {
        let notice = pending.notice;
        world.store().notice_given(notice.id).await.unwrap();
        told.push((notice.kind.as_str(), notice.reason, notice.failure_count, notice.failing_since));
    }
    told
}
