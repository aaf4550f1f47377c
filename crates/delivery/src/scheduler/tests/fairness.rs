//! Accounts among each other, and the lanes of one.

use super::*;

#[test]
fn hogs_leave_something_for_a_newcomer() {
    let mut world = World::new(BOUNDS);
    for lane in 1..=6 {
        world.fill(lane, 100);
    }
    let hogs = world.start_all();
    assert!((4..BOUNDS.in_flight).contains(&hogs.len()), "{}", hogs.len());
    world.set(9, |rules| rules.account = account(9));
    assert_eq!(world.fill(9, 1), 1);
    let started = world.start_all();
    assert!(started.iter().any(|work| work.subscription == subscription(9)), "{started:?}");
}

#[test]
fn hogs_leave_something_for_a_new_lane_of_their_account() {
    let mut world = World::new(Bounds { in_flight: 64, in_flight_per_lane: 64, bytes: 100_000, ..BOUNDS });
    for lane in 1..=2 {
        world.fill(lane, 256);
    }
    let hogs = world.start_all();
    assert!(hogs.len() > 24, "{}", hogs.len());
    assert!(world.fill(3, 1) == 1 && world.start().is_some());
}

#[test]
fn lanes_take_turns() {
    let mut world = World::new(Bounds { in_flight: 100, in_flight_per_lane: 100, ..BOUNDS });
    world.fill(1, 50);
    world.fill(2, 2);
    let order: Vec<_> = (0..4).map(|_| world.start().unwrap().subscription).collect();
    assert_eq!(order, [1, 2, 1, 2].map(subscription));
}

#[test]
fn lanes_with_the_fewest_attempts_in_flight_go_first() {
    let mut world = World::new(Bounds { in_flight: 12, ..BOUNDS });
    world.fill(1, 8);
    let slow: Vec<_> = (0..2).map(|_| world.start().unwrap()).collect();
    world.fill(2, 8);
    let mut next = |ended: Option<&Work>| {
        if let Some(work) = ended {
            assert!(world.end(work, Feedback::Good).given_back.is_empty());
        }
        world.start().map(|work| (if work.subscription == subscription(1) { 1 } else { 2 }, work))
    };
    let quick: Vec<_> = (0..2).map(|_| next(None).unwrap()).collect();
    assert!(quick.iter().all(|(lane, _)| *lane == 2), "before, only the first lane had any in flight");
    // As many on both sides but for the one that has ended: its lane is next, and had not been by turns.
    assert_eq!(next(Some(&slow[0])).unwrap().0, 1);
    assert_eq!(next(Some(&slow[1])).unwrap().0, 1);
    assert_eq!(next(Some(&quick[0].1)).unwrap().0, 2);
}

#[test]
fn accounts_take_turns_however_many_lanes_they_have() {
    let mut world = World::new(Bounds { in_flight: 100, ..BOUNDS });
    for lane in 1..=20 {
        world.fill(lane, 1);
    }
    world.set(99, |rules| rules.account = account(9));
    world.fill(99, 2);
    let order: Vec<_> = (0..4).map(|_| world.start().unwrap().subscription).collect();
    assert_eq!(order, [1, 99, 2, 99].map(subscription));
}

#[test]
fn ten_thousand_lanes_of_one_account_leave_room_for_another_one() {
    let bounds = Bounds { in_flight: 1_024, in_flight_per_lane: 64, bytes: 1 << 26, ..BOUNDS };
    let mut world = World::new(bounds);
    for lane in 1..=10_000 {
        world.fill(lane, 256);
    }
    let hogs = world.start_all();
    assert!((930..940).contains(&hogs.len()), "alone it has nearly everything: {}", hogs.len());
    assert!(world.held().0 > 4 * 930);

    world.set(20_000, |rules| rules.account = account(2));
    assert!(world.reserve_fresh(20_000));
    world.queue(20_000, None);
    assert_eq!(world.start().unwrap().subscription, subscription(20_000));
    assert!(world.fill(20_000, 256) > 32);
    assert!(world.start_all().len() > 16);
}

#[test]
fn bytes_of_one_account_leave_room_for_another_one() {
    let mut world = World::new(Bounds { bytes: 100_000, ..BOUNDS });
    for lane in 1..=9 {
        world.reserve(lane, 100, 10_000);
    }
    assert!(world.scheduler.bytes >= 60_000);
    world.set(10, |rules| rules.account = account(2));
    assert_eq!(world.reserve(10, 1, 5_000), 1);
}

#[test]
fn probes_of_one_account_leave_room_for_another_one() {
    let mut world = World::new(Bounds { in_flight: 64, ..BOUNDS });
    for lane in 1..=40 {
        world.strike(lane);
    }
    world.set(41, |rules| rules.account = account(2));
    world.strike(41);
    world.pass(SECOND);
    let probes: usize = (1..=40).map(|lane| world.fill(lane, 1)).sum();
    assert!((10..16).contains(&probes), "{probes}");
    assert_eq!(world.fill(41, 1), 1);
}

#[test]
fn lanes_of_a_full_account_count_as_full_until_it_has_room() {
    let mut world = World::new(Bounds { in_flight: 2, ..BOUNDS });
    for lane in 1..=200 {
        world.fill(lane, 1);
    }
    let full = world.full_lanes();
    assert_eq!(full.len(), 200);
    let known = world.scheduler.lanes.len();
    assert!(known < 70, "what is turned away takes little room: {known}");
    for _ in 0..20 {
        let work = world.start().unwrap();
        let _ = world.end(&work, Feedback::Good);
    }
    assert!(world.full_lanes().len() > 140, "it is not half empty yet");
    for _ in 0..15 {
        let work = world.start().unwrap();
        let _ = world.end(&work, Feedback::Good);
    }
    assert!(world.full_lanes().is_empty());
}

#[test]
fn no_more_begin_at_once_than_the_processors_work_on() {
    let mut world =
        World::new(Bounds { in_flight: 64, in_flight_per_lane: 64, just_begun: 3, bytes: 10_000, ..BOUNDS });
    world.fill(1, 40);
    let started = world.start_all();
    assert_eq!(started.len(), 3);
    let _ = world.end(&started[0], Feedback::Good);
    assert_eq!(world.start_all().len(), 1, "one has ended");
    // A slow callback gets as many as it may have all the same.
    let mut in_flight = 3;
    while in_flight < 20 {
        assert!(world.pass_to_wake() <= 3 * MILLISECOND);
        in_flight += world.start_all().len();
    }
    assert_eq!(world.scheduler.in_flight(), in_flight);
}
