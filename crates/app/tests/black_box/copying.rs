//! `hookcast store copy`: a store moves to another one, and goes on there.

use std::{path::PathBuf, process::Stdio};

use http::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{eventually, receiver::Receiver, server::Home};

const SOURCE: &str = "sqlite://data/hookcast.db";
const TARGET: &str = "sqlite://moved/copy.db";
const COPY: [&str; 6] = ["store", "copy", "--from", SOURCE, "--to", TARGET];

impl Home {
    fn target(&self) -> PathBuf {
        self.path().join("moved/copy.db")
    }

    fn on_the_target(self) -> Self {
        self.set("HOOKCAST_DATABASE_URL", TARGET)
    }

    /// Makes sure that the copy has the same rows as its source, keys included.
    fn assert_copied(&self) {
        let database = Connection::open(self.database()).unwrap();
        database.execute("ATTACH ? AS copy", [self.target().to_str().unwrap()]).unwrap();
        let count = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
        let tables =
            ["accounts", "tokens", "lanes", "events", "deliveries", "attempts", "fingerprints", "idempotency_keys"];
        for table in tables {
            for (one, other) in [("main", "copy"), ("copy", "main")] {
                let sql = format!("SELECT * FROM {one}.{table} EXCEPT SELECT * FROM {other}.{table}");
                assert_eq!(count(&format!("SELECT COUNT(*) FROM ({sql})")), 0, "{table}");
            }
        }
        assert_eq!(count("SELECT COUNT(*) FROM copy.copying"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_with_the_copy_where_it_stopped() {
    let (mut well, failing, mut idle) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let mut hanging = Receiver::start_gated(0).await;
    failing.always(500);
    let home = Home::new().set("HOOKCAST_SHUTDOWN_GRACE", "0");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("well", &well.url).await;
    let failed = ada.subscribe("failing", &failing.url).await;
    let slow = ada.subscribe("hanging", &hanging.url).await;
    let inactive = ada.subscribe("idle", &idle.url).await;
    let deleted = ada.subscribe("well", &format!("{}/deleted", well.url)).await;
    ada.set_active(&inactive.id, false).await;

    let mut events = Vec::new();
    for (event, state) in [("well", "delivered"), ("failing", "failed"), ("hanging", "sending"), ("idle", "waiting")] {
        let receipt = server.http.trigger(event, json!({"n": 1.50})).await;
        let id = receipt["id"].as_str().unwrap().to_owned();
        server.http.event_in_state(&id, state).await;
        events.push(id);
    }
    let repeated = json!({"event": "well", "payload": "once"});
    let first = server.http.producer().header("idempotency-key", "k").json(&repeated).send().await.expect(202);
    server.http.event_in_state(first["id"].as_str().unwrap(), "delivered").await;
    let path = format!("/webhooks/subscriptions/{}", deleted.id);
    ada.request(Method::DELETE, &path).send().await.expect(204);
    let mut before = Vec::new();
    for id in [&events[0], &events[1], &events[3]] {
        before.push(server.http.event(id).await);
    }
    let (listed, health) = (ada.get("/webhooks/subscriptions").await, ada.subscription(&failed.id).await);
    assert!(server.stop().success());
    assert_eq!(hanging.take(1).await[0].id(), events[2]);
    well.unseen();

    let said = home.expect(&COPY);
    for line in ["copied from sqlite://data/hookcast.db to sqlite://moved/copy.db", " 1 accounts", " 5 subscriptions"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains(" 5 events") && said.ends_with("the digests of both stores agree\n"), "{said}");
    home.assert_copied();

    let home = home.on_the_target();
    let server = home.serve();
    let ada = crate::support::world::Account { http: server.http.clone(), ..ada };
    hanging.let_through(10);
    let waited = hanging.next().await;
    assert_eq!(waited.id(), events[2]);
    waited.verify(&slow.secret).unwrap();
    for (id, before) in [&events[0], &events[1], &events[3]].into_iter().zip(before) {
        assert_eq!(server.http.event(id).await, before);
    }
    assert_eq!(ada.get("/webhooks/subscriptions").await["data"].as_array().unwrap().len(), 4);
    assert_eq!(ada.subscription(&failed.id).await, health);
    let names = |list: &Value| -> Vec<_> {
        list["data"].as_array().unwrap().iter().map(|subscription| subscription["id"].clone()).collect()
    };
    assert_eq!(names(&ada.get("/webhooks/subscriptions").await), names(&listed));

    let again = server.http.producer().header("idempotency-key", "k").json(&repeated).send().await.expect(202);
    assert_eq!(again, first);
    ada.set_active(&inactive.id, true).await;
    let woken = idle.next().await;
    assert_eq!(woken.id(), events[3]);
    woken.verify(&inactive.secret).unwrap();
    let new = server.http.trigger("well", json!("new")).await;
    assert_eq!(well.next().await.id(), new["id"]);
    assert_eq!(well.total(), 5, "what was delivered is not delivered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_urls_may_be_in_the_environment() {
    let home = Home::new();
    home.serve().http.account("ada").await;
    let home = home.set("HOOKCAST_COPY_FROM", SOURCE).set("HOOKCAST_COPY_TO", TARGET);
    let ended = home.hookcast(&["store", "copy", "--json"]).expect(0);
    let copied = json!({
        "accounts": 1, "subscriptions": 0, "tokens": 1, "events": 0, "deliveries": 0, "fingerprints": 0, "idempotency_keys": 0, "notices": 0, "documents": 1
    });
    let said = json!({"from": SOURCE, "to": TARGET, "copied": copied, "digests_agree": true});
    assert_eq!(ended.json(), said);
    assert!(!ended.stderr.contains("HOOKCAST_COPY"), "{}", ended.stderr);
    assert!(!home.expect(&["store", "copy", "--help"]).contains("data/hookcast.db]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_was_sending_waits_in_the_copy() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new().set("HOOKCAST_DELIVERY_TIMEOUT", "10m").set("HOOKCAST_DELIVERY_LEASE", "15m");
    let server = home.serve();
    server.http.account("ada").await.subscribe("cut_off", &receiver.url).await;
    let receipt = server.http.trigger("cut_off", json!({})).await;
    receiver.next().await;
    server.kill();
    home.expect(&COPY);
    receiver.let_through(10);
    let home = home.on_the_target();
    let _server = home.serve();
    assert_eq!(receiver.next().await.id(), receipt["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("x", "http://127.0.0.1:4/").await;
    let refused = |arguments: &[&str], words: &str| {
        let complaint = home.refusal(&[&["store", "copy"], arguments].concat());
        assert!(complaint.contains(words) && !complaint.contains("hunter2"), "{arguments:?}: {complaint}");
    };

    refused(&["--from", SOURCE, "--to", TARGET], "a server has data/hookcast.db: stop it first");
    assert!(server.stop().success());
    let before = home.stored();
    refused(&["--from", "sqlite://data/hookcats.db", "--to", TARGET], "there is no store at /");
    refused(
        &["--from", "mysql://me:hunter2@localhost/x", "--to", TARGET],
        "the database URL must begin with `sqlite://`",
    );
    refused(&["--from", SOURCE, "--to", "hookcast.db"], "--to");
    refused(&["--from", SOURCE, "--to", SOURCE], "both URLs name the same store");
    std::os::unix::fs::symlink(home.database(), home.path().join("link.db")).unwrap();
    refused(&["--from", SOURCE, "--to", "sqlite://link.db"], "both URLs name the same store");
    refused(&["--from", SOURCE, "--to", "postgres://me:hunter2@127.0.0.1:3/x"], "the store at postgres://me:***@");
    assert!(!home.path().join("moved").exists() && !home.path().join("data/hookcats.db").exists());
    home.assert_stores(&before);

    let other = Home::new();
    other.serve().http.account("bob").await;
    let theirs = other.stored();
    let url = format!("sqlite://{}", other.database().display());
    refused(&["--from", SOURCE, "--to", &url], "the target is not empty: it holds accounts");
    other.assert_stores(&theirs);
    let busy = other.serve();
    refused(&["--from", SOURCE, "--to", &url], "stop it first");
    assert!(busy.stop().success());
    home.assert_stores(&before);

    home.expect(&COPY);
    refused(&["--from", SOURCE, "--to", TARGET], "the target is not empty");
    home.assert_copied();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_goes_on_when_it_is_run_again() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    for n in 0..4 {
        let subscription = ada.subscribe("many", &format!("http://127.0.0.1:4/{n}")).await;
        ada.set_active(&subscription.id, false).await;
    }
    for _ in 0..5 {
        server.http.trigger_many("many", 1_000).await;
    }
    assert!(server.stop().success());
    let before = home.stored();

    for stage in [Stage::Events, Stage::Deliveries, Stage::Comparing] {
        let mut copying = home.command(&COPY);
        let mut copying = copying.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        eventually(&format!("{stage:?}"), async || progress(&home).filter(|now| *now >= stage)).await;
        copying.kill().unwrap();
        assert!(!copying.wait().unwrap().success(), "it has ended before it could be killed");
        assert!(progress(&home).is_some());
    }
    let on_target = ["--database-url", TARGET];
    for command in [&["serve"][..], &["resend"], &["account", "list"]] {
        let complaint = home.refusal(&[command, &on_target].concat());
        assert!(complaint.contains("is an unfinished copy: run `hookcast store copy` again"), "{complaint}");
    }
    let onwards = home.refusal(&["store", "copy", "--from", TARGET, "--to", "sqlite://third.db"]);
    assert!(onwards.contains("the source is itself an unfinished copy"), "{onwards}");

    let said = home.hookcast(&[&COPY[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&said["copied"]["events"], &said["copied"]["deliveries"]), (&json!(5_000), &json!(20_000)));
    home.assert_copied();
    home.assert_stores(&before);
    let home = home.on_the_target();
    let server = home.serve();
    let ada = crate::support::world::Account { http: server.http.clone(), ..ada };
    let listed = ada.get("/webhooks/subscriptions").await;
    assert!(listed["data"].as_array().unwrap().iter().all(|subscription| subscription["waiting"] == 5_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_gone_on_makes_no_whole_copy() {
    let home = Home::new();
    home.serve().http.account("ada").await;
    home.expect(&COPY);
    // As if the copy had been killed before its comparison, and the source had been served meanwhile.
    let mark = r#"INSERT INTO copying VALUES (1, '{"next":null,"copied":{"accounts":1}}')"#;
    Connection::open(home.target()).unwrap().execute(mark, []).unwrap();
    home.serve().http.account("bob").await;
    for _ in 0..2 {
        let complaint = home.refusal(&COPY);
        assert!(complaint.contains("the accounts of the two stores differ"), "{complaint}");
        assert!(home.refusal(&["serve", "--database-url", TARGET]).contains("an unfinished copy"));
    }
}

/// What a copy is at.
#[derive(Debug, PartialEq, PartialOrd)]
enum Stage {
    Events,
    Deliveries,
    Comparing,
}

/// How far the unfinished copy has come, once it is at its events.
fn progress(home: &Home) -> Option<Stage> {
    let target = Connection::open_with_flags(home.target(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let text: String = target.query_row("SELECT progress FROM copying", [], |row| row.get(0)).ok()?;
    let progress: Value = serde_json::from_str(&text).unwrap();
    match progress["next"]["section"].as_str() {
        Some("accounts" | "subscriptions") => None,
        Some("events") => Some(Stage::Events),
        Some("deliveries") => Some(Stage::Deliveries),
        _ => Some(Stage::Comparing),
    }
}
