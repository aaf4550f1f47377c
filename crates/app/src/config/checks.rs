//! Settings that are fine alone but must fit each other.

use std::time::Duration;

use super::{
    Config, ConfigError, Origin, RegistrationMode, Source,
    quantity::{show_duration, show_size},
};

/// A rule over several settings.
struct Check {
    /// The settings that it is about.
    keys: &'static [&'static str],
    /// What to change, if the rule is broken.
    broken: fn(&Config) -> Option<String>,
}

const CHECKS: &[Check] = &[
    Check { keys: &["delivery.timeout", "delivery.lease"], broken: lease_covers_timeout },
    Check { keys: &["retention.age", "delivery.retry_schedule", "delivery.retry_jitter"], broken: retries_end_in_time },
    Check { keys: &["limits.request_size", "limits.buffered"], broken: request_fits_buffer },
    Check { keys: &["mail.smtp", "mail.from"], broken: mails_have_a_sender },
    Check {
        keys: &["registration.mode", "registration.issuer", "registration.audience"],
        broken: tokens_have_an_issuer,
    },
];

/// The rules that are broken, but for those over a setting in `refused`, whose field does not hold what was meant.
pub(super) fn conflicts(config: &Config, origins: &[Origin], refused: &[&str]) -> Vec<ConfigError> {
    let sound = CHECKS.iter().filter(|check| !check.keys.iter().any(|key| refused.contains(key)));
    let broken = sound.filter_map(|check| Some((check, (check.broken)(config)?)));
    broken.map(|(check, advice)| ConfigError::Conflict { advice, given: given(check, origins) }).collect()
}

fn given(check: &Check, origins: &[Origin]) -> Vec<String> {
    let named = check.keys.iter().filter_map(|key| origins.iter().find(|origin| origin.key == *key));
    named.map(describe).collect()
}

fn describe(Origin { key, value, source }: &Origin) -> String {
    match source {
        Source::Default => format!("{key} is `{value}` by default"),
        source => format!("{key} is `{value}` from {source}"),
    }
}

/// A lease is renewed every third of it, so just before a renewal two thirds are left for an attempt that begins then.
fn lease_covers_timeout(config: &Config) -> Option<String> {
    let (timeout, lease) = (config.delivery.timeout, config.delivery.lease);
    let longest = lease - lease / 3;
    (timeout > longest).then(|| {
        format!(
            "delivery.timeout must be at most two thirds of delivery.lease: set delivery.timeout to at most `{}` or \
             delivery.lease to at least `{}`",
            show_duration(longest),
            show_duration(timeout * 3 / 2 + Duration::from_micros(999)),
        )
    })
}

fn retries_end_in_time(config: &Config) -> Option<String> {
    let longest = config.delivery.retry.longest();
    (config.retention.age <= longest).then(|| {
        format!(
            "retention.age must be longer than the retries of a delivery take: set retention.age to more than `{}` or \
             shorten delivery.retry_schedule",
            show_duration(rounded_up(longest)),
        )
    })
}

fn request_fits_buffer(config: &Config) -> Option<String> {
    fits("limits.request_size", config.limits.request_size, "limits.buffered", config.limits.buffered)
}

fn tokens_have_an_issuer(config: &Config) -> Option<String> {
    let registration = &config.registration;
    let lacks = registration.issuer.is_none() || registration.audience.is_none();
    let advice = "with registration.mode `jwt` tokens must be from somebody and for somebody: set registration.issuer and \
                  registration.audience";
    (registration.mode == RegistrationMode::Jwt && lacks).then(|| advice.to_owned())
}

fn mails_have_a_sender(config: &Config) -> Option<String> {
    let nobody = config.mail.smtp.is_some() && config.mail.from.is_none();
    nobody.then(|| "mails must be from somebody: set mail.from to an address such as `hooks@example.org`".to_owned())
}

fn fits(inner_key: &str, inner: usize, outer_key: &str, outer: usize) -> Option<String> {
    let size = |bytes: usize| u64::try_from(bytes).map_or_else(|_| bytes.to_string(), show_size);
    (inner > outer).then(|| {
        format!(
            "{inner_key} must be at most {outer_key}: set {inner_key} to at most `{}` or {outer_key} to at least `{}`",
            size(outer),
            size(inner),
        )
    })
}

/// To whole hours, or whole seconds below an hour: advice need not be exact to the millisecond of a jitter.
fn rounded_up(duration: Duration) -> Duration {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    let unit = if seconds > 3_600 { 3_600 } else { 1 };
    Duration::from_secs(seconds.div_ceil(unit).saturating_mul(unit))
}
