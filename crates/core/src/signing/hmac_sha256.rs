//! The symmetric scheme `v1`: HMAC-SHA256 with a `whsec_` secret
//! (Standard Webhooks 1.0.0, "Signature scheme" and "Symmetric secrets").

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::InvalidSecret;

pub(super) const PREFIX: &str = "whsec_";

/// A subscription's secret: random bytes that both sides know.
#[derive(Clone)]
pub struct SigningSecret(SecretSlice<u8>);

impl SigningSecret {
    /// A new secret of these random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random.to_vec().into())
    }

    /// A secret that a store has kept.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Reads the form that [`reveal`](Self::reveal) writes; the prefix may be left out.
    ///
    /// # Errors
    /// [`InvalidSecret::Hmac`] when the rest is not base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret::Hmac)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(InvalidSecret::Hmac);
        }
        Ok(Self(bytes.into()))
    }

    /// The secret as its owner gets it: `whsec_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(self.0.expose_secret()))
    }

    /// The bytes, for a store to keep.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl PartialEq for SigningSecret {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.expose_bytes().ct_eq(other.expose_bytes()).into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// A secret made ready to sign: the two inner hash blocks of HMAC are computed once and not for every delivery.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// The key of a secret.
    #[must_use]
    pub fn new(secret: &SigningSecret) -> Self {
        match Hmac::new_from_slice(secret.expose_bytes()) {
            Ok(mac) => Self(mac),
            Err(_) => unreachable!("HMAC takes keys of any length"),
        }
    }

    /// The value of `webhook-signature`: `v1,` and the base64 of the HMAC over `id.timestamp.body`.
    ///
    /// `timestamp` is in seconds since the epoch, as in `webhook-timestamp`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let mut signature = String::with_capacity(3 + 44);
        signature.push_str("v1,");
        BASE64_STANDARD.encode_string(mac.finalize().into_bytes(), &mut signature);
        signature
    }

    /// Whether a `webhook-signature` header, which may list several space-delimited signatures, holds the right one.
    /// Compared in constant time.
    #[must_use]
    pub fn verify(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        let expected = self.sign(id, timestamp, body);
        header.split(' ').any(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's reference libraries share in their tests.
    #[test]
    fn the_published_vector() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            SigningKey::new(&secret).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_reference_library_accepts_what_we_sign() {
        let secret = SigningSecret::new([9; 32]);
        let webhook = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
        let body = br#"{"a":1}"#;
        let timestamp = crate::clock::Clock::now(&crate::clock::SystemClock).as_seconds();
        let signature = SigningKey::new(&secret).sign("evt_1", timestamp, body);
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        webhook.verify(body, &headers).unwrap();
        assert!(webhook.verify(br#"{"a":2}"#, &headers).is_err());
    }

    #[test]
    fn a_signature_is_verified_among_several_and_a_wrong_one_refused() {
        let key = SigningKey::new(&SigningSecret::new([1; 32]));
        let other = SigningKey::new(&SigningSecret::new([2; 32])).sign("evt_1", 1, b"{}");
        let header = format!("{other} {}", key.sign("evt_1", 1, b"{}"));
        assert!(key.verify("evt_1", 1, b"{}", &header));
        assert!(!key.verify("evt_1", 1, b"{}", &other));
        assert!(!key.verify("evt_1", 2, b"{}", &header));
    }

    #[test]
    fn secrets_read_back_and_do_not_show() {
        let secret = SigningSecret::new([3; 32]);
        assert_eq!(SigningSecret::parse(&secret.reveal()).unwrap().expose_bytes(), secret.expose_bytes());
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
        for text in ["whsec_", "whsec_%%%", "whsec_c2hvcnQ="] {
            assert_eq!(SigningSecret::parse(text).unwrap_err(), InvalidSecret::Hmac, "{text}");
        }
    }
}
