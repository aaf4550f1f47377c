//! Events: what producers post.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
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
    /// Any JSON value.
    pub payload: Box<RawValue>,
}

/// The members of a delivery's body that are the same for every event; from the configuration.
#[derive(Clone, Debug)]
pub struct Envelope {
    constant: String,
}

impl Envelope {
    /// An envelope that names its creator, its source and what it brings.
    #[must_use]
    pub fn new(creator: &str, source: &str, description: &str) -> Self {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let constant = format!(
            r#"","creator":{},"source":{},"description":{},"time":""#,
            quote(creator),
            quote(source),
            quote(description)
        );
        Self { constant }
    }

    /// The body of every delivery of `event`: `{"id","event","creator","source","description","time","payload"}`.
    #[must_use]
    pub fn wrap(&self, event: &Event) -> Bytes {
        use fmt::Write as _;
        let payload = event.payload.get();
        let mut body = String::with_capacity(self.constant.len() + payload.len() + event.event_type.0.len() + 112);
        // An id, an event type and a time hold no character that JSON would escape. Writing to a String cannot fail.
        let _ = write!(
            body,
            r#"{{"id":"{}","event":"{}{}{}","payload":{payload}}}"#,
            event.id, event.event_type, self.constant, event.time
        );
        body.into()
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

    #[test]
    fn the_envelope_is_json_whatever_its_texts_are() {
        let event_type: EventType = "relation_added".parse().unwrap();
        let payload = RawValue::from_string(r#"{ "n": 1.0 }"#.into()).unwrap();
        let event = Event {
            id: EventId::new(Timestamp::from_millis(0), [1; 10]),
            md5: ContentMd5::of(event_type.as_str(), payload.get()).unwrap(),
            event_type,
            time: Timestamp::from_millis(1_769_860_800_000),
            key: None,
            payload,
        };
        let body = Envelope::new("a \"creator\"", "hook\\cast", "line\nbreak").wrap(&event);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["id"], event.id.to_string());
        assert_eq!(value["event"], "relation_added");
        assert_eq!(value["creator"], "a \"creator\"");
        assert_eq!(value["source"], "hook\\cast");
        assert_eq!(value["description"], "line\nbreak");
        assert_eq!(value["time"], "2026-01-31T12:00:00.000Z");
        assert!(String::from_utf8_lossy(&body).ends_with(r#""payload":{ "n": 1.0 }}"#));
    }
}
