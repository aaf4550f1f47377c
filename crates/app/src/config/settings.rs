//! The table of settings: each stands here once, with everything there is to say about it.

use std::{net::SocketAddr, time::Duration};

use hookcast_core::{
    format::Format,
    options::{Consent, OnFailure, Ordering},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate, RetrySchedule, SuccessRule},
    sealing::MasterKey,
};
use tracing::Level;

use super::{
    Admin, Config, ConfigError, Database, DatabaseUrl, Delivery, Encryption, Envelope, EventTypes, Limits, Log,
    LogFormat, Mail, NodeRole, Notices, Outbox, Registration, RegistrationMode, Retention, Shutdown, Source, Trigger,
    value::{
        Invalid, Raw, address, choice, database_url, duration, integer, line, mail_server, mailbox, masked, network,
        number, path, plain, ports, proxy, size, token, url_masked,
    },
};

/// One setting.
pub(super) struct Setting {
    /// Its name in files and flags.
    pub key: &'static str,
    /// The value without any other, in the spelling of the environment.
    pub default: &'static str,
    /// What it is for, a sentence.
    pub doc: &'static str,
    /// What it takes; completes "it must be".
    pub allowed: &'static str,
    /// How a value is shown to people: as it is, or without its secrets.
    pub show: fn(&str) -> String,
    /// Reads a value into its field.
    pub set: fn(&mut Config, &Raw) -> Result<(), Invalid>,
}

impl Setting {
    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("HOOKCAST_{}", self.key.to_ascii_uppercase().replace('.', "_"))
    }

    /// The error about a value that it does not take.
    pub(super) fn refuse(&self, invalid: Invalid, place: Source) -> ConfigError {
        let invalid = match invalid {
            Invalid::Text(text) => Invalid::Text((self.show)(&text)),
            kind @ Invalid::Kind(_) => kind,
        };
        ConfigError::invalid(place, self.key, invalid, self.allowed)
    }
}

fn put<T>(field: &mut T, value: Result<T, Invalid>) -> Result<(), Invalid> {
    value.map(|value| *field = value)
}

