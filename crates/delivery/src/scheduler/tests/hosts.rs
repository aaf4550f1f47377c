//! Lanes that go to the same host.

use super::*;

fn shared(bounds: Bounds, lanes: std::ops::RangeInclusive<u16>) -> World {
    let mut world = World::new(bounds);
    for lane in lanes {
        world.set(lane, |rules| rules.host = "https://shared.example".into());
    }
    world
}

const HOST: Bounds = Bounds { in_flight: 64, in_flight_per_lane: 64, in_flight_per_host: 3, ..BOUNDS };

#[test]
fn a_host_has_no_more_attempts_than_it_may() {
    let mut world = shared(HOST, 1..=2);
    for lane in 1..=3 {
        world.fill(lane, 5);
    }
    let started = world.start_all();
    assert_eq!(started.len(), 3 + 3, "lane 3 has a host of its own");
    let other = started.iter().find(|work| work.subscription == subscription(3)).unwrap();
    let _ = world.end(other, Feedback::Good);
    assert_eq!(world.start_all().len(), 1);
    let one = started.iter().find(|work| work.subscription != subscription(3)).unwrap();
    let _ = world.end(one, Feedback::Good);
    assert_eq!(world.start_all().len(), 1);
}

#[test]
fn accounts_take_turns_at_a_host() {
    let mut world = shared(Bounds { in_flight_per_host: 1, ..HOST }, 1..=20);
    world.set(20, |rules| rules.account = account(2));
    for lane in 1..=20 {
        world.fill(lane, 1);
    }
    let mut order = Vec::new();
    while let Some(work) = world.start() {
        order.push(work.subscription);
        let _ = world.end(&work, Feedback::Good);
    }
    assert_eq!(order.len(), 20);
    let place = order.iter().position(|lane| *lane == subscription(20)).unwrap();
    assert!(place <= 2, "{order:?}");
}

#[test]
fn lanes_without_answers_narrow_the_host_that_they_share_and_successes_widen_it() {
    let mut world = shared(Bounds { in_flight_per_host: 0, ..HOST }, 1..=40);
    for lane in 1..=40 {
        world.fill(lane, 1);
    }
    let started = world.start_all();
    assert_eq!(started.len(), 40);
    let (failed, rest) = started.split_at(20);
    for work in failed {
        let _ = world.end(work, Feedback::Overloaded);
    }
    let fresh = 50..=89;
    for lane in fresh.clone() {
        world.set(lane, |rules| rules.host = "https://shared.example".into());
        world.fill(lane, 1);
    }
    assert!(world.start().is_none(), "twenty are in flight, and it may have eight");
    for work in rest {
        let _ = world.end(work, Feedback::Good);
    }
    let started = world.start_all().len();
    assert!((8..=30).contains(&started), "{started}");
}

#[test]
fn one_lane_alone_does_not_narrow_its_host() {
    let mut world = shared(Bounds { in_flight_per_host: 20, ..HOST }, 1..=2);
    world.strike(1);
    world.fill(2, 30);
    assert_eq!(world.start_all().len(), 20);
}

#[test]
fn a_lane_that_moves_takes_what_it_has_in_flight_with_it() {
    let mut world = shared(Bounds { in_flight_per_host: 2, ..HOST }, 1..=2);
    world.fill(1, 3);
    let started = world.start_all();
    assert_eq!(started.len(), 2);
    world.fill(2, 1);
    assert!(world.start().is_none());
    world.set(1, |rules| rules.host = "https://elsewhere.example".into());
    world.fill(1, 1);
    let more = world.start_all();
    assert!(more.iter().any(|work| work.subscription == subscription(2)));
    for work in started.iter().chain(&more) {
        let _ = world.end(work, Feedback::Good);
    }
    for work in world.start_all() {
        let _ = world.end(&work, Feedback::Good);
    }
    world.pass(SECOND);
    assert!(world.scheduler.hosts.is_empty() && world.scheduler.host_of.is_empty());
}
