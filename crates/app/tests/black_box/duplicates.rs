//! Events sent twice: the same content within a window, and the same request under an idempotency key.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    eventually,
    http::{Answer, Http},
    receiver::{Received, Receiver},
    server::{Home, Server},
    world::Account,
};

/// A server that tells duplicates apart so, and a subscription to `e` on it.
struct Scene {
    home: Home,
    server: Server,
    receiver: Receiver,
    ada: Account,
    subscription: String,
}

impl Scene {
    async fn with(deduplicate: &str) -> Self {
        let home = Home::new().set("HOOKCAST_DEDUPLICATE", deduplicate);
        let server = home.serve();
        let receiver = Receiver::start().await;
        let ada = server.http.account("ada").await;
        let subscription = ada.subscribe("e", &receiver.url).await.id;
        Self { home, server, receiver, ada, subscription }
    }

    /// The same after the server has been stopped and started. What it is sending ends before it does, so that the receiver must
    /// be able to answer meanwhile.
    async fn restarted(self) -> Self {
        let old = self.server;
        assert!(tokio::task::spawn_blocking(move || old.stop()).await.unwrap().success());
        let server = self.home.serve();
        let ada = Account { http: server.http.clone(), ..self.ada };
        Self { server, ada, ..self }
    }

    /// Makes sure that these events were sent, and each of them once.
    async fn expect_sent(&mut self, receipts: &[&Value]) {
        let wanted: BTreeSet<_> = receipts.iter().map(|receipt| receipt["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(wanted.len(), receipts.len(), "an id was given twice: {receipts:?}");
        let sent: BTreeSet<_> = self.receiver.take(receipts.len()).await.iter().map(Received::id).collect();
        assert_eq!(sent, wanted);
        // A delivery is stored with its event, so that none can come later.
        assert_eq!(self.ada.deliveries(&self.subscription).await.len(), receipts.len());
    }
}

async fn trigger_under(http: &Http, key: &str, body: &str) -> Answer {
    http.producer().header("idempotency-key", key).body("application/json", body.to_owned()).send().await
}

#[tokio::test]
async fn without_the_setting_nothing_is_a_duplicate() {
    let mut scene = Scene::with("off").await;
    let first = scene.server.http.trigger("e", json!(1)).await;
    let second = scene.server.http.trigger("e", json!(1)).await;
    assert_eq!((&first["duplicate"], &second["duplicate"]), (&json!(false), &json!(false)));
    assert_eq!(first["md5"], second["md5"]);
    scene.expect_sent(&[&first, &second]).await;
}

#[tokio::test]
async fn the_same_content_is_sent_once() {
    for window in ["10m", "forever"] {
        let mut scene = Scene::with(window).await;
        let first = scene.server.http.trigger_text(r#"{"event":"e","payload":{"a":"ü","b":1.0}}"#).await.expect(202);
        assert_eq!(first["duplicate"], false);
        for again in [
            r#"{"event":"e","payload":{"a":"ü","b":1.0}}"#,
            r#"{ "payload": { "b": 1.0, "a": "\u00fc" }, "event": "\u0065", "deduplicate": true }"#,
        ] {
            let duplicate = scene.server.http.trigger_text(again).await.expect(202);
            assert_eq!((&duplicate["duplicate"], &duplicate["id"]), (&json!(true), &first["id"]));
            for member in ["event", "time", "md5"] {
                assert_eq!(duplicate[member], first[member]);
            }
            assert_eq!(duplicate["subscriptions"], 0);
        }
        let mut sent = vec![first];
        for other in [r#"{"event":"e","payload":{"a":"ü","b":1}}"#, r#"{"event":"e","payload":[]}"#] {
            let receipt = scene.server.http.trigger_text(other).await.expect(202);
            assert_eq!(receipt["duplicate"], false, "{other}");
            sent.push(receipt);
        }
        scene.expect_sent(&sent.iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_trigger_can_insist() {
    let mut scene = Scene::with("forever").await;
    let insist = json!({"event": "e", "payload": 1, "deduplicate": false});
    let first = scene.server.http.trigger("e", json!(1)).await;
    let second = scene.server.http.try_trigger(&insist).await.expect(202);
    assert_eq!(second["duplicate"], false);
    // What insisted does not take the first one's place.
    let third = scene.server.http.trigger("e", json!(1)).await;
    assert_eq!((&third["duplicate"], &third["id"]), (&json!(true), &first["id"]));
    scene.expect_sent(&[&first, &second]).await;
}

#[tokio::test]
async fn duplicates_are_found_within_a_batch_and_across_restarts() {
    let mut scene = Scene::with("forever").await;
    let one = json!({"event": "e", "payload": 1});
    let batch =
        json!([one, {"event": "e", "payload": 2}, one, {"event": "e", "payload": 1, "deduplicate": false}, one]);
    let receipts = scene.server.http.try_trigger(&batch).await.expect(202);
    let duplicates: Vec<_> = receipts.as_array().unwrap().iter().map(|receipt| &receipt["duplicate"]).collect();
    assert_eq!(json!(duplicates), json!([false, false, true, false, true]));
    for index in [2, 4] {
        for member in ["id", "time", "md5"] {
            assert_eq!(receipts[index][member], receipts[0][member]);
        }
    }
    scene.expect_sent(&[&receipts[0], &receipts[1], &receipts[3]]).await;

    let again = scene.restarted().await.server.http.trigger("e", json!(2)).await;
    assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &receipts[1]["id"]));
}

#[tokio::test]
async fn a_window_ends_however_often_duplicates_come() {
    let mut scene = Scene::with("2s").await;
    let first = scene.server.http.trigger("e", json!(1)).await;
    let mut duplicates = 0;
    let second = eventually("the end of the window", async || {
        let receipt = scene.server.http.trigger("e", json!(1)).await;
        if receipt["duplicate"] == false {
            return Some(receipt);
        }
        assert_eq!(receipt["id"], first["id"]);
        duplicates += 1;
        None
    })
    .await;
    assert!(duplicates > 0);
    let third = scene.server.http.trigger("e", json!(1)).await;
    assert_eq!((&third["duplicate"], &third["id"]), (&json!(true), &second["id"]));
    let time = |receipt: &Value| receipt["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // The time of an event is a little earlier than that of its storing.
    assert!(time(&second).duration_since(time(&first)).as_millis() >= 2_000 - 100, "{first} {second}");
    scene.expect_sent(&[&first, &second]).await;
}

#[tokio::test]
async fn of_many_equal_events_at_once_one_is_sent() {
    let mut scene = Scene::with("10m").await;
    let mut racers = JoinSet::new();
    for racer in 0..32 {
        let http = scene.server.http.clone();
        racers.spawn(async move {
            let event = json!({"event": "e", "payload": {"equal": true}});
            // Some of them come in batches.
            let body = if racer % 4 == 0 { json!([event, event]) } else { event };
            let answer = http.try_trigger(&body).await.expect(202);
            answer.as_array().cloned().unwrap_or_else(|| vec![answer])
        });
    }
    let receipts = racers.join_all().await.concat();
    assert_eq!(receipts.len(), 40);
    let firsts: Vec<_> = receipts.iter().filter(|receipt| receipt["duplicate"] == false).collect();
    assert_eq!(firsts.len(), 1);
    assert!(receipts.iter().all(|receipt| receipt["id"] == firsts[0]["id"]));
    scene.expect_sent(&firsts).await;
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again() {
    let mut scene = Scene::with("off").await;
    let single = r#"{"event":"e","payload":1}"#;
    let batch = r#"[{"event":"e","payload":2},{"event":"e","payload":2}]"#;
    let mut sent = Vec::new();
    for (key, body) in [("a", single), ("b", single), ("c", batch), (&"~ !".repeat(85), single)] {
        let first = trigger_under(&scene.server.http, key, body).await;
        let receipts = first.expect(202);
        assert_eq!(first.header("idempotency-replayed"), "");
        // As often as it likes, also after a restart.
        for _ in 0..2 {
            let again = trigger_under(&scene.server.http, key, body).await;
            assert_eq!(again.expect(202), receipts);
            assert_eq!(again.header("idempotency-replayed"), "true");
            scene = scene.restarted().await;
        }
        sent.extend(receipts.as_array().cloned().unwrap_or_else(|| vec![receipts]));
    }
    scene.expect_sent(&sent.iter().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_body() {
    let scene = Scene::with("off").await;
    let http = &scene.server.http;
    let first = trigger_under(http, "key", r#"{"event":"e","payload":1}"#).await.expect(202);
    http.event_in_state(first["id"].as_str().unwrap(), "delivered").await;
    let before = scene.home.stored();
    for other in [
        r#"{"event":"e","payload":2}"#,
        r#"{"event":"e","payload":1} "#,
        r#"[{"event":"e","payload":1}]"#,
        r#"{"event":"f","payload":1}"#,
    ] {
        trigger_under(http, "key", other).await.expect_invalid("Idempotency-Key");
    }
    assert_eq!(scene.home.stored().len(), before.len());
    assert_eq!(trigger_under(http, "key", r#"{"event":"e","payload":1}"#).await.expect(202), first);
    assert_ne!(trigger_under(http, "KEY", r#"{"event":"e","payload":1}"#).await.expect(202)["id"], first["id"]);
}

#[tokio::test]
async fn a_refused_request_uses_no_key_up() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    trigger_under(&server.http, "key", "nonsense").await.expect_problem(400);
    trigger_under(&server.http, "key", r#"{"event":"e"}"#).await.expect_invalid("payload");
    trigger_under(&server.http, "key", r#"[{"event":"e","payload":1},7]"#).await.expect_problem(422);
    home.assert_stores(&before);
    trigger_under(&server.http, "key", r#"{"event":"e","payload":1}"#).await.expect(202);
}

#[tokio::test]
async fn idempotency_keys_have_a_form() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    let body = || server.http.producer().json(&json!({"event": "e", "payload": 1}));
    for key in ["", &"x".repeat(256), "schlüssel"] {
        body().header("idempotency-key", key).send().await.expect_invalid("Idempotency-Key");
    }
    let two = body().header("idempotency-key", "a").another_header("idempotency-key", "b");
    two.send().await.expect_invalid("Idempotency-Key");
    home.assert_stores(&before);
    body().header("idempotency-key", &"x".repeat(255)).send().await.expect(202);
}

#[tokio::test]
async fn an_idempotency_key_is_remembered_for_a_day() {
    let mut scene = Scene::with("off").await;
    let body = r#"{"event":"e","payload":1}"#;
    let first = trigger_under(&scene.server.http, "key", body).await.expect(202);
    let pass = |hours: i64| {
        let database = rusqlite::Connection::open(scene.home.database()).unwrap();
        database.busy_timeout(crate::support::PATIENCE).unwrap();
        let earlier = "UPDATE idempotency_keys SET expires_at = expires_at - ?";
        assert_eq!(database.execute(earlier, [hours * 3_600_000]).unwrap(), 1);
    };
    pass(23);
    assert_eq!(trigger_under(&scene.server.http, "key", body).await.expect(202), first);
    pass(1);
    let second = trigger_under(&scene.server.http, "key", body).await;
    assert_eq!(second.header("idempotency-replayed"), "");
    let second = second.expect(202);
    assert_eq!(trigger_under(&scene.server.http, "key", body).await.expect(202), second);
    scene.expect_sent(&[&first, &second]).await;
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_is_carried_out() {
    let mut scene = Scene::with("off").await;
    let mut racers = JoinSet::new();
    for _ in 0..32 {
        let http = scene.server.http.clone();
        racers.spawn(async move { trigger_under(&http, "key", r#"{"event":"e","payload":1}"#).await });
    }
    let answers = racers.join_all().await;
    let receipt = answers[0].expect(202);
    assert!(answers.iter().all(|answer| answer.expect(202) == receipt));
    let carried_out = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count();
    assert_eq!(carried_out, 1);
    scene.expect_sent(&[&receipt]).await;
}

#[tokio::test]
async fn of_different_requests_under_one_key_one_is_carried_out() {
    let mut scene = Scene::with("off").await;
    let mut racers = JoinSet::new();
    for n in 0..16 {
        let http = scene.server.http.clone();
        let body = json!({"event": "e", "payload": n}).to_string();
        racers.spawn(async move { trigger_under(&http, "key", &body).await });
    }
    let (taken, refused): (Vec<_>, Vec<_>) = racers.join_all().await.into_iter().partition(|a| a.status == 202);
    assert_eq!((taken.len(), refused.len()), (1, 15));
    for answer in refused {
        answer.expect_invalid("Idempotency-Key");
    }
    scene.expect_sent(&[&taken[0].json()]).await;
}

#[tokio::test]
async fn an_answer_given_again_is_the_first_one_even_for_a_duplicate() {
    let mut scene = Scene::with("forever").await;
    let http = scene.server.http.clone();
    let body = r#"{"event":"e","payload":1}"#;
    let first = trigger_under(&http, "a", body).await.expect(202);
    assert_eq!(first["duplicate"], false);
    assert_eq!(trigger_under(&http, "a", body).await.expect(202), first);
    let duplicate = trigger_under(&http, "b", body).await.expect(202);
    assert_eq!((&duplicate["duplicate"], &duplicate["id"]), (&json!(true), &first["id"]));
    assert_eq!(trigger_under(&http, "b", body).await.expect(202), duplicate);
    scene.expect_sent(&[&first]).await;
}
