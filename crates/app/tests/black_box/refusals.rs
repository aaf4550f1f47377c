//! What is refused, how it is said, and that it changes nothing.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    http::{Call, Http},
    server::{ADMIN_TOKEN, Home, REGISTRATION_TOKEN, Server, TRIGGER_TOKEN},
    world::Account,
};

/// A server with two accounts, a subscription of ada's that is inactive, an event whose delivery waits for it, and a token of hers
/// for looking only.
struct Scene {
    home: Home,
    server: Server,
    ada: Account,
    bob: Account,
    looking: String,
    subscription: String,
    event: String,
    delivery: String,
    replay: String,
}

impl Scene {
    async fn set() -> Self {
        let home = Home::new();
        let server = home.serve();
        let (ada, bob) = (server.http.account("ada").await, server.http.account("bob").await);
        let subscription = ada.subscribe("e", "http://127.0.0.1:3/").await.id;
        ada.set_active(&subscription, false).await;
        let event = server.http.trigger("e", json!(1)).await["id"].as_str().unwrap().to_owned();
        let delivery = server.http.event(&event).await["deliveries"][0]["id"].as_str().unwrap().to_owned();
        let wish = json!({"name": "looking", "scope": "read"});
        let looking = ada.request(Method::POST, "/webhooks/account/tokens").json(&wish).send().await.expect(201);
        let looking = looking["access_token"].as_str().unwrap().to_owned();
        let wish = json!({"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"});
        let replays = format!("/webhooks/subscriptions/{subscription}/replays");
        let replay = ada.request(Method::POST, &replays).json(&wish).send().await.expect(201);
        let replay = replay["id"].as_str().unwrap().to_owned();
        // From here on nothing becomes of it.
        let path = format!("{replays}/{replay}");
        let ended = ada.request(Method::PATCH, &path).json(&json!({"state": "cancelled"})).send().await;
        ended.expect(200);
        let producer = |method, path| server.http.request(method, path).bearer(TRIGGER_TOKEN);
        let token = json!({"name": "a", "event": "f"});
        producer(Method::POST, "/webhooks/trigger-tokens").json(&token).send().await.expect(201);
        producer(Method::PUT, "/webhooks/event-types/t").json(&json!({})).send().await.expect(201);
        let pause = server.http.request(Method::PUT, "/webhooks/admin/pauses/p").bearer(ADMIN_TOKEN);
        pause.send().await.expect(201);
        Self { home, server, ada, bob, looking, subscription, event, delivery, replay }
    }

