//! Events: what producers post.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{
    canonical::ContentMd5,
    clock::Timestamp,
    id::{AccountId, EventId},
};

/// The most characters that an event type may have.
pub const EVENT_TYPE_MAX: usize = 256;

/// The most bytes that an event's key may have.
pub const EVENT_KEY_MAX: usize = 256;

/// The most bytes of a producer's own id of an event.
pub const SOURCE_ID_MAX: usize = 256;

/// What kind of event it is, such as `relation_added`: 1 to 256 characters of letters, digits and `_ - . : /`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Arc<str>);

/// The text is no event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {EVENT_TYPE_MAX} characters, each a letter, a digit or one of `_ - . : /`")]
pub struct InvalidEventType;

impl EventType {
    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        if (1..=EVENT_TYPE_MAX).contains(&text.len()) && text.bytes().all(is_type_byte) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEventType)
        }
    }
}

/// Whether an event type may have it.
pub(crate) fn is_type_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte)
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Something that happened, as it is stored. The payload's text is kept as the producer wrote it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id, also the `webhook-id` of every delivery of it.
    pub id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// When it was accepted.
    pub time: Timestamp,
    /// The md5 of its canonical content.
    pub md5: ContentMd5,
    /// Events with the same key reach subscriptions that want it so one after the other.
    pub key: Option<String>,
    /// What few events have.
    pub extra: Option<Box<Extra>>,
    /// Any JSON value.
    pub payload: Box<RawValue>,
}

/// What few events have, as stores keep it: JSON, in which what an event has not does not appear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// The producer's own id of it, by which it can be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Only this account's subscriptions get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// It is not sent before this time. In ms where it is kept, so that stores can compare it.
    #[serde(skip_serializing_if = "Option::is_none", with = "millis")]
    pub deliver_at: Option<Timestamp>,
    /// It is this earlier event once more, and told under its id and time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<EventId>,
    /// When its producer cancelled it: from then on it is not sent again. In ms, too.
    #[serde(skip_serializing_if = "Option::is_none", with = "millis")]
    pub cancelled_at: Option<Timestamp>,
}

impl Extra {
    /// It, unless it says nothing.
    #[must_use]
    pub fn unless_empty(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

mod millis {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::clock::Timestamp;

    #[expect(clippy::ref_option, reason = "serde wants it so")]
    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::as_millis).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_millis))
    }
}

impl Event {
    /// When its producer cancelled it, if so.
    #[must_use]
    pub fn cancelled_at(&self) -> Option<Timestamp> {
        self.extra.as_ref().and_then(|extra| extra.cancelled_at)
    }

    /// Before this time its deliveries are not due.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        self.extra.as_ref().and_then(|extra| extra.deliver_at).map_or(self.time, |deliver_at| deliver_at.max(self.time))
    }

    /// The account that alone gets it, if it is for one.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        self.extra.as_ref().and_then(|extra| extra.account)
    }

    /// The producer's own id of it.
    #[must_use]
    pub fn source_id(&self) -> Option<&str> {
        self.extra.as_ref().and_then(|extra| extra.source_id.as_deref())
    }

    /// The id under which it is told: what came before comes again under its first id.
    #[must_use]
    pub fn told_id(&self) -> EventId {
        self.extra.as_ref().and_then(|extra| extra.replay_of).unwrap_or(self.id)
    }

    /// The time at which it is told to have happened.
    #[must_use]
    pub fn told_time(&self) -> Timestamp {
        self.extra.as_ref().and_then(|extra| extra.replay_of).map_or(self.time, EventId::time)
    }

    /// What makes it the same as another one: its content, and for whom it is.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        match self.account() {
            None => self.md5.to_bytes(),
            Some(account) => self.md5.with(&account.to_bytes()).to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_have_few_characters() {
        assert!("relation_added".parse::<EventType>().is_ok());
        assert!("a.b-c:d/E9".parse::<EventType>().is_ok());
        assert!("x".repeat(256).parse::<EventType>().is_ok());
        for bad in ["", "a b", "é", "a*", "a\n", &"x".repeat(257)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?}");
        }
    }
}
