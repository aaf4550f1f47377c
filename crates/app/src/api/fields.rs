//! The members of a JSON object, each taken out by name and rule, so that an error can name the member and the rule.

use std::{borrow::Cow, collections::HashSet, fmt, str::FromStr};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::ApiError;

/// The members of an object that have not been taken yet.
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 for what is no object or has a member twice.
    pub fn parse(json: &'a [u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(json)
            .map_err(|error| ApiError::malformed(format!("the body is not UTF-8 (at byte {})", error.valid_up_to())))?;
        Self::parse_text(text)
    }

    /// Reads an object from text.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_text(text: &'a str) -> Result<Self, ApiError> {
        let Members(members) = serde_json::from_str(text).map_err(|error| {
            if serde_json::from_str::<&RawValue>(text).is_ok() {
                ApiError::invalid(format!("it must be a JSON object, with names of valid Unicode: {error}"))
            } else {
                ApiError::malformed(format!("the body is not JSON: {error}"))
            }
        })?;
        let mut seen = HashSet::with_capacity(members.len());
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(name.as_ref())) {
            return Err(ApiError::invalid_field(&shortened(name), "is given twice"));
        }
        Ok(Self(members))
    }

    /// Takes a member out, whatever its value.
    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Takes a member out that must be there.
    ///
    /// # Errors
    /// 422 when it is not.
    pub fn required(&mut self, name: &str) -> Result<&'a RawValue, ApiError> {
        self.take(name).ok_or_else(|| ApiError::invalid_field(name, "is missing"))
    }

    /// Takes a string out that must be there.
    ///
    /// # Errors
    /// 422 when it is not, or is no string.
    pub fn string(&mut self, name: &str) -> Result<Cow<'a, str>, ApiError> {
        text(name, self.required(name)?)
    }

    /// Takes a string out that must be there, of a type that says itself what is wrong.
    ///
    /// # Errors
    /// 422 when it is not there, or is no such string.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<T, ApiError> {
        let text = self.string(name)?;
        text.parse().map_err(|error: T::Err| ApiError::invalid_field(name, &error.to_string()))
    }

    /// Takes a string or null out, one of which must be there.
    ///
    /// # Errors
    /// 422 when it is not there, or is anything else.
    pub fn string_or_null(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, ApiError> {
        Some(self.required(name)?).filter(|raw| raw.get() != "null").map(|raw| text(name, raw)).transpose()
    }

    /// Takes a string out that may be absent or null.
    ///
    /// # Errors
    /// 422 when it is anything else.
    pub fn optional_string(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, ApiError> {
        self.take(name).filter(|raw| raw.get() != "null").map(|raw| text(name, raw)).transpose()
    }

    /// Takes a truth value out that may be absent.
    ///
    /// # Errors
    /// 422 when it is anything else.
    pub fn optional_bool(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let rule = |_| ApiError::invalid_field(name, "must be `true` or `false`");
        self.take(name).map(|raw| serde_json::from_str(raw.get()).map_err(rule)).transpose()
    }

    /// Takes a whole number out, from 0 to `most`, that may be absent or null.
    ///
    /// # Errors
    /// 422 when it is anything else.
    pub fn optional_number(&mut self, name: &str, most: u64) -> Result<Option<u64>, ApiError> {
        let rule = || ApiError::invalid_field(name, &format!("must be a whole number from 0 to {most}, or null"));
        let number = |raw: &RawValue| serde_json::from_str(raw.get()).ok().filter(|number| *number <= most);
        self.take(name).filter(|raw| raw.get() != "null").map(|raw| number(raw).ok_or_else(rule)).transpose()
    }

    /// Whether a member is there and was not taken.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes sure that nothing is left: a misspelt member is a mistake and not a wish to be ignored.
    ///
    /// # Errors
    /// 422 for the first member that is left.
    pub fn finish(self, known: &str) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(ApiError::invalid_field(&shortened(name), &format!("is not known here; there are {known}")))
            }
        }
    }
}

/// A name that a client chose, for the answer.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn text<'a>(name: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, ApiError> {
    /// Borrows where the text has no escapes, which a plain `Cow` does not do in serde.
    #[derive(Deserialize)]
    struct Text<'b>(#[serde(borrow)] Cow<'b, str>);
    serde_json::from_str::<Text<'a>>(raw.get())
        .map(|text| text.0)
        .map_err(|_| ApiError::invalid_field(name, "must be a string of valid Unicode"))
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                #[derive(Deserialize)]
                struct Name<'b>(#[serde(borrow)] Cow<'b, str>);
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn status(result: Result<Fields<'_>, ApiError>) -> u16 {
        result.map_or_else(|error| error.into_response().status().as_u16(), |_| 200)
    }

    #[test]
    fn what_is_not_json_is_told_from_what_breaks_a_rule() {
        for (body, expected) in [
            (&b"{}"[..], 200),
            (br#"{"a":[1,{"b":null}]}"#, 200),
            (b"", 400),
            (b"{", 400),
            (b"nonsense", 400),
            (b"{} {}", 400),
            (b"\xff", 400),
            (b"[1,", 400),
            (b"[]", 422),
            (b"7", 422),
            (b"\"text\"", 422),
            (b"null", 422),
            (br#"{"a":1,"a":2}"#, 422),
            (br#"{"\ud800":1}"#, 422),
        ] {
            assert_eq!(status(Fields::parse(body)), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn members_are_taken_by_name_and_rule() {
        let mut fields = Fields::parse(br#"{"s":"a\u0041","n":null,"t":true,"x":1}"#).unwrap();
        assert_eq!(fields.string("s").unwrap(), "aA");
        assert_eq!(fields.optional_string("n").unwrap(), None);
        assert_eq!(fields.optional_bool("t").unwrap(), Some(true));
        assert!(fields.string("gone").is_err());
        assert!(fields.finish("`s`").is_err());
    }

    #[test]
    fn a_lone_surrogate_is_no_text() {
        let mut fields = Fields::parse(br#"{"s":"\ud800"}"#).unwrap();
        assert!(fields.string("s").is_err());
    }
}
