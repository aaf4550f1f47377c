//! `hookcast apply` and `hookcast export`: an account's subscriptions as a file that can be kept with the code.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail, ensure};
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Global, PARTIAL, print,
    remote::{Remote, Token},
};
use crate::config::parse_duration;

/// Members whose values a server never shows: they are sent where they are new, and cannot be compared.
const SECRET: [&str; 3] = ["secret", "auth", "tls"];

/// What is exported beside `event` and `url`: what a subscription's owner may choose.
const CHOICES: [&str; 12] = [
    "is_active",
    "signature",
    "consent",
    "format",
    "filter",
    "ordering",
    "on_failure",
    "rate_limit",
    "max_in_flight",
    "retries",
    "success_status",
    "timeout",
];

/// The same where the account fetches the events.
const CHOICES_OF_FETCHED: [&str; 2] = ["format", "filter"];

/// Make an account's subscriptions those of a file
///
/// What the file has and the server has not is made, what differs is changed, and with --prune what the file has not is deleted.
/// A subscription is known by its event and its URL, which is "" where the account fetches the events; members that the file leaves out stay as they are. A `secret`, `auth` or
/// `tls` is sent where a subscription is made, or has none: the server never shows them, so that nobody can see whether they differ.
///
/// Takes an account's access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the credentials file.
///
/// Exit codes: 0 it is as the file has it; 1 it is not, and what was printed is done; 2 with --dry-run there is something to do.
#[derive(clap::Args)]
#[command(after_help = r#"A file:
  [[subscription]]
  event = "relation_*"
  url = "https://example.org/hook"
  ordering = "key"
  rate_limit = 20"#)]
