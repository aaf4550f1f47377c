//! What must not happen does not: requests to where none may go, secrets where others read.

use serde_json::json;

use crate::support::{
    eventually,
    receiver::Receiver,
    server::{Home, REGISTRATION_TOKEN, TRIGGER_TOKEN},
};

#[tokio::test]
async fn addresses_are_judged_when_a_delivery_is_made_and_not_only_before() {
    let receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let home = home.set("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8,::1");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("inward", &receiver.url).await;
    ada.subscribe("inward", &receiver.url.replace("127.0.0.1", "localhost")).await;
    drop(server);

    let home = home.unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS");
    let server = home.serve();
    let receipt = server.http.trigger("inward", json!({})).await;
    assert_eq!(receipt["subscriptions"], 2);
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "failed").await;
    for delivery in event["deliveries"].as_array().unwrap() {
        let attempt = &delivery["attempts"][0];
        assert_eq!(attempt["failure"], "address_refused", "{attempt}");
        assert!(attempt["status"].is_null());
        assert!(attempt["detail"].as_str().unwrap().contains("callbacks may not go there"), "{attempt}");
    }
    assert_eq!(receiver.total(), 0);
}

#[tokio::test]
async fn schemes_and_ports_that_the_operator_refuses_are_refused_to_old_and_new_subscriptions() {
    let receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    server.http.account("ada").await.subscribe("outward", &receiver.url).await;
    drop(server);

    let mut home = home;
    for (name, value, reason) in [
        ("HOOKCAST_DELIVERY_HTTPS_ONLY", "true", "must begin with `https://`"),
        ("HOOKCAST_DELIVERY_ALLOW_PORTS", "1-2,443", "use one that the operator allows"),
    ] {
        home = home.set(name, value);
        let server = home.serve();
        let bob = server.http.account(name).await;
        let refused = bob.try_subscribe("outward", &receiver.url).await.expect_problem(422);
        assert!(refused.to_string().contains(reason), "{refused}");
        let receipt = server.http.trigger("outward", json!({})).await;
        let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "failed").await;
        let attempt = &event["deliveries"][0]["attempts"][0];
        assert_eq!(attempt["failure"], "address_refused", "{attempt}");
        assert!(attempt["detail"].as_str().unwrap().contains(reason), "{attempt}");
        home = home.unset(name);
    }
    assert_eq!(receiver.total(), 0);
}

#[tokio::test]
async fn callbacks_use_the_proxy_of_the_settings_and_none_of_the_environment() {
    let mut receiver = Receiver::start().await;
    let deserted = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let home = proxies.iter().fold(home, |home, name| home.set(name, &format!("http://{deserted}")));
    let server = home.serve();
    server.http.account("ada").await.subscribe("outward", &receiver.url).await;
    server.http.trigger("outward", json!({})).await;
    receiver.next().await;
    drop(server);

    let proxy = format!("http://me:word-of-the-proxy@{deserted}");
    let home = home.set("HOOKCAST_DELIVERY_PROXY", &proxy).set("HOOKCAST_LOG_LEVEL", "trace");
    let server = home.serve();
    let receipt = server.http.trigger("outward", json!({})).await;
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "failed").await;
    let attempt = &event["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["failure"], "connect", "{attempt}");
    assert!(attempt["detail"].as_str().unwrap().starts_with("no connection to the proxy: "), "{attempt}");
    assert_eq!(receiver.total(), 1);
    let checked = home.run(&["check-config"]);
    for text in [server.log(), String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap()] {
        assert!(!text.contains("word-of-the-proxy"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_logged() {
    let mut receiver = Receiver::start().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new().set("HOOKCAST_LOG_LEVEL", "trace").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut secrets = vec![ada.token.clone(), REGISTRATION_TOKEN.to_owned(), TRIGGER_TOKEN.to_owned()];
    let mut failing = Vec::new();
    for (host, token) in [
        (receiver.url.clone(), "token-of-a-good-callback"),
        (format!("http://{dead}"), "token-of-a-dead-callback"),
        (receiver.url.replace("http:", "https:"), "token-of-a-callback-without-tls"),
        ("http://nowhere.invalid".to_owned(), "token-of-a-callback-without-a-name"),
    ] {
        let subscription = ada.subscribe("watched", &format!("{host}/hook?token={token}")).await;
        let path = format!("/webhooks/subscriptions/{}/rotate-secret", subscription.id);
        let rotated = server.http.post(&path).bearer(&ada.token).send().await.expect(200);
        secrets.extend([token.to_owned(), subscription.secret, rotated["secret"].as_str().unwrap().to_owned()]);
        if host != receiver.url {
            failing.push(subscription.id);
        }
    }
    let refused = ada.try_subscribe("watched", "http://10.0.0.1/hook?token=token-of-a-refused-callback").await;
    refused.expect_problem(422);
    secrets.push("token-of-a-refused-callback".to_owned());
    let unknown = server.http.get("/webhooks/subscriptions").bearer("token-that-nobody-knows").send().await;
    unknown.expect_problem(401);
    secrets.push("token-that-nobody-knows".to_owned());

    server.http.trigger("watched", json!({})).await;
    receiver.next().await;
    for id in failing {
        ada.subscription_when(&id, "a failed attempt", |now| now["waiting"] == 1).await;
    }
    let output = home.run(&["resend", "--all"]);
    assert_eq!(output.status.code(), Some(2));

    eventually("the whole log", async || {
        let log = server.log();
        (log.contains("attempt failed") && log.contains("delivered")).then_some(())
    })
    .await;
    let logs = [server.log(), String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap()];
    assert!(logs[0].contains("DEBUG"), "{}", logs[0]);
    for log in &logs[..2] {
        assert!(log.contains("attempt failed") && log.contains("/hook?"), "{log}");
    }
    for secret in secrets {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!bare.is_empty() && logs.iter().all(|log| !log.contains(bare)), "{secret} is in\n{}", logs.concat());
    }
}
