//! An account's own tokens: names, scopes, ends.

use http::Method;
use serde_json::{Value, json};

use crate::support::{eventually, http::Answer, server::Home, world::Account};

const TOKENS: &str = "/webhooks/account/tokens";

impl Account {
    async fn try_make_token(&self, body: &Value) -> Answer {
        self.request(Method::POST, TOKENS).json(body).send().await
    }

    /// The same account with a new token of its own.
    async fn with_token(&self, name: &str, scope: &str) -> Self {
        let made = self.try_make_token(&json!({"name": name, "scope": scope})).await.expect(201);
        Self { http: self.http.clone(), token: made["access_token"].as_str().unwrap().to_owned() }
    }

    async fn delete_token(&self, name: &str) -> Answer {
        self.request(Method::DELETE, &format!("{TOKENS}/{name}")).send().await
    }

    async fn token_names(&self) -> Vec<String> {
        let listed = self.get(TOKENS).await;
        listed["data"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_listed_without_itself() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let body = json!({"name": "ci", "scope": "read", "expires_at": "2999-01-31T12:00:00Z"});
    let made = ada.try_make_token(&body).await.expect(201);
    let members: Vec<_> = made.as_object().unwrap().keys().collect();
    assert_eq!(members, ["access_token", "created_at", "expires_at", "name", "scope"]);
    assert_eq!((&made["name"], &made["scope"]), (&json!("ci"), &json!("read")));
    assert_eq!(made["expires_at"], "2999-01-31T12:00:00.000Z");
    let token = made["access_token"].as_str().unwrap();
    assert!(token.starts_with("hkc_access_"));

    let listed = ada.request(Method::GET, TOKENS).send().await;
    assert_eq!(ada.token_names().await, ["ci", "default"]);
    let listed = listed.expect(200);
    assert_eq!(listed["next_cursor"], Value::Null);
    let first = &listed["data"][1];
    assert_eq!((&first["scope"], &first["expires_at"]), (&json!("write"), &Value::Null));
    assert!(!listed.to_string().contains("hkc_") && !server.log().contains(token));
    assert!(!home.stored().concat().contains(token), "the token itself is in the store");
}

#[tokio::test]
async fn a_token_for_reading_reads_and_changes_nothing() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", "http://127.0.0.1:3/").await;
    let reading = ada.with_token("dashboard", "read").await;
    let own = format!("/webhooks/subscriptions/{}", subscription.id);
    for path in ["/webhooks/account", "/webhooks/subscriptions", &own, &format!("{own}/deliveries")] {
        reading.get(path).await;
    }
    let before = home.stored();
    for (method, path) in [
        (Method::PATCH, "/webhooks/account"),
        (Method::DELETE, "/webhooks/account"),
        (Method::POST, "/webhooks/subscribe"),
        (Method::PATCH, &own),
        (Method::DELETE, &own),
        (Method::POST, &format!("{own}/rotate-secret")),
        (Method::POST, &format!("{own}/verify")),
        (Method::POST, &format!("{own}/redeliver")),
        (Method::POST, "/webhooks/deliveries/dlv_0/redeliver"),
        (Method::POST, &format!("{own}/test")),
        (Method::POST, "/webhooks/account/rotate"),
        (Method::GET, TOKENS),
        (Method::POST, TOKENS),
        (Method::DELETE, "/webhooks/account/tokens/dashboard"),
    ] {
        let problem = reading.request(method, path).json(&json!({})).send().await.expect_problem(403);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`dashboard` may only read") && detail.contains("scope `write`"), "{path}: {detail}");
    }
    home.assert_stores(&before);
}

#[tokio::test]
async fn a_token_ends_when_it_was_to_and_says_so() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let other = ada.try_make_token(&json!({"name": "other", "scope": "read"})).await.expect(201);
    let now: jiff::Timestamp = other["created_at"].as_str().unwrap().parse().unwrap();
    let end = now + std::time::Duration::from_secs(2);
    let body = json!({"name": "short", "scope": "write", "expires_at": end.to_string()});
    let made = ada.try_make_token(&body).await.expect(201);
    let short = Account { http: ada.http.clone(), token: made["access_token"].as_str().unwrap().to_owned() };
    short.get("/webhooks/subscriptions").await;
    let problem = eventually("the token has expired", async || {
        let answer = short.request(Method::GET, "/webhooks/subscriptions").send().await;
        (answer.status != 200).then(|| answer.expect_problem(401))
    })
    .await;
    assert!(problem["detail"].as_str().unwrap().contains("`short` has expired"), "{problem}");
    short.request(Method::POST, "/webhooks/account/rotate").send().await.expect_problem(401);
    assert_eq!(ada.token_names().await, ["default", "other", "short"]);
    assert_eq!(ada.delete_token("short").await.status, 204);
}

