//! How fast lanes go.

use super::*;

/// How many attempts start within this time if each takes a millisecond and there is always more to send.
fn sent_in(world: &mut World, lane: u16, time: Duration) -> usize {
    let end = world.now + time;
    let mut sent = 0;
    while world.now < end {
        world.fill(lane, 256);
        let started = world.start_all();
        sent += started.len();
        world.pass(MILLISECOND);
        for work in started {
            let _ = world.end(&work, Feedback::Good);
        }
    }
    sent
}

fn limited(rate: f64) -> World {
    let mut world = World::new(Bounds { in_flight: 64, in_flight_per_lane: 64, ..BOUNDS });
    world.set(1, |rules| rules.rate_limit = Some(rate));
    world
}

#[test]
fn attempts_start_at_the_rate_and_a_tenth_of_a_second_ahead() {
    for (rate, least, most) in [(1.0, 10, 10), (5.0, 50, 50), (100.0, 1_000, 1_010), (2_000.0, 19_000, 20_200)] {
        let sent = sent_in(&mut limited(rate), 1, 10 * SECOND);
        assert!((least..=most).contains(&sent), "{rate}: {sent}");
    }
    let mut world = limited(0.1);
    assert_eq!(sent_in(&mut world, 1, 9 * SECOND), 1);
    assert_eq!(sent_in(&mut world, 1, 2 * SECOND), 1);
}

#[test]
fn nodes_share_a_rate() {
    let mut world = limited(100.0);
    world.scheduler.set_share(4, world.now);
    let sent = sent_in(&mut world, 1, 10 * SECOND);
    assert!((250..=253).contains(&sent), "{sent}");
}

#[test]
fn room_is_given_for_what_goes_within_a_second() {
    let mut world = limited(20.0);
    let mut granted = 0;
    for _ in 0..20 {
        granted += world.fill(1, 256);
    }
    assert!((20..=22).contains(&granted), "{granted}");
    assert!(!world.has_room(1));
    assert!(world.full_lanes().contains(&subscription(1)));
}

#[test]
fn a_slow_lane_is_told_of_when_its_next_attempt_is_near() {
    let mut world = limited(0.1);
    assert_eq!(world.fill(1, 5), 1);
    let work = world.start().unwrap();
    assert!(!world.end(&work, Feedback::Good).has_room_again);
    assert_eq!(world.fill(1, 5), 0);
    assert!(world.full_lanes().contains(&subscription(1)));
    assert_eq!(world.pass_to_wake(), 9 * SECOND);
    assert_eq!(world.fill(1, 5), 1);
    assert!(world.start().is_none());
    assert_eq!(world.pass_to_wake(), SECOND);
    assert!(world.start().is_some());
}

#[test]
fn a_lane_that_waits_for_its_rate_holds_up_no_other_one() {
    let mut world = limited(1.0);
    world.fill(1, 2);
    world.fill(2, 2);
    let started = world.start_all();
    assert_eq!(started.len(), 3);
}

#[test]
fn after_its_breaker_has_closed_a_lane_goes_faster_and_faster() {
    let mut world = World::new(Bounds { in_flight: 64, in_flight_per_lane: 64, recovery_rate: 10.0, ..BOUNDS });
    let now = world.now;
    world.set(1, |rules| rules.recovering_since = Some(now));
    for expected in [100, 200, 400] {
        let sent = sent_in(&mut world, 1, 10 * SECOND);
        assert!((expected - 5..=expected + 5).contains(&sent), "{expected}: {sent}");
    }
    world.pass(70 * SECOND);
    assert!(sent_in(&mut world, 1, SECOND) > 15_000, "nothing bounds it any longer");
}

#[test]
fn the_senseless_is_slow_and_not_a_panic() {
    for rate in [0.0, -1.0, 1e-300, f64::NAN, f64::INFINITY, 1e300] {
        let mut world = limited(rate);
        assert!(sent_in(&mut world, 1, 10 * MILLISECOND) > 0, "{rate}");
    }
}

