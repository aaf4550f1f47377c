//! Values as the scripts take and give them.

use std::time::Duration;

use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, Failure},
    event::{Event, EventType},
    id::{AccountId, DeliveryId, EventId, SubscriptionId},
    options::Options,
    sealing::Sealed,
    subscription::{Health, Subscription},
    token::{AccessToken, TokenHash},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    reply::{Reply, malformed},
    scripts::Call,
};
pub(super) use crate::code::state_code;
use crate::{
    catalogue::SubscriptionStatus,
    code::{extra, options, patterns, scope, state_of, token_name, url},
    error::StoreError,
    history::DeliveryRecord,
};

fn event_type(text: &str) -> Result<EventType, StoreError> {
    text.parse().map_err(|_| malformed())
}

pub(super) fn timestamp(reply: &mut Reply) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_millis(reply.int()?))
}

pub(super) fn optional_timestamp(reply: &mut Reply) -> Result<Option<Timestamp>, StoreError> {
    Ok(reply.optional_int()?.map(Timestamp::from_millis))
}

/// A length of time as the scripts reckon with it.
pub(super) fn millis(duration: Duration) -> i64 {
    Timestamp::default().plus(duration).as_millis()
}

/// What the prelude's `account_row` gives.
pub(super) fn account(mut row: Reply) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId::from_bytes(row.array()?),
        user_id: row.text()?,
        user_email: row.optional_text()?,
        created_at: timestamp(&mut row)?,
    })
}

/// What the prelude's `token_row` gives.
pub(super) fn token(mut row: Reply) -> Result<AccessToken, StoreError> {
    Ok(AccessToken {
        name: token_name(&row.text()?)?,
        scope: scope(&row.text()?)?,
        created_at: timestamp(&mut row)?,
        expires_at: optional_timestamp(&mut row)?,
    })
}

/// A token as the scripts take it.
pub(super) fn add_token(call: &mut Call, account: AccountId, token: &AccessToken, hash: TokenHash) {
    call.arg(&account.to_bytes()[..])
        .arg(token.name.as_str())
        .arg(&hash.to_bytes()[..])
        .arg(token.scope.as_str())
        .arg(token.created_at.as_millis())
        .arg(or_empty(token.expires_at));
}

/// A time that may be none, as the scripts take it.
pub(super) fn or_empty(time: Option<Timestamp>) -> String {
    time.map_or(String::new(), |time| time.as_millis().to_string())
}

/// What the prelude's `status` gives.
pub(super) fn status(mut row: Reply) -> Result<SubscriptionStatus, StoreError> {
    let mut subscription = Subscription {
        id: SubscriptionId::from_bytes(row.array()?),
        account: AccountId::from_bytes(row.array()?),
        events: patterns(&row.text()?)?,
        url: url(row.text()?),
        options: row.optional_text()?.map_or(Ok(Options::default()), |text| options(&text))?,
        secrets: Sealed::from_bytes(row.bytes()?),
        is_active: row.flag()?,
        created_at: timestamp(&mut row)?,
        health: Health {
            failure_count: failures(&mut row)?,
            failing_since: optional_timestamp(&mut row)?,
            failed_at: optional_timestamp(&mut row)?,
            probe_at: optional_timestamp(&mut row)?,
            recovered_at: optional_timestamp(&mut row)?,
        },
        user_id: String::new(),
        version: 0,
    };
    let expired = row.optional_int()?.unwrap_or(0);
    subscription.user_id = row.text()?;
    subscription.version = row.natural()?;
    Ok(SubscriptionStatus { subscription, waiting: row.natural()?, expired: u64::try_from(expired).unwrap_or(0) })
}

/// A count of failures, which is kept only where there are some.
pub(super) fn failures(row: &mut Reply) -> Result<u32, StoreError> {
    Ok(row.optional_int()?.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX)))
}

/// An event without its payload.
pub(super) struct Head {
    md5: ContentMd5,
    time: Timestamp,
    /// How many deliveries it has.
    pub deliveries: u64,
    event_type: EventType,
}

