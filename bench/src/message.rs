//! The bytes that travel: the trigger's body, and the callback's as Hookcast makes it.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;

/// The event type of all that is sent, unless there are to be several.
pub const EVENT: &str = "relation_added";

const SENT: &[u8] = br#""sent_ns":"#;

/// A payload of about 300 bytes, which tells when it was sent.
///
/// The time stands at the end, where [`sent_ns`] looks first.
pub fn payload(sequence: u64, sent_ns: u64) -> String {
    format!(
        concat!(
            r#"{{"link":{{"relationship":"IsSupplementedBy","source":{{"id":"10.5072/bench.{:010}","type":"publication","#,
            r#""title":"On the delivery of small messages to many receivers"}},"target":{{"id":"10.5072/data.{:010}","#,
            r#""type":"dataset","publisher":"The Archive"}}}},"license":"https://creativecommons.org/publicdomain/zero/1.0/","#,
            r#""sent_ns":{}}}"#
        ),
        sequence, sequence, sent_ns
    )
}

/// When the payload in `body` was sent.
pub fn sent_ns(body: &[u8]) -> Option<u64> {
    let start = body.windows(SENT.len()).rposition(|window| window == SENT)? + SENT.len();
    let digits = body[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|digit| u64::from(digit - b'0')).try_fold(0, |sum: u64, digit| sum.checked_mul(10)?.checked_add(digit))
}

/// The name of the event that is counted as `sequence` among events of so many `types`.
pub fn event(types: u64, sequence: u64) -> Cow<'static, str> {
    if types <= 1 { EVENT.into() } else { format!("{EVENT}.{}", sequence % types).into() }
}

/// The body of a trigger: one event as an object, several as an array. `event` names each by its number.
pub fn trigger<'a>(first: u64, events: u64, sent_ns: u64, event: impl Fn(u64) -> Cow<'a, str>) -> Bytes {
    let mut body = String::new();
    for sequence in first..first + events {
        body.push(if sequence == first { '[' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(body, r#"{{"event":"{}","payload":{}}}"#, event(sequence), payload(sequence, sent_ns));
    }
    if events == 1 { body.split_off(1).into() } else { (body + "]").into() }
}

/// The body of a callback, as Hookcast makes it.
pub fn callback(id: &str, payload: &str) -> Bytes {
    format!(
        concat!(
            r#"{{"id":"{}","event":"{}","creator":"hookcast","source":"hookcast","description":"hookcast events","#,
            r#""time":"2026-01-31T12:00:00.000Z","payload":{}}}"#
        ),
        id, EVENT, payload
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &[u8]) -> serde_json::Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn payloads_have_about_300_bytes_and_tell_when_they_were_sent() {
        let payload = payload(7, 1_769_860_800_123_456_789);
        assert!((280..=380).contains(&payload.len()), "{}", payload.len());
        assert_eq!(json(payload.as_bytes())["sent_ns"], 1_769_860_800_123_456_789_u64);
        assert_eq!(sent_ns(&callback("evt_1", &payload)), Some(1_769_860_800_123_456_789));
        assert_eq!(sent_ns(b"{}"), None);
    }

    #[test]
    fn several_types_take_turns() {
        assert_eq!(event(1, 7), EVENT);
        let body = json(&trigger(9, 2, 5, |sequence| event(10, sequence)));
        assert_eq!((&body[0]["event"], &body[1]["event"]), (&"relation_added.9".into(), &"relation_added.0".into()));
    }

    #[test]
    fn one_event_is_an_object_and_several_are_an_array() {
        assert_eq!(json(&trigger(3, 1, 5, |_| EVENT.into()))["payload"]["sent_ns"], 5);
        assert_eq!(json(&trigger(3, 2, 5, |_| EVENT.into()))[1]["event"], EVENT);
        assert_eq!(json(&callback("evt_1", &payload(1, 2)))["id"], "evt_1");
    }
}
