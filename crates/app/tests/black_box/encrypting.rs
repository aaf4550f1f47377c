//! Secrets in the store: encrypted under a key that the store does not have, and of use only with it.

use std::process::Command;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    receiver::Receiver,
    server::Home,
    tls::Authority,
    traces,
    wishes::{EVENT, change, rotate, subscribe, text},
    world::Account,
};

pub const KEYS: &str = "HOOKCAST_ENCRYPTION_MASTER_KEYS";
const TOKEN: &str = "the-token-that-the-callback-wants";

/// A new key, from the command that makes them.
pub fn new_key(home: &Home) -> String {
    let key = home.expect(&["store", "new-key"]).trim_end().to_owned();
    assert!(key.starts_with("hcmk_") && key.len() == 49, "{key}");
    key
}

/// A home with a key, and the key.
pub fn encrypted() -> (Home, String) {
    let home = Home::new();
    let key = new_key(&home);
    (home.set(KEYS, &key), key)
}

/// Forms of these secrets that are in the database's files.
pub fn in_the_files(home: &Home, secrets: &[String]) -> Vec<String> {
    let bytes = traces::files(&home.path().join("data"));
    secrets.iter().flat_map(|secret| traces::found(&bytes, secret)).collect()
}

/// Makes a subscription with every kind of secret; all that nobody should find.
async fn leave_secrets(ada: &Account, receiver: &Receiver) -> Vec<String> {
    let identity = Authority::new().identity("hookcast");
    let mut secrets = vec![TOKEN.to_owned()];
    for (n, auth) in [
        json!({"type": "bearer", "token": TOKEN}),
        json!({"type": "basic", "username": "ada", "password": "the-password-of-basic"}),
        json!({"type": "header", "name": "x-key", "value": "the-key-in-a-header"}),
        json!({"type": "oauth2", "token_url": receiver.url, "client_id": "ada", "client_secret": "the-secret-of-oauth"}),
    ]
    .into_iter()
    .enumerate()
    {
        let url = format!("{}/secret/{n}", receiver.url.replace("http://", "https://"));
        let tls = json!({"certificate": identity.certificate, "private_key": identity.private_key});
        let view = subscribe(ada, &url, json!({"auth": auth, "tls": tls})).await.expect(201);
        let id = text(&view, "id");
        secrets.push(text(&view, "secret"));
        secrets.push(text(&change(ada, &id, json!({"signature": "ed25519"})).await.expect(200), "secret"));
        secrets.push(text(&rotate(ada, &id, json!({})).await.expect(200), "secret"));
        change(ada, &id, json!({"is_active": false})).await.expect(200);
    }
    secrets.extend(["the-password-of-basic", "the-key-in-a-header", "the-secret-of-oauth"].map(str::to_owned));
    let key = identity.private_key.lines().nth(1).unwrap();
    secrets.push(key.to_owned());
    secrets
}

#[tokio::test]
async fn a_database_without_its_key_says_nothing_of_secrets() {
    let receiver = Receiver::start().await;
    for (home, is_encrypted) in [(Home::new(), false), (encrypted().0, true)] {
        let server = home.serve();
        let ada = server.http.account("ada").await;
        let secrets = leave_secrets(&ada, &receiver).await;
        drop(server);
        for secret in &secrets {
            let found = in_the_files(&home, std::slice::from_ref(secret));
            assert_eq!(found.is_empty(), is_encrypted, "{secret}: {found:?}");
        }
    }
}

#[tokio::test]
async fn deliveries_verify_after_a_restart_with_the_same_key() {
    let mut receiver = Receiver::start().await;
    let (home, _) = encrypted();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let auth = json!({"type": "bearer", "token": TOKEN});
    let view = subscribe(&ada, &receiver.url, json!({"auth": auth})).await.expect(201);
    assert!(server.stop().success());
    let server = home.serve();
    server.http.trigger(EVENT, json!({})).await;
    let received = receiver.next().await;
    received.verify(&text(&view, "secret")).unwrap();
    assert_eq!(received.header("authorization"), format!("Bearer {TOKEN}"));
}

