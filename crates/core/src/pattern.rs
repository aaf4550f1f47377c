//! Which types of event a subscription gets: exact types, and patterns with `*`.

mod index;

use std::{borrow::Borrow, collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

pub use self::index::PatternIndex;
use crate::event::{EVENT_TYPE_MAX, EventType, is_type_byte};

/// The types of the events that Hookcast itself posts about a subscription. A pattern matches them only if it asks for them: if
/// its text before the first `*` begins with `subscription.`; so that whoever subscribes to `*` gets no notices unasked.
pub const OWN_EVENT_TYPES: [&str; 3] = ["subscription.deactivated", "subscription.failing", "subscription.recovered"];

/// The most characters that a pattern may have.
pub const PATTERN_MAX: usize = EVENT_TYPE_MAX;
/// The most `*` that a pattern may have.
pub const STARS_MAX: usize = 8;
/// The most patterns that a subscription may have.
pub const PATTERNS_MAX: usize = 32;

/// An event type, or a pattern in which each `*` stands for any run of characters, also for none: `relation_*`, `*`, `a.*.c`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPattern(Arc<str>);

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} {rule}")]
pub struct InvalidPattern {
    /// The pattern, shortened if it is longer than any pattern may be.
    pub pattern: String,
    /// The rule that it breaks.
    pub rule: PatternRule,
}

/// What holds for every pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternRule {
    /// How long it may be.
    #[error("must have 1 to {PATTERN_MAX} characters")]
    Length,
    /// What it may be made of.
    #[error("may only have letters, digits and `_ - . : / *`")]
    Characters,
    /// How many stars it may have.
    #[error("may have at most {STARS_MAX} `*`")]
    Stars,
}

impl EventPattern {
    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether events of this type are wanted. Takes time in proportion to the length of the type.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        let text = event_type.as_str();
        let Some((before, rest)) = self.0.split_once('*') else {
            return text == self.as_str();
        };
        if OWN_EVENT_TYPES.contains(&text) && !before.starts_with("subscription.") {
            return false;
        }
        let (between, after) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(text) = text.strip_prefix(before).and_then(|text| text.strip_suffix(after)) else {
            return false;
        };
        // The earliest place of each piece leaves the most text to those that follow: no other needs to be tried.
        let left = between
            .split('*')
            .try_fold(text, |text, piece| text.find(piece).and_then(|start| text.get(start + piece.len()..)));
        left.is_some()
    }

    /// The text before the first `*`; `None` for an exact type.
    fn prefix(&self) -> Option<&str> {
        self.0.split_once('*').map(|(before, _)| before)
    }
}

impl FromStr for EventPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let broken = |rule| InvalidPattern { pattern: text.chars().take(PATTERN_MAX).collect(), rule };
        if !(1..=PATTERN_MAX).contains(&text.chars().count()) {
            return Err(broken(PatternRule::Length));
        }
        if !text.bytes().all(|byte| byte == b'*' || is_type_byte(byte)) {
            return Err(broken(PatternRule::Characters));
        }
        if text.matches('*').count() > STARS_MAX {
            return Err(broken(PatternRule::Stars));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for EventPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Borrow<str> for EventPattern {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a subscription gets: 1 to 32 patterns, sorted and without doubles.
///
/// As text, which is what stores keep, they are joined by `,`. In JSON one is a string and several are a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPatterns(Arc<[EventPattern]>);

/// The texts are no patterns of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatterns {
    /// One of them is no pattern.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// There are none, or too many.
    #[error("there must be 1 to {PATTERNS_MAX} event types or patterns, and here are {0}")]
    Count(usize),
}

impl EventPatterns {
    /// The patterns that these texts are, in any order; doubles count once.
    ///
    /// # Errors
    /// The first text that is no pattern, or that there are too few or too many.
    pub fn from_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, InvalidPatterns> {
        let patterns = texts.into_iter().map(|text| text.as_ref().parse()).collect::<Result<BTreeSet<_>, _>>()?;
        if (1..=PATTERNS_MAX).contains(&patterns.len()) {
            Ok(Self(patterns.into_iter().collect()))
        } else {
            Err(InvalidPatterns::Count(patterns.len()))
        }
    }

    /// The patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &EventPattern> {
        self.0.iter()
    }

    /// Whether one of them matches.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        self.iter().any(|pattern| pattern.matches(event_type))
    }
}

impl From<EventType> for EventPatterns {
    fn from(event_type: EventType) -> Self {
        Self([EventPattern(event_type.as_str().into())].into())
    }
}

impl FromStr for EventPatterns {
    type Err = InvalidPatterns;

    fn from_str(text: &str) -> Result<Self, InvalidPatterns> {
        Self::from_texts(text.split(','))
    }
}

impl fmt::Display for EventPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, pattern) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{pattern}")?;
        }
        Ok(())
    }
}

impl Serialize for EventPatterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests;
