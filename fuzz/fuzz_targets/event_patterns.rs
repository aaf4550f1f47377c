//! Patterns of event types: never a panic, the same again as text, and as a plain search from every place says.
#![no_main]

use hookcast_core::{
    event::EventType,
    pattern::{EventPatterns, OWN_EVENT_TYPES, PATTERNS_MAX},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, event_type) = input;
    let Ok(patterns) = text.parse::<EventPatterns>() else { return };
    assert!(patterns.iter().count() <= PATTERNS_MAX);
    assert_eq!(patterns.to_string().parse(), Ok(patterns.clone()));
    let Ok(event_type) = event_type.parse::<EventType>() else { return };
    if !OWN_EVENT_TYPES.contains(&event_type.as_str()) {
        let expected = patterns.iter().any(|pattern| is_like(pattern.as_str().as_bytes(), event_type.as_str().as_bytes()));
        assert_eq!(patterns.matches(&event_type), expected, "{patterns} {event_type}");
    }
});

/// The pattern one byte at a time: for each length of the text's beginning, whether the pattern so far is like it.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let mut like: Vec<bool> = (0..=text.len()).map(|length| length == 0).collect();
    for byte in pattern {
        if *byte == b'*' {
            let first = like.iter().position(|is_like| *is_like).unwrap_or(like.len());
            like[first..].fill(true);
        } else {
            like = (0..=text.len()).map(|length| length > 0 && like[length - 1] && text[length - 1] == *byte).collect();
        }
    }
    like.last() == Some(&true)
}
