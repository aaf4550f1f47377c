//! Each format to the letter, and what holds for all of them.

mod sdk;

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::{canonical::ContentMd5, clock::Timestamp, id::EventId};

const MILLIS: i64 = 1_769_860_800_000;
const TIME: &str = "2026-01-31T12:00:00.000Z";

fn event(event_type: &str, payload: &str) -> Event {
    let event_type: crate::event::EventType = event_type.parse().unwrap();
    Event {
        id: EventId::new(Timestamp::from_millis(MILLIS), [1; 10]),
        md5: ContentMd5::of(event_type.as_str(), payload).unwrap(),
        event_type,
        time: Timestamp::from_millis(MILLIS),
        extra: None,
        key: None,
        payload: RawValue::from_string(payload.into()).unwrap(),
    }
}

fn formatter(source: &str) -> Formatter {
    Formatter::new("the \"creator\"", source, "line\nbreak")
}

/// The message of an event whose payload would change if it were parsed and written again.
fn message(format: Format) -> (Event, Message) {
    let event = event("relation_added", r#"{ "n": 1.0, "n": "\u00e9" }"#);
    let message = formatter("hook\\cast").message(format, &event);
    (event, message)
}

#[test]
fn names_are_read_as_they_are_written() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert_eq!(serde_json::from_value::<Format>(json!(format)).unwrap(), format);
        assert!(UnknownFormat.to_string().contains(&format!("`{format}`")));
    }
    assert_eq!(json!(Format::CloudEventsBinary), "cloudevents-binary");
    assert_eq!(Format::default().to_string(), "hookcast");
    assert_eq!("Raw".parse::<Format>(), Err(UnknownFormat));
    let error = serde_json::from_str::<Format>(r#""xml""#).unwrap_err().to_string();
    assert!(error.contains(&UnknownFormat.to_string()), "{error}");
}

#[test]
fn hookcast() {
    let (event, message) = message(Format::Hookcast);
    let body = format!(
        r#"{{"id":"{}","event":"relation_added","creator":"the \"creator\"","source":"hook\\cast","description":"line\nbreak","time":"{TIME}","payload":{{ "n": 1.0, "n": "\u00e9" }}}}"#,
        event.id
    );
    assert_eq!(message, Message::plain("application/json", body));
}

#[test]
fn standard() {
    let (_, message) = message(Format::Standard);
    let body = format!(r#"{{"type":"relation_added","timestamp":"{TIME}","data":{{ "n": 1.0, "n": "\u00e9" }}}}"#);
    assert_eq!(message, Message::plain("application/json", body));
}

#[test]
fn cloud_events_in_structured_mode() {
    let (event, message) = message(Format::CloudEvents);
    let body = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"hook%5Ccast","type":"relation_added","time":"{TIME}","datacontenttype":"application/json","data":{{ "n": 1.0, "n": "\u00e9" }}}}"#,
        event.id
    );
    assert_eq!(message, Message::plain("application/cloudevents+json; charset=utf-8", body));
}

#[test]
fn cloud_events_in_binary_mode() {
    let (event, message) = message(Format::CloudEventsBinary);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", &event.id.to_string()),
        ("ce-source", "hook%255Ccast"),
        ("ce-type", "relation_added"),
        ("ce-time", TIME),
    ];
    assert_eq!(message.headers, headers.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(message.content_type, "application/json");
    assert_eq!(message.body, r#"{ "n": 1.0, "n": "\u00e9" }"#);
}

#[test]
fn raw() {
    let (_, message) = message(Format::Raw);
    assert_eq!(message, Message::plain("application/json", r#"{ "n": 1.0, "n": "\u00e9" }"#));
}

/// What a receiver's HTTP library makes of the message's headers.
fn header_map(message: &Message) -> HeaderMap {
    let own = message.headers.iter().map(|(name, value)| (*name, HeaderValue::try_from(value).unwrap()));
    let mut map: HeaderMap = own.map(|(name, value)| (HeaderName::from_static(name), value)).collect();
    map.insert(CONTENT_TYPE, HeaderValue::from_static(message.content_type));
    map
}

fn payloads() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, pretty)| if pretty { format!("{value:#}") } else { value.to_string() })
}

fn sources() -> impl Strategy<Value = String> {
    "(?s).{1,20}"
}

fn event_types() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:/-]{1,256}"
}

proptest! {
    #[test]
    fn bodies_are_json_that_holds_the_payload_as_it_was(
        payload in payloads(), event_type in event_types(), source in sources(),
    ) {
        let event = event(&event_type, &payload);
        for format in Format::ALL {
            let message = formatter(&source).message(format, &event);
            let value: Value = serde_json::from_slice(&message.body).unwrap();
            let (data, named) = match format {
                Format::Hookcast => (&value["payload"], &value["event"]),
                Format::Standard | Format::CloudEvents => (&value["data"], &value["type"]),
                Format::CloudEventsBinary | Format::Raw => (&value, &json!(event_type)),
            };
            prop_assert_eq!(data, &serde_json::from_str::<Value>(&payload).unwrap());
            prop_assert_eq!(named, &json!(event_type));
            prop_assert!(std::str::from_utf8(&message.body).unwrap().contains(&payload));
        }
    }

    #[test]
    fn headers_hold_what_the_body_would(event_type in event_types(), source in sources()) {
        let event = event(&event_type, "{}");
        let formatter = formatter(&source);
        let structured: Value = serde_json::from_slice(&formatter.message(Format::CloudEvents, &event).body).unwrap();
        let binary = formatter.message(Format::CloudEventsBinary, &event);
        prop_assert_eq!(binary.headers.len(), 5);
        prop_assert_eq!(header_map(&binary).len(), 6);
        for (name, value) in &binary.headers {
            prop_assert!(value.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"'), "{name}: {value}");
            let decoded = percent_decode_str(value).decode_utf8().unwrap();
            prop_assert_eq!(&structured[&name["ce-".len()..]], &json!(decoded));
        }
    }
}

#[test]
fn an_ordering_key_is_told_where_there_is_one() {
    let event = Event { key: Some("a \"key\"".into()), ..event("relation_added", "{}") };
    let formatter = formatter("ADS");
    let json = |format| -> Value { serde_json::from_slice(&formatter.message(format, &event).body).unwrap() };
    assert_eq!(json(Format::Hookcast)["key"], "a \"key\"");
    assert_eq!(json(Format::CloudEvents)["partitionkey"], "a \"key\"");
    let headers = formatter.message(Format::CloudEventsBinary, &event).headers;
    assert!(headers.contains(&("ce-partitionkey", "a%20%22key%22".to_owned())));
}