    /// Every operation that wants a token: `every_described_operation_is_in_the_table` sees to it.
    fn routes(&self) -> [Route; 51] {
        use Owner::{Account, Nobody, Operator, Participant, Producer, Registrar};
        let admin = |path: &str| format!("/webhooks/admin/{path}");
        let subscription = format!("/webhooks/subscriptions/{}", self.subscription);
        let delivery = format!("/webhooks/deliveries/{}", self.delivery);
        let replay = format!("{subscription}/replays/{}", self.replay);
        let url = "http://127.0.0.1:3/2";
        let since = json!({"since": "2026-01-01T00:00:00Z"});
        let token = json!({"name": "writing", "scope": "write"});
        [
            Route(Method::POST, "/webhooks/account".into(), Some(json!({"user_id": "cyd"})), Registrar, 201),
            Route(Method::POST, "/webhooks/trigger".into(), Some(json!({"event": "f", "payload": 1})), Producer, 202),
            Route(Method::GET, admin("accounts"), None, Operator, 200),
            Route(Method::POST, admin("accounts"), Some(json!({"user_id": "dan"})), Operator, 201),
            Route(Method::GET, admin("accounts/bob"), None, Operator, 200),
            Route(Method::DELETE, admin("accounts/bob"), None, Operator, 204),
            Route(Method::POST, admin("accounts/bob/rotate"), None, Operator, 200),
            Route(Method::PUT, admin("accounts/bob/quotas"), Some(json!({})), Operator, 200),
            Route(Method::DELETE, admin("accounts/bob/quotas"), None, Operator, 204),
            Route(Method::GET, admin("subscriptions"), None, Operator, 200),
            Route(
                Method::PATCH,
                admin(&format!("subscriptions/{}", self.subscription)),
                Some(json!({"is_active": false})),
                Operator,
                200,
            ),
            Route(Method::GET, admin("backlog"), None, Operator, 200),
            Route(Method::GET, admin("rates"), None, Operator, 200),
            Route(Method::GET, admin("pauses"), None, Operator, 200),
            Route(Method::PUT, admin("pauses/p"), None, Operator, 200),
            Route(Method::DELETE, admin("pauses/p"), None, Operator, 204),
            Route(Method::GET, admin("audit"), None, Operator, 200),
            Route(Method::GET, "/webhooks/trigger-tokens".into(), None, Producer, 200),
            Route(
                Method::POST,
                "/webhooks/trigger-tokens".into(),
                Some(json!({"name": "b", "event": "f"})),
                Producer,
                201,
            ),
            Route(Method::DELETE, "/webhooks/trigger-tokens/a".into(), None, Producer, 204),
            Route(Method::GET, "/webhooks/event-types".into(), None, Participant, 200),
            Route(Method::GET, "/webhooks/event-types/t".into(), None, Participant, 200),
            Route(Method::PUT, "/webhooks/event-types/t".into(), Some(json!({})), Producer, 200),
            Route(Method::DELETE, "/webhooks/event-types/t".into(), None, Producer, 204),
            Route(Method::GET, "/webhooks/events".into(), None, Producer, 200),
            Route(Method::GET, format!("/webhooks/events/{}", self.event), None, Producer, 200),
            Route(Method::POST, format!("/webhooks/events/{}/cancel", self.event), None, Producer, 200),
            Route(Method::GET, subscription.clone(), None, Account, 200),
            Route(Method::GET, format!("{subscription}/deliveries"), None, Account, 200),
            Route(Method::GET, format!("{subscription}/events"), None, Account, 409),
            Route(Method::PATCH, subscription.clone(), Some(json!({"is_active": false})), Account, 200),
            Route(Method::POST, format!("{subscription}/rotate-secret"), None, Account, 200),
            Route(Method::POST, format!("{subscription}/verify"), None, Account, 200),
            Route(Method::POST, format!("{subscription}/test"), Some(json!({"event": "e"})), Account, 200),
            Route(Method::POST, format!("{subscription}/redeliver"), Some(since.clone()), Account, 202),
            Route(Method::GET, format!("{subscription}/replays"), None, Account, 200),
            Route(Method::POST, format!("{subscription}/replays"), Some(since), Account, 201),
            Route(Method::GET, replay.clone(), None, Account, 200),
            Route(Method::PATCH, replay, Some(json!({"rate": 1})), Account, 200),
            Route(Method::DELETE, subscription, None, Account, 204),
            Route(Method::GET, delivery.clone(), None, Account, 200),
            Route(Method::POST, format!("{delivery}/redeliver"), None, Account, 409),
            Route(Method::GET, "/webhooks/subscriptions".into(), None, Nobody, 200),
            Route(Method::POST, "/webhooks/subscribe".into(), Some(json!({"event": "e", "url": url})), Nobody, 201),
            Route(Method::GET, "/webhooks/account".into(), None, Nobody, 200),
            Route(Method::PATCH, "/webhooks/account".into(), Some(json!({"user_email": null})), Nobody, 200),
            Route(Method::DELETE, "/webhooks/account".into(), None, Nobody, 204),
            Route(Method::POST, "/webhooks/account/rotate".into(), None, Nobody, 200),
            Route(Method::GET, "/webhooks/account/tokens".into(), None, Nobody, 200),
            Route(Method::POST, "/webhooks/account/tokens".into(), Some(token), Nobody, 201),
            Route(Method::DELETE, "/webhooks/account/tokens/looking".into(), None, Nobody, 204),
        ]
    }
}

