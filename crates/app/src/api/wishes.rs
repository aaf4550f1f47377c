//! What the body of a request wishes of a subscription: each member that may be chosen, when it is made and later on.

use std::time::Duration;

use hookcast_core::{
    callback_auth::{CallbackAuth, ClientTls, CustomHeaders, Refused},
    filter::Filter,
    format::Format,
    options::{Consent, OnFailure, Options, Ordering, Retries},
    pattern::EventPatterns,
    policy::SuccessRule,
    secrets::Secrets,
    signing::{Scheme, Secret},
};
use hookcast_delivery::client;
use serde_json::{Value, value::RawValue};

use super::{ApiState, error::ApiError, fields::Fields};
use crate::config::parse_duration;

/// The longest that earlier secrets may go on signing.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// For how long they do where the request does not say.
pub const OVERLAP: Duration = Duration::from_secs(86_400);

/// All members that may be chosen, for messages.
pub const KNOWN: &str = "`event`, `url`, `signature`, `secret`, `auth`, `tls`, `headers`, `format`, `filter`, \
     `ordering`, `on_failure`, `rate_limit`, `max_in_flight`, `retries`, `success_status`, `timeout` and `consent`";

/// What is wished of a member: nothing, what the configuration says, or this.
type Wish<T> = Option<Option<T>>;

/// The wishes of one request. Nothing of it is done yet, and all of it may be.
#[derive(Default)]
pub struct Wishes {
    format: Wish<Format>,
    filter: Wish<String>,
    ordering: Wish<Ordering>,
    on_failure: Wish<OnFailure>,
    rate_limit: Wish<f64>,
    max_in_flight: Wish<u32>,
    retries: Wish<Retries>,
    success_status: Wish<SuccessRule>,
    timeout_ms: Wish<u32>,
    headers: Wish<CustomHeaders>,
    consent: Wish<Consent>,
    auth: Wish<CallbackAuth>,
    tls: Wish<ClientTls>,
    signature: Option<Scheme>,
    secret: Option<Secret>,
}

impl Wishes {
    /// Takes the wishes out of a body.
    ///
    /// # Errors
    /// 422 for the first that cannot be.
    pub async fn take(fields: &mut Fields<'_>, state: &ApiState) -> Result<Self, ApiError> {
        let auth = wish(fields, "auth", |raw| {
            let judge =
                |url: &str| state.parse_url(url).map(drop).map_err(|refused| format!("cannot be called: {refused}"));
            CallbackAuth::parse("auth", value(raw), judge).map_err(|error| refused(&error))
        })?;
        if let Some(url) = auth.as_ref().and_then(Option::as_ref).and_then(CallbackAuth::token_url)
            && let Ok(url) = state.parse_url(url)
        {
            state.check_resolves("auth", &url).await?;
        }
        let tls = wish(fields, "tls", |raw| {
            let tls = ClientTls::parse("tls", value(raw)).map_err(|error| refused(&error))?;
            client::check_client_tls(&tls).map_err(|error| refused(&error))?;
            Ok(tls)
        })?;
        let signature: Option<Scheme> = wish(fields, "signature", |raw| parsed("signature", raw))?.flatten();
        let secret = wish(fields, "secret", parse_secret)?.flatten();
        if let (Some(scheme), Some(secret)) = (signature, &secret)
            && secret.scheme() != scheme
        {
            let rule = format!("is for `{}`, and `signature` is `{scheme}`", secret.scheme());
            return Err(ApiError::invalid_field("secret", &rule));
        }
        Ok(Self {
            format: wish(fields, "format", |raw| parsed("format", raw))?,
            filter: wish(fields, "filter", |raw| Ok(parsed::<Filter>("filter", raw)?.as_str().to_owned()))?,
            ordering: wish(fields, "ordering", |raw| {
                word(
                    "ordering",
                    raw,
                    [("none", Ordering::None), ("subscription", Ordering::Subscription), ("key", Ordering::Key)],
                )
            })?,
            on_failure: wish(fields, "on_failure", |raw| {
                word("on_failure", raw, [("block", OnFailure::Block), ("skip", OnFailure::Skip)])
            })?,
            rate_limit: wish(fields, "rate_limit", rate)?,
            max_in_flight: wish(fields, "max_in_flight", |raw| {
                let number = raw.get().parse::<u32>().ok().filter(|number| (1..=10_000).contains(number));
                number.ok_or_else(|| ApiError::invalid_field("max_in_flight", "must be a whole number from 1 to 10000"))
            })?,
            retries: wish(fields, "retries", |raw| retries(raw, state))?,
            success_status: wish(fields, "success_status", |raw| {
                word("success_status", raw, [("200", SuccessRule::Exactly200), ("2xx", SuccessRule::Any2xx)])
            })?,
            timeout_ms: wish(fields, "timeout", |raw| timeout(raw, state))?,
            headers: wish(fields, "headers", |raw| {
                CustomHeaders::parse("headers", &value(raw)).map_err(|error| refused(&error))
            })?,
            consent: wish(fields, "consent", |raw| {
                word("consent", raw, [("cloudevents", Consent::CloudEvents), ("challenge", Consent::Challenge)])
            })?,
            auth,
            tls,
            signature,
            secret,
        })
    }

