//! `hookcast trigger`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use super::{
    Global, print, read_text,
    remote::{Remote, Token},
};

/// Post events to a server
///
/// The trigger token comes from the settings (`trigger.token`), or from the file beside the store where the server keeps the one
/// that it has made. Prints the id of every event and how many subscriptions it goes to.
///
/// Exit codes: 0 the server has stored all events; 1 it has refused them or did not answer, and of a file that was refused
/// nothing is stored.
#[derive(clap::Args)]
#[command(after_help = r#"Examples:
  hookcast trigger relation_added '{"source": "10.5281/zenodo.42"}'
  jq .relation export.json | hookcast trigger relation_added -
  hookcast trigger --file events.ndjson --idempotency-key import-7
  HOOKCAST_TRIGGER_TOKEN=... hookcast trigger relation_added '{}' --server https://hooks.example.org"#)]
pub struct Args {
    /// The event's type, such as relation_added
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    event: Option<String>,
    /// The payload, any JSON value; - reads it from standard input
    #[arg(default_value = "{}", allow_negative_numbers = true)]
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
    let (content_type, body) = body(&args)?;
    let remote = Remote::new(global, args.server.as_deref(), Token::Trigger)?;
    let answer = remote.post_events("/webhooks/trigger", content_type, args.idempotency_key.as_deref(), body).await?;
    if args.json {
        print(answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &answer {
        Value::Array(receipts) => receipts.iter().try_for_each(print_receipt)?,
        receipt => print_receipt(receipt)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_receipt(receipt: &Value) -> anyhow::Result<()> {
    let id = receipt.get("id").and_then(Value::as_str).unwrap_or_default();
    let event = receipt.get("event").and_then(Value::as_str).unwrap_or_default();
    let subscriptions = receipt.get("subscriptions").and_then(Value::as_u64).unwrap_or_default();
    if receipt.get("duplicate").and_then(Value::as_bool).unwrap_or_default() {
        print(format_args!("{id}  {event}  came before; not sent again"))
    } else {
        print(format_args!("{id}  {event}  to {subscriptions} subscriptions"))
    }
}

fn body(args: &Args) -> anyhow::Result<(&'static str, Bytes)> {
    if let Some(path) = &args.file {
        let (name, text) = read_text(path)?;
        return Ok((media_type(&text).with_context(|| format!("{name} does not hold events"))?, text.into()));
    }
    let payload = if args.payload == "-" { read_text(Path::new("-"))?.1 } else { args.payload.clone() };
    let payload: Box<RawValue> = serde_json::from_str(&payload).context("PAYLOAD is not JSON")?;
    // The payload goes as it was written: numbers keep their form.
    let event = serde_json::to_string(&args.event)?;
    Ok(("application/json", format!(r#"{{"event":{event},"payload":{}}}"#, payload.get()).into()))
}

/// One JSON text, or one a line?
fn media_type(text: &str) -> anyhow::Result<&'static str> {
    let parse = |text| serde_json::from_str::<&RawValue>(text).map(drop);
    let Err(whole) = parse(text) else { return Ok("application/json") };
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if let Err(error) = parse(line) {
            bail!("it is neither JSON as a whole ({whole}) nor line by line (line {}: {error})", index + 1);
        }
    }
    Ok("application/x-ndjson")
}