/// Method, path, body, whose it is, and the status for who may.
struct Route(Method, String, Option<Value>, Owner, u16);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Registrar,
    Producer,
    Operator,
    /// Whoever is a consumer, a producer or an operator.
    Participant,
    /// The account `ada`, of whose things there is talk in the path.
    Account,
    /// Any account has its own.
    Nobody,
}

impl Route {
    /// Whether an access token for looking only is enough.
    fn only_looks(&self) -> bool {
        self.0 == Method::GET && !self.1.ends_with("/tokens") && !self.1.ends_with("/events")
    }

    fn call(&self, http: &Http, slash: &str) -> Call {
        let call = http.request(self.0.clone(), &format!("{}{slash}", self.1));
        match &self.2 {
            Some(body) => call.json(body),
            None => call,
        }
    }
}

#[tokio::test]
async fn every_route_wants_its_token() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    let http = &scene.server.http;
    let ada = &scene.ada.token;
    for route in scene.routes() {
        let Route(method, path, _, owner, _) = &route;
        for slash in ["", "/"] {
            println!("{method} {path}{slash}");
            route.call(http, slash).send().await.expect_problem(401);
            let scheme = |token: &str| [format!("Basic {token}"), format!("Token {token}"), format!("Bearer{token}")];
            let wrong = [REGISTRATION_TOKEN, TRIGGER_TOKEN, ada].into_iter().flat_map(scheme);
            let malformed =
                ["", "Bearer", "Bearer ", "bearer", ada, TRIGGER_TOKEN, "Bearer a b", "Bearer ü", "Bearer\ta"];
            let unknown = ["Bearer unknown", "Bearer 0", "Bearer \"\"", &format!("Bearer {}", "x".repeat(8_000))];
            let cut = [REGISTRATION_TOKEN, TRIGGER_TOKEN, ada].map(|token| format!("Bearer {}", &token[1..]));
            let longer = [REGISTRATION_TOKEN, TRIGGER_TOKEN, ada].map(|token| format!("Bearer {token}x"));
            let all = wrong.chain(cut).chain(longer).chain(malformed.into_iter().chain(unknown).map(str::to_owned));
            for credentials in all {
                let answer = route.call(http, slash).header("authorization", &credentials).send().await;
                assert_eq!(answer.status, 401, "{credentials}");
                answer.expect_problem(401);
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
            }
            for token in [REGISTRATION_TOKEN, TRIGGER_TOKEN, ada] {
                let call = route.call(http, slash).bearer(token).another_header("authorization", "Bearer x");
                call.send().await.expect_problem(401);
            }
            if matches!(owner, Owner::Account | Owner::Nobody) && !route.only_looks() {
                route.call(http, slash).bearer(&scene.looking).send().await.expect_problem(403);
            }
            let is_consumers = matches!(owner, Owner::Account | Owner::Nobody | Owner::Participant);
            let unless = |owners: &[Owner]| (!owners.contains(owner)).then_some(403);
            for (token, refusal) in [
                (REGISTRATION_TOKEN, unless(&[Owner::Registrar])),
                (TRIGGER_TOKEN, unless(&[Owner::Producer, Owner::Participant])),
                (ADMIN_TOKEN, unless(&[Owner::Operator, Owner::Participant])),
                (ada, (!is_consumers).then_some(403)),
                (&scene.bob.token, if *owner == Owner::Account { Some(404) } else { (!is_consumers).then_some(403) }),
            ] {
                if let Some(status) = refusal {
                    route.call(http, slash).bearer(token).send().await.expect_problem(status);
                }
            }
        }
    }
    scene.home.assert_stores(&before);
}

