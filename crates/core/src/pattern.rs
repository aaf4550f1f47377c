//! Placeholder.
use std::{fmt, str::FromStr};
/// Patterns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventPatterns(Vec<String>);
impl FromStr for EventPatterns {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.split(',').map(str::to_owned).collect()))
    }
}
impl fmt::Display for EventPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}
