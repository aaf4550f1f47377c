//! The configuration: one typed [`Config`], read once at the start from layers. Each overrides those before it.
//!
//! 1. the defaults that stand in the table of [`settings`],
//! 2. `hookcast.toml`,
//! 3. `hookcast.local.toml` beside it, for secrets,
//! 4. the environment: first the names of the prototype, then `HOOKCAST_*`,
//! 5. flags of the command line.
//!
//! Every value of every layer is checked, an overridden one too, so that a mistake does not lie in wait until the
//! override goes away. All that is wrong is reported together.

mod checks;
mod errors;
mod layers;
mod quantity;
mod reference;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::{ffi::OsString, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use hookcast_core::{
    format::Format,
    options::{Consent, OnFailure, Ordering},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate, RetrySchedule, SuccessRule},
    sealing::MasterKey,
};
use hookcast_delivery::{
    client::Proxy,
    mail::{MailServer, Mailbox},
};
use ipnet::IpNet;
use secrecy::SecretString;
use serde::Serialize;

pub use self::{
    errors::{ConfigError, ConfigErrors, Source},
    quantity::{parse_duration, show_duration},
    reference::reference,
    value::DatabaseUrl,
};

/// All settings, valid each and together. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the service answers. Port 0 is any free port.
    pub listen: SocketAddr,
    /// Which part of the work this node does.
    pub role: NodeRole,
    /// The store.
    pub database: Database,
    /// Who may register accounts.
    pub registration: Registration,
    /// Who may trigger events.
    pub trigger: Trigger,
    /// Who sees to everything.
    pub admin: Admin,
    /// What a client may ask for.
    pub limits: Limits,
    /// How events get out.
    pub delivery: Delivery,
    /// What encrypts secrets at rest.
    pub encryption: Encryption,
    /// Who gets notices.
    pub notices: Notices,
    /// Which types of event there are.
    pub event_types: EventTypes,
    /// A producer's outbox to publish.
    pub outbox: Outbox,
    /// Whether an event that was there before is sent again.
    pub deduplicate: Deduplicate,
    /// How long the past is kept.
    pub retention: Retention,
    /// What the envelope of an event says.
    pub envelope: Envelope,
    /// How people are told.
    pub mail: Mail,
    /// How the service ends.
    pub shutdown: Shutdown,
    /// What the service says about itself.
    pub log: Log,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which one, and where.
    pub url: DatabaseUrl,
    /// How large it may grow, in bytes; `None` is without a limit.
    pub max_size: Option<u64>,
    /// How much of its disk must be free for events to be accepted, in bytes. Only for a store on a disk of this machine.
    pub min_free_disk: u64,
    /// The most connections to a database server.
    pub connections: usize,
    /// Whether statements are prepared once for each connection to a database server.
    pub prepared_statements: bool,
    /// Whether a store is refused that could lose accepted events in a crash.
    pub require_durable: bool,
    /// A PEM file of certificate authorities that are trusted for the database server besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Which part of the work a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It takes requests and delivers.
    All,
    /// It takes requests, and leaves delivering to others.
    Api,
    /// It delivers what others have taken.
    Delivery,
}

/// Whether anyone may register an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Only who has the registration token.
    Closed,
    /// Anyone.
    Open,
    /// Who has a token of a provider, and who has the registration token.
    Jwt,
}

/// Who may register accounts.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Whether it takes a token.
    pub mode: RegistrationMode,
    /// The token, if there is one: visible ASCII, never empty.
    pub token: Option<SecretString>,
    /// Who issues the tokens that are taken, if any are.
    pub issuer: Option<String>,
    /// For whom they must be.
    pub audience: Option<String>,
    /// Where the issuer's keys are, if not where it says.
    pub keys_url: Option<String>,
    /// The claim that is the `user_id`.
    pub user_id_claim: String,
    /// The claim that is the `user_email`.
    pub user_email_claim: String,
}

/// Who may trigger events.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// The token, if there is one: visible ASCII, never empty.
    pub token: Option<SecretString>,
}

/// Who sees to everything.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The token, if there is one: visible ASCII, never empty.
    pub token: Option<SecretString>,
}

/// What a client may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest event, in bytes.
    pub event_size: usize,
    /// The largest request body, in bytes.
    pub request_size: usize,
    /// The most events in one request.
    pub batch_events: usize,
    /// The most connections at once.
    pub connections: usize,
    /// Requests in a minute with one token; 0 for no limit.
    pub requests: u32,
    /// The same of those that trigger events.
    pub triggers: u32,
    /// Subscriptions of an account without a quota of its own; 0 for no limit.
    pub subscriptions_per_account: u64,
    /// Events that such an account gets sent in a day; 0 for no limit.
    pub events_per_day: u64,
    /// The most bytes of request bodies that are being read or stored at once; at least `request_size`.
    pub buffered: usize,
}

