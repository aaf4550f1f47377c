//! Nodes on one database are killed and started at random moments under load, and the database is restarted: nothing that any of
//! them accepted is lost, and repeated is no more than what was in flight at the kills.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    nodes::on_servers,
    support::{
        PATIENCE,
        database::{Database, Kind},
        eventually,
        http::Http,
        receiver::Receiver,
        server::{Home, TRIGGER_TOKEN},
    },
};

on_servers![nothing_is_lost_however_often_nodes_and_the_database_go];

/// Kills in `make test`; `CRASH_KILLS` asks for another number.
const KILLS: usize = 12;
/// The database is restarted at every so many kills.
const RESTART_EVERY: usize = 4;
const NODES: usize = 3;
const PRODUCERS: usize = 6;
const SUBSCRIPTIONS: usize = 3;
const IN_FLIGHT: usize = 16;

/// What producers share: whom to ask, what they were told, and when to end.
#[derive(Default)]
struct Shared {
    nodes: Mutex<Vec<Http>>,
    /// The ids of accepted events, with the number in their payload.
    promised: Mutex<BTreeMap<String, u64>>,
    numbers: AtomicU64,
    is_over: AtomicBool,
}

async fn nothing_is_lost_however_often_nodes_and_the_database_go(kind: Kind) {
    let kills = std::env::var("CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("{kills} kills, CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let database = Database::start(kind);
    let home = Home::on(&database.url)
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["20ms"; 30].join(","))
        .set("HOOKCAST_DELIVERY_MAX_IN_FLIGHT", &IN_FLIGHT.to_string());
    let mut receiver = Receiver::start().await;
    let mut nodes: Vec<_> = (0..NODES).map(|_| home.serve()).collect();
    let ada = nodes[0].http.account("ada").await;
    for n in 0..SUBSCRIPTIONS {
        ada.subscribe("load", &format!("{}/{n}", receiver.url)).await;
    }

    let shared = Arc::new(Shared::default());
    *shared.nodes.lock().unwrap() = nodes.iter().map(|node| node.http.clone()).collect();
    let producers: JoinSet<()> = (0..PRODUCERS).map(|n| produce(Arc::clone(&shared), n)).collect();
    let mut refused = 0;
    for kill in 1..=kills {
        let refusals = random.random_range(0..10);
        refused += refusals;
        receiver.next_replies((0..refusals).map(|_| 500_u16));
        tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        let victim = random.random_range(0..NODES);
        nodes.remove(victim).kill();
        if kill % RESTART_EVERY == 0 {
            database.stop();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            database.start_again();
        }
        nodes.push(home.serve());
        *shared.nodes.lock().unwrap() = nodes.iter().map(|node| node.http.clone()).collect();
    }
    shared.is_over.store(true, Ordering::SeqCst);
    producers.join_all().await;

    let promised = shared.promised.lock().unwrap().clone();
    assert!(promised.len() > kills * 10, "only {} events were accepted: that is no load", promised.len());
    let mut arrived: BTreeMap<(String, String), usize> = BTreeMap::new();
    eventually("every promised delivery", async || {
        for received in receiver.unseen() {
            // What was refused or not answered may have been stored and arrive all the same.
            if let Some(number) = promised.get(&received.id()) {
                assert_eq!(received.json()["payload"]["n"], *number, "{} has another payload", received.id());
            }
            *arrived.entry((received.id(), received.uri.path().to_owned())).or_default() += 1;
        }
        let paths: Vec<String> = (0..SUBSCRIPTIONS).map(|n| format!("/{n}")).collect();
        let has_arrived = |id: &String| paths.iter().all(|path| arrived.contains_key(&(id.clone(), path.clone())));
        promised.keys().all(has_arrived).then_some(())
    })
    .await;
    // What was answered with 500 comes again and is no repetition.
    let requests: usize = arrived.values().sum();
    let repeated = (requests - arrived.len()).saturating_sub(refused);
    println!("{} events promised, {} deliveries, {repeated} repeated", promised.len(), arrived.len());
    // In flight are attempts, and as many outcomes that wait to be written, and as many that are being written.
    assert!(repeated <= kills * IN_FLIGHT * 3, "{repeated} repetitions after {kills} kills");
    for node in nodes {
        assert!(node.stop().success());
    }
}

/// Posts one event after another, or a few at once, to one node after another. A node that does not answer, or refuses, has
/// promised nothing.
async fn produce(shared: Arc<Shared>, producer: usize) {
    let mut turn = producer;
    while !shared.is_over.load(Ordering::SeqCst) {
        let nodes = shared.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        turn += 1;
        let node = &nodes[turn % nodes.len()];
        let count = if producer == 0 { 5 } else { 1 };
        let numbers: Vec<u64> = (0..count).map(|_| shared.numbers.fetch_add(1, Ordering::SeqCst)).collect();
        let events: Vec<_> = numbers.iter().map(|n| json!({"event": "load", "payload": {"n": n}})).collect();
        let call = node.post("/webhooks/trigger").bearer(TRIGGER_TOKEN).json(&json!(events));
        let answer = tokio::time::timeout(PATIENCE, call.try_send()).await.expect("an answer or none, but soon");
        let Ok(answer) = answer else {
            tokio::task::yield_now().await;
            continue;
        };
        if answer.status == 503 {
            continue;
        }
        let receipts = answer.expect(202);
        let mut promised = shared.promised.lock().unwrap();
        for (receipt, number) in receipts.as_array().unwrap().iter().zip(numbers) {
            promised.insert(receipt["id"].as_str().unwrap().to_owned(), number);
        }
    }
}
