//! What request bodies may be, for the description of the interface. The parsers (`fields.rs`, `wishes.rs`, `trigger.rs`) read them by
//! hand, so that errors name the member and the rule; that they take what stands here is tested through the router.
#![expect(dead_code, reason = "these types describe bodies, which are never read into them")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Who is to have an account.
#[derive(Serialize, ToSchema)]
pub struct NewAccount {
    /// The account's name, which no other has.
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
    /// Where notices go.
    #[schema(max_length = 254)]
    user_email: Option<String>,
}

/// What is to change of an account.
#[derive(Serialize, ToSchema)]
pub struct AccountChange {
    /// Where notices go; `null` for nowhere.
    #[schema(required, max_length = 254)]
    user_email: Option<String>,
}

/// What an access token is good for: looking only, or everything that the account may do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking only.
    Read,
    /// Everything that the account may do.
    Write,
}

/// One more access token.
#[derive(Serialize, ToSchema)]
pub struct NewAccessToken {
    /// What you call it: letters, digits and `_ - .`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    name: String,
    scope: Scope,
    /// When it ends to be valid, which must be to come; never, where it is not there.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A token for a producer.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTriggerToken {
    /// What you call it: letters, digits and `_ - .`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    name: String,
    /// What it is for.
    event: EventTypes,
    /// When it ends to be valid, which must be to come; never, where it is not there.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// What is known of a type of event.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTypeWish {
    /// What it means, for people.
    description: Option<String>,
    /// What its payloads must be like: a JSON Schema (draft 2020-12) that refers to nothing elsewhere.
    schema: Option<Value>,
    /// A payload as it may be, which the schema must allow.
    example: Option<Value>,
}

/// A type of event or a pattern, in which a `*` stands for any run of characters; or a list of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum EventTypes {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What is subscribed to, and how.
#[derive(Serialize, ToSchema)]
pub struct NewSubscription {
    event: EventTypes,
    /// The callback: `http` or `https`. `null` for none: the account fetches the events.
    #[schema(required, format = "uri")]
    url: Option<String>,
    #[serde(flatten)]
    options: SubscriptionOptions,
}

/// What is to change. What is not there stays; what is `null` becomes as the server's configuration has it.
#[derive(Serialize, ToSchema)]
pub struct SubscriptionChange {
    /// Whether anything is sent.
    #[schema(nullable = false)]
    is_active: Option<bool>,
    #[schema(nullable = false)]
    event: Option<EventTypes>,
    /// The callback: `http` or `https`.
    #[schema(nullable = false, format = "uri")]
    url: Option<String>,
    #[serde(flatten)]
    options: SubscriptionOptions,
}

/// Whether anything is sent.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActiveChange {
    is_active: bool,
}

/// What may be chosen of a subscription.
#[derive(Serialize, ToSchema)]
pub struct SubscriptionOptions {
    signature: Option<Scheme>,
    /// A secret of your own, `whsec_…` or `whsk_…`.
    secret: Option<String>,
    auth: Option<Auth>,
    tls: Option<ClientCertificate>,
    /// More headers for each request. Whoever sees the subscription sees them.
    headers: Option<BTreeMap<String, String>>,
    format: Option<Format>,
    /// A JSONPath query (RFC 9535) that selects something of the events that are wanted.
    #[schema(max_length = 1024)]
    filter: Option<String>,
    ordering: Option<Ordering>,
    on_failure: Option<OnFailure>,
    /// Attempts that begin in a second, at the most.
    #[schema(minimum = 0.001, maximum = 100000.0)]
    rate_limit: Option<f64>,
    /// Attempts at the same time, at the most.
    #[schema(minimum = 1, maximum = 10000)]
    max_in_flight: Option<u32>,
    retries: Option<Retries>,
    success_status: Option<SuccessStatus>,
    /// How long an attempt may take: a duration such as `5s`.
    timeout: Option<String>,
    consent: Option<Consent>,
}

/// How deliveries are signed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `v1`.
    HmacSha256,
    /// `v1a`.
    Ed25519,
    /// Not at all.
    None,
}

/// What a request to the callback looks like.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The service's own.
    Hookcast,
    /// Standard Webhooks.
    Standard,
    /// CloudEvents, structured.
    CloudEvents,
    /// CloudEvents, binary.
    #[serde(rename = "cloudevents-binary")]
    CloudEventsBinary,
    /// The payload alone.
    Raw,
}

/// Which deliveries wait for each other.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// None.
    None,
    /// All of the subscription.
    Subscription,
    /// Those of events with the same key.
    Key,
}

/// What a delivery does to those behind it when its retries are used up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They wait on.
    Block,
    /// They go on.
    Skip,
}

/// Which answers are successes.
#[derive(Serialize, ToSchema)]
pub enum SuccessStatus {
    /// Only this.
    #[serde(rename = "200")]
    Exactly200,
    /// All from 200 to 299.
    #[serde(rename = "2xx")]
    Any2xx,
}

/// How the callback proves that it wants the events.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// By the handshake of CloudEvents.
    CloudEvents,
    /// By a challenge, as in WebSub.
    Challenge,
}