#[tokio::test]
async fn a_deleted_token_is_void_and_the_last_one_for_changes_stays() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let problem = ada.delete_token("default").await.expect_problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("last valid token of scope `write`"), "{problem}");
    let ci = ada.with_token("ci", "write").await;
    let bob = server.http.account("bob").await;
    bob.delete_token("ci").await.expect_problem(404);
    ci.delete_token("default").await.expect(204);
    ada.request(Method::GET, "/webhooks/subscriptions").send().await.expect_problem(401);
    for gone in ["default", "%2e%2e", "a%20b", "%ff"] {
        ci.delete_token(gone).await.expect_problem(404);
    }
    ci.delete_token("ci").await.expect_problem(409);
    assert_eq!(ci.token_names().await, ["ci"]);
}

#[tokio::test]
async fn the_token_that_asks_is_rotated_and_the_others_stay() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let ci = ada.with_token("ci", "write").await;
    let rotated = ci.request(Method::POST, "/webhooks/account/rotate").send().await.expect(200);
    ci.request(Method::GET, "/webhooks/subscriptions").send().await.expect_problem(401);
    let ci = Account { token: rotated["access_token"].as_str().unwrap().to_owned(), ..ci };
    assert_eq!(ci.token_names().await, ["ci", "default"]);
    assert_eq!(ada.token_names().await, ["ci", "default"]);

    // An operator's reset brings back what was deleted.
    ci.delete_token("default").await.expect(204);
    let said = home.expect(&["account", "rotate-token", "ada"]);
    let (_, token) = said.split_once("access token: ").unwrap();
    let ada = Account { token: token.lines().next().unwrap().to_owned(), ..ada };
    assert_eq!(ada.token_names().await, ["ci", "default"]);
    assert_eq!(ci.token_names().await, ["ci", "default"]);
}

#[tokio::test]
async fn tokens_have_rules() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let before = home.stored();
    for (body, field) in [
        (json!({"scope": "read"}), "name"),
        (json!({"name": "", "scope": "read"}), "name"),
        (json!({"name": "a b", "scope": "read"}), "name"),
        (json!({"name": "x".repeat(65), "scope": "read"}), "name"),
        (json!({"name": 7, "scope": "read"}), "name"),
        (json!({"name": "ci"}), "scope"),
        (json!({"name": "ci", "scope": "admin"}), "scope"),
        (json!({"name": "ci", "scope": "read", "expires_at": "tomorrow"}), "expires_at"),
        (json!({"name": "ci", "scope": "read", "expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "ci", "scope": "read", "expires_at": 7}), "expires_at"),
        (json!({"name": "ci", "scope": "read", "expires": null}), "expires"),
    ] {
        ada.try_make_token(&body).await.expect_invalid(field);
    }
    let taken = ada.try_make_token(&json!({"name": "default", "scope": "read"})).await.expect_problem(409);
    assert!(taken["detail"].as_str().unwrap().contains("choose another name"), "{taken}");
    home.assert_stores(&before);

    for number in 1..100 {
        ada.try_make_token(&json!({"name": format!("t{number}"), "scope": "read", "expires_at": null}))
            .await
            .expect(201);
    }
    let problem = ada.try_make_token(&json!({"name": "more", "scope": "read"})).await.expect_problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("at most 100 tokens"), "{problem}");
}
