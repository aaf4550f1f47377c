//! Deliveries that wait for each other: in the order in which their events were accepted, through refusals, retries and crashes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    database::Kind,
    eventually,
    http::Http,
    receiver::{Received, Receiver},
    server::{Home, TRIGGER_TOKEN},
};

/// Makes a test of each case on each kind of store.
macro_rules! on_stores {
    ($($case:ident),+ $(,)?) => {
        on_stores!(@on sqlite, None, $($case)+);
        on_stores!(@on postgres, Some(crate::support::database::Kind::Postgres), $($case)+);
        on_stores!(@on redis, Some(crate::support::database::Kind::Redis), $($case)+);
    };
    (@on $store:ident, $kind:expr, $($case:ident)+) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($kind).await;
            })+
        }
    };
}

on_stores![
    each_key_arrives_in_the_order_of_acceptance,
    a_whole_subscription_arrives_in_order_one_at_a_time,
    a_key_that_fails_blocks_itself_and_no_other,
    one_that_is_skipped_lets_the_next_go,
    order_survives_kills,
];

/// Producers at once, each with connections and a key of its own, and how many events each of them posts.
const PRODUCERS: u64 = 64;
const EVENTS_EACH: u64 = 12;

/// Kills of a node, the keys that producers use meanwhile, and the most events that each posts up to the next kill.
const KILLS: usize = 4;
const KEYS_UNDER_KILLS: u64 = 8;
const EVENTS_A_KILL: u64 = 75;

/// Settings for this kind of store.
async fn home_on(kind: Option<Kind>) -> Home {
    match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    }
}

/// The `n`th event of a key.
fn event(key: u64, n: u64) -> Value {
    json!({"event": "x", "key": format!("key-{key}"), "payload": {"key": key, "n": n}})
}

fn key_and_number(received: &Received) -> (u64, u64) {
    let payload = &received.json()["payload"];
    (payload["key"].as_u64().unwrap(), payload["n"].as_u64().unwrap())
}

/// The numbers of each key, as they arrived.
fn by_key(arrived: &[Received]) -> BTreeMap<u64, Vec<u64>> {
    let mut numbers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, number) in arrived.iter().map(key_and_number) {
        numbers.entry(key).or_default().push(number);
    }
    numbers
}

/// Whether the first try of this one is refused.
fn is_refused_first(key: u64, n: u64) -> bool {
    (key + n).is_multiple_of(5)
}

/// Refuses the first try of some.
fn refuse_some(receiver: &Receiver) {
    let mut tried = HashSet::new();
    receiver.judge(move |request| {
        let (key, n) = key_and_number(request);
        if tried.insert((key, n)) && is_refused_first(key, n) { 500 } else { 200 }
    });
}

/// How often each number arrives where some are refused once, in order.
fn expected(key: u64) -> Vec<u64> {
    (0..EVENTS_EACH).flat_map(|n| std::iter::repeat_n(n, 1 + usize::from(is_refused_first(key, n)))).collect()
}

async fn each_key_arrives_in_the_order_of_acceptance(kind: Option<Kind>) {
    let server = home_on(kind).await.set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "20ms").serve();
    let mut receiver = Receiver::start().await;
    refuse_some(&receiver);
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"ordering": "key"})).await;
    let mut producers = JoinSet::new();
    for key in 0..PRODUCERS {
        let http = Http::new(format!("http://{}", server.address));
        producers.spawn(async move {
            for n in 0..EVENTS_EACH {
                http.try_trigger(&event(key, n)).await.expect(202);
            }
        });
    }
    producers.join_all().await;
    let total: usize = (0..PRODUCERS).map(|key| expected(key).len()).sum();
    let arrived = receiver.take(total).await;
    for (key, numbers) in by_key(&arrived) {
        assert_eq!(numbers, expected(key), "key {key}");
    }
}

async fn a_whole_subscription_arrives_in_order_one_at_a_time(kind: Option<Kind>) {
    let server = home_on(kind).await.set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "20ms").serve();
    let mut receiver = Receiver::start().await;
    refuse_some(&receiver);
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"ordering": "subscription"})).await;
    let mut producers = JoinSet::new();
    for key in 0..PRODUCERS / 4 {
        let http = Http::new(format!("http://{}", server.address));
        producers.spawn(async move {
            for batch in 0..EVENTS_EACH / 4 {
                let events = (batch * 4..(batch + 1) * 4).map(|n| event(key, n)).collect();
                http.try_trigger(&Value::Array(events)).await.expect(202);
            }
        });
    }
    producers.join_all().await;
    let total: usize = (0..PRODUCERS / 4).map(|key| expected(key).len()).sum();
    let arrived = receiver.take(total).await;
    for (key, numbers) in by_key(&arrived) {
        assert_eq!(numbers, expected(key), "producer {key}");
    }
    let mut arrived: Vec<_> = arrived.iter().map(key_and_number).collect();
    // One that was refused comes again before any other, of whatever producer.
    arrived.dedup();
    assert_eq!(arrived.len() as u64, PRODUCERS / 4 * EVENTS_EACH);
    assert_eq!(receiver.most_open(), 1);
}

