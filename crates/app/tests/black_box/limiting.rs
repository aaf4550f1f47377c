//! Callbacks that get no more than they can take: limits of rate and of attempts at once, the pauses that they ask for, and the
//! room that is left for others.

use std::{collections::BTreeSet, time::Instant};

use hookcast_core::clock::{Clock as _, SystemClock, Timestamp};
use jiff::{SignedDuration, Timestamp as Moment};
use serde_json::{Value, json};

use crate::{
    nodes::on_servers,
    support::{
        database::Kind,
        eventually,
        receiver::{Received, Receiver, Reply},
        server::{Home, Server},
    },
};

/// Attempts a second in these tests.
const RATE: f64 = 25.0;

/// What is sent at that rate.
const PACED: usize = 80;

/// Makes sure that attempts came no faster than the rate allows. Nothing began before `begun`, and what is late makes no
/// other earlier; a tenth of a second's worth may come before its time on each node, one at the least.
fn assert_paced(arrived: &[Received], begun: Instant, nodes: u32) {
    for (index, received) in arrived.iter().enumerate() {
        let elapsed = received.at.duration_since(begun).as_secs_f64();
        let allowed = RATE * elapsed + RATE / 10.0 + f64::from(nodes);
        let count = f64::from(u32::try_from(index + 1).unwrap());
        assert!(count <= allowed, "{count} attempts within {elapsed} s");
    }
}

fn ids(arrived: &[Received]) -> BTreeSet<String> {
    arrived.iter().map(Received::id).collect()
}

/// Settings with attempts that may take very long.
fn very_patient(home: Home) -> Home {
    home.set("HOOKCAST_DELIVERY_TIMEOUT", "40m").set("HOOKCAST_DELIVERY_LEASE", "1h")
}

#[tokio::test]
async fn a_subscription_gets_no_more_in_a_second_than_it_wants() {
    let server = Home::new().serve();
    let mut receiver = Receiver::start().await;
    let ada = server.http.account("ada").await;
    let slow = ada.subscribe_with("x", &receiver.url, json!({"rate_limit": RATE})).await;
    let begun = Instant::now();
    let sent: BTreeSet<_> = server.http.trigger_many("x", PACED).await.into_iter().collect();
    let arrived = receiver.take(PACED).await;
    assert_eq!(ids(&arrived), sent);
    assert_paced(&arrived, begun, 1);
    ada.subscription_when(&slow.id, "nothing waiting", |now| now["waiting"] == 0).await;
}

#[tokio::test]
async fn retries_count_towards_the_rate() {
    let server = Home::new().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0").serve();
    let mut receiver = Receiver::start().await;
    receiver.next_replies(vec![400_u16; 40]);
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"rate_limit": RATE})).await;
    let begun = Instant::now();
    server.http.trigger_many("x", 20).await;
    let arrived = receiver.take(60).await;
    assert_paced(&arrived, begun, 1);
}

#[tokio::test]
async fn a_subscription_gets_no_more_at_once_than_it_wants() {
    let server = very_patient(Home::new()).serve();
    let mut receiver = Receiver::start_gated(0).await;
    let mut other = Receiver::start().await;
    let ada = server.http.account("ada").await;
    let narrow = ada.subscribe_with("x", &receiver.url, json!({"max_in_flight": 3})).await;
    ada.subscribe("x", &other.url).await;
    let sent: BTreeSet<_> = server.http.trigger_many("x", 200).await.into_iter().collect();
    let mut arrived = receiver.take(3).await;
    assert_eq!(ids(&other.take(200).await), sent);
    receiver.let_through(200);
    arrived.extend(receiver.take(197).await);
    assert_eq!((ids(&arrived), receiver.most_open()), (sent, 3));
    ada.subscription_when(&narrow.id, "nothing waiting", |now| now["waiting"] == 0).await;
}

