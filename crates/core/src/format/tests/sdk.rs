//! CloudEvents as their own SDK for Python reads them. The one for Rust needs chrono, which `deny.toml` bans.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use super::*;

/// What the SDK makes of messages.
fn read(messages: &[Message]) -> Vec<Value> {
    let python = env::var_os("HOOKCAST_TEST_CLOUDEVENTS").expect("this test is run by `make cloudevents`");
    let mut command = Command::new(python);
    let mut child =
        command.args(["-c", include_str!("sdk.py")]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for message in messages {
        let headers: serde_json::Map<_, _> = header_map(message)
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
            .collect();
        let body = std::str::from_utf8(&message.body).unwrap();
        writeln!(input, "{}", json!({"headers": headers, "body": body})).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Both modes of each event say the same, and all of it. The pairs are of a source and an event.
fn assert_read_back(events: &[(String, Event)]) {
    for format in [Format::CloudEvents, Format::CloudEventsBinary] {
        let messages: Vec<_> = events.iter().map(|(source, event)| formatter(source).message(format, event)).collect();
        let read = read(&messages);
        assert_eq!(read.len(), events.len());
        for ((source, event), mut read) in events.iter().zip(read) {
            let time = read["attributes"]["time"].take();
            assert_eq!(Timestamp::parse(time.as_str().unwrap()), Some(event.time));
            let attributes = json!({
                "specversion": "1.0",
                "id": event.id,
                "source": uri_reference::uri_reference(source),
                "type": event.event_type,
                "time": null,
                "datacontenttype": "application/json",
            });
            assert_eq!(read["attributes"], attributes, "{format}");
            assert_eq!(read["data"], serde_json::from_str::<Value>(event.payload.get()).unwrap(), "{format}");
        }
    }
}

#[test]
#[ignore = "needs the SDK: make cloudevents"]
fn the_sdk_reads_payloads_of_any_kind() {
    let payloads = [r#"{"a":[1,2.5,"é",null]}"#, "[]", "\"text\"", "17", "true", "null"];
    let source = "https://hookcast.example/my%20feed?a=b#c".to_owned();
    assert_read_back(&payloads.map(|payload| (source.clone(), event("com.example/relation:added", payload))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    #[ignore = "needs the SDK: make cloudevents"]
    fn the_sdk_reads_any_event(
        events in prop::collection::vec((sources(), event_types(), payloads()), 64),
    ) {
        let events: Vec<_> = events
            .into_iter()
            .map(|(source, event_type, payload)| (source, event(&event_type, &payload)))
            .collect();
        assert_read_back(&events);
    }
}
