//! The command line as a client of a server: accounts, their tokens, subscriptions, deliveries, events, their types, producers.

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::{
    receiver::Receiver,
    server::{Home, Server, TRIGGER_TOKEN},
};

/// A server on a home, and how to ask it with an account's token.
struct Asked {
    home: Home,
    server: Server,
    token: String,
}

impl Asked {
    async fn new(home: Home) -> Self {
        let server = home.serve();
        let token = server.http.account("ada").await.token;
        Self { home, server, token }
    }

    /// Runs a command against the server.
    fn run(&self, arguments: &[&str]) -> Output {
        let server = format!("http://{}", self.server.address);
        let mut command = self.home.command(&[arguments, &["--server", &server]].concat());
        command.env("HOOKCAST_ACCESS_TOKEN", &self.token).stdin(Stdio::null()).output().unwrap()
    }

    /// What it prints when it works.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON, one a line.
    fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What it complains of when it does not.
    fn complaint(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_made_shown_paused_and_deleted() {
    let asked = Asked::new(Home::new()).await;
    let mut receiver = Receiver::start().await;
    let url = &receiver.url.clone();
    let made = asked.json(&["subscription", "create", "relation_*", url, "--options", r#"{"ordering": "key"}"#]);
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["ordering"], &made["url"]), (&json!("key"), &json!(url)));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let list = asked.text(&["subscription", "list"]);
    assert!(list.contains(id) && list.contains("relation_*") && list.contains("active"), "{list}");
    assert_eq!(asked.json(&["subscription", "show", id])["id"], json!(id));

    assert!(asked.text(&["subscription", "pause", id]).contains("paused"));
    let event = asked.server.http.trigger("relation_added", json!({"n": 1})).await;
    let event_id = event["id"].as_str().unwrap();
    let shown = asked.text(&["event", "show", event_id]);
    assert!(shown.contains("inactive") && shown.contains(id), "{shown}");
    asked.text(&["subscription", "resume", id]);
    receiver.take(1).await;
    asked.server.http.event_in_state(event_id, "delivered").await;

    asked.text(&["subscription", "delete", id]);
    assert!(asked.complaint(&["subscription", "show", id]).contains("(404)"));
    assert!(!asked.text(&["subscription", "list"]).contains(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_shown_and_sent_again() {
    let home = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0");
    let asked = Asked::new(home).await;
    let mut receiver = Receiver::start().await;
    receiver.always(503);
    let made = asked.json(&["subscription", "create", "e", &receiver.url.clone()]);
    let id = made["id"].as_str().unwrap();
    let events = asked.server.http.trigger_many("e", 3).await;
    for event in &events {
        asked.server.http.event_in_state(event, "failed").await;
    }
    let list = asked.text(&["delivery", "list", id, "--state", "failed"]);
    assert_eq!(list.matches("dlv_").count(), 3, "{list}");
    assert_eq!(asked.text(&["delivery", "list", id, "--limit", "2"]).matches("dlv_").count(), 2);
    assert!(!asked.text(&["delivery", "list", id, "--state", "expired"]).contains("dlv_"));

    receiver.unseen();
    receiver.always(200);
    let event = asked.server.http.event(&events[0]).await;
    let delivery = event["deliveries"][0]["id"].as_str().unwrap();
    let shown = asked.text(&["delivery", "show", delivery]);
    assert!(shown.contains("503") && shown.contains("payload"), "{shown}");
    asked.text(&["delivery", "redeliver", delivery]);
    receiver.take(1).await;
    asked.server.http.event_in_state(&events[0], "delivered").await;
    assert_eq!(asked.json(&["subscription", "redeliver", id, "--since", "1h"]), json!({"redelivered": 2}));
    receiver.take(2).await;
    asked.server.http.event_in_state(&events[2], "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let mut asked = Asked::new(Home::new()).await;
    assert!(asked.complaint(&["delivery", "show", "../account"]).contains("(404)"));
    assert!(asked.complaint(&["delivery", "list", "sub_x?y#z"]).contains("(404)"));
    assert!(asked.complaint(&["subscription", "create", "e", "nonsense"]).contains("(422)"));
    let twice =
        ["subscription", "create", "e", "https://example.org", "--options", r#"{"url": "https://example.com"}"#];
    assert!(asked.complaint(&twice).contains("must not have `url`"));
    asked.token = "hkc_access_secret".into();
    let refused = asked.complaint(&["subscription", "list"]);
    assert!(refused.contains("(401)") && !refused.contains("secret"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_from_the_credentials_file_of_their_server() {
    let asked = Asked::new(Home::new()).await;
    let server = format!("http://{}", asked.server.address);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.toml");
    let list = || {
        let mut command = asked.home.command(&["subscription", "list", "--server", &server]);
        command.env_remove("HOOKCAST_ACCESS_TOKEN").env("HOOKCAST_CREDENTIALS", &path);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (worked, said) = list();
    assert!(!worked && said.contains("HOOKCAST_ACCESS_TOKEN") && said.contains(path.to_str().unwrap()), "{said}");
    std::fs::write(&path, format!("[\"https://other.example\"]\naccess_token = \"{}\"\n", asked.token)).unwrap();
    assert!(!list().0, "a token goes to its own server only");
    std::fs::write(&path, format!("[\"{server}/\"]\naccess_token = \"{}\"\n", asked.token)).unwrap();
    assert_eq!(list(), (true, String::new()));
    std::fs::write(&path, format!("[\"{server}\"\naccess_token = \"{}\"\n", asked.token)).unwrap();
    let (worked, said) = list();
    assert!(!worked && said.contains("not TOML") && !said.contains(&asked.token), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_says_what_subscriptions_there_are() {
    let mut asked = Asked::new(Home::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hooks.toml");
    let file = path.to_str().unwrap();
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let rest = "[[subscription]]\nevent = [\"b\", \"c_*\"]\nurl = \"https://example.org/two\"\nis_active = false\n";
    write(&format!(
        "[[subscription]]\nevent = \"a\"\nurl = \"https://example.org/one\"\nordering = \"key\"\nretries = [\"60s\"]\n\
         rate_limit = 20\nauth = {{ type = \"bearer\", token = \"hush\" }}\nheaders = {{ x-team = \"ads\" }}\n\n{rest}"
    ));
    let state = |asked: &Asked| asked.text(&["subscription", "list", "--json"]);

    let dry = asked.run(&["apply", "-f", file, "--dry-run"]);
    assert_eq!(dry.status.code(), Some(2));
    assert_eq!(String::from_utf8(dry.stdout).unwrap().matches("+ ").count(), 2);
    assert_eq!(state(&asked), "");
    let done = asked.text(&["apply", "-f", file]);
    assert!(done.contains("+ a -> https://example.org/one") && !done.contains("hush"), "{done}");
    assert_eq!(asked.text(&["apply", "-f", file]), "nothing to do\n");
    let made = state(&asked);
    assert!(made.contains("\"is_active\":false") && made.contains("\"ordering\":\"key\""), "{made}");

    // Another account can be made the same.
    let exported = asked.text(&["export"]);
    assert!(exported.contains("It has `auth`") && !exported.contains("hush"), "{exported}");
    write(&exported);
    assert_eq!(asked.text(&["apply", "-f", file]), "nothing to do\n");
    let ada = std::mem::replace(&mut asked.token, asked.server.http.account("bob").await.token);
    asked.text(&["apply", "-f", file]);
    assert_eq!(asked.text(&["export"]), exported.replace("# It has `auth`, which is not shown.\n", ""));
    asked.token = ada;

    write(&exported.replace("\"key\"", "\"none\""));
    let changed = asked.text(&["apply", "-f", file]);
    assert!(changed.starts_with("~ a -> https://example.org/one\n    ordering: \"key\" -> \"none\""), "{changed}");
    write(rest);
    assert_eq!(asked.text(&["apply", "-f", file]), "nothing to do\n");
    assert_eq!(asked.text(&["apply", "-f", file, "--prune"]), "- a -> https://example.org/one\n");
    assert_eq!(state(&asked).lines().count(), 1);

    for (text, complaint) in [
        ("subscriptions = []", "`subscriptions` is not known"),
        ("[[subscription]]\nevent = \"a\"", "has no `url`"),
        ("[subscription]\nevent = \"a\"", "two brackets"),
        (&format!("{rest}{rest}"), "is there twice"),
        ("[[subscription]]\nevent = \"a\"\nurl = \"https://example.org\"\norder = 1", "order"),
        ("nonsense", "cannot be understood"),
    ] {
        write(text);
        let said = asked.complaint(&["apply", "-f", file]);
        assert!(said.contains(complaint), "{said}");
    }
    assert_eq!(state(&asked).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sees_to_itself() {
    let mut asked = Asked::new(Home::new()).await;
    let shown = asked.text(&["account", "show"]);
    assert!(shown.contains("ada@example.org") && !shown.contains(&asked.token), "{shown}");
    let changed = asked.json(&["account", "change", "--email", "new@example.org"]);
    assert_eq!(changed, asked.json(&["account", "show"]));
    assert_eq!(changed["user_email"], "new@example.org");
    assert_eq!(asked.json(&["account", "change", "--no-email"])["user_email"], Value::Null);
    assert!(asked.complaint(&["account", "change", "--email", "nonsense"]).contains("(422)"));
    for wrong in [&["account", "change"][..], &["account", "change", "--email", "a@b.c", "--no-email"]] {
        assert_eq!(asked.run(wrong).status.code(), Some(2));
    }

    let rotated = asked.json(&["account", "rotate"]);
    assert!(asked.complaint(&["account", "show"]).contains("(401)"));
    asked.token = rotated["access_token"].as_str().unwrap().to_owned();
    let rotated = asked.text(&["account", "rotate"]);
    assert!(rotated.contains("hkc_access_") && rotated.ends_with("It is not shown again.\n"), "{rotated}");
    let is_token = |word: &&str| word.starts_with("hkc_access_");
    asked.token = rotated.split_whitespace().find(is_token).unwrap().to_owned();

    let complaint = asked.complaint(&["account", "delete"]);
    assert!(complaint.contains("`ada`") && complaint.contains("--yes"), "{complaint}");
    assert_eq!(asked.json(&["account", "show"])["user_id"], "ada");
    assert_eq!(asked.json(&["account", "delete", "--yes"]), json!({"deleted": "ada"}));
    for gone in [&["account", "show"][..], &["account", "rotate"], &["account", "delete", "--yes"]] {
        let complaint = asked.complaint(gone);
        assert!(complaint.contains("(401)") && !complaint.contains(&asked.token), "{complaint}");
    }
    assert_eq!(asked.home.expect(&["account", "list", "--json"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_tokens_are_made_listed_and_revoked() {
    let mut asked = Asked::new(Home::new()).await;
    let made = asked.json(&["token", "create", "dashboard", "--scope", "read"]);
    assert_eq!((&made["scope"], &made["expires_at"]), (&json!("read"), &Value::Null));
    let made_for_long = asked.text(&["token", "create", "import", "--scope", "write", "--expires", "30d"]);
    assert!(made_for_long.contains("hkc_access_") && made_for_long.contains("not shown again"), "{made_for_long}");
    let table = asked.text(&["token", "list"]);
    assert!(table.contains("default") && table.contains("dashboard") && !table.contains("hkc_"), "{table}");
    let tokens = asked.json_lines(&["token", "list"]);
    let import = tokens.iter().find(|token| token["name"] == "import").unwrap();
    assert!(tokens.len() == 3 && import["expires_at"].is_string(), "{tokens:?}");

    let writing = std::mem::replace(&mut asked.token, made["access_token"].as_str().unwrap().to_owned());
    asked.text(&["subscription", "list"]);
    assert!(asked.complaint(&["token", "list"]).contains("(403)"));
    asked.token = writing;
    assert_eq!(asked.json(&["token", "revoke", "dashboard"]), json!({"revoked": "dashboard"}));
    for (mistake, status) in [
        (&["token", "revoke", "dashboard"][..], "(404)"),
        (&["token", "revoke", "a b/c"], "(404)"),
        (&["token", "create", "import", "--scope", "read"], "(409)"),
        (&["token", "create", "x", "--scope", "read", "--expires", "2020-01-01T00:00:00Z"], "(422)"),
    ] {
        let complaint = asked.complaint(mistake);
        assert!(complaint.contains(status), "{complaint}");
    }
    for wrong in [&["token", "create", "x"][..], &["token", "create", "x", "--scope", "read", "--expires", "soon"]] {
        assert_eq!(asked.run(wrong).status.code(), Some(2));
    }
    asked.token = "hkc_access_wrong".into();
    assert!(asked.complaint(&["token", "list"]).contains("(401)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_event_are_described_shown_and_forgotten() {
    let asked = Asked::new(Home::new()).await;
    asked.home.write("schema.json", r#"{"type": "object", "required": ["order"]}"#);
    asked.home.write("example.json", r#"[{"order": 1.50, "big": 12345678901234567890123}]"#);
    let set = ["type", "set", "a/order:paid", "--description", "It was paid.", "--schema", "schema.json"];
    assert_eq!(asked.json(&set)["schema"]["required"], json!(["order"]));
    asked.server.http.try_trigger(&json!({"event": "a/order:paid", "payload": {}})).await.expect_invalid("payload");
    let table = asked.text(&["type", "list"]);
    assert!(table.contains("a/order:paid") && table.contains("It was paid.") && table.contains("yes"), "{table}");
    let shown = asked.text(&["type", "show", "a/order:paid"]);
    assert!(shown.contains("\nschema:\n{\n  \"required\""), "{shown}");

    // What is set takes the place of all that was there, and its numbers stay as they were written.
    asked.text(&["type", "set", "a/order:paid", "--example", "example.json"]);
    let path = "/webhooks/event-types/a%2Forder:paid";
    let answer = asked.server.http.get(path).bearer(TRIGGER_TOKEN).send().await;
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("1.50") && text.contains("12345678901234567890123"), "{text}");
    assert_eq!(asked.json(&["type", "show", "a/order:paid"])["schema"], Value::Null);
    let shown = asked.text(&["type", "show", "a/order:paid"]);
    assert!(shown.contains("\nexample:\n[\n"), "{shown}");

    let server = format!("http://{}", asked.server.address);
    let from_input = ["type", "set", "refund", "--schema", "-", "--server", &server];
    asked.home.hookcast_reading(r#"{"type": "integer"}"#, &from_input).expect(0);
    let types = asked.json_lines(&["type", "list"]);
    assert_eq!(types.iter().map(|found| &found["event"]).collect::<Vec<_>>(), ["a/order:paid", "refund"]);
    assert_eq!(types[1]["schema"], json!({"type": "integer"}));
    // To look at them an access token or a producer's one will do.
    for one in [
        &["type", "list", "--set", "trigger.token=wrong"][..],
        &["type", "show", "refund", "--set", "trigger.token=wrong"],
    ] {
        asked.text(one);
    }
    asked.home.expect(&["type", "show", "refund", "--server", &server]);
    assert_eq!(asked.json(&["type", "delete", "refund"]), json!({"deleted": "refund"}));

    asked.home.write("nonsense", "{");
    asked.home.write("no-schema", "7");
    for (mistake, told) in [
        (&["type", "show", "refund"][..], "(404)"),
        (&["type", "delete", "refund"], "(404)"),
        (&["type", "set", "x", "--schema", "no-schema"], "(422)"),
        (&["type", "set", "x", "--schema", "nonsense"], "nonsense is not JSON"),
        (&["type", "set", "x", "--example", "missing"], "missing cannot be read"),
        (&["type", "set", "x", "--example", "-", "--schema", "-"], "cannot both be standard input"),
        (&["type", "set", "x", "--set", "trigger.token=wrong"], "(401)"),
    ] {
        let complaint = asked.complaint(mistake);
        assert!(complaint.contains(told), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_get_tokens_for_their_types() {
    let asked = Asked::new(Home::new()).await;
    let made = asked.json(&["trigger-token", "create", "orders", "order_*", "refund,chargeback"]);
    assert_eq!(made["event"], json!(["chargeback", "order_*", "refund"]));
    let token = format!("trigger.token={}", made["trigger_token"].as_str().unwrap());
    asked.text(&["trigger", "order_paid", "1", "--set", &token]);
    let made_for_long = asked.text(&["trigger-token", "create", "import", "*", "--expires", "30d"]);
    assert!(made_for_long.contains("hkc_trigger_") && made_for_long.contains("not shown again"), "{made_for_long}");
    let table = asked.text(&["trigger-token", "list"]);
    assert!(table.contains("orders") && table.contains("order_*") && !table.contains("hkc_"), "{table}");
    assert!(asked.json_lines(&["trigger-token", "list"])[0]["expires_at"].is_string());

    for (mistake, told) in [
        (&["trigger", "other", "1", "--set", &token][..], "(403)"),
        (&["trigger-token", "list", "--set", &token], "(403)"),
        (&["trigger-token", "list", "--set", "trigger.token=wrong"], "(401)"),
        (&["trigger-token", "create", "orders", "x"], "(409)"),
        (&["trigger-token", "create", "x", "a b"], "(422)"),
        (&["trigger-token", "revoke", "nobody"], "(404)"),
    ] {
        let complaint = asked.complaint(mistake);
        assert!(complaint.contains(told), "{complaint}");
    }
    assert_eq!(asked.run(&["trigger-token", "create", "x"]).status.code(), Some(2));
    assert_eq!(asked.json(&["trigger-token", "revoke", "orders"]), json!({"revoked": "orders"}));
    assert!(asked.complaint(&["trigger", "order_paid", "1", "--set", &token]).contains("(401)"));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Home::new().run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("redeliver") && text.contains("trigger-token"), "{shell}");
    }
}
