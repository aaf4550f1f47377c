//! Several nodes on one database server: what one does holds for all of them.

use http::Method;
use serde_json::json;

use crate::support::{
    command::finish,
    database::Kind,
    eventually,
    receiver::Receiver,
    server::{Home, TRIGGER_TOKEN},
};

/// Makes a test of each case on each kind of server.
macro_rules! on_servers {
    ($($case:ident),+ $(,)?) => {
        on_servers!(@on postgres Postgres: $($case)+);
        on_servers!(@on redis Redis: $($case)+);
    };
    (@on $server:ident $kind:ident: $($case:ident)+) => {
        mod $server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::support::database::Kind::$kind).await;
            })+
        }
    };
}
pub(crate) use on_servers;

on_servers![
    an_event_reaches_a_new_subscription_from_any_node,
    what_one_node_changes_holds_on_the_others,
    a_gone_callback_is_gone_for_all_nodes,
    what_a_dead_node_was_sending_is_taken_over,
    nodes_divide_the_work_by_their_roles,
    equal_events_and_requests_are_known_on_all_nodes,
    a_pass_runs_beside_the_nodes,
    tokens_must_be_configured,
];

async fn an_event_reaches_a_new_subscription_from_any_node(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let nodes = [home.serve(), home.serve(), home.serve()];
    let mut receiver = Receiver::start().await;
    let ada = nodes[0].http.account("ada").await;
    for round in 0..30_usize {
        let event = format!("round.{round}");
        let here = ada.at(&nodes[round % 3].http);
        let subscription = here.subscribe(&event, &receiver.url).await;
        let receipt = nodes[(round + 1) % 3].http.trigger(&event, json!(round)).await;
        assert_eq!(receipt["subscriptions"], 1, "round {round}");
        let received = receiver.next().await;
        assert_eq!(
            (received.id(), received.json()["payload"].clone()),
            (receipt["id"].as_str().unwrap().into(), json!(round))
        );
        received.verify(&subscription.secret).unwrap();
    }
    assert!(receiver.unseen().is_empty());
}

async fn what_one_node_changes_holds_on_the_others(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let [one, two] = [home.serve(), home.serve()];
    let mut receiver = Receiver::start().await;
    let ada = one.http.account("ada").await;
    let subscription = ada.subscribe("x", &receiver.url).await;
    two.http.trigger("x", json!(1)).await;
    receiver.next().await;

    ada.set_active(&subscription.id, false).await;
    let waits = two.http.trigger("x", json!(2)).await;
    assert_eq!(waits["subscriptions"], 1);
    let event = two.http.event(waits["id"].as_str().unwrap()).await;
    assert_eq!((&event["deliveries"][0]["state"], receiver.unseen().len()), (&json!("waiting"), 0));
    ada.at(&two.http).set_active(&subscription.id, true).await;
    assert_eq!(receiver.next().await.json()["payload"], 2);

    let path = format!("/webhooks/subscriptions/{}", subscription.id);
    ada.at(&two.http).request(Method::DELETE, &path).send().await;
    assert_eq!(one.http.trigger("x", json!(3)).await["subscriptions"], 0);
    let rotated = ada.at(&two.http).request(Method::POST, "/webhooks/account/rotate").send().await.expect(200);
    ada.request(Method::GET, "/webhooks/subscriptions").send().await.expect(401);
    let anew = one.http.get("/webhooks/subscriptions").bearer(rotated["access_token"].as_str().unwrap());
    anew.send().await.expect(200);
}