/// Settings under which what has failed once waits for a pass.
fn for_passes(home: Home) -> Home {
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h,1h");
    very_patient(home).set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_sends_no_more_in_a_second_than_a_subscription_wants() {
    let home = for_passes(Home::new());
    let server = home.serve();
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"rate_limit": RATE})).await;
    server.http.trigger_many("x", PACED).await;
    receiver.take(PACED).await;
    assert!(server.stop().success());

    receiver.always(200);
    let begun = Instant::now();
    let (code, said) = home.resend(&["--all"]);
    assert_eq!((code, &said["delivered"]), (0, &json!(PACED)));
    assert_paced(&receiver.take(PACED).await, begun, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_sends_no_more_at_once_than_a_subscription_wants() {
    let home = for_passes(Home::new());
    let server = home.serve();
    let mut receiver = Receiver::start_gated(40).await;
    receiver.always(500);
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"max_in_flight": 3})).await;
    server.http.trigger_many("x", 40).await;
    receiver.take(40).await;
    assert!(server.stop().success());

    receiver.always(200);
    let mut pass = home.start(&["resend", "--all"]);
    receiver.take(3).await;
    receiver.let_through(40);
    receiver.take(37).await;
    assert_eq!((pass.end(), receiver.most_open()), (Some(0), 3));
}

#[tokio::test]
async fn a_limit_that_is_changed_holds_at_once() {
    let server = very_patient(Home::new()).serve();
    let mut receiver = Receiver::start_gated(0).await;
    let ada = server.http.account("ada").await;
    let narrow = ada.subscribe_with("x", &receiver.url, json!({"max_in_flight": 1})).await;
    server.http.trigger_many("x", 50).await;
    receiver.next().await;
    let path = format!("/webhooks/subscriptions/{}", narrow.id);
    let call = ada.request(http::Method::PATCH, &path).json(&json!({"max_in_flight": 5}));
    assert_eq!(call.send().await.expect(200)["max_in_flight"], 5);
    receiver.let_through(1);
    receiver.take(5).await;
    receiver.let_through(49);
    receiver.take(44).await;
    assert_eq!(receiver.most_open(), 5);
}

#[tokio::test]
async fn a_host_gets_no_more_at_once_than_it_may() {
    let server = very_patient(Home::new()).set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT_PER_HOST", "4").serve();
    let (mut receiver, mut other) = (Receiver::start_gated(0).await, Receiver::start().await);
    for user in 0..4 {
        let account = server.http.account(&format!("user-{user}")).await;
        for path in 0..5 {
            account.subscribe("x", &format!("{}/{user}/{path}", receiver.url)).await;
        }
    }
    server.http.account("elsewhere").await.subscribe("x", &other.url).await;
    server.http.trigger_many("x", 10).await;
    receiver.take(4).await;
    other.take(10).await;
    receiver.let_through(200);
    receiver.take(196).await;
    assert_eq!(receiver.most_open(), 4);
}

on_servers![nodes_share_a_subscription_s_limits];

async fn nodes_share_a_subscription_s_limits(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let home = home.set("HOOKCAST_DELIVERY_TIMEOUT", "40s").set("HOOKCAST_DELIVERY_LEASE", "60s");
    let nodes = [home.serve(), home.serve()];
    for node in &nodes {
        eventually("that each knows of the other", async || node.log().contains("2 nodes send").then_some(())).await;
    }
    let (mut paced, mut narrow) = (Receiver::start().await, Receiver::start_gated(0).await);
    let ada = nodes[0].http.account("ada").await;
    ada.subscribe_with("paced", &paced.url, json!({"rate_limit": RATE})).await;
    ada.subscribe_with("narrow", &narrow.url, json!({"max_in_flight": 4})).await;

    let begun = Instant::now();
    let mut sent = trigger_at_both(&nodes, "paced", PACED / 2).await;
    let arrived = paced.take(PACED).await;
    assert_eq!(ids(&arrived), sent);
    assert_paced(&arrived, begun, 2);

    sent = trigger_at_both(&nodes, "narrow", 50).await;
    let mut arrived = narrow.take(4).await;
    narrow.let_through(100);
    arrived.extend(narrow.take(96).await);
    assert_eq!((ids(&arrived), narrow.most_open()), (sent, 4));
}

