//! The registration and the trigger token when nobody has configured them; that no token gets into the log; the lines to
//! paste.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use serde_json::json;

use crate::support::{
    command::finish,
    http::Http,
    receiver::Receiver,
    server::{Home, REGISTRATION_TOKEN, TRIGGER_TOKEN},
};

/// Both tokens as a file has them: for registering and for triggering.
fn read(file: &PathBuf) -> (String, String) {
    let table: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
    let token = |key: &str| table[key].as_str().unwrap().to_owned();
    (token("registration_token"), token("trigger_token"))
}

fn file(home: &Home) -> PathBuf {
    home.path().join("data/hookcast.db.tokens.toml")
}

/// The status of an attempt to register an account.
async fn register(http: &Http, token: &str, user_id: &str) -> u16 {
    let body = json!({"user_id": user_id});
    http.post("/webhooks/account").bearer(token).json(&body).send().await.status.as_u16()
}

/// The status of an attempt to trigger an event.
async fn trigger(http: &Http, token: &str) -> u16 {
    let body = json!({"event": "relation_added", "payload": {}});
    http.post("/webhooks/trigger").bearer(token).json(&body).send().await.status.as_u16()
}

#[tokio::test]
async fn tokens_that_nobody_configured_are_made_once_and_kept() {
    let home = Home::new().unset("WEBHOOK_REGISTRATION_TOKEN").unset("WEBHOOK_TRIGGER_TOKEN");
    let (mut server, http) = home.serve_with(&[]);
    server.stderr.with("tokens that are not configured were made by Hookcast and are in data/hookcast.db.tokens.toml");
    assert_eq!(fs::metadata(file(&home)).unwrap().permissions().mode() & 0o777, 0o600);
    let (registration, trigger_token) = read(&file(&home));
    assert_ne!(registration, trigger_token);
    assert_eq!(register(&http, &registration, "ada").await, 201);
    assert_eq!(register(&http, &trigger_token, "bob").await, 403);
    assert_eq!(trigger(&http, &trigger_token).await, 202);
    assert_eq!(trigger(&http, &registration).await, 403);
    assert_eq!(server.stop(), Some(0));

    let written = fs::read_to_string(file(&home)).unwrap();
    let server = home.serve();
    assert_eq!(register(&server.http, &registration, "bob").await, 201);
    assert_eq!(trigger(&server.http, &trigger_token).await, 202);
    assert_eq!(fs::read_to_string(file(&home)).unwrap(), written);
    let log = server.log();
    assert!(!log.contains(&registration) && !log.contains(&trigger_token), "{log}");
}

#[tokio::test]
async fn a_token_that_is_configured_takes_the_place_of_the_one_that_was_made() {
    let home = Home::new().unset("WEBHOOK_TRIGGER_TOKEN");
    let server = home.serve();
    let (registration, trigger_token) = read(&file(&home));
    assert_eq!(register(&server.http, REGISTRATION_TOKEN, "ada").await, 201);
    assert_eq!(register(&server.http, &registration, "bob").await, 401);
    assert_eq!(trigger(&server.http, &trigger_token).await, 202);
    drop(server);

    let home = home.unset("WEBHOOK_REGISTRATION_TOKEN").set("WEBHOOK_TRIGGER_TOKEN", TRIGGER_TOKEN);
    let server = home.serve();
    assert_eq!(register(&server.http, &registration, "bob").await, 201);
    assert_eq!(register(&server.http, REGISTRATION_TOKEN, "eve").await, 401);
    assert_eq!(trigger(&server.http, TRIGGER_TOKEN).await, 202);
    assert_eq!(trigger(&server.http, &trigger_token).await, 401);
}

#[test]
fn nothing_is_made_where_both_tokens_are_configured() {
    let home = Home::new();
    let server = home.serve();
    assert!(!file(&home).exists());
    assert!(!server.log().contains("tokens"), "{}", server.log());
}

#[test]
fn hookcast_trigger_finds_the_token_that_the_server_has_made() {
    let home = Home::new().unset("WEBHOOK_TRIGGER_TOKEN");
    let arguments = ["trigger", "relation_added", "{}", "--server"];
    let complaint = home.refusal(&[&arguments[..], &["http://127.0.0.1:3"]].concat());
    assert!(complaint.contains("data/hookcast.db.tokens.toml is not there: start the server first"), "{complaint}");
    let server = home.serve();
    home.expect(&[&arguments[..], &[&format!("http://{}", server.address)]].concat());
}