#[test]
fn how_many_end_is_known_after_a_while_and_not_for_ever() {
    let begun = Instant::now();
    let mut ends = Throughput::new(begun);
    assert!(ends.per_second(begun) < 1.0);
    for n in 1..=400 {
        ends.count(begun + MILLISECOND * n);
    }
    let known = ends.per_second(begun + MILLISECOND * 450);
    assert!((950.0..=1_050.0).contains(&known), "{known}");
    assert!(ends.per_second(begun + SECOND * 60) < 10.0);
}

#[test]
fn a_moment_in_which_nothing_ends_does_not_make_a_node_slow() {
    let begun = Instant::now();
    let mut ends = Throughput::new(begun);
    for n in 1..=20_000 {
        ends.count(begun + Duration::from_micros(20) * n);
    }
    let after = |ms: u32| ends.per_second(begun + MILLISECOND * (400 + ms));
    assert!(after(0) > 45_000.0 && after(150) > 12_000.0 && after(1_000) < 3_000.0);
}

/// Lets so many attempts of a lane begin and end well, one after the other.
fn get_on(world: &mut World, lane: u16, attempts: u32, time: Duration) {
    for _ in 0..attempts {
        assert_eq!(world.fill(lane, 1), 1);
        let work = world.start().unwrap();
        world.pass(time);
        let _ = world.end(&work, Feedback::Good);
    }
}

const QUICK: Duration = Duration::from_micros(50);

#[test]
fn what_is_new_waits_for_room_where_the_node_is_at_its_limit() {
    let mut world = World::new(Bounds { in_flight: 64, ..BOUNDS });
    get_on(&mut world, 1, 5_000, QUICK);
    assert!(!world.is_crowded(1));
    let slots = world.fill(1, 1_000);
    assert!(slots > 100 && world.is_crowded(1));
    assert!(!world.is_crowded(2), "another lane has room");
    // It is told when there is much room again, and others come after those that wait.
    let mut ended = 0;
    loop {
        let work = world.start().unwrap();
        world.pass(QUICK);
        ended += 1;
        if world.end(&work, Feedback::Good).has_room_again {
            break;
        }
        assert!(world.is_crowded(1), "after {ended}");
    }
    assert_eq!(ended, slots - slots / 2);
    assert!(!world.is_crowded(1));
}

#[test]
fn nothing_waits_for_callbacks_or_where_others_could_send() {
    let is_crowded = |time, change: &dyn Fn(&mut World)| {
        let mut world = World::new(BOUNDS);
        // It is busy all along.
        assert_eq!(world.reserve(2, 1, 2), 1);
        get_on(&mut world, 1, 5_000, time);
        assert!(world.fill(1, 1_000) > 50);
        change(&mut world);
        world.is_crowded(1)
    };
    assert!(is_crowded(QUICK, &|_| ()));
    assert!(!is_crowded(MILLISECOND, &|_| ()), "a thousand a second is what the callback takes");
    assert!(!is_crowded(QUICK, &|world| world.now += SECOND), "nothing has ended for long");
    assert!(!is_crowded(QUICK, &|world| world.set(1, |rules| rules.is_open = true)));
    assert!(!is_crowded(QUICK, &|world| world.scheduler.frame.nodes = 2), "other nodes take it");
    assert!(!is_crowded(QUICK, &|world| world.scheduler.is_closed = true));

    let begun = |change: &dyn Fn(&mut LaneRules)| {
        let mut world = World::new(BOUNDS);
        world.set(1, change);
        while world.fill(1, 1_000) > 0 {}
        assert!(!world.start_all().is_empty());
        world
    };
    let mut world = begun(&|_| ());
    world.pass(MILLISECOND * 150);
    assert!(world.is_crowded(1), "they may go out as fast as this node can send");
    world.pass(MILLISECOND * 100);
    assert!(!world.is_crowded(1), "none has ended");
    assert!(!begun(&|rules| rules.rate_limit = Some(5_000.0)).is_crowded(1), "a limit of its own bounds it");
}
