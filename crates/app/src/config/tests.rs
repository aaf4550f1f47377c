//! The whole way from sources to a configuration or to what is wrong with it.

mod bounds;

use std::{fs, path::Path};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{settings::SETTINGS, *};

const TOKEN: &str = "hush-hush-0123456789";

/// A directory with files, an environment and flags.
struct Setup {
    directory: TempDir,
    sources: Sources,
}

impl Setup {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let sources = Sources { directory: directory.path().to_owned(), ..Sources::default() };
        Self { directory, sources }
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn config_path(mut self, path: &str) -> Self {
        self.sources.config_path = Some(path.into());
        self
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.sources.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, value: &str, flag: &str) -> Self {
        self.sources.flags.push((key.to_owned(), value.to_owned(), flag.to_owned()));
        self
    }

    fn set(self, key: &str, value: &str) -> Self {
        self.flag(key, value, "--set")
    }

    fn loaded(self) -> Loaded {
        load(self.sources).unwrap()
    }

    /// What is wrong, a text each, without the name of the directory.
    fn errors(self) -> Vec<String> {
        let prefix = format!("{}/", self.directory.path().display());
        load(self.sources).unwrap_err().0.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
    }

    fn error(self) -> String {
        let errors = self.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    }
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> (&'a str, String) {
    let origin = loaded.origins.iter().find(|origin| origin.key == key).unwrap();
    (&origin.value, origin.source.to_string())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults() {
    let loaded = Setup::new().loaded();
    // Every field stands here, so that none lacks its row in the table of settings.
    let expected = Config {
        listen: "127.0.0.1:9000".parse().unwrap(),
        role: NodeRole::All,
        database: Database {
            url: DatabaseUrl::new("sqlite://data/hookcast.db"),
            max_size: None,
            min_free_disk: 64 << 20,
            connections: 8,
            prepared_statements: true,
            require_durable: true,
            ca_file: None,
        },
        registration: Registration {
            mode: RegistrationMode::Closed,
            token: None,
            issuer: None,
            audience: None,
            keys_url: None,
            user_id_claim: "sub".into(),
            user_email_claim: "email".into(),
        },
        trigger: Trigger { token: None },
        limits: Limits {
            event_size: 1 << 20,
            request_size: 16 << 20,
            batch_events: 10_000,
            connections: 10_000,
            requests: 0,
            triggers: 0,
            subscriptions_per_account: 0,
            events_per_day: 0,
            buffered: 256 << 20,
        },
        delivery: Delivery {
            timeout: seconds(15),
            connect_timeout: seconds(5),
            lease: seconds(25),
            success: SuccessRule::Exactly200,
            retry: RetrySchedule {
                delays: [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(seconds).into(),
                jitter: 0.1,
            },
            deactivation: DeactivationPolicy { max_failures: 20, after: seconds(432_000) },
            breaker: BreakerPolicy { failures: 5, first_pause: seconds(5), longest_pause: seconds(300) },
            recovery_rate: 100,
            format: Format::Hookcast,
            ordering: Ordering::None,
            on_failure: OnFailure::Block,
            rate_limit: None,
            consent: None,
            origin: "hookcast".to_owned(),
            allow_networks: vec![],
            allow_ports: vec![],
            https_only: false,
            proxy: None,
            max_in_flight: 1_024,
            max_in_flight_per_subscription: 64,
            max_in_flight_per_host: 0,
            max_waiting: 1_000_000,
            ca_file: None,
        },
        encryption: Encryption { master_keys: vec![] },
        notices: Notices { operators: vec![] },
        admin: Admin { token: None },
        event_types: EventTypes { required: false },
        outbox: Outbox { from: None, name: "outbox".into() },
        deduplicate: Deduplicate::Off,
        retention: Retention { age: seconds(90 * 86_400) },
        envelope: Envelope {
            creator: "hookcast".to_owned(),
            source: "hookcast".to_owned(),
            description: "hookcast events".to_owned(),
        },
        mail: Mail { smtp: None, from: None, requires_tls: true, ca_file: None, timeout: seconds(60) },
        shutdown: Shutdown { grace: seconds(20) },
        log: Log { level: tracing::Level::INFO, format: LogFormat::Text },
    };
    assert_eq!(format!("{:?}", loaded.config), format!("{expected:?}"));
    assert!(loaded.warnings.is_empty());
    assert!(loaded.origins.iter().all(|origin| origin.source == Source::Default));
}

#[test]
fn each_layer_overrides_the_ones_before_it() {
    let one = |setup: Setup| setup.loaded().config.limits.batch_events;
    let file = || Setup::new().file("hookcast.toml", "[limits]\nbatch_events = 1");
    let local = || file().file("hookcast.local.toml", "limits.batch_events = 2");
    let variable = || local().variable("HOOKCAST_LIMITS_BATCH_EVENTS", "3");
    let flag = || variable().set("limits.batch_events", "4");
    assert_eq!([file(), local(), variable(), flag(), flag().set("limits.batch_events", "5")].map(one), [1, 2, 3, 4, 5]);
}

#[test]
fn origins_say_where_the_winner_stands() {
    let loaded = Setup::new()
        .file("hookcast.toml", "listen = '[::1]:1'\n\n[log]\nlevel = 'warn'\nformat = 'json'\n")
        .variable("HOOKCAST_LOG_LEVEL", "debug")
        .flag("listen", "127.0.0.1:80", "--listen")
        .loaded();
    assert_eq!(origin(&loaded, "listen"), ("127.0.0.1:80", "flag --listen".to_owned()));
    assert_eq!(origin(&loaded, "log.level"), ("debug", "environment variable HOOKCAST_LOG_LEVEL".to_owned()));
    let (value, place) = origin(&loaded, "log.format");
    assert!(value == "json" && place.ends_with("/hookcast.toml:5"), "{place}");
    assert_eq!(origin(&loaded, "delivery.timeout"), ("15s", "default".to_owned()));
    let keys: Vec<&str> = loaded.origins.iter().map(|origin| origin.key).collect();
    assert_eq!(keys, SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>());
    let json = serde_json::to_string(&loaded.origins[0]).unwrap();
    assert_eq!(json, r#"{"key":"listen","value":"127.0.0.1:80","source":"flag --listen"}"#);
}

#[test]
fn a_named_file_has_its_local_file_beside_it() {
    let setup = || Setup::new().file("prod.toml", "log.level = 'warn'").config_path("prod.toml");
    let config =
        setup().file("prod.local.toml", "log.format = 'json'").file("hookcast.toml", "not read").loaded().config;
    assert_eq!((config.log.level, config.log.format), (tracing::Level::WARN, LogFormat::Json));
    assert_eq!(setup().loaded().config.log.format, LogFormat::Text);
    let missing = Setup::new().config_path("prod.toml").error();
    assert!(missing.starts_with("prod.toml: cannot be read: No such file"), "{missing}");
}

#[test]
fn a_file_may_use_native_values_or_texts() {
    let config = Setup::new()
        .file(
            "hookcast.toml",
            "[delivery]\nmax_failures = 0x1_0\nmax_in_flight = '7'\nretry_jitter = 0.5\nsuccess = 200\nlease = '1m'\n\
             retry_schedule = ['1s', '2m']\nallow_networks = ['10.0.0.0/8', '::1']\nallow_ports = [443, '8000-8999']\nca_file = 'ca.pem'\n\
             [database]\nmax_size = 1_048_576\nmin_free_disk = '1GiB'\n[retention]\nage = '1h'",
        )
        .loaded()
        .config;
    assert_eq!((config.delivery.deactivation.max_failures, config.delivery.max_in_flight), (16, 7));
    assert_eq!(config.delivery.retry, RetrySchedule { delays: vec![seconds(1), seconds(120)], jitter: 0.5 });
    let networks: Vec<String> = config.delivery.allow_networks.iter().map(IpNet::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.delivery.allow_ports, [443..=443, 8000..=8999]);
    assert_eq!(config.delivery.ca_file.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!((config.database.max_size, config.database.min_free_disk), (Some(1 << 20), 1 << 30));
}

#[test]
fn an_empty_list_is_an_empty_list() {
    let delays = |setup: Setup| setup.loaded().config.delivery.retry.delays.len();
    assert_eq!(delays(Setup::new().variable("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "")), 0);
    assert_eq!(delays(Setup::new().file("hookcast.toml", "delivery.retry_schedule = []")), 0);
    assert_eq!(delays(Setup::new().variable("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "5s, 1m")), 2);
    let networks = Setup::new()
        .file("hookcast.toml", "delivery.allow_networks = ['10.0.0.0/8']")
        .file("hookcast.local.toml", "delivery.allow_networks = []");
    assert!(networks.loaded().config.delivery.allow_networks.is_empty());
}

#[test]
fn an_empty_value_unsets_what_is_optional_and_is_wrong_elsewhere() {
    let setup = Setup::new().file("hookcast.toml", "trigger.token = 'x'\n[delivery]\nca_file = 'ca.pem'");
    let loaded = setup.variable("HOOKCAST_TRIGGER_TOKEN", "").variable("HOOKCAST_DELIVERY_CA_FILE", "").loaded();
    assert!(loaded.config.trigger.token.is_none() && loaded.config.delivery.ca_file.is_none());
    assert_eq!(origin(&loaded, "trigger.token").0, "");
    let optional = [
        "database.ca_file",
        "registration.token",
        "registration.issuer",
        "registration.audience",
        "registration.keys_url",
        "trigger.token",
        "admin.token",
        "outbox.from",
        "delivery.proxy",
        "delivery.ca_file",
        "mail.smtp",
        "mail.from",
        "mail.ca_file",
    ];
    let lists = [
        "delivery.retry_schedule",
        "encryption.master_keys",
        "notices.operators",
        "delivery.allow_networks",
        "delivery.allow_ports",
    ];
    for setting in SETTINGS {
        let result = load(Setup::new().variable(&setting.variable(), "").sources);
        assert_eq!(result.is_ok(), optional.contains(&setting.key) || lists.contains(&setting.key), "{}", setting.key);
    }
    assert_eq!(
        Setup::new().variable("HOOKCAST_LOG_FORMAT", "").error(),
        "environment variable HOOKCAST_LOG_FORMAT: log.format: an empty value is not allowed; it must be `text` \
         or `json`"
    );
}

#[test]
fn names_of_the_prototype_stand_between_files_and_own_names() {
    let setup = || {
        Setup::new()
            .file("hookcast.toml", "registration.token = 'file'\ntrigger.token = 'file'\ndelivery.max_failures = 7")
            .variable("HOOKCAST_TRIGGER_TOKEN", "own")
            .variable("WEBHOOK_REGISTRATION_TOKEN", "old")
            .variable("WEBHOOK_TRIGGER_TOKEN", "old")
            .variable("MAX_SEND_ATTEMPTS", "5")
    };
    let loaded = setup().loaded();
    let config = &loaded.config;
    assert_eq!(config.registration.token.as_ref().unwrap().expose_secret(), "old");
    assert_eq!(config.trigger.token.as_ref().unwrap().expose_secret(), "own");
    assert_eq!(config.delivery.deactivation, DeactivationPolicy { max_failures: 4, after: Duration::ZERO });
    let variable = "environment variable MAX_SEND_ATTEMPTS".to_owned();
    assert_eq!(origin(&loaded, "delivery.max_failures"), ("4", variable.clone()));
    assert_eq!(origin(&loaded, "delivery.deactivate_after"), ("0", variable));
    assert!(loaded.warnings.is_empty());

    let config = setup().variable("HOOKCAST_DELIVERY_MAX_FAILURES", "9").loaded().config;
    assert_eq!(config.delivery.deactivation, DeactivationPolicy { max_failures: 9, after: Duration::ZERO });
    for refused in ["0", "-1", "many"] {
        assert_eq!(
            Setup::new().variable("MAX_SEND_ATTEMPTS", refused).error(),
            format!(
                "environment variable MAX_SEND_ATTEMPTS: delivery.max_failures: `{refused}` is not allowed; \
                 it must be an integer from 1 to 1000000"
            )
        );
    }
}

#[test]
fn an_unknown_name_is_an_error_in_files_and_flags() {
    let file = |text: &str| Setup::new().file("hookcast.toml", text).errors();
    assert_eq!(
        file("\n[delivery]\ntimeuot = '5s'"),
        ["hookcast.toml:3: `delivery.timeuot` is not a setting; did you mean `delivery.timeout`?"]
    );
    assert_eq!(file("colour = 'red'"), ["hookcast.toml:1: `colour` is not a setting"]);
    assert_eq!(file("[empty]"), ["hookcast.toml:1: `empty` is not a setting"]);
    assert_eq!(file("delivery = 5"), ["hookcast.toml:1: `delivery` is not a setting"]);
    assert!(Setup::new().file("hookcast.toml", "[delivery]").loaded().warnings.is_empty());
    assert_eq!(
        Setup::new().set("delivery.time", "5s").error(),
        "flag --set: `delivery.time` is not a setting; did you mean `delivery.timeout`?"
    );
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let loaded = Setup::new()
        .variable("HOOKCAST_LISTN", "0.0.0.0:80")
        .variable("HOOKCAST_SERVICE_HOST", "10.0.0.1")
        .variable("PATH", "/bin")
        .loaded();
    assert_eq!(
        loaded.warnings,
        [
            "environment variable HOOKCAST_LISTN is not a setting and has no effect; did you mean `HOOKCAST_LISTEN`?",
            "environment variable HOOKCAST_SERVICE_HOST is not a setting and has no effect",
        ]
    );
}

#[test]
fn errors_name_the_place_the_key_and_what_is_allowed() {
    assert_eq!(
        Setup::new().file("hookcast.local.toml", "# one\n[delivery]\ntimeout = 20").error(),
        "hookcast.local.toml:3: delivery.timeout: `20` is not allowed; it must be a duration such as `15s`, from `1ms` \
         to `40m`"
    );
    assert_eq!(
        Setup::new().flag("listen", "localhost:9000", "--listen").error(),
        "flag --listen: listen: `localhost:9000` is not allowed; it must be an IP address and a port such as \
         `127.0.0.1:9000`, `0.0.0.0:9000` or `[::]:9000`"
    );
    for (toml, got) in [
        ("delivery.retry_schedule = ['5s', 'soon']", "`soon`"),
        ("delivery.retry_schedule = '5s,,5s'", "an empty value"),
        ("delivery.retry_schedule = [['5s']]", "a list of something else than texts and numbers"),
        ("listen = ['127.0.0.1:1']", "a list"),
        ("listen = 2026-01-01", "a date or time"),
        ("deduplicate = false", "`false`"),
        ("log = { level = { x = 1 } }", "a table"),
        ("listen = \"a\\nb\"", "`a\\nb`"),
    ] {
        let error = Setup::new().file("hookcast.toml", toml).error();
        assert!(
            error.starts_with("hookcast.toml:1: ") && error.contains(&format!(": {got} is not allowed; ")),
            "{error}"
        );
    }
}

#[test]
fn a_broken_file_is_an_error_that_quotes_nothing() {
    let error = Setup::new().file("hookcast.toml", format!("\ntrigger.token = '{TOKEN}\n")).error();
    assert!(error.starts_with("hookcast.toml:2: not valid TOML: ") && !error.contains(TOKEN), "{error}");
    assert_eq!(Setup::new().file("hookcast.toml", b"\xff").error(), "hookcast.toml: cannot be read: it is not UTF-8");
}

#[test]
fn all_errors_are_reported_together() {
    let errors = Setup::new()
        .file("hookcast.toml", "colour = 1\nlisten = 'x'\n[limits]\nrequest_size = '1KiB'")
        .file("hookcast.local.toml", "broken")
        .variable("HOOKCAST_LOG_LEVEL", "loud")
        .set("log.format", "xml");
    let text = load(errors.sources.clone()).unwrap_err().to_string();
    assert!(text.starts_with("the configuration has 5 errors:\n  - "), "{text}");
    // No word about `limits`, as the broken file may hold what would make it fit.
    for part in ["`colour`", "listen: `x`", "hookcast.local.toml:1: not valid", "`loud`", "`xml`"] {
        assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
    }
}

#[test]
fn an_overridden_value_is_checked_as_well() {
    let error = Setup::new().file("hookcast.toml", "log.level = 'loud'").set("log.level", "info").error();
    assert!(error.starts_with("hookcast.toml:1: log.level: `loud`"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_variable_that_is_not_utf8_is_an_error_if_known() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![0x66, 0xff]);
    let error = Setup::new().variable("HOOKCAST_LOG_FORMAT", bytes()).error();
    assert!(error.contains("HOOKCAST_LOG_FORMAT: log.format: text that is not UTF-8 is not allowed"), "{error}");
    assert!(Setup::new().variable("WEBHOOK_TRIGGER_TOKEN", bytes()).error().contains("not UTF-8"));
    assert_eq!(Setup::new().variable("HOOKCAST_OTHER", bytes()).variable("OTHER", bytes()).loaded().warnings.len(), 1);
}

#[test]
fn secrets_are_shown_nowhere() {
    let setup = || {
        Setup::new()
            .file("hookcast.toml", format!("registration.token = '{TOKEN}'"))
            .variable("WEBHOOK_TRIGGER_TOKEN", TOKEN)
            .set("database.url", &format!("postgres://me:{TOKEN}@db/hookcast"))
            .set("delivery.proxy", &format!("http://me:{TOKEN}@proxy:3128"))
    };
    let loaded = setup().loaded();
    assert_eq!(loaded.config.trigger.token.as_ref().unwrap().expose_secret(), TOKEN);
    assert_eq!(loaded.config.database.url.expose(), format!("postgres://me:{TOKEN}@db/hookcast"));
    assert_eq!(origin(&loaded, "registration.token").0, "***");
    assert_eq!(origin(&loaded, "database.url").0, "postgres://me:***@db/hookcast");
    assert_eq!(origin(&loaded, "delivery.proxy").0, "http://me:***@proxy:3128");
    assert!(!format!("{loaded:?}").contains(TOKEN));

    let wrong = setup().set("trigger.token", &format!("two {TOKEN}")).set("database.url", &format!("me:{TOKEN}@db"));
    let wrong = wrong
        .set("delivery.proxy", &format!("https://me:{TOKEN}@proxy"))
        .variable("HOOKCAST_REGISTRATION_TOKEN", format!("{TOKEN}\u{fc}"));
    let errors = load(wrong.sources).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains(TOKEN), "{errors}");
    assert!(
        errors.to_string().contains("flag --set: trigger.token: `***` is not allowed; it must be 1 to 512 visible")
    );
}

#[test]
fn the_lease_covers_the_timeout() {
    let setup = || Setup::new().file("hookcast.toml", "\ndelivery.timeout = '60s'");
    assert_eq!(
        setup().error(),
        "delivery.timeout must be at most two thirds of delivery.lease: set delivery.timeout to at most `16666ms` or \
         delivery.lease to at least `90s` (delivery.timeout is `60s` from hookcast.toml:2; \
         delivery.lease is `25s` by default)"
    );
    assert!(setup().set("delivery.lease", "89s").errors()[0].contains("at least `90s`"));
    assert_eq!(setup().set("delivery.lease", "90s").loaded().config.delivery.timeout, seconds(60));
    let odd = || Setup::new().set("delivery.timeout", "667ms").set("delivery.connect_timeout", "1ms");
    assert!(
        odd()
            .set("delivery.lease", "1000ms")
            .error()
            .contains("at most `666ms` or delivery.lease to at least `1001ms`")
    );
    odd().set("delivery.lease", "1001ms").loaded();
}

#[test]
fn parts_fit_into_their_wholes() {
    assert_eq!(
        Setup::new().variable("HOOKCAST_LIMITS_REQUEST_SIZE", "512MiB").error(),
        "limits.request_size must be at most limits.buffered: set limits.request_size to at most `256MiB` or \
         limits.buffered to at least `512MiB` (limits.request_size is `512MiB` from environment variable \
         HOOKCAST_LIMITS_REQUEST_SIZE; limits.buffered is `256MiB` by default)"
    );
    assert!(Setup::new().set("limits.buffered", "8MiB").error().starts_with("limits.request_size must be at most"));
}

#[test]
fn the_past_outlives_the_retries() {
    assert_eq!(
        Setup::new().set("retention.age", "3d").error(),
        "retention.age must be longer than the retries of a delivery take: set retention.age to more than `84h` or \
         shorten delivery.retry_schedule (retention.age is `3d` from flag --set; delivery.retry_schedule is \
         `5s,5m,30m,2h,5h,10h,14h,20h,24h` by default; delivery.retry_jitter is `0.1` by default)"
    );
    Setup::new().set("retention.age", "3d").set("delivery.retry_jitter", "0").error();
    Setup::new().set("retention.age", "4d").loaded();
    Setup::new().set("retention.age", "1s").set("delivery.retry_schedule", "").loaded();
    let longest = vec!["30d"; 100].join(",");
    let error = Setup::new().set("delivery.retry_schedule", &longest).set("delivery.retry_jitter", "1").error();
    assert!(error.contains("more than `6000d`"), "{error}");
}

#[test]
fn a_rule_over_a_refused_value_is_silent() {
    let error = Setup::new().set("delivery.lease", "2h").set("delivery.timeout", "40m").error();
    assert!(error.starts_with("flag --set: delivery.lease: `2h` is not allowed"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_file_and_no_variable_panics(file in "\\PC{0,60}", index in 0..SETTINGS.len(), value in "\\PC{0,20}") {
        let setup = Setup::new().file("hookcast.toml", file).variable(&SETTINGS[index].variable(), value);
        let _outcome = load(setup.sources);
    }
}
