//! Hookcast's own envelope.

use std::fmt::Write as _;

use crate::event::Event;

/// The members of the envelope that are the same for every event.
#[derive(Clone, Debug)]
pub struct Envelope {
    constant: String,
}

impl Envelope {
    /// An envelope that names its creator, its source and what it brings.
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

    /// `{"id","event","creator","source","description","time","payload"}`.
    pub fn wrap(&self, event: &Event) -> String {
        let (event_type, payload) = (event.event_type.as_str(), event.payload.get());
        let mut body = String::with_capacity(self.constant.len() + payload.len() + event_type.len() + 112);
        // An id, an event type and a time hold no character that JSON would escape. Writing to a String cannot fail.
        let _ = write!(
            body,
            r#"{{"id":"{}","event":"{event_type}{}{}","payload":{payload}}}"#,
            event.id, self.constant, event.time
        );
        body
    }
}
