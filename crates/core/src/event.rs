//! Events: what producers post.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{canonical::ContentMd5, clock::Timestamp, id::EventId};

/// The most characters that an event type may have.
pub const EVENT_TYPE_MAX: usize = 256;

/// The most bytes that an event's key may have.
pub const EVENT_KEY_MAX: usize = 256;

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
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b);
        if (1..=EVENT_TYPE_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidEventType)
        }
    }
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
    /// Any JSON value.
    pub payload: Box<RawValue>,
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
