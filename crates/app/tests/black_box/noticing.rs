//! Owners and operators are told when a subscription's state changes: by events, and by one mail each.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually, loopback_address,
    receiver::{Received, Receiver},
    server::{Home, Server},
    smtp::MailServer,
    world::{Account, Subscription},
};

/// Settings under which a callback soon counts as failing, and is asked again and again.
fn restless(home: Home) -> Home {
    home.set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "2")
        .set("HOOKCAST_DELIVERY_BREAKER_PAUSE", "50ms")
        .set("HOOKCAST_DELIVERY_BREAKER_LONGEST_PAUSE", "50ms")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["50ms"; 100].join(","))
}

fn mailing(home: Home, url: &str) -> Home {
    restless(home)
        .set("HOOKCAST_MAIL_SMTP", url)
        .set("HOOKCAST_MAIL_FROM", "Citations <hooks@example.org>")
        .set("HOOKCAST_MAIL_TLS", "off")
}

/// The subjects of the mails so far, once there are so many.
async fn subjects(mails: &MailServer, count: usize) -> Vec<String> {
    let subject = |mail: &Value| mail["headers"]["subject"].as_str().unwrap().to_owned();
    let arrived = eventually("mails", async || Some(mails.mails()).filter(|mails| mails.len() >= count)).await;
    arrived.iter().map(subject).collect()
}

async fn watch(server: &Server, ada: &Account, receiver: &Receiver) -> Subscription {
    receiver.always(500);
    let watched = ada.subscribe("watched", &receiver.url).await;
    server.http.trigger("watched", json!({"n": 1})).await;
    watched
}

#[tokio::test]
async fn those_whom_it_concerns_get_an_event_and_nobody_else() {
    let server = restless(Home::new()).set("HOOKCAST_NOTICES_OPERATORS", "olga").serve();
    let (ada, bob, olga) =
        tokio::join!(server.http.account("ada"), server.http.account("bob"), server.http.account("olga"));
    let mut told = Receiver::start().await;
    let mut expected = BTreeSet::new();
    for (who, name) in [(&ada, "ada"), (&olga, "olga"), (&bob, "bob")] {
        let subscription = who.subscribe("subscription.*", &format!("{}/{name}", told.url)).await;
        if name != "bob" {
            expected.insert(subscription.id);
        }
    }
    ada.subscribe("*", &format!("{}/everything", told.url)).await;
    let receiver = Receiver::start().await;
    receiver.always(500);
    // What fails would hardly get the notice of it.
    let body = json!({"event": ["watched", "subscription.*"], "url": format!("{}/?token=hidden", receiver.url)});
    let watched = ada.subscribe_as(&body).await;
    let id = watched["id"].as_str().unwrap();

    server.http.trigger("watched", json!({})).await;
    for (kind, status) in [("failing", 200), ("recovered", 410), ("deactivated", 200)] {
        let notices: Vec<Received> = next_notices(&mut told, 2).await;
        let paths: BTreeSet<_> = notices.iter().map(|notice| notice.uri.path()).collect();
        assert_eq!(paths, ["/ada", "/olga"].into());
        for notice in &notices {
            let body = notice.json();
            assert_eq!(body["event"], format!("subscription.{kind}"));
            let payload = &body["payload"];
            assert_eq!((&payload["subscription"], &payload["user_id"]), (&json!(id), &json!("ada")));
            assert_eq!(payload["url"], format!("{}/?token=***", receiver.url));
            assert!(payload["failure_count"].as_u64().unwrap() >= 1, "{payload}");
            assert!(payload["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{payload}");
        }
        // It went to these, and to nobody else.
        let event = server.http.event(&notices[0].id()).await;
        let went: BTreeSet<_> = event["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|delivery| delivery["subscription_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(went, expected, "{event}");
        receiver.always(status);
        if kind == "recovered" {
            server.http.trigger("watched", json!({"n": 2})).await;
        }
    }
    assert_eq!(ada.subscription(id).await["is_active"], false);
}

/// The next so many notices. Whoever subscribes to everything gets the events in between.
async fn next_notices(told: &mut Receiver, count: usize) -> Vec<Received> {
    let mut notices = Vec::new();
    while notices.len() < count {
        let received = told.next().await;
        if received.json()["event"] != "watched" {
            notices.push(received);
        }
    }
    notices
}

#[tokio::test(flavor = "multi_thread")]
async fn where_passes_alone_run_owners_are_told_all_the_same() {
    let mails = MailServer::start(&[]);
    // No server comes to give a notice: what it meets is a failure, and no more.
    let home = mailing(Home::new(), &mails.url).set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["1h"; 20].join(","));
    let home = home.set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut told = Receiver::start().await;
    ada.subscribe("subscription.*", &told.url).await;
    let receiver = Receiver::start().await;
    let watched = watch(&server, &ada, &receiver).await;
    ada.subscription_when(&watched.id, "a failure", |now| now["failure_count"] == 1).await;
    assert!(server.stop().success());

    let home = home.set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "2");
    let (code, said) = home.resend(&["--all"]);
    assert_eq!((code, &said["attempted"]), (2, &json!(1)));
    assert_eq!(subjects(&mails, 1).await.len(), 1);
    // The event that tells of it is delivered as any other.
    let (code, said) = home.resend(&["--event", "subscription.failing"]);
    assert_eq!((code, &said["delivered"]), (0, &json!(1)));
    let notice = told.next().await.json();
    assert_eq!(
        (&notice["event"], &notice["payload"]["subscription"]),
        (&json!("subscription.failing"), &json!(watched.id))
    );
    home.resend(&[]);
    assert_eq!((mails.mails().len(), told.total()), (1, 1));
}

