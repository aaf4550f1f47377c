//! Triggers: one event or many, as they were written, and what becomes of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    eventually,
    receiver::{Received, Receiver},
    server::{Home, TRIGGER_TOKEN},
};

#[tokio::test]
async fn a_trigger_is_answered_with_a_receipt() {
    let server = Home::new().serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let receiver = Receiver::start().await;
    ada.subscribe("e", &receiver.url).await;
    ada.subscribe("e", &format!("{}/2", receiver.url)).await;
    bob.subscribe("e", &receiver.url).await;
    bob.subscribe("other", &receiver.url).await;
    let answer = server.http.try_trigger(&json!({"event": "e", "payload": {"a": 1}})).await;
    let receipt = answer.expect(202);
    assert_eq!(answer.header("content-type"), "application/json");
    let members: Vec<_> = receipt.as_object().unwrap().keys().collect();
    assert_eq!(members, ["duplicate", "event", "id", "md5", "subscriptions", "time"]);
    assert_eq!((&receipt["event"], &receipt["duplicate"]), (&json!("e"), &json!(false)));
    assert_eq!(receipt["subscriptions"], 3);
    assert!(receipt["id"].as_str().unwrap().starts_with("evt_"));
    assert!(receipt["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());

    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    for member in ["id", "event", "time", "md5", "subscriptions"] {
        assert_eq!(event[member], receipt[member], "{member}");
    }
    assert_eq!((&event["payload"], &event["unreached"]), (&json!({"a": 1}), &Value::Null));
    let owners: BTreeSet<_> = event["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| (delivery["user_id"].as_str().unwrap(), delivery["attempts"][0]["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(owners, BTreeSet::from([("ada", 200), ("bob", 200)]));
}

#[tokio::test]
async fn a_payload_is_any_json_and_arrives_as_it_was_written() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    let deepest = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for payload in [
        "null",
        "true",
        "0",
        "-0",
        "1.0",
        "1E400",
        "-1e-400",
        "123456789012345678901234567890.123456789012345678901234567890",
        "\"\"",
        r#""\u00fc\/\ud83d\ude00\u0000""#,
        "\"\u{2028}\u{7f}😀\"",
        "[]",
        "{}",
        "[ 1 ,\t2 ]",
        "{\"b\" : 1,\r\n \"a\": 2, \"\": 3}",
        r#"{"twice":1,"twice":2}"#,
        &deepest,
    ] {
        println!("{payload}");
        let receipt = server.http.trigger_text(format!(r#"{{"event":"e","payload": {payload} }}"#)).await.expect(202);
        let received = receiver.next().await;
        let body = String::from_utf8(received.body.to_vec()).unwrap();
        assert!(body.contains(&format!(r#""payload":{payload}}}"#)), "{body}");
        let path = format!("/webhooks/events/{}", receipt["id"].as_str().unwrap());
        let answer = server.http.get(&path).bearer(TRIGGER_TOKEN).send().await;
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains(&format!(r#""payload":{payload},"#)), "{body}");
    }
}

/// What an event says, written in one way and in another, in canonical form, and that form's digest as `md5sum` prints it.
const WRITTEN: &str = r#"{ "payload" : {"～": false, "\ud83d\ude00": {"z": 1, "y": 2}, "b": [1.0, 2.50, 1E400, -0,
    12345678901234567890123, true, null], "a": "\u00fc\u0041\/\u0022\\\u000B\u000a€", "": []}, "event": "relation_added" }"#;
const WRITTEN_OTHERWISE: &str = r#"{"event":"relation\u005fadded","payload":{"":[],"a":"üA/\"\\\u000b\n\u20ac",
    "b":[1.0,2.50,1E400,-0,12345678901234567890123,true,null],"😀":{"y":2,"z":1},"～":false}}"#;
const CANONICAL: &str = r#"{"event":"relation_added","payload":{"":[],"a":"üA/\"\\\u000b\n€","b":[1.0,2.50,1E400,-0,12345678901234567890123,true,null],"😀":{"y":2,"z":1},"～":false}}"#;
const DIGEST: &str = "e58d2ebed9fdc0a576d5d02b5225cc9d";

#[tokio::test]
async fn the_md5_is_of_the_canonical_content() {
    let server = Home::new().serve();
    for text in [WRITTEN, WRITTEN_OTHERWISE, CANONICAL] {
        let receipt = server.http.trigger_text(text).await.expect(202);
        assert_eq!(receipt["md5"], DIGEST);
        let path = format!("/webhooks/events/{}", receipt["id"].as_str().unwrap());
        let answer = server.http.get(&path).bearer(TRIGGER_TOKEN).send().await;
        assert!(String::from_utf8_lossy(&answer.body).contains(&format!(r#""md5":"{DIGEST}""#)), "{answer:?}");
    }
    let others = [("b", json!(1)), ("a", json!(2)), ("a", json!("1")), ("a", json!([1])), ("a", json!(1))];
    let mut digests = BTreeSet::new();
    for (event, payload) in &others {
        digests.insert(server.http.trigger(event, payload.clone()).await["md5"].to_string());
    }
    // Numbers are told apart by how they are written.
    digests.insert(server.http.trigger_text(r#"{"event":"a","payload":1.0}"#).await.expect(202)["md5"].to_string());
    assert_eq!(digests.len(), others.len() + 1);
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    let events: Vec<_> =
        (0..20).map(|n| json!({"event": if n % 2 == 0 { "e" } else { "f" }, "payload": {"n": n}})).collect();
    let lines: String = events.iter().map(|event| format!("{event}\r\n\n")).collect();
    let mut ids = BTreeSet::new();
    let mut promised = BTreeSet::new();
    for answer in
        [server.http.try_trigger(&json!(events)).await, server.http.trigger_lines(lines.trim_end().to_owned()).await]
    {
        let receipts = answer.expect(202);
        assert_eq!(receipts.as_array().unwrap().len(), 20);
        for (n, receipt) in (0_u64..).zip(receipts.as_array().unwrap()) {
            let id = receipt["id"].as_str().unwrap().to_owned();
            let event = server.http.event(&id).await;
            assert_eq!(event["payload"]["n"], n);
            assert_eq!((&event["event"], &event["time"]), (&receipt["event"], &receipt["time"]));
            assert_eq!(receipt["subscriptions"], 1 - n % 2);
            if n % 2 == 0 {
                promised.insert((id.clone(), n));
            }
            ids.insert(id);
        }
    }
    assert_eq!(ids.len(), 40);
    let number = |received: &Received| received.json()["payload"]["n"].as_u64().unwrap();
    let arrived: BTreeSet<_> =
        receiver.take(20).await.iter().map(|received| (received.id(), number(received))).collect();
    assert_eq!(arrived, promised);
    for batch_of_one in [
        server.http.trigger_text(r#" [ {"event":"f","payload":1} ] "#).await,
        server.http.trigger_lines(r#"{"event":"f","payload":1}"#).await,
    ] {
        assert_eq!(batch_of_one.expect(202).as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_batch_has_ten_thousand_events_at_the_most() {
    let home = Home::new();
    let server = home.serve();
    let lines = |count: usize| (0..count).map(|n| format!("{{\"event\":\"e\",\"payload\":{n}}}\n")).collect::<String>();
    let before = home.stored();
    server.http.trigger_lines(lines(10_001)).await.expect_problem(422);
    let array = format!("[{}]", lines(10_001).trim_end().replace('\n', ","));
    server.http.trigger_text(array).await.expect_problem(422);
    home.assert_stores(&before);
    let receipts = server.http.trigger_lines(lines(10_000)).await.expect(202);
    assert_eq!(receipts.as_array().unwrap().len(), 10_000);
    for n in [0, 1, 9_999] {
        assert_eq!(server.http.event(receipts[n]["id"].as_str().unwrap()).await["payload"], n);
    }
}

#[tokio::test]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    let before = home.stored();
    let (good, deep) = (r#"{"event":"e","payload":1}"#, format!("{}{}", "[".repeat(200), "]".repeat(200)));
    for (bad, field) in [
        (r#"{"event":"e"}"#, Some("payload")),
        (r#"{"payload":1}"#, Some("event")),
        (r#"{"event":"a b","payload":1}"#, Some("event")),
        (r#"{"event":"e","payload":1,"paylaod":2}"#, Some("paylaod")),
        (r#"{"event":"e","payload":1,"payload":1}"#, Some("payload")),
        (r#"{"event":"e","payload":1,"deduplicate":"no"}"#, Some("deduplicate")),
        (r#"{"event":"e","payload":["\ud800"]}"#, Some("payload")),
        (&format!(r#"{{"event":"e","payload":{deep}}}"#), Some("payload")),
        ("7", None),
        ("null", None),
        ("\"e\"", None),
        ("[]", None),
        (&format!("[{good}]"), None),
    ] {
        for index in [0, 3, 5] {
            let mut events = vec![good; 5];
            events.insert(index, bad);
            for answer in [
                server.http.trigger_text(format!("[{}]", events.join(","))).await,
                server.http.trigger_lines(events.join("\n")).await,
            ] {
                let problem = answer.expect_problem(422);
                assert_eq!(problem["index"], index, "{bad}: {problem}");
                assert_eq!(problem.get("field").and_then(Value::as_str), field, "{bad}: {problem}");
            }
        }
    }
    home.assert_stores(&before);
    server.http.trigger("e", json!("good")).await;
    assert_eq!(receiver.next().await.json()["payload"], "good");
    assert_eq!(receiver.total(), 1);
}

#[tokio::test]
async fn an_empty_batch_is_a_mistake() {
    let server = Home::new().serve();
    for text in ["[]", " [ ] \n"] {
        server.http.trigger_text(text).await.expect_problem(422);
    }
    for lines in ["", "\n", " \r\n\n\t"] {
        server.http.trigger_lines(lines).await.expect_problem(422);
    }
}

#[tokio::test]
async fn a_line_that_is_not_json_is_named_by_its_index() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    for line in ["nonsense", "{", r#"{"event":"e","payload":1} {}"#, "\u{feff}{}", "{\"event\":\"e\","] {
        let answer = server.http.trigger_lines(format!("{{\"event\":\"e\",\"payload\":1}}\n{line}\n")).await;
        assert_eq!(answer.expect_problem(400)["index"], 1, "{line}");
    }
    home.assert_stores(&before);
}

#[tokio::test]
async fn an_event_that_reached_nobody_says_why() {
    let receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let lone = server.http.trigger("e", json!(1)).await;
    assert_eq!(lone["subscriptions"], 0);
    let (first, second) =
        (ada.subscribe("e", &receiver.url).await.id, ada.subscribe("e", &format!("{}/2", receiver.url)).await.id);
    let event = server.http.event(lone["id"].as_str().unwrap()).await;
    assert_eq!((&event["unreached"]["reason"], &event["deliveries"]), (&json!("no_subscription"), &json!([])));
    assert!(event["unreached"]["detail"].as_str().unwrap().contains("`e`"));
    let not_sent = event["not_sent"].as_array().unwrap();
    assert!(not_sent.iter().all(|one| one["reason"] == "subscribed_later"), "{event}");
    assert_eq!(not_sent.len(), 2);

    ada.set_active(&first, false).await;
    ada.set_active(&second, false).await;
    let receipt = server.http.trigger("e", json!(2)).await;
    let id = receipt["id"].as_str().unwrap();
    let event = server.http.event(id).await;
    assert_eq!(event["unreached"]["reason"], "inactive");
    assert_eq!(event["deliveries"].as_array().unwrap().len(), 2);
    ada.set_active(&second, true).await;
    let state = |event: &Value, subscription: &str| {
        let deliveries = event["deliveries"].as_array().unwrap();
        deliveries.iter().find(|delivery| delivery["subscription_id"] == subscription).unwrap()["state"].clone()
    };
    let reached = |event: &Value| state(event, &second) == "delivered";
    let event = eventually("the second delivery", async || Some(server.http.event(id).await).filter(reached)).await;
    assert_eq!((&event["unreached"], state(&event, &first)), (&Value::Null, json!("waiting")));
    assert_eq!(receiver.total(), 1);
}

#[tokio::test]
async fn each_delivery_that_has_not_arrived_says_why() {
    let mut receiver = Receiver::start().await;
    receiver.judge(|request| if request.uri.path() == "/refuses" { 500 } else { 200 });
    let home = Home::new().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "2");
    let server = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h").serve();
    let ada = server.http.account("ada").await;
    let refuses = format!("{}/refuses", receiver.url);
    let (good, bad) = (ada.subscribe("e", &receiver.url).await.id, ada.subscribe("e", &refuses).await.id);
    let filter = json!({"filter": "$.payload[?@.kind == 'wanted']"});
    let choosy = ada.subscribe_with("e", &format!("{}/choosy?token=secret", receiver.url), filter).await.id;
    let inactive = ada.subscribe("e", &format!("{}/inactive", receiver.url)).await.id;
    ada.set_active(&inactive, false).await;

    let why = |event: &Value, subscription: &str| {
        let deliveries = event["deliveries"].as_array().unwrap();
        deliveries.iter().find(|delivery| delivery["subscription_id"] == subscription).unwrap()["why"].clone()
    };
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(server.http.trigger("e", json!([n])).await["id"].as_str().unwrap().to_owned());
        receiver.take(if n < 2 { 2 } else { 1 }).await;
        // The next failure is to count by itself.
        ada.subscription_when(&bad, "the failure", |bad| bad["failure_count"] == (n + 1).min(2)).await;
        if n == 0 {
            let why = why(&server.http.event(&ids[0]).await, &bad);
            assert_eq!(why["reason"], "retrying");
            assert!(why["detail"].as_str().unwrap().contains("status 500") && why["until"].is_string(), "{why}");
        }
    }
    let settled = |event: &Value| why(event, &good).is_null();
    let event = eventually("the good one's", async || Some(server.http.event(&ids[2]).await).filter(settled)).await;
    assert_eq!(why(&event, &inactive)["reason"], "inactive");
    assert_eq!(why(&event, &bad)["reason"], "failing");
    let probe_at = ada.subscription(&bad).await["probe_at"].clone();
    assert_eq!(why(&event, &bad)["until"], probe_at);
    let not_sent = &event["not_sent"];
    assert_eq!((&not_sent[0]["subscription_id"], &not_sent[0]["reason"]), (&json!(choosy), &json!("filtered_out")));
    assert_eq!(not_sent.as_array().unwrap().len(), 1);
    assert!(!event.to_string().contains("secret"), "{event}");
}
