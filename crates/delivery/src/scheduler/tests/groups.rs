//! Deliveries that wait for each other.

use super::*;

const WIDE: Bounds = Bounds { in_flight: 64, in_flight_per_lane: 16, ..BOUNDS };

/// A lane with deliveries of these groups queued, in this order.
fn queued(groups: &[i64]) -> World {
    let mut world = World::new(WIDE);
    assert_eq!(world.reserve(1, groups.len(), 2), groups.len());
    for group in groups {
        world.queue(1, Some(*group));
    }
    world
}

#[test]
fn of_a_group_one_is_in_flight_at_a_time_in_order() {
    let mut world = queued(&[7, 7, 8, 7]);
    let started = world.start_all();
    assert_eq!(positions(&started), [1, 3]);
    let _ = world.end(&started[0], Feedback::Good);
    let second = world.start_all();
    assert_eq!(positions(&second), [2]);
    // One that has failed for good is done, too.
    let _ = world.scheduler.end(&second[0], Feedback::Neutral, true, world.now);
    assert_eq!(positions(&world.start_all()), [4]);
}

#[test]
fn what_comes_after_one_that_is_tried_again_is_given_back() {
    let mut world = queued(&[7, 8, 7, 7]);
    let started = world.start_all();
    let ended = world.end(&started[0], Feedback::Neutral);
    assert_eq!(positions(&ended.given_back), [3, 4]);
    assert_eq!(world.held(), (1, 2, 1));
    // The group begins anew.
    world.reserve(1, 1, 2);
    let anew = world.queue(1, Some(7));
    assert_eq!(positions(&world.start_all()), [anew]);
}

#[test]
fn a_struck_lane_gives_back_its_groups() {
    let mut world = queued(&[1, 1, 2, 2, 3, 3, 4, 4]);
    let started: Vec<_> = (0..3).map(|_| world.start().unwrap()).collect();
    let mut given_back = Vec::new();
    for work in &started {
        given_back.extend(world.end(work, Feedback::Overloaded).given_back);
    }
    let mut given_back = positions(&given_back);
    given_back.sort_unstable();
    assert_eq!(given_back, [2, 4, 6, 7, 8]);
    assert_eq!(world.held(), (0, 0, 0));
}

#[test]
fn a_closed_one_gives_back_all_of_a_group_that_has_not_started() {
    let mut world = queued(&[1, 1, 2, 2]);
    let first = world.start().unwrap();
    let mut given_back = positions(&world.scheduler.close());
    given_back.sort_unstable();
    assert_eq!(given_back, [2, 3, 4]);
    assert!(world.end(&first, Feedback::Good).given_back.is_empty());
    assert_eq!(world.held(), (0, 0, 0));
}
