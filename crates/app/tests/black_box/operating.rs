//! What operators see and do, and what is noted of changes.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    database::Kind,
    eventually,
    http::{Answer, Http},
    receiver::Receiver,
    server::{ADMIN_TOKEN, Home, REGISTRATION_TOKEN},
};

/// On which stores each case is tried.
const STORES: [Option<Kind>; 3] = [None, Some(Kind::Postgres), Some(Kind::Redis)];

async fn home_on(kind: Option<Kind>) -> Home {
    match kind {
        Some(kind) => Home::on(&kind.shared().await),
        None => Home::new(),
    }
}

async fn ask(http: &Http, method: Method, path: &str) -> Answer {
    http.request(method, &format!("/webhooks/admin/{path}")).bearer(ADMIN_TOKEN).send().await
}

async fn get(http: &Http, path: &str) -> Value {
    ask(http, Method::GET, path).await.expect(200)
}

async fn set_active(http: &Http, id: &str, is_active: bool) -> Answer {
    let call = http.request(Method::PATCH, &format!("/webhooks/admin/subscriptions/{id}")).bearer(ADMIN_TOKEN);
    call.json(&json!({"is_active": is_active})).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_accounts_subscriptions_and_what_waits() {
    for kind in STORES {
        let (server, receiver) = (home_on(kind).await.serve(), Receiver::start().await);
        let http = &server.http;
        let (ada, bob) = (http.account("ada").await, http.account("bob").await);
        http.account("cyd").await;
        let first = ada.subscribe("x", &format!("{}?token=secret", receiver.url)).await.id;
        let second = ada.subscribe("y", &receiver.url).await.id;
        let third = bob.subscribe("x", &receiver.url).await.id;
        ada.set_active(&first, false).await;
        http.trigger("x", json!(1)).await;
        http.trigger("x", json!(2)).await;

        let accounts = get(http, "accounts").await;
        let seen: Vec<_> = accounts["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| (&a["user_id"], &a["subscriptions"], &a["active"]))
            .collect();
        let [two, one, none] = [2, 1, 0].map(|n| json!(n));
        assert_eq!(seen, [(&json!("ada"), &two, &one), (&json!("bob"), &one, &one), (&json!("cyd"), &none, &none)]);
        let ada_seen = get(http, "accounts/ada").await;
        assert_eq!((&ada_seen["waiting"], &ada_seen["user_email"]), (&json!(2), &json!("ada@example.org")));
        ask(http, Method::GET, "accounts/nobody").await.expect_problem(404);

        let all = get(http, "subscriptions").await;
        let ids: Vec<_> = all["data"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [&first, &second, &third]);
        assert!(!all.to_string().contains("secret"), "{all}");
        let of =
            async |query: &str| get(http, &format!("subscriptions?{query}")).await["data"].as_array().unwrap().len();
        assert_eq!((of("account=ada").await, of("state=inactive").await, of("failing=true").await), (2, 1, 0));
        let page = get(http, "subscriptions?limit=2").await;
        let rest = get(http, &format!("subscriptions?cursor={}", page["next_cursor"].as_str().unwrap())).await;
        assert_eq!(rest["data"][0]["id"], json!(third));
        for (query, field) in
            [("account=x", "account"), ("state=on", "state"), ("failing=1", "failing"), ("limit=0", "limit")]
        {
            ask(http, Method::GET, &format!("subscriptions?{query}")).await.expect_invalid(field);
        }

        let backlog = get(http, "backlog").await;
        assert_eq!((&backlog["waiting"], &backlog["subscriptions"]), (&json!(2), &json!(3)));
        assert_eq!(
            backlog["longest"],
            json!([{"user_id": "ada", "subscriptions": 2, "active": 1, "failing": 0, "waiting": 2, "expired": 0}])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_much_a_node_does() {
    for kind in STORES {
        let home = home_on(kind).await.set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
        let (server, receiver) = (home.serve(), Receiver::start().await);
        let http = &server.http;
        let idle = get(http, "rates").await;
        let [accepted, succeeded, failed] = RATES;
        for rate in RATES {
            assert_eq!(idle["this_node"][rate], 0.0, "{idle}");
        }
        assert!(idle["this_node"]["window_seconds"].as_f64().unwrap() >= 1.0, "{idle}");
        assert_eq!(idle["nodes_that_deliver"], 1);

        // However slow the machine is, there was an event within the last minute at one of the looks.
        http.trigger("nobody", json!(1)).await;
        eventually("events are counted that go to nobody", async || {
            http.trigger("nobody", json!(1)).await;
            let rates = get(http, "rates").await;
            assert_eq!((&rates["this_node"][succeeded], &rates["this_node"][failed]), (&json!(0.0), &json!(0.0)));
            is_positive(&rates, accepted).then_some(())
        })
        .await;
        let ada = http.account("ada").await;
        ada.subscribe("good", &receiver.url).await;
        eventually("a delivery is counted", async || {
            http.trigger("good", json!(1)).await;
            let rates = get(http, "rates").await;
            assert_eq!(rates["this_node"][failed], 0.0, "{rates}");
            is_positive(&rates, succeeded).then_some(())
        })
        .await;
        receiver.always(500);
        eventually("a failure is counted", async || {
            http.trigger("good", json!(1)).await;
            is_positive(&get(http, "rates").await, failed).then_some(())
        })
        .await;
    }
}

/// What is told of a node.
const RATES: [&str; 3] =
    ["events_accepted_per_second", "deliveries_succeeded_per_second", "attempts_failed_per_second"];

fn is_positive(rates: &Value, name: &str) -> bool {
    rates["this_node"][name].as_f64().unwrap() > 0.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_of_its_own_work_alone() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let home = home_on(Some(kind)).await;
        let (api, receiver) = (home.serve_as("api"), Receiver::start().await);
        assert_eq!(get(&api.http, "rates").await["nodes_that_deliver"], 0);
        api.http.account("ada").await.subscribe("x", &receiver.url).await;
        let all = home.serve();
        let [accepted, succeeded, failed] = RATES;
        eventually("the other node has delivered", async || {
            api.http.trigger("x", json!(1)).await;
            is_positive(&get(&all.http, "rates").await, succeeded).then_some(())
        })
        .await;
        let other = get(&all.http, "rates").await;
        assert_eq!((&other["this_node"][accepted], &other["nodes_that_deliver"]), (&json!(0.0), &json!(1)));
        eventually("it is known that there is one that delivers", async || {
            api.http.trigger("x", json!(1)).await;
            let own = get(&api.http, "rates").await;
            assert_eq!((&own["this_node"][succeeded], &own["this_node"][failed]), (&Value::Null, &Value::Null));
            (is_positive(&own, accepted) && own["nodes_that_deliver"] == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_pause_and_resume_anybodys_subscription() {
    for kind in STORES {
        let home = home_on(kind).await;
        let (server, mut receiver) = (home.serve(), Receiver::start().await);
        let ada = server.http.account("ada").await;
        let id = ada.subscribe("x", &receiver.url).await.id;
        // Another node has not heard of it by itself.
        let other = if kind.is_some() { Some(home.serve()) } else { None };
        let http = other.as_ref().map_or(&server.http, |other| &other.http);
        assert_eq!(set_active(http, &id, false).await.expect(200)["state"], "inactive");
        server.http.trigger("x", json!(1)).await;
        assert_eq!(set_active(http, &id, true).await.expect(200)["state"], "active");
        receiver.take(1).await;
        set_active(http, &format!("sub_{}", "0".repeat(32)), true).await.expect_problem(404);
        let wish = json!({"event": "x", "url": null});
        let fetched = ada.request(Method::POST, "/webhooks/subscribe").json(&wish).send().await.expect(201);
        set_active(http, fetched["id"].as_str().unwrap(), true).await.expect_problem(409);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_make_and_delete_accounts() {
    for kind in STORES {
        let server = home_on(kind).await.serve();
        let http = &server.http;
        let make = |body: Value| http.post("/webhooks/admin/accounts").bearer(ADMIN_TOKEN).json(&body).send();
        let made = make(json!({"user_id": "a/b c", "user_email": null})).await.expect(201);
        make(json!({"user_id": "a/b c"})).await.expect_problem(409);
        make(json!({"user_id": ""})).await.expect_invalid("user_id");
        let own = |token: &Value| http.get("/webhooks/account").bearer(token.as_str().unwrap()).send();
        own(&made["access_token"]).await.expect(200);
        let rotated = ask(http, Method::POST, "accounts/a%2Fb%20c/rotate").await.expect(200);
        own(&made["access_token"]).await.expect_problem(401);
        own(&rotated["access_token"]).await.expect(200);
        ask(http, Method::DELETE, "accounts/a%2Fb%20c").await.expect(204);
        ask(http, Method::DELETE, "accounts/a%2Fb%20c").await.expect_problem(404);
        own(&rotated["access_token"]).await.expect_problem(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_noted_with_who_asked_for_it() {
    for kind in STORES {
        let home = home_on(kind).await.set("HOOKCAST_RETENTION_AGE", "1d");
        let server = home.serve();
        let http = &server.http;
        let ada = http.account("ada").await;
        let id = ada.subscribe("x", "http://127.0.0.1:3/?secret").await.id;
        ada.set_active(&id, false).await;
        ada.request(Method::PATCH, &format!("/webhooks/subscriptions/{id}/"))
            .json(&json!({"x": 1}))
            .send()
            .await
            .expect_problem(422);
        http.trigger("x", json!(1)).await;
        ada.get(&format!("/webhooks/subscriptions/{id}")).await;
        set_active(http, &id, true).await.expect(200);
        ada.request(Method::POST, "/webhooks/account/rotate").send().await.expect(200);
        http.post("/webhooks/account")
            .bearer(REGISTRATION_TOKEN)
            .json(&json!({"user_id": "ada"}))
            .send()
            .await
            .expect_problem(409);

        let log = get(http, "audit").await;
        let seen: Vec<_> = log["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["by"].clone(), entry["operation"].as_str().unwrap()))
            .collect();
        let by_ada = json!({"role": "account", "user_id": "ada", "token": "default"});
        assert_eq!(
            seen,
            [
                (by_ada.clone(), "/webhooks/account/rotate"),
                (json!({"role": "operator"}), "/webhooks/admin/subscriptions/{id}"),
                (by_ada.clone(), "/webhooks/subscriptions/{id}"),
                (by_ada, "/webhooks/subscribe"),
                (json!({"role": "registrar"}), "/webhooks/account"),
            ]
        );
        assert_eq!(log["data"][1]["path"], json!(format!("/webhooks/admin/subscriptions/{id}")));
        assert!(!log.to_string().contains("secret"), "{log}");
        let page = get(http, "audit?limit=2").await;
        let rest = get(http, &format!("audit?limit=5&cursor={}", page["next_cursor"].as_str().unwrap())).await;
        assert_eq!(rest["data"].as_array().unwrap().len(), 3);
        ask(http, Method::GET, "audit?cursor=x").await.expect_invalid("cursor");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_changes_go_with_the_events_of_their_time() {
    let home = Home::new().set("HOOKCAST_RETENTION_AGE", "1s").set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "");
    let server = home.serve();
    server.http.account("ada").await;
    assert_eq!(get(&server.http, "audit").await["data"].as_array().unwrap().len(), 1);
    eventually("it is forgotten", async || {
        get(&server.http, "audit").await["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_token_nobody_is_an_operator_and_an_embedded_store_makes_one() {
    let server = Home::new().unset("HOOKCAST_ADMIN_TOKEN").serve();
    let refused =
        server.http.get("/webhooks/admin/backlog").bearer(REGISTRATION_TOKEN).send().await.expect_problem(403);
    assert!(refused["detail"].as_str().unwrap().contains("admin.token"), "{refused}");
    server.http.get("/webhooks/admin/backlog").bearer(ADMIN_TOKEN).send().await.expect_problem(401);

    let home =
        Home::new().unset("HOOKCAST_ADMIN_TOKEN").unset("WEBHOOK_TRIGGER_TOKEN").unset("WEBHOOK_REGISTRATION_TOKEN");
    let server = home.serve();
    let at = format!("http://{}", server.address);
    let backlog = home.hookcast(&["admin", "backlog", "--json", "--server", &at]).expect(0).json();
    assert_eq!(backlog["accounts"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sees_to_everybody() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let id = ada.subscribe("x", "http://127.0.0.1:3/").await.id;
    let at = format!("http://{}", server.address);
    let run =
        |arguments: &[&str]| home.hookcast(&[&["admin"], arguments, &["--server", &at]].concat()).expect(0).stdout;
    assert!(run(&["pause", &id]).contains("paused"));
    server.http.trigger("x", json!(1)).await;
    assert!(run(&["accounts"]).contains("ada"));
    assert!(run(&["account", "ada"]).contains("waiting"));
    home.expect(&["account", "create", "a/b c+d"]);
    home.expect(&["account", "rotate-token", "a/b c+d"]);
    let noted: Vec<_> = get(&server.http, "audit?limit=2").await["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["by"]["role"].clone(), entry["path"].clone(), entry.get("status").is_some()))
        .collect();
    let by_shell = |what: &str| (json!("shell"), json!(format!("hookcast account {what} a/b c+d")), false);
    assert_eq!(noted, [by_shell("rotate-token"), by_shell("create")]);
    assert!(run(&["account", "a/b c+d"]).contains("waiting"));
    assert!(run(&["backlog"]).contains("ada"));
    let rates = run(&["rates"]);
    assert!(rates.contains("events accepted") && rates.contains("Of this node alone, over the last"), "{rates}");
    let rates: Value = serde_json::from_str(&run(&["rates", "--json"])).unwrap();
    assert!(rates["this_node"]["attempts_failed_per_second"].is_number(), "{rates}");
    assert!(run(&["subscriptions", "--state", "inactive"]).contains(&id));
    assert!(!run(&["subscriptions", "--failing"]).contains(&id));
    assert!(run(&["audit", "--limit", "3"]).contains(&id));
    assert!(run(&["resume", &id]).contains("active"));
}
