//! Settings: where they come from, how mistakes in them are told, `hookcast check-config`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    http::Http,
    receiver::Receiver,
    server::{Home, TRIGGER_TOKEN},
};

/// The commands that read the settings.
const COMMANDS: [&[&str]; 6] = [
    &["serve"],
    &["migrate"],
    &["resend"],
    &["account", "list"],
    &["trigger", "relation_added", "{}", "--server", "http://127.0.0.1:3"],
    &["check-config"],
];

/// Who made an event, as its receiver sees it, when the server is started like this.
async fn creator(home: &Home, arguments: &[&str], receiver: &mut Receiver) -> Value {
    let (mut server, http) = home.serve_with(arguments);
    http.trigger("relation_added", json!({})).await;
    let creator = receiver.next().await.json()["creator"].clone();
    assert_eq!(server.stop(), Some(0));
    creator
}

async fn home_with_subscriber(receiver: &Receiver) -> Home {
    let home = Home::new();
    let server = home.serve();
    server.http.account("ada").await.subscribe("relation_added", &receiver.url).await;
    assert!(server.stop().success());
    home
}

/// Whether the server takes this as the trigger token.
async fn triggers(http: &Http, token: &str) -> bool {
    let body = json!({"event": "relation_added", "payload": {}});
    match http.post("/webhooks/trigger").bearer(token).json(&body).send().await.status.as_u16() {
        202 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// The value and the origin of each setting.
fn settings(checked: &Value) -> BTreeMap<&str, (&str, &str)> {
    let settings = checked["settings"].as_array().unwrap().iter();
    let text = |setting: &'_ Value, member| setting[member].as_str().unwrap().to_owned().leak() as &str;
    settings.map(|setting| (text(setting, "key"), (text(setting, "value"), text(setting, "source")))).collect()
}

#[tokio::test]
async fn each_layer_overrides_those_below_it() {
    let mut receiver = Receiver::start().await;
    let home = home_with_subscriber(&receiver).await;
    assert_eq!(creator(&home, &[], &mut receiver).await, "hookcast");
    home.write("hookcast.toml", "envelope.creator = 'the file'");
    assert_eq!(creator(&home, &[], &mut receiver).await, "the file");
    home.write("hookcast.local.toml", "[envelope]\ncreator = 'the local file'");
    assert_eq!(creator(&home, &[], &mut receiver).await, "the local file");
    let home = home.set("HOOKCAST_ENVELOPE_CREATOR", "the environment");
    assert_eq!(creator(&home, &[], &mut receiver).await, "the environment");
    let flags = ["--set", "envelope.creator=a flag", "--set", "envelope.creator=the last flag"];
    assert_eq!(creator(&home, &flags, &mut receiver).await, "the last flag");
}

#[tokio::test]
async fn a_named_file_takes_the_place_of_the_usual_one_and_has_its_own_local_one() {
    let mut receiver = Receiver::start().await;
    let home = home_with_subscriber(&receiver).await;
    home.write("hookcast.toml", "this is not read");
    home.write("hookcast.local.toml", "and neither is this");
    std::fs::create_dir(home.path().join("conf")).unwrap();
    home.write("conf/prod.toml", "envelope.creator = 'the named file'");
    assert_eq!(creator(&home, &["--config", "conf/prod.toml"], &mut receiver).await, "the named file");
    home.write("conf/prod.local.toml", "envelope.creator = 'the one beside it'");
    assert_eq!(creator(&home, &["--config", "conf/prod.toml"], &mut receiver).await, "the one beside it");
}

#[tokio::test]
async fn names_of_the_prototype_are_stronger_than_files_and_weaker_than_ours() {
    let home = Home::new().unset("WEBHOOK_TRIGGER_TOKEN");
    home.write("hookcast.toml", "trigger.token = 'from-the-file'");
    let (server, http) = home.serve_with(&[]);
    assert!(triggers(&http, "from-the-file").await);
    drop(server);

    let home = home.set("WEBHOOK_TRIGGER_TOKEN", "from-the-prototype");
    let (server, http) = home.serve_with(&[]);
    assert!(triggers(&http, "from-the-prototype").await);
    assert!(!triggers(&http, "from-the-file").await);
    drop(server);

    let home = home.set("HOOKCAST_TRIGGER_TOKEN", "ours");
    let (_server, http) = home.serve_with(&[]);
    assert!(triggers(&http, "ours").await);
    assert!(!triggers(&http, "from-the-prototype").await);
}

#[tokio::test]
async fn as_many_attempts_as_the_prototype_was_told_deactivate_a_subscription() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let server = Home::new().set("MAX_SEND_ATTEMPTS", "2").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("relation_added", &receiver.url).await;
    server.http.trigger("relation_added", json!({})).await;
    let inactive = ada.subscription_when(&subscription.id, "inactive", |now| now["is_active"] == false).await;
    assert_eq!(inactive["failure_count"], 2);
}

#[tokio::test]
async fn an_empty_list_of_delays_means_no_retries() {
    let receiver = Receiver::start().await;
    receiver.always(500);
    let server = Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "").serve();
    server.http.account("ada").await.subscribe("relation_added", &receiver.url).await;
    let receipt = server.http.trigger("relation_added", json!({})).await;
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), "failed").await;
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn all_mistakes_are_told_together_with_their_places_and_what_is_allowed() {
    let home = Home::new().set("HOOKCAST_LOG_LEVEL", "loud").set("WEBHOOK_TRIGGER_TOKEN", "two words");
    home.write("hookcast.toml", "envelope.creator = ''\n\n[deliverry]\ntimeout = '5s'\n");
    home.write("hookcast.local.toml", "# secrets\n[delivery]\nsuccess = '3xx'\nretry_schedule = ['5s', 'soon']\n");
    let flags = ["--set", "colour=red", "--database-url", "hookcast.db"];
    for command in COMMANDS {
        let complaint = home.refusal(&[command, &flags].concat());
        assert!(complaint.starts_with("hookcast: the configuration has 8 errors:\n"), "{complaint}");
        for mistake in [
            "hookcast.toml:1: envelope.creator: an empty value is not allowed; it must be a line of",
            "hookcast.toml:4: `deliverry.timeout` is not a setting; did you mean `delivery.timeout`?\n",
            "hookcast.local.toml:3: delivery.success: `3xx` is not allowed; it must be `200` (only that status) or `2xx`",
            "hookcast.local.toml:4: delivery.retry_schedule: `soon` is not allowed; it must be a list of",
            "environment variable HOOKCAST_LOG_LEVEL: log.level: `loud` is not allowed; it must be `error`, `warn`",
            "environment variable WEBHOOK_TRIGGER_TOKEN: trigger.token: `***` is not allowed; it must be 1 to 512",
            "flag --set: `colour` is not a setting\n",
            "flag --database-url: database.url: `hookcast.db` is not allowed; it must be the URL of a store",
        ] {
            assert!(complaint.contains(mistake), "{mistake} is missing:\n{complaint}");
        }
    }
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let complaint = Home::new().refusal(&["serve", "--config", "conf/prod.toml"]);
    assert!(complaint.contains("conf/prod.toml: cannot be read: No such file"), "{complaint}");
}