#[tokio::test]
async fn every_route_takes_its_token_with_and_without_a_slash() {
    for slash in ["", "/"] {
        for index in 0..Scene::set().await.routes().len() {
            // What one of them changes is not to be in the way of another one.
            let scene = Scene::set().await;
            let route = &scene.routes()[index];
            let (ada, looking) = (&*scene.ada.token, &*scene.looking);
            let tokens = match route.3 {
                Owner::Registrar => &[REGISTRATION_TOKEN][..],
                Owner::Producer => &[TRIGGER_TOKEN],
                Owner::Operator => &[ADMIN_TOKEN],
                Owner::Participant => &[TRIGGER_TOKEN, ADMIN_TOKEN, ada, looking],
                Owner::Account | Owner::Nobody if route.only_looks() => &[ada, looking],
                Owner::Account | Owner::Nobody => &[ada],
            };
            println!("{} {}{slash}", route.0, route.1);
            for token in tokens {
                route.call(&scene.server.http, slash).bearer(token).send().await.expect(route.4);
            }
        }
    }
}

#[tokio::test]
async fn every_described_operation_is_in_the_table() {
    let scene = Scene::set().await;
    let routes = scene.routes();
    let description = scene.server.http.get("/openapi.json").send().await.expect(200);
    let is_path = |template: &str, path: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(wanted, given)| wanted == given || wanted.starts_with('{'))
    };
    for (template, operations) in description["paths"].as_object().unwrap() {
        for (method, _) in
            operations.as_object().unwrap().iter().filter(|(_, operation)| operation["security"].is_array())
        {
            let is_this = |route: &&Route| route.0.as_str().eq_ignore_ascii_case(method) && is_path(template, &route.1);
            assert!(routes.iter().any(|route| is_this(&route)), "{method} {template}: say who may, in `Scene::routes`");
        }
    }
}