/// When a failed delivery is tried again: durations, or how they grow.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Retries {
    /// The delay before each; `[]` is never.
    Delays(Vec<String>),
    /// Delays that grow.
    Exponential {
        /// The first delay.
        first: String,
        /// What each is multiplied by; 2 if left out.
        #[schema(nullable = false)]
        factor: Option<f64>,
        /// No delay is longer; `1d` if left out.
        #[schema(nullable = false)]
        longest: Option<String>,
        /// How many there are.
        #[schema(minimum = 1, maximum = 100)]
        count: u32,
    },
}

/// What a request to the callback authenticates with.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Auth {
    /// A bearer token.
    Bearer {
        /// The token.
        token: String,
    },
    /// HTTP Basic.
    Basic {
        /// Shown to whom the subscription is shown.
        username: String,
        /// The secret.
        password: String,
    },
    /// A header such as that of an API key.
    Header {
        /// The header's name.
        name: String,
        /// The secret.
        value: String,
    },
    /// A token by the client credentials grant.
    OAuth2 {
        /// Where the token is asked for.
        token_url: String,
        /// Who asks.
        client_id: String,
        /// The secret.
        client_secret: String,
        /// Scopes with spaces between them.
        scope: Option<String>,
        /// Whom the token is for.
        audience: Option<String>,
    },
}

/// The client certificate that connections to the callback show, in PEM.
#[derive(Serialize, ToSchema)]
pub struct ClientCertificate {
    certificate: String,
    private_key: String,
    /// What vouches for the callback's own certificate.
    ca: Option<String>,
}

/// What an account may have, in place of what the settings say.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaWish {
    /// Subscriptions; `null` for as many as the setting says, 0 for any number.
    #[schema(maximum = 1_000_000_000)]
    subscriptions: Option<u64>,
    /// Events that are sent to it in a day of UTC, in the same way.
    #[schema(maximum = 1_000_000_000_000i64)]
    events_per_day: Option<u64>,
}

/// Why a host is paused.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseWish {
    /// For those for whom something waits to read.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// The next secret, which may be left out.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// A secret of your own instead of a new one of the same kind.
    secret: Option<String>,
    /// For how long the one before it signs as well: a duration, at most `30d`; `1d` if left out.
    overlap: Option<String>,
}

/// The event to try a subscription with. What is left out is a sample.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestEvent {
    /// Its type.
    event: Option<String>,
    /// Any JSON.
    #[schema(value_type = Value)]
    payload: Option<Value>,
    /// Events with the same key may be ordered.
    #[schema(min_length = 1)]
    key: Option<String>,
    /// Whether it is sent if it matches.
    #[schema(nullable = false)]
    send: Option<bool>,
}

/// An event.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Its type.
    #[schema(min_length = 1, max_length = 256)]
    event: String,
    /// Any JSON.
    payload: Value,
    /// Events with the same key may be ordered.
    #[schema(min_length = 1)]
    key: Option<String>,
    /// Your own id of it, by which it can be found.
    #[schema(min_length = 1)]
    source_id: Option<String>,
    /// The `user_id` of the account that alone gets it.
    account: Option<String>,
    /// When it is sent: at most 30 days ahead. A time that is over is now.
    #[schema(format = DateTime)]
    deliver_at: Option<String>,
    /// Whether an event of equal content that came before makes this one a duplicate, which is not sent; `true` if left out.
    #[schema(nullable = false)]
    deduplicate: Option<bool>,
}

/// An event, or a batch of them that is accepted as a whole.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum NewEvents {
    /// One.
    One(NewEvent),
    /// A batch.
    Batch(Vec<NewEvent>),
}

/// Which past events go to a subscription once more.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplay {
    /// Those of this time or later.
    #[schema(format = DateTime)]
    since: String,
    /// Those of earlier times; now, if left out.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Only those of these types: types or patterns with commas between them.
    event: Option<String>,
    /// Only those that this JSONPath query (RFC 9535) selects, beside the subscription's own filter.
    #[schema(max_length = 1024)]
    filter: Option<String>,
    /// At most so many events in a second; 100 if left out.
    #[schema(minimum = 1, maximum = 10000)]
    rate: Option<u32>,
    /// Only count what would be sent.
    #[schema(nullable = false)]
    preview: Option<bool>,
}

/// What is to change of a replay.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayChange {
    state: Option<WantedReplayState>,
    /// At most so many events in a second.
    #[schema(minimum = 1, maximum = 10000)]
    rate: Option<u32>,
}

/// Where a replay may be sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WantedReplayState {
    /// It goes on.
    Running,
    /// It rests.
    Paused,
    /// It ends.
    Cancelled,
}

/// Which deliveries are sent again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redelivery {
    /// Those of events since this time.
    #[schema(format = DateTime)]
    since: String,
    /// Those in this state; `failed` if left out.
    state: Option<Ended>,
    /// The `next_cursor` of an earlier answer, to go on from there.
    cursor: Option<String>,
}

/// A state from which a delivery can be sent again with others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Its schedule is used up.
    Failed,
    /// It was given up unsent.
    Expired,
}
