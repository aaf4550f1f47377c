//! `hookcast store rekey`: all secrets come under the first key, whatever they were under.

use serde_json::{Value, json};

use crate::{
    encrypting::{KEYS, encrypted, in_the_files, new_key},
    support::{
        database::Kind,
        receiver::Receiver,
        server::Home,
        wishes::{EVENT, change, subscribe, text},
        world::Account,
    },
};

/// A home on each kind of store.
async fn on_every_store() -> [Home; 3] {
    [Home::new(), Home::on(&Kind::Postgres.shared().await), Home::on(&Kind::Redis.shared().await)]
}

/// Runs the command; its exit code, and what it says.
fn rekey(home: &Home) -> (i32, Value) {
    let ended = home.hookcast(&["store", "rekey", "--json"]);
    let said = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
    (ended.code.unwrap(), said)
}

#[track_caller]
fn assert_rekeyed(said: &(i32, Value), code: i32, counts: [u64; 3]) {
    let (ended, said) = said;
    let told = ["rekeyed", "unchanged", "unreadable"].map(|member| said[member].as_u64().unwrap());
    assert_eq!((*ended, told), (code, counts), "{said}");
}

/// Makes so many subscriptions at one receiver, each at a path of its own; their secrets by the path.
async fn subscribe_many(ada: &Account, receiver: &Receiver, prefix: &str, count: usize) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    for n in 0..count {
        let path = format!("/{prefix}/{n}");
        let auth = json!({"type": "bearer", "token": format!("token-of-{prefix}-{n}")});
        let view = subscribe(ada, &format!("{}{path}", receiver.url), json!({"auth": auth})).await.expect(201);
        secrets.push((path, text(&view, "secret")));
    }
    secrets
}

/// Triggers an event and makes sure that each gets it, signed and authenticated as before.
async fn assert_delivers(ada: &Account, receiver: &mut Receiver, secrets: &[(String, String)]) {
    let receipt = ada.http.trigger(EVENT, json!({})).await;
    for received in receiver.take(secrets.len()).await {
        let (path, secret) = secrets.iter().find(|(path, _)| path == received.uri.path()).unwrap();
        received.verify(secret).unwrap();
        let token = format!("Bearer token-of-{}", path[1..].replace('/', "-"));
        assert_eq!(received.header("authorization"), token);
    }
    // What is not recorded when a server dies is sent again.
    ada.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    assert!(receiver.unseen().is_empty());
}

#[tokio::test]
async fn what_was_plain_is_encrypted_beside_a_server() {
    for home in on_every_store().await {
        what_was_plain_is_encrypted_beside_a_server_on(home).await;
    }
}

async fn what_was_plain_is_encrypted_beside_a_server_on(home: Home) {
    let mut receiver = Receiver::start().await;
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut secrets = subscribe_many(&ada, &receiver, "plain", 5).await;
    assert!(server.stop().success());

    let key = new_key(&home);
    let home = home.set(KEYS, &key);
    let server = home.serve();
    let ada = ada.at(&server.http);
    secrets.extend(subscribe_many(&ada, &receiver, "sealed", 2).await);
    assert_rekeyed(&rekey(&home), 0, [5, 2, 0]);
    assert_rekeyed(&rekey(&home), 0, [0, 7, 0]);
    assert_delivers(&ada, &mut receiver, &secrets).await;
    drop(server);
    let rows = if home.database().exists() { home.stored() } else { Vec::new() };
    for (_, secret) in &secrets {
        let bare = secret.trim_start_matches("whsec_");
        let bytes: Vec<_> = bare.bytes().map(|byte| byte.to_string()).collect();
        assert!(!rows.iter().any(|row| row.contains(bare) || row.contains(&bytes.join(", "))));
    }

    // Without the key they are out of reach, and with it they are as before.
    let home = home.set(KEYS, "");
    let server = home.serve();
    let list = ada.at(&server.http).get("/webhooks/subscriptions").await;
    let views = list["data"].as_array().unwrap();
    assert_eq!(views.iter().filter(|view| view.get("secrets_unreadable").is_some()).count(), 7);
    drop(server);
    let home = home.set(KEYS, &key);
    let server = home.serve();
    assert_delivers(&ada.at(&server.http), &mut receiver, &secrets).await;
}

#[tokio::test]
async fn keys_change_over_without_a_pause() {
    for home in on_every_store().await {
        keys_change_over_without_a_pause_on(home).await;
    }
}

