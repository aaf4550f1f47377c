//! `hookcast listen`: a receiver for whoever develops one.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{
    command::Running,
    http::Http,
    loopback_address,
    receiver::{Receiver, Reply},
    server::{Home, Server},
    world::{Account, Subscription},
};

const WRONG_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Starts to listen and waits until it does.
fn listen(home: &Home, place: SocketAddr, arguments: &[&str]) -> Running {
    let running = home.start(&[&["listen", "--listen", &place.to_string()], arguments].concat());
    let introduction = if arguments.contains(&"--json") { &running.stderr } else { &running.stdout };
    introduction.with(&format!("Subscribe with the URL http://{place}/"));
    running
}

async fn subscribe(ada: &Account, place: SocketAddr) -> Subscription {
    ada.subscribe("relation_added", &format!("http://{place}/hook?x=1")).await
}

/// Triggers an event; its id.
async fn trigger(server: &Server) -> String {
    let receipt = server.http.trigger("relation_added", json!({"n": 1.50})).await;
    receipt["id"].as_str().unwrap().to_owned()
}

/// How each attempt of the event's only delivery was answered.
fn statuses(event: &Value) -> Vec<&Value> {
    event["deliveries"][0]["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["status"]).collect()
}

#[tokio::test]
async fn signatures_are_verified_with_the_right_secret_and_with_no_other() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    for (verified, verdict) in
        [(json!(true), "verified"), (json!(false), "wrong_signature"), (Value::Null, "no_secret")]
    {
        let place = loopback_address();
        let secret = subscribe(&ada, place).await.secret;
        let secrets = match verdict {
            "verified" => vec!["--secret", WRONG_SECRET, "--secret", &secret],
            "wrong_signature" => vec!["--secret", WRONG_SECRET],
            _ => vec![],
        };
        let mut listener = listen(&home, place, &[&secrets[..], &["--json", "--count", "1"]].concat());
        let id = trigger(&server).await;
        assert_eq!(listener.end(), Some(0));
        let lines = listener.stdout.rest();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["verified"], &record["verdict"]), (&verified, &json!(verdict)));
        assert_eq!((&record["id"], &record["event"]), (&json!(id), &json!("relation_added")));
        assert_eq!((&record["method"], &record["path"]), (&json!("POST"), &json!("/hook?x=1")));
        assert_eq!((&record["status"], &record["headers"]["webhook-id"]), (&json!(200), &json!(id)));
        assert!(line.contains(r#""payload":{"n":1.5"#), "{line}");
    }
}

#[tokio::test]
async fn a_public_key_suffices_where_a_private_one_signs() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let place = loopback_address();
    let wish = json!({"event": "relation_added", "url": format!("http://{place}/"), "signature": "ed25519"});
    let subscription = server.http.post("/webhooks/subscribe").bearer(&ada.token).json(&wish).send().await.expect(201);
    let key = subscription["public_key"].as_str().unwrap();
    assert!(key.starts_with("whpk_"), "{key}");
    let mut listener = listen(&home, place, &["--secret", key, "--quiet", "--count", "1"]);
    trigger(&server).await;
    assert_eq!(listener.end(), Some(0));
    let lines = listener.stdout.rest();
    assert!(lines.iter().any(|line| line.contains("verified ✓  → 200")), "{lines:?}");
}

#[tokio::test]
async fn secrets_may_come_from_a_file() {
    let home = Home::new();
    let server = home.serve();
    let place = loopback_address();
    let secret = subscribe(&server.http.account("ada").await, place).await.secret;
    home.write("secrets", &format!("{WRONG_SECRET}\n\n  {secret}\n"));
    let listener = listen(&home, place, &["--secret-file", "secrets", "--quiet"]);
    trigger(&server).await;
    listener.stdout.with("verified ✓  → 200");
}

#[tokio::test]
async fn deliveries_are_printed_for_people_and_counted_in_the_end() {
    let home = Home::new();
    let server = home.serve();
    let place = loopback_address();
    let secret = subscribe(&server.http.account("ada").await, place).await.secret;
    let mut listener = listen(&home, place, &["--secret", &secret]);
    let id = trigger(&server).await;
    let line = listener.stdout.with(&id);
    assert!(line.ends_with(&format!("POST /hook  relation_added  {id}  verified ✓  → 200")), "{line}");
    listener.stdout.with("\"n\": 1.5");
    server.http.event_in_state(&id, "delivered").await;
    assert_eq!(listener.stop(), Some(0));
    assert_eq!(listener.stdout.rest().last().unwrap(), "1 delivery, 1 verified");
}

#[tokio::test]
async fn the_first_deliveries_fail_as_they_are_told_to() {
    for (arguments, statuses_expected) in
        [(&["--fail", "2"][..], vec![500, 500, 200]), (&["--fail", "1", "--status", "503"], vec![503, 200])]
    {
        let home = Home::new();
        let server = home.serve();
        let place = loopback_address();
        subscribe(&server.http.account("ada").await, place).await;
        let listener = listen(&home, place, &[&["--quiet"], arguments].concat());
        let id = trigger(&server).await;
        let event = server.http.event_in_state(&id, "delivered").await;
        assert_eq!(json!(statuses(&event)), json!(statuses_expected));
        listener.stdout.with(&format!("→ {}", statuses_expected[0]));
        listener.stdout.with("(again: 2nd time)");
    }
}

