//! The main path: an event reaches whom it should, as it should.

use serde_json::json;

use crate::support::{receiver::Receiver, server::Home};

#[tokio::test]
async fn an_event_reaches_its_subscriber_signed() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("relation_added", &format!("{}/hook?token=1", receiver.url)).await;

    let receipt = server.http.trigger("relation_added", json!({"a": [1, 2.50, "ü"]})).await;
    assert_eq!(receipt["subscriptions"], 1);
    assert_eq!(receipt["duplicate"], false);

    let received = receiver.next().await;
    assert_eq!(received.method, "POST");
    assert_eq!(received.uri, "/hook?token=1");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("user-agent"), concat!("Hookcast/", env!("CARGO_PKG_VERSION")));
    received.verify(&subscription.secret).unwrap();
    assert!(received.verify("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_err());
    assert_eq!(received.id(), receipt["id"]);
    let expected = json!({
        "id": receipt["id"], "event": "relation_added", "creator": "hookcast", "source": "hookcast",
        "description": "hookcast events", "time": receipt["time"], "payload": {"a": [1, 2.50, "ü"]},
    });
    assert_eq!(received.json(), expected);
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(event["deliveries"][0]["attempts"][0]["status"], 200);
}