/// How events get out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The longest that a whole attempt may take; at most two thirds of `lease`.
    pub timeout: Duration,
    /// The longest that connecting may take. `timeout` is over it as over everything.
    pub connect_timeout: Duration,
    /// How long a process owns its deliveries without a sign of life. It is renewed every third of this.
    pub lease: Duration,
    /// Which answers count as a success.
    pub success: SuccessRule,
    /// When a failed delivery is tried again.
    pub retry: RetrySchedule,
    /// When a failing subscription is made inactive.
    pub deactivation: DeactivationPolicy,
    /// When a failing subscription's deliveries stop for a while.
    pub breaker: BreakerPolicy,
    /// Attempts a second for a subscription whose callback has just come back.
    pub recovery_rate: u32,
    /// What a delivery's body looks like.
    pub format: Format,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// What an ordered delivery whose retries are used up does to those behind it.
    pub on_failure: OnFailure,
    /// Attempts a second for one subscription; `None` is without a limit.
    pub rate_limit: Option<f64>,
    /// What a callback must prove before the first delivery.
    pub consent: Option<Consent>,
    /// The name by which callbacks know this service.
    pub origin: String,
    /// Networks that are no public ones and may be called nevertheless.
    pub allow_networks: Vec<IpNet>,
    /// The only ports that may be called; if empty, all that no other protocol owns.
    pub allow_ports: Vec<RangeInclusive<u16>>,
    /// Whether callbacks must be `https`.
    pub https_only: bool,
    /// The proxy that callbacks go through.
    pub proxy: Option<Proxy>,
    /// The most attempts at once in the whole process.
    pub max_in_flight: usize,
    /// The most attempts at once for one subscription.
    pub max_in_flight_per_subscription: usize,
    /// The most attempts at once to one host; 0: as many as in the whole process.
    pub max_in_flight_per_host: usize,
    /// The most deliveries that may wait for one subscription; beyond it the oldest expire.
    pub max_waiting: u64,
    /// A PEM file of certificate authorities that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// What encrypts secrets at rest.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The first one encrypts, and all decrypt; none: nothing is encrypted.
    pub master_keys: Vec<MasterKey>,
}

/// Who gets notices.
#[derive(Clone, Debug)]
pub struct Notices {
    /// Accounts that get everybody's, by `user_id`.
    pub operators: Vec<String>,
}

/// Which types of event there are.
#[derive(Clone, Debug)]
pub struct EventTypes {
    /// Whether only those are taken that are described.
    pub required: bool,
}

/// A producer's outbox to publish.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// The database that it is in, if there is one.
    pub from: Option<DatabaseUrl>,
    /// The table or stream.
    pub name: String,
}

/// How long the past is kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// From an event's arrival to its removal; longer than the longest retries.
    pub age: Duration,
}

/// What the envelope of an event says. One line of text each, never empty.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who made the event.
    pub creator: String,
    /// Where it comes from.
    pub source: String,
    /// What it is about.
    pub description: String,
}

/// How people are told.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The server that takes mails; `None` is no mails.
    pub smtp: Option<MailServer>,
    /// Who they are from; there where there is a server.
    pub from: Option<Mailbox>,
    /// Whether nothing is sent without encryption.
    pub requires_tls: bool,
    /// A PEM file of certificate authorities that are trusted for the server besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The longest that the server may take to be ready for a mail, and again to take it.
    pub timeout: Duration,
}

/// How the service ends.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// How long attempts under way may take to end by themselves.
    pub grace: Duration,
}

/// What the service says about itself.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that a configuration is read from, so that nothing else is. No `Debug`: secrets stand in it as they are.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file instead of `hookcast.toml`, relative to `directory`. Unlike that one it must exist.
    pub config_path: Option<PathBuf>,
    /// The directory in which `hookcast.toml` is looked for; empty is the working directory.
    pub directory: PathBuf,
    /// The environment's variables.
    pub environment: Vec<(OsString, OsString)>,
    /// Settings of the command line, weakest first: the key, its value and the flag's name (`--listen`).
    pub flags: Vec<(String, String, String)>,
}

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What looks like a mistake but does no harm, a sentence each.
    pub warnings: Vec<String>,
    /// Each setting once, in the order of the reference.
    pub origins: Vec<Origin>,
}

/// A setting's value as it was given, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The setting.
    pub key: &'static str,
    /// Its value, secrets masked. Empty is an empty list or not set.
    pub value: String,
    /// Where it stands.
    pub source: Source,
}

/// Reads and checks the configuration.
///
/// # Errors
///
/// All that is wrong at once: files that cannot be read, names that are no settings (in files and flags), values that
/// are not allowed, settings that do not fit together.
pub fn load(sources: Sources) -> Result<Loaded, ConfigErrors> {
    let mut layers = layers::read(sources);
    let mut config = Config::blank();
    let mut origins = Vec::with_capacity(settings::SETTINGS.len());
    let mut refused = Vec::new();
    for setting in settings::SETTINGS {
        let mut origin = Origin { key: setting.key, value: String::new(), source: Source::Default };
        for entry in layers.take(setting) {
            match (setting.set)(&mut config, &entry.raw) {
                Ok(()) => {
                    origin.value = (setting.show)(&entry.raw.line());
                    origin.source = entry.source;
                }
                Err(invalid) => {
                    layers.errors.push(setting.refuse(invalid, entry.source));
                    refused.push(setting.key);
                }
            }
        }
        origins.push(origin);
    }
    // With a part of the values missing, settings may seem at odds that are not.
    if !layers.incomplete {
        layers.errors.extend(checks::conflicts(&config, &origins, &refused));
    }
    if layers.errors.is_empty() {
        Ok(Loaded { config, warnings: layers.warnings, origins })
    } else {
        Err(ConfigErrors(layers.errors))
    }
}
