//! Headers that a subscription's owner adds to every request.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{field, members::Refused};

/// The most headers that a subscription may have.
pub const HEADERS_MAX: usize = 32;

/// The most bytes of a header's name, and of its value.
pub const HEADER_MAX_BYTES: usize = 1024;

/// The most bytes of all names and values together.
pub const HEADERS_MAX_BYTES: usize = 8 * 1024;

/// Headers of the owner's own, with names in lower case.
///
/// They are no secret: whoever may see the subscription sees them. What proves something belongs into
/// [`CallbackAuth`](super::CallbackAuth), and so `Authorization` and `Cookie` are refused here. Still `Debug` hides the values,
/// since owners put into headers what they like.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomHeaders(BTreeMap<String, String>);

impl CustomHeaders {
    /// Reads what a client gave as the member `member`: an object of texts.
    ///
    /// # Errors
    /// The header that breaks a rule, and the rule.
    pub fn parse(member: &str, value: &Value) -> Result<Self, Refused> {
        let Value::Object(given) = value else {
            return Err(Refused::new(member, "must be an object of strings"));
        };
        if given.len() > HEADERS_MAX {
            return Err(Refused::new(member, format!("must have at most {HEADERS_MAX} headers")));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let refuse = |rule| Refused::new(format!("{member}.{}", shortened(name)), rule);
            let value = value.as_str().ok_or_else(|| refuse("must be a string".into()))?;
            let name = name.to_ascii_lowercase();
            field::check_name(&name).map_err(refuse)?;
            field::check_value(value).map_err(refuse)?;
            if headers.insert(name, value.to_owned()).is_some() {
                return Err(refuse("is given twice; names are the same in upper and lower case".into()));
            }
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > HEADERS_MAX_BYTES {
            return Err(Refused::new(member, format!("must have at most {HEADERS_MAX_BYTES} bytes in all")));
        }
        Ok(Self(headers))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A name as an error may show it, whatever its length.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for CustomHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CustomHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse("headers", &Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
