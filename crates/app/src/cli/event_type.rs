//! `hookcast type`: types of event that a server knows.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use http::Method;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Global, read_text,
    remote::{self, Remote, Token},
};

/// Describe types of event on a server: what they mean, and what their payloads must be like
///
/// Takes the trigger token of the server's settings: `trigger.token`, `trigger_token` in the credentials file, or that of the file beside
/// the store. To look at types, a producer's own one will do, or an account's access token.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast type set order_paid --description 'An order was paid.' --schema order_paid.schema.json
  jq .definitions.refund all.json | hookcast type set refund --schema -
  hookcast type show order_paid --server https://hooks.example.org")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the types that are described
    List,
    /// Show a type with its schema and its example
    Show {
        /// The type of event, such as relation_added
        event: String,
    },
    /// Describe a type; takes the place of all that was said of it before, so that a schema that is left out is gone
    Set {
        /// The type of event, such as relation_added
        event: String,
        #[command(flatten)]
        wish: Wish,
    },
    /// Forget a type; events of it are taken as before, unless only known types are
    Delete {
        /// The type of event
        event: String,
    },
}

#[derive(clap::Args)]
struct Wish {
    /// What it means, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A file with what its payloads must be like, a JSON Schema (draft 2020-12); - is standard input
    #[arg(long, value_name = "PATH")]
    schema: Option<PathBuf>,
    /// A file with a payload as it may be; - is standard input
    #[arg(long, value_name = "PATH")]
    example: Option<PathBuf>,
}

/// What is said of a type. JSON goes as it was written: numbers keep their form.
#[derive(Serialize)]
struct Body {
    description: Option<String>,
    schema: Option<Box<RawValue>>,
    example: Option<Box<RawValue>>,
}

impl Wish {
    fn body(self) -> anyhow::Result<String> {
        let is_input = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        ensure!(
            !(is_input(&self.schema) && is_input(&self.example)),
            "--schema and --example cannot both be standard input: one of them must be a file"
        );
        let Self { description, schema, example } = self;
        let schema = schema.as_deref().map(json_of).transpose()?;
        let example = example.as_deref().map(json_of).transpose()?;
        Ok(serde_json::to_string(&Body { description, schema, example })?)
    }
}

fn json_of(path: &Path) -> anyhow::Result<Box<RawValue>> {
    let (name, text) = read_text(path)?;
    serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))
}

const PATH: &str = "/webhooks/event-types";

fn path_of(event: &str) -> String {
    format!("{PATH}/{}", super::segment(event))
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let token = match args.command {
        Command::List | Command::Show { .. } => Token::AccessOrTrigger,
        Command::Set { .. } | Command::Delete { .. } => Token::Trigger,
    };
    let remote = Remote::new(global, args.remote.server.as_deref(), token)?;
    let as_json = args.remote.json;
    match args.command {
        Command::List => {
            let mut types = remote.list(PATH, usize::MAX).await?;
            if !as_json {
                types.iter_mut().for_each(shorten);
            }
            let columns = [
                ("type", "/event"),
                ("schema", "/schema"),
                ("changed", "/updated_at"),
                ("description", "/description"),
            ];
            remote::tell_all(&types, as_json, &columns)
        }
        Command::Show { event } => remote::tell(&remote.get(&path_of(&event)).await?, as_json, shown),
        Command::Set { event, wish } => {
            let body = wish.body()?;
            remote::tell(&remote.put(&path_of(&event), body).await?, as_json, shown)
        }
        Command::Delete { event } => {
            remote.ask(Method::DELETE, &path_of(&event), None).await?;
            remote::tell(&json!({"deleted": event}), as_json, |_| format!("{event} is forgotten"))
        }
    }
}

/// In a table it is enough to see whether there is a schema.
fn shorten(event_type: &mut Value) {
    let word = if event_type["schema"].is_null() { "no" } else { "yes" };
    event_type["schema"] = word.into();
}

/// A type for people, with its schema and its example over several lines.
fn shown(event_type: &Value) -> String {
    let mut rest = event_type.clone();
    let mut below = String::new();
    for name in ["schema", "example"] {
        let value = rest[name].take();
        if !value.is_null() {
            let _ = write!(below, "\n\n{name}:\n{value:#}");
        }
    }
    remote::members(&rest) + &below
}
