//! `hookcast trigger`.

use std::{
    io::Read as _,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hookcast_core::clock::SystemClock;
use hookcast_delivery::client::{Client, ClientSettings};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, value::RawValue};

use super::Global;
use crate::{config::Config, tokens::Tokens};

/// The most bytes of an answer: receipts of the largest batch fit.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Post events to a server.
///
/// The trigger token comes from the settings (`trigger.token`), or from the file beside the store where the server keeps the one
/// that it has made.
#[derive(clap::Args)]
pub struct Args {
    /// The event's type, such as relation_added
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    event: Option<String>,
    /// The payload, any JSON value; - reads it from standard input
    #[arg(default_value = "{}", allow_hyphen_values = true)]
    payload: String,
    /// Post every event of this file: a JSON object or array of {"event","payload"}, or one such object a line; - is
    /// standard input
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The server; by default the one that the settings describe
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Make a repeated call safe: the same key gives the first answer again for 24 hours
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let config = global.start(&[])?;
    let (content_type, body) = body(&args)?;
    let mut request = Request::post(server(&config, args.server.as_deref())? + "/webhooks/trigger")
        .header(header::AUTHORIZATION, format!("Bearer {}", token(&config)?.expose_secret()))
        .header(header::CONTENT_TYPE, content_type);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(body)).context("the request cannot be made")?;
    let client = Client::new(ClientSettings::unguarded(Duration::from_secs(60)), std::sync::Arc::new(SystemClock))?;
    let response = client.exchange(request, ANSWER_MAX).await.context("the server did not answer")?;

    let answer: Value = serde_json::from_slice(response.body()).context("the server's answer is no JSON")?;
    if response.status() != StatusCode::ACCEPTED {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        bail!("the server refused it ({}): {detail}", response.status().as_u16());
    }
    if args.json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    match &answer {
        Value::Array(receipts) => receipts.iter().for_each(print_receipt),
        receipt => print_receipt(receipt),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_receipt(receipt: &Value) {
    let id = receipt.get("id").and_then(Value::as_str).unwrap_or_default();
    let event = receipt.get("event").and_then(Value::as_str).unwrap_or_default();
    let subscriptions = receipt.get("subscriptions").and_then(Value::as_u64).unwrap_or_default();
    if receipt.get("duplicate").and_then(Value::as_bool).unwrap_or_default() {
        println!("{id}  {event}  came before; not sent again");
    } else {
        println!("{id}  {event}  to {subscriptions} subscriptions");
    }
}

fn body(args: &Args) -> anyhow::Result<(&'static str, Bytes)> {
    if let Some(path) = &args.file {
        let text = if path.as_os_str() == "-" {
            standard_input()?
        } else {
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?
        };
        let is_one_text = serde_json::from_str::<&RawValue>(&text).is_ok();
        return Ok((if is_one_text { "application/json" } else { "application/x-ndjson" }, text.into()));
    }
    let payload = if args.payload == "-" { standard_input()? } else { args.payload.clone() };
    let payload: Box<RawValue> = serde_json::from_str(&payload).context("PAYLOAD is no JSON")?;
    // The payload goes as it was written: numbers keep their form.
    let event = serde_json::to_string(&args.event)?;
    Ok(("application/json", format!(r#"{{"event":{event},"payload":{}}}"#, payload.get()).into()))
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    Ok(text)
}

fn server(config: &Config, given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        Some(_) => bail!("--server must be a URL such as https://hooks.example.org"),
        None => Ok(format!("http://{}", config.listen)),
    }
}

fn token(config: &Config) -> anyhow::Result<SecretString> {
    match &config.trigger.token {
        Some(token) => Ok(token.clone()),
        None => Ok(Tokens::find(config)?.trigger),
    }
}
