//! Subscriptions: made, listed, changed, removed, each by its own account.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    receiver::{Received, Receiver, Reply},
    server::{Home, TRIGGER_TOKEN},
    world::Account,
};

/// Where nobody listens.
const URL: &str = "http://127.0.0.1:3/hook?token=1";

fn path(id: &str) -> String {
    format!("/webhooks/subscriptions/{id}")
}

/// The subscriptions that an account sees.
async fn listed(account: &Account) -> Vec<Value> {
    account.get("/webhooks/subscriptions").await["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_subscription_shows_its_secret_once() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let answer = ada.try_subscribe("relation_added", URL).await;
    let mut made = answer.expect(201);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(made["id"].as_str().unwrap().starts_with("sub_"));
    assert!(made["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    for (member, value) in [
        ("user_id", json!("ada")),
        ("event", json!("relation_added")),
        ("url", json!(URL)),
        ("is_active", json!(true)),
        ("failure_count", json!(0)),
    ] {
        assert_eq!(made[member], value, "{member}");
    }
    let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(standardwebhooks::Webhook::new(secret.as_str().unwrap()).is_ok());
    assert!(secret.as_str().unwrap().starts_with("whsec_"));

    assert_eq!(ada.subscription(made["id"].as_str().unwrap()).await, made);
    assert_eq!(listed(&ada).await, [made.clone()]);
    assert_eq!(ada.set_active(made["id"].as_str().unwrap(), true).await, made);
}

#[tokio::test]
async fn the_same_event_and_url_again_is_the_subscription_that_exists() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let first = ada.subscribe("e", URL).await;
    ada.set_active(&first.id, false).await;
    let (as_it_is, before) = (ada.subscription(&first.id).await, home.stored());
    assert_eq!(ada.try_subscribe("e", URL).await.expect(200), as_it_is);
    home.assert_stores(&before);

    let others = [("E", URL), ("e", "http://127.0.0.1:3/hook?token=2"), ("e", "http://127.0.0.1:3/hook")];
    let mut ids = BTreeSet::from([first.id]);
    for (event, url) in others {
        ids.insert(ada.subscribe(event, url).await.id);
    }
    let bob = server.http.account("bob").await;
    ids.insert(bob.subscribe("e", URL).await.id);
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn of_many_equal_subscriptions_at_once_one_is_made() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        let ada = ada.clone();
        racers.spawn(async move { ada.try_subscribe("e", URL).await });
    }
    let answers = racers.join_all().await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let found = answers.iter().filter(|answer| answer.status == 200 && answer.json().get("secret").is_none()).count();
    assert_eq!((made, found), (1, 15));
    assert_eq!(answers.iter().map(|answer| answer.json()["id"].to_string()).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(listed(&ada).await.len(), 1);
}

#[tokio::test]
async fn event_types_have_few_characters() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    for event in ["e", "relation_added", "a.b-c:d/E9", "_", "/", "..", &"x".repeat(256)] {
        let subscription = ada.subscribe(event, URL).await;
        assert_eq!(ada.set_active(&subscription.id, false).await["event"], event);
        let receipt = server.http.trigger(event, Value::Null).await;
        assert_eq!((&receipt["event"], &receipt["subscriptions"]), (&json!(event), &json!(1)));
    }
    let before = home.stored();
    for event in ["", " ", "a b", "é", "a\n", "a\u{0}", "a\\", "a?", "😀", &"x".repeat(257)] {
        ada.try_subscribe(event, URL).await.expect_invalid("event");
        server.http.try_trigger(&json!({"event": event, "payload": 1})).await.expect_invalid("event");
    }
    // A pattern may be wanted, and is no type of an event.
    server.http.try_trigger(&json!({"event": "a*", "payload": 1})).await.expect_invalid("event");
    home.assert_stores(&before);
}

#[tokio::test]
async fn a_rotated_secret_signs_from_then_on() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let first = ada.subscribe("e", &receiver.url).await;
    let other = ada.subscribe("other", &receiver.url).await;
    server.http.trigger("e", json!(1)).await;
    receiver.next().await.verify(&first.secret).unwrap();

    for _ in 0..2 {
        let path = format!("{}/rotate-secret", path(&first.id));
        let mut rotated = ada.request(Method::POST, &path).json(&json!({"overlap": "0"})).send().await.expect(200);
        let secret = rotated.as_object_mut().unwrap().remove("secret").unwrap();
        assert_eq!(ada.subscription(&first.id).await["url"], rotated["url"]);
        server.http.trigger("e", json!(2)).await;
        let received = receiver.next().await;
        received.verify(secret.as_str().unwrap()).unwrap();
        assert!(received.verify(&first.secret).is_err());
    }
    server.http.trigger("other", json!(3)).await;
    receiver.next().await.verify(&other.secret).unwrap();
}

