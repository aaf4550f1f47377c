//! What Standard Webhooks 1.0.0 recommends under "Payload structure".

use crate::event::Event;

/// `{"type","timestamp","data"}`. The event's id is in the `webhook-id` header.
pub fn body(event: &Event) -> String {
    // An event type and a time hold no character that JSON would escape.
    format!(r#"{{"type":"{}","timestamp":"{}","data":{}}}"#, event.event_type, event.told_time(), event.payload.get())
}
