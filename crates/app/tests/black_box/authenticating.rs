//! Requests prove to callbacks who sends them, and what proves it is shown to nobody else.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::support::{
    eventually,
    http::Answer,
    receiver::Receiver,
    server::{Home, Server},
    tls::{Authority, StrictReceiver},
    token_server::{CLIENT_ID, CLIENT_SECRET, TokenServer},
    traces,
    wishes::{EVENT, change, subscribe, text},
    world::Account,
};

/// Tries that are enough for a token to become old enough to be replaced.
const PATIENT: &str = "50ms,100ms,200ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms,400ms";

async fn begin(home: &Home) -> (Server, Account) {
    let server = home.serve();
    let ada = server.http.account("ada").await;
    (server, ada)
}

async fn trigger(server: &Server) -> String {
    text(&server.http.trigger(EVENT, json!({})).await, "id")
}

/// Makes sure that nothing that is answered or logged holds one of these secrets.
async fn assert_hidden(server: &Server, ada: &Account, id: &str, secrets: &[&str]) {
    let own = format!("/webhooks/subscriptions/{id}");
    let mut shown = server.log();
    for path in ["/webhooks/subscriptions", &own, &format!("{own}/deliveries")] {
        shown += &ada.get(path).await.to_string();
    }
    for secret in secrets {
        assert_eq!(traces::found(shown.as_bytes(), secret), [""; 0], "{secret} is in\n{shown}");
    }
}

