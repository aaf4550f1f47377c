//! The secrets of one subscription, over rotations.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Ed25519Secret, InvalidPrivateKey, InvalidSecret, Jwk, SigningKey, SigningSecret};
use crate::clock::Timestamp;

/// How many earlier secrets may still sign: of more the oldest goes.
pub const EARLIER_MAX: usize = 4;

/// How deliveries are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Not at all, for receivers that cannot check.
    None,
    /// With a secret that both sides know.
    HmacSha256,
    /// With a private key, which receivers check with the public one.
    Ed25519,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 3] = [Self::None, Self::HmacSha256, Self::Ed25519];

    /// Its name, as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = Self::ALL.into_iter().find(|scheme| scheme.as_str() == text);
        scheme.ok_or_else(|| "must be `hmac-sha256`, `ed25519` or `none`".into())
    }
}

/// What one scheme signs with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// Of [`Scheme::HmacSha256`].
    Hmac(SigningSecret),
    /// Of [`Scheme::Ed25519`].
    Ed25519(Ed25519Secret),
}

/// The text is no secret of any scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSecret {
    /// It looks like a secret for HMAC.
    #[error(transparent)]
    Hmac(#[from] InvalidSecret),
    /// It looks like a private key.
    #[error(transparent)]
    Ed25519(#[from] InvalidPrivateKey),
    /// It has neither prefix.
    #[error("a secret begins with `whsec_` (HMAC-SHA256) or `whsk_` (Ed25519)")]
    Prefix,
}

impl Secret {
    /// A new one of these random bytes; `None` where nothing is signed.
    #[must_use]
    pub fn generate(scheme: Scheme, random: [u8; 32]) -> Option<Self> {
        match scheme {
            Scheme::None => None,
            Scheme::HmacSha256 => Some(Self::Hmac(SigningSecret::new(random))),
            Scheme::Ed25519 => Some(Self::Ed25519(Ed25519Secret::new(random))),
        }
    }

    /// The scheme that it is of.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Hmac(_) => Scheme::HmacSha256,
            Self::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// The secret as its owner gets it: `whsec_…` or `whsk_…`.
    #[must_use]
    pub fn reveal(&self) -> String {
        match self {
            Self::Hmac(secret) => secret.reveal(),
            Self::Ed25519(secret) => secret.reveal(),
        }
    }

    /// What receivers check with, where that is no secret: `whpk_…`.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(secret) => Some(secret.public_key()),
        }
    }

    /// The same as a JSON web key.
    #[must_use]
    pub fn jwk(&self) -> Option<Jwk> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(secret) => Some(secret.jwk()),
        }
    }
}

impl FromStr for Secret {
    type Err = UnknownSecret;

    fn from_str(text: &str) -> Result<Self, UnknownSecret> {
        if text.starts_with("whsec_") {
            Ok(Self::Hmac(SigningSecret::parse(text)?))
        } else if text.starts_with("whsk_") {
            Ok(Self::Ed25519(Ed25519Secret::parse(text)?))
        } else {
            Err(UnknownSecret::Prefix)
        }
    }
}

/// A secret, made ready to sign.
#[derive(Clone, Debug)]
struct Key {
    secret: Secret,
    /// Of HMAC, with its inner blocks computed.
    hmac: Option<SigningKey>,
}

impl Key {
    fn new(secret: Secret) -> Self {
        let hmac = match &secret {
            Secret::Hmac(secret) => Some(SigningKey::new(secret)),
            Secret::Ed25519(_) => None,
        };
        Self { secret, hmac }
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        match (&self.secret, &self.hmac) {
            (Secret::Ed25519(secret), _) => {
                let mut message = format!("{id}.{timestamp}.").into_bytes();
                message.extend_from_slice(body);
                secret.sign(&message)
            }
            (Secret::Hmac(_), Some(key)) => key.sign(id, timestamp, body),
            (Secret::Hmac(secret), None) => SigningKey::new(secret).sign(id, timestamp, body),
        }
    }
}

/// What signs a subscription's deliveries: the current secret, and earlier ones for as long as receivers may need them.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    current: Option<Key>,
    /// With the time until which each still signs, the latest first.
    earlier: Vec<(Key, Timestamp)>,
}

impl Keyring {
    /// One with this secret alone; with none nothing is signed.
    #[must_use]
    pub fn new(secret: Option<Secret>) -> Self {
        Self { current: secret.map(Key::new), earlier: Vec::new() }
    }

    /// The same with one more earlier secret, older than those that it has.
    #[must_use]
    pub fn with_earlier(mut self, secret: Secret, until: Timestamp) -> Self {
        self.earlier.push((Key::new(secret), until));
        self
    }

    /// The secret that signs.
    #[must_use]
    pub fn current(&self) -> Option<&Secret> {
        self.current.as_ref().map(|key| &key.secret)
    }

    /// The secrets before it, the latest first, with the time until which each still signs.
    pub fn earlier(&self) -> impl Iterator<Item = (&Secret, Timestamp)> {
        self.earlier.iter().map(|(key, until)| (&key.secret, *until))
    }