impl Head {
    /// Reads what the prelude's `read_head` reads.
    pub(super) fn read(head: &[u8]) -> Result<Self, StoreError> {
        let (md5, rest) = head.split_first_chunk().ok_or_else(malformed)?;
        let rest = std::str::from_utf8(rest).map_err(|_| malformed())?;
        let parts: Vec<_> = rest.split(' ').collect();
        let [time, _first, deliveries, name] = parts[..] else { return Err(malformed()) };
        Ok(Self {
            md5: ContentMd5::from_bytes(*md5),
            time: Timestamp::from_millis(time.parse().map_err(|_| malformed())?),
            deliveries: deliveries.parse().map_err(|_| malformed())?,
            event_type: event_type(name)?,
        })
    }

    /// Reads the payload, the key and the extra that follow a head.
    pub(super) fn with_rest(self, id: EventId, rest: &mut Reply) -> Result<Event, StoreError> {
        let (payload, key, more) = (rest.text()?, rest.text()?, rest.text()?);
        Ok(Event {
            id,
            event_type: self.event_type,
            time: self.time,
            md5: self.md5,
            key: Some(key).filter(|key| !key.is_empty()),
            extra: extra(Some(more.as_str()).filter(|text| !text.is_empty()))?,
            payload: RawValue::from_string(payload).map_err(|_| malformed())?,
        })
    }
}

/// What the prelude's `record` gives, and its position.
pub(super) fn record(mut row: Reply) -> Result<(u64, DeliveryRecord), StoreError> {
    let position = row.natural()?;
    let mut record = DeliveryRecord {
        id: DeliveryId::from_position(timestamp(&mut row)?, position),
        event: EventId::from_bytes(row.array()?),
        event_type: row.text()?,
        subscription: SubscriptionId::from_bytes(row.array()?),
        user_id: row.text()?,
        url: url(row.text()?),
        is_active: row.flag()?,
        state: state_of(i16::try_from(row.int()?).map_err(|_| malformed())?)?,
        due_at: optional_timestamp(&mut row)?,
        probe_at: optional_timestamp(&mut row)?,
        attempts: Vec::new(),
    };
    let mut number = 0;
    while !row.is_empty() {
        number += 1;
        if let Some(attempt) = row.optional_bytes()? {
            record.attempts.push(read_attempt(number, &attempt)?);
        }
    }
    Ok((position, record))
}

/// An attempt as it is kept: as small as JSON can be, since there is one for nearly every delivery.
#[derive(Serialize, Deserialize)]
struct KeptAttempt(
    /// When it began (ms).
    i64,
    /// How long it took (ms).
    u32,
    /// The answer's HTTP status, or the stage at which the attempt failed.
    StatusOrFailure,
    /// The beginning of the answer's body, or more about the failure.
    String,
);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StatusOrFailure {
    Status(u16),
    Failure(String),
}

/// An attempt as JSON, without its number.
pub(super) fn attempt_json(attempt: &Attempt) -> Result<Vec<u8>, StoreError> {
    let (result, detail) = match &attempt.result {
        AttemptResult::Answered(answer) => (StatusOrFailure::Status(answer.status), &answer.excerpt),
        AttemptResult::Unanswered { failure, detail } => {
            (StatusOrFailure::Failure(failure.as_str().to_owned()), detail)
        }
    };
    serde_json::to_vec(&KeptAttempt(attempt.time.as_millis(), attempt.latency_ms, result, detail.clone()))
        .map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn read_attempt(number: u32, json: &[u8]) -> Result<Attempt, StoreError> {
    let KeptAttempt(time, latency_ms, result, detail) = serde_json::from_slice(json).map_err(|_| malformed())?;
    let result = match result {
        StatusOrFailure::Status(status) => {
            AttemptResult::Answered(Answer { status, excerpt: detail, retry_after: None })
        }
        StatusOrFailure::Failure(name) => {
            let failure = Failure::ALL.into_iter().find(|failure| failure.as_str() == name).ok_or_else(malformed)?;
            AttemptResult::Unanswered { failure, detail }
        }
    };
    Ok(Attempt { number, time: Timestamp::from_millis(time), latency_ms, result })
}