    /// Does what concerns the options.
    pub fn apply_to_options(&self, options: &mut Options) {
        fn set<T: Clone>(field: &mut Option<T>, wish: &Wish<T>) {
            if let Some(wish) = wish {
                field.clone_from(wish);
            }
        }
        set(&mut options.format, &self.format);
        set(&mut options.filter, &self.filter);
        set(&mut options.ordering, &self.ordering);
        set(&mut options.on_failure, &self.on_failure);
        set(&mut options.rate_limit, &self.rate_limit);
        set(&mut options.max_in_flight, &self.max_in_flight);
        set(&mut options.retries, &self.retries);
        set(&mut options.success_status, &self.success_status);
        set(&mut options.timeout_ms, &self.timeout_ms);
        set(&mut options.consent, &self.consent);
        if let Some(headers) = &self.headers {
            options.headers = headers.clone().unwrap_or_default();
        }
    }

    /// Does what concerns authentication.
    pub fn apply_to_credentials(&self, secrets: &mut Secrets) {
        if let Some(auth) = &self.auth {
            secrets.auth.clone_from(auth);
        }
        if let Some(tls) = &self.tls {
            secrets.tls.clone_from(tls);
        }
    }

    /// Whether a client certificate is wished.
    pub fn brings_certificate(&self) -> bool {
        matches!(self.tls, Some(Some(_)))
    }

    /// The secret that is to sign from now on: the one given, or a new one where another scheme is wished. `None` for no change,
    /// and `Some(None)` for no signature.
    pub fn new_secret(&self, now: Scheme) -> Wish<Secret> {
        match (&self.secret, self.signature) {
            (Some(secret), _) => Some(Some(secret.clone())),
            (None, Some(scheme)) if scheme != now => Some(Secret::generate(scheme, rand::random())),
            (None, _) => None,
        }
    }

    /// The secret of a new subscription.
    pub fn first_secret(&self) -> Option<Secret> {
        let scheme = self.signature.unwrap_or(Scheme::HmacSha256);
        self.secret.clone().or_else(|| Secret::generate(scheme, rand::random()))
    }
}

/// Takes the types of event out: a type, a pattern, or a list of them.
///
/// # Errors
/// 422 when it is anything else.
pub fn events(fields: &mut Fields<'_>) -> Result<Option<EventPatterns>, ApiError> {
    let Some(raw) = fields.take("event") else { return Ok(None) };
    let no_types = || ApiError::invalid_field("event", "must be an event type, or a list of them");
    let texts = match value(raw) {
        Value::String(text) => vec![text],
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(no_types()),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(no_types()),
    };
    EventPatterns::from_texts(texts).map(Some).map_err(|error| ApiError::invalid_value("event", &error))
}

/// Takes out for how long the secret before a new one goes on signing.
///
/// # Errors
/// 422 when it is no duration, or too long.
pub fn overlap(fields: &mut Fields<'_>) -> Result<Duration, ApiError> {
    let Some(text) = fields.optional_string("overlap")? else { return Ok(OVERLAP) };
    parse_duration(&text)
        .filter(|overlap| *overlap <= OVERLAP_MAX)
        .ok_or_else(|| ApiError::invalid_field("overlap", "must be a duration such as `24h`, at most `30d`"))
}

