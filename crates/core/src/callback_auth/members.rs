//! JSON objects read member by member, so that an error can name the member and its rule, and never shows a value.

use std::borrow::Cow;

use secrecy::SecretString;
use serde_json::{Map, Value};

/// What a client gave is not accepted: which member, and the rule that it breaks. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {rule}")]
pub struct Refused {
    /// The member with those that it is in, such as `auth.token`.
    pub member: String,
    /// What it must be.
    pub rule: Cow<'static, str>,
}

impl Refused {
    /// That this member breaks this rule.
    #[must_use]
    pub fn new(member: impl Into<String>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { member: member.into(), rule: rule.into() }
    }
}

/// The members of an object that have not been taken yet.
pub(super) struct Members<'a> {
    name: &'a str,
    values: Map<String, Value>,
}

impl<'a> Members<'a> {
    /// Those of the object that is itself the member `name`.
    pub(super) fn of(name: &'a str, value: Value) -> Result<Self, Refused> {
        match value {
            Value::Object(values) => Ok(Self { name, values }),
            _ => Err(Refused::new(name, "must be an object")),
        }
    }

    /// That one of them breaks a rule.
    pub(super) fn refuse(&self, member: &str, rule: impl Into<Cow<'static, str>>) -> Refused {
        Refused::new(format!("{}.{member}", self.name), rule)
    }

    /// Takes a text that may be absent or null.
    pub(super) fn optional(&mut self, member: &str) -> Result<Option<String>, Refused> {
        match self.values.remove(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(member, "must be a string")),
        }
    }

    /// Takes a text that must be there.
    pub(super) fn text(&mut self, member: &str) -> Result<String, Refused> {
        self.optional(member)?.ok_or_else(|| self.refuse(member, "is missing"))
    }

    /// Takes a text that must be there and satisfy a rule.
    pub(super) fn checked(&mut self, member: &str, rule: Rule) -> Result<String, Refused> {
        let text = self.text(member)?;
        self.check(member, &text, rule)?;
        Ok(text)
    }

    /// Takes a secret that must be there and satisfy a rule.
    pub(super) fn secret(&mut self, member: &str, rule: Rule) -> Result<SecretString, Refused> {
        self.checked(member, rule).map(SecretString::from)
    }

    /// Takes a text that satisfies a rule unless it is absent or null.
    pub(super) fn optional_checked(&mut self, member: &str, rule: Rule) -> Result<Option<String>, Refused> {
        let text = self.optional(member)?;
        if let Some(text) = &text {
            self.check(member, text, rule)?;
        }
        Ok(text)
    }

    fn check(&self, member: &str, text: &str, rule: Rule) -> Result<(), Refused> {
        if rule.accepts(text) { Ok(()) } else { Err(self.refuse(member, format!("must be {rule}"))) }
    }

    /// Refuses what is left. The rule tells what is known and not what was given, which may be a secret in a wrong place.
    pub(super) fn end(self, known: &str) -> Result<(), Refused> {
        if self.values.is_empty() {
            return Ok(());
        }
        Err(Refused::new(self.name, format!("has an unknown member; known here are {known}")))
    }
}

/// What a text must look like.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// Whether a character may be in it.
    pub(super) allows: fn(char) -> bool,
    /// The fewest and the most bytes.
    pub(super) length: (usize, usize),
    /// Which characters these are, in words.
    pub(super) words: &'static str,
}

impl Rule {
    fn accepts(self, text: &str) -> bool {
        (self.length.0..=self.length.1).contains(&text.len()) && text.chars().all(self.allows)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = self.length;
        write!(f, "{least} to {most} bytes of {}", self.words)
    }
}