#[test]
fn an_unknown_variable_is_a_warning_and_no_more() {
    let home = Home::new().set("HOOKCAST_DELIVERY_TIMEOUTS", "5s").set("HOOKCAST_SERVICE_HOST", "10.0.0.1");
    let mistyped = "environment variable HOOKCAST_DELIVERY_TIMEOUTS is not a setting and has no effect; did you mean \
                    `HOOKCAST_DELIVERY_TIMEOUT`?";
    let foreign = "environment variable HOOKCAST_SERVICE_HOST is not a setting and has no effect";
    let log = home.serve().log();
    assert!(log.contains(&format!("WARN {mistyped}\n")) && log.contains(&format!("WARN {foreign}\n")), "{log}");

    let checked = home.hookcast(&["check-config"]).expect(0);
    assert!(checked.stderr.contains(&format!("hookcast: warning: {mistyped}\n")), "{}", checked.stderr);
    let checked = home.hookcast(&["check-config", "--json"]).expect(0).json();
    assert_eq!(checked["warnings"], json!([mistyped, foreign]));
}

#[test]
fn check_config_shows_every_setting_with_its_origin_and_changes_nothing() {
    let home = Home::new().set("MAX_SEND_ATTEMPTS", "3");
    home.write("hookcast.toml", "\nretention.age = '30d'\n");
    home.write("hookcast.local.toml", "registration.token = 'overridden'\n");
    let arguments = ["check-config", "--set", "delivery.retry_schedule=5s, 5m", "--json"];
    let checked = home.hookcast(&arguments).expect(0).json();
    let settings = settings(&checked);
    let (file, variable) = (home.path().join("hookcast.toml:2").display().to_string(), "environment variable");
    for (key, value, source) in [
        ("delivery.timeout", "15s", "default"),
        ("retention.age", "30d", &*file),
        ("listen", "127.0.0.1:0", &format!("{variable} HOOKCAST_LISTEN")),
        ("registration.token", "***", &format!("{variable} WEBHOOK_REGISTRATION_TOKEN")),
        ("delivery.max_failures", "2", &format!("{variable} MAX_SEND_ATTEMPTS")),
        ("delivery.deactivate_after", "0", &format!("{variable} MAX_SEND_ATTEMPTS")),
        ("delivery.retry_schedule", "5s, 5m", "flag --set"),
    ] {
        assert_eq!(settings[key], (value, source), "{key}");
    }

    let table = home.expect(&["check-config"]);
    let reference = home.expect(&["check-config", "--reference"]);
    assert_eq!(table.lines().count(), 1 + settings.len());
    for key in settings.keys() {
        assert!(table.lines().any(|line| line.split_whitespace().next() == Some(key)), "{key} is not in:\n{table}");
        assert!(reference.contains(&format!("\n| `{key}` | `HOOKCAST_")), "{key} is not in:\n{reference}");
    }
    let mut left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["hookcast.local.toml", "hookcast.toml"]);
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let home = Home::new().set("HOOKCAST_DELIVERY_LEASE", "30s");
    for (setting, complaint) in [
        (
            "delivery.timeout=21s",
            "delivery.timeout must be at most two thirds of delivery.lease: set delivery.timeout to at most `20s` or \
             delivery.lease to at least `31500ms` (delivery.timeout is `21s` from flag --set; delivery.lease is `30s` from \
             environment variable HOOKCAST_DELIVERY_LEASE)",
        ),
        ("delivery.retry_schedule=30d,30d,30d", "retention.age must be longer than the retries of a delivery take"),
        ("limits.buffered=15MiB", "limits.request_size must be at most limits.buffered"),
    ] {
        for command in ["check-config", "serve"] {
            let told = home.refusal(&[command, "--set", setting]);
            assert!(told.contains("the configuration has an error:") && told.contains(complaint), "{setting}: {told}");
        }
    }
    home.expect(&["check-config", "--set", "delivery.timeout=20s"]);
}

