//! Bearer tokens: made at random, kept and compared as hashes.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

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
}
