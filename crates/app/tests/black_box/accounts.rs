//! Accounts: who may make them, and their tokens.

use std::process::Command;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    http::{Answer, Http},
    server::{Home, REGISTRATION_TOKEN},
    world::Account,
};

async fn register(http: &Http, body: &Value) -> Answer {
    http.post("/webhooks/account").bearer(REGISTRATION_TOKEN).json(body).send().await
}

/// Whether the API takes this as an account's access token.
async fn is_valid(http: &Http, token: &str) -> bool {
    let answer = http.get("/webhooks/subscriptions").bearer(token).send().await;
    if answer.status != 200 {
        answer.expect_problem(401);
    }
    answer.status == 200
}

#[tokio::test]
async fn an_account_is_registered_with_a_token_that_is_shown_once() {
    let home = Home::new();
    let server = home.serve();
    let answer = register(&server.http, &json!({"user_id": "ada", "user_email": "ada@example.org"})).await;
    let account = answer.expect(201);
    assert_eq!(answer.header("content-type"), "application/json");
    let members: Vec<_> = account.as_object().unwrap().keys().collect();
    assert_eq!(members, ["access_token", "created_at", "user_email", "user_id"]);
    assert_eq!(account["user_id"], "ada");
    assert_eq!(account["user_email"], "ada@example.org");
    let created_at = account["created_at"].as_str().unwrap();
    assert!(created_at.parse::<jiff::Timestamp>().is_ok() && created_at.ends_with('Z'), "{created_at}");
    let token = account["access_token"].as_str().unwrap();
    assert!(is_valid(&server.http, token).await);
    assert!(!home.stored().concat().contains(token), "the token itself is in the store");
}

#[tokio::test]
async fn an_account_needs_no_email_address() {
    let server = Home::new().serve();
    for (user_id, body) in [("ada", json!({"user_id": "ada"})), ("bob", json!({"user_id": "bob", "user_email": null}))]
    {
        let account = register(&server.http, &body).await.expect(201);
        assert_eq!((&account["user_id"], &account["user_email"]), (&json!(user_id), &Value::Null));
    }
}

#[tokio::test]
async fn a_second_registration_is_a_conflict_and_leaves_the_first_alone() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let before = home.stored();
    for body in [json!({"user_id": "ada"}), json!({"user_id": "ada", "user_email": "eve@example.org"})] {
        let problem = register(&server.http, &body).await.expect_problem(409);
        let detail = problem["detail"].as_str().unwrap();
        for way in ["`hookcast account rotate-token ada`", "`POST /webhooks/account/rotate`"] {
            assert!(detail.contains(way), "{detail}");
        }
    }
    home.assert_stores(&before);
    assert!(is_valid(&server.http, &ada.token).await);
}

#[tokio::test]
async fn the_command_that_a_conflict_names_works_as_it_stands() {
    let home = Home::new();
    let server = home.serve();
    for user_id in ["ada", "Ada Lovelace", "O'Brien; exit 3", "$(exit 3) *", "--json", "\"\\"] {
        let first = register(&server.http, &json!({"user_id": user_id})).await.expect(201);
        let problem = register(&server.http, &json!({"user_id": user_id})).await.expect_problem(409);
        let detail = problem["detail"].as_str().unwrap();
        let command = &detail[detail.find("hookcast account").unwrap()..];
        let (command, _) = command.split_once("` on the server").unwrap();

        let rotated = in_a_shell(&home, command);
        assert!(rotated.contains(&format!("account:      {user_id}\n")), "{command}: {rotated}");
        let (_, token) = rotated.split_once("access token: ").unwrap();
        assert!(is_valid(&server.http, token.lines().next().unwrap()).await, "{user_id}");
        assert!(!is_valid(&server.http, first["access_token"].as_str().unwrap()).await, "{user_id}");
    }
}