/// The API tells the owner that nothing can be done before the operator has done something, and changes nothing.
async fn assert_out_of_reach(ada: &Account, id: &str, advice: &str) {
    let path = format!("/webhooks/subscriptions/{id}");
    let rotating = format!("{path}/rotate-secret");
    for (method, path, body) in [
        (Method::PATCH, path.as_str(), json!({"is_active": false})),
        (Method::PATCH, &path, json!({"timeout": "1s"})),
        (Method::POST, &rotating, json!({})),
    ] {
        let problem = ada.request(method.clone(), path).json(&body).send().await.expect_problem(503);
        assert!(text(&problem, "detail").contains(advice), "{method} {path}: {problem}");
    }
    // What is no secret is shown, and what cannot be told is not made out to be nothing.
    let view = ada.get(&path).await;
    assert!(text(&view, "secrets_unreadable").contains(advice), "{view}");
    assert_eq!((&view["state"], &view["event"]), (&json!("active"), &json!(EVENT)));
    for unknown in ["signature", "public_key", "earlier_secrets", "auth", "tls", "secret"] {
        assert!(view.get(unknown).is_none(), "{view}");
    }
    let list = ada.get("/webhooks/subscriptions").await;
    assert_eq!(list["data"], json!([view]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_key_everything_waits_for_it() {
    let (mut receiver, mut well) = (Receiver::start().await, Receiver::start().await);
    let (home, key) = encrypted();
    // One attempt is all that there is: what was tried in vain would be lost.
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let view = subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    let (id, secret) = (text(&view, "id"), text(&view, "secret"));
    drop(server);

    let other = new_key(&home);
    let mut home = home;
    let mut events = Vec::new();
    for (keys, advice) in [("", "no master key is configured"), (&other, "configure that one as an earlier key")] {
        home = home.set(KEYS, keys);
        let server = home.serve();
        let ada = ada.at(&server.http);
        assert_out_of_reach(&ada, &id, advice).await;
        // What is new has nothing to do with it, and is not held up.
        let view = subscribe(&ada, &well.url, json!({})).await.expect(201);
        let event = text(&server.http.trigger(EVENT, json!({})).await, "id");
        well.next().await.verify(&text(&view, "secret")).unwrap();
        let list = ada.get("/webhooks/subscriptions").await;
        let can_be_read = |place: usize| list["data"][place].get("secrets_unreadable").is_none();
        assert_eq!((can_be_read(0), can_be_read(1), &list["data"][1]["auth"]), (false, true, &Value::Null), "{list}");
        ada.request(Method::DELETE, &format!("/webhooks/subscriptions/{}", text(&view, "id"))).send().await.expect(204);
        let (code, said) = home.resend(&["--all", "--failed", "--subscription", &id]);
        assert_eq!((code, &said["attempted"]), (0, &json!(0)), "{said}");
        let told = server.log();
        assert!(told.contains(advice) && told.contains(&id), "{told}");
        assert!(server.stop().success());
        events.push(event);
    }
    assert_eq!(receiver.total(), 0);

    let home = home.set(KEYS, &format!("{other},{key}"));
    let server = home.serve();
    for received in receiver.take(2).await {
        received.verify(&secret).unwrap();
        assert!(events.contains(&received.id()));
    }
    let ada = ada.at(&server.http);
    let seen = ada.subscription_when(&id, "nothing waits", |view| view["waiting"] == 0).await;
    assert_eq!((&seen["is_active"], &seen["failure_count"]), (&json!(true), &json!(0)));
    for event in events {
        let event = server.http.event_in_state(&event, "delivered").await;
        let deliveries = event["deliveries"].as_array().unwrap();
        assert!(deliveries.iter().all(|delivery| delivery["attempts"].as_array().unwrap().len() == 1), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_key_holds_up_nobody_else() {
    let mut receiver = Receiver::start().await;
    let (home, _) = encrypted();
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1ms,1ms");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    // More than one look of the dispatcher brings.
    for n in 0..300 {
        subscribe(&ada, &format!("{}/{n}", receiver.url), json!({})).await.expect(201);
    }
    assert!(server.stop().success());

    let server = home.set(KEYS, "").serve();
    let ada = ada.at(&server.http);
    server.http.trigger(EVENT, json!({})).await;
    ada.subscribe("plain", &receiver.url).await;
    // Its second attempt comes from the store, where what waits for the key has waited longer.
    receiver.next_replies([500_u16]);
    let receipt = server.http.trigger("plain", json!({})).await;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.json()["event"], "plain");
    }
    server.http.event_in_state(&text(&receipt, "id"), "delivered").await;
}

#[tokio::test]
async fn a_key_is_never_shown() {
    let receiver = Receiver::start().await;
    let (home, key) = encrypted();
    let home = home.set("HOOKCAST_LOG_LEVEL", "trace");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    let checked = home.expect(&["check-config"]);
    let rekeyed = home.hookcast(&["store", "rekey"]);
    let nearly = key.replace('=', "");
    let refused = home.refusal(&["check-config", "--set", &format!("encryption.master_keys={nearly}")]);
    let bare = nearly.strip_prefix("hcmk_").unwrap();
    for shown in [server.log(), checked, rekeyed.stdout, rekeyed.stderr, refused] {
        assert!(!shown.contains(bare), "{shown}");
    }
}

#[test]
fn every_new_key_is_another() {
    let home = Home::new();
    assert_ne!(new_key(&home), new_key(&home));
    assert!(!home.path().join("data").exists(), "making a key touches no store");
    let ended = Command::new(env!("CARGO_BIN_EXE_hookcast")).args(["store", "new-key", "surplus"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
}