async fn trigger_at_both(nodes: &[Server], event: &str, count: usize) -> BTreeSet<String> {
    let mut sent = BTreeSet::new();
    for node in nodes {
        sent.extend(node.http.trigger_many(event, count).await);
    }
    sent
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept() {
    let server = Home::new().serve();
    let mut receiver = Receiver::start().await;
    let ada = server.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    for status in [429, 503] {
        receiver.next_replies([asking(status, "1")]);
        server.http.trigger("x", json!({})).await;
        let [first, second] = <[Received; 2]>::try_from(receiver.take(2).await).unwrap();
        assert!(second.at.duration_since(first.at).as_secs_f64() >= 1.0, "{status}");
    }
}

#[tokio::test]
async fn a_pause_may_be_in_seconds_or_until_a_date() {
    let server = Home::new().serve();
    let mut receiver = Receiver::start().await;
    let ada = server.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    for status in [429, 503] {
        let before = SystemClock.now();
        let due = next_attempt(&server, &mut receiver, asking(status, "3600")).await;
        let pause = |since: Timestamp| due.since(since).as_secs();
        assert!(pause(before) >= 3_600 && pause(SystemClock.now()) <= 3_600, "{status}: {due}");

        let now = Moment::from_millisecond(SystemClock.now().as_millis()).unwrap();
        let until = now + SignedDuration::from_hours(2);
        let date = until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let due = next_attempt(&server, &mut receiver, asking(status, &date)).await;
        // The clock is read once for the pause and once more for its end.
        let off = due.as_millis() - until.as_second() * 1_000;
        assert!((0..1_000).contains(&off), "{status}: {due} for {date}");
    }
}

fn asking(status: u16, pause: &str) -> Reply {
    Reply { headers: vec![("retry-after", pause.to_owned())], ..status.into() }
}

/// When an event is tried again whose first attempt gets this answer.
async fn next_attempt(server: &Server, receiver: &mut Receiver, answer: Reply) -> Timestamp {
    receiver.next_replies([answer]);
    let receipt = server.http.trigger("x", json!({})).await;
    receiver.next().await;
    let id = receipt["id"].as_str().unwrap();
    eventually("the first attempt's outcome", async || {
        let delivery = server.http.event(id).await["deliveries"][0].clone();
        let is_known = delivery["state"] == "waiting" && delivery["attempts"].as_array().unwrap().len() == 1;
        is_known.then(|| Timestamp::parse(delivery["next_attempt_at"].as_str().unwrap()).unwrap())
    })
    .await
}

#[tokio::test]
async fn what_waits_for_one_account_delays_no_other() {
    let server = very_patient(Home::new()).set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", "32").serve();
    let mut slow = Receiver::start_gated(0).await;
    let ada = server.http.account("ada").await;
    for path in 0..20 {
        ada.subscribe("load", &format!("{}/{path}", slow.url)).await;
    }
    for _ in 0..2 {
        server.http.trigger_many("load", 500).await;
    }
    slow.next().await;
    let mut receiver = Receiver::start().await;
    let bob = server.http.account("bob").await;
    bob.subscribe("single", &receiver.url).await;
    for _ in 0..10 {
        let receipt = server.http.trigger("single", json!({})).await;
        assert_eq!(receiver.next().await.id(), receipt["id"]);
        slow.let_through(10);
    }
    let subscriptions = ada.get("/webhooks/subscriptions").await;
    let waiting = |subscription: &Value| subscription["waiting"].as_u64().unwrap();
    let waiting: u64 = subscriptions["data"].as_array().unwrap().iter().map(waiting).sum();
    // The others were answered, or are held.
    assert!(waiting >= 17_500, "{waiting} wait");
}