#[tokio::test]
async fn a_secret_rotated_between_two_tries_signs_the_second() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", &receiver.url).await;
    receiver.next_replies([500]);
    server.http.trigger("e", json!(1)).await;
    receiver.next().await.verify(&subscription.secret).unwrap();
    ada.subscription_when(&subscription.id, "the failure", |now| now["failure_count"] == 1).await;

    let path = format!("{}/rotate-secret", path(&subscription.id));
    let rotated = ada.request(Method::POST, &path).send().await.expect(200);
    assert_eq!((&rotated["failure_count"], &rotated["waiting"]), (&json!(1), &json!(1)));
    ada.set_active(&subscription.id, true).await;
    receiver.next().await.verify(rotated["secret"].as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn each_account_sees_and_changes_only_its_own() {
    let home = Home::new();
    let server = home.serve();
    let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
    let adas = ada.subscribe("e", URL).await;
    let bobs = bob.subscribe("e", URL).await;
    assert_eq!(listed(&ada).await, [ada.subscription(&adas.id).await]);
    assert_eq!(listed(&bob).await, [bob.subscription(&bobs.id).await]);

    let before = home.stored();
    let (one, rotate, deliveries) =
        (path(&adas.id), format!("{}/rotate-secret", path(&adas.id)), format!("{}/deliveries", path(&adas.id)));
    for call in [
        bob.request(Method::GET, &one),
        bob.request(Method::DELETE, &one),
        bob.request(Method::PATCH, &one).json(&json!({"is_active": false})),
        bob.request(Method::PATCH, &one).json(&json!({})),
        bob.request(Method::POST, &rotate),
        bob.request(Method::GET, &deliveries),
    ] {
        call.send().await.expect_problem(404);
    }
    home.assert_stores(&before);
}

#[tokio::test]
async fn a_deleted_subscription_is_gone_and_gets_nothing_more() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let kept = ada.subscribe("e", &format!("{}/kept", receiver.url)).await;
    let url = format!("{}/deleted", receiver.url);
    let deleted = ada.subscribe("e", &url).await;
    ada.set_active(&deleted.id, false).await;
    let waiting = server.http.trigger("e", json!(1)).await;
    assert_eq!(receiver.next().await.uri, "/kept");

    let answer = ada.request(Method::DELETE, &path(&deleted.id)).send().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    for call in [
        ada.request(Method::GET, &path(&deleted.id)),
        ada.request(Method::DELETE, &path(&deleted.id)),
        ada.request(Method::PATCH, &path(&deleted.id)).json(&json!({"is_active": true})),
        ada.request(Method::GET, &format!("{}/deliveries", path(&deleted.id))),
        ada.request(Method::POST, &format!("{}/rotate-secret", path(&deleted.id))),
    ] {
        call.send().await.expect_problem(404);
    }
    assert_eq!(listed(&ada).await, [ada.subscription(&kept.id).await]);
    let event = server.http.event(waiting["id"].as_str().unwrap()).await;
    let states: Vec<_> = event["deliveries"].as_array().unwrap().iter().map(|delivery| &delivery["state"]).collect();
    assert!(states.contains(&&json!("cancelled")), "{event}");

    assert_eq!(server.http.trigger("e", json!(2)).await["subscriptions"], 1);
    assert_eq!(receiver.next().await.uri, "/kept");
    assert_ne!(ada.subscribe("e", &url).await.id, deleted.id);
    assert_eq!(server.http.trigger("e", json!(3)).await["subscriptions"], 2);
    receiver.take(2).await;
    assert_eq!(receiver.total(), 4);
}

