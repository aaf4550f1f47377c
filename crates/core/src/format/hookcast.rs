//! Hookcast's own envelope.

use std::fmt::Write as _;

use serde_json::Value;

use crate::event::Event;

/// The members of the envelope that are the same for every event.
#[derive(Clone, Debug)]
pub struct Envelope {
    constant: String,
}

impl Envelope {
    /// An envelope that names its creator, its source and what it brings.
    pub fn new(creator: &str, source: &str, description: &str) -> Self {
        let quote = |text: &str| Value::from(text).to_string();
        let constant = format!(
            r#"","creator":{},"source":{},"description":{},"time":""#,
            quote(creator),
            quote(source),
            quote(description)
        );
        Self { constant }
    }

    /// `{"id","event","creator","source","description","time","payload"}`, and `"key"` before the payload where there is one.
    pub fn wrap(&self, event: &Event) -> String {
        let (event_type, payload) = (event.event_type.as_str(), event.payload.get());
        let key = event.key.as_ref().map(|key| format!(r#","key":{}"#, Value::from(key.as_str()))).unwrap_or_default();
        let mut body = String::with_capacity(self.constant.len() + payload.len() + event_type.len() + key.len() + 112);
        // An id, an event type and a time hold no character that JSON would escape. Writing to a String cannot fail.
        let _ = write!(
            body,
            r#"{{"id":"{}","event":"{event_type}{}{}"{key},"payload":{payload}}}"#,
            event.told_id(),
            self.constant,
            event.told_time()
        );
        body
    }
}