#[tokio::test]
async fn each_kind_brings_its_header_and_changes_by_patch() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new().set("HOOKCAST_LOG_LEVEL", "trace")).await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode("ada:pass:word of ada"));
    let cases = [
        (
            json!({"type": "bearer", "token": "token-of-ada"}),
            json!({"type": "bearer"}),
            "authorization",
            "Bearer token-of-ada",
        ),
        (
            json!({"type": "basic", "username": "ada", "password": "pass:word of ada"}),
            json!({"type": "basic", "username": "ada"}),
            "authorization",
            &basic,
        ),
        (
            json!({"type": "header", "name": "X-Api-Key", "value": "key of ada"}),
            json!({"type": "header", "name": "x-api-key"}),
            "x-api-key",
            "key of ada",
        ),
        (
            json!({"type": "header", "name": "authorization", "value": "ApiKey of-ada-alone"}),
            json!({"type": "header", "name": "authorization"}),
            "authorization",
            "ApiKey of-ada-alone",
        ),
    ];
    let first = subscribe(&ada, &receiver.url, json!({"auth": cases[0].0})).await.expect(201);
    let id = text(&first, "id");
    for (auth, view, name, value) in cases {
        let changed = change(&ada, &id, json!({"auth": auth})).await.expect(200);
        assert_eq!((&changed["auth"], changed.get("secret")), (&view, None));
        assert_eq!(ada.subscription(&id).await["auth"], view);
        trigger(&server).await;
        let received = receiver.next().await;
        assert_eq!(received.header(name), value);
        received.verify(&text(&first, "secret")).unwrap();
    }
    // What is not spoken of stays.
    let changed = change(&ada, &id, json!({"timeout": "2s"})).await.expect(200);
    assert_eq!(changed["auth"]["name"], "authorization");
    let removed = change(&ada, &id, json!({"auth": null})).await.expect(200);
    assert_eq!(removed["auth"], Value::Null);
    trigger(&server).await;
    let received = receiver.next().await;
    assert!(["authorization", "x-api-key"].iter().all(|name| !received.headers.contains_key(*name)));
    let secrets = ["token-of-ada", "pass:word of ada", "key of ada", "ApiKey of-ada-alone"];
    assert_hidden(&server, &ada, &id, &secrets).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_its_member() {
    let receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new().set("HOOKCAST_LOG_LEVEL", "trace")).await;
    let id = text(&subscribe(&ada, &receiver.url, json!({})).await.expect(201), "id");
    let (identity, other) = (Authority::new().identity("a"), Authority::new().identity("b"));
    let oauth2 =
        |url: &str| json!({"type": "oauth2", "token_url": url, "client_id": "a", "client_secret": "hide-and-seek"});
    for (wishes, member) in [
        (json!({"auth": "hide-and-seek"}), "auth"),
        (json!({"auth": {"type": "magic", "token": "hide-and-seek"}}), "auth.type"),
        (json!({"auth": {"type": "bearer"}}), "auth.token"),
        (json!({"auth": {"type": "bearer", "token": "hide-and-seek\r\nx: y"}}), "auth.token"),
        (json!({"auth": {"type": "bearer", "token": "hide-and-seek", "password": "p"}}), "auth"),
        (json!({"auth": {"type": "basic", "username": "a:b", "password": "hide-and-seek"}}), "auth.username"),
        (json!({"auth": {"type": "basic", "username": "a", "password": 1}}), "auth.password"),
        (json!({"auth": {"type": "header", "name": "webhook-id", "value": "hide-and-seek"}}), "auth.name"),
        (json!({"auth": {"type": "header", "name": "x-key", "value": "hide-and-seek\n"}}), "auth.value"),
        (json!({"auth": oauth2("not a url")}), "auth.token_url"),
        (json!({"auth": oauth2("http://10.0.0.1/token")}), "auth.token_url"),
        (json!({"auth": oauth2("http://169.254.169.254/latest")}), "auth.token_url"),
        (json!({"tls": "hide-and-seek"}), "tls"),
        (json!({"tls": {"certificate": identity.certificate}}), "tls.private_key"),
        (json!({"tls": {"certificate": "hide-and-seek", "private_key": identity.private_key}}), "tls.certificate"),
        (json!({"tls": {"certificate": identity.certificate, "private_key": "hide-and-seek"}}), "tls.private_key"),
        (json!({"tls": {"certificate": identity.certificate, "private_key": other.private_key}}), "tls.private_key"),
        (
            json!({"tls": {"certificate": identity.certificate, "private_key": identity.private_key, "ca": "hide-and-seek"}}),
            "tls.ca",
        ),
        (json!({"headers": ["x-team"]}), "headers"),
        (json!({"headers": {"x-team": 1}}), "headers.x-team"),
        (json!({"headers": {"host": "hide-and-seek"}}), "headers.host"),
        (json!({"headers": {"webhook-signature": "hide-and-seek"}}), "headers.webhook-signature"),
        (json!({"headers": {"authorization": "hide-and-seek"}}), "headers.authorization"),
        (json!({"headers": {"x-team": "hide-and-seek\r\n"}}), "headers.x-team"),
    ] {
        let url = format!("{}/other", receiver.url);
        for answer in [subscribe(&ada, &url, wishes.clone()).await, change(&ada, &id, wishes).await] {
            let problem = answer.expect_invalid(member).to_string();
            assert!(!problem.contains("hide-and-seek"), "{problem}");
        }
    }
    let list = ada.get("/webhooks/subscriptions").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!((&list["data"][0]["auth"], &list["data"][0]["tls"]), (&Value::Null, &Value::Null));
    assert_hidden(&server, &ada, &id, &["hide-and-seek"]).await;
}

#[tokio::test]
async fn a_client_certificate_wants_https() {
    let (server, ada) = begin(&Home::new()).await;
    let (plain, secure) = ("http://127.0.0.1:4/hook", "https://127.0.0.1:4/hook");
    let identity = Authority::new().identity("ada");
    let tls = json!({"certificate": identity.certificate, "private_key": identity.private_key});
    let assert_refused = |answer: Answer, member: &str| {
        let problem = answer.expect_invalid(member);
        assert!(text(&problem, "detail").contains("show no client certificate"), "{problem}");
    };
    assert_refused(subscribe(&ada, plain, json!({"tls": tls})).await, "tls");
    assert_eq!(ada.get("/webhooks/subscriptions").await["data"], json!([]));

    let without = text(&subscribe(&ada, plain, json!({})).await.expect(201), "id");
    assert_refused(change(&ada, &without, json!({"tls": tls})).await, "tls");
    assert_refused(change(&ada, &without, json!({"tls": tls, "url": format!("{plain}/b")})).await, "tls");
    let with = text(&subscribe(&ada, secure, json!({"tls": tls})).await.expect(201), "id");
    assert_refused(change(&ada, &with, json!({"url": plain})).await, "url");
    assert_refused(change(&ada, &with, json!({"url": plain, "timeout": "2s"})).await, "url");
    let view = ada.subscription(&with).await;
    assert_eq!((&view["url"], view["timeout"] == "2s", view["tls"].is_null()), (&json!(secure), false, false));

    // Both at once, and one after the other in an order that fits.
    change(&ada, &with, json!({"url": format!("{plain}/b"), "tls": null})).await.expect(200);
    change(&ada, &with, json!({"url": secure, "tls": tls})).await.expect(200);
    change(&ada, &with, json!({"url": format!("{secure}/c")})).await.expect(200);
    drop(server);
}

