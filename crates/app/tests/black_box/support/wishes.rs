//! Subscriptions of which their owners choose more than the event and the URL.

use http::Method;
use serde_json::{Value, json};

use super::{http::Answer, world::Account};

/// The event of these subscriptions.
pub const EVENT: &str = "wished";

/// Wishes for a subscription with these members.
pub async fn subscribe(account: &Account, url: &str, wishes: Value) -> Answer {
    let mut body = json!({"event": EVENT, "url": url});
    body.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
    account.request(Method::POST, "/webhooks/subscribe").json(&body).send().await
}

/// Changes these members of a subscription.
pub async fn change(account: &Account, id: &str, wishes: Value) -> Answer {
    account.request(Method::PATCH, &format!("/webhooks/subscriptions/{id}")).json(&wishes).send().await
}

/// Rotates a subscription's secret as the body says.
pub async fn rotate(account: &Account, id: &str, body: Value) -> Answer {
    account.request(Method::POST, &format!("/webhooks/subscriptions/{id}/rotate-secret")).json(&body).send().await
}

/// A text member of an answer.
#[track_caller]
pub fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}
