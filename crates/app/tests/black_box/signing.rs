//! Signatures: each scheme verifies as its standard says, secrets change over, and are shown once.

use std::collections::HashMap;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use crate::support::{
    http::Http,
    receiver::{Received, Receiver},
    server::{Home, Server},
    wishes::{EVENT, change, rotate, subscribe, text},
    world::Account,
};

/// A server and a consumer.
async fn begin(home: &Home) -> (Server, Account) {
    let server = home.serve();
    let ada = server.http.account("ada").await;
    (server, ada)
}

/// Triggers an event and takes its delivery.
async fn deliver(server: &Server, receiver: &mut Receiver) -> Received {
    server.http.trigger(EVENT, json!({"n": 1.50})).await;
    receiver.next().await
}

/// The schemes of the signatures that a delivery has, in their order.
fn schemes(received: &Received) -> Vec<&str> {
    let signatures = received.header("webhook-signature").split(' ');
    signatures.map(|signature| signature.split_once(',').map_or("", |(scheme, _)| scheme)).collect()
}

/// Verifies a delivery as "Standard Webhooks" says of asymmetric signatures, with these 32 bytes of a public key.
fn verify_v1a(received: &Received, key: &[u8]) -> bool {
    let key = VerifyingKey::from_bytes(key.try_into().unwrap()).unwrap();
    let head = format!("{}.{}.", received.header("webhook-id"), received.header("webhook-timestamp"));
    let signed = [head.as_bytes(), &received.body].concat();
    let signatures = received.header("webhook-signature").split(' ').filter_map(|text| text.strip_prefix("v1a,"));
    signatures
        .map(|text| Signature::from_slice(&BASE64_STANDARD.decode(text).unwrap()).unwrap())
        .any(|signature| key.verify_strict(&signed, &signature).is_ok())
}

fn public_key(view: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text(view, "public_key").strip_prefix("whpk_").unwrap()).unwrap()
}

/// The published keys of a path, by their ids.
async fn published(http: &Http, query: &str) -> HashMap<String, Vec<u8>> {
    let answer = http.get(&format!("/.well-known/webhook-keys{query}")).send().await;
    let keys = answer.expect(200)["keys"].as_array().unwrap().clone();
    let key = |key: &Value| {
        assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("sig")), "{key}");
        assert!(key.get("d").is_none(), "a private key is published");
        (text(key, "kid"), BASE64_URL_SAFE_NO_PAD.decode(text(key, "x")).unwrap())
    };
    keys.iter().map(key).collect()
}

#[tokio::test]
async fn who_wishes_nothing_gets_a_shared_secret() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new()).await;
    let view = subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    assert_eq!(view["signature"], "hmac-sha256");
    assert!(view.get("public_key").is_none());
    let received = deliver(&server, &mut receiver).await;
    received.verify(&text(&view, "secret")).unwrap();
    assert_eq!(schemes(&received), ["v1"]);
    assert!(published(&server.http, "").await.is_empty());
}

#[tokio::test]
async fn public_keys_verify_wherever_they_are_found() {
    let (mut one, mut other) = (Receiver::start().await, Receiver::start().await);
    let (server, ada) = begin(&Home::new()).await;
    let view = subscribe(&ada, &one.url, json!({"signature": "ed25519"})).await.expect(201);
    let second = subscribe(&ada, &other.url, json!({"signature": "ed25519"})).await.expect(201);
    assert!(text(&view, "secret").starts_with("whsk_"));
    let received = deliver(&server, &mut one).await;
    assert_eq!(schemes(&received), ["v1a"]);
    let key = public_key(&view);
    assert!(verify_v1a(&received, &key));
    assert!(!verify_v1a(&received, &public_key(&second)), "any key verifies");
    assert!(verify_v1a(&other.next().await, &public_key(&second)));
    let forged = Received { body: "{}".into(), ..received.clone() };
    assert!(!verify_v1a(&forged, &key), "any body verifies");

    let all: Vec<_> = published(&server.http, "").await.into_values().collect();
    assert!(all.len() == 2 && all.contains(&key) && all.contains(&public_key(&second)), "{all:?}");
    let own = published(&server.http, &format!("?subscription={}", text(&view, "id"))).await;
    assert_eq!(own.into_values().collect::<Vec<_>>(), [key]);
    server.http.get("/.well-known/webhook-keys?subscription=nonsense").send().await.expect_invalid("subscription");
    let own = ada.subscription(&text(&second, "id")).await;
    assert_eq!(own["public_key"], second["public_key"]);
}

