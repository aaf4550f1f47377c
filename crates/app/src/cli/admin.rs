//! `hookcast admin`: what operators see and do on a server.

use std::process::ExitCode;

use hookcast_core::id::SubscriptionId;
use http::Method;
use serde_json::{Value, json};

use super::{
    Global,
    remote::{self, Remote, Token},
};

/// See to everybody's accounts and subscriptions on a server, and who has changed what
///
/// Takes the admin token: that of the settings (`admin.token`), `admin_token` in the credentials file, or that of the file beside the
/// store.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast admin backlog
  hookcast admin rates
  hookcast admin subscriptions --failing --server https://hooks.example.org
  hookcast admin pause sub_...
  hookcast admin pause hooks.example.org --reason 'they are moving house until Monday'
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
    /// Say what an account may have, in place of what the settings say; or show what it may have, and has
    Quota {
        /// The account's user_id
        user_id: String,
        /// So many subscriptions, 0 for any number; without it as the setting says
        #[arg(long, value_name = "COUNT")]
        subscriptions: Option<u64>,
        /// So many events in a day of UTC, 0 for any number; without it as the setting says
        #[arg(long, value_name = "COUNT")]
        events_per_day: Option<u64>,
        /// As the settings say
        #[arg(long, conflicts_with_all = ["subscriptions", "events_per_day"])]
        clear: bool,
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
    /// Tell how many events and attempts the node that is asked has had in a second, over the last minute
    Rates,
    /// Send nothing to a host, to anybody or to a subscription until it is resumed; what comes meanwhile waits
    Pause {
        /// A host name or an address, '*' for everything, or a subscription's id
        #[arg(value_name = "HOST")]
        what: String,
        /// Why, for those for whom something waits to read; for hosts and everything
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Send again to what is paused, what waits first
    Resume {
        /// What was paused
        #[arg(value_name = "HOST")]
        what: String,
    },
    /// List the hosts that are paused, * for everything
    Pauses,
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
            remote::tell_all(
                &accounts,
                as_json,
                &[("account", "/user_id"), COUNTS[0], COUNTS[1], COUNTS[2], COUNTS[3], COUNTS[4]],
            )
        }
        Command::Account { user_id } => {
            let account = remote.get(&format!("/webhooks/admin/accounts/{}", super::segment(&user_id))).await?;
            remote::tell(&account, as_json, remote::members)
        }
        Command::Quota { user_id, subscriptions, events_per_day, clear } => {
            let account = format!("/webhooks/admin/accounts/{}", super::segment(&user_id));
            let quotas = format!("{account}/quotas");
            if clear {
                remote.ask(Method::DELETE, &quotas, None).await?;
            } else if subscriptions.is_some() || events_per_day.is_some() {
                let wish = json!({"subscriptions": subscriptions, "events_per_day": events_per_day});
                remote.ask(Method::PUT, &quotas, Some(&wish)).await?;
            }
            let mut account = remote.get(&account).await?;
            remote::tell(&account["quotas"].take(), as_json, quotas_shown)
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
            remote::tell_all(&subscriptions, as_json, &columns)
        }
        Command::Backlog => {
            let backlog = remote.get("/webhooks/admin/backlog").await?;
            remote::tell(&backlog, as_json, shown)
        }
        Command::Rates => {
            let rates = remote.get("/webhooks/admin/rates").await?;
            remote::tell(&rates, as_json, rates_shown)
        }
        Command::Pause { what, reason } if is_subscription(&what) => {
            if reason.is_some() {
                anyhow::bail!("--reason is for hosts and for '*': a subscription is inactive, or it is not");
            }
            set_active(&remote, &what, false, as_json).await
        }
        Command::Pause { what, reason } => {
            let paused = remote.ask(Method::PUT, &pause(&what), Some(&json!({"reason": reason}))).await?;
            remote::tell(&paused, as_json, |paused| format!("{} is paused", remote::shown(paused, "/host")))
        }
        Command::Resume { what } if is_subscription(&what) => set_active(&remote, &what, true, as_json).await,
        Command::Resume { what } => {
            remote.ask(Method::DELETE, &pause(&what), None).await?;
            remote::tell(&json!({"host": what}), as_json, |_| format!("{what} is resumed"))
        }
        Command::Pauses => {
            let pauses = remote.list("/webhooks/admin/pauses", usize::MAX).await?;
            remote::tell_all(&pauses, as_json, &[("host", "/host"), ("since", "/paused_at"), ("reason", "/reason")])
        }
        Command::Audit { limit } => {
            let changes = remote.list("/webhooks/admin/audit", limit).await?;
            let columns =
                [("time", "/time"), ("by", "/by/role"), ("account", "/by/user_id"), ("", "/method"), ("what", "/path")];
            remote::tell_all(&changes, as_json, &columns)
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

fn rates_shown(rates: &Value) -> String {
    let node = &rates["this_node"];
    let rows: Vec<_> = [
        ("events accepted", "events_accepted_per_second"),
        ("deliveries succeeded", "deliveries_succeeded_per_second"),
        ("attempts failed", "attempts_failed_per_second"),
    ]
    .into_iter()
    .map(|(title, name)| json!({"of": title, "rate": node[name]}))
    .collect();
    let table = remote::table(&rows, &[("", "/of"), ("per second", "/rate")]);
    let seconds = node["window_seconds"].as_f64().unwrap_or_default();
    let delivers = if node["deliveries_succeeded_per_second"].is_null() { ", which does not deliver" } else { "" };
    let nodes = remote::shown(rates, "/nodes_that_deliver");
    format!("{table}\n\nOf this node alone{delivers}, over the last {seconds:.0} s; nodes that deliver: {nodes}")
}

fn quotas_shown(quotas: &Value) -> String {
    let rows: Vec<_> = [("subscriptions", "subscriptions"), ("events today", "events_per_day")]
        .into_iter()
        .map(|(title, name)| json!({"of": title, "used": quotas[name]["used"], "limit": quotas[name]["limit"]}))
        .collect();
    remote::table(&rows, &[("", "/of"), ("used", "/used"), ("may have", "/limit")])
}

fn is_subscription(what: &str) -> bool {
    what.parse::<SubscriptionId>().is_ok()
}

fn pause(host: &str) -> String {
    format!("/webhooks/admin/pauses/{}", super::segment(host))
}

async fn set_active(remote: &Remote, id: &str, is_active: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/webhooks/admin/subscriptions/{}", super::segment(id));
    let changed = remote.ask(Method::PATCH, &path, Some(&json!({"is_active": is_active}))).await?;
    remote::tell(&changed, as_json, |changed| {
        let word = if is_active { "active" } else { "paused" };
        format!("{id} is {word}; {} deliveries wait", remote::shown(changed, "/waiting"))
    })
}
