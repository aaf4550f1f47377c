//! `hookcast admin`: what operators see and do on a server.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{
    Global, print,
    remote::{self, Remote, Token},
};

/// See to everybody's accounts and subscriptions on a server, and who has changed what
///
/// Takes the admin token: that of the settings (`admin.token`), `admin_token` in the credentials file, or that of the file beside the
/// store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast admin backlog
  hookcast admin subscriptions --failing --server https://hooks.example.org
  hookcast admin pause sub_...
  hookcast admin audit --limit 20")]
pub struct Args {
    #[command(flatten)]
    remote: remote::Which,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List accounts with what they have
    Accounts,
    /// Show an account
    Account {
        /// The account's user_id
        user_id: String,
    },
    /// List everybody's subscriptions
    Subscriptions {
        /// Only those of this account
        #[arg(long, value_name = "USER_ID")]
        account: Option<String>,
        /// Only those of this state: active, inactive or pending_verification
        #[arg(long)]
        state: Option<String>,
        /// Only those whose last attempt failed
        #[arg(long)]
        failing: bool,
    },
    /// Tell what waits, in all and by account
    Backlog,
    /// Send nothing to a subscription until it is resumed; what comes meanwhile waits
    Pause {
        /// The subscription's id
        id: String,
    },
    /// Send to a subscription again, what waits first
    Resume {
        /// The subscription's id
        id: String,
    },
    /// List changes, the newest first
    Audit {
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value = "100")]
        limit: usize,
    },
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(global, args.remote.server.as_deref(), Token::Admin)?;
    let as_json = args.remote.json;
    match args.command {
        Command::Accounts => {
            let accounts = remote.list("/webhooks/admin/accounts", usize::MAX).await?;
            list(&accounts, as_json, &[("account", "/user_id"), COUNTS[0], COUNTS[1], COUNTS[2], COUNTS[3], COUNTS[4]])
        }
        Command::Account { user_id } => {
            let account = remote.get(&format!("/webhooks/admin/accounts/{}", super::segment(&user_id))).await?;
            remote::tell(&account, as_json, remote::members)
        }
        Command::Subscriptions { account, state, failing } => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let wanted = [("account", account), ("state", state), ("failing", failing.then(|| "true".to_owned()))];
            for (name, value) in wanted {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
            let path = format!("/webhooks/admin/subscriptions?{}", query.finish());
            let subscriptions = remote.list(&path, usize::MAX).await?;
            let columns = [
                ("subscription", "/id"),
                ("account", "/user_id"),
                ("event", "/event"),
                ("url", "/url"),
                ("state", "/state"),
                ("failures", "/failure_count"),
                ("waiting", "/waiting"),
            ];
            list(&subscriptions, as_json, &columns)
        }
        Command::Backlog => {
            let backlog = remote.get("/webhooks/admin/backlog").await?;
            remote::tell(&backlog, as_json, shown)
        }
        Command::Pause { id } => set_active(&remote, &id, false, as_json).await,
        Command::Resume { id } => set_active(&remote, &id, true, as_json).await,
        Command::Audit { limit } => {
            let changes = remote.list("/webhooks/admin/audit", limit).await?;
            let columns =
                [("time", "/time"), ("by", "/by/role"), ("account", "/by/user_id"), ("", "/method"), ("what", "/path")];
            list(&changes, as_json, &columns)
        }
    }
}

const COUNTS: [(&str, &str); 5] = [
    ("subscriptions", "/subscriptions"),
    ("active", "/active"),
    ("failing", "/failing"),
    ("waiting", "/waiting"),
    ("expired", "/expired"),
];

fn shown(backlog: &Value) -> String {
    let longest = backlog["longest"].as_array().cloned().unwrap_or_default();
    let text = remote::members(backlog);
    if longest.is_empty() {
        return text;
    }
    let columns = [("account", "/user_id"), COUNTS[3], COUNTS[0], COUNTS[1], COUNTS[2]];
    format!("{text}\n\n{}", remote::table(&longest, &columns))
}

async fn set_active(remote: &Remote, id: &str, is_active: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/webhooks/admin/subscriptions/{}", super::segment(id));
    let changed = remote.ask(Method::PATCH, &path, Some(&json!({"is_active": is_active}))).await?;
    remote::tell(&changed, as_json, |changed| {
        let word = if is_active { "active" } else { "paused" };
        format!("{id} is {word}; {} deliveries wait", remote::shown(changed, "/waiting"))
    })
}

fn list(items: &[Value], as_json: bool, columns: &[(&str, &str)]) -> anyhow::Result<ExitCode> {
    if as_json {
        items.iter().try_for_each(print)?;
    } else {
        print(remote::table(items, columns))?;
    }
    Ok(ExitCode::SUCCESS)
}
