//! A server, asked over HTTP: which one, with which token, and what its answers say.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use hookcast_core::clock::SystemClock;
use hookcast_delivery::client::{Client, ClientSettings};
use http::{Method, Request, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Global, print, server};
use crate::{config::Config, tokens::Tokens};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of an answer: receipts of the largest batch fit.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Where the access token comes from, if it is there.
const ACCESS_TOKEN: &str = "HOOKCAST_ACCESS_TOKEN";

/// Where the credentials file is, if not at its usual place.
const CREDENTIALS: &str = "HOOKCAST_CREDENTIALS";

/// What every command takes that asks a server.
#[derive(clap::Args)]
pub struct Which {
    /// The server; by default the one that the settings describe
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Whose token is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// An account's.
    Access,
    /// A producer's.
    Trigger,
    /// An operator's.
    Admin,
    /// An account's where there is one, and else a producer's.
    AccessOrTrigger,
}

impl Token {
    /// What it is called in the credentials file.
    fn name_in_credentials(self) -> Option<&'static str> {
        match self {
            Self::Access => Some("access_token"),
            Self::Trigger => Some("trigger_token"),
            Self::Admin => Some("admin_token"),
            Self::AccessOrTrigger => None,
        }
    }
}

/// A server and a token for it.
pub struct Remote {
    client: Client,
    server: String,
    token: SecretString,
}

impl Remote {
    /// The server that is meant, with a token of this kind.
    pub fn new(global: &Global, server_given: Option<&str>, kind: Token) -> anyhow::Result<Self> {
        Self::of(&global.start_quietly(&[])?, server_given, kind)
    }

    /// The same by these settings.
    pub fn of(config: &Config, server_given: Option<&str>, kind: Token) -> anyhow::Result<Self> {
        let server = server(config, server_given)?;
        let token = token(config, &server, kind)?;
        let client = Client::new(ClientSettings::unguarded(PATIENCE), Arc::new(SystemClock))?;
        Ok(Self { client, server, token })
    }

    /// Asks; answers what the server has answered, or fails with what it had against it.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.server));
        match body {
            Some(body) => self.send_json(request, body.to_string()).await,
            None => self.send(request, Bytes::new(), StatusCode::is_success).await,
        }
    }

    /// Puts a body of JSON as it is written: numbers keep their form.
    pub async fn put(&self, path: &str, body: String) -> anyhow::Result<Value> {
        self.send_json(Request::put(format!("{}{path}", self.server)), body).await
    }

    /// Gets something.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// Posts a body of this type as it is, under an idempotency key if there is one, to be accepted: no other answer says that it
    /// is stored.
    pub async fn post_events(
        &self,
        path: &str,
        content_type: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let mut request = Request::post(format!("{}{path}", self.server)).header(header::CONTENT_TYPE, content_type);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request, body, |status| *status == StatusCode::ACCEPTED).await
    }

    /// Every item of a list, page after page, but no more than `most`.
    pub async fn list(&self, path: &str, most: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { "&" } else { "?" };
            let limit = (most - items.len()).min(1_000);
            let mut page = self.get(&format!("{path}{joint}limit={limit}{cursor}")).await?;
            if let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) {
                items.extend(data);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) if items.len() < most => cursor = format!("&cursor={next}"),
                _ => return Ok(items),
            }
        }
    }

    /// Posts a body of JSON under an idempotency key; answers whatever the server has answered.
    pub async fn try_post_events(&self, key: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::post(format!("{}/webhooks/trigger", self.server))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        let response = self.exchange(request, body).await?;
        Ok((response.status(), response.into_body()))
    }

    async fn exchange(&self, request: http::request::Builder, body: Bytes) -> anyhow::Result<http::Response<Bytes>> {
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .body(body)
            .context("the request cannot be made")?;
        let server = &self.server;
        self.client.exchange(request, ANSWER_MAX).await.with_context(|| {
            format!("no answer from {server} (`hookcast serve` starts a server, --server names another one)")
        })
    }

    async fn send_json(&self, request: http::request::Builder, body: String) -> anyhow::Result<Value> {
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request, body.into(), StatusCode::is_success).await
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
        is_done: impl FnOnce(&StatusCode) -> bool,
    ) -> anyhow::Result<Value> {
        let server = &self.server;
        let response = self.exchange(request, body).await?;
        let answer = serde_json::from_slice::<Value>(response.body());
        if !is_done(&response.status()) {
            let detail = answer.as_ref().ok().and_then(|answer| answer.get("detail")).and_then(Value::as_str);
            let detail = detail.unwrap_or("no reason given; is it a Hookcast server?");
            bail!("{server} refused it ({}): {detail}", response.status().as_u16());
        }
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        answer.with_context(|| format!("the answer from {server} is not JSON"))
    }
}

