//! What a delivery's body and headers look like: one file for each format.
//!
//! Whatever the format, the payload's text is copied as the producer wrote it.

mod cloud_events;
mod hookcast;
mod standard;
#[cfg(test)]
mod tests;
mod uri_reference;

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::event::Event;
use cloud_events::CloudEvents;
use hookcast::Envelope;

/// The media type of JSON.
const JSON: &str = "application/json";

/// How an event is written into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Hookcast's own envelope: `{"id","event","creator","source","description","time","payload"}`.
    #[default]
    Hookcast,
    /// What Standard Webhooks 1.0.0 recommends under "Payload structure": `{"type","timestamp","data"}`.
    Standard,
    /// CloudEvents 1.0.2 in structured mode: a JSON object with the attributes and the payload as `data`.
    CloudEvents,
    /// CloudEvents 1.0.2 in binary mode: the attributes are headers, the payload is the body.
    CloudEventsBinary,
    /// The payload alone.
    Raw,
}

/// The text names no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `hookcast`, `standard`, `cloudevents`, `cloudevents-binary` or `raw`")]
pub struct UnknownFormat;

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Hookcast, Self::Standard, Self::CloudEvents, Self::CloudEventsBinary, Self::Raw];

    /// Its name, in the API and in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hookcast => "hookcast",
            Self::Standard => "standard",
            Self::CloudEvents => "cloudevents",
            Self::CloudEventsBinary => "cloudevents-binary",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What every delivery of an event carries in one format. Signatures are of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// Further headers. Names are in lower case, values are printable ASCII without spaces.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// One that has no headers of its own.
    fn plain(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { content_type, headers: Vec::new(), body: body.into() }
    }
}

/// Writes events in any format. It holds what is the same for all of them.
#[derive(Clone, Debug)]
pub struct Formatter {
    envelope: Envelope,
    cloud_events: CloudEvents,
}

impl Formatter {
    /// One for events that `creator` made, that come from `source` and bring what `description` says. None of the texts
    /// is empty. Only the envelope has all three; CloudEvents have the source, which is made a URI-reference if it is none.
    #[must_use]
    pub fn new(creator: &str, source: &str, description: &str) -> Self {
        Self { envelope: Envelope::new(creator, source, description), cloud_events: CloudEvents::new(source) }
    }

    /// What every delivery of `event` carries.
    #[must_use]
    pub fn message(&self, format: Format, event: &Event) -> Message {
        match format {
            Format::Hookcast => Message::plain(JSON, self.envelope.wrap(event)),
            Format::Standard => Message::plain(JSON, standard::body(event)),
            Format::CloudEvents => self.cloud_events.structured(event),
            Format::CloudEventsBinary => self.cloud_events.binary(event),
            Format::Raw => Message::plain(JSON, event.payload.get().to_owned()),
        }
    }
}