#[tokio::test]
async fn every_delivery_can_be_answered_with_one_status() {
    let home = Home::new().set("HOOKCAST_DELIVERY_SUCCESS", "2xx");
    let server = home.serve();
    let place = loopback_address();
    subscribe(&server.http.account("ada").await, place).await;
    let mut listener = listen(&home, place, &["--status", "204", "--json", "--count", "2"]);
    for _ in 0..2 {
        let event = server.http.event_in_state(&trigger(&server).await, "delivered").await;
        assert_eq!(statuses(&event), [204]);
    }
    assert_eq!(listener.end(), Some(0));
    assert_eq!(listener.stdout.rest().len(), 2);
}

#[tokio::test]
async fn a_delayed_answer_comes_too_late_for_the_server() {
    let home = Home::new().set("HOOKCAST_DELIVERY_TIMEOUT", "500ms").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    let place = loopback_address();
    subscribe(&server.http.account("ada").await, place).await;
    let mut listener = listen(&home, place, &["--delay", "600000"]);
    let event = server.http.event_in_state(&trigger(&server).await, "failed").await;
    assert_eq!(event["deliveries"][0]["attempts"][0]["failure"], "timeout");
    assert_eq!(listener.stop(), Some(0));
}

#[tokio::test]
async fn deliveries_are_passed_on_as_they_are_and_so_are_the_answers() {
    let mut program = Receiver::start().await;
    let teapot = Reply { status: 418, headers: vec![("x-reason", "short and stout".into())], body: "no coffee".into() };
    program.next_replies([teapot.clone()]);
    let home = Home::new();
    let server = home.serve();
    let place = loopback_address();
    let secret = subscribe(&server.http.account("ada").await, place).await.secret;
    let listener = listen(&home, place, &["--forward", &format!("{}/below/", program.url), "--secret", &secret]);
    let id = trigger(&server).await;
    for attempt in [418, 200] {
        let received = program.next().await;
        assert_eq!((received.method.as_str(), received.uri.to_string()), ("POST", "/below/hook?x=1".to_owned()));
        received.verify(&secret).unwrap();
        assert_eq!(received.id(), id);
        assert_eq!(format!("http://{}", received.header("host")), program.url);
        assert!(received.header("user-agent").starts_with("Hookcast/"));
        listener.stdout.with(&format!("verified ✓  → {attempt}"));
    }
    let event = server.http.event_in_state(&id, "delivered").await;
    assert_eq!(statuses(&event), [418, 200]);
    assert_eq!(event["deliveries"][0]["attempts"][0]["answer"], "no coffee");

    program.next_replies([teapot]);
    let by_hand = Http::new(format!("http://{place}")).post("/by-hand").body("text/plain", "not JSON").send().await;
    assert_eq!((by_hand.status.as_u16(), by_hand.header("x-reason")), (418, "short and stout"));
    assert_eq!(by_hand.body, "no coffee");
    let received = program.next().await;
    assert_eq!((received.uri.path(), &*received.body), ("/below/by-hand", &b"not JSON"[..]));
    let line = listener.stdout.with("POST /by-hand");
    assert!(line.ends_with("NOT SIGNED  → 418"), "{line}");
    listener.stdout.with("    not JSON");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_bad_gateway() {
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    let (place, nobody) = (loopback_address(), loopback_address());
    subscribe(&server.http.account("ada").await, place).await;
    let listener = listen(&home, place, &["--forward", &format!("http://{nobody}")]);
    let event = server.http.event_in_state(&trigger(&server).await, "failed").await;
    assert_eq!(statuses(&event), [502]);
    let line = listener.stdout.with("→ 502");
    assert!(line.contains(&format!("(no answer from http://{nobody}: no connection to {nobody}")), "{line}");
}

#[test]
fn what_cannot_be_listened_with_is_refused() {
    let home = Home::new();
    let place = loopback_address();
    let _listener = listen(&home, place, &[]);
    home.write("empty", "\n");
    home.write("bad", &format!("{WRONG_SECRET}\nwhsec_hunter2\n"));
    for (arguments, complaint) in [
        (&["--listen", &*place.to_string()][..], format!("hookcast: cannot listen on {place}: Address already in use")),
        (&["--secret-file", "missing"], "hookcast: cannot read missing: No such file".into()),
        (&["--secret-file", "empty"], "hookcast: empty holds no secret".into()),
        (&["--secret-file", "bad"], "hookcast: bad, line 2: a signing secret is `whsec_` followed by".into()),
        (
            &["--forward", "http://127.0.0.1:3", "--status", "503"],
            "hookcast: --status with --forward needs --fail".into(),
        ),
    ] {
        let told = home.refusal(&[&["listen"], arguments].concat());
        assert!(told.starts_with(&complaint) && !told.contains("hunter2"), "{told}");
    }
}