    /// How deliveries are signed.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.current().map_or(Scheme::None, Secret::scheme)
    }

    /// Goes over to another secret, or to none. The one before it still signs for as long as `overlap`, so that receivers have
    /// time to change.
    pub fn rotate(&mut self, secret: Option<Secret>, overlap: Duration, now: Timestamp) {
        let before = std::mem::replace(&mut self.current, secret.map(Key::new));
        if let Some(before) = before.filter(|_| !overlap.is_zero()) {
            self.earlier.insert(0, (before, now.plus(overlap)));
        }
        self.earlier.retain(|(_, until)| *until > now);
        self.earlier.truncate(EARLIER_MAX);
    }

    /// The value of `webhook-signature`: the signatures of all secrets that sign at this time, delimited by spaces (Standard
    /// Webhooks, "Signature scheme"). `None` where nothing is signed.
    ///
    /// `timestamp` is in seconds since the epoch, as in `webhook-timestamp`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8], now: Timestamp) -> Option<String> {
        let mut signatures = self.current.as_ref()?.sign(id, timestamp, body);
        for (key, _) in self.earlier.iter().filter(|(_, until)| *until > now) {
            signatures.push(' ');
            signatures += &key.sign(id, timestamp, body);
        }
        Some(signatures)
    }

    /// The public keys with which receivers can check at this time.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Vec<Jwk> {
        let earlier = self.earlier().filter(|(_, until)| *until > now).map(|(secret, _)| secret);
        self.current().into_iter().chain(earlier).filter_map(Secret::jwk).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_millis(0).plus(HOUR * hours)
    }

    fn hmac(byte: u8) -> Secret {
        Secret::Hmac(SigningSecret::new([byte; 32]))
    }

    fn ed25519(byte: u8) -> Secret {
        Secret::Ed25519(Ed25519Secret::new([byte; 32]))
    }

    fn versions(keyring: &Keyring, now: Timestamp) -> Vec<String> {
        let signature = keyring.sign("evt_1", 1, b"{}", now).unwrap();
        signature.split(' ').map(|part| part.split(',').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn secrets_are_known_by_their_prefix() {
        for secret in [hmac(1), ed25519(2)] {
            let read: Secret = secret.reveal().parse().unwrap();
            assert_eq!((read.reveal(), read.scheme()), (secret.reveal(), secret.scheme()));
        }
        assert_eq!("hunter2".parse::<Secret>().unwrap_err(), UnknownSecret::Prefix);
        assert!(matches!("whsec_AA==".parse::<Secret>().unwrap_err(), UnknownSecret::Hmac(_)));
        assert!(matches!("whsk_AA==".parse::<Secret>().unwrap_err(), UnknownSecret::Ed25519(_)));
    }

    #[test]
    fn both_sign_while_they_overlap() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(ed25519(2)), HOUR * 24, at(0));
        assert_eq!(versions(&keyring, at(23)), ["v1a", "v1"]);
        assert_eq!(versions(&keyring, at(24)), ["v1a"]);
        assert_eq!(keyring.scheme(), Scheme::Ed25519);
        let signature = keyring.sign("evt_1", 1, b"{}", at(1)).unwrap();
        assert!(SigningKey::new(&SigningSecret::new([1; 32])).verify("evt_1", 1, b"{}", &signature));
    }

    #[test]
    fn without_an_overlap_the_old_one_is_gone_at_once() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(hmac(2)), Duration::ZERO, at(0));
        assert_eq!(keyring.earlier().count(), 0);
        assert_eq!(versions(&keyring, at(0)), ["v1"]);
    }

    #[test]
    fn earlier_ones_are_few_and_forgotten_in_time() {
        let mut keyring = Keyring::new(Some(hmac(0)));
        for byte in 1..=9 {
            keyring.rotate(Some(hmac(byte)), HOUR * 24, at(0));
        }
        assert_eq!(keyring.earlier().count(), EARLIER_MAX);
        assert_eq!(keyring.earlier().next().unwrap().0.reveal(), hmac(8).reveal());
        keyring.rotate(Some(hmac(10)), HOUR, at(30));
        assert_eq!(keyring.earlier().count(), 1);
    }

    #[test]
    fn none_signs_nothing() {
        assert_eq!(Keyring::default().sign("evt_1", 1, b"{}", at(0)), None);
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(None, HOUR, at(0));
        assert_eq!((keyring.scheme(), keyring.sign("evt_1", 1, b"{}", at(0))), (Scheme::None, None));
    }

    #[test]
    fn public_keys_are_told_and_secrets_are_not() {
        let mut keyring = Keyring::new(Some(ed25519(1)));
        keyring.rotate(Some(hmac(2)), HOUR, at(0));
        assert_eq!(keyring.jwks(at(0)).len(), 1);
        assert_eq!(keyring.jwks(at(1)).len(), 0);
        let shown = format!("{keyring:?}");
        assert!(!shown.contains(&hmac(2).reveal()["whsec_".len()..]), "{shown}");
    }

    #[test]
    fn names_of_schemes_read_back() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.as_str().parse(), Ok(scheme));
        }
        assert!("rsa".parse::<Scheme>().is_err());
    }
}
