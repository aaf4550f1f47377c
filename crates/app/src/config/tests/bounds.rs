//! What each setting takes at its edges, and what is just beyond them: the bounds that its text in the table promises.

use super::*;

#[test]
fn bounds() {
    let key = format!("hcmk_{}=", "A".repeat(43));
    let month = format!("{},30d", vec!["1d"; 99].join(","));
    let too_many = vec!["1s"; 101].join(",");
    let networks = vec!["10.0.0.1"; 1_001].join(",");
    let (line, long_line) = ("ü".repeat(256), "ü".repeat(257));
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("listen", &["0.0.0.0:0", "[::]:9000"], &["127.0.0.1", "127.0.0.1:65536", ":9000", "localhost:9000"]),
        ("role", &["all", "api", "delivery"], &["both"]),
        ("database.url", &["redis://host/0"], &["data/hookcast.db"]),
        ("database.max_size", &["0", "1024TiB"], &["1025TiB", "1GB"]),
        ("database.min_free_disk", &["0", "1TiB"], &["2TiB"]),
        ("database.connections", &["2", "1000"], &["1", "1001"]),
        ("database.prepared_statements", &["true", "false"], &["on", "1"]),
        ("database.require_durable", &["true", "false"], &["on", "1"]),
        ("database.ca_file", &["", "/etc/ca.pem"], &["a\0b"]),
        ("registration.mode", &["open", "closed"], &["Open", "half"]),
        ("registration.issuer", &["", "https://login.example.org/a"], &["login.example.org", "ftp://a"]),
        ("registration.audience", &["", "hookcast"], &["two words"]),
        ("registration.keys_url", &["", "http://10.0.0.1/keys"], &["keys", "http://a:b@c/"]),
        ("registration.user_id_claim", &["sub"], &["", "two words"]),
        ("registration.user_email_claim", &["email"], &["", "two words"]),
        ("registration.token", &["", "x"], &["two words"]),
        ("trigger.token", &["", "x"], &["two words"]),
        ("admin.token", &["", "x"], &["two words"]),
        ("limits.event_size", &["1", "16MiB", "1GiB"], &["0", "2GiB"]),
        ("limits.request_size", &["1", "256MiB", "1GiB"], &["0", "2GiB"]),
        ("limits.batch_events", &["1", "1000000"], &["0", "1000001"]),
        ("limits.requests", &["0", "100000000"], &["-1", "100000001"]),
        ("limits.triggers", &["0", "100000000"], &["-1", "100000001"]),
        ("limits.subscriptions_per_account", &["0", "1000000000"], &["-1", "1000000001"]),
        ("limits.events_per_day", &["0", "1000000000000"], &["-1", "1000000000001"]),
        ("limits.connections", &["1", "1000000"], &["0", "1000001"]),
        ("limits.buffered", &["1", "1TiB"], &["0", "2TiB"]),
        ("delivery.timeout", &["1ms", "40m"], &["0", "41m"]),
        ("delivery.connect_timeout", &["1ms", "40m"], &["0s", "41m"]),
        ("delivery.lease", &["1s", "1h"], &["999ms", "61m"]),
        ("delivery.success", &["200", "2xx"], &["201", "3xx"]),
        ("delivery.retry_schedule", &["", "0", "30d", &month], &["31d", &too_many]),
        ("delivery.retry_jitter", &["0", "1", "0.25"], &["1.1", "-0.1", "NaN"]),
        ("delivery.max_failures", &["0", "1000000"], &["1000001", "-1"]),
        ("delivery.deactivate_after", &["0", "36500d"], &["5", "36501d"]),
        ("delivery.breaker_failures", &["0", "1000000"], &["-1", "1000001"]),
        ("delivery.breaker_pause", &["1ms", "1h"], &["0", "2h"]),
        ("delivery.breaker_longest_pause", &["1ms", "36500d"], &["0", "36501d"]),
        ("delivery.recovery_rate", &["1", "1000000"], &["0", "1000001"]),
        ("delivery.format", &["hookcast", "raw", "cloudevents-binary"], &["json", ""]),
        ("delivery.ordering", &["none", "subscription", "key"], &["yes", ""]),
        ("delivery.on_failure", &["block", "skip"], &["stop", ""]),
        ("delivery.rate_limit", &["0", "0.5", "100000"], &["-1", "100001", "many"]),
        ("delivery.consent", &["none", "cloudevents", "challenge"], &["yes", ""]),
        ("delivery.origin", &["events.example.org"], &["", "a b", "https://example.org"]),
        ("encryption.master_keys", &["", &key], &["hcmk_", "secret", &key[5..]]),
        ("notices.operators", &["", "ada,bob"], &[]),
        ("event_types.required", &["true", "false"], &["on"]),
        ("outbox.from", &["", "postgres://h/d", "rediss://h"], &["sqlite://a.db", "outbox"]),
        ("outbox.name", &["shop.outbox"], &["", &long_line]),
        ("delivery.allow_networks", &["", "::/0,10.0.0.1"], &["private", &networks]),
        ("delivery.allow_ports", &["", "1-65535,443"], &["0", "65536", "9-8", "https"]),
        ("delivery.https_only", &["true", "false"], &["on"]),
        ("delivery.proxy", &["", "http://u:p@proxy:3128", "socks5://[::1]"], &["proxy:3128", "https://proxy"]),
        ("delivery.max_in_flight", &["1", "1000000"], &["0", "1000001"]),
        ("delivery.max_in_flight_per_subscription", &["1", "1000000"], &["0", "1000001"]),
        ("delivery.max_in_flight_per_host", &["0", "1000000"], &["-1", "1000001"]),
        ("delivery.max_waiting", &["1", "1000000000"], &["0", "1000000001"]),
        ("delivery.ca_file", &["", "/etc/ca.pem"], &["a\0b"]),
        ("deduplicate", &["off", "forever", "1s", "36500d"], &["on", "0", "36501d"]),
        ("retention.age", &["1s", "36500d"], &["0", "36501d"]),
        ("envelope.creator", &[&line], &[&long_line, "a\nb"]),
        ("envelope.source", &[&line], &[&long_line, "a\nb"]),
        ("envelope.description", &[&line], &[&long_line, "a\nb"]),
        ("mail.smtp", &["", "smtp://host", "smtps://a:b@[::1]:1"], &["host:25", "smtp://a@host", "http://host"]),
        ("mail.from", &["", "a@b.org", "A B <a@b.org>"], &["a", "a@b.org, c@d.org", "<a@b.org"]),
        ("mail.tls", &["required", "off"], &["on", "optional"]),
        ("mail.ca_file", &["", "/etc/ca.pem"], &["a\0b"]),
        ("mail.timeout", &["1ms", "1h"], &["0", "61m"]),
        ("shutdown.grace", &["0", "1h"], &["61m"]),
        ("log.level", &["error", "warn", "info", "debug", "trace"], &["3", "INFO"]),
        ("log.format", &["text", "json"], &["xml"]),
    ];
    assert_eq!(cases.len(), SETTINGS.len());
    for (key, taken, refused) in cases {
        // A setting at its edge may be at odds with another one; here only its own bounds count.
        let refuses = |value: &str| match load(Setup::new().set(key, value).sources) {
            Ok(_) => false,
            Err(errors) => errors.0.iter().any(|error| !matches!(error, ConfigError::Conflict { .. })),
        };
        assert_eq!(taken.iter().find(|value| refuses(value)), None, "{key} refuses");
        assert_eq!(refused.iter().find(|value| !refuses(value)), None, "{key} takes");
    }
}
