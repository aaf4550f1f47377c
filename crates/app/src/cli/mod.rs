//! The command line: a file per command.
//!
//! Exit codes: 0 it worked; 1 it did not; 2 it worked but not everything succeeded (`resend`), or the command line itself is
//! wrong (as clap has it).

mod account;
mod admin;
mod apply;
mod check_config;
mod completions;
mod delivery;
mod demo;
mod event;
mod event_type;
mod health;
mod listen;
mod migrate;
mod outbox;
mod own_account;
mod remote;
mod replay;
mod resend;
mod serve;
mod store;
mod subscription;
mod test_mail;
mod token;
mod trigger;
mod trigger_token;

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use url::Url;

use crate::config::{self, Config, Loaded, Sources};

/// Not everything succeeded.
const PARTIAL: u8 = 2;

/// Resolving a name takes a thread for as long as the system's resolver likes. There are enough of them for every attempt in
/// flight to wait for a name without keeping the store's readers waiting.
const BLOCKING_THREADS: usize = 2_048;

/// A webhook service: post an event once, and every subscriber gets it: signed, retried, at least once.
#[derive(Parser)]
#[command(name = "hookcast", version, max_term_width = 100)]
#[command(after_help = "Settings come from built-in defaults, hookcast.toml, hookcast.local.toml, HOOKCAST_* in the \
    environment and flags, the later the stronger. `hookcast check-config` shows what is in force and where it comes from, \
    `hookcast check-config --reference` what there is.\n\n\
    Exit codes: 0 it worked, 1 it did not, 2 the command line is wrong. `hookcast COMMAND --help` tells of others.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Settings")]
struct Global {
    /// Read settings from this file instead of hookcast.toml; NAME.local.toml beside it is read too
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The store, such as sqlite://data/hookcast.db (setting `database.url`)
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Any setting, such as --set delivery.timeout=5s; may be given several times
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must look like KEY=VALUE, such as delivery.timeout=5s")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// What there is to do. Each command's words stand with its arguments: words here would hide all but their first line.
#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Resend(resend::Args),
    Health(health::Args),
    Trigger(trigger::Args),
    #[command(subcommand)]
    Account(account::Command),
    Token(token::Args),
    Subscription(subscription::Args),
    #[command(alias = "events")]
    Event(event::Args),
    Type(event_type::Args),
    TriggerToken(trigger_token::Args),
    Delivery(delivery::Args),
    Replay(replay::Args),
    Admin(admin::Args),
    Apply(apply::ApplyArgs),
    Export(apply::ExportArgs),
    Outbox(outbox::Args),
    Listen(listen::Args),
    Migrate(migrate::Args),
    #[command(subcommand)]
    Store(store::Command),
    CheckConfig(check_config::Args),
    TestMail(test_mail::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

impl Global {
    /// Reads the settings, with what a command's own flags say on top.
    fn load(&self, own: &[(&str, Option<String>, &str)]) -> anyhow::Result<Loaded> {
        let mut flags: Vec<(String, String, String)> =
            self.set.iter().map(|(key, value)| (key.clone(), value.clone(), "--set".to_owned())).collect();
        let database_url = ("database.url", self.database_url.clone(), "--database-url");
        for (key, value, flag) in std::iter::once(&database_url).chain(own) {
            if let Some(value) = value {
                flags.push(((*key).to_owned(), value.clone(), (*flag).to_owned()));
            }
        }
        let loaded = config::load(Sources {
            config_path: self.config.clone(),
            directory: std::env::current_dir().context("the working directory cannot be found")?,
            environment: std::env::vars_os().collect(),
            flags,
        })?;
        Ok(loaded)
    }

    /// Reads the settings and begins to log as they say.
    fn start(&self, own: &[(&str, Option<String>, &str)]) -> anyhow::Result<Config> {
        Self::log(self.load(own)?)
    }

    /// The same, but without a word on what goes as it should, unless the settings ask for it: cron sends every word by mail.
    fn start_quietly(&self, own: &[(&str, Option<String>, &str)]) -> anyhow::Result<Config> {
        let mut loaded = self.load(own)?;
        let is_default =
            |origin: &config::Origin| origin.key == "log.level" && origin.source == config::Source::Default;
        if loaded.origins.iter().any(is_default) {
            loaded.config.log.level = tracing::Level::WARN;
        }
        Self::log(loaded)
    }

    fn log(loaded: Loaded) -> anyhow::Result<Config> {
        crate::telemetry::start(loaded.config.log.level, loaded.config.log.format);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded.config)
    }
}

/// Where this machine reaches what listens at `address`: at the loopback interface what listens on all.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The server to ask, without a slash at its end: the one that `--server` names, else the one that the settings describe.
fn server(config: &Config, given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some(text) => {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let Some(url) = url else { bail!("--server must be a URL such as https://hooks.example.org") };
            // It is shown in messages, and a password has no place there.
            if !url.username().is_empty() || url.password().is_some() {
                bail!("--server must be a URL without a name and a password");
            }
            Ok(text.trim_end_matches('/').to_owned())
        }
        None if config.listen.port() == 0 => {
            bail!("the settings let the server take any port: say which with --server")
        }
        None => Ok(format!("http://{}", reachable(config.listen))),
    }
}

/// What somebody gave as an id, as one segment of a path, whatever is in it. Of a form's encoding only the space is another one.
fn segment(text: &str) -> impl Display {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// All of a file, or of standard input where the path is `-`; with what to call it in messages.
fn read_text(path: &Path) -> anyhow::Result<(String, String)> {
    if path.as_os_str() == "-" {
        let text = io::read_to_string(io::stdin()).context("standard input cannot be read")?;
        return Ok(("standard input".to_owned(), text));
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
    Ok((name, text))
}

/// Prints a line, or several. Whoever closes the pipe has read enough: what was done stays done, and is no failure.
fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("it is done, but cannot be printed"),
        _ => Ok(()),
    }
}

/// Tells people something, out of the way of programs that read what is printed, and if nobody reads it, nobody.
fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "hookcast: {text}");
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build();
    let result = runtime.context("no runtime").and_then(|runtime| {
        let result = runtime.block_on(run(&global, command));
        // A blocking task that does not end must not keep the process.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(global, args).await,
        Command::Resend(args) => resend::run(global, args).await,
        Command::Health(args) => health::run(global, &args).await,
        Command::Trigger(args) => trigger::run(global, args).await,
        Command::Account(command) => account::run(global, command).await,
        Command::Token(args) => token::run(global, args).await,
        Command::Subscription(args) => subscription::run(global, args).await,
        Command::Event(args) => event::run(global, args).await,
        Command::Type(args) => event_type::run(global, args).await,
        Command::TriggerToken(args) => trigger_token::run(global, args).await,
        Command::Delivery(args) => delivery::run(global, args).await,
        Command::Replay(args) => replay::run(global, args).await,
        Command::Admin(args) => admin::run(global, args).await,
        Command::Apply(args) => apply::apply(global, args).await,
        Command::Export(args) => apply::export(global, args).await,
        Command::Outbox(args) => outbox::run(global, args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Migrate(args) => migrate::run(global, &args).await,
        Command::Store(command) => store::run(global, command).await,
        Command::CheckConfig(args) => check_config::run(global, &args),
        Command::TestMail(args) => test_mail::run(global, &args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Completions(args) => completions::run(&args),
    }
}