#[tokio::test]
async fn what_waits_for_an_inactive_subscription_goes_out_when_it_is_active_again() {
    let mut receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", &receiver.url).await;
    assert_eq!(ada.set_active(&subscription.id, false).await["is_active"], false);
    let mut promised = BTreeSet::new();
    for n in 0..5 {
        promised.insert(server.http.trigger("e", json!(n)).await["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ada.subscription(&subscription.id).await["waiting"], 5);
    for delivery in ada.deliveries(&subscription.id).await {
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("waiting"), &json!([])));
    }
    assert_eq!(receiver.total(), 0);

    assert_eq!(ada.set_active(&subscription.id, true).await["is_active"], true);
    let received: BTreeSet<_> = receiver.take(5).await.iter().map(Received::id).collect();
    assert_eq!(received, promised);
    ada.subscription_when(&subscription.id, "nothing waits", |now| now["waiting"] == 0).await;
}

#[tokio::test]
async fn a_subscription_that_failed_too_often_starts_afresh_when_it_is_reactivated() {
    let mut receiver = Receiver::start().await;
    let server = Home::new()
        .set("HOOKCAST_DELIVERY_MAX_FAILURES", "1")
        .set("HOOKCAST_DELIVERY_DEACTIVATE_AFTER", "0")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1ms,1h,1h")
        .serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", &receiver.url).await;
    receiver.next_replies([500, 500]);
    let event = server.http.trigger("e", json!(1)).await;
    let inactive = ada.subscription_when(&subscription.id, "inactive", |now| now["is_active"] == false).await;
    assert_eq!(inactive["failure_count"], 2);
    assert_eq!(server.http.event(event["id"].as_str().unwrap()).await["unreached"]["reason"], "inactive");
    receiver.take(2).await;

    let active = ada.set_active(&subscription.id, true).await;
    assert_eq!((&active["is_active"], &active["failure_count"]), (&json!(true), &json!(0)));
    assert_eq!(receiver.next().await.id(), event["id"]);
    server.http.event_in_state(event["id"].as_str().unwrap(), "delivered").await;
}

#[tokio::test]
async fn deliveries_tell_of_every_attempt() {
    let receiver = Receiver::start().await;
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let url = format!("{}/hook?token=secret", receiver.url);
    let subscription = ada.subscribe("e", &url).await;
    let long = "é".repeat(1_000);
    receiver.next_replies([
        Reply { status: 500, body: long.clone(), ..Reply::default() },
        Reply { status: 204, ..Reply::default() },
        Reply { status: 200, body: "thanks".into(), ..Reply::default() },
    ]);
    let event = server.http.trigger("e", json!(1)).await;
    server.http.event_in_state(event["id"].as_str().unwrap(), "delivered").await;

    let [delivery] = ada.deliveries(&subscription.id).await.try_into().unwrap();
    assert_eq!((&delivery["event_id"], &delivery["event"]), (&event["id"], &json!("e")));
    assert_eq!((&delivery["url"], &delivery["next_attempt_at"]), (&json!(url), &Value::Null));
    let attempts = delivery["attempts"].as_array().unwrap();
    let summary: Vec<_> = attempts.iter().map(|attempt| (&attempt["number"], &attempt["status"])).collect();
    assert_eq!(json!(summary), json!([[1, 500], [2, 204], [3, 200]]));
    let answers: Vec<_> = attempts.iter().map(|attempt| attempt["answer"].as_str().unwrap()).collect();
    assert_eq!(answers, [&long[..1_024], "", "thanks"]);
    let mut earlier = event["time"].as_str().unwrap();
    for attempt in attempts {
        assert!(attempt["latency_ms"].is_u64(), "{attempt}");
        let time = attempt["time"].as_str().unwrap();
        assert!(time >= earlier, "{time} is before {earlier}");
        earlier = time;
    }
    // The producer reads of it too, without the token in the URL.
    let event = server.http.event(event["id"].as_str().unwrap()).await;
    assert_eq!(event["deliveries"][0]["url"], format!("{}/hook?token=***", receiver.url));
    assert_eq!(event["deliveries"][0]["attempts"], delivery["attempts"]);
}

#[tokio::test]
async fn an_attempt_without_an_answer_says_at_what_stage_it_failed() {
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").serve();
    let ada = server.http.account("ada").await;
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (event, url, failure) in
        [("refused", format!("http://{refusing}/"), "connect"), ("unknown", "http://hooks.invalid/".into(), "dns")]
    {
        let subscription = ada.subscribe(event, &url).await;
        let receipt = server.http.trigger(event, json!(1)).await;
        server.http.event_in_state(receipt["id"].as_str().unwrap(), "failed").await;
        let [delivery] = ada.deliveries(&subscription.id).await.try_into().unwrap();
        let [attempt] = delivery["attempts"].as_array().unwrap().as_slice() else { panic!("{delivery}") };
        assert_eq!((&attempt["status"], &attempt["answer"]), (&Value::Null, &Value::Null));
        assert_eq!(attempt["failure"], failure);
        assert!(!attempt["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let mut made = Vec::new();
    for n in 0..5 {
        let subscription = ada.subscribe("e", &format!("{URL}&n={n}")).await;
        ada.set_active(&subscription.id, false).await;
        made.push(subscription.id);
    }
    let mut events = Vec::new();
    for n in 0..5 {
        events.push(server.http.trigger("e", json!(n)).await["id"].as_str().unwrap().to_owned());
    }
    events.reverse();

    let deliveries = format!("{}/deliveries", path(&made[0]));
    for size in [1, 2, 4, 5, 6, 1_000] {
        assert_eq!(walk(&ada, "/webhooks/subscriptions", "id", size).await, made, "pages of {size}");
        assert_eq!(walk(&ada, &deliveries, "event_id", size).await, events, "pages of {size}");
        assert_eq!(walk(&ada, &format!("{deliveries}?state=waiting"), "event_id", size).await, events);
        assert!(walk(&ada, &format!("{deliveries}?state=delivered"), "event_id", size).await.is_empty());
    }
    let producer = Account { token: TRIGGER_TOKEN.into(), ..ada };
    let event = format!("/webhooks/events/{}", events[0]);
    assert_eq!(walk(&producer, &event, "subscription_id", 2).await, made);
}

/// A member of every item of a list, read in pages of this size.
async fn walk(reader: &Account, list: &str, member: &str, size: usize) -> Vec<String> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if list.contains('?') { '&' } else { '?' };
        let page = reader.get(&format!("{list}{separator}limit={size}{cursor}")).await;
        let data = page.get("data").unwrap_or(&page["deliveries"]).as_array().unwrap();
        items.extend(data.iter().map(|item| item[member].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else {
            assert!(data.len() <= size && page["next_cursor"].is_null());
            return items;
        };
        assert_eq!(data.len(), size, "a page that is not the last is full");
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn parameters_of_lists_have_bounds() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", URL).await;
    ada.set_active(&subscription.id, false).await;
    let event = server.http.trigger("e", json!(1)).await;
    let deliveries = format!("{}/deliveries", path(&subscription.id));
    let event = format!("/webhooks/events/{}", event["id"].as_str().unwrap());
    let producer = Account { token: TRIGGER_TOKEN.into(), ..ada.clone() };
    for (reader, list) in [(&ada, "/webhooks/subscriptions"), (&ada, &deliveries), (&producer, &event)] {
        for limit in ["0", "-1", "1001", "1.5", "", "x", "4294967296", "99999999999999999999"] {
            let call = reader.request(Method::GET, &format!("{list}?limit={limit}"));
            call.send().await.expect_invalid("limit");
        }
        for cursor in
            ["", "x", "1", "c", "c-1", "cg", &format!("c1{}", "f".repeat(32)), "c%00", "%FF", &"c0".repeat(100)]
        {
            let call = reader.request(Method::GET, &format!("{list}?cursor={cursor}"));
            call.send().await.expect_invalid("cursor");
        }
        for limit in ["1", "1000"] {
            reader.get(&format!("{list}?limit={limit}")).await;
        }
    }
    for state in ["", "lost", "Delivered"] {
        ada.request(Method::GET, &format!("{deliveries}?state={state}")).send().await.expect_invalid("state");
    }
}

/// Where callbacks may not go, and what is no callback at all.
const REFUSED: &[&str] = &[
    // This host.
    "http://127.0.0.1/ http://127.8.9.10:9000/ http://0.0.0.0/ http://127.1/ http://2130706433/ http://0x7f.0.0.1/ \
     http://0177.0.0.1/ http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ \
     http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://localhost/ http://LOCALHOST:80/ http://localhost./ \
     http://a.localhost/ http://a.b.localhost/ http://ip6-localhost/ https://localhost.localdomain/",
    // Private and local networks.
    "http://10.0.0.1/ http://172.16.0.1/ http://172.31.255.255/ http://192.168.0.1/ https://100.64.0.1/ \
     http://169.254.0.1/ http://[fe80::1]/ http://[fc00::1]/ http://[fd12:3456::1]/ http://[fec0::1]/ \
     http://printer.local/ http://db.internal/ http://nas.home.arpa/",
    // Metadata services.
    "http://169.254.169.254/latest/meta-data/ http://[fd00:ec2::254]/ http://100.100.100.200/ http://metadata/ \
     http://168.63.129.16/ http://metadata.google.internal/ http://METADATA.GOOGLE.INTERNAL./ http://2852039166/",
    // Other special addresses.
    "http://0.1.2.3/ http://192.0.0.1/ http://192.0.2.1/ http://198.18.0.1/ http://198.51.100.1/ http://203.0.113.1/ \
     http://224.0.0.1/ http://240.0.0.1/ http://255.255.255.255/ http://[ff02::1]/ http://[2001:db8::1]/ \
     http://[100::1]/ http://[2001::1]/ http://[64:ff9b:1::1]/",
    // Other schemes, or none.
    "ftp://example.com/ file:///etc/passwd gopher://example.com/ javascript:alert(1) data:text/plain,x ws://example.com \
     example.com //example.com/ /hook hook http https: http:// http:example.com http:/example.com http:///example.com \
     ://example.com/",
    // Credentials, ports, hosts and fragments that are none.
    "http://user@93.184.215.14/ http://user:pass@93.184.215.14/ http://@93.184.215.14/ http://93.184.215.14:0/ \
     http://93.184.215.14:/ http://93.184.215.14:080/ http://93.184.215.14:65536/ http://93.184.215.14:-1/ \
     http://93.184.215.14:http/ http://93.184.215.14/#x https://:443/ https://?x http://a..invalid/ http://.invalid/ \
     http://256.1.1.1/ http://1.2.3.4.5/ http://[::1 http://[fe80::1%25eth0]/ http://%6c%6f%63alhost/ \
     http://93.184.215.14\\ http:\\\\93.184.215.14/ http://93.184.215.14/\\ http://x\\@127.0.0.1/",
];

#[tokio::test]
async fn callbacks_go_to_public_addresses_only() {
    let home = Home::new().unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let before = home.stored();
    for url in REFUSED.iter().flat_map(|group| group.split_whitespace()) {
        println!("{url}");
        ada.try_subscribe("e", url).await.expect_invalid("url");
    }
    let too_long = format!("https://93.184.215.14/{}", "x".repeat(2_048));
    let unseen = ["", " ", " http://93.184.215.14/", "http://93.184.215.14/ ", "http://93.184.215.14/a b", "\u{feff}x"];
    let hidden =
        ["http://93.184.215.14/\n", "http://93.184.215.14/\tx", "http://93.184\u{ad}.215.14/", "http://\u{0}/"];
    for url in unseen.into_iter().chain(hidden).chain([too_long.as_str()]) {
        ada.try_subscribe("e", url).await.expect_invalid("url");
    }
    home.assert_stores(&before);
}

#[tokio::test]
async fn public_callbacks_are_kept_as_they_were_written() {
    let server = Home::new().unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS").serve();
    let ada = server.http.account("ada").await;
    let longest = format!("https://93.184.215.14/{}", "x".repeat(2_048 - 22));
    for url in [
        "http://93.184.215.14",
        "HTTPS://93.184.215.14:8443/Hook?a=1&b=%20",
        "http://93.184.215.14:80/../x",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:65535/",
        "https://something.invalid/a/../b",
        "https://ünïcode.invalid/ü",
        "https://something.invalid./",
        &longest,
    ] {
        println!("{url}");
        assert_eq!(ada.try_subscribe("e", url).await.expect(201)["url"], url);
    }
}

#[tokio::test]
async fn the_operator_may_allow_networks_and_only_they_open() {
    let server = Home::new().set("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "10.1.0.0/16,fd00:1::/32").serve();
    let ada = server.http.account("ada").await;
    for url in ["http://10.1.0.0/", "http://10.1.255.255/", "http://[fd00:1::1]/", "http://[::ffff:10.1.2.3]/"] {
        ada.try_subscribe("e", url).await.expect(201);
    }
    for url in
        ["http://10.0.255.255/", "http://10.2.0.0/", "http://[fd00:2::1]/", "http://127.0.0.1/", "http://localhost/"]
    {
        ada.try_subscribe("e", url).await.expect_invalid("url");
    }
}

#[tokio::test]
async fn a_network_that_is_no_longer_allowed_is_not_called() {
    let receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("e", &receiver.url).await;
    assert!(server.stop().success());

    let server = home.unset("HOOKCAST_DELIVERY_ALLOW_NETWORKS").serve();
    let event = server.http.trigger("e", json!(1)).await;
    let event = server.http.event_in_state(event["id"].as_str().unwrap(), "failed").await;
    assert_eq!(event["deliveries"][0]["attempts"][0]["failure"], "address_refused");
    assert_eq!(receiver.total(), 0);
}
