//! The command line: what it says about itself, accounts, triggers.

use std::{io, process::Stdio};

use serde_json::{Value, json};

use crate::support::{
    command::{Running, finish},
    eventually,
    http::Http,
    loopback_address,
    receiver::Receiver,
    server::{Home, Server},
};

/// Whether the server takes this as an account's access token.
async fn is_valid(http: &Http, token: &str) -> bool {
    let answer = http.get("/webhooks/subscriptions").bearer(token).send().await;
    match answer.status.as_u16() {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// A server with a subscriber of `relation_added`, and its address as `--server` takes it.
async fn server_with_subscriber(home: &Home, receiver: &Receiver) -> (Server, String) {
    let server = home.serve();
    server.http.account("ada").await.subscribe("relation_added", &receiver.url).await;
    let url = format!("http://{}", server.address);
    (server, url)
}

/// The payload as it was delivered, to the letter.
fn payload(body: &[u8]) -> &str {
    let (_, payload) = std::str::from_utf8(body).unwrap().split_once("\"payload\":").unwrap();
    payload.strip_suffix('}').unwrap()
}

#[test]
fn every_command_says_what_it_does_and_how_it_ends() {
    let home = Home::new();
    for (command, words) in [
        ("serve", "Run the server"),
        ("resend", "Make one pass over the deliveries that are due"),
        ("health", "Ask a server whether it can do its work"),
        ("trigger", "Post events to a server"),
        ("account", "Register accounts"),
        ("account create", "Register an account"),
        ("account rotate-token", "Give any account of the store a new access token"),
        ("migrate", "Create the store's tables"),
        ("store", "Copy a store to another one"),
        ("store copy", "Copy everything from one store to another"),
        ("check-config", "Check the settings"),
        ("test-mail", "Send a mail, to see whether mails arrive"),
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = home.expect(&arguments);
        assert!(help.starts_with(words), "{help}");
        assert!(help.contains("\nExit codes: 0 ") && help.contains(&format!("\nUsage: hookcast {command} ")), "{help}");
    }
    for (command, words) in
        [("account list", "List the accounts"), ("listen", "Receive webhooks"), ("demo", "See it all work")]
    {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = home.expect(&arguments);
        assert!(help.starts_with(words) && help.contains(&format!("\nUsage: hookcast {command} ")), "{help}");
    }
}

#[test]
fn the_overview_lists_the_commands() {
    let overview = Home::new().expect(&["--help"]);
    for command in [
        "serve",
        "resend",
        "health",
        "trigger",
        "account",
        "token",
        "type",
        "trigger-token",
        "listen",
        "migrate",
        "store",
        "check-config",
        "test-mail",
        "demo",
    ] {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in:\n{overview}");
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(Home::new().expect(&["--version"]), concat!("hookcast ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_examples_in_the_help_are_command_lines_that_parse() {
    let home = Home::new();
    let mut examples = 0;
    for command in [
        "serve",
        "resend",
        "health",
        "trigger",
        "token",
        "type",
        "trigger-token",
        "store copy",
        "check-config",
        "test-mail",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = home.expect(&arguments);
        let (_, lines) = help.split_once("\nExamples:\n").unwrap();
        for line in lines.lines() {
            let (_, example) = line.split_once("hookcast ").unwrap();
            let example = example.split([';', '|', '#']).next().unwrap();
            let hookcast = env!("CARGO_BIN_EXE_hookcast");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("'{hookcast}' {example} --help")]);
            finish(&mut shell, "").expect(0);
            examples += 1;
        }
    }
    assert!(examples > 8, "{examples}");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["sevre"],
        &["serve", "--colour"],
        &["serve", "now"],
        &["migrate", "--set", "delivery.timeout"],
        &["account"],
        &["account", "create"],
        &["trigger"],
        &["trigger", "relation_added", "{}", "--jsno"],
        &["trigger", "relation_added", "--file", "events.json"],
        &["resend", "--since", "yesterday"],
        &["listen", "--status", "42"],
        &["check-config", "--reference", "--json"],
        &["test-mail"],
    ] {
        let ended = home.hookcast(arguments).expect(2);
        assert_eq!(ended.stdout, "");
        assert!(ended.stderr.contains("Usage: hookcast") || ended.stderr.contains("try '--help'"), "{}", ended.stderr);
    }
}

/// A pipe whose reader has left.
fn unread() -> io::PipeWriter {
    let (_, writer) = io::pipe().unwrap();
    writer
}

#[test]
fn who_stops_reading_what_a_command_prints_does_not_make_it_fail() {
    let home = Home::new();
    let server = home.serve();
    let url = format!("http://{}", server.address);
    for arguments in [
        &["check-config"][..],
        &["check-config", "--json"],
        &["check-config", "--reference"],
        &["migrate"],
        &["account", "create", "ada"],
        &["account", "list"],
        &["account", "list", "--json"],
        &["account", "rotate-token", "ada"],
        &["trigger", "relation_added", "--server", &url],
        &["resend"],
    ] {
        let output = home.command(arguments).stdout(unread()).stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");
    }
    let mut refused = home.command(&["account", "create", "ada"]);
    let status = refused.stdout(Stdio::null()).stderr(unread()).stdin(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_server_outlives_whoever_reads_its_log() {
    let place = loopback_address();
    let home = Home::new().set("HOOKCAST_LISTEN", &place.to_string()).set("HOOKCAST_LOG_LEVEL", "trace");
    let receiver = Receiver::start().await;
    receiver.next_replies([500]);
    let mut command = home.command(&["serve", "--hints"]);
    let mut server = Running::from(command.stdin(Stdio::null()).stdout(unread()).stderr(unread()).spawn().unwrap());
    let http = Http::new(format!("http://{place}"));
    eventually("an answer", async || http.get("/health/ready").try_send().await.ok()).await;
    http.account("ada").await.subscribe("relation_added", &receiver.url).await;
    let receipt = http.trigger("relation_added", json!({})).await;
    http.event_in_state(receipt["id"].as_str().unwrap(), "delivered").await;
    assert_eq!(receiver.total(), 2);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn an_account_made_beside_a_server_works_there_at_once() {
    let home = Home::new();
    let server = home.serve();
    let account = home.hookcast(&["account", "create", "ada", "--email", "ada@example.org", "--json"]).expect(0).json();
    assert_eq!((&account["user_id"], &account["user_email"]), (&json!("ada"), &json!("ada@example.org")));
    assert!(is_valid(&server.http, account["access_token"].as_str().unwrap()).await);

    let shown = home.expect(&["account", "create", "bob"]);
    let (_, token) = shown.split_once("account:      bob\naccess token: ").unwrap();
    let (token, rest) = token.split_once('\n').unwrap();
    assert_eq!(rest, "It is not shown again.\n");
    assert!(is_valid(&server.http, token).await);
}

#[tokio::test]
async fn a_rotated_token_voids_the_one_before_at_once() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("relation_added", &receiver.url).await;
    let mut token = ada.token.clone();
    for _ in 0..3 {
        assert!(is_valid(&server.http, &token).await);
        let rotated = home.hookcast(&["account", "rotate-token", "ada", "--json"]).expect(0).json();
        assert_eq!(rotated["user_email"], "ada@example.org");
        assert!(!is_valid(&server.http, &token).await);
        token = rotated["access_token"].as_str().unwrap().to_owned();
        assert!(is_valid(&server.http, &token).await);
    }
    server.http.trigger("relation_added", json!({})).await;
    receiver.next().await.verify(&subscription.secret).unwrap();
}

#[tokio::test]
async fn accounts_are_listed_without_their_tokens() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    home.expect(&["account", "create", "bob with a space"]);
    let listed = home.hookcast(&["account", "list", "--json"]).expect(0);
    let accounts: Vec<(Value, Value)> =
        listed.json_lines().iter().map(|account| (account["user_id"].clone(), account["user_email"].clone())).collect();
    assert_eq!(accounts, [(json!("ada"), json!("ada@example.org")), (json!("bob with a space"), Value::Null)]);
    let table = home.expect(&["account", "list"]);
    assert!(table.contains("ada@example.org") && table.contains("bob with a space"), "{table}");
    assert!(!table.contains(&ada.token) && !listed.stdout.contains("token"), "{table}");
}

#[tokio::test]
async fn accounts_that_cannot_be_are_refused_and_change_nothing() {
    let home = Home::new();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    for (arguments, complaint) in [
        (&["create", "ada"][..], "there is an account `ada` already; `hookcast account rotate-token` gives it a new"),
        (&["create", " "], "USER_ID must not be empty"),
        (&["create", "bob", "--email", "bob"], "--email must be an e-mail address"),
        (&["rotate-token", "bob"], "there is no account `bob`; `hookcast account list` shows those there are"),
    ] {
        let told = home.refusal(&[&["account"], arguments].concat());
        assert!(told.starts_with(&format!("hookcast: {complaint}")), "{told}");
    }
    assert!(is_valid(&server.http, &ada.token).await);
    assert_eq!(home.hookcast(&["account", "list", "--json"]).expect(0).json_lines().len(), 1);
}

#[tokio::test]
async fn a_payload_is_delivered_as_it_is_written() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let (_server, url) = server_with_subscriber(&home, &receiver).await;
    let written = r#"{"n": [1.0, 1e3, 12345678901234567890123, 0.10], "t": "\u00e9 é", "n": null}"#;
    home.expect(&["trigger", "relation_added", written, "--server", &url]);
    assert_eq!(payload(&receiver.next().await.body), written);
    home.hookcast_reading(written, &["trigger", "relation_added", "-", "--server", &url]).expect(0);
    assert_eq!(payload(&receiver.next().await.body), written);
    home.expect(&["trigger", "relation_added", "-1.50", "--server", &url]);
    assert_eq!(payload(&receiver.next().await.body), "-1.50");
    home.expect(&["trigger", "relation_added", "--server", &format!("{url}/")]);
    assert_eq!(payload(&receiver.next().await.body), "{}");
}

#[tokio::test]
async fn a_file_holds_one_event_or_several_in_either_form() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let (_server, url) = server_with_subscriber(&home, &receiver).await;
    let event = |n: &str| format!(r#"{{"event": "relation_added", "payload": {n}}}"#);
    for (text, payloads) in [
        (event("1.0"), vec!["1.0"]),
        (format!("[{},\n{}]", event("1.0"), event("2.50")), vec!["1.0", "2.50"]),
        (format!("{}\n\n{}\r\n{}", event("1.0"), event("2.50"), event("3")), vec!["1.0", "2.50", "3"]),
    ] {
        home.write("events", &text);
        let from_file = home.hookcast(&["trigger", "--file", "events", "--server", &url]).expect(0);
        assert_eq!(from_file.stdout.lines().count(), payloads.len());
        home.hookcast_reading(&text, &["trigger", "--file", "-", "--server", &url]).expect(0);
        let received = receiver.take(2 * payloads.len()).await;
        let mut got: Vec<&str> = received.iter().map(|received| payload(&received.body)).collect();
        got.sort_unstable();
        let mut expected = [&payloads[..], &payloads].concat();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn receipts_are_shown_for_people_and_for_programs() {
    let receiver = Receiver::start().await;
    let home = Home::new().set("HOOKCAST_DEDUPLICATE", "forever");
    let (server, url) = server_with_subscriber(&home, &receiver).await;
    let trigger = ["trigger", "relation_added", "[1]", "--server", &url];
    let receipt = home.hookcast(&[&trigger[..], &["--json"]].concat()).expect(0).json();
    let id = receipt["id"].as_str().unwrap();
    assert_eq!((&receipt["subscriptions"], &receipt["duplicate"]), (&json!(1), &json!(false)));
    server.http.event_in_state(id, "delivered").await;
    assert_eq!(home.expect(&trigger), format!("{id}  relation_added  came before; not sent again\n"));
    let nobody = home.expect(&["trigger", "nobody_listens", "--server", &url]);
    assert!(nobody.ends_with("  nobody_listens  to 0 subscriptions\n"), "{nobody}");
}

#[tokio::test]
async fn the_same_idempotency_key_triggers_once() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let (_server, url) = server_with_subscriber(&home, &receiver).await;
    let trigger = |payload| {
        home.hookcast(&["trigger", "relation_added", payload, "--idempotency-key", "import-7", "--server", &url])
    };
    assert_eq!(trigger("1").expect(0).stdout, trigger("1").expect(0).stdout);
    let complaint = trigger("2").refusal();
    assert!(complaint.contains("refused it (422): `Idempotency-Key` was used for another body"), "{complaint}");
    home.expect(&["trigger", "relation_added", "3", "--server", &url]);
    let received = [receiver.next().await, receiver.next().await];
    let mut payloads = received.each_ref().map(|received| payload(&received.body));
    payloads.sort_unstable();
    assert_eq!(payloads, ["1", "3"]);
}

#[tokio::test]
async fn a_trigger_that_fails_says_why_and_stores_nothing() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let (server, url) = server_with_subscriber(&home, &receiver).await;
    home.write("second-is-bad", "{\"event\": \"relation_added\", \"payload\": 1}\n{\"event\": \"relation_added\"}\n");
    home.write("no-json", "{\"event\": \"relation_added\", \"payload\": 1}\n{\"event\": \n");
    home.write("empty", "");
    let server_says = |status: u16| format!("hookcast: {url} refused it ({status}): ");
    for (arguments, complaint) in [
        (&["relation added", "{}"][..], format!("{}`event` ", server_says(422))),
        (&["--file", "second-is-bad"], format!("{}event 1: ", server_says(422))),
        (
            &["--file", "no-json"],
            "hookcast: no-json does not hold events: it is neither JSON as a whole (trailing".into(),
        ),
        (&["--file", "no-json"], "nor line by line (line 2: EOF while parsing a value".into()),
        (&["--file", "empty"], server_says(422)),
        (&["--file", "missing"], "hookcast: missing cannot be read: No such file".into()),
        (&["relation_added", "{'a': 1}"], "hookcast: PAYLOAD is not JSON: key must be a string at line 1".into()),
        (&["relation_added", "-"], "hookcast: PAYLOAD is not JSON: EOF".into()),
        (&["relation_added", "--set", "trigger.token=wrong"], format!("{}the token is not known", server_says(401))),
        (&["relation_added", "--server", &server.address], "hookcast: --server must be a URL such as http".into()),
        (&["relation_added", "--idempotency-key", "a\nb"], "hookcast: the request cannot be made".into()),
    ] {
        let to_server = if arguments.contains(&"--server") { &[][..] } else { &["--server", &url] };
        let told = home.refusal(&[&["trigger"], arguments, to_server].concat());
        assert!(told.contains(&complaint), "{arguments:?}: {complaint} is not in: {told}");
    }
    home.expect(&["trigger", "relation_added", "\"the first\"", "--server", &url]);
    assert_eq!(payload(&receiver.next().await.body), "\"the first\"");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_no_hookcast_is_named() {
    let home = Home::new();
    let complaint = home.refusal(&["trigger", "relation_added"]);
    assert!(complaint.contains("the settings let the server take any port: say which with --server"), "{complaint}");

    // Nobody listens where somebody did.
    let url = format!("http://{}", home.serve().address);
    let complaint = home.refusal(&["trigger", "relation_added", "--server", &url]);
    assert!(complaint.starts_with(&format!("hookcast: no answer from {url} (`hookcast serve` starts")), "{complaint}");
    assert!(complaint.contains("Connection refused"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_hookcasts_is_told_apart() {
    let receiver = Receiver::start().await;
    receiver.next_replies([404, 202]);
    let trigger = ["trigger", "relation_added", "--server", &receiver.url];
    let complaint = Home::new().refusal(&trigger);
    assert!(complaint.contains("refused it (404): no reason given; is it a Hookcast server?"), "{complaint}");
    let complaint = Home::new().refusal(&trigger);
    assert!(complaint.contains(&format!("the answer from {} is not JSON", receiver.url)), "{complaint}");
}

#[tokio::test]
async fn the_server_that_the_settings_describe_is_the_usual_one() {
    let mut receiver = Receiver::start().await;
    let home = Home::new();
    let (server, _) = server_with_subscriber(&home, &receiver).await;
    let everywhere = server.address.replace("127.0.0.1", "0.0.0.0");
    home.expect(&["trigger", "relation_added", "--set", &format!("listen={everywhere}")]);
    receiver.next().await;
}
