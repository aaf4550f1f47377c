//! What each event and each delivery costs outside of stores and networks: `make bench-micro`.

#![expect(clippy::expect_used, reason = "what is measured is fixed, and a benchmark has nobody to answer errors to")]

use std::fmt::Write as _;

use divan::{Bencher, black_box, counter::BytesCount};
use hookcast_core::{
    canonical::{ContentMd5, canonical_json},
    clock::Timestamp,
    event::{Event, EventType},
    format::{Format, Formatter},
    id::EventId,
    pattern::{EventPatterns, PatternIndex},
    signing::{Keyring, Scheme, Secret},
};
use serde_json::value::RawValue;

fn main() {
    divan::main();
}

/// The length of the large payload, about, and the small one's.
const SIZES: [usize; 2] = [500, 50_000];

const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);

/// A citation graph's news: members out of order, a few escapes, numbers, white space; about `size` bytes.
fn payload(size: usize) -> String {
    let mut json = String::from(r#"{"target": {"type": "doi", "id": "10.1234/zenodo.5678"}, "relations": ["#);
    let mut number = 0;
    while json.len() < size {
        let comma = if number == 0 { "" } else { ", " };
        let _ = write!(
            json,
            r#"{comma}{{"type": "cites", "source": "10.5281/zenodo.{number}", "title": "A \"study\" of caf\u00e9s\n", "year": {}}}"#,
            1_900 + number % 125
        );
        number += 1;
    }
    json + r#"], "count": 3.0}"#
}

fn event(size: usize) -> Event {
    let payload = payload(size);
    Event {
        id: EventId::new(NOW, [7; 10]),
        event_type: event_type("relation_added"),
        time: NOW,
        md5: ContentMd5::of("relation_added", &payload).expect("JSON"),
        key: None,
        extra: None,
        payload: RawValue::from_string(payload).expect("JSON"),
    }
}

fn event_type(text: &str) -> EventType {
    text.parse().expect("an event type")
}

mod content {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn canonical(bencher: Bencher<'_, '_>, size: usize) {
        let payload = payload(size);
        bencher.counter(BytesCount::of_str(&payload)).bench(|| canonical_json(black_box(&payload)));
    }

    #[divan::bench(args = SIZES)]
    fn canonical_and_md5(bencher: Bencher<'_, '_>, size: usize) {
        let payload = payload(size);
        bencher
            .counter(BytesCount::of_str(&payload))
            .bench(|| ContentMd5::of(black_box("relation_added"), black_box(&payload)));
    }
}

mod signing {
    use super::*;

    fn sign(bencher: Bencher<'_, '_>, scheme: Scheme, size: usize) {
        let keyring = Keyring::new(Secret::generate(scheme, [7; 32]));
        let body = payload(size);
        bencher
            .counter(BytesCount::of_str(&body))
            .bench(|| keyring.sign("evt_1", NOW.as_seconds(), black_box(body.as_bytes()), NOW));
    }

    #[divan::bench(args = SIZES)]
    fn hmac_sha256(bencher: Bencher<'_, '_>, size: usize) {
        sign(bencher, Scheme::HmacSha256, size);
    }

    #[divan::bench(args = SIZES)]
    fn ed25519(bencher: Bencher<'_, '_>, size: usize) {
        sign(bencher, Scheme::Ed25519, size);
    }
}

mod matching {
    use super::*;

    const SUBSCRIPTIONS: u32 = 100_000;

    /// An index in which a tenth of the subscriptions have a pattern, and a type is wanted by a hundred.
    fn index() -> PatternIndex<u32> {
        let mut index = PatternIndex::default();
        for subscription in 0..SUBSCRIPTIONS {
            let kind = subscription / 100;
            let text = if subscription % 10 == 0 { format!("type_{kind}.*") } else { format!("type_{kind}.added") };
            index.insert(subscription, &patterns(&text));
        }
        index
    }

    fn patterns(text: &str) -> EventPatterns {
        text.parse().expect("patterns")
    }

    #[divan::bench(args = ["type_500.added", "type_500.removed", "unheard_of"])]
    fn of_100_000(bencher: Bencher<'_, '_>, text: &str) {
        let (index, event_type) = (index(), event_type(text));
        bencher.bench(|| index.matching(black_box(&event_type)));
    }

    #[divan::bench]
    fn one_comes_and_goes(bencher: Bencher<'_, '_>) {
        let (mut index, patterns) = (index(), patterns("type_500.*"));
        bencher.bench_local(|| {
            index.insert(SUBSCRIPTIONS, black_box(&patterns));
            index.remove(SUBSCRIPTIONS, black_box(&patterns));
        });
    }
}

mod message {
    use super::*;

    #[divan::bench(args = [Format::Hookcast, Format::Standard, Format::CloudEvents, Format::CloudEventsBinary, Format::Raw])]
    fn of_500_bytes(bencher: Bencher<'_, '_>, format: Format) {
        let formatter = Formatter::new("https://creator.example", "https://source.example", "relations of works");
        let event = event(500);
        bencher.bench(|| formatter.message(black_box(format), black_box(&event)));
    }
}