#[test]
fn a_damaged_file_of_tokens_is_named_and_not_shown() {
    let home = Home::new().unset("WEBHOOK_TRIGGER_TOKEN");
    drop(home.serve());
    for (text, reason) in [
        ("registration_token = 'hunter2'\ntrigger_token = hunter2", "is no TOML"),
        ("registration_token = 'hunter2'", "has no `trigger_token`"),
    ] {
        fs::write(file(&home), text).unwrap();
        for command in [&["serve"][..], &["trigger", "relation_added", "--server", "http://127.0.0.1:3"]] {
            let complaint = home.refusal(command);
            assert!(complaint.contains(&format!("data/hookcast.db.tokens.toml {reason}")), "{complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }
}

#[tokio::test]
async fn no_token_and_no_secret_gets_into_the_log() {
    let mut receiver = Receiver::start().await;
    for format in ["text", "json"] {
        let home = Home::new().set("HOOKCAST_LOG_LEVEL", "trace").set("HOOKCAST_LOG_FORMAT", format);
        let server = home.serve();
        let ada = server.http.account("ada").await;
        let url = format!("{}/?token=in-the-query", receiver.url);
        let subscription = ada.subscribe("relation_added", &url).await;
        let receipt = server.http.trigger("relation_added", json!({"in": "the payload"})).await;
        receiver.next().await.verify(&subscription.secret).unwrap();
        server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
        assert_eq!(register(&server.http, "a-wrong-token", "bob").await, 401);
        receiver.always(500);
        server.http.trigger("relation_added", json!({})).await;
        receiver.next().await;
        ada.subscription_when(&subscription.id, "a failure", |now| now["failure_count"] != 0).await;
        receiver.always(200);

        let log = server.log();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "that is not all there is to log:\n{log}");
        let secret = subscription.secret.trim_start_matches("whsec_");
        let hidden = [REGISTRATION_TOKEN, TRIGGER_TOKEN, &ada.token, secret, "a-wrong-token", "in-the-query"];
        for hidden in hidden {
            assert!(!log.contains(hidden), "{hidden} is in the log:\n{log}");
        }
        drop(server);
        receiver.unseen();
    }
}

#[tokio::test]
async fn the_hints_work_when_they_are_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let mut receiver = Receiver::start().await;
    // A token may hold whatever a shell finds interesting.
    let home = Home::new().set("WEBHOOK_TRIGGER_TOKEN", "it's;`$(false)`\"&\\");
    let (server, _) = home.serve_with(&["--hints"]);
    let account = paste(&server.stdout.with("/webhooks/account"));
    let token = account["access_token"].as_str().unwrap();

    let line = server.stdout.with("/webhooks/subscribe");
    assert!(line.contains("http://127.0.0.1:8000/"), "{line}");
    let subscription = paste(&line.replace("ACCESS_TOKEN", token).replace("http://127.0.0.1:8000/", &receiver.url));
    let secret = subscription["secret"].as_str().unwrap();

    let listen =
        server.stdout.with("hookcast listen").replace("--port 8000", "--port 0").replace("WHSEC_SECRET", secret);
    let arguments: Vec<&str> = listen.split_whitespace().skip(1).collect();
    home.start(&arguments).stdout.with("http://127.0.0.1:");

    let receipt = paste(&server.stdout.with("/webhooks/trigger"));
    let received = receiver.next().await;
    received.verify(secret).unwrap();
    assert_eq!(received.id(), receipt["id"]);
    assert_eq!(received.json()["payload"], json!({"hello": "world"}));
}

/// Runs a line in a shell; its answer.
fn paste(line: &str) -> serde_json::Value {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    finish(&mut shell, "").expect(0).json()
}

#[test]
fn the_hints_show_no_token_where_none_is_wanted_and_say_what_else_is() {
    let home = Home::new().set("HOOKCAST_REGISTRATION_MODE", "open");
    let (server, _) = home.serve_with(&["--hints"]);
    assert!(!server.stdout.with("/webhooks/account").contains("authorization"));
    let home = Home::new().unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS");
    let (server, _) = home.serve_with(&["--hints"]);
    server.stdout.with("started with HOOKCAST_DELIVERY_ALLOW_NETWORKS=127.0.0.0/8 it does");
}