const TRUTH: [(&str, bool); 2] = [("true", true), ("false", false)];
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// A hundred years: long enough for anyone, and far from where arithmetic with times overflows.
const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// All settings, in the order of the reference.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        default: "127.0.0.1:9000",
        doc: "Where the service answers. Port `0` is any free port.",
        allowed: "an IP address and a port such as `127.0.0.1:9000`, `0.0.0.0:9000` or `[::]:9000`",
        show: plain,
        set: |config, raw| put(&mut config.listen, raw.one(address)),
    },
    Setting {
        key: "role",
        default: "all",
        doc: "Which part of the work this node does: `api` takes requests and `delivery` delivers, on a database server \
              that they share.",
        allowed: "`all`, `api` or `delivery`",
        show: plain,
        set: |config, raw| {
            let roles = [("all", NodeRole::All), ("api", NodeRole::Api), ("delivery", NodeRole::Delivery)];
            put(&mut config.role, raw.one(choice(roles)))
        },
    },
    Setting {
        key: "database.url",
        default: "sqlite://data/hookcast.db",
        doc: "The store: `sqlite://path`, `postgres://user:password@host/database` or `redis://:password@host/0` \
              (`rediss://` with TLS; `?prefix=NAME` at its end for keys that begin with another name than `hookcast`).",
        allowed: "the URL of a store such as `sqlite://data/hookcast.db`",
        show: url_masked,
        set: |config, raw| put(&mut config.database.url, raw.one(database_url)),
    },
    Setting {
        key: "database.max_size",
        default: "0",
        doc: "How large the store may grow before it accepts no more events. `0` is without a limit. The log beside it may take 64 MiB more.",
        allowed: "a size such as `500MiB` or `10GiB`, at most `1024TiB`",
        show: plain,
        set: |config, raw| {
            put(&mut config.database.max_size, raw.one(size(0..=1024 * TIB)).map(|n| (n > 0).then_some(n)))
        },
    },
    Setting {
        key: "database.min_free_disk",
        default: "64MiB",
        doc: "How much of the store's disk must be free for events to be accepted, where that is a disk of this machine.",
        allowed: "a size such as `64MiB`, at most `1TiB`",
        show: plain,
        set: |config, raw| put(&mut config.database.min_free_disk, raw.one(size(0..=TIB))),
    },
    Setting {
        key: "database.connections",
        default: "8",
        doc: "The most connections to a database server.",
        allowed: "an integer from 2 to 1000",
        show: plain,
        set: |config, raw| put(&mut config.database.connections, raw.one(integer(2..=1_000))),
    },
    Setting {
        key: "database.prepared_statements",
        default: "true",
        doc: "Whether statements are prepared once for each connection to PostgreSQL. `false` for a pooler that gives every \
              transaction another connection, such as PgBouncer in transaction mode.",
        allowed: "`true` or `false`",
        show: plain,
        set: |config, raw| put(&mut config.database.prepared_statements, raw.one(choice(TRUTH))),
    },
    Setting {
        key: "database.require_durable",
        default: "true",
        doc: "Whether a store is refused that, as it is set up, could lose accepted events in a crash.",
        allowed: "`true` or `false`",
        show: plain,
        set: |config, raw| put(&mut config.database.require_durable, raw.one(choice(TRUTH))),
    },
    Setting {
        key: "database.ca_file",
        default: "",
        doc: "A PEM file of certificate authorities to trust for the database server besides the public ones.",
        allowed: "a path, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.database.ca_file, raw.optional(path)),
    },
    Setting {
        key: "registration.mode",
        default: "closed",
        doc: "Who may register accounts: only who has the registration token (`closed`), anyone (`open`), or who has a JWT of the provider \
              of `registration.issuer` (`jwt`), which is also taken as the access token of its account.",
        allowed: "`closed`, `open` or `jwt`",
        show: plain,
        set: |config, raw| {
            let modes = [
                ("closed", RegistrationMode::Closed),
                ("open", RegistrationMode::Open),
                ("jwt", RegistrationMode::Jwt),
            ];
            put(&mut config.registration.mode, raw.one(choice(modes)))
        },
    },
    Setting {
        key: "registration.token",
        default: "",
        doc: "The bearer token for registering accounts.",
        allowed: "1 to 512 visible ASCII characters without spaces, or empty for none",
        show: masked,
        set: |config, raw| put(&mut config.registration.token, raw.optional(token)),
    },
    Setting {
        key: "registration.issuer",
        default: "",
        doc: "The OAuth 2.0 or OpenID Connect provider whose JWTs are taken with `registration.mode` `jwt`: the `iss` claim, to the letter.",
        allowed: "a URL such as `https://login.example.org`, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.registration.issuer, raw.optional(web_url)),
    },
    Setting {
        key: "registration.audience",
        default: "",
        doc: "For whom these JWTs must be: the `aud` claim, or one of it.",
        allowed: "1 to 512 visible ASCII characters without spaces, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.registration.audience, raw.optional(word)),
    },
    Setting {
        key: "registration.keys_url",
        default: "",
        doc: "Where the provider's JWK set is. Empty: where the `/.well-known/openid-configuration` of `registration.issuer` says. Both are \
              called under the rules for callbacks: see `delivery.allow_networks`.",
        allowed: "a URL such as `https://login.example.org/keys`, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.registration.keys_url, raw.optional(web_url)),
    },
    Setting {
        key: "registration.user_id_claim",
        default: "sub",
        doc: "The claim that is the `user_id`.",
        allowed: "1 to 512 visible ASCII characters without spaces",
        show: plain,
        set: |config, raw| put(&mut config.registration.user_id_claim, raw.one(word)),
    },
    Setting {
        key: "registration.user_email_claim",
        default: "email",
        doc: "The claim that is the `user_email` where the registration brings none.",
        allowed: "1 to 512 visible ASCII characters without spaces",
        show: plain,
        set: |config, raw| put(&mut config.registration.user_email_claim, raw.one(word)),
    },
    Setting {
        key: "trigger.token",
        default: "",
        doc: "The bearer token for triggering events.",
        allowed: "1 to 512 visible ASCII characters without spaces, or empty for none",
        show: masked,
        set: |config, raw| put(&mut config.trigger.token, raw.optional(token)),
    },
    Setting {
        key: "admin.token",
        default: "",
        doc: "The bearer token for `/webhooks/admin`, which sees to all accounts. Without one nobody may use it; an embedded store whose \
              other tokens are not configured makes one at its first start.",
        allowed: "1 to 512 visible ASCII characters without spaces, or empty for none",
        show: masked,
        set: |config, raw| put(&mut config.admin.token, raw.optional(token)),
    },
    Setting {
        key: "limits.event_size",
        default: "1MiB",
        doc: "The largest event.",
        allowed: "a size from `1` to `1GiB`",
        show: plain,
        set: |config, raw| put(&mut config.limits.event_size, raw.one(size(1..=GIB))),
    },
    Setting {
        key: "limits.request_size",
        default: "16MiB",
        doc: "The largest request body.",
        allowed: "a size from `1` to `1GiB`",
        show: plain,
        set: |config, raw| put(&mut config.limits.request_size, raw.one(size(1..=GIB))),
    },
    Setting {
        key: "limits.batch_events",
        default: "10000",
        doc: "The most events in one request.",
        allowed: "an integer from 1 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.batch_events, raw.one(integer(1..=1_000_000))),
    },
    Setting {
        key: "limits.requests",
        default: "0",
        doc: "How many requests a minute may be made with one token, those to trigger events left out; all that may be made at once after a \
              minute without any. Each node counts by itself. `0` is without a limit.",
        allowed: "an integer from 0 to 100000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.requests, raw.one(integer(0..=100_000_000))),
    },
    Setting {
        key: "limits.triggers",
        default: "0",
        doc: "The same for requests to trigger events, of which one may bring a batch.",
        allowed: "an integer from 0 to 100000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.triggers, raw.one(integer(0..=100_000_000))),
    },
    Setting {
        key: "limits.subscriptions_per_account",
        default: "0",
        doc: "How many subscriptions an account may have that has no quota of its own. `0` is without a limit.",
        allowed: "an integer from 0 to 1000000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.subscriptions_per_account, raw.one(integer(0..=1_000_000_000))),
    },
    Setting {
        key: "limits.events_per_day",
        default: "0",
        doc: "How many events an account without a quota of its own gets sent in a day of UTC, over all nodes: what comes beyond it waits for \
              the next day. `0` is without a limit.",
        allowed: "an integer from 0 to 1000000000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.events_per_day, raw.one(integer(0..=1_000_000_000_000))),
    },
    Setting {
        key: "limits.connections",
        default: "10000",
        doc: "The most connections at once.",
        allowed: "an integer from 1 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.limits.connections, raw.one(integer(1..=1_000_000))),
    },
    Setting {
        key: "limits.buffered",
        default: "256MiB",
        doc: "The most bytes of request bodies that are being read or stored at once; beyond it the answer is `503`. \
              Not smaller than `limits.request_size`.",
        allowed: "a size from `1` to `1TiB`",
        show: plain,
        set: |config, raw| put(&mut config.limits.buffered, raw.one(size(1..=TIB))),
    },
    Setting {
        key: "delivery.timeout",
        default: "15s",
        doc: "The longest that a whole attempt may take, from the name lookup to the end of the answer. \
              At most two thirds of `delivery.lease`.",
        allowed: "a duration such as `15s`, from `1ms` to `40m`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.timeout, raw.one(duration(MILLISECOND..=HOUR * 2 / 3))),
    },
    Setting {
        key: "delivery.connect_timeout",
        default: "5s",
        doc: "The longest that connecting may take, as a part of the attempt.",
        allowed: "a duration such as `5s`, from `1ms` to `40m`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.connect_timeout, raw.one(duration(MILLISECOND..=HOUR * 2 / 3))),
    },
    Setting {
        key: "delivery.lease",
        default: "25s",
        doc: "How long the deliveries of a process that died wait until another one takes over; up to 5 s more until it looks.",
        allowed: "a duration such as `30s`, from `1s` to `1h`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.lease, raw.one(duration(SECOND..=HOUR))),
    },
    Setting {
        key: "delivery.success",
        default: "200",
        doc: "Which answers of a receiver count as a success.",
        allowed: "`200` (only that status) or `2xx` (200 to 299)",
        show: plain,
        set: |config, raw| {
            let rules = [("200", SuccessRule::Exactly200), ("2xx", SuccessRule::Any2xx)];
            put(&mut config.delivery.success, raw.one(choice(rules)))
        },
    },
    Setting {
        key: "delivery.retry_schedule",
        default: "5s,5m,30m,2h,5h,10h,14h,20h,24h",
        doc: "The delays after which a failed delivery is tried again, one for each further attempt. \
              An empty list is no retries.",
        allowed: "a list of at most 100 durations such as `5s`, `10m`, `24h`, each at most `30d`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.retry.delays, raw.list(100, duration(Duration::ZERO..=MONTH))),
    },
    Setting {
        key: "delivery.retry_jitter",
        default: "0.1",
        doc: "How far a delay may stray to either side, as a share of it, so that what failed together does not come \
              back together.",
        allowed: "a number from 0 to 1",
        show: plain,
        set: |config, raw| put(&mut config.delivery.retry.jitter, raw.one(number(0.0..=1.0))),
    },
    Setting {
        key: "delivery.max_failures",
        default: "20",
        doc: "How many failures in a row a subscription is allowed; one more may make it inactive.",
        allowed: "an integer from 0 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.deactivation.max_failures, raw.one(integer(0..=1_000_000))),
    },
    Setting {
        key: "delivery.deactivate_after",
        default: "5d",
        doc: "How long the failures must have lasted as well before a subscription is made inactive. \
              `0`: their number alone decides.",
        allowed: "a duration such as `12h` or `5d`, at most `36500d`, or `0`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.deactivation.after, raw.one(duration(Duration::ZERO..=CENTURY))),
    },
    Setting {
        key: "delivery.breaker_failures",
        default: "5",
        doc: "After how many failures in a row a subscription's deliveries wait, and one at a time finds out when the callback \
              is back. Those that fail side by side count once. `0`: never.",
        allowed: "an integer from 0 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.breaker.failures, raw.one(integer(0..=1_000_000))),
    },
    Setting {
        key: "delivery.breaker_pause",
        default: "5s",
        doc: "The pause before the first delivery that finds out; each one that fails doubles it.",
        allowed: "a duration such as `5s`, from `1ms` to `1h`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.breaker.first_pause, raw.one(duration(MILLISECOND..=HOUR))),
    },
    Setting {
        key: "delivery.breaker_longest_pause",
        default: "5m",
        doc: "The longest pause between deliveries that find out.",
        allowed: "a duration such as `5m`, from `1ms` to `36500d`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.breaker.longest_pause, raw.one(duration(MILLISECOND..=CENTURY))),
    },
    Setting {
        key: "delivery.recovery_rate",
        default: "100",
        doc: "How many attempts a second begin for a subscription whose callback has just come back. It doubles every ten \
              seconds until it is no bound any more.",
        allowed: "an integer from 1 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.recovery_rate, raw.one(integer(1..=1_000_000))),
    },
    Setting {
        key: "delivery.format",
        default: "hookcast",
        doc: "What a delivery's body looks like where a subscription does not say.",
        allowed: "`hookcast`, `standard`, `cloudevents`, `cloudevents-binary` or `raw`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.format, raw.one(|text| text.parse().ok())),
    },
    Setting {
        key: "delivery.ordering",
        default: "none",
        doc: "Which deliveries wait for each other where a subscription does not say: none, all of a subscription, or those of \
              events with the same key.",
        allowed: "`none`, `subscription` or `key`",
        show: plain,
        set: |config, raw| {
            let orders = [("none", Ordering::None), ("subscription", Ordering::Subscription), ("key", Ordering::Key)];
            put(&mut config.delivery.ordering, raw.one(choice(orders)))
        },
    },
    Setting {
        key: "delivery.on_failure",
        default: "block",
        doc: "What an ordered delivery whose retries are used up does to those behind it where a subscription does not say: they \
              wait on while it is tried at the last delay, or it has failed and they go on.",
        allowed: "`block` or `skip`",
        show: plain,
        set: |config, raw| {
            put(
                &mut config.delivery.on_failure,
                raw.one(choice([("block", OnFailure::Block), ("skip", OnFailure::Skip)])),
            )
        },
    },
    Setting {
        key: "delivery.rate_limit",
        default: "0",
        doc: "How many attempts a second begin for one subscription, over all nodes, where it does not say. `0`: any number.",
        allowed: "a number from 0 to 100000",
        show: plain,
        set: |config, raw| {
            put(&mut config.delivery.rate_limit, raw.one(number(0.0..=100_000.0)).map(|n| (n > 0.0).then_some(n)))
        },
    },
    Setting {
        key: "delivery.consent",
        default: "none",
        doc: "Whether a callback must prove that it wants the events before the first delivery: by the CloudEvents handshake \
              (`OPTIONS`), or by sending a challenge back. A subscription may ask for more than this, not for less.",
        allowed: "`none`, `cloudevents` or `challenge`",
        show: plain,
        set: |config, raw| {
            let kinds =
                [("none", None), ("cloudevents", Some(Consent::CloudEvents)), ("challenge", Some(Consent::Challenge))];
            put(&mut config.delivery.consent, raw.one(choice(kinds)))
        },
    },
    Setting {
        key: "delivery.origin",
        default: "hookcast",
        doc: "The name by which callbacks know this service in the CloudEvents handshake (`WebHook-Request-Origin`).",
        allowed: "a DNS name such as `events.example.org`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.origin, raw.one(origin)),
    },
    Setting {
        key: "encryption.master_keys",
        default: "",
        doc: "What secrets in the store are encrypted with. The first key encrypts; those after it decrypt what was encrypted \
              before. `hookcast store rekey` brings all of it to the first. Empty: secrets are stored as they are.",
        allowed: "a list of at most 10 keys, each `hcmk_` and 32 bytes in base64; `hookcast store new-key` makes one",
        show: masked,
        set: |config, raw| put(&mut config.encryption.master_keys, raw.list(10, |text| MasterKey::parse(text).ok())),
    },
    Setting {
        key: "notices.operators",
        default: "",
        doc: "The `user_id`s of accounts whose subscriptions to `subscription.failing`, `subscription.recovered` and \
              `subscription.deactivated` get the notices of everybody. All others get those of their own.",
        allowed: "a list of at most 100 user_ids",
        show: plain,
        set: |config, raw| put(&mut config.notices.operators, raw.list(100, |text| Some(text.to_owned()))),
    },
    Setting {
        key: "event_types.required",
        default: "false",
        doc: "Whether events are taken only of types that are described with `PUT /webhooks/event-types/TYPE`.",
        allowed: "`true` or `false`",
        show: plain,
        set: |config, raw| put(&mut config.event_types.required, raw.one(choice(TRUTH))),
    },
    Setting {
        key: "outbox.from",
        default: "",
        doc: "The database of a producer whose outbox this node publishes, as `hookcast outbox` does: PostgreSQL or Redis. Of several \
              nodes that have it set one does so at a time.",
        allowed: "a URL such as `postgres://shop@db.example/shop` or `redis://cache.example/0`, or empty for none",
        show: url_masked,
        set: |config, raw| put(&mut config.outbox.from, raw.optional(outbox_url)),
    },
    Setting {
        key: "outbox.name",
        default: "outbox",
        doc: "The table of that outbox, with its schema if it is in another one, or the stream of Redis.",
        allowed: "a name of 1 to 200 characters",
        show: plain,
        set: |config, raw| put(&mut config.outbox.name, raw.one(outbox_name)),
    },
    Setting {
        key: "delivery.allow_networks",
        default: "",
        doc: "Networks that may be called although they are private, local or otherwise not public. A cloud's metadata service \
              only if its very address is listed.",
        allowed: "a list of at most 1000 networks or addresses such as `10.0.0.0/8`, `192.168.1.5`, `fd00::/8`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.allow_networks, raw.list(1_000, network)),
    },
    Setting {
        key: "delivery.allow_ports",
        default: "",
        doc: "The ports that may be called, and no others. Empty: all but those of other protocols that browsers refuse \
              too, such as 22, 25 and 6667.",
        allowed: "a list of at most 1000 ports or ranges such as `443`, `8000-8999`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.allow_ports, raw.list(1_000, ports)),
    },
    Setting {
        key: "delivery.https_only",
        default: "false",
        doc: "Whether callbacks must be `https`. It holds for subscriptions that are there as well.",
        allowed: "`true` or `false`",
        show: plain,
        set: |config, raw| put(&mut config.delivery.https_only, raw.one(choice(TRUTH))),
    },
    Setting {
        key: "delivery.proxy",
        default: "",
        doc: "The proxy that all callbacks go through. It is asked for addresses that were looked up and judged here, \
              with `CONNECT` in case of `http`. Proxies of the environment are never used.",
        allowed: "a URL such as `http://user:password@proxy.example:3128` or `socks5://proxy.example:1080`, or empty for none",
        show: url_masked,
        set: |config, raw| put(&mut config.delivery.proxy, raw.optional(proxy)),
    },
    Setting {
        key: "delivery.max_in_flight",
        default: "1024",
        doc: "The most attempts at once in the whole process.",
        allowed: "an integer from 1 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.max_in_flight, raw.one(integer(1..=1_000_000))),
    },
    Setting {
        key: "delivery.max_in_flight_per_subscription",
        default: "64",
        doc: "The most attempts at once for one subscription.",
        allowed: "an integer from 1 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.max_in_flight_per_subscription, raw.one(integer(1..=1_000_000))),
    },
    Setting {
        key: "delivery.max_in_flight_per_host",
        default: "0",
        doc: "The most attempts at once to one host, over all subscriptions that go there. `0`: as many as in the whole process, \
              which is less where a host shows that it is too many.",
        allowed: "an integer from 0 to 1000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.max_in_flight_per_host, raw.one(integer(0..=1_000_000))),
    },
    Setting {
        key: "delivery.max_waiting",
        default: "1000000",
        doc: "The most deliveries that may wait for one subscription; beyond it the oldest expire.",
        allowed: "an integer from 1 to 1000000000",
        show: plain,
        set: |config, raw| put(&mut config.delivery.max_waiting, raw.one(integer(1..=1_000_000_000))),
    },
    Setting {
        key: "delivery.ca_file",
        default: "",
        doc: "A PEM file of certificate authorities to trust for callbacks besides the public ones.",
        allowed: "a path, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.delivery.ca_file, raw.optional(path)),
    },
    Setting {
        key: "deduplicate",
        default: "off",
        doc: "Whether an event with the content of an earlier one is dropped: never, for a time after the first one, \
              or always.",
        allowed: "`off`, `forever`, or a duration such as `24h`, from `1s` to `36500d`",
        show: plain,
        set: |config, raw| put(&mut config.deduplicate, raw.one(deduplicate)),
    },
    Setting {
        key: "retention.age",
        default: "90d",
        doc: "How long events and what became of them are kept. Longer than the retries of a delivery take.",
        allowed: "a duration such as `90d`, from `1s` to `36500d`",
        show: plain,
        set: |config, raw| put(&mut config.retention.age, raw.one(duration(SECOND..=CENTURY))),
    },
    Setting {
        key: "envelope.creator",
        default: "hookcast",
        doc: "Who made an event, as its envelope says.",
        allowed: "a line of 1 to 256 characters",
        show: plain,
        set: |config, raw| put(&mut config.envelope.creator, raw.one(line)),
    },
    Setting {
        key: "envelope.source",
        default: "hookcast",
        doc: "Where an event comes from, as its envelope says.",
        allowed: "a line of 1 to 256 characters",
        show: plain,
        set: |config, raw| put(&mut config.envelope.source, raw.one(line)),
    },
    Setting {
        key: "envelope.description",
        default: "hookcast events",
        doc: "What an event is about, as its envelope says.",
        allowed: "a line of 1 to 256 characters",
        show: plain,
        set: |config, raw| put(&mut config.envelope.description, raw.one(line)),
    },
    Setting {
        key: "mail.smtp",
        default: "",
        doc: "The server that takes mails to the owners of subscriptions: `smtp://name:password@host:587`, or `smtps://` for TLS \
              from the first byte on. What means something in a URL is percent-encoded in a password: `/` is `%2F`. \
              Without it no mails are sent.",
        allowed: "a URL such as `smtp://mail.example.org` or `smtps://name:password@mail.example.org:465`, or empty for none",
        show: url_masked,
        set: |config, raw| put(&mut config.mail.smtp, raw.optional(mail_server)),
    },
    Setting {
        key: "mail.from",
        default: "",
        doc: "Who mails are from. The name before the address is what they call the service.",
        allowed: "an address such as `hooks@example.org` or `Citations <hooks@example.org>`, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.mail.from, raw.optional(mailbox)),
    },
    Setting {
        key: "mail.tls",
        default: "required",
        doc: "Whether mails must be encrypted on their way to the server of `mail.smtp`. `required`: an `smtp://` server must offer \
              STARTTLS and prove its name. `off`: mails go there unencrypted, with the password of the URL, as may do on this machine.",
        allowed: "`required` or `off`",
        show: plain,
        set: |config, raw| put(&mut config.mail.requires_tls, raw.one(choice([("required", true), ("off", false)]))),
    },
    Setting {
        key: "mail.ca_file",
        default: "",
        doc: "A PEM file of certificate authorities to trust for the server of `mail.smtp` besides the public ones.",
        allowed: "a path, or empty for none",
        show: plain,
        set: |config, raw| put(&mut config.mail.ca_file, raw.optional(path)),
    },
    Setting {
        key: "mail.timeout",
        default: "1m",
        doc: "The longest that the server of `mail.smtp` may take to be ready for a mail, and again to take it.",
        allowed: "a duration such as `1m`, from `1ms` to `1h`",
        show: plain,
        set: |config, raw| put(&mut config.mail.timeout, raw.one(duration(MILLISECOND..=HOUR))),
    },
    Setting {
        key: "shutdown.grace",
        default: "20s",
        doc: "How long attempts under way may take to end by themselves when the service stops.",
        allowed: "a duration such as `20s`, at most `1h`, or `0`",
        show: plain,
        set: |config, raw| put(&mut config.shutdown.grace, raw.one(duration(Duration::ZERO..=HOUR))),
    },
    Setting {
        key: "log.level",
        default: "info",
        doc: "The least severe level that is logged.",
        allowed: "`error`, `warn`, `info`, `debug` or `trace`",
        show: plain,
        set: |config, raw| put(&mut config.log.level, raw.one(choice(LEVELS))),
    },
    Setting {
        key: "log.format",
        default: "text",
        doc: "How log lines are written: for people, or as one JSON object a line.",
        allowed: "`text` or `json`",
        show: plain,
        set: |config, raw| {
            put(&mut config.log.format, raw.one(choice([("text", LogFormat::Text), ("json", LogFormat::Json)])))
        },
    },
];

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