#[tokio::test]
async fn nobody_posts_a_notice_but_the_service() {
    let server = Home::new().serve();
    for kind in ["failing", "recovered", "deactivated"] {
        let body = json!({"event": format!("subscription.{kind}"), "payload": {}});
        server.http.try_trigger(&body).await.expect_invalid("event");
    }
}

#[tokio::test]
async fn a_change_is_one_mail_whatever_becomes_of_the_server() {
    for home in [Home::new(), Home::on(&Kind::Postgres.shared().await), Home::on(&Kind::Redis.shared().await)] {
        let mails = MailServer::start(&[]);
        let home = mailing(home, &mails.url);
        let server = home.serve();
        let ada = server.http.account("ada").await;
        let receiver = Receiver::start().await;
        let watched = watch(&server, &ada, &receiver).await;
        assert_eq!(subjects(&mails, 1).await, ["Citations: your callback is failing"]);
        let mail = mails.mails().remove(0);
        assert_eq!(mail["to"], json!(["ada@example.org"]));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains(&watched.id) && text.contains(&receiver.url), "{text}");

        // It goes on failing, and that is no change.
        server.kill();
        let server = home.serve();
        let before = receiver.total();
        eventually("more attempts", async || (receiver.total() > before + 3).then_some(())).await;
        receiver.always(200);
        assert_eq!(subjects(&mails, 2).await[1..], ["Citations: your callback is well again"]);

        server.stop();
        let server = home.serve();
        receiver.always(410);
        server.http.trigger("watched", json!({"n": 2})).await;
        assert_eq!(subjects(&mails, 3).await[2..], ["Citations: your subscription is inactive"]);
    }
}

#[tokio::test]
async fn a_mail_waits_for_its_server() {
    let address = loopback_address();
    let home = mailing(Home::new(), &format!("smtp://{address}"));
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let receiver = Receiver::start().await;
    let mut told = Receiver::start().await;
    ada.subscribe("subscription.failing", &told.url).await;
    watch(&server, &ada, &receiver).await;
    eventually("a try", async || server.log().contains("it is tried again").then_some(())).await;
    let heard = told.next().await;
    assert_eq!(heard.json()["event"], "subscription.failing", "the event waits for no mail");
    // What is not recorded when a server dies is sent again.
    server.http.event_in_state(&heard.id(), "delivered").await;
    // Nor is the try forgotten when the server dies.
    server.kill();
    let server = home.serve();

    let mails = MailServer::start(&["--listen", &address.ip().to_string(), &address.port().to_string()]);
    assert_eq!(subjects(&mails, 1).await, ["Citations: your callback is failing"]);
    receiver.always(200);
    assert_eq!(subjects(&mails, 2).await[1..], ["Citations: your callback is well again"]);
    assert!(told.unseen().is_empty(), "the event came once");
    drop(server);
}