async fn keys_change_over_without_a_pause_on(home: Home) {
    let mut receiver = Receiver::start().await;
    let old = new_key(&home);
    let home = home.set(KEYS, &old);
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut secrets = subscribe_many(&ada, &receiver, "old", 3).await;
    drop(server);

    let new = new_key(&home);
    let home = home.set(KEYS, &format!("{new},{old}"));
    let server = home.serve();
    let ada = ada.at(&server.http);
    assert_delivers(&ada, &mut receiver, &secrets).await;
    // What is changed goes over to the new key by itself.
    let list = ada.get("/webhooks/subscriptions").await;
    change(&ada, &text(&list["data"][0], "id"), json!({"timeout": "900ms"})).await.expect(200);
    secrets.extend(subscribe_many(&ada, &receiver, "new", 1).await);
    assert_rekeyed(&rekey(&home), 0, [2, 2, 0]);
    assert_delivers(&ada, &mut receiver, &secrets).await;
    drop(server);

    let home = home.set(KEYS, &new);
    let server = home.serve();
    assert_delivers(&ada.at(&server.http), &mut receiver, &secrets).await;
    drop(server);
    // The files of the other stores belong to their servers.
    if home.database().exists() {
        let bare: Vec<_> = secrets.into_iter().map(|(_, secret)| secret).collect();
        assert_eq!(in_the_files(&home, &bare), [""; 0]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_left_alone() {
    for home in on_every_store().await {
        what_cannot_be_read_is_told_and_left_alone_on(home).await;
    }
}

async fn what_cannot_be_read_is_told_and_left_alone_on(home: Home) {
    let mut receiver = Receiver::start().await;
    let lost = new_key(&home);
    let home = home.set(KEYS, &lost);
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut secrets = subscribe_many(&ada, &receiver, "lost", 1).await;
    let id = text(&ada.get("/webhooks/subscriptions").await["data"][0], "id");
    drop(server);
    let middle = new_key(&home);
    let home = home.set(KEYS, &middle);
    let server = home.serve();
    secrets.extend(subscribe_many(&ada.at(&server.http), &receiver, "middle", 2).await);
    drop(server);

    let last = new_key(&home);
    let home = home.set(KEYS, &format!("{last},{middle}"));
    let ended = home.hookcast(&["store", "rekey"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("2 subscriptions are now encrypted"), "{}", ended.stdout);
    assert!(ended.stdout.contains("1 cannot be read"), "{}", ended.stdout);
    assert!(ended.stderr.contains(&id) && ended.stderr.contains("configure that one"), "{}", ended.stderr);

    let home = home.set(KEYS, &format!("{last},{lost}"));
    assert_rekeyed(&rekey(&home), 0, [1, 2, 0]);
    let home = home.set(KEYS, &last);
    let server = home.serve();
    assert_delivers(&ada.at(&server.http), &mut receiver, &secrets).await;
}

#[tokio::test]
async fn changes_made_meanwhile_are_kept() {
    const COUNT: usize = 40;
    let receiver = Receiver::start().await;
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    subscribe_many(&ada, &receiver, "busy", COUNT).await;
    assert!(server.stop().success());

    let key = new_key(&home);
    let home = home.set(KEYS, &key);
    let server = home.serve();
    let ada = ada.at(&server.http);
    let list = ada.get("/webhooks/subscriptions?limit=100").await["data"].as_array().unwrap().clone();
    assert_eq!(list.len(), COUNT);
    let mut command = home.start(&["store", "rekey", "--json"]);
    for subscription in list.iter().rev() {
        change(&ada, &text(subscription, "id"), json!({"timeout": "2s"})).await.expect(200);
    }
    assert_eq!(command.end(), Some(0));
    for subscription in &list {
        let now = ada.subscription(&text(subscription, "id")).await;
        assert_eq!((&now["timeout"], &now["auth"]["type"]), (&json!("2s"), &json!("bearer")));
    }
    assert_rekeyed(&rekey(&home), 0, [0, COUNT.try_into().unwrap(), 0]);
}

#[test]
fn without_a_key_or_a_store_it_says_what_is_missing() {
    let home = Home::new();
    let refusal = home.refusal(&["store", "rekey"]);
    assert!(refusal.contains("encryption.master_keys") && refusal.contains("hookcast store new-key"), "{refusal}");
    let (home, _) = encrypted();
    assert!(home.refusal(&["store", "rekey"]).contains("there is no store at"));
}
