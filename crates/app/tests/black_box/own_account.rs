//! What an account sees and changes of itself, and its end.

use http::Method;
use serde_json::{Value, json};

use crate::support::{receiver::Receiver, server::Home, world::Account};

const ACCOUNT: &str = "/webhooks/account";

impl Account {
    async fn set_email(&self, body: &Value) -> crate::support::http::Answer {
        self.request(Method::PATCH, ACCOUNT).json(body).send().await
    }
}

#[tokio::test]
async fn an_account_sees_and_changes_itself() {
    let home = Home::new();
    let server = home.serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let seen = ada.get(ACCOUNT).await;
    let members: Vec<_> = seen.as_object().unwrap().keys().collect();
    assert_eq!(members, ["created_at", "quotas", "user_email", "user_id"]);
    assert_eq!((&seen["user_id"], &seen["user_email"]), (&json!("ada"), &json!("ada@example.org")));
    for email in [json!("new@example.org"), Value::Null] {
        let changed = ada.set_email(&json!({"user_email": email})).await.expect(200);
        assert_eq!(changed["user_email"], email);
        assert_eq!(ada.get(ACCOUNT).await, changed);
    }
    let before = home.stored();
    for (body, field) in [
        (json!({}), "user_email"),
        (json!({"user_email": ""}), "user_email"),
        (json!({"user_email": "ada"}), "user_email"),
        (json!({"user_email": 7}), "user_email"),
        (json!({"user_email": null, "user_id": "eve"}), "user_id"),
    ] {
        ada.set_email(&body).await.expect_invalid(field);
    }
    home.assert_stores(&before);
    assert_eq!(bob.get(ACCOUNT).await["user_email"], "bob@example.org");
}

#[tokio::test]
async fn a_deleted_account_takes_all_that_is_its_own_with_it() {
    let (receiver, mut others) = (Receiver::start().await, Receiver::start().await);
    let server = Home::new().serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let delivered = ada.subscribe("e", &receiver.url).await;
    let inactive = ada.subscribe("f", &receiver.url).await;
    ada.set_active(&inactive.id, false).await;
    bob.subscribe("e", &others.url).await;
    bob.subscribe("f", &others.url).await;
    let first = server.http.trigger("e", json!(1)).await["id"].as_str().unwrap().to_owned();
    server.http.event_in_state(&first, "delivered").await;
    let second = server.http.trigger("f", json!(2)).await["id"].as_str().unwrap().to_owned();
    others.take(2).await;
    let body = json!({"name": "ci", "scope": "write"});
    let ci = ada.request(Method::POST, "/webhooks/account/tokens").json(&body).send().await.expect(201);
    let ci = Account { token: ci["access_token"].as_str().unwrap().to_owned(), ..ada.clone() };

    ci.request(Method::DELETE, ACCOUNT).send().await.expect(204);
    for account in [&ada, &ci] {
        account.request(Method::GET, ACCOUNT).send().await.expect_problem(401);
        account.request(Method::DELETE, ACCOUNT).send().await.expect_problem(401);
    }
    let mut states = Vec::new();
    for id in [&first, &second] {
        let event = server.http.event(id).await;
        // An id may hold the letters by chance.
        assert!(!event.to_string().contains("\"ada\""), "{event}");
        let deliveries = event["deliveries"].as_array().unwrap();
        let of_ada = |delivery: &&Value| {
            [&delivered.id, &inactive.id].contains(&&delivery["subscription_id"].as_str().unwrap().to_owned())
        };
        let delivery = deliveries.iter().find(of_ada).unwrap();
        assert!(delivery["user_id"].as_str().unwrap().starts_with("acc_"));
        states.push(delivery["state"].clone());
    }
    assert_eq!(states, ["delivered", "cancelled"]);
    assert_eq!(bob.get(ACCOUNT).await["user_id"], "bob");
    assert_eq!(server.http.trigger("e", json!(3)).await["subscriptions"], 1);

    let ada = server.http.account("ada").await;
    assert_eq!(ada.get("/webhooks/subscriptions").await["data"], json!([]));
    ada.request(Method::GET, &format!("/webhooks/subscriptions/{}", delivered.id)).send().await.expect_problem(404);
}
