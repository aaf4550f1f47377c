//! What can be wrong with a configuration, and how that is said.

use std::{fmt, path::PathBuf};

use serde::{Serialize, Serializer};

use super::value::Invalid;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is the built-in default.
    Default,
    /// In a file, at a line counted from 1.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// In the environment variable of this name.
    Environment(String),
    /// In this flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong. No variant holds a secret: values are masked before they get here.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for, or that exists, cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where the parser stumbled.
        place: Source,
        /// Over what.
        reason: String,
    },
    /// No setting has this name.
    #[error("{place}: `{}` is not a setting{}", key.escape_debug(), did_you_mean(nearest.as_deref()))]
    Unknown {
        /// Where it stands.
        place: Source,
        /// The name.
        key: String,
        /// A setting with nearly that name.
        nearest: Option<String>,
    },
    /// A setting has a value that it cannot have.
    #[error("{place}: {key}: {got} is not allowed; it must be {allowed}")]
    Invalid {
        /// Where it stands.
        place: Source,
        /// The setting.
        key: &'static str,
        /// The value or the part of it that is wrong, masked.
        got: String,
        /// What the setting takes.
        allowed: &'static str,
    },
    /// Settings that are fine alone do not fit together.
    #[error("{advice} ({})", given.join("; "))]
    Conflict {
        /// Which ones, why and what to change.
        advice: String,
        /// The value of each, and where it stands.
        given: Vec<String>,
    },
}

impl ConfigError {
    /// A setting at `place` has a value that is not `allowed`. What `invalid` quotes must be masked.
    pub(super) fn invalid(place: Source, key: &'static str, invalid: Invalid, allowed: &'static str) -> Self {
        let got = match invalid {
            Invalid::Text(text) if text.is_empty() => "an empty value".to_owned(),
            Invalid::Text(text) => format!("`{}`", text.escape_debug()),
            Invalid::Kind(kind) => kind.to_owned(),
        };
        Self::Invalid { place, key, got, allowed }
    }
}

/// Everything that is wrong with a configuration, so that it can be put right in one go. Never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has an error:")?,
            count => write!(f, "the configuration has {count} errors:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// The end of a sentence about an unknown name.
pub(super) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The candidate that a mistyped name most likely stands for: at most a third of its characters are wrong.
pub(super) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (distance(name, &candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of characters to insert, delete or replace to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // Names come from files of any length. No name much longer than a candidate is near to it, however it goes on.
    let a = a.chars().take(2 * b.len() + 1);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            left = (diagonal + usize::from(from != *to)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
        assert!(distance(&"x".repeat(100_000), "listen") > 6);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = || ["listen", "delivery.timeout"].map(str::to_owned).into_iter();
        assert_eq!(nearest("lisen", names()), Some("listen".to_owned()));
        assert_eq!(nearest("deliverry.time_out", names()), Some("delivery.timeout".to_owned()));
        assert_eq!(nearest("colour", names()), None);
    }
}
