//! The server is killed at random moments under load, again and again, and nothing that it accepted is lost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    eventually,
    http::Http,
    receiver::Receiver,
    server::{Home, TRIGGER_TOKEN},
};

/// Kills in `make test`; `CRASH_KILLS` asks for another number.
const KILLS: usize = 50;

const PRODUCERS: usize = 8;
const SUBSCRIPTIONS: usize = 3;

/// What producers were told: event id and the number in its payload.
type Promised = Arc<Mutex<BTreeMap<String, u64>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_accepted_is_lost_however_often_the_server_is_killed() {
    let kills = std::env::var("CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("{kills} kills, CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let mut receiver = Receiver::start().await;
    let schedule = ["20ms"; 30].join(",");
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &schedule);
    let mut server = home.serve();
    let ada = server.http.account("ada").await;
    let mut secrets = HashMap::new();
    for n in 0..SUBSCRIPTIONS {
        let path = format!("/{n}");
        secrets.insert(path.clone(), ada.subscribe("load", &format!("{}{path}", receiver.url)).await.secret);
    }

    let promised = Promised::default();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    for _ in 0..kills {
        // Some deliveries fail, so that kills meet retries too.
        receiver.next_replies((0..random.random_range(0..20)).map(|_| 500_u16));
        let producers = produce(&server.http, &promised, &numbers);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
        server.kill();
        producers.join_all().await;
        note(&mut receiver, &secrets, &mut seen);
        server = home.serve();
    }

    let promised = promised.lock().unwrap().clone();
    assert!(promised.len() > kills, "only {} events were accepted: that is no load", promised.len());
    eventually("every promised delivery", async || {
        note(&mut receiver, &secrets, &mut seen);
        let arrived = |id: &String| secrets.keys().all(|path| seen.contains_key(&(id.clone(), path.clone())));
        promised.keys().all(arrived).then_some(())
    })
    .await;
    for (id, number) in &promised {
        for path in secrets.keys() {
            assert_eq!(seen[&(id.clone(), path.clone())], *number, "{id} arrived with another payload");
        }
    }
    check_store(&home, server).await;
    let requests = receiver.total();
    println!("{} events promised, {} arrived, in {requests} requests", promised.len(), seen.len() / SUBSCRIPTIONS);
}

/// Starts producers that post one event after another, or a few at once, until the server does not answer any more.
fn produce(http: &Http, promised: &Promised, numbers: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (http, promised, numbers) = (http.clone(), Arc::clone(promised), Arc::clone(numbers));
        producers.spawn(async move {
            loop {
                let count = if producer == 0 { 5 } else { 1 };
                let batch: Vec<u64> = (0..count).map(|_| numbers.fetch_add(1, Ordering::Relaxed)).collect();
                let events: Vec<_> = batch.iter().map(|n| json!({"event": "load", "payload": {"n": n}})).collect();
                let call = http.post("/webhooks/trigger").bearer(TRIGGER_TOKEN).json(&Value::from(events));
                let Ok(answer) = call.try_send().await else { return };
                assert_eq!(answer.status.as_u16(), 202, "{answer:?}");
                let mut promised = promised.lock().unwrap();
                for (receipt, number) in answer.json().as_array().unwrap().iter().zip(batch) {
                    promised.insert(receipt["id"].as_str().unwrap().to_owned(), number);
                }
            }
        });
    }
    producers
}

/// Notes what has arrived, and that all of it is genuine.
fn note(receiver: &mut Receiver, secrets: &HashMap<String, String>, seen: &mut BTreeMap<(String, String), u64>) {
    for received in receiver.unseen() {
        let path = received.uri.path().to_owned();
        received.verify(&secrets[&path]).unwrap();
        seen.insert((received.id(), path), received.json()["payload"]["n"].as_u64().unwrap());
    }
}

/// Makes sure that the books balance: every delivery has ended well, nothing waits, the file is sound.
async fn check_store(home: &Home, server: crate::support::server::Server) {
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let states = || -> BTreeSet<i64> {
        let mut statement = database.prepare("SELECT DISTINCT state FROM deliveries").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    const DELIVERED: i64 = 2;
    eventually("every delivery recorded as delivered", async || {
        (states() == BTreeSet::from([DELIVERED])).then_some(())
    })
    .await;
    let waiting: i64 = database.query_row("SELECT SUM(waiting) FROM lanes", [], |row| row.get(0)).unwrap();
    assert_eq!(waiting, 0);
    assert!(server.stop().success());
    let integrity: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}