fn token(config: &Config, server: &str, kind: Token) -> anyhow::Result<SecretString> {
    if let Some(token) = given(config, server, kind)? {
        return Ok(token);
    }
    match kind {
        Token::Trigger => Ok(Tokens::find(config)?.trigger),
        Token::Admin => Tokens::find(config)?
            .admin
            .context("the server has no admin token: set `admin.token` (HOOKCAST_ADMIN_TOKEN in the environment)"),
        Token::AccessOrTrigger => token(config, server, Token::Trigger)
            .with_context(|| format!("an account's access token, in {ACCESS_TOKEN}, or a trigger token is wanted")),
        Token::Access => bail!(
            "an account's access token is wanted: in {ACCESS_TOKEN}, or in the credentials file {} as `access_token` under \
             `[\"{server}\"]`",
            credentials_path().map_or_else(|| CREDENTIALS.to_owned(), |path| path.display().to_string())
        ),
    }
}

/// The token that somebody has given for this: in the environment, the settings or the credentials file.
fn given(config: &Config, server: &str, kind: Token) -> anyhow::Result<Option<SecretString>> {
    let set = match kind {
        Token::Access => from_environment()?,
        Token::Trigger => config.trigger.token.clone(),
        Token::Admin => config.admin.token.clone(),
        Token::AccessOrTrigger => given(config, server, Token::Access)?,
    };
    match (set, kind.name_in_credentials()) {
        (None, Some(name)) => from_credentials(server, name),
        (set, _) => Ok(set),
    }
}

fn from_environment() -> anyhow::Result<Option<SecretString>> {
    let Some(token) = std::env::var_os(ACCESS_TOKEN) else { return Ok(None) };
    let token = token.into_string().ok().with_context(|| format!("{ACCESS_TOKEN} is not text"))?;
    Ok(Some(token.into()))
}

/// The credentials file: where the environment says, or in the user's configuration.
fn credentials_path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(CREDENTIALS) {
        return Some(path.into());
    }
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(base.join("hookcast/credentials.toml"))
}

/// The token for a server in the credentials file, which has a table for each server. No error shows what is in it.
fn from_credentials(server: &str, name: &str) -> anyhow::Result<Option<SecretString>> {
    let Some(path) = credentials_path() else { return Ok(None) };
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{shown} cannot be read")),
    };
    let Ok(file) = text.parse::<toml::Table>() else { bail!("{shown} is not TOML") };
    let Some(entry) = file.iter().find(|(url, _)| url.trim_end_matches('/') == server) else { return Ok(None) };
    match entry.1.get(name) {
        None => Ok(None),
        Some(toml::Value::String(token)) => Ok(Some(token.clone().into())),
        Some(_) => bail!("{shown}: {name} of {server} must be a string"),
    }
}

/// Prints an answer as JSON, or as `show` has it for people.
pub fn tell(answer: &Value, as_json: bool, show: impl FnOnce(&Value) -> String) -> anyhow::Result<ExitCode> {
    if as_json {
        print(answer)?;
    } else {
        print(show(answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints items as JSON, one a line, or as a table for people: each column a title and where its value is in an item.
pub fn tell_all(items: &[Value], as_json: bool, columns: &[(&str, &str)]) -> anyhow::Result<ExitCode> {
    if as_json {
        items.iter().try_for_each(print)?;
    } else {
        print(table(items, columns))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A member, for people: nothing where it is null or missing, texts as they are, all else as JSON.
pub fn shown(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Items as a table: each column a title and where its value is in an item.
pub fn table(items: &[Value], columns: &[(&str, &str)]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().map(|(title, _)| *title));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointer)| shown(item, pointer)));
    }
    table.to_string()
}

/// The members of an object that are there and are no lists of objects, a line each.
pub fn members(value: &Value) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let is_list_of_objects = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
    for (name, value) in value.as_object().into_iter().flatten() {
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !is_empty && !is_list_of_objects(value) {
            table.add_row([name.clone(), shown(value, "")]);
        }
    }
    table.to_string()
}

/// The members of what has a secret that is answered this once.
pub fn members_with_secret(value: &Value) -> String {
    format!("{}\nIt is not shown again.", members(value))
}
