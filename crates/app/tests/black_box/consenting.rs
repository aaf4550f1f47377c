//! Callbacks that must prove that they want the events before anything is sent there.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    http::Answer,
    loopback_address,
    receiver::{Received, Receiver, Reply},
    server::{Home, Server},
    world::Account,
};

/// An answer to the CloudEvents handshake with these headers.
fn allowing(headers: &[(&'static str, &str)]) -> Reply {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Reply { status: 200, headers, body: String::new() }
}

fn agreeing() -> Reply {
    allowing(&[("webhook-allowed-origin", "events.example.org")])
}

async fn begin(consent: &str) -> (Server, Account, Receiver) {
    let home =
        Home::new().set("HOOKCAST_DELIVERY_ORIGIN", "events.example.org").set("HOOKCAST_DELIVERY_CONSENT", consent);
    let server = home.serve();
    let ada = server.http.account("ada").await;
    (server, ada, Receiver::start().await)
}

fn id(subscription: &Value) -> &str {
    subscription["id"].as_str().unwrap()
}

#[track_caller]
fn assert_pending(subscription: &Value, refusal: &str) {
    assert_eq!(
        (&subscription["state"], &subscription["is_active"]),
        (&json!("pending_verification"), &json!(false)),
        "{subscription}"
    );
    let told = subscription["consent_refusal"].as_str().unwrap_or_default();
    assert!(told.contains(refusal), "{subscription}");
}

#[track_caller]
fn assert_active(subscription: &Value) {
    assert_eq!(
        (&subscription["state"], &subscription["is_active"]),
        (&json!("active"), &json!(true)),
        "{subscription}"
    );
    assert_eq!(subscription["consent_refusal"], Value::Null);
}

async fn verify(ada: &Account, id: &str) -> Value {
    ada.request(Method::POST, &format!("/webhooks/subscriptions/{id}/verify")).send().await.expect(200)
}

/// The query of a challenge: the mode and the challenge.
fn challenge(received: &Received) -> (String, String) {
    assert_eq!(received.method, Method::GET);
    let query = received.uri.query().unwrap_or_default();
    let member = |wanted: &str| {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).collect::<Vec<_>>().join("|")
    };
    (member("hub.mode"), member("hub.challenge"))
}

#[tokio::test]
async fn nothing_is_sent_before_the_callback_agrees_and_all_that_waited_after() {
    for by_setting in [true, false] {
        let (server, ada, mut receiver) = begin(if by_setting { "cloudevents" } else { "none" }).await;
        receiver.next_replies([403]);
        let mut body = json!({"event": "watched", "url": receiver.url});
        if !by_setting {
            body["consent"] = "cloudevents".into();
        }
        let subscription = ada.subscribe_as(&body).await;
        assert_pending(&subscription, "it answered 403");
        assert_eq!(subscription["consent"], "cloudevents");
        let id = id(&subscription);
        let asked = receiver.next().await;
        assert_eq!(asked.method, Method::OPTIONS);
        assert_eq!(asked.header("webhook-request-origin"), "events.example.org");

        let first = server.http.trigger("watched", json!({"n": 1})).await;
        let second = server.http.trigger("watched", json!({"n": 2})).await;
        server.http.event_in_state(second["id"].as_str().unwrap(), "waiting").await;
        let now = ada.subscription(id).await;
        assert_pending(&now, "");
        assert_eq!(now["waiting"], 2);
        ada.patch(id, &json!({"is_active": true})).await.expect_problem(409);
        // Nothing that was refused has been changed, and what does not concern the proof can be.
        ada.patch(id, &json!({"is_active": true, "event": "other"})).await.expect_problem(409);
        assert_pending(&ada.patch(id, &json!({"format": "raw"})).await.expect(200), "");
        assert_eq!(ada.subscription(id).await["event"], "watched");
        assert_eq!(receiver.total(), 1);

        receiver.next_replies([agreeing()]);
        assert_active(&verify(&ada, id).await);
        assert_eq!(receiver.next().await.method, Method::OPTIONS);
        let mut arrived: Vec<_> = receiver.take(2).await.iter().map(Received::id).collect();
        arrived.sort();
        assert_eq!(json!(arrived), json!([first["id"], second["id"]]));
        assert_active(&ada.subscription(id).await);
        // One that has agreed is not asked again.
        assert_active(&verify(&ada, id).await);
        assert_eq!(receiver.total(), 4);
    }
}

#[tokio::test]
async fn the_handshake_wants_this_service_named_and_takes_a_rate() {
    let (_server, ada, receiver) = begin("none").await;
    for (reply, refusal) in [
        (allowing(&[]), "no `WebHook-Allowed-Origin`"),
        (allowing(&[("webhook-allowed-origin", "other.example.org")]), "names others"),
        (allowing(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "0")]), "no number of requests"),
        (allowing(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "some")]), "no number of requests"),
        (Reply { status: 302, ..agreeing() }, "it answered 302"),
    ] {
        receiver.next_replies([reply]);
        let body = json!({"event": format!("e{}", receiver.total()), "url": receiver.url, "consent": "cloudevents"});
        assert_pending(&ada.subscribe_as(&body).await, refusal);
    }
    for (rate, wish, limit) in [
        ("120", json!(null), json!(2.0)),
        ("120", json!(0.5), json!(0.5)),
        ("120", json!(50), json!(2.0)),
        ("*", json!(null), json!(null)),
    ] {
        receiver.next_replies([allowing(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", rate)])]);
        let event = format!("e{}", receiver.total());
        let body = json!({"event": event, "url": receiver.url, "consent": "cloudevents", "rate_limit": wish});
        let subscription = ada.subscribe_as(&body).await;
        assert_active(&subscription);
        assert_eq!(subscription["rate_limit"], limit, "{rate} {wish}");
    }
    let nobody = format!("http://{}/?token=hidden", loopback_address());
    let subscription = ada.subscribe_as(&json!({"event": "a", "url": nobody, "consent": "cloudevents"})).await;
    assert_pending(&subscription, "refused");
    assert!(!subscription["consent_refusal"].as_str().unwrap().contains("hidden"));
}

/// Answers the challenge as `answer` says.
async fn challenged(
    receiver: &mut Receiver,
    asking: impl Future<Output = Answer>,
    answer: impl Fn(&str) -> Reply,
) -> Value {
    let answering = async {
        let received = receiver.next().await;
        let (mode, challenge) = challenge(&received);
        assert_eq!(mode, "subscribe");
        assert!(challenge.len() >= 32, "nobody guesses it: {challenge}");
        receiver.next_replies([answer(&challenge)]);
        receiver.let_through(1);
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_challenge_must_come_back_and_nothing_else() {
    let (server, ada, _) = begin("challenge").await;
    let mut receiver = Receiver::start_gated(0).await;
    let body = |status, body: String| Reply { status, headers: Vec::new(), body };
    let url = format!("{}/hook?token=t", receiver.url);
    let wish = json!({"event": "watched", "url": url});
    let subscribing = || ada.request(Method::POST, "/webhooks/subscribe").json(&wish).send();
    let subscription = challenged(&mut receiver, subscribing(), |_| body(200, "guess".to_owned())).await;
    assert_pending(&subscription, "not the challenge");
    let id = id(&subscription);
    let path = format!("/webhooks/subscriptions/{id}/verify");
    let verifying = || ada.request(Method::POST, &path).send();
    let wrong = challenged(&mut receiver, verifying(), |challenge| body(200, format!("{challenge}x"))).await;
    assert_pending(&wrong, "not the challenge");
    let wrong = challenged(&mut receiver, verifying(), |challenge| body(404, challenge.to_owned())).await;
    assert_pending(&wrong, "it answered 404");
    let wrong = challenged(&mut receiver, verifying(), |_| body(200, "x".repeat(5_000))).await;
    assert_pending(&wrong, "longer than 4096 bytes");
    let receipt = server.http.trigger("watched", json!({})).await;
    let right = challenged(&mut receiver, verifying(), |challenge| body(200, format!("{challenge}\n"))).await;
    assert_active(&right);
    let received = receiver.next().await;
    assert_eq!((received.id(), received.uri.query()), (receipt["id"].as_str().unwrap().to_owned(), Some("token=t")));
    receiver.let_through(1);
}

#[tokio::test]
async fn another_url_must_prove_its_own_consent() {
    let (server, ada, mut old) = begin("cloudevents").await;
    old.next_replies([agreeing()]);
    let subscription = ada.subscribe_as(&json!({"event": "watched", "url": old.url})).await;
    assert_active(&subscription);
    let id = id(&subscription);
    assert_eq!(old.next().await.method, Method::OPTIONS);

    let mut new = Receiver::start().await;
    new.next_replies([403]);
    let now = ada.patch(id, &json!({"url": new.url, "consent": null})).await.expect(200);
    assert_pending(&now, "it answered 403");
    assert_eq!(now["consent"], "cloudevents", "no wish lowers what the setting asks for");
    assert_eq!(new.next().await.method, Method::OPTIONS);
    let receipt = server.http.trigger("watched", json!({})).await;
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "waiting").await;
    ada.patch(id, &json!({"is_active": true})).await.expect_problem(409);
    assert_eq!((old.total(), new.total()), (1, 1));

    // A URL that was mistyped can be put right, and is asked at once.
    let mut right = Receiver::start().await;
    right.next_replies([agreeing()]);
    assert_active(&ada.patch(id, &json!({"url": right.url})).await.expect(200));
    assert_eq!(right.next().await.method, Method::OPTIONS);
    assert_eq!(right.next().await.id(), receipt["id"]);
    assert_eq!((old.total(), new.total()), (1, 1));

    // The same URL again is none that must prove anything.
    assert_active(&ada.patch(id, &json!({"url": right.url})).await.expect(200));
    assert_eq!(right.total(), 2);

    // An inactive one stays inactive, and is asked when its owner wants it.
    ada.set_active(id, false).await;
    old.next_replies([agreeing()]);
    assert_pending(&ada.patch(id, &json!({"url": old.url})).await.expect(200), "");
    assert_eq!(old.total(), 1);
    assert_active(&verify(&ada, id).await);
    assert_eq!(old.next().await.method, Method::OPTIONS);
}

#[tokio::test]
async fn the_proof_can_be_wished_later_and_is_kept_for_later_urls() {
    let (server, ada, mut receiver) = begin("none").await;
    let subscription = ada.subscribe_as(&json!({"event": "watched", "url": receiver.url})).await;
    assert_active(&subscription);
    assert_eq!(subscription["consent"], Value::Null);
    let id = id(&subscription);
    receiver.next_replies([403]);
    assert_pending(&ada.patch(id, &json!({"consent": "cloudevents"})).await.expect(200), "403");
    receiver.next_replies([agreeing()]);
    assert_active(&verify(&ada, id).await);
    assert_eq!(ada.subscription(id).await["consent"], "cloudevents");
    receiver.take(2).await;

    let elsewhere = Receiver::start().await;
    elsewhere.next_replies([403]);
    assert_pending(&ada.patch(id, &json!({"url": elsewhere.url})).await.expect(200), "403");
    // Where no setting asks for it, it need not be wished any longer.
    let now = ada.patch(id, &json!({"consent": null, "url": receiver.url, "is_active": true})).await.expect(200);
    assert_active(&now);
    assert_eq!(now["consent"], Value::Null);
    let receipt = server.http.trigger("watched", json!({})).await;
    assert_eq!(receiver.next().await.id(), receipt["id"]);
    ada.patch(id, &json!({"consent": "none"})).await.expect_invalid("consent");
}

#[tokio::test]
async fn a_proof_that_is_owed_outlasts_a_restart() {
    let home = Home::new().set("HOOKCAST_DELIVERY_CONSENT", "cloudevents");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut receiver = Receiver::start().await;
    receiver.next_replies([500]);
    let subscription = ada.subscribe_as(&json!({"event": "watched", "url": receiver.url})).await;
    assert_pending(&subscription, "500");
    server.http.trigger("watched", json!({"n": 1})).await;
    server.kill();
    // What was owed under the setting is owed without it.
    let server = home.set("HOOKCAST_DELIVERY_CONSENT", "none").serve();
    let ada = ada.at(&server.http);
    let receipt = server.http.trigger("watched", json!({"n": 2})).await;
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "waiting").await;
    assert_pending(&ada.subscription(id(&subscription)).await, "");
    assert_eq!(receiver.total(), 1);
    receiver.next_replies([allowing(&[("webhook-allowed-origin", "*")])]);
    assert_active(&verify(&ada, id(&subscription)).await);
    assert_eq!(receiver.take(4).await.last().unwrap().method, Method::POST);
}
