//! The canonical form of whatever comes: never a panic, the same again, and of the same value.
#![no_main]

use hookcast_core::canonical::canonical_json;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, value::RawValue};

fuzz_target!(|text: &str| {
    let Ok(canonical) = canonical_json(text) else { return };
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "it took what is not JSON");
    assert_eq!(canonical_json(&canonical).as_deref(), Ok(canonical.as_str()));
    if let (Ok(before), Ok(after)) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&canonical)) {
        assert_eq!(before, after);
    }
});
