//! Which types of event a subscription gets: exact ones, and patterns in which `*` stands for any characters.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::Hash,
    str::FromStr,
};

use serde::{Serialize, Serializer};

use crate::event::{EVENT_TYPE_MAX, EventType};

/// The most patterns of one subscription.
pub const PATTERNS_MAX: usize = 32;

/// The most stars in a pattern.
pub const STARS_MAX: usize = 8;

/// What the service's own events begin with: notices of subscriptions' states. Only patterns that say so get them, so that a `*`
/// gets no notice that nobody has asked for.
pub const OWN_PREFIX: &str = "subscription.";

/// An event type, or a pattern with `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPattern(String);

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatterns {
    /// One of them has a wrong length or character.
    #[error("`{0}` must have 1 to {EVENT_TYPE_MAX} characters, each a letter, a digit, one of `_ - . : /`, or `*` for any characters")]
    Pattern(String),
    /// One of them has too many stars.
    #[error("`{0}` has more than {STARS_MAX} `*`")]
    Stars(String),
    /// There are none, or too many.
    #[error("must be 1 to {PATTERNS_MAX} event types or patterns")]
    Count,
}

impl EventPattern {
    /// The text before the first `*`.
    fn literal(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it stands for this type.
    #[must_use]
    pub fn matches(&self, event: &EventType) -> bool {
        let text = event.as_str();
        if text.starts_with(OWN_PREFIX) && !self.0.starts_with(OWN_PREFIX) {
            return false;
        }
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // Each part at its first place: whatever follows has the most room then.
        let rest = parts.try_fold(rest, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
        rest.is_some_and(|rest| rest.ends_with(last))
    }
}

impl FromStr for EventPattern {
    type Err = InvalidPatterns;

    fn from_str(text: &str) -> Result<Self, InvalidPatterns> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/*".contains(&b);
        if !(1..=EVENT_TYPE_MAX).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(InvalidPatterns::Pattern(text.chars().take(EVENT_TYPE_MAX).collect()));
        }
        if text.bytes().filter(|b| *b == b'*').count() > STARS_MAX {
            return Err(InvalidPatterns::Stars(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The types of event that a subscription gets: at least one pattern, in order and none twice, so that the same wish is always
/// the same text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPatterns(Vec<EventPattern>);

impl EventPatterns {
    /// These patterns.
    ///
    /// # Errors
    /// [`InvalidPatterns::Count`].
    pub fn new(patterns: impl IntoIterator<Item = EventPattern>) -> Result<Self, InvalidPatterns> {
        let patterns: BTreeSet<_> = patterns.into_iter().take(1_000).collect();
        let is_right = (1..=PATTERNS_MAX).contains(&patterns.len());
        if is_right { Ok(Self(patterns.into_iter().collect())) } else { Err(InvalidPatterns::Count) }
    }

    /// Whether one of them stands for this type.
    #[must_use]
    pub fn matches(&self, event: &EventType) -> bool {
        self.0.iter().any(|pattern| pattern.matches(event))
    }
}

/// As stores keep them: with commas between them, which no pattern has.
impl fmt::Display for EventPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(&pattern.0)?;
        }
        Ok(())
    }
}

impl FromStr for EventPatterns {
    type Err = InvalidPatterns;

    fn from_str(text: &str) -> Result<Self, InvalidPatterns> {
        Self::new(text.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?)
    }
}

/// As the API has them: one alone is a string, several are a list.
impl Serialize for EventPatterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [EventPattern(text)] => serializer.serialize_str(text),
            patterns => serializer.collect_seq(patterns.iter().map(|pattern| &pattern.0)),
        }
    }
}

/// Who wants a type of event, found without a look at those who do not: exact types by the type, and patterns by the text
/// before their first star.
#[derive(Clone, Debug)]
pub struct PatternIndex<Id> {
    exact: HashMap<String, BTreeSet<Id>>,
    by_literal: HashMap<String, HashMap<EventPattern, BTreeSet<Id>>>,
}

impl<Id> Default for PatternIndex<Id> {
    fn default() -> Self {
        Self { exact: HashMap::new(), by_literal: HashMap::new() }
    }
}

impl<Id: Copy + Ord + Hash> PatternIndex<Id> {
    /// Notes what somebody wants.
    pub fn insert(&mut self, id: Id, patterns: &EventPatterns) {
        for pattern in &patterns.0 {
            let ids = if pattern.is_exact() {
                self.exact.entry(pattern.0.clone()).or_default()
            } else {
                let alike = self.by_literal.entry(pattern.literal().to_owned()).or_default();
                alike.entry(pattern.clone()).or_default()
            };
            ids.insert(id);
        }
    }

    /// Forgets what somebody wanted.
    pub fn remove(&mut self, id: Id, patterns: &EventPatterns) {
        for pattern in &patterns.0 {
            if pattern.is_exact() {
                forget(&mut self.exact, &pattern.0, id);
            } else if let Some(alike) = self.by_literal.get_mut(pattern.literal()) {
                forget(alike, pattern, id);
                if alike.is_empty() {
                    self.by_literal.remove(pattern.literal());
                }
            }
        }
    }

    /// Everybody who wants this type, in order.
    #[must_use]
    pub fn matching(&self, event: &EventType) -> BTreeSet<Id> {
        let mut matching = self.exact.get(event.as_str()).cloned().unwrap_or_default();
        for (pattern, ids) in self.candidates(event) {
            if pattern.matches(event) {
                matching.extend(ids);
            }
        }
        matching
    }

    /// The patterns with stars that begin as the type does.
    fn candidates(&self, event: &EventType) -> impl Iterator<Item = (&EventPattern, &BTreeSet<Id>)> {
        let text = event.as_str();
        // A type is of ASCII characters.
        (0..=text.len()).filter_map(|length| self.by_literal.get(&text[..length])).flatten()
    }
}

fn forget<K: Eq + Hash, Q: ?Sized + Eq + Hash, Id: Ord>(map: &mut HashMap<K, BTreeSet<Id>>, key: &Q, id: Id)
where
    K: std::borrow::Borrow<Q>,
{
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(text: &str) -> EventType {
        text.parse().unwrap()
    }

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<EventPattern>().unwrap().matches(&event(text))
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("relation_added", "relation_added", true),
            ("relation_added", "relation_added2", false),
            ("relation_*", "relation_added", true),
            ("relation_*", "relation_", true),
            ("relation_*", "relation", false),
            ("*", "anything", true),
            ("*_added", "relation_added", true),
            ("*_added", "added", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a..c", true),
            ("a.*.c", "a.c", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a**b", "ab", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn notices_go_to_those_who_ask_for_them() {
        let notice = "subscription.failing";
        for (pattern, expected) in
            [("*", false), ("sub*", false), ("*failing", false), ("subscription.*", true), (notice, true)]
        {
            assert_eq!(matches(pattern, notice), expected, "{pattern}");
        }
    }

    #[test]
    fn the_same_wish_is_the_same_text() {
        let patterns: EventPatterns = "b,a*,b,a".parse().unwrap();
        assert_eq!(patterns.to_string(), "a,a*,b");
        assert_eq!(serde_json::to_string(&patterns).unwrap(), r#"["a","a*","b"]"#);
        assert_eq!(serde_json::to_string(&"a*".parse::<EventPatterns>().unwrap()).unwrap(), r#""a*""#);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, expected) in [
            ("", InvalidPatterns::Pattern(String::new())),
            ("a,", InvalidPatterns::Pattern(String::new())),
            ("a b", InvalidPatterns::Pattern("a b".into())),
            ("a,é", InvalidPatterns::Pattern("é".into())),
            ("*********", InvalidPatterns::Stars("*********".into())),
        ] {
            assert_eq!(text.parse::<EventPatterns>().unwrap_err(), expected, "{text}");
        }
        let many = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
        assert!(many(32).parse::<EventPatterns>().is_ok());
        assert_eq!(many(33).parse::<EventPatterns>().unwrap_err(), InvalidPatterns::Count);
    }

    #[test]
    fn a_lookup_examines_few_of_many() {
        let mut index = PatternIndex::default();
        for number in 0..100_000_u32 {
            let text = if number % 2 == 0 { format!("t{number}") } else { format!("p{number}_*") };
            index.insert(number, &text.parse().unwrap());
        }
        let event = event("p77777_added");
        assert_eq!(index.candidates(&event).count(), 1);
        assert_eq!(index.matching(&event), BTreeSet::from([77_777]));
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            wishes in prop::collection::vec(("[ab.*]{1,6}(,[ab.*]{1,6}){0,2}", any::<bool>()), 0..40),
            text in "[ab.]{1,6}",
        ) {
            let event = event(&text);
            let mut index = PatternIndex::default();
            let mut expected = BTreeSet::new();
            for (id, (wish, stays)) in wishes.iter().enumerate() {
                let patterns: EventPatterns = wish.parse().unwrap();
                index.insert(id, &patterns);
                if !stays {
                    index.remove(id, &patterns);
                } else if patterns.matches(&event) {
                    expected.insert(id);
                }
            }
            prop_assert_eq!(index.matching(&event), expected);
        }

        #[test]
        fn removing_everything_leaves_nothing(wishes in prop::collection::vec("[ab*]{1,4}", 0..20)) {
            let mut index = PatternIndex::default();
            let patterns: Vec<EventPatterns> = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
            for (id, patterns) in patterns.iter().enumerate() {
                index.insert(id, patterns);
            }
            for (id, patterns) in patterns.iter().enumerate() {
                index.remove(id, patterns);
            }
            prop_assert!(index.exact.is_empty() && index.by_literal.is_empty());
        }
    }
}