fn web_url(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    url.password().is_none().then(|| text.to_owned())
}

fn word(text: &str) -> Option<String> {
    ((1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

fn outbox_url(text: &str) -> Option<DatabaseUrl> {
    database_url(text).filter(|url| {
        let (scheme, _) = url.expose().split_once("://").unwrap_or_default();
        ["postgres", "postgresql", "redis", "rediss"].contains(&scheme)
    })
}

fn outbox_name(text: &str) -> Option<String> {
    ((1..=200).contains(&text.len()) && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn origin(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    ((1..=253).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.to_owned())
}

fn deduplicate(text: &str) -> Option<Deduplicate> {
    match text {
        "off" => Some(Deduplicate::Off),
        "forever" => Some(Deduplicate::Forever),
        _ => duration(SECOND..=CENTURY)(text).map(Deduplicate::Within),
    }
}

impl Config {
    /// The fields before the defaults of the table are put into them. Nothing but [`super::load`] sees these values.
    pub(super) fn blank() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 0)),
            role: NodeRole::All,
            database: Database {
                url: DatabaseUrl::new(""),
                max_size: None,
                min_free_disk: 0,
                connections: 0,
                prepared_statements: false,
                require_durable: false,
                ca_file: None,
            },
            registration: Registration {
                mode: RegistrationMode::Closed,
                token: None,
                issuer: None,
                audience: None,
                keys_url: None,
                user_id_claim: String::new(),
                user_email_claim: String::new(),
            },
            trigger: Trigger { token: None },
            admin: Admin { token: None },
            limits: Limits {
                event_size: 0,
                request_size: 0,
                batch_events: 0,
                connections: 0,
                requests: 0,
                triggers: 0,
                subscriptions_per_account: 0,
                events_per_day: 0,
                buffered: 0,
            },
            delivery: Delivery {
                timeout: Duration::ZERO,
                connect_timeout: Duration::ZERO,
                lease: Duration::ZERO,
                success: SuccessRule::default(),
                retry: RetrySchedule { delays: Vec::new(), jitter: 0.0 },
                deactivation: DeactivationPolicy { max_failures: 0, after: Duration::ZERO },
                breaker: BreakerPolicy { failures: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO },
                recovery_rate: 0,
                format: Format::default(),
                ordering: Ordering::None,
                on_failure: OnFailure::Block,
                rate_limit: None,
                consent: None,
                origin: String::new(),
                allow_networks: Vec::new(),
                allow_ports: Vec::new(),
                https_only: false,
                proxy: None,
                max_in_flight: 0,
                max_in_flight_per_subscription: 0,
                max_in_flight_per_host: 0,
                max_waiting: 0,
                ca_file: None,
            },
            encryption: Encryption { master_keys: Vec::new() },
            notices: Notices { operators: Vec::new() },
            event_types: EventTypes { required: false },
            outbox: Outbox { from: None, name: String::new() },
            deduplicate: Deduplicate::default(),
            retention: Retention { age: Duration::ZERO },
            envelope: Envelope { creator: String::new(), source: String::new(), description: String::new() },
            mail: Mail { smtp: None, from: None, requires_tls: true, ca_file: None, timeout: Duration::ZERO },
            shutdown: Shutdown { grace: Duration::ZERO },
            log: Log { level: Level::ERROR, format: LogFormat::Text },
        }
    }
}