async fn a_key_that_fails_blocks_itself_and_no_other(kind: Option<Kind>) {
    let home = home_on(kind).await.set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let server = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "20ms,20ms").serve();
    let mut receiver = Receiver::start().await;
    receiver.judge(|request| if key_and_number(request).0 == 0 { 500 } else { 200 });
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"ordering": "key"})).await;
    for n in 0..20 {
        for key in 0..3 {
            server.http.try_trigger(&event(key, n)).await.expect(202);
        }
    }
    let mut arrived = Vec::new();
    eventually("the others, and more tries than the schedule has", async || {
        arrived.extend(receiver.unseen());
        let numbers = by_key(&arrived);
        let count = |key| numbers.get(&key).map_or(0, Vec::len);
        (count(0) > 5 && count(1) >= 20 && count(2) >= 20).then_some(())
    })
    .await;
    let before = by_key(&arrived);
    assert!(before[&0].iter().all(|n| *n == 0), "{before:?}");
    for key in [1, 2] {
        assert_eq!(before[&key], (0..20).collect::<Vec<_>>());
    }

    receiver.always(200);
    eventually("what was behind it", async || {
        arrived.extend(receiver.unseen());
        (by_key(&arrived)[&0].last() == Some(&19)).then_some(())
    })
    .await;
    let mut blocked = by_key(&arrived).remove(&0).unwrap();
    blocked.dedup();
    assert_eq!(blocked, (0..20).collect::<Vec<_>>());
}

async fn one_that_is_skipped_lets_the_next_go(kind: Option<Kind>) {
    let home = home_on(kind).await.set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "20ms");
    let server = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "20ms,20ms").serve();
    let mut receiver = Receiver::start().await;
    receiver.judge(|request| if key_and_number(request).1 == 0 { 500 } else { 200 });
    let ada = server.http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"ordering": "key", "on_failure": "skip"})).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let receipt = server.http.try_trigger(&event(7, n)).await.expect(202);
        ids.push(receipt["id"].as_str().unwrap().to_owned());
    }
    let arrived = receiver.take(5).await;
    assert_eq!(by_key(&arrived)[&7], [0, 0, 0, 1, 2]);
    server.http.event_in_state(&ids[0], "failed").await;
    server.http.event_in_state(&ids[2], "delivered").await;
    assert!(receiver.unseen().is_empty());
}

/// What producers share: whom to ask, how far they may go, and when to end.
#[derive(Default)]
struct Shared {
    nodes: Mutex<Vec<Http>>,
    allowed: AtomicU64,
    is_over: AtomicBool,
}

/// A node dies again and again. What it had sent and not recorded comes again, and with it what followed: so each key's numbers
/// go up one by one, or go back, and never leap. Refusals that happen to follow each other open the breaker; what has gathered
/// meanwhile is thousands, and is not to wait for a callback that comes back little by little.
async fn order_survives_kills(kind: Option<Kind>) {
    let home = home_on(kind)
        .await
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["20ms"; 50].join(","))
        .set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "20ms")
        .set("HOOKCAST_DELIVERY_RECOVERY_RATE", "1000000");
    let mut nodes: Vec<_> = (0..if kind.is_some() { 2 } else { 1 }).map(|_| home.serve()).collect();
    let mut receiver = Receiver::start().await;
    refuse_some(&receiver);
    let ada = nodes[0].http.account("ada").await;
    ada.subscribe_with("x", &receiver.url, json!({"ordering": "key"})).await;

    let shared = Arc::new(Shared::default());
    *shared.nodes.lock().unwrap() = nodes.iter().map(|node| node.http.clone()).collect();
    let producers: JoinSet<u64> = (0..KEYS_UNDER_KILLS).map(|key| produce(Arc::clone(&shared), key)).collect();
    for kill in 0..KILLS {
        shared.allowed.fetch_add(EVENTS_A_KILL, Ordering::SeqCst);
        let enough = receiver.total() + 100 + 37 * kill;
        eventually("load", async || (receiver.total() >= enough).then_some(())).await;
        nodes.remove(0).kill();
        nodes.push(home.serve());
        *shared.nodes.lock().unwrap() = nodes.iter().map(|node| node.http.clone()).collect();
    }
    shared.is_over.store(true, Ordering::SeqCst);
    let accepted: u64 = producers.join_all().await.into_iter().sum();

    let mut arrived = Vec::new();
    eventually("everything that was accepted", async || {
        arrived.extend(receiver.unseen());
        let different: HashSet<_> = arrived.iter().map(key_and_number).collect();
        (different.len() as u64 == accepted).then_some(())
    })
    .await;
    for (key, numbers) in by_key(&arrived) {
        assert_eq!(numbers[0], 0, "key {key}");
        let leap = numbers.windows(2).find(|pair| pair[1] > pair[0] + 1);
        assert_eq!(leap, None, "key {key}: {numbers:?}");
        let steps_back = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(steps_back <= KILLS, "key {key}: {numbers:?}");
    }
}

/// Posts one event of a key after another, each until a node has accepted it, which counts once however often it was asked for.
/// Answers how many.
async fn produce(shared: Arc<Shared>, key: u64) -> u64 {
    let mut turn = 0;
    let mut next = 0;
    while !shared.is_over.load(Ordering::SeqCst) {
        if next == shared.allowed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        loop {
            let nodes = shared.nodes.lock().unwrap().clone();
            turn += 1;
            let call = nodes[turn % nodes.len()].post("/webhooks/trigger").bearer(TRIGGER_TOKEN);
            let call = call.header("idempotency-key", &format!("{key}-{next}")).json(&event(key, next));
            match call.try_send().await {
                Ok(answer) if answer.status == 202 => break,
                Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        next += 1;
    }
    next
}
