mod cost;
mod reference;

use serde_json::{json, value::RawValue};

use super::*;
use crate::{canonical::ContentMd5, clock::Timestamp, id::EventId};

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<Filter>().unwrap_err().to_string()
}

fn event(payload: &str) -> Event {
    let event_type: crate::event::EventType = "relation_added".parse().unwrap();
    Event {
        id: EventId::new(Timestamp::from_millis(0), [1; 10]),
        md5: ContentMd5::of(event_type.as_str(), payload).unwrap(),
        event_type,
        time: Timestamp::from_millis(1_769_860_800_000),
        extra: None,
        key: None,
        payload: RawValue::from_string(payload.into()).unwrap(),
    }
}

#[test]
fn an_event_is_an_object_of_its_parts() {
    let mut event = event(r#"{"n":1.50}"#);
    let id = event.id.to_string();
    let time = "2026-01-31T12:00:00.000Z";
    let expected = json!({"id": id, "event": "relation_added", "time": time, "payload": {"n": 1.5}});
    assert_eq!(event_value(&event).unwrap(), expected);
    assert!(!filter("$.key").matches(&expected));
    event.key = Some("k".into());
    assert!(filter("$[?$.key == 'k']").matches(&event_value(&event).unwrap()));
}

#[test]
fn what_few_programs_can_read_is_not_filtered() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(event_value(&event(&nested(127))).is_ok());
    assert!(event_value(&event(&nested(128))).is_err());
    assert!(event_value(&event(r#"{"n":1e999}"#)).is_err());
}

#[test]
fn a_filter_is_its_text() {
    let text = "$.payload[?@.RelationshipType.Name == 'References']";
    let references = filter(text);
    assert_eq!(references.to_string(), text);
    assert_eq!(format!("{references:?}"), format!("{text:?}"));
    assert_eq!(references, filter(text));
    assert_ne!(filter("$.a"), filter("$['a']"));
    let is_wanted = |name: &str| {
        let payload = json!([{"RelationshipType": {"Name": "Other"}}, {"RelationshipType": {"Name": name}}]);
        references.matches(&event_value(&event(&payload.to_string())).unwrap())
    };
    assert!(is_wanted("References"));
    assert!(!is_wanted("references"));
}

#[test]
fn comparisons_are_as_the_rfc_has_them() {
    // Section 2.3.5.3, with the query's parts as an object's members, so that `$` and `@` are what they are there.
    let event = json!({"t": [0], "obj": {"x": "y"}, "arr": [2, 3], "n": 1, "big": 9_007_199_254_740_993_i64});
    let holds = |test: &str| filter(&format!("$.t[?{test}]")).matches(&event);
    for test in [
        "@.absent1 == @.absent2",
        "@.absent1 <= @.absent2",
        "@.absent == $.absent",
        "$.obj != 'x'",
        "$.absent != 'g'",
        "1 <= 2",
        "'a' <= 'b'",
        "'a' < 'á'",
        "@ == 0.0",
        "@ == -0",
        "1 == 1e0",
        "true <= true",
        "null == null",
        "!($.obj == 'x')",
        "@ || @.a && @.b",
        "(@ || @.a) && !@.b",
        "$.n == 1.0",
        "$.big > 9007199254740992",
        "$.n",
        "@ < 1 && 1 > @ && 1 >= @",
        "$.arr[-1] == 3 && $.arr[-2] == 2 && $.arr[-3] == @.absent",
    ] {
        assert!(holds(test), "{test}");
    }
    for test in [
        "@.absent == 'g'",
        "@.absent < @.absent2",
        "1 > 2",
        "13 == '13'",
        "false == true",
        "true > false",
        "$.obj >= 'x'",
        "true < true",
        "'a' > 'b'",
        "$.obj < 1",
        "true <= false",
        "(@ || @.a) && @.b",
        "!@",
    ] {
        assert!(!holds(test), "{test}");
    }
}

#[test]
fn lists_and_objects_are_equal_by_what_is_in_them() {
    let event = json!({"want": {"a": [1, 2.0], "b": null}, "list": [{"b": null, "a": [1.0, 2]}]});
    assert!(filter("$.list[?@ == $.want]").matches(&event));
    assert!(filter("$.list[?@.a == $.want.a]").matches(&event));
    assert!(!filter("$.list[?@.a == $.want]").matches(&event));
    assert!(filter("$.list[?@.a == @['a']]").matches(&event));
}

#[test]
fn functions_are_as_the_rfc_has_them() {
    let event = json!({"list": [{"a": "xyz", "b": [1, 2], "c": {"d": 1}, "n": 5}]});
    let holds = |test: &str| filter(&format!("$.list[?{test}]")).matches(&event);
    for test in [
        "length(@) == 4",
        "length(@.a) == 3",
        "length('é𝄞') == 2",
        "length(@.b) == 2",
        "length(@.n) == @.absent",
        "length(value(@.b)) == 2",
        "count(@.*) == 4",
        "count(@.b[*]) == 2",
        "count(@..*) == 7",
        "value(@..d) == 1",
        "value(@.*) == @.absent",
        "match(@.a, 'x.z')",
        "match(@.a, 'x|xyz')",
        "search(@.a, 'y')",
        "search(@.a, '^x')",
        "search(@.a, '[x-y]{2}')",
        "match(@.a, '\\\\p{Ll}+')",
        "!match(@.a, 'y')",
        "!match(@.n, '5')",
        "!match(@.a, 'xy')",
    ] {
        assert!(holds(test), "{test}");
    }
}

#[test]
fn a_dot_in_a_pattern_is_no_end_of_line() {
    for (text, expected) in [("a\nb", false), ("a\rb", false), ("a b", true), ("a\u{2028}b", true)] {
        assert_eq!(filter("$[?match(@, 'a.b')]").matches(&json!([text])), expected, "{text:?}");
    }
}

#[test]
fn a_pattern_is_searched_as_a_whole() {
    let holds = |test: &str| filter(&format!("$[?{test}]")).matches(&json!(["abc"]));
    assert!(!holds("match(@, 'a|c')"));
    assert!(!holds("match(@, 'b')"));
    assert!(!holds("match(@, '')"));
    assert!(holds("search(@, '')"));
    assert!(holds("match(@, 'a|ab|abc')"));
}

#[test]
fn patterns_are_what_all_programs_know() {
    for pattern in [r"\\d", r"\\w+", r"\\b", "(?i)a", r"[\\s]", r"a\\", "a(?:b)"] {
        let problem = format!("$[?match(@, '{pattern}')]").parse::<Filter>().unwrap_err().problem;
        assert_eq!(problem, Problem::Pattern, "{pattern}");
    }
    for (pattern, text) in [(r"[0-9]{2}\\.x\\(?", "42.x("), ("[(?]+", "?("), (r"[\\]]", "]"), (r"\\P{L}", "4")] {
        assert!(filter(&format!("$[?match(@, '{pattern}')]")).matches(&json!([text])), "{pattern}");
    }
}

#[test]
fn escapes_are_characters() {
    let event = json!({"é\n": 1, "𝄞'": 2, "\"\\/": 3});
    for text in [r"$['\u00e9\n']", r"$['\uD834\uDD1E\'']", r#"$["\uD834\udd1e'"]"#, r#"$['"\\\/']"#, "$['é\\u000A']"] {
        assert!(filter(text).matches(&event), "{text}");
    }
    assert!(filter("$.é").matches(&json!({"é": null})));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("", "at character 1: expected `$`"),
        ("a", "at character 1: expected `$`"),
        (" $", "at character 1: expected `$`"),
        ("$ ", "at character 2: expected `.`, `..`, `[` or the end"),
        ("$.é ü", "at character 4: expected `.`, `..`, `[` or the end"),
        ("$.", "at character 3: expected a name or `*`"),
        ("$.1", "at character 3: expected a name or `*`"),
        ("$..", "at character 4: expected a name, `*` or `[`"),
        ("$[", "at character 3: expected a name in quotes, an index, a slice, `*` or `?`"),
        ("$[a]", "at character 3: expected a name in quotes, an index, a slice, `*` or `?`"),
        ("$['a'", "at character 6: expected `,` or `]`"),
        ("$['a", "at character 5: expected the quote that ends this text"),
        ("$['\\x']", "at character 4: expected an escape such as `\\n`, `\\\\` or `\\u00e9`"),
        ("$['\\ud800']", "at character 4: expected a character, not half a surrogate pair"),
        ("$['\\u12é4']", "at character 4: expected `\\u` and four hexadecimal digits"),
        ("$[01]", "at character 3: expected an integer without leading zeros"),
        ("$[-0]", "at character 3: expected an integer without leading zeros"),
        ("$[9007199254740992]", "at character 3: expected an integer between -2^53 and 2^53"),
        ("$[?@.a = 1]", "at character 8: expected `==`, `!=`, `<`, `<=`, `>` or `>=`"),
        ("$[?@.a == ]", "at character 11: expected `@`, `$`, a literal, a function, `!` or `(`"),
        ("$[?@.a == 1e999]", "at character 11: expected a number that a double can hold"),
        ("$[?@.a == 1.]", "at character 13: expected a digit"),
        ("$[?1]", "at character 5: expected `==`, `!=`, `<`, `<=`, `>` or `>=`"),
        ("$[?length(@)]", "at character 13: expected `==`, `!=`, `<`, `<=`, `>` or `>=`"),
        ("$[?(@.a]", "at character 8: expected a comparison, `&&`, `||` or `)`"),
        ("$[?@.a & @.b]", "at character 8: expected a comparison, `&&`, `||`, `,` or `]`"),
        ("$[?!@.a == 1]", "at character 4: expected `(` after `!`, since a comparison follows"),
        (
            "$[?size(@) == 1]",
            "at character 4: there is no such function; there are length(), count(), value(), match() and search()",
        ),
        ("$[?count('a') == 1]", "at character 10: expected a query that begins with `@`"),
        ("$[?match(@.a)]", "at character 13: expected `,`"),
        ("$[?match(@.a, @.b)]", "at character 15: expected a regular expression in quotes"),
        (
            "$[?match(@.a, '(')]",
            "at character 15: this is no regular expression of RFC 9485, which has classes such as `[0-9]` and `\\p{L}` but no `\\d`, `\\w` or `(?i)`",
        ),
        (
            "$[?match(@.a, 'a') == true]",
            "at character 4: match() and search() are true or false by themselves and cannot be compared",
        ),
        (
            "$[?@.* == 1]",
            "at character 4: only a query that leads to one value, by names and indices alone, can be compared or be an argument here",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn whatever_is_cut_off_is_refused_without_a_panic() {
    let text = r#"$..['a\u00e9', -1:2:3][?!(@.é <= -1.5e-3 || match(@["x"], 'y')) && length(@.z) != null]"#;
    filter(text);
    for (end, _) in text.char_indices() {
        let begins = &text[..end];
        let is_whole = ["$", r"$..['a\u00e9', -1:2:3]"].contains(&begins);
        assert_eq!(begins.parse::<Filter>().is_ok(), is_whole, "{begins}");
    }
}
