//! Callbacks that are dead for a while: they are left alone but for a probe now and then, and nothing of theirs is lost.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    nodes::on_servers,
    support::{
        database::Kind,
        eventually, loopback_address,
        receiver::Receiver,
        server::{Home, Server},
        world::Account,
    },
};

/// What waits for a dead callback.
const EVENTS: usize = 2_000;

/// Attempts that may be in flight for one subscription when the breaker opens, by default.
const WIDTH: usize = 64;

/// Probes that are waited for.
const PROBES: usize = 3;

/// Failures in a row that open the breaker, by default.
const FAILURES: usize = 5;

/// Attempts a second after a callback has come back.
const RATE: f64 = 400.0;

/// Settings with a breaker that probes soon and retries that are not used up.
fn probing(home: Home) -> Home {
    home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["20ms"; 100].join(","))
        .set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "100ms")
        .set("HOOKCAST_DELIVERY_BREAKER_LONGEST_PAUSE", "400ms")
        .set("HOOKCAST_DELIVERY_RECOVERY_RATE", &RATE.to_string())
}

fn is_open(subscription: &Value) -> bool {
    subscription["probe_at"].is_string()
}

/// Waits until so many probes have failed.
async fn probed(ada: &Account, id: &str) -> Value {
    let wanted = (FAILURES + PROBES) as u64;
    ada.subscription_when(id, "probes", |now| now["failure_count"].as_u64().unwrap() >= wanted).await
}

/// Triggers what waits, in batches; the ids.
async fn trigger_all(server: &Server) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for _ in 0..EVENTS / 500 {
        ids.extend(server.http.trigger_many("x", 500).await);
    }
    ids
}

/// Makes sure that everything arrives, no faster than after a recovery since `back` it may. Times are the receiver's own: what is
/// late makes none of them earlier.
async fn everything_arrives_gently(receiver: &mut Receiver, ids: BTreeSet<String>, back: Instant) {
    let mut missing = ids;
    let mut count = 0.0;
    while !missing.is_empty() {
        let received = receiver.next().await;
        missing.remove(&received.id());
        count += 1.0;
        let elapsed = received.at.duration_since(back).as_secs_f64();
        // It doubles after ten seconds; a tenth of a second's worth may come before its time, and the probe itself.
        let allowed = RATE * (elapsed + (elapsed - 10.0).max(0.0) + 0.1) + 2.0;
        assert!(count <= allowed, "{count} attempts within {elapsed} s");
    }
}

#[tokio::test]
async fn a_callback_that_refuses_connections_costs_a_handful_of_attempts_and_loses_nothing() {
    let address = loopback_address();
    let server = probing(Home::new()).serve();
    let ada = server.http.account("ada").await;
    let dead = ada.subscribe("x", &format!("http://{address}/")).await;
    let ids = trigger_all(&server).await;
    let now = probed(&ada, &dead.id).await;
    assert!(is_open(&now), "{now}");
    assert_eq!((&now["is_active"], &now["waiting"]), (&json!(true), &json!(EVENTS)));
    let failures = now["failure_count"].as_u64().unwrap();
    assert!(failures < 40, "{now}");
    // Those that failed side by side, those that began while they did, each other one in a row, and probes that have come since.
    let attempts = attempts_at(&ada, &dead.id).await;
    let bound = WIDTH + FAILURES + usize::try_from(failures).unwrap() + PROBES;
    assert!(attempts <= bound, "{attempts} attempts at {failures} failures");

    let back = Instant::now();
    let mut receiver = Receiver::start_at(address).await;
    everything_arrives_gently(&mut receiver, ids, back).await;
    let now = ada.subscription_when(&dead.id, "health", |now| now["waiting"] == 0).await;
    assert_eq!((&now["failure_count"], &now["probe_at"]), (&json!(0), &Value::Null));
}