#[tokio::test]
async fn headers_of_the_owners_own_arrive() {
    let mut receiver = Receiver::start().await;
    let (server, ada) = begin(&Home::new()).await;
    let wishes = json!({"headers": {"X-Team": "bridge  and\tengine", "x-empty": ""}});
    let view = subscribe(&ada, &receiver.url, wishes).await.expect(201);
    assert_eq!(view["headers"], json!({"x-team": "bridge  and\tengine", "x-empty": ""}));
    let id = text(&view, "id");
    trigger(&server).await;
    let received = receiver.next().await;
    assert_eq!(
        (received.header("x-team"), received.headers.get("x-empty").unwrap().as_bytes()),
        ("bridge  and\tengine", &b""[..])
    );
    received.verify(&text(&view, "secret")).unwrap();
    change(&ada, &id, json!({"headers": {"x-other": "1"}})).await.expect(200);
    trigger(&server).await;
    let received = receiver.next().await;
    assert!(received.header("x-other") == "1" && !received.headers.contains_key("x-team"));
    assert_eq!(change(&ada, &id, json!({"headers": null})).await.expect(200)["headers"], json!({}));
    trigger(&server).await;
    assert!(!receiver.next().await.headers.contains_key("x-other"));
}

fn oauth2(tokens: &TokenServer) -> Value {
    let (id, secret) = (CLIENT_ID, CLIENT_SECRET);
    json!({"type": "oauth2", "token_url": tokens.token_url, "client_id": id, "client_secret": secret, "scope": "hooks:write"})
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept() {
    let mut tokens = TokenServer::start(3600).await;
    let (server, ada) = begin(&Home::new().set("HOOKCAST_LOG_LEVEL", "trace")).await;
    let view = subscribe(&ada, &tokens.hook_url, json!({"auth": oauth2(&tokens)})).await.expect(201);
    let shown =
        json!({"type": "oauth2", "token_url": tokens.token_url, "client_id": CLIENT_ID, "scope": "hooks:write"});
    assert_eq!(view["auth"], shown);
    server.http.trigger_many(EVENT, 20).await;
    for _ in 0..20 {
        let received = tokens.next().await;
        assert_eq!(received.header("authorization"), "Bearer token-1");
        received.verify(&text(&view, "secret")).unwrap();
    }
    assert_eq!(tokens.forms(), ["grant_type=client_credentials&scope=hooks%3Awrite"]);
    assert_hidden(&server, &ada, &text(&view, "id"), &[CLIENT_SECRET, "Bearer token-1"]).await;
}

#[tokio::test]
async fn a_token_that_has_run_out_or_was_revoked_is_replaced() {
    let mut tokens = TokenServer::start(3600).await;
    let home = Home::new().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let (server, ada) = begin(&home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", PATIENT)).await;
    let view = subscribe(&ada, &tokens.hook_url, json!({"auth": oauth2(&tokens)})).await.expect(201);
    trigger(&server).await;
    tokens.next().await;
    tokens.revoke_all();
    let event = trigger(&server).await;
    assert_eq!(tokens.next().await.header("authorization"), "Bearer token-2");
    server.http.event_in_state(&event, "delivered").await;
    assert_eq!(tokens.issued(), 2);

    // One that lasts for a second is asked for anew by itself.
    let mut brief = TokenServer::start(1).await;
    let wishes = json!({"auth": oauth2(&brief), "url": brief.hook_url});
    change(&ada, &text(&view, "id"), wishes).await.expect(200);
    eventually("a third token", async || {
        trigger(&server).await;
        brief.next().await;
        (brief.issued() >= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn broken_servers_of_tokens_are_failures_of_authentication_and_pass() {
    let mut tokens = TokenServer::start(3600).await;
    // A breaker would wait for longer than the test.
    let home = Home::new().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", PATIENT).set("HOOKCAST_LOG_LEVEL", "trace");
    let (server, ada) = begin(&home).await;
    let view = subscribe(&ada, &tokens.hook_url, json!({"auth": oauth2(&tokens)})).await.expect(201);
    tokens.break_next([
        (500, "the words of a stranger"),
        (200, "<html>the words of a stranger</html>"),
        (400, r#"{"error":"invalid_scope","error_description":"the words of a stranger"}"#),
    ]);
    let event = trigger(&server).await;
    tokens.next().await;
    let event = server.http.event_in_state(&event, "delivered").await;
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    let (last, failed) = attempts.split_last().unwrap();
    assert!(!failed.is_empty() && last["status"] == 200, "{event}");
    let details: Vec<_> = failed.iter().map(|attempt| text(attempt, "detail")).collect();
    assert!(failed.iter().all(|attempt| attempt["failure"] == "auth"), "{event}");
    for expected in ["answered 500", "no JSON with an `access_token`", "answered 400 (invalid_scope)"] {
        assert!(details.iter().any(|detail| detail.contains(expected)), "{expected}: {details:?}");
    }
    assert_hidden(&server, &ada, &text(&view, "id"), &["the words of a stranger", CLIENT_SECRET]).await;

    let wrong = json!({"type": "oauth2", "token_url": tokens.token_url, "client_id": CLIENT_ID, "client_secret": "a wrong one"});
    change(&ada, &text(&view, "id"), json!({"auth": wrong, "retries": []})).await.expect(200);
    let event = server.http.event_in_state(&trigger(&server).await, "failed").await;
    let detail = text(&event["deliveries"][0]["attempts"][0], "detail");
    assert!(detail.contains("401 (invalid_client)"), "{detail}");
}

#[tokio::test]
async fn a_callback_gets_the_certificate_that_it_asks_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let mut receiver = StrictReceiver::start(&authority);
    let home = Home::new().set("HOOKCAST_LOG_LEVEL", "trace").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let (server, ada) = begin(&home).await;
    let (own, foreign) = (authority.identity("hookcast"), stranger.identity("hookcast"));
    let tls = |identity: &crate::support::tls::Identity, ca: Option<&str>| json!({"tls": {"certificate": identity.certificate, "private_key": identity.private_key, "ca": ca}});
    let view = subscribe(&ada, &receiver.url, tls(&own, Some(&authority.pem))).await.expect(201);
    let id = text(&view, "id");
    assert_eq!(text(&view["tls"], "certificate_sha256").len(), 64);
    trigger(&server).await;
    let (certificate, request) = receiver.next().await;
    assert_eq!(certificate, CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap());
    assert!(request.contains("webhook-signature: v1,"), "{request}");

    let failing = async |wishes: Value| {
        change(&ada, &id, wishes).await.expect(200);
        let event = server.http.event_in_state(&trigger(&server).await, "failed").await;
        event["deliveries"][0]["attempts"][0].clone()
    };
    // Neither does the callback believe a stranger, nor Hookcast a callback of an authority that nobody named.
    let attempt = failing(tls(&foreign, Some(&authority.pem))).await;
    assert!(attempt["status"].is_null(), "{attempt}");
    let attempt = failing(tls(&own, None)).await;
    assert_eq!(attempt["failure"], "tls", "{attempt}");
    let attempt = failing(json!({"tls": null})).await;
    assert_eq!(attempt["failure"], "tls", "{attempt}");
    assert_eq!(ada.subscription(&id).await["tls"], Value::Null);

    change(&ada, &id, tls(&own, Some(&authority.pem))).await.expect(200);
    trigger(&server).await;
    receiver.next().await;
    let keys = [&own, &foreign].map(|identity| identity.private_key.lines().nth(1).unwrap());
    assert_hidden(&server, &ada, &id, &keys).await;
}
