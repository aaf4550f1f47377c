//! Bearer tokens: made at random, kept and compared as hashes; an account's own have names, scopes and perhaps an end.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;

/// The most characters that a token's name may have.
pub const TOKEN_NAME_MAX: usize = 64;

/// The SHA-256 of a bearer token. Tokens are long random strings, so that a plain hash keeps them as well as a slow one.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }

    /// The hash with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl PartialEq for TokenHash {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A new token of 192 random bits behind a prefix that says what it is for, such as `hkc_access_`.
#[must_use]
pub fn generate(prefix: &str, random: [u8; 24]) -> SecretString {
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random)).into()
}

/// What an access token is called, so that its owner knows it from the others of the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TokenName(String);

/// The text is no name of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {TOKEN_NAME_MAX} characters: letters, digits and `_ - .`")]
pub struct InvalidTokenName;

impl TokenName {
    /// The name of the token that an account begins with.
    #[must_use]
    pub fn first() -> Self {
        Self("default".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        let is_name = (1..=TOKEN_NAME_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if is_name { Ok(Self(text.to_owned())) } else { Err(InvalidTokenName) }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an access token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking only.
    Read,
    /// Everything that the account may do.
    Write,
}

/// The text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `read` or `write`")]
pub struct InvalidScope;

impl Scope {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        [Self::Read, Self::Write].into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidScope)
    }
}

/// One of an account's access tokens, without the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessToken {
    /// What it is called; unique in its account.
    pub name: TokenName,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made; rotating it changes nothing about that.
    pub created_at: Timestamp,
    /// When it ends to be valid, if it does.
    pub expires_at: Option<Timestamp>,
}

impl AccessToken {
    /// The one that an account begins with.
    #[must_use]
    pub fn first(created_at: Timestamp) -> Self {
        Self { name: TokenName::first(), scope: Scope::Write, created_at, expires_at: None }
    }

    /// Whether it is not valid any more.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_by_their_hash_and_never_shown() {
        let token = generate("hkc_access_", [7; 24]);
        assert!(token.expose_secret().starts_with("hkc_access_"));
        let hash = TokenHash::of(&token);
        assert_eq!(hash, TokenHash::from_bytes(hash.to_bytes()));
        assert_ne!(hash, TokenHash::of(&generate("hkc_access_", [8; 24])));
        assert_eq!(format!("{hash:?}"), "TokenHash(…)");
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["default", "ci-2", "a.b_C", &"x".repeat(TOKEN_NAME_MAX)] {
            assert_eq!(good.parse::<TokenName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "ü", "%2e", &"x".repeat(TOKEN_NAME_MAX + 1)] {
            assert!(bad.parse::<TokenName>().is_err(), "{bad:?}");
        }
    }
}