/// How many attempts were made at all of a subscription's deliveries.
async fn attempts_at(ada: &Account, id: &str) -> usize {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let page = ada.get(&format!("/webhooks/subscriptions/{id}/deliveries?limit=100{cursor}")).await;
        let of = |delivery: &Value| delivery["attempts"].as_array().unwrap().len();
        count += page["data"].as_array().unwrap().iter().map(of).sum::<usize>();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[tokio::test]
async fn a_callback_that_answers_500_costs_a_handful_of_attempts_and_loses_nothing() {
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let server = probing(Home::new()).serve();
    let ada = server.http.account("ada").await;
    let failing = ada.subscribe("x", &receiver.url).await;
    let ids = trigger_all(&server).await;
    let now = probed(&ada, &failing.id).await;
    assert!(is_open(&now), "{now}");
    assert_eq!(now["waiting"], EVENTS);
    let failures = usize::try_from(now["failure_count"].as_u64().unwrap()).unwrap();
    let attempts = receiver.unseen().len();
    assert!(attempts <= WIDTH + FAILURES + failures + PROBES, "{attempts} attempts at {failures} failures");

    let back = Instant::now();
    receiver.always(200);
    everything_arrives_gently(&mut receiver, ids, back).await;
    let now = ada.subscription_when(&failing.id, "health", |now| now["waiting"] == 0).await;
    assert_eq!((&now["failure_count"], &now["probe_at"]), (&json!(0), &Value::Null));
}

on_servers![nodes_probe_one_at_a_time];

async fn nodes_probe_one_at_a_time(kind: Kind) {
    let home = probing(Home::on(&kind.shared().await));
    let [one, two] = [home.serve(), home.serve()];
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let ada = one.http.account("ada").await;
    let failing = ada.subscribe("x", &receiver.url).await;
    let mut ids: BTreeSet<String> = one.http.trigger_many("x", 300).await.into_iter().collect();
    ids.extend(two.http.trigger_many("x", 300).await);
    // Both know of it when a probe has failed; what they had begun before has ended by then.
    probed(&ada, &failing.id).await;
    receiver.unseen();
    let probes = receiver.take(8).await;
    for pair in probes.windows(2) {
        let pause = pair[1].at.duration_since(pair[0].at);
        assert!(pause >= Duration::from_millis(400), "{pause:?} between two probes");
    }
    assert!(is_open(&ada.subscription(&failing.id).await));

    receiver.always(200);
    eventually("everything", async || {
        for received in receiver.unseen() {
            ids.remove(&received.id());
        }
        ids.is_empty().then_some(())
    })
    .await;
    ada.at(&two.http).subscription_when(&failing.id, "health", |now| !is_open(now) && now["waiting"] == 0).await;
}

#[tokio::test]
async fn an_open_breaker_does_not_keep_a_subscription_from_becoming_inactive() {
    for count in [1, 1_000] {
        let receiver = Receiver::start().await;
        receiver.always(500);
        let home = probing(Home::new()).set("MAX_SEND_ATTEMPTS", "12");
        let server = home.set("HOOKCAST_DELIVERY_BREAKER_LONGEST_PAUSE", "100ms").serve();
        let ada = server.http.account("ada").await;
        let failing = ada.subscribe("x", &receiver.url).await;
        server.http.trigger_many("x", count).await;
        let now = ada.subscription_when(&failing.id, "inactive", |now| now["is_active"] == false).await;
        assert_eq!((&now["failure_count"], &now["waiting"]), (&json!(12), &json!(count)), "{now}");
        assert!(receiver.total() <= WIDTH + FAILURES + 12, "{} attempts", receiver.total());
    }
}

#[tokio::test]
async fn making_a_subscription_active_closes_its_breaker() {
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let home = probing(Home::new()).set("HOOKCAST_DELIVERY_BREAKER_LONGEST_PAUSE", "1h");
    let server = home.set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "1h").serve();
    let ada = server.http.account("ada").await;
    let failing = ada.subscribe("x", &receiver.url).await;
    let mut missing: BTreeSet<_> = server.http.trigger_many("x", 100).await.into_iter().collect();
    ada.subscription_when(&failing.id, "an open breaker", is_open).await;

    receiver.always(200);
    let now = ada.set_active(&failing.id, true).await;
    assert_eq!((&now["failure_count"], &now["probe_at"]), (&json!(0), &Value::Null));
    while !missing.is_empty() {
        missing.remove(&receiver.next().await.id());
    }
}
