//! Lanes whose breaker is open, and those that fail until it should be.

use super::*;

#[test]
fn an_open_lane_gets_no_fresh_events_and_makes_one_attempt_at_a_time() {
    let mut world = World::new(BOUNDS);
    world.set(1, |rules| rules.is_open = true);
    assert!(!world.reserve_fresh(1) && !world.has_room(1));
    assert_eq!(world.fill(1, 5), 1);
    assert_eq!(world.fill(1, 5), 0);
    let work = world.start().unwrap();
    let _ = world.end(&work, Feedback::Neutral);
    assert_eq!(world.fill(1, 5), 1);
}

#[test]
fn a_lane_that_opens_makes_one_attempt_at_a_time_of_what_it_holds() {
    let mut world = World::new(Bounds { in_flight: 64, ..BOUNDS });
    world.fill(1, 8);
    world.set(1, |rules| rules.is_open = true);
    assert_eq!(world.reserve(1, 1, 2), 0);
    let started = world.start_all();
    assert_eq!(started.len(), 1);
    let _ = world.end(&started[0], Feedback::Good);
    assert_eq!(world.start_all().len(), 1);
}

#[test]
fn a_lane_whose_breaker_has_closed_grows_by_one_with_every_success() {
    let mut world = World::new(Bounds { in_flight: 64, in_flight_per_lane: 16, ..BOUNDS });
    world.set(1, |rules| rules.is_open = true);
    world.fill(1, 1);
    let probe = world.start().unwrap();
    let _ = world.end(&probe, Feedback::Good);
    world.set(1, |rules| rules.is_open = false);
    for width in 1..=4 {
        world.fill(1, 16);
        let started = world.start_all();
        assert_eq!(started.len(), width);
        let (last, others) = started.split_last().unwrap();
        let _ = world.end(last, Feedback::Good);
        for work in others {
            let _ = world.end(work, Feedback::Neutral);
        }
    }
}

#[test]
fn failures_of_any_kind_in_a_row_make_a_lane_struck_until_a_success() {
    let mut world = World::new(Bounds { breaker_failures: 5, ..BOUNDS });
    for failures in [4, 5] {
        for n in 0..failures {
            world.fill(1, 4);
            let work = world.start().unwrap();
            let feedback = if n % 2 == 0 { Feedback::Neutral } else { Feedback::Overloaded };
            let ended = world.end(&work, feedback);
            assert_eq!(!ended.given_back.is_empty(), n == 4, "{n}");
        }
        if failures == 4 {
            let work = world.start().unwrap();
            let _ = world.end(&work, Feedback::Good);
        }
    }
    assert_eq!(world.held(), (0, 0, 0));
    let rests: Vec<_> = (0..3)
        .map(|_| {
            let rest = world.pass_to_wake().as_millis();
            assert_eq!(world.fill(1, 4), 1);
            let work = world.start().unwrap();
            let _ = world.end(&work, Feedback::Neutral);
            rest
        })
        .collect();
    assert_eq!(rests, [10, 20, 40]);
    world.pass_to_wake();
    world.fill(1, 1);
    let work = world.start().unwrap();
    let _ = world.end(&work, Feedback::Good);
    assert!(world.fill(1, 8) > 1);
}