#[tokio::test]
async fn bearer_is_written_in_any_letter_case() {
    let scene = Scene::set().await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        for space in [" ", "  ", "     "] {
            for (path, token) in [
                ("/webhooks/subscriptions".to_owned(), scene.ada.token.as_str()),
                (format!("/webhooks/events/{}", scene.event), TRIGGER_TOKEN),
            ] {
                let credentials = format!("{scheme}{space}{token}");
                scene.server.http.get(&path).header("authorization", &credentials).send().await.expect(200);
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_there_are() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    let routes = scene.routes();
    let mut paths: BTreeSet<_> = routes.iter().map(|route| route.1.clone()).collect();
    paths.extend(["/health/live".into(), "/health/ready".into()]);
    for path in paths {
        let mut allowed: BTreeSet<_> =
            routes.iter().filter(|route| route.1 == path).map(|route| route.0.as_str()).collect();
        if path.starts_with("/health") {
            allowed.insert("GET");
        }
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            for path in [path.clone(), format!("{path}/")].iter().filter(|_| !allowed.contains(method)) {
                println!("{method} {path}");
                for token in [None, Some(&scene.ada.token)] {
                    let call = scene.server.http.request(method.parse().unwrap(), path);
                    let answer = match token {
                        Some(token) => call.bearer(token).json(&json!({"event": "e"})).send().await,
                        None => call.send().await,
                    };
                    answer.expect_problem(405);
                    assert_eq!(answer.header("allow").split(',').map(str::trim).collect::<BTreeSet<_>>(), allowed);
                }
            }
        }
    }
    scene.home.assert_stores(&before);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let scene = Scene::set().await;
    let hex = &scene.subscription[4..];
    let ids = [
        "x",
        "0",
        "-1",
        "sub_",
        "evt_",
        "sub_0",
        "%20",
        "%00",
        "%FF",
        "%C3%28",
        "..%2F",
        "%2e%2e",
        "a%2Fb",
        "😀",
        "null",
        "*",
        "'",
        "%F0%9F%98%80",
        hex,
        &format!("evt_{hex}"),
        &format!("sub_{hex}0"),
        &format!("sub_ {}", &hex[1..]),
        &format!("SUB_{hex}"),
        &format!("sub_{}", "0".repeat(32)),
        &format!("evt_{}", "f".repeat(32)),
        &"x".repeat(5_000),
    ]
    .map(|id| id.replace('😀', "%F0%9F%98%80").replace(' ', "%20"));
    for id in &ids {
        println!("{id}");
        let subscription = format!("/webhooks/subscriptions/{id}");
        for call in [
            scene.ada.request(Method::GET, &subscription),
            scene.ada.request(Method::DELETE, &subscription),
            scene.ada.request(Method::PATCH, &subscription).json(&json!({"is_active": true})),
            scene.ada.request(Method::GET, &format!("{subscription}/deliveries")),
            scene.ada.request(Method::POST, &format!("{subscription}/rotate-secret")),
            scene.server.http.get(&format!("/webhooks/events/{id}")).bearer(TRIGGER_TOKEN),
        ] {
            call.send().await.expect_problem(404);
        }
        scene.server.http.get(&subscription).send().await.expect_problem(401);
    }
    for path in [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhook/trigger",
        "/webhooks/trigger/x",
        "/webhooks//trigger",
        "//webhooks/trigger",
        "/webhooks/trigger//",
        "/Webhooks/trigger",
        "/health",
        "/health/",
        "/%FF",
        "/webhooks/subscriptions/a/b",
        "/webhooks/trigger%2F",
        "/health/live/x",
        "/favicon.ico",
    ] {
        println!("{path}");
        for method in [Method::GET, Method::POST, Method::DELETE] {
            scene.server.http.request(method, path).bearer(TRIGGER_TOKEN).send().await.expect_problem(404);
        }
    }
}

/// The routes that take a body, with a good body for each.
fn takers(scene: &Scene) -> [(Call, Value); 4] {
    let path = format!("/webhooks/subscriptions/{}", scene.subscription);
    let subscribe = json!({"event": "e", "url": "http://127.0.0.1:3/2"});
    let account = json!({"user_id": "cyd", "user_email": "c@x"});
    [
        (scene.server.http.post("/webhooks/account").bearer(REGISTRATION_TOKEN), account),
        (scene.ada.request(Method::POST, "/webhooks/subscribe"), subscribe),
        (scene.ada.request(Method::PATCH, &path), json!({"is_active": false})),
        (scene.server.http.producer(), json!({"event": "e", "payload": 1, "deduplicate": true})),
    ]
}

#[tokio::test]
async fn bodies_of_other_types_are_refused() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
        "",
        "application/jsonx",
        "text/json",
        "application/octet-stream",
        "*/*",
        "application/json, text/plain",
    ] {
        for (call, body) in takers(&scene) {
            println!("{content_type}");
            call.body(content_type, body.to_string()).send().await.expect_problem(415);
        }
    }
    for (call, body) in takers(&scene).into_iter().take(3) {
        call.body("application/x-ndjson", body.to_string()).send().await.expect_problem(415);
    }
    scene.home.assert_stores(&before);
}

