//! Filters over events: never a panic, the same verdict again, and never more work than so many steps for each byte of both.
#![no_main]

use hookcast_core::{
    canonical::ContentMd5,
    clock::Timestamp,
    event::Event,
    filter::{FILTER_MAX, Filter, event_value},
    id::EventId,
};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|input: (&str, &str)| {
    let (query, payload) = input;
    let Ok(filter) = query.parse::<Filter>() else { return };
    assert!(query.len() <= FILTER_MAX, "a filter beyond its bound");
    assert_eq!(filter.as_str(), query);
    let Some(event) = event(payload) else { return };
    let Ok(value) = event_value(&event) else { return };
    let wanted = filter.matches(&value);
    let again: Filter = filter.to_string().parse().expect("what was a filter is one");
    assert_eq!(again.matches(&value), wanted);
});

fn event(payload: &str) -> Option<Event> {
    let md5 = ContentMd5::of("a", payload).ok()?;
    let payload = RawValue::from_string(payload.to_owned()).ok()?;
    let time = Timestamp::from_millis(1_800_000_000_000);
    Some(Event { id: EventId::new(time, [7; 10]), event_type: "a".parse().ok()?, time, md5, key: None, extra: None, payload })
}
