//! The cost of a filter grows as the event does, and no faster.

use serde_json::{Value, json};

use super::*;

#[test]
fn what_could_cost_more_is_refused() {
    let stars = |n: usize| format!("${}", "[*,*]".repeat(n));
    for (text, at, problem) in [
        ("$..a..b", 5, Problem::SecondDescent),
        ("$..a[?@..b]", 8, Problem::SecondDescent),
        ("$[?@..a && @..b]", 13, Problem::SecondDescent),
        ("$[?$.*]", 4, Problem::SeveralFromRoot),
        ("$[?count($..*) > 1]", 10, Problem::ArgumentFromRoot),
        ("$[?length($.a) > 1]", 11, Problem::ArgumentFromRoot),
        ("$[?search($.a, 'x')]", 11, Problem::ArgumentFromRoot),
        ("$[?$.a == $.b]", 11, Problem::ComparedFromRoot),
        ("$..[?@.a == @.b]", 13, Problem::ComparedBelowDescent),
        ("$..[?@ == $.payload]", 11, Problem::ComparedBelowDescent),
        ("$..a[?@.b[?@.c == @.d]]", 19, Problem::ComparedBelowDescent),
        ("$[?search(@, '[ab]*a[ab]{20}')]", 14, Problem::LargePattern),
        ("$[?search(@, '(((a{99}){99}){99}){99}')]", 14, Problem::LargePattern),
        (&stars(6), 30, Problem::Costly),
        (&format!("$[?{}@{}]", "(".repeat(8), ")".repeat(8)), 11, Problem::Nested),
        (&format!("${}", ".a".repeat(101)), 203, Problem::Costly),
        (&format!("$.{}", "é".repeat(512)), 514, Problem::Long),
    ] {
        assert_eq!(text.parse::<Filter>(), Err(InvalidFilter { at, problem }), "{text}");
    }
    filter(&stars(5));
    filter(&format!("$[?{}@{}]", "(".repeat(7), ")".repeat(7)));
    filter(&format!("${}", ".a".repeat(100)));
    filter("$..[?@.a == 1 && length(@.b) <= count(@.*)]");
    filter("$.a[?value(@..b) == $.c]");
}

/// Queries that go for everything, each of which fails only at the very end.
fn costly_filters() -> Vec<Filter> {
    let repeated = |part: &str, times: usize| vec![part; times].join("||");
    [
        "$..*.*.*.*.*.none".to_owned(),
        "$..[*,*,*][*,*,*].none".to_owned(),
        "$[*,*][*,*][*,*][*,*][?@.none]".to_owned(),
        format!("$..[?{}]", repeated("@.x", 40)),
        format!("$..[?{}]", repeated("@=='no'", 90)),
        format!("$..[?{}]", repeated("count(@.*) < 0", 30)),
        format!("$.*[?{}]", repeated("@ == $.none.x", 30)),
        format!("$.*[?{}]", repeated("@ == $.twin && @.none", 18)),
        "$[?@[?@[?@[?@[?@[?@[?@[?@.none]]]]]]]]".to_owned(),
        "$..[?@[?@[?@[?@[?@[?@[?@[?@.none]]]]]]]]".to_owned(),
        "$[?value(@..*) == 'none' || length(@) == null]".to_owned(),
        "$[*][?count(@..*) < 0]".to_owned(),
        "$..[::-1][1:-1:2].none".to_owned(),
    ]
    .iter()
    .map(|text| filter(text))
    .collect()
}

fn nodes(value: &Value) -> usize {
    1 + value.as_array().map_or(0, |items| items.iter().map(nodes).sum())
        + value.as_object().map_or(0, |members| members.values().map(nodes).sum())
}

/// An event of many small values, one of values within values, one of values that are alike, and a bush.
fn events(size: usize) -> Vec<Value> {
    let flat = json!({"list": vec![0; size]});
    let deep = (0..100).fold(json!([]), |inner, n| json!({"x": inner, "list": vec![n; size / 100]}));
    let part = json!({"twin": vec![1; size / 20]});
    let alike = json!({"twin": part, "list": vec![part.clone(); 19]});
    let bush = (0..8).fold(json!(vec![0; size >> 8]), |inner, _| json!([inner, inner]));
    vec![flat, deep, alike, bush]
}

#[test]
fn twice_the_event_is_at_most_twice_the_work() {
    let filters = costly_filters();
    for (small, large) in events(1_000).iter().zip(&events(6_000)) {
        for filter in &filters {
            let (_, before) = filter.evaluate(small);
            let (_, after) = filter.evaluate(large);
            let growth = nodes(large).div_ceil(nodes(small));
            assert!(after <= before * (growth + 1), "{filter} {before} {after}");
            // For each part and node: the test, what it is about, and what that is compared with.
            assert!(after <= 3 * COST_MAX * nodes(large), "{filter} {after} {}", nodes(large));
        }
    }
}

#[test]
fn patterns_take_no_longer_where_others_would() {
    let text = "01101".repeat(20_000);
    let event = json!([text, vec!["0".repeat(50); 2_000]]);
    for text in ["$[?search(@, '[01]*1[01]{8}2')]", "$[?match(@, '(0*)*(1*)*2')]", "$..[?search(@, '(0|01|1)*2')]"] {
        assert!(!filter(text).matches(&event), "{text}");
    }
}