#[tokio::test]
async fn a_secret_may_be_the_owners_own() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new()).await;
    let shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let view = subscribe(&ada, &receiver.url, json!({"secret": shared})).await.expect(201);
    assert_eq!((&view["secret"], &view["signature"]), (&json!(shared), &json!("hmac-sha256")));
    deliver(&server, &mut receiver).await.verify(shared).unwrap();

    // RFC 8032, section 7.1, test 1.
    let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    let own = json!({"secret": format!("whsk_{seed}"), "overlap": "0"});
    let view = rotate(&ada, &text(&view, "id"), own).await.expect(200);
    assert_eq!((&view["signature"], &view["secret"]), (&json!("ed25519"), &json!(format!("whsk_{seed}"))));
    let expected = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    assert_eq!(public_key(&view), expected);
    let received = deliver(&server, &mut receiver).await;
    assert!(verify_v1a(&received, &expected));
    assert_eq!(schemes(&received), ["v1a"]);
}

#[tokio::test]
async fn what_is_no_secret_is_refused_and_not_repeated() {
    let receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new().set("HOOKCAST_LOG_LEVEL", "trace")).await;
    let shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let id = text(&subscribe(&ada, &receiver.url, json!({"secret": shared})).await.expect(201), "id");
    for (wishes, member) in [
        (json!({"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}), "secret"),
        (json!({"secret": "whsec_c2hvcnQ="}), "secret"),
        (json!({"secret": "whsec_%%%MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}), "secret"),
        (json!({"secret": "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}), "secret"),
        (json!({"secret": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="}), "secret"),
        (json!({"secret": ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}), "secret"),
        (json!({"secret": shared, "signature": "ed25519"}), "secret"),
        (json!({"secret": shared, "signature": "none"}), "secret"),
        (json!({"signature": "rot13"}), "signature"),
        (json!({"signature": 1}), "signature"),
    ] {
        let url = format!("{}/other", receiver.url);
        for answer in [subscribe(&ada, &url, wishes.clone()).await, change(&ada, &id, wishes).await] {
            let problem = answer.expect_invalid(member).to_string();
            assert!(!problem.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "{problem}");
        }
    }
    for (body, member) in [
        (json!({"secret": "whsec_c2hvcnQ="}), "secret"),
        (json!({"overlap": "soon"}), "overlap"),
        (json!({"overlap": "31d"}), "overlap"),
        (json!({"overlap": 5}), "overlap"),
        (json!({"signature": "ed25519"}), "signature"),
    ] {
        rotate(&ada, &id, body).await.expect_invalid(member);
    }
    assert_eq!(ada.get("/webhooks/subscriptions").await["data"].as_array().unwrap().len(), 1);
    assert!(!server.log().contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
}

#[tokio::test]
async fn who_wants_no_signature_gets_none() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new()).await;
    let view = subscribe(&ada, &receiver.url, json!({"signature": "none"})).await.expect(201);
    assert!(view.get("secret").is_none() && view["signature"] == "none", "{view}");
    let received = deliver(&server, &mut receiver).await;
    assert!(received.headers.get("webhook-signature").is_none());
    assert!(received.headers.get("webhook-id").is_some() && received.headers.get("webhook-timestamp").is_some());
    let id = text(&view, "id");
    assert!(rotate(&ada, &id, json!({})).await.expect_problem(409).to_string().contains("`signature`"));
    let view = change(&ada, &id, json!({"signature": "hmac-sha256"})).await.expect(200);
    deliver(&server, &mut receiver).await.verify(&text(&view, "secret")).unwrap();
}

#[tokio::test]
async fn the_secret_before_a_new_one_signs_for_a_while_or_not_at_all() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new()).await;
    let view = subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    let (id, first) = (text(&view, "id"), text(&view, "secret"));
    let view = ada.request(http::Method::POST, &format!("/webhooks/subscriptions/{id}/rotate-secret")).send().await;
    let view = view.expect(200);
    let second = text(&view, "secret");
    assert_eq!(view["earlier_secrets"][0]["signature"], "hmac-sha256");
    let received = deliver(&server, &mut receiver).await;
    assert_eq!(schemes(&received), ["v1", "v1"]);
    for secret in [&first, &second] {
        received.verify(secret).unwrap();
    }

    let third = text(&rotate(&ada, &id, json!({"overlap": "0"})).await.expect(200), "secret");
    let received = deliver(&server, &mut receiver).await;
    received.verify(&third).unwrap();
    received.verify(&second).unwrap_err();
    // The first one's time has not come to an end by that.
    received.verify(&first).unwrap();
    assert_eq!(schemes(&received), ["v1", "v1"]);

    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let view = rotate(&ada, &id, json!({"secret": own, "overlap": "1h"})).await.expect(200);
    assert_eq!(view["secret"], own);
    let received = deliver(&server, &mut receiver).await;
    for secret in [own, &third, &first] {
        received.verify(secret).unwrap();
    }
}

#[tokio::test]
async fn another_scheme_comes_with_a_secret_that_is_shown_once() {
    let mut receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_LOG_LEVEL", "trace");
    let (server, ada) = begin(&home).await;
    let view = subscribe(&ada, &receiver.url, json!({})).await.expect(201);
    let (id, shared) = (text(&view, "id"), text(&view, "secret"));
    let changed = change(&ada, &id, json!({"signature": "ed25519"})).await.expect(200);
    let private = text(&changed, "secret");
    assert!(private.starts_with("whsk_"));
    let received = deliver(&server, &mut receiver).await;
    assert_eq!(schemes(&received), ["v1a", "v1"]);
    assert!(verify_v1a(&received, &public_key(&changed)));
    received.verify(&shared).unwrap();

    let again = change(&ada, &id, json!({"signature": "ed25519"})).await.expect(200);
    assert_eq!(again["public_key"], changed["public_key"], "nothing was to be changed");
    let rotated = rotate(&ada, &id, json!({})).await.expect(200);
    let second = text(&rotated, "secret");
    let keys: Vec<_> = published(&server.http, &format!("?subscription={id}")).await.into_values().collect();
    assert!(keys.len() == 2 && keys.contains(&public_key(&changed)) && keys.contains(&public_key(&rotated)));
    let received = deliver(&server, &mut receiver).await;
    assert!(keys.iter().all(|key| verify_v1a(&received, key)));

    let event = server.http.event(&received.id()).await;
    let again_subscribed = subscribe(&ada, &receiver.url, json!({})).await.expect(200);
    let answers = [
        again,
        again_subscribed,
        event,
        ada.subscription(&id).await,
        ada.get("/webhooks/subscriptions").await,
        ada.get(&format!("/webhooks/subscriptions/{id}/deliveries")).await,
        change(&ada, &id, json!({"timeout": "3s"})).await.expect(200),
        server.http.get("/.well-known/webhook-keys").send().await.expect(200),
        Value::from(server.log()),
    ];
    for secret in [&shared, &private, &second] {
        let (_, bare) = secret.split_once('_').unwrap();
        for answer in &answers {
            assert!(!answer.to_string().contains(bare), "{secret} is in {answer}");
        }
    }
}