/// What a command of `hookcast` prints that an operator pastes into a shell.
fn in_a_shell(home: &Home, command: &str) -> String {
    let hookcast = home.command(&[]);
    let mut shell = Command::new("/bin/sh");
    let alias = format!("hookcast() {{ '{}' \"$@\"; }}; {command}", hookcast.get_program().to_str().unwrap());
    shell.args(["-c", &alias]).current_dir(home.path()).env_clear();
    shell.envs(hookcast.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn of_many_registrations_at_once_one_wins() {
    let server = Home::new().serve();
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        let http = server.http.clone();
        racers.spawn(async move { register(&http, &json!({"user_id": "ada"})).await });
    }
    let (winners, losers): (Vec<_>, Vec<_>) =
        racers.join_all().await.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((winners.len(), losers.len()), (1, 15));
    for answer in losers {
        answer.expect_problem(409);
    }
    assert!(is_valid(&server.http, winners[0].json()["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn user_ids_that_differ_in_anything_are_different_accounts() {
    let server = Home::new().serve();
    let longest = "ü".repeat(256);
    for user_id in ["ada", "Ada", "ada@example.org", "0", "\u{661}", "e\u{301}", "\u{e9}", "😀", &longest] {
        let account = register(&server.http, &json!({"user_id": user_id})).await.expect(201);
        assert_eq!(account["user_id"], user_id);
    }
}

#[tokio::test]
async fn user_ids_and_email_addresses_have_rules() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    let user_ids = ["", " ", "\t", "\u{2003}", "a\nb", "a\u{0}", "\u{7f}", &"x".repeat(257)];
    for user_id in user_ids {
        register(&server.http, &json!({"user_id": user_id})).await.expect_invalid("user_id");
    }
    let emails = ["", "ada", "@", "@example.org", "ada@", "a da@example.org", "ada@example.org\r\nBcc: x@y", " a@b"];
    let too_long = format!("{}@example.org", "x".repeat(254));
    for email in emails.into_iter().chain([too_long.as_str()]) {
        register(&server.http, &json!({"user_id": "ada", "user_email": email})).await.expect_invalid("user_email");
    }
    home.assert_stores(&before);
}

#[tokio::test]
async fn a_rotated_token_takes_the_place_of_the_one_that_asked() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let bob = server.http.account("bob").await;
    let subscription = ada.subscribe("e", "http://127.0.0.1:3/").await;

    let rotated = ada.request(Method::POST, "/webhooks/account/rotate").send().await.expect(200);
    assert_eq!((&rotated["user_id"], &rotated["user_email"]), (&json!("ada"), &json!("ada@example.org")));
    let token = rotated["access_token"].as_str().unwrap().to_owned();
    assert!(!is_valid(&server.http, &ada.token).await);
    assert!(is_valid(&server.http, &bob.token).await);
    let ada = Account { token, ..ada };
    assert_eq!(ada.subscription(&subscription.id).await["user_id"], "ada");
}

#[tokio::test]
async fn where_registration_is_open_anyone_registers_and_nothing_else_opens() {
    let server = Home::new().set("HOOKCAST_REGISTRATION_MODE", "open").serve();
    let call = || server.http.post("/webhooks/account");
    let account = call().json(&json!({"user_id": "ada"})).send().await.expect(201);
    let token = account["access_token"].as_str().unwrap();
    call().json(&json!({"user_id": "ada"})).send().await.expect_problem(409);
    call().json(&json!({"user_id": ""})).send().await.expect_invalid("user_id");
    for (user_id, credentials) in
        [("bob", format!("Bearer {token}")), ("cyd", "Bearer unknown".into()), ("dot", "nonsense".into())]
    {
        call().header("authorization", &credentials).json(&json!({"user_id": user_id})).send().await.expect(201);
    }
    server.http.get("/webhooks/subscriptions").send().await.expect_problem(401);
    server.http.post("/webhooks/trigger").json(&json!({"event": "e", "payload": 1})).send().await.expect_problem(401);
    server.http.get("/webhooks/events/evt_0").bearer(token).send().await.expect_problem(403);
}