/// Takes a secret of the user's own out.
///
/// # Errors
/// 422 when it is none.
pub fn secret(fields: &mut Fields<'_>) -> Result<Option<Secret>, ApiError> {
    Ok(wish(fields, "secret", parse_secret)?.flatten())
}

fn wish<'a, T>(
    fields: &mut Fields<'a>,
    name: &str,
    read: impl FnOnce(&'a RawValue) -> Result<T, ApiError>,
) -> Result<Wish<T>, ApiError> {
    match fields.take(name) {
        None => Ok(None),
        Some(raw) if raw.get() == "null" => Ok(Some(None)),
        Some(raw) => read(raw).map(|value| Some(Some(value))),
    }
}

fn parse_secret(raw: &RawValue) -> Result<Secret, ApiError> {
    Secret::parse(&string("secret", raw)?).map_err(|problem| ApiError::invalid_value("secret", &problem))
}

/// Raw JSON is JSON; what it cannot say (too deep a nesting) is as good as nothing.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn refused(refused: &Refused) -> ApiError {
    ApiError::invalid_field(&refused.member, &refused.rule)
}

fn string(name: &str, raw: &RawValue) -> Result<String, ApiError> {
    serde_json::from_str(raw.get()).map_err(|_| ApiError::invalid_field(name, "must be a string of valid Unicode"))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, raw: &RawValue) -> Result<T, ApiError> {
    string(name, raw)?.parse().map_err(|rule: T::Err| ApiError::invalid_field(name, &rule.to_string()))
}

fn word<T: Copy, const N: usize>(name: &str, raw: &RawValue, words: [(&str, T); N]) -> Result<T, ApiError> {
    let text = string(name, raw).unwrap_or_default();
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        ApiError::invalid_field(name, &format!("must be one of {}", words.join(", ")))
    })
}

fn rate(raw: &RawValue) -> Result<f64, ApiError> {
    let rate = raw.get().parse::<f64>().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| {
        ApiError::invalid_field("rate_limit", "must be a number of attempts a second, from 0.001 to 100000")
    })
}

fn timeout(raw: &RawValue, state: &ApiState) -> Result<u32, ApiError> {
    let longest = state.timeout;
    let timeout = parse_duration(&string("timeout", raw)?).filter(|timeout| !timeout.is_zero() && *timeout <= longest);
    timeout.and_then(|timeout| u32::try_from(timeout.as_millis()).ok()).ok_or_else(|| {
        let longest = crate::config::show_duration(longest);
        ApiError::invalid_field("timeout", &format!("must be a duration such as `5s`, at most `{longest}`"))
    })
}

fn retries(raw: &RawValue, state: &ApiState) -> Result<Retries, ApiError> {
    let rule = |rule: &str| ApiError::invalid_field("retries", rule);
    let millis = |value: &Value| -> Option<u64> { u64::try_from(parse_duration(value.as_str()?)?.as_millis()).ok() };
    let retries = match value(raw) {
        Value::Array(delays) => delays.iter().map(millis).collect::<Option<Vec<_>>>().map(Retries::Delays),
        Value::Object(members) => exponential(members, millis),
        _ => None,
    };
    let retries = retries.ok_or_else(|| {
        rule(
            "must be a list of durations such as [\"5s\",\"5m\"], or an object such as \
             {\"first\":\"5s\",\"factor\":2,\"longest\":\"1h\",\"count\":10}",
        )
    })?;
    retries.check().map_err(|broken| rule(&broken))?;
    // What is older is taken away, whether it was delivered or not.
    if retries.schedule(state.targets().defaults.schedule.jitter).longest() >= state.retention {
        let retention = crate::config::show_duration(state.retention);
        return Err(rule(&format!("must come to less than the `{retention}` for which events are kept")));
    }
    Ok(retries)
}

/// Delays that grow: `first` and `count` must be there, and nothing that is unknown.
fn exponential(mut members: serde_json::Map<String, Value>, millis: impl Fn(&Value) -> Option<u64>) -> Option<Retries> {
    let first = millis(&members.remove("first")?)?;
    let count = u32::try_from(members.remove("count")?.as_u64()?).ok()?;
    let factor = members.remove("factor").map_or(Some(2.0), |factor| factor.as_f64())?;
    let longest = members.remove("longest").map_or(Some(86_400_000), |longest| millis(&longest))?;
    members.is_empty().then_some(Retries::Exponential { first, factor, longest, count })
}