async fn a_gone_callback_is_gone_for_all_nodes(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let [one, two] = [home.serve(), home.serve()];
    let mut receiver = Receiver::start().await;
    let ada = one.http.account("ada").await;
    let subscription = ada.subscribe("x", &receiver.url).await;
    receiver.always(410);
    one.http.trigger("x", json!(1)).await;
    receiver.next().await;
    ada.at(&two.http).subscription_when(&subscription.id, "deactivated", |now| now["is_active"] == false).await;
    let id = two.http.trigger("x", json!(2)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(two.http.event(&id).await["deliveries"][0]["state"], "waiting");
    assert!(receiver.unseen().is_empty());
}

async fn what_a_dead_node_was_sending_is_taken_over(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let [one, two] = [home.serve(), home.serve()];
    let mut receiver = Receiver::start_gated(0).await;
    let ada = one.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    let id = one.http.trigger("x", json!(1)).await["id"].as_str().unwrap().to_owned();
    receiver.next().await;
    one.kill();
    receiver.let_through(100);
    assert_eq!(receiver.next().await.id(), id);
    two.http.event_in_state(&id, "delivered").await;
}

async fn nodes_divide_the_work_by_their_roles(kind: Kind) {
    let home = Home::on(&kind.shared().await);
    let api = home.serve_as("api");
    let mut receiver = Receiver::start().await;
    let ada = api.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    let id = api.http.trigger("x", json!(1)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(api.http.event(&id).await["deliveries"][0]["state"], "waiting");

    // It needs no tokens, since it takes no requests.
    let home = home.unset("WEBHOOK_REGISTRATION_TOKEN").unset("WEBHOOK_TRIGGER_TOKEN");
    let delivery = home.serve_as("delivery");
    assert_eq!(receiver.next().await.id(), id);
    for n in 2..20 {
        api.http.trigger("x", json!(n)).await;
        assert_eq!(receiver.next().await.json()["payload"], n);
    }
    for path in ["/health/live", "/health/ready"] {
        delivery.http.get(path).send().await.expect(200);
    }
    let refused = delivery.http.post("/webhooks/trigger").bearer(TRIGGER_TOKEN).json(&json!({})).send().await;
    assert!(refused.expect(404)["detail"].as_str().unwrap().contains("only delivers"));
    assert!(api.stop().success() && delivery.stop().success());
}

async fn equal_events_and_requests_are_known_on_all_nodes(kind: Kind) {
    let home = Home::on(&kind.shared().await).set("HOOKCAST_DEDUPLICATE", "1h");
    let [one, two] = [home.serve(), home.serve()];
    let first = one.http.trigger("x", json!({"a": 1, "b": 2})).await;
    let again = two.http.trigger("x", json!({"b": 2, "a": 1})).await;
    assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &first["id"]));

    // The same request to both at once counts once.
    for n in 0..20 {
        let (key, body) = (format!("key-{n}"), json!({"event": "y", "payload": {"n": n}}));
        let ask =
            |node: &crate::support::server::Server| node.http.producer().header("idempotency-key", &key).json(&body);
        let (here, there) = tokio::join!(ask(&one).send(), ask(&two).send());
        assert_eq!(here.expect(202)["id"], there.expect(202)["id"]);
    }
}

async fn a_pass_runs_beside_the_nodes(kind: Kind) {
    let home = Home::on(&kind.shared().await).set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "1h");
    let node = home.serve();
    let mut receiver = Receiver::start().await;
    let ada = node.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    receiver.next_replies([500]);
    let id = node.http.trigger("x", json!(1)).await["id"].as_str().unwrap().to_owned();
    node.http.event_in_state(&id, "waiting").await;
    let (code, said) = tokio::task::block_in_place(|| home.resend(&["--all"]));
    assert_eq!((code, &said["delivered"]), (0, &json!(1)));
    receiver.take(2).await;
    node.http.event_in_state(&id, "delivered").await;
    assert_eq!(home.expect(&["account", "list", "--json"]).lines().count(), 1);
    eventually("nothing is due any more", async || {
        let event = node.http.event(&id).await;
        (event["deliveries"][0]["attempts"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
}

async fn tokens_must_be_configured(kind: Kind) {
    let url = kind.shared().await;
    for token in ["WEBHOOK_REGISTRATION_TOKEN", "WEBHOOK_TRIGGER_TOKEN"] {
        let home = Home::on(&url).unset(token);
        let complaint = finish(&mut home.command(&["serve"]), "").refusal();
        assert!(complaint.contains("the tokens must be configured, the same for every node"), "{complaint}");
    }
}
