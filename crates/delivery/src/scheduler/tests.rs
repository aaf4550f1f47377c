//! The scheduler by itself: who starts, who waits, who is told.

use hookcast_core::clock::Timestamp;

use super::*;

const BOUNDS: Bounds = Bounds { in_flight: 8, in_flight_per_lane: 4, bytes: 1_000 };

fn subscription(n: u8) -> SubscriptionId {
    SubscriptionId::from_bytes([n; 16])
}

fn work(lane: u8, n: u64) -> Work {
    Work {
        delivery: DeliveryId::from_position(Timestamp::from_millis(0), n),
        subscription: subscription(lane),
        event: EventId::from_bytes([0; 16]),
        attempts: 0,
        body: Bytes::from_static(b"{}"),
        holder: Incarnation(1),
    }
}

fn fill(scheduler: &mut Scheduler, lane: u8, count: usize) -> usize {
    let granted = scheduler.reserve(subscription(lane), count, 2);
    for n in 0..granted {
        scheduler.queue(work(lane, u64::try_from(n).unwrap()));
    }
    granted
}

fn start_all(scheduler: &mut Scheduler) -> Vec<Work> {
    std::iter::from_fn(|| scheduler.start_next()).collect()
}

#[test]
fn a_lane_has_no_more_attempts_than_it_may() {
    let mut scheduler = Scheduler::new(Bounds { in_flight: 16, ..BOUNDS });
    fill(&mut scheduler, 1, 100);
    let started = start_all(&mut scheduler);
    assert_eq!(started.len(), 4);
    let _ = scheduler.end(&started[0], Feedback::Good);
    assert_eq!(start_all(&mut scheduler).len(), 1);
}

#[test]
fn a_lane_holds_no_more_than_its_slots() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let mut held = 0;
    for _ in 0..10 {
        held += fill(&mut scheduler, 1, 100);
    }
    assert!((1..=16).contains(&held), "{held}");
    assert!(scheduler.full_lanes().contains(&subscription(1)));
    assert!(scheduler.has_room(subscription(2)));
}

#[test]
fn hogs_leave_something_for_a_newcomer() {
    let mut scheduler = Scheduler::new(BOUNDS);
    for lane in 1..=6 {
        fill(&mut scheduler, lane, 100);
    }
    let hogs = start_all(&mut scheduler);
    assert!((4..BOUNDS.in_flight).contains(&hogs.len()), "{}", hogs.len());
    assert_eq!(fill(&mut scheduler, 9, 1), 1);
    let started = start_all(&mut scheduler);
    assert!(started.iter().any(|work| work.subscription == subscription(9)), "{started:?}");
}

#[test]
fn lanes_take_turns() {
    let mut scheduler = Scheduler::new(Bounds { in_flight: 100, in_flight_per_lane: 100, bytes: 1_000 });
    fill(&mut scheduler, 1, 50);
    fill(&mut scheduler, 2, 2);
    let order: Vec<_> = (0..4).map(|_| scheduler.start_next().unwrap().subscription).collect();
    assert_eq!(order, [1, 2, 1, 2].map(subscription));
}

#[test]
fn a_lane_without_answers_is_narrowed_and_recovers() {
    let mut scheduler = Scheduler::new(Bounds { in_flight: 64, in_flight_per_lane: 8, bytes: 1_000 });
    fill(&mut scheduler, 1, 32);
    for _ in 0..2 {
        let work = scheduler.start_next().unwrap();
        assert_eq!(scheduler.end(&work, Feedback::Overloaded).rest, None);
    }
    let started = start_all(&mut scheduler);
    assert_eq!(started.len(), 2);
    let _ = scheduler.end(&started[0], Feedback::Good);
    assert_eq!(start_all(&mut scheduler).len(), 2);
}

/// Lets a lane's attempts end without an answer until it is struck.
fn strike(scheduler: &mut Scheduler, lane: u8) -> Ended {
    fill(scheduler, lane, 8);
    loop {
        let work = scheduler.start_next().unwrap();
        let ended = scheduler.end(&work, Feedback::Overloaded);
        if ended.rest.is_some() {
            return ended;
        }
        fill(scheduler, lane, 1);
    }
}

