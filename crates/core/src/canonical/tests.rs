use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::*;

fn canonical(json: &str) -> String {
    canonical_json(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn sorts_by_utf16_like_rfc_8785_section_3_2_3() {
    let json = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One","#,
        "\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",",
        "\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
    assert_eq!(canonical(json), expected);
}

#[test]
fn writes_strings_like_rfc_8785_section_3_2_2() {
    let json = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"#,
        r#""numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    );
    assert_eq!(canonical(json), expected);
}

#[test]
fn escapes_are_written_in_one_way() {
    for (json, expected) in [
        (r#""\b\f\n\r\t""#, r#""\b\f\n\r\t""#),
        (r#""\u0008\u000C\u000A\u000d\u0009""#, r#""\b\f\n\r\t""#),
        (r#""\u0000\u001F\u001a""#, r#""\u0000\u001f\u001a""#),
        (r#""\u007f\u2028""#, "\"\u{7f}\u{2028}\""),
        (r#""\uD834\uDD1E""#, "\"𝄞\""),
        (r#""\/""#, r#""/""#),
        (r#""é""#, r#""é""#),
        (r#""\u00e9""#, r#""é""#),
        (r#""""#, r#""""#),
    ] {
        assert_eq!(canonical(json), expected, "{json}");
    }
}

#[test]
fn numbers_stay_as_they_were_written() {
    for number in ["1.0", "1", "-0", "0", "1E400", "1e+2", "0.10", "123456789012345678901234567890", "-1.5E-7"] {
        assert_eq!(canonical(&format!(" {number}\n")), number);
    }
}

#[test]
fn members_are_sorted_on_every_level() {
    assert_eq!(canonical(r#" [ { "b" : { "d":1 , "c":{} } , "a":[ ] } ] "#), r#"[{"a":[],"b":{"c":{},"d":1}}]"#);
}

#[test]
fn names_are_compared_without_their_escapes() {
    assert_eq!(
        canonical(r#"{"\u0062":1,"a":2,"\"":3,"!":4,"\n":5,"":6}"#),
        r#"{"":6,"\n":5,"!":4,"\"":3,"a":2,"b":1}"#
    );
}

#[test]
fn members_with_the_same_name_all_stay_in_their_order() {
    assert_eq!(canonical(r#"{"b":0,"a":2,"a":1,"\u0061":3}"#), r#"{"a":2,"a":1,"a":3,"b":0}"#);
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, close: &str, levels| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert!(canonical_json(&nested(open, close, MAX_DEPTH)).is_ok());
        assert_eq!(canonical_json(&nested(open, close, MAX_DEPTH + 1)), Err(CanonicalError::TooDeep));
        assert_eq!(canonical_json(&open.repeat(1_000_000)), Err(CanonicalError::TooDeep));
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for json in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#, r#""\ud800\n""#, r#""\ud800\ud800""#, r#""\ude00\ud83d""#]
    {
        assert_eq!(canonical_json(json), Err(CanonicalError::LoneSurrogate { at: 1 }), "{json}");
    }
    assert_eq!(canonical_json(r#"{"a\uDFFF":1}"#), Err(CanonicalError::LoneSurrogate { at: 3 }));
}

#[test]
fn what_is_not_json_is_refused() {
    for json in [
        "",
        " ",
        "{",
        "}",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        r#"{"a""#,
        r#"{"a":"#,
        r#"{"a":1,}"#,
        "{1:2}",
        "{,}",
        "\"",
        r#""\"#,
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        "\"\n\"",
        "01",
        "+1",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1 2",
        "tru",
        "nul",
        "True",
        "[1}",
        r#"{"a" 1}"#,
        "\u{feff}1",
        "1\u{a0}",
        "/**/1",
        "'a'",
        "NaN",
    ] {
        assert_eq!(canonical_json(json), Err(CanonicalError::Malformed), "{json}");
    }
}

#[test]
fn content_md5_is_that_of_event_and_payload() {
    let canonical = r#"{"event":"user.\"created\"","payload":{"a":1,"b":"é"}}"#;
    let md5 = ContentMd5::of(r#"user."created""#, r#"{ "b": "\u00e9", "a": 1 }"#).unwrap();
    assert_eq!(md5.to_bytes(), <[u8; 16]>::from(Md5::digest(canonical)));
    assert_eq!(ContentMd5::from_bytes(md5.to_bytes()), md5);
    assert_ne!(md5, ContentMd5::of("user", r#"{"a":1,"b":"é"}"#).unwrap());
    assert_ne!(md5, ContentMd5::of(r#"user."created""#, r#"{"a":1.0,"b":"é"}"#).unwrap());
    assert_eq!(ContentMd5::of("e", "{"), Err(CanonicalError::Malformed));
}

#[test]
fn content_md5_is_shown_as_hex() {
    let md5 = ContentMd5::from_bytes([0, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]);
    assert_eq!(md5.to_string(), "000f010203040506070809aabbccddee");
    assert_eq!(serde_json::to_string(&md5).unwrap(), format!("\"{md5}\""));
    assert_eq!(format!("{md5:?}"), format!("ContentMd5({md5})"));
}

/// A JSON value that can be written in more than one way.
#[derive(Clone, Debug)]
enum Tree {
    Plain(String),
    Text(String),
    Array(Vec<Tree>),
    /// Sorted by name, each name once.
    Object(Vec<(String, Tree)>),
}

#[derive(Clone, Copy, Debug)]
struct Style {
    space: &'static str,
    backwards: bool,
    escaped: bool,
}

const PLAIN: Style = Style { space: "", backwards: false, escaped: false };

impl Tree {
    fn write(&self, style: Style) -> String {
        let Style { space, .. } = style;
        let mut parts: Vec<_> = match self {
            Self::Plain(json) => return format!("{space}{json}{space}"),
            Self::Text(text) => return format!("{space}{}{space}", write_text(text, style)),
            Self::Array(items) => items.iter().map(|item| item.write(style)).collect(),
            Self::Object(members) => members
                .iter()
                .map(|(name, value)| format!("{space}{}{space}:{}", write_text(name, style), value.write(style)))
                .collect(),
        };
        if let Self::Array(_) = self {
            return format!("[{}{space}]", parts.join(","));
        }
        if style.backwards {
            parts.reverse();
        }
        format!("{{{}{space}}}", parts.join(","))
    }
}

fn write_text(text: &str, style: Style) -> String {
    if style.escaped {
        format!("\"{}\"", text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>())
    } else {
        serde_json::to_string(text).unwrap()
    }
}

/// Mixes the characters on which escapes and the two sort orders turn.
fn text() -> impl Strategy<Value = String> {
    "[a-c\"\\\\/\u{0}-\u{1f}\u{7f}é€\u{d7ff}\u{e000}\u{ffff}\u{10000}😀]{0,6}"
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof!["null|true|-0|1\\.50|[1-9]{1,5}(e-2)?".prop_map(Tree::Plain), text().prop_map(Tree::Text)];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Array),
            prop::collection::btree_map(text(), inner, 0..8).prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    })
}

fn style() -> impl Strategy<Value = Style> {
    (prop::sample::select(vec!["", " ", "\r\n\t "]), any::<bool>(), any::<bool>())
        .prop_map(|(space, backwards, escaped)| Style { space, backwards, escaped })
}

proptest! {
    #[test]
    fn the_way_of_writing_does_not_matter(tree in tree(), style in style()) {
        prop_assert_eq!(canonical(&tree.write(style)), canonical(&tree.write(PLAIN)));
    }

    #[test]
    fn the_canonical_form_is_its_own(tree in tree(), style in style()) {
        let once = canonical(&tree.write(style));
        prop_assert_eq!(canonical(&once), once);
    }

    #[test]
    fn the_value_stays_the_same(tree in tree(), style in style()) {
        let json = tree.write(style);
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&canonical(&json)).unwrap(), value);
    }

    #[test]
    fn accepts_the_json_that_serde_accepts(json in "[\\[\\]{}\":, 01\\-.eE+abtrufalsn\\\\]{0,12}|\\PC*") {
        let valid = serde_json::from_str::<&RawValue>(&json).is_ok();
        match canonical_json(&json) {
            Ok(_) => prop_assert!(valid),
            Err(CanonicalError::Malformed) => prop_assert!(!valid),
            Err(_) => {}
        }
    }

    #[test]
    fn the_order_is_that_of_utf16(a in text(), b in text()) {
        prop_assert_eq!(utf16_order(a.as_bytes(), b.as_bytes()), a.encode_utf16().cmp(b.encode_utf16()));
    }
}
