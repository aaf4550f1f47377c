//! CloudEvents 1.0.2 over HTTP, in structured and in binary mode.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::{JSON, Message, uri_reference::uri_reference};
use crate::event::Event;

/// What a header's value must not hold as it is (HTTP protocol binding, section 3.1.3.2), besides what is not ASCII.
const NOT_IN_A_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The attributes that are the same for every event.
#[derive(Clone, Debug)]
pub struct CloudEvents {
    source: String,
    source_header: String,
}

impl CloudEvents {
    /// Events that come from `source`.
    pub fn new(source: &str) -> Self {
        let source = uri_reference(source);
        Self { source_header: header_value(&source), source }
    }

    /// All in the body (JSON event format, section 3). An ordering key is the partitioning extension's.
    pub fn structured(&self, event: &Event) -> Message {
        // None of these holds a character that JSON would escape; a URI-reference holds neither quotes nor backslashes.
        let partition_key = event.key.as_ref().map(|key| format!(r#","partitionkey":{}"#, Value::from(key.as_str())));
        let partition_key = partition_key.unwrap_or_default();
        let body = format!(
            r#"{{"specversion":"1.0","id":"{}","source":"{}","type":"{}","time":"{}","datacontenttype":"{JSON}"{},"data":{}}}"#,
            event.told_id(),
            self.source,
            event.event_type,
            event.told_time(),
            partition_key,
            event.payload.get()
        );
        Message::plain("application/cloudevents+json; charset=utf-8", body)
    }

    /// The attributes in headers, the data as the body (HTTP protocol binding, section 3.1). The data's type is that of
    /// the body, and has no header of its own.
    pub fn binary(&self, event: &Event) -> Message {
        // An id, an event type and a time hold no character that a header's value must not.
        let mut headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", event.told_id().to_string()),
            ("ce-source", self.source_header.clone()),
            ("ce-type", event.event_type.to_string()),
            ("ce-time", event.told_time().to_string()),
        ];
        if let Some(key) = &event.key {
            headers.push(("ce-partitionkey", header_value(key)));
        }
        Message { headers, ..Message::plain(JSON, event.payload.get().to_owned()) }
    }
}

/// An attribute's value as a header's.
fn header_value(value: &str) -> String {
    utf8_percent_encode(value, NOT_IN_A_HEADER).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headers_value_is_printable_ascii_without_spaces_quotes_and_percent_signs() {
        // The example of the specification.
        assert_eq!(header_value("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(header_value("50% of \"it\"\n"), "50%25%20of%20%22it%22%0A");
        assert_eq!(header_value("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"), "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~");
    }
}
