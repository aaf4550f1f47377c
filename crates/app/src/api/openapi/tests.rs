//! The description says what the router does: every route, with examples that it takes and answers that it gives.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use axum::{Router, body::Body};
use hookcast_delivery::service::Service;
use hookcast_store::engine::Role;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa::OpenApi as _;

use super::{Description, text};
use crate::{
    api::{self, ApiState},
    config::{self, Sources},
    lifecycle,
    tokens::Tokens,
};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

fn description() -> Value {
    serde_json::to_value(Description::openapi()).unwrap()
}

/// Every operation: its path, its method and what is said of it.
fn operations(description: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// The routes of a server of its own.
struct Rig {
    router: Router,
    _service: Service,
    _home: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let environment = [
            ("HOOKCAST_DATABASE_URL", format!("sqlite://{}/hookcast.db", home.path().display())),
            ("HOOKCAST_DELIVERY_ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
            ("HOOKCAST_DATABASE_MIN_FREE_DISK", "0".to_owned()),
            ("WEBHOOK_REGISTRATION_TOKEN", "registration".to_owned()),
            ("WEBHOOK_TRIGGER_TOKEN", "trigger".to_owned()),
            ("HOOKCAST_ADMIN_TOKEN", "admin".to_owned()),
        ];
        let sources = Sources {
            config_path: None,
            directory: home.path().to_owned(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
            flags: Vec::new(),
        };
        let config = config::load(sources).unwrap().config;
        let store = lifecycle::open_store(&config).await.unwrap();
        let resources = lifecycle::resources(&config, store).unwrap();
        let settings = lifecycle::delivery_settings(&config);
        let service = Service::start(&resources, settings, Role::OnlyServer).await.unwrap();
        let tokens = Tokens::find_or_generate(&config).unwrap();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let router = api::router(ApiState::new(&config, &tokens, &resources, &service, is_stopping));
        Self { router, _service: service, _home: home }
    }

    async fn answer(&self, request: http::request::Builder, body: String) -> (StatusCode, http::HeaderMap, Value) {
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// The delivery of a subscription whose callback fails, once it is given up.
    async fn ended_delivery(&self, subscription: &Value, access: &str) -> Value {
        loop {
            let path = format!("/webhooks/subscriptions/{}/deliveries", subscription["id"].as_str().unwrap());
            let request = Request::get(path).header("authorization", format!("Bearer {access}"));
            let (_, _, answer) = self.answer(request, String::new()).await;
            let delivery = &answer["data"][0];
            if delivery["state"] == "failed" {
                return delivery["id"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Sends something whose answer is of no account: it may be there already, or not yet.
    async fn try_send(&self, method: Method, path: &str, token: &str, body: &Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        self.answer(request, body.to_string()).await;
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Value {
        let request = Request::post(path).header("authorization", format!("Bearer {token}"));
        let (status, _, answer) = self.answer(request, body.to_string()).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described() {
    let rig = Rig::new().await;
    let mut routed = BTreeSet::new();
    for (path, _) in api::routes() {
        let request = Request::builder().method("NONE").uri(
            path.replace("{id}", "x")
                .replace("{name}", "x")
                .replace("{replay}", "x")
                .replace("{event}", "x")
                .replace("{user_id}", "x")
                .replace("{host}", "x"),
        );
        let (status, headers, _) = rig.answer(request, String::new()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        let allowed = headers["allow"].to_str().unwrap().split(',').filter(|method| *method != "HEAD");
        routed.extend(allowed.map(|method| format!("{method} {path}")));
    }
    let description = description();
    let described: BTreeSet<_> =
        operations(&description).map(|(path, method, _)| format!("{} {path}", method.to_uppercase())).collect();
    assert_eq!(
        routed, described,
        "left: the router's routes; right: those in api/openapi.rs, where each handler belongs with its `utoipa::path`"
    );
}

#[test]
fn the_snapshot_is_up_to_date() {
    let now = text(&Description::openapi());
    if std::fs::read_to_string(SNAPSHOT).is_ok_and(|before| before == now) {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/openapi.json is out of date; `UPDATE_DOCS=1 cargo test -q -p hookcast --bin hookcast openapi` rewrites it"
    );
    std::fs::write(SNAPSHOT, now).unwrap();
}

#[test]
fn every_operation_is_whole() {
    let description = description();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&description) {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
        assert_eq!(operation["security"].is_array(), path.starts_with("/webhooks/"), "{name}");
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let has_example = answer["content"].as_object().is_some_and(|content| {
                content.values().all(|content| !content["example"].is_null() && content["schema"].is_object())
            });
            assert!(has_example || status == "204" || answer["$ref"].is_string(), "{name}: {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(whole: &Value, part: &Value) {
        match part {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    assert!(whole.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                }
                members.values().for_each(|part| check(whole, part));
            }
            Value::Array(items) => items.iter().for_each(|part| check(whole, part)),
            _ => {}
        }
    }
    let description = description();
    check(&description, &description);
}

/// Makes sure that a value is as the schema at its side says.
#[track_caller]
fn assert_fits(description: &Value, content: &Value, value: &Value, what: &str) {
    let schema = json!({"allOf": [content["schema"]], "components": description["components"]});
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:?}: {value}");
}

fn examples(content: &Value) -> Vec<&Value> {
    match &content["examples"] {
        Value::Object(several) => several.values().map(|example| &example["value"]).collect(),
        _ => content.get("example").into_iter().collect(),
    }
}

#[test]
fn every_example_fits_its_schema() {
    fn check(description: &Value, part: &Value, place: &str) {
        if let Value::Object(members) = part {
            if part["schema"].is_object() {
                for example in examples(part) {
                    assert_fits(description, part, example, place);
                }
            }
            for (name, part) in members {
                check(description, part, &format!("{place}/{name}"));
            }
        }
    }
    let description = description();
    check(&description, &description, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_takes_its_examples_and_answers_as_described() {
    let rig = Rig::new().await;
    let description = description();
    for (path, method, operation) in operations(&description) {
        let bodies: Vec<(&str, Value)> = match operation["requestBody"]["content"].as_object() {
            None => vec![("application/json", Value::Null)],
            Some(contents) => contents
                .iter()
                .flat_map(|(media_type, content)| {
                    let examples = examples(content);
                    assert!(!examples.is_empty(), "{method} {path} has a body without an example");
                    examples.into_iter().map(move |example| (media_type.as_str(), example.clone()))
                })
                .collect(),
        };
        for (media_type, body) in bodies {
            check_answer(&rig, &description, (path, method, operation), media_type, &body).await;
        }
    }
}

/// Sends one example, for an account of its own with a subscription and an event.
async fn check_answer(
    rig: &Rig,
    description: &Value,
    (path, method, operation): (&str, &str, &Value),
    media_type: &str,
    body: &Value,
) {
    // What an earlier example has made of this type must not refuse the event below.
    let event_type = "/webhooks/event-types/relation_added";
    rig.try_send(Method::DELETE, event_type, "trigger", &json!({})).await;
    if path.contains("{event}") && method != "put" {
        rig.try_send(Method::PUT, event_type, "trigger", &json!({})).await;
    }
    rig.try_send(Method::DELETE, "/webhooks/admin/accounts/ada", "admin", &json!({})).await;
    rig.try_send(Method::POST, "/webhooks/admin/accounts", "admin", &json!({"user_id": "somebody"})).await;
    rig.try_send(Method::POST, "/webhooks/trigger-tokens", "trigger", &json!({"name": "reporting", "event": "x"}))
        .await;
    rig.try_send(Method::PUT, "/webhooks/admin/pauses/hooks.example.org", "admin", &json!({})).await;
    let user = format!("{method} {path} {media_type} {body}").chars().take(200).collect::<String>();
    let account = rig.post("/webhooks/account", "registration", &json!({"user_id": user})).await;
    let access = account["access_token"].as_str().unwrap();
    let wish = if path.ends_with("{id}/events") {
        json!({"event": "relation_added", "url": null})
    } else {
        json!({"event": "relation_added", "url": "http://127.0.0.1:65535/hook", "signature": "ed25519", "retries": []})
    };
    let subscription = rig.post("/webhooks/subscribe", access, &wish).await;
    rig.post("/webhooks/account/tokens", access, &json!({"name": "reporting", "scope": "read"})).await;
    let event = json!({"event": "relation_added", "payload": user});
    let event = rig.post("/webhooks/trigger", "trigger", &event).await;

    let replays = format!("/webhooks/subscriptions/{}/replays", subscription["id"].as_str().unwrap());
    let replay = rig.post(&replays, access, &json!({"since": "2026-01-01T00:00:00Z"})).await;

    let id = match path.split('/').nth(2) {
        Some("events") => event["id"].clone(),
        Some("deliveries") => rig.ended_delivery(&subscription, access).await,
        _ => subscription["id"].clone(),
    };
    let mut request = Request::builder()
        .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
        .uri(
            path.replace("{id}", id.as_str().unwrap())
                .replace("{name}", "reporting")
                .replace("{replay}", replay["id"].as_str().unwrap())
                .replace("{event}", "relation_added")
                .replace("{user_id}", "somebody")
                .replace("{host}", "hooks.example.org"),
        )
        .header("content-type", media_type);
    if let Some(scheme) = operation["security"][0].as_object().and_then(|schemes| schemes.keys().next()) {
        let token = if scheme == "access" { access } else { scheme.as_str() };
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let text = match body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let (status, headers, answer) = rig.answer(request, text).await;
    assert!(status.is_success(), "{user}: {status} {answer}");
    let described = &operation["responses"][status.as_str()];
    assert!(described.is_object(), "{user}: {status} is not described");
    if let Some(content) = described["content"].get("application/json") {
        assert_fits(description, content, &answer, &user);
        assert_eq!(headers["content-type"], "application/json", "{user}");
    }
}
