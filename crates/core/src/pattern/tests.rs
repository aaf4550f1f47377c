use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> EventPattern {
    text.parse().unwrap()
}

fn event_type(text: &str) -> EventType {
    text.parse().unwrap()
}

fn matches(text: &str, of: &str) -> bool {
    pattern(text).matches(&event_type(of))
}

#[test]
fn a_star_is_any_run_of_characters() {
    for (text, of) in [
        ("relation_added", "relation_added"),
        ("*", "a"),
        ("relation_*", "relation_"),
        ("relation_*", "relation_added"),
        ("*_added", "relation_added"),
        ("a.*.c", "a.b.c"),
        ("a.*.c", "a.b.x.c"),
        ("a.*.c", "a..c"),
        ("a**c", "ac"),
        ("a*b*c", "abbc"),
        ("*ab*ab*", "abab"),
        ("*b", "ab.b"),
    ] {
        assert!(matches(text, of), "{text} {of}");
    }
    for (text, of) in [
        ("relation_added", "relation_added2"),
        ("relation_*", "relation"),
        ("a.*.c", "a.c"),
        ("a.*.c", "a.b.d"),
        ("ab*ba", "aba"),
        ("*ab*ab*", "aba"),
        ("a*b*c", "acb"),
        ("a", "A"),
    ] {
        assert!(!matches(text, of), "{text} {of}");
    }
}

#[test]
fn notices_go_to_those_who_ask_for_them() {
    for of in OWN_EVENT_TYPES {
        for text in ["subscription.*", of, "subscription.**"] {
            assert!(matches(text, of), "{text} {of}");
        }
        for text in ["*", "sub*", "subscription*", "*.failing", "*subscription.*"] {
            assert!(!matches(text, of), "{text} {of}");
        }
    }
    assert!(matches("sub*", "subscription.other"));
}

#[test]
fn what_is_no_pattern_is_named_with_the_rule() {
    let error = |text: &str| text.parse::<EventPatterns>().unwrap_err().to_string();
    assert_eq!(error("a,b c"), r#""b c" may only have letters, digits and `_ - . : / *`"#);
    assert_eq!(error(""), r#""" must have 1 to 256 characters"#);
    assert_eq!(error("a*********"), r#""a*********" may have at most 8 `*`"#);
    assert!(error(&"é".repeat(100_000)).ends_with("must have 1 to 256 characters"));
    assert!(error(&"x".repeat(100_000)).len() < 400);
    let many = (0..33).map(|n| format!("a{n}")).collect::<Vec<_>>();
    assert_eq!(error(&many.join(",")), "there must be 1 to 32 event types or patterns, and here are 33");
    assert_eq!(EventPatterns::from_texts::<&str>([]), Err(InvalidPatterns::Count(0)));
    assert!("x".repeat(256).parse::<EventPattern>().is_ok());
    assert!("********".parse::<EventPattern>().is_ok());
}

#[test]
fn patterns_are_sorted_and_without_doubles() {
    let patterns = EventPatterns::from_texts(["b", "a*", "b"]).unwrap();
    assert_eq!(patterns.to_string(), "a*,b");
    assert_eq!("b,a*".parse(), Ok(patterns.clone()));
    assert_eq!(serde_json::to_string(&patterns).unwrap(), r#"["a*","b"]"#);
    assert_eq!(serde_json::to_string(&EventPatterns::from(event_type("b"))).unwrap(), r#""b""#);
}

#[test]
fn a_lookup_does_not_examine_what_begins_otherwise() {
    let mut index = PatternIndex::default();
    for n in 0..100_000_u32 {
        let texts = [format!("type_{n}"), format!("prefix_{n}_*")];
        index.insert(n, &EventPatterns::from_texts(texts).unwrap());
        index.insert(n + 100_000, &EventPatterns::from_texts(["all_*"]).unwrap());
    }
    for (of, examined, wanted) in [
        ("type_77777", 1, vec![77_777]),
        ("prefix_1234_added", 1, vec![1_234]),
        ("prefix_none", 0, vec![]),
        ("all_events", 1, (100_000..200_000).collect()),
    ] {
        assert_eq!(index.candidates(&event_type(of)).count(), examined, "{of}");
        assert_eq!(index.matching(&event_type(of)), wanted, "{of}");
    }
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let patterns = EventPatterns::from_texts(["a", "a*", "a*b"]).unwrap();
    let mut index = PatternIndex::default();
    index.insert(1, &patterns);
    index.insert(2, &patterns);
    index.remove(1, &patterns);
    index.remove(1, &patterns);
    assert_eq!(index.matching(&event_type("a")), [2]);
    index.remove(2, &patterns);
    assert!(index.is_empty());
}

/// Whether the pattern matches, by trying everything that its first star may stand for.
fn matches_by_trial(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| matches_by_trial(rest, &text[skip..])),
        ([first, rest @ ..], [byte, tail @ ..]) => first == byte && matches_by_trial(rest, tail),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_is_what_trying_everything_finds(text in "[ab*]{1,8}", of in "[ab]{1,12}") {
        prop_assert_eq!(matches(&text, &of), matches_by_trial(text.as_bytes(), of.as_bytes()));
    }

    #[test]
    fn the_index_finds_whom_a_scan_finds(
        subscriptions in proptest::collection::vec(proptest::collection::vec("[ab*]{1,5}|sub[*]|subscription[.][*]", 1..5), 1..20),
        removed in 0..20_usize,
        of in "[ab]{1,6}|subscription[.]failing",
    ) {
        let mut kept: Vec<_> = subscriptions.iter().map(|texts| EventPatterns::from_texts(texts).unwrap()).enumerate().collect();
        let mut index = PatternIndex::default();
        for (id, patterns) in &kept {
            index.insert(*id, patterns);
        }
        for (id, patterns) in kept.split_off(removed.min(kept.len())) {
            index.remove(id, &patterns);
        }
        let of = event_type(&of);
        let scanned: Vec<_> = kept.iter().filter(|(_, patterns)| patterns.matches(&of)).map(|(id, _)| *id).collect();
        prop_assert_eq!(index.matching(&of), scanned);
    }

    #[test]
    fn the_text_of_patterns_is_read_back(texts in proptest::collection::vec("[a-c*]{1,6}", 1..32)) {
        let patterns = EventPatterns::from_texts(&texts).unwrap();
        prop_assert_eq!(patterns.to_string().parse(), Ok(patterns));
    }
}
