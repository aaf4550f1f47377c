//! Filters agree with another implementation of RFC 9535.

use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::*;

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "'[abc]'",
        "-?[1-3]|0",
        "(-?[1-3])?:(-?[1-3])?",
        "(-?[1-3])? ?: ?(-?[1-3])?:(-?[1-3]|0)?",
    ]
}

/// Without negative indices, which lead the reference nowhere in comparisons.
fn singular() -> impl Strategy<Value = String> {
    "(@|@|@|[$])([.][abc]|\\['[abc]'\\]|\\[[01]\\]){0,2}"
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => singular(),
        2 => prop::sample::select(vec!["1", "0", "1.0", "'a'", "\"ab\"", "true", "null", "-1"]).prop_map(str::to_owned),
        1 => "(length|value)\\(@([.][abc]){0,1}\\)|count\\(@[.]\\*\\)|count\\(@[.][.]\\*\\)",
    ]
}

fn test(segments: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = String> {
    let compared = (value(), prop::sample::select(vec!["==", "!="]), value());
    // The reference orders what has no order (`true > false`), and Nothing is not at most Nothing to it, against 2.3.5.2.2.
    let ordered =
        (value(), prop::sample::select(vec!["<", "<=", ">", ">="]), prop::sample::select(vec!["1", "0.5", "'a'"]));
    let leaf = prop_oneof![
        4 => compared.prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        2 => ordered.prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        1 => "(match|search)\\(@([.][abc])?, '[ab.]{1,2}[*]?'\\)",
        2 => segments.prop_map(|segments| format!("@{segments}")),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|test| format!("!({test})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left}&&{right}")),
            (inner.clone(), inner).prop_map(|(left, right)| format!("({left} || {right})")),
        ]
    })
}

fn segments() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        3 => "[.][abc]|[.]\\*|[.][.][abc]|[.][.]\\*",
        2 => vec(selector(), 1..3).prop_map(|selectors| format!("[{}]", selectors.join(", "))),
        1 => selector().prop_map(|selector| format!("..[{selector}]")),
    ];
    let plain = vec(plain, 0..3).prop_map(|segments| segments.concat()).boxed();
    plain.prop_recursive(2, 6, 2, |inner| {
        let tested = (inner.clone(), test(inner.clone().boxed()), inner);
        tested.prop_map(|(before, test, after)| format!("{before}[?{test}]{after}"))
    })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1..3).prop_map(Value::from),
        Just(Value::from(1.0)),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec(("[abc]", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn is_limit(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::Costly
            | Problem::Nested
            | Problem::SecondDescent
            | Problem::SeveralFromRoot
            | Problem::ArgumentFromRoot
            | Problem::ComparedFromRoot
            | Problem::ComparedBelowDescent
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_events_are_wanted(segments in segments(), events in vec(json(), 8)) {
        let text = format!("${segments}");
        match text.parse::<Filter>() {
            Ok(filter) => {
                let reference = JsonPath::parse(&text).unwrap();
                for event in &events {
                    prop_assert_eq!(filter.matches(event), !reference.query(event).is_empty(), "{} {}", text, event);
                }
            }
            Err(error) => prop_assert!(is_limit(error.problem), "{} {}", text, error),
        }
    }

    #[test]
    fn what_is_no_query_is_refused_by_both(text in r#"\$[.*\[\]?@ab01'"=<!&|(),:$-]{0,10}"#) {
        match text.parse::<Filter>() {
            Ok(_) => prop_assert!(JsonPath::parse(&text).is_ok(), "{}", text),
            Err(error) => prop_assert!(is_limit(error.problem) || JsonPath::parse(&text).is_err(), "{} {}", text, error),
        }
    }
}