pub struct ApplyArgs {
    /// The file, as `hookcast export` writes it
    #[arg(short, long, value_name = "PATH")]
    file: PathBuf,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete the account's subscriptions that the file has not; what waits for them is cancelled
    #[arg(long)]
    prune: bool,
    /// The server; by default the one that the settings describe
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Print an account's subscriptions as a file for `hookcast apply`
///
/// Secrets are not in it: the server shows none. Takes an account's access token: HOOKCAST_ACCESS_TOKEN, or `access_token` in the
/// credentials file.
#[derive(clap::Args)]
pub struct ExportArgs {
    /// The server; by default the one that the settings describe
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// One step on the way to what the file says.
enum Step {
    Create(Map<String, Value>),
    Change { id: String, about: String, members: Map<String, Value>, shown: Vec<String> },
    Delete { id: String, about: String },
}

pub async fn apply(global: &Global, args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let wanted = read(&args.file)?;
    let remote = Remote::new(global, args.server.as_deref(), Token::Access)?;
    let present = remote.list("/webhooks/subscriptions", usize::MAX).await?;
    let steps = plan(wanted, &present, args.prune);
    if steps.is_empty() {
        print("nothing to do")?;
        return Ok(ExitCode::SUCCESS);
    }
    for step in steps {
        if !args.dry_run {
            step.take(&remote).await?;
        }
        print(step)?;
    }
    Ok(if args.dry_run { ExitCode::from(PARTIAL) } else { ExitCode::SUCCESS })
}

/// What the file says, checked as far as it can be without the server.
fn read(path: &PathBuf) -> anyhow::Result<Vec<Map<String, Value>>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    let mut file: Map<String, Value> =
        toml::from_str(&text).with_context(|| format!("{shown} cannot be understood"))?;
    let subscriptions = file.remove("subscription").unwrap_or_else(|| json!([]));
    if let Some((name, _)) = file.iter().next() {
        bail!("{shown}: `{name}` is not known here; there is `[[subscription]]`");
    }
    let Value::Array(subscriptions) = subscriptions else {
        bail!("{shown}: write `[[subscription]]`, with two brackets")
    };
    let mut seen = BTreeSet::new();
    let mut wanted = Vec::new();
    for (number, subscription) in (1..).zip(subscriptions) {
        let Value::Object(subscription) = subscription else { bail!("{shown}: subscription {number} is no table") };
        ensure!(subscription.contains_key("event"), "{shown}: subscription {number} has no `event`");
        let hint = "write the callback, or `url = \"\"` where you fetch the events";
        ensure!(subscription.contains_key("url"), "{shown}: subscription {number} has no `url`: {hint}");
        ensure!(seen.insert(identity(&subscription)), "{shown}: {} is there twice", about(&subscription));
        wanted.push(subscription);
    }
    Ok(wanted)
}

fn plan(wanted: Vec<Map<String, Value>>, present: &[Value], prune: bool) -> Vec<Step> {
    let mut left: Vec<&Map<String, Value>> = present.iter().filter_map(Value::as_object).collect();
    let mut steps = Vec::new();
    for subscription in wanted {
        let identity = identity(&subscription);
        let Some(place) = left.iter().position(|present| self::identity(present) == identity) else {
            steps.push(Step::Create(subscription));
            continue;
        };
        let present = left.swap_remove(place);
        let members: Map<String, Value> =
            subscription.into_iter().filter(|(name, value)| differs(name, value, present.get(name))).collect();
        if !members.is_empty() {
            let shown = members.iter().map(|(name, value)| difference(name, present.get(name), value)).collect();
            steps.push(Step::Change { id: id(present), about: about(present), members, shown });
        }
    }
    if prune {
        steps.extend(left.into_iter().map(|present| Step::Delete { id: id(present), about: about(present) }));
    }
    steps
}

fn id(subscription: &Map<String, Value>) -> String {
    subscription.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// By what a subscription is known: its patterns in whatever order, and its URL.
fn identity(subscription: &Map<String, Value>) -> (BTreeSet<String>, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = match subscription.get("event") {
        Some(Value::Array(events)) => events.iter().map(text).collect(),
        Some(event) => BTreeSet::from([text(event)]),
        None => BTreeSet::new(),
    };
    (events, subscription.get("url").map(text).unwrap_or_default())
}

fn about(subscription: &Map<String, Value>) -> String {
    let (events, url) = identity(subscription);
    format!("{} -> {url}", events.into_iter().collect::<Vec<_>>().join(", "))
}

/// Whether a member is to be changed.
fn differs(name: &str, wanted: &Value, present: Option<&Value>) -> bool {
    match (name, present) {
        ("event" | "url", _) => false,
        (name, present) if SECRET.contains(&name) => name != "secret" && present.is_none_or(Value::is_null),
        (_, None) => !wanted.is_null(),
        (_, Some(present)) => !is_same(wanted, present),
    }
}

/// Whether two values mean the same: numbers and durations have several forms.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::String(one), Value::String(other)) => {
            one == other || parse_duration(one).is_some_and(|duration| parse_duration(other) == Some(duration))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

fn difference(name: &str, present: Option<&Value>, wanted: &Value) -> String {
    if SECRET.contains(&name) {
        return format!("{name}: new");
    }
    format!("{name}: {} -> {wanted}", present.unwrap_or(&Value::Null))
}

impl Step {
    async fn take(&self, remote: &Remote) -> anyhow::Result<()> {
        let path = |id: &str| format!("/webhooks/subscriptions/{}", super::segment(id));
        match self {
            Self::Create(members) => {
                // It is made active, so that whoever wants it otherwise says so afterwards.
                let mut members = members.clone();
                let is_active = members.remove("is_active");
                if members.get("url").and_then(Value::as_str) == Some("") {
                    members.insert("url".to_owned(), Value::Null);
                }
                let made = remote.ask(Method::POST, "/webhooks/subscribe", Some(&members.into())).await?;
                if is_active == Some(Value::Bool(false)) {
                    let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
                    remote.ask(Method::PATCH, &path(id), Some(&json!({"is_active": false}))).await?;
                }
            }
            Self::Change { id, members, .. } => {
                remote.ask(Method::PATCH, &path(id), Some(&members.clone().into())).await?;
            }
            Self::Delete { id, .. } => {
                remote.ask(Method::DELETE, &path(id), None).await?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create(members) => write!(f, "+ {}", about(members)),
            Self::Change { about, shown, .. } => write!(f, "~ {about}\n    {}", shown.join("\n    ")),
            Self::Delete { about, .. } => write!(f, "- {about}"),
        }
    }
}

pub async fn export(global: &Global, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.server.as_deref(), Token::Access)?;
    let mut text = String::from("# For `hookcast apply -f`. Secrets are not in it.\n");
    for subscription in remote.list("/webhooks/subscriptions", usize::MAX).await? {
        let is_fetched = subscription.get("url").is_none_or(Value::is_null);
        let choices = if is_fetched { &CHOICES_OF_FETCHED[..] } else { &CHOICES };
        let mut chosen = Map::new();
        if is_fetched {
            chosen.insert("url".to_owned(), "".into());
        }
        for name in ["event", "url"].iter().chain(choices) {
            if let Some(value) = subscription.get(*name).filter(|value| !value.is_null() && **value != json!(true)) {
                chosen.insert((*name).to_owned(), value.clone());
            }
        }
        // A table comes last in TOML.
        if let Some(headers) = subscription.get("headers").filter(|headers| **headers != json!({})) {
            chosen.insert("headers".to_owned(), headers.clone());
        }
        let table = toml::to_string(&json!({"subscription": [chosen]})).context("it cannot be written as TOML")?;
        write!(text, "\n{table}")?;
        for name in ["auth", "tls"].iter().filter(|name| subscription.get(**name).is_some_and(|value| !value.is_null()))
        {
            writeln!(text, "# It has `{name}`, which is not shown.")?;
        }
    }
    print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_in_every_form() {
        for (one, other, same) in [
            (json!(20), json!(20.0), true),
            (json!("60s"), json!("1m"), true),
            (json!(["90s", "1h"]), json!(["1m30s", "60m"]), false),
            (json!(["60s", "1h"]), json!(["1m", "60m"]), true),
            (json!({"first": "1s", "factor": 2}), json!({"factor": 2.0, "first": "1000ms"}), true),
            (json!("key"), json!("none"), false),
            (json!(null), json!(null), true),
            (json!(null), json!(0), false),
        ] {
            assert_eq!(is_same(&one, &other), same, "{one} {other}");
        }
    }
}