#[test]
fn a_struck_lane_gives_back_its_queue_and_rests_longer_and_longer_until_it_answers() {
    let mut scheduler = Scheduler::new(BOUNDS);
    let first = strike(&mut scheduler, 1);
    assert!(!first.given_back.is_empty());
    assert_eq!((scheduler.held, scheduler.bytes), (0, 0));
    let mut rests = vec![first.rest.unwrap().as_millis()];
    for _ in 0..9 {
        assert_eq!(fill(&mut scheduler, 1, 5), 0, "it rests");
        scheduler.rested(subscription(1));
        assert_eq!(fill(&mut scheduler, 1, 5), 1, "one at a time");
        let work = scheduler.start_next().unwrap();
        rests.push(scheduler.end(&work, Feedback::Overloaded).rest.unwrap().as_millis());
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1280, 1280, 1280]);
    scheduler.rested(subscription(1));
    fill(&mut scheduler, 1, 1);
    let work = scheduler.start_next().unwrap();
    assert!(scheduler.end(&work, Feedback::Good).rest.is_none());
    assert!(fill(&mut scheduler, 1, 5) > 1);
}

#[test]
fn however_many_lanes_are_struck_they_have_a_quarter_at_the_most() {
    let mut scheduler = Scheduler::new(BOUNDS);
    for lane in 1..=50 {
        let _ = strike(&mut scheduler, lane);
    }
    for lane in 1..=50 {
        scheduler.rested(subscription(lane));
        fill(&mut scheduler, lane, 1);
    }
    let probes = start_all(&mut scheduler);
    assert_eq!(probes.len(), 2);
    assert_eq!(fill(&mut scheduler, 60, 3), 3);
    assert!(!start_all(&mut scheduler).is_empty());
    // The next one has its turn when one of them ends.
    let ended = scheduler.end(&probes[0], Feedback::Overloaded);
    assert!(ended.has_room_again);
    assert_eq!((1..=50).map(|lane| fill(&mut scheduler, lane, 1)).sum::<usize>(), 1);
}

#[test]
fn bytes_are_bounded_but_one_body_always_fits() {
    let mut scheduler = Scheduler::new(BOUNDS);
    assert_eq!(scheduler.reserve(subscription(1), 1, 5_000), 1);
    assert_eq!(scheduler.reserve(subscription(2), 1, 10), 0);
    scheduler.unreserve(subscription(1), 1, 5_000);
    assert_eq!(scheduler.reserve(subscription(2), 2, 400), 2);
    assert_eq!(scheduler.reserve(subscription(3), 2, 400), 0);
}

#[test]
fn room_is_told_to_whoever_was_turned_away_once_half_is_free() {
    let mut scheduler = Scheduler::new(BOUNDS);
    while fill(&mut scheduler, 1, 100) > 0 {}
    let mut told = 0;
    while let Some(work) = scheduler.start_next() {
        told += u32::from(scheduler.end(&work, Feedback::Good).has_room_again);
    }
    assert!(told >= 1);
    assert!(scheduler.lanes.is_empty());
    assert_eq!((scheduler.held, scheduler.bytes, scheduler.in_flight()), (0, 0, 0));
}

#[test]
fn a_closed_one_gives_back_what_is_queued_and_starts_nothing() {
    let mut scheduler = Scheduler::new(BOUNDS);
    fill(&mut scheduler, 1, 6);
    let running = scheduler.start_next().unwrap();
    let queued = scheduler.close();
    assert!(!queued.is_empty());
    assert!(scheduler.start_next().is_none());
    assert_eq!(scheduler.reserve(subscription(2), 1, 1), 0);
    let _ = scheduler.end(&running, Feedback::Good);
    assert_eq!((scheduler.held, scheduler.in_flight()), (0, 0));
}
