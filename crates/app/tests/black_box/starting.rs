//! What keeps a command from its store or its address, and `hookcast migrate`.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
};

use serde_json::json;

use crate::support::{
    command::{Ended, finish},
    server::Home,
};

/// The commands that make the store where there is none.
const MAKERS: [&[&str]; 2] = [&["serve"], &["migrate"]];

/// The commands that open the store.
const COMMANDS: [&[&str]; 4] = [&["serve"], &["migrate"], &["resend"], &["account", "list"]];

/// Makes sure that no command can use the store, that each says so in one line like this, and that none leaves tokens.
fn check_refusals(home: &Home, words: &[&str]) {
    let is_there = home.database().exists();
    for command in COMMANDS.iter().filter(|command| is_there || MAKERS.contains(command)) {
        let complaint = home.refusal(command);
        let lines = complaint.lines().filter(|line| line.starts_with("hookcast: ")).count();
        assert!(lines == 1 && words.iter().all(|word| complaint.contains(word)), "{command:?}: {complaint}");
    }
    assert!(!home.path().join("data/hookcast.db.tokens.toml").exists());
}

fn without_tokens() -> Home {
    Home::new().unset("WEBHOOK_REGISTRATION_TOKEN").unset("WEBHOOK_TRIGGER_TOKEN")
}

#[test]
fn an_address_in_use_is_named() {
    let server = Home::new().serve();
    let complaint = Home::new().set("HOOKCAST_LISTEN", &server.address).refusal(&["serve"]);
    let expected = format!("hookcast: cannot listen on {}: Address already in use", server.address);
    assert!(complaint.contains(&expected), "{complaint}");
}

#[test]
fn a_store_has_one_server_at_a_time() {
    let home = Home::new();
    let server = home.serve();
    let complaint = home.refusal(&["serve"]);
    assert!(complaint.contains("another server has data/hookcast.db: stop it first"), "{complaint}");
    assert!(server.stop().success());
    home.serve();
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let home = without_tokens();
    fs::create_dir(home.path().join("data")).unwrap();
    let text = "these are not the pages you are looking for\n".repeat(100);
    fs::write(home.database(), &text).unwrap();
    check_refusals(&home, &["the store at sqlite://data/hookcast.db", "file is not a database"]);
    assert_eq!(fs::read_to_string(home.database()).unwrap(), text);
}

#[test]
fn a_folder_is_no_database() {
    let home = without_tokens();
    fs::create_dir_all(home.database()).unwrap();
    check_refusals(&home, &["the store at sqlite://data/hookcast.db", "unable to open database file"]);
}

#[test]
fn a_store_from_the_future_wants_a_newer_hookcast() {
    let home = without_tokens();
    home.expect(&["migrate"]);
    let database = rusqlite::Connection::open(home.database()).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    check_refusals(&home, &["its tables are of version 99", "run a newer Hookcast"]);
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn a_store_in_a_folder_that_cannot_be_made_is_named() {
    let home = without_tokens();
    home.write("data", "a file where a folder should be");
    check_refusals(&home, &["data", "File exists"]);
}

#[test]
fn a_mistyped_path_makes_no_store() {
    let home = Home::new();
    for command in [&["resend"][..], &["account", "list"], &["account", "create", "ada"]] {
        let complaint = home.refusal(command);
        assert!(complaint.contains("there is no store at /"), "{command:?}: {complaint}");
    }
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_store_at_rest_is_one_file() {
    let home = Home::new();
    let files = || -> Vec<_> {
        let found = fs::read_dir(home.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = found.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        files
    };
    assert!(home.serve().stop().success());
    assert_eq!(files(), ["hookcast.db", "hookcast.db.lock"]);
    for command in [&["resend"][..], &["account", "create", "ada"], &["migrate"]] {
        assert!(home.run(command).status.success(), "{command:?}");
        assert_eq!(files(), ["hookcast.db", "hookcast.db.lock"], "{command:?}");
    }
}

#[test]
fn a_folder_without_permission_is_named() {
    let home = without_tokens();
    fs::create_dir(home.path().join("data")).unwrap();
    fs::set_permissions(home.path().join("data"), fs::Permissions::from_mode(0o555)).unwrap();
    for command in MAKERS {
        let complaint = as_somebody(&home, command).refusal();
        assert!(complaint.contains("data/hookcast.db"), "{command:?}: {complaint}");
        let reasons = ["Permission denied", "unable to open database file"];
        assert!(reasons.iter().any(|reason| complaint.contains(reason)), "{command:?}: {complaint}");
    }
}

/// Runs a command as a user whom permissions bind, which the superuser is not.
fn as_somebody(home: &Home, arguments: &[&str]) -> Ended {
    const NOBODY: u32 = 65_534;
    let is_root = fs::metadata(home.path()).unwrap().uid() == 0;
    if !is_root {
        return home.hookcast(arguments);
    }
    // Nobody may look into the superuser's folders, where the binary may well be.
    let binary = home.path().join("hookcast");
    fs::copy(env!("CARGO_BIN_EXE_hookcast"), &binary).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let original = home.command(arguments);
    let mut command = std::process::Command::new(binary);
    command.args(original.get_args()).current_dir(home.path()).env_clear();
    command.envs(original.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(command.uid(NOBODY), "")
}

#[test]
fn a_store_of_another_kind_is_refused_without_its_password() {
    let home = without_tokens().set("HOOKCAST_DATABASE_URL", "mysql://me:hunter2@localhost/hookcast");
    check_refusals(&home, &["the database URL must begin with `sqlite://`", "this one has `mysql`"]);
    let complaint = home.refusal(&["check-config"]);
    assert!(complaint.contains("database.url") && complaint.contains("`sqlite://`"), "{complaint}");
    for command in COMMANDS {
        assert!(!home.refusal(command).contains("hunter2"));
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let complaint = Home::new().set("HOOKCAST_DELIVERY_CA_FILE", "authorities.pem").refusal(&["serve"]);
    assert!(complaint.contains("authorities.pem") && complaint.contains("No such file"), "{complaint}");
}

#[test]
fn migrate_makes_a_store_and_finds_it_made() {
    let home = Home::new();
    for _ in 0..2 {
        assert_eq!(home.expect(&["migrate"]), "sqlite://data/hookcast.db is up to date\n");
        assert_eq!(home.expect(&["account", "list", "--json"]), "");
    }
    let answer = home.hookcast(&["migrate", "--json"]).expect(0).json();
    assert_eq!(answer, json!({"store": "sqlite://data/hookcast.db", "up_to_date": true}));
}

#[tokio::test]
async fn many_may_migrate_at_once_and_beside_a_server() {
    let home = Home::new();
    let migrate_often = || {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| home.expect(&["migrate"]));
            }
        });
    };
    migrate_often();
    let server = home.serve();
    let ada = server.http.account("ada").await;
    migrate_often();
    let answer = server.http.get("/webhooks/subscriptions").bearer(&ada.token).send().await;
    answer.expect(200);
    assert!(server.stop().success());
}
