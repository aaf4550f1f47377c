//! `hookcast resend`: one pass over what waits, beside a server or without one.

use std::{collections::BTreeSet, process::Stdio};

use serde_json::{Value, json};

use crate::support::{
    eventually,
    receiver::Receiver,
    server::{Home, Server},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_sends_what_is_due_and_says_so() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new().set("HOOKCAST_SHUTDOWN_GRACE", "0");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let secret = ada.subscribe("late", &receiver.url).await.secret;
    let ids: BTreeSet<_> = server.http.trigger_many("late", 40).await.into_iter().collect();
    receiver.take(40).await;
    assert!(server.stop().success());

    receiver.let_through(100);
    let (code, said) = home.resend(&[]);
    let all = json!({"attempted": 40, "delivered": 40, "waiting": 0, "failed": 0, "deactivated": 0, "held_back": 0});
    assert_eq!((code, said), (0, all));
    let arrived = receiver.take(40).await;
    assert!(arrived.iter().all(|received| received.verify(&secret).is_ok()));
    assert_eq!(arrived.iter().map(|received| received.id()).collect::<BTreeSet<_>>(), ids);
    assert_eq!(home.resend(&["--all", "--failed"]).1["attempted"], 0);
    assert_eq!(String::from_utf8(home.run(&["resend"]).stdout).unwrap(), "nothing was due\n");
    assert_eq!(receiver.total(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_tries_each_delivery_once_and_tells_of_failures() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h").set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let server = home.serve();
    leave_waiting(&server, &receiver, 20).await;
    assert!(server.stop().success());

    // Those that fail are due again at once, and still wait for the next pass.
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "0s,0s,0s");
    let (code, said) = home.resend(&["--all"]);
    let counts = json!({"attempted": 20, "delivered": 0, "waiting": 20, "failed": 0, "deactivated": 0, "held_back": 0});
    assert_eq!((code, said), (2, counts));
    receiver.next_replies(vec![200_u16; 5]);
    let (code, said) = home.resend(&[]);
    let counts = json!({"attempted": 20, "delivered": 5, "waiting": 15, "failed": 0, "deactivated": 0, "held_back": 0});
    assert_eq!((code, said), (2, counts));
    let (code, said) = home.resend(&[]);
    let counts = json!({"attempted": 15, "delivered": 0, "waiting": 0, "failed": 15, "deactivated": 0, "held_back": 0});
    assert_eq!((code, said), (2, counts));
    assert_eq!(home.resend(&["--all"]).1["attempted"], 0);
    receiver.always(200);
    assert_eq!(home.resend(&["--failed"]).1["delivered"], 15);
    assert_eq!(receiver.total(), 20 * 3 + 15 * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_takes_what_waits_for_a_later_time_too() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let server = home.serve();
    let ids = leave_waiting(&server, &receiver, 3).await;
    receiver.always(200);
    let (code, said) = home.resend(&[]);
    assert_eq!((code, &said["attempted"]), (0, &json!(0)));
    let (code, said) = home.resend(&["--all"]);
    assert_eq!((code, &said["attempted"], &said["delivered"]), (0, &json!(3), &json!(3)));
    for id in ids {
        server.http.event_in_state(&id, "delivered").await;
    }
    assert_eq!(receiver.total(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_can_be_narrowed() {
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let mut ids = Vec::new();
    for path in ["/1", "/2"] {
        ids.push(ada.subscribe("red", &format!("{}{path}", receiver.url)).await.id);
    }
    ids.push(ada.subscribe("blue", &format!("{}/3", receiver.url)).await.id);
    let red = server.http.trigger("red", json!({})).await;
    let blue = server.http.trigger("blue", json!({})).await;
    for id in &ids {
        ada.subscription_when(id, "a failure", |now| now["failure_count"] == 1).await;
    }
    receiver.unseen();

    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    let home = home.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", &["1h"; 20].join(","));
    let mut paths_of = |arguments: &[&str]| paths_of_pass(&home, &mut receiver, arguments);
    assert_eq!(paths_of(&[]), set(&["/1", "/2", "/3"]));
    assert_eq!(paths_of(&["--subscription", &ids[1]]), set(&["/2"]));
    assert_eq!(paths_of(&["--event", "red"]), set(&["/1", "/2"]));
    assert_eq!(paths_of(&["--event", "green"]), set(&[]));
    assert_eq!(paths_of(&["--event", "blue", "--subscription", &ids[0]]), set(&[]));
    assert_eq!(paths_of(&["--since", "1h"]), set(&["/1", "/2", "/3"]));
    assert_eq!(paths_of(&["--since", "0s"]), set(&[]));
    assert_eq!(paths_of(&["--since", red["time"].as_str().unwrap()]), set(&["/1", "/2", "/3"]));
    assert_eq!(paths_of(&["--since", blue["time"].as_str().unwrap(), "--event", "blue"]), set(&["/3"]));
    assert_eq!(paths_of(&["--since", "2999-01-01T00:00:00Z"]), set(&[]));
}

/// The paths that a pass over these has called; all of them fail.
fn paths_of_pass(home: &Home, receiver: &mut Receiver, arguments: &[&str]) -> BTreeSet<String> {
    let (code, said) = home.resend(&[&["--all"], arguments].concat());
    let paths: Vec<_> = receiver.unseen().iter().map(|received| received.uri.path().to_owned()).collect();
    assert_eq!(said["attempted"], paths.len());
    assert_eq!(code, if paths.is_empty() { 0 } else { 2 });
    paths.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_is_sending_is_never_sent_beside_it() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new();
    let server = home.serve();
    server.http.account("ada").await.subscribe("slow", &receiver.url).await;
    let receipt = server.http.trigger("slow", json!({})).await;
    receiver.next().await;
    for arguments in [&[][..], &["--all"], &["--all", "--failed"]] {
        let (code, said) = home.resend(arguments);
        assert_eq!((code, &said["attempted"]), (0, &json!(0)));
    }
    receiver.let_through(100);
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(receiver.total(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_knows_at_once_what_a_pass_has_changed() {
    let mut receiver = Receiver::start().await;
    receiver.always(500);
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h,1h").set("MAX_SEND_ATTEMPTS", "2");
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("failing", &receiver.url).await;
    server.http.trigger("failing", json!({})).await;
    ada.subscription_when(&subscription.id, "a failure", |now| now["failure_count"] == 1).await;

    let (code, said) = home.resend(&["--all"]);
    assert_eq!((code, &said["deactivated"]), (2, &json!(1)));
    let now = ada.subscription(&subscription.id).await;
    assert_eq!((&now["is_active"], &now["failure_count"]), (&json!(false), &json!(2)));
    let receipt = server.http.trigger("failing", json!({})).await;
    let event = server.http.event(receipt["id"].as_str().unwrap()).await;
    assert_eq!(event["deliveries"][0]["state"], "waiting");
    assert_eq!(event["unreached"]["reason"], "inactive");
    assert_eq!(home.resend(&["--all"]).1["attempted"], 0, "and a pass leaves it alone as well");
    assert_eq!(receiver.take(2).await.len(), receiver.total());

    receiver.always(200);
    ada.set_active(&subscription.id, true).await;
    server.http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_takes_over_from_a_server_that_was_killed() {
    let mut receiver = Receiver::start_gated(0).await;
    let home = Home::new().set("HOOKCAST_DELIVERY_TIMEOUT", "10m").set("HOOKCAST_DELIVERY_LEASE", "15m");
    let server = home.serve();
    server.http.account("ada").await.subscribe("cut_off", &receiver.url).await;
    let receipt = server.http.trigger("cut_off", json!({})).await;
    receiver.next().await;
    server.kill();
    receiver.let_through(100);
    let (code, said) = home.resend(&[]);
    assert_eq!((code, &said["delivered"]), (0, &json!(1)));
    assert_eq!(receiver.next().await.id(), receipt["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_over_from_a_pass_that_was_killed() {
    let mut receiver = Receiver::start_gated(1).await;
    receiver.next_replies([500_u16]);
    let home = Home::new()
        .set("HOOKCAST_DELIVERY_LEASE", "3s")
        .set("HOOKCAST_DELIVERY_TIMEOUT", "2s")
        .set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h,1h");
    let server = home.serve();
    let ids = leave_waiting(&server, &receiver, 1).await;
    receiver.next().await;

    let mut pass = home.command(&["resend", "--all"]).stdin(Stdio::null()).spawn().unwrap();
    receiver.next().await;
    pass.kill().unwrap();
    pass.wait().unwrap();
    receiver.let_through(100);
    assert_eq!(receiver.next().await.id(), ids[0]);
    let event = server.http.event_in_state(&ids[0], "delivered").await;
    let numbers: Vec<_> = event["deliveries"][0]["attempts"].as_array().unwrap().iter().map(|a| &a["number"]).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(receiver.total(), 3);
}

/// Leaves so many deliveries waiting after one attempt each has failed; the events' ids.
async fn leave_waiting(server: &Server, receiver: &Receiver, count: usize) -> Vec<String> {
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("failing", &receiver.url).await;
    let ids = server.http.trigger_many("failing", count).await;
    eventually("every failure", async || {
        let deliveries = ada.deliveries(&subscription.id).await;
        let is_tried =
            |delivery: &Value| delivery["state"] == "waiting" && delivery["attempts"].as_array().unwrap().len() == 1;
        (deliveries.len() == count && deliveries.iter().all(is_tried)).then_some(())
    })
    .await;
    ids
}