#[tokio::test]
async fn json_goes_by_several_names() {
    for content_type in ["application/json", "Application/JSON ; charset=utf-8", "application/cloudevents+json"] {
        let scene = Scene::set().await;
        for (call, body) in takers(&scene) {
            let answer = call.body(content_type, body.to_string()).send().await;
            assert!(answer.status.is_success(), "{answer:?}");
        }
    }
    let server = Home::new().serve();
    for content_type in ["application/x-ndjson", "application/ndjson", "APPLICATION/X-NDJSON; charset=utf-8"] {
        let call = server.http.producer().body(content_type, r#"{"event":"e","payload":1}"#);
        assert!(call.send().await.expect(202).is_array());
    }
}

#[tokio::test]
async fn what_is_not_json_is_told_from_what_breaks_a_rule() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    let not_json = [
        &b""[..],
        b" ",
        b"{",
        b"}",
        b"nonsense",
        b"{} {}",
        b"{'a':1}",
        b"{a:1}",
        b"{\"a\":1,}",
        b"{\"a\":}",
        b"[1,",
        b"\xff",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xc0\x80\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":01}",
        b"{\"a\":1.}",
        b"{\"a\":.5}",
        b"{\"a\":+1}",
        b"{\"a\":NaN}",
        b"{\"a\":\"\\x\"}",
        b"{\"a\":\"\\u12\"}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":1}\0",
        b"{\0\"a\":1}",
        b"// x\n{}",
        b"{\"a\":tru}",
        b"{\"a\" 1}",
        b"\xfe\xff\x00{\x00}",
    ];
    for body in not_json {
        for (call, _) in takers(&scene) {
            println!("{}", String::from_utf8_lossy(body));
            call.body("application/json", body).send().await.expect_problem(400);
        }
    }
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for body in ["null", "true", "7", "1e999", "\"text\"", "[7]", "[[]]", "\"\\ud800\"", r#"{"\ud800":1}"#, &deep] {
        for (call, _) in takers(&scene) {
            println!("{body}");
            call.body("application/json", body.to_owned()).send().await.expect_problem(422);
        }
    }
    scene.home.assert_stores(&before);
}

#[tokio::test]
async fn members_that_break_a_rule_are_named() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let wrong = ["null", "true", "7", "1e999", "[]", "{}", "[[\"e\"]]", r#""\ud800""#, r#""\udc00\ud800""#, &deep];
    for (index, good) in takers(&scene).map(|(_, good)| good).into_iter().enumerate() {
        let members = good.as_object().unwrap();
        let send = async |body: &str, field: &str| {
            println!("{body}");
            let call = takers(&scene).into_iter().nth(index).unwrap().0;
            call.body("application/json", body.to_owned()).send().await.expect_invalid(field);
        };
        let text = good.to_string();
        let open = &text[..text.len() - 1];
        for unknown in ["x", "Event", "event ", "", "ev\u{0}ent", "__proto__", "id", "ü"] {
            let name = Value::from(unknown);
            send(&format!("{open},{name}:1}}"), unknown).await;
            send(&format!("{{{name}:{deep},{}", &text[1..]), unknown).await;
        }
        for (name, value) in members {
            send(&format!("{open},\"{name}\":{value}}}"), name).await;
            send(&format!("{{\"\\u{:04x}{}\":null,{}", name.as_bytes()[0], &name[1..], &text[1..]), name).await;
            let mut without = members.clone();
            without.remove(name);
            let rest = Value::from(without).to_string();
            if !["user_email", "is_active", "deduplicate"].contains(&name.as_str()) {
                send(&rest, name).await;
            }
            let comma = if rest == "{}" { "" } else { "," };
            for wrong in wrong {
                let is_right = match name.as_str() {
                    "user_email" | "url" => wrong == "null",
                    "is_active" | "deduplicate" => wrong == "true",
                    "payload" => !wrong.contains("\\u") && wrong != deep,
                    _ => false,
                };
                if !is_right {
                    send(&format!("{}{comma}\"{name}\":{wrong}}}", &rest[..rest.len() - 1]), name).await;
                }
            }
        }
    }
    scene.home.assert_stores(&before);
}

#[tokio::test]
async fn a_change_that_says_nothing_changes_nothing() {
    let scene = Scene::set().await;
    let before = scene.home.stored();
    let path = format!("/webhooks/subscriptions/{}", scene.subscription);
    let answer = scene.ada.request(Method::PATCH, &path).json(&json!({})).send().await;
    assert_eq!(answer.expect(200), scene.ada.subscription(&scene.subscription).await);
    scene.home.assert_stores(&before);
}
