//! Secrets in the store: encrypted under a key that the store does not have, and of use only with it.

use std::process::Command;

use serde_json::json;

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
        let url = format!("{}/secret/{n}", receiver.url);
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
