//! What one lane may have, and how it is narrowed.

use super::*;

#[test]
fn a_lane_has_no_more_attempts_than_it_may() {
    let mut world = World::new(Bounds { in_flight: 16, ..BOUNDS });
    world.fill(1, 100);
    let started = world.start_all();
    assert_eq!(started.len(), 4);
    let _ = world.end(&started[0], Feedback::Good);
    assert_eq!(world.start_all().len(), 1);
}

#[test]
fn a_lane_holds_no_more_than_its_slots() {
    let mut world = World::new(Bounds { in_flight_per_lane: 2, ..BOUNDS });
    let mut held = 0;
    for _ in 0..10 {
        held += world.fill(1, 100);
    }
    assert_eq!(held, 2 * SLOTS_PER_ATTEMPT);
    assert!(world.full_lanes().contains(&subscription(1)));
    assert!(world.has_room(2));
}

#[test]
fn an_owner_may_choose_fewer_attempts_which_nodes_share() {
    let mut world = World::new(Bounds { in_flight: 16, ..BOUNDS });
    world.set(1, |rules| rules.max_in_flight = Some(3));
    world.fill(1, 100);
    let started = world.start_all();
    assert_eq!(started.len(), 3);
    world.scheduler.set_share(2, world.now);
    let _ = world.end(&started[0], Feedback::Good);
    assert!(world.start().is_none());
    let _ = world.end(&started[1], Feedback::Good);
    assert_eq!(world.start_all().len(), 1);
    world.set(1, |rules| rules.max_in_flight = None);
    world.fill(1, 1);
    assert_eq!(world.start_all().len(), 2);
}

#[test]
fn a_lane_without_answers_is_narrowed_and_recovers() {
    let mut world = World::new(Bounds { in_flight: 64, in_flight_per_lane: 8, ..BOUNDS });
    world.fill(1, 32);
    for _ in 0..2 {
        let work = world.start().unwrap();
        let _ = world.end(&work, Feedback::Overloaded);
        assert_eq!(world.scheduler.next_wake(), None);
    }
    let started = world.start_all();
    assert_eq!(started.len(), 2);
    let _ = world.end(&started[0], Feedback::Good);
    assert_eq!(world.start_all().len(), 2);
}

#[test]
fn a_struck_lane_gives_back_its_queue_and_rests_longer_and_longer_until_it_answers() {
    let mut world = World::new(BOUNDS);
    assert!(!world.strike(1).is_empty());
    assert_eq!(world.held(), (0, 0, 0));
    let mut rests = Vec::new();
    for _ in 0..10 {
        assert_eq!(world.fill(1, 5), 0, "it rests");
        rests.push(world.pass_to_wake().as_millis());
        assert_eq!(world.fill(1, 5), 1, "one at a time");
        let work = world.start().unwrap();
        let _ = world.end(&work, Feedback::Overloaded);
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1280, 1280, 1280]);
    world.pass_to_wake();
    world.fill(1, 1);
    let work = world.start().unwrap();
    let _ = world.end(&work, Feedback::Good);
    assert!(world.fill(1, 5) > 1);
}

#[test]
fn the_end_of_a_rest_is_told() {
    let mut world = World::new(BOUNDS);
    world.strike(1);
    assert!(!world.pass(9 * MILLISECOND));
    assert!(world.pass(MILLISECOND));
}

#[test]
fn what_was_not_tried_says_nothing() {
    let mut world = World::new(BOUNDS);
    for _ in 0..9 {
        world.fill(1, 1);
        let work = world.start().unwrap();
        let _ = world.end(&work, Feedback::Untried);
    }
    world.pass(SECOND);
    assert!(world.scheduler.lanes.is_empty());
}

#[test]
fn however_many_lanes_are_struck_they_have_a_quarter_at_the_most() {
    let mut world = World::new(Bounds { in_flight: 32, ..BOUNDS });
    for lane in 1..=50 {
        world.set(lane, |rules| rules.account = account(u8::try_from(lane).unwrap()));
        world.strike(lane);
    }
    world.pass(SECOND);
    for lane in 1..=50 {
        world.fill(lane, 1);
    }
    let probes = world.start_all();
    assert_eq!(probes.len(), 8);
    assert_eq!(world.fill(60, 3), 3);
    assert!(!world.start_all().is_empty());
    // The next one has its turn when one of them ends.
    let ended = world.end(&probes[0], Feedback::Overloaded);
    assert!(ended.has_room_again);
    assert_eq!((1..=50).map(|lane| world.fill(lane, 1)).sum::<usize>(), 1);
}

#[test]
fn bytes_are_bounded_but_one_body_always_fits() {
    let mut world = World::new(BOUNDS);
    assert_eq!(world.reserve(1, 1, 5_000), 1);
    assert_eq!(world.reserve(2, 1, 10), 0);
    world.unreserve(1, 1, 5_000);
    assert_eq!(world.reserve(2, 2, 400), 2);
    assert_eq!(world.reserve(3, 2, 400), 0);
}

#[test]
fn bodies_count_with_their_size_once_they_are_there() {
    let mut world = World::new(BOUNDS);
    assert_eq!(world.reserve(1, 1, 0), 1);
    let work = Work { message: message(&[b' '; 700]), ..work_of(&mut world) };
    world.scheduler.queue(work, 0, world.now);
    assert_eq!(world.held(), (1, 700, 0));
    let work = world.start().unwrap();
    let _ = world.end(&work, Feedback::Good);
    assert_eq!(world.held(), (0, 0, 0));
}

/// Some delivery of lane 1.
fn work_of(world: &mut World) -> Work {
    let mut other = World::new(BOUNDS);
    other.fill(1, 1);
    other.now = world.now;
    other.start().unwrap()
}

#[test]
fn room_is_told_to_whoever_was_turned_away_once_half_is_free() {
    let mut world = World::new(BOUNDS);
    while world.fill(1, 100) > 0 {}
    let mut told = 0;
    while let Some(work) = world.start() {
        told += u32::from(world.end(&work, Feedback::Good).has_room_again);
    }
    assert!(told >= 1);
    world.pass(SECOND);
    assert!(world.scheduler.lanes.is_empty());
    assert_eq!(world.held(), (0, 0, 0));
}

#[test]
fn a_closed_one_gives_back_what_is_queued_and_starts_nothing() {
    let mut world = World::new(BOUNDS);
    world.fill(1, 6);
    let running = world.start().unwrap();
    let queued = world.scheduler.close();
    assert!(!queued.is_empty());
    assert!(world.start().is_none());
    assert_eq!(world.reserve(2, 1, 1), 0);
    let _ = world.end(&running, Feedback::Good);
    assert_eq!(world.held(), (0, 0, 0));
}

#[test]
fn what_has_been_learned_is_forgotten_in_the_end() {
    let mut world = World::new(BOUNDS);
    world.strike(1);
    world.pass(SECOND);
    assert_eq!(world.scheduler.lanes.len(), 1);
    world.pass(3_600 * SECOND);
    assert!(
        world.scheduler.lanes.is_empty() && world.scheduler.accounts.is_empty() && world.scheduler.hosts.is_empty()
    );
    assert!(world.scheduler.lane_of.is_empty() && world.scheduler.account_of.is_empty());
    assert!(world.scheduler.host_of.is_empty());
}