#[test]
fn no_complaint_shows_a_secret() {
    for (home, arguments) in [
        (Home::new().set("HOOKCAST_TRIGGER_TOKEN", "hunter2 hunter2"), vec![]),
        (Home::new().set("WEBHOOK_REGISTRATION_TOKEN", "hunter2\u{fc}"), vec![]),
        (Home::new(), vec!["--set", "trigger.token=hunter2 "]),
        (Home::new(), vec!["--database-url", "mysql://me:hunter2@localhost/hookcast"]),
        (Home::new(), vec!["--database-url", "mysql://localhost/hookcast?password=hunter2"]),
        (Home::new(), vec!["--database-url", "me:hunter2@localhost"]),
    ] {
        check_hides(&home, &arguments, "hunter2");
    }
    for text in [
        "trigger.token = 'hunter2 '",
        "trigger.token = ['hunter2', 'hunter2']",
        "trigger.token = hunter2",
        "trigger.token = 'hunter2",
        "trigger.token = 'hunter2' 'hunter2'",
        "trigger.token = 'fine'\ntrigger.token = 'hunter2'",
        "trigger_token = 'hunter2'",
        "[trigger]\ntoken.hidden = 'hunter2'",
        "[database]\nurl = 'postgres://me:hunter2@'\nmax_size = 'large'",
    ] {
        for file in ["hookcast.toml", "hookcast.local.toml"] {
            let home = Home::new();
            home.write(file, text);
            check_hides(&home, &[], "hunter2");
        }
    }
}

/// Makes sure that every command refuses these settings and that none shows the secret among them.
fn check_hides(home: &Home, flags: &[&str], secret: &str) {
    for command in COMMANDS {
        let complaint = home.refusal(&[command, flags].concat());
        assert!(!complaint.contains(secret), "{complaint}");
    }
}

#[test]
fn secrets_in_force_are_masked() {
    let home = Home::new().set("HOOKCAST_TRIGGER_TOKEN", TRIGGER_TOKEN);
    for arguments in [&["check-config"][..], &["check-config", "--json"]] {
        let shown = home.expect(arguments);
        assert!(shown.contains("***") && !shown.contains("test-"), "{shown}");
    }
}
