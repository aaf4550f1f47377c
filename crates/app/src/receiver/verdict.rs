//! What a signature is worth, as the Standard Webhooks specification has it ("Verifying webhook authenticity").

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    signing::{InvalidPublicKey, InvalidSecret, PublicKey, Secret, SigningKey, SigningSecret},
};
use http::HeaderMap;
use serde::Serialize;

/// How far the time of a signature may be off. An old one may be a replay of what somebody recorded.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was made with a secret whose key we have, just now.
    Verified,
    /// It was not made with a secret whose key we have, or for something else.
    WrongSignature,
    /// It is right, but its time is not now.
    WrongTime,
    /// There is none: one of the three headers is missing.
    Unsigned,
    /// We have no key to verify it with.
    NoSecret,
}

/// What a receiver verifies with.
#[derive(Clone, Debug)]
pub enum Key {
    /// The secret that signs (`v1`).
    Hmac(SigningKey),
    /// The public half of the key that signs (`v1a`).
    Ed25519(PublicKey),
}

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It is no secret.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// It begins like a public key and is none.
    #[error(transparent)]
    Public(#[from] InvalidPublicKey),
}

impl Key {
    /// Reads a secret, whose prefix may be left out if it is `whsec_`, or a public key; of a private key the public half is taken.
    ///
    /// # Errors
    /// The text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        match Secret::parse(text) {
            Ok(Secret::Hmac(secret)) => Ok(Self::from(&secret)),
            Ok(Secret::Ed25519(secret)) => Ok(Self::Ed25519(secret.public_key())),
            Err(InvalidSecret::PublicKey) => Ok(Self::Ed25519(text.parse()?)),
            Err(InvalidSecret::Prefix) => Ok(Self::from(&SigningSecret::parse(text)?)),
            Err(invalid) => Err(invalid.into()),
        }
    }

    fn verify(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        match self {
            Self::Hmac(key) => key.verify(id, timestamp, body, header),
            Self::Ed25519(key) => key.verify(id, timestamp, body, header),
        }
    }
}

impl From<&SigningSecret> for Key {
    fn from(secret: &SigningSecret) -> Self {
        Self::Hmac(SigningKey::new(secret))
    }
}

/// Has keys, and verifies with them.
#[derive(Clone, Debug)]
pub struct Verifier(Arc<[Key]>);

impl Verifier {
    /// One that accepts what was signed for any of these keys.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Judges the signature of a webhook that arrived `now`.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Verdict {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(time), Some(signature)) =
            (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
        else {
            return Verdict::Unsigned;
        };
        if self.0.is_empty() {
            return Verdict::NoSecret;
        }
        match time.parse::<i64>() {
            Ok(seconds) if self.0.iter().any(|key| key.verify(id, seconds, body, signature)) => {
                let is_timely = now.as_seconds().abs_diff(seconds) <= TOLERANCE.as_secs();
                if is_timely { Verdict::Verified } else { Verdict::WrongTime }
            }
            _ => Verdict::WrongSignature,
        }
    }
}

#[cfg(test)]
mod tests {
    use hookcast_core::signing::Scheme;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn signed(secret: &SigningSecret, seconds: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("webhook-signature", SigningKey::new(secret).sign("evt_1", seconds, BODY).parse().unwrap());
        headers
    }

    #[test]
    fn one_of_several_secrets_suffices() {
        let (first, second) = (SigningSecret::new([1; 32]), SigningSecret::new([2; 32]));
        let verifier = Verifier::new([Key::from(&first), Key::from(&second)]);
        for secret in [&first, &second] {
            assert_eq!(verifier.verify(&signed(secret, NOW.as_seconds()), BODY, NOW), Verdict::Verified);
        }
        let other = signed(&SigningSecret::new([3; 32]), NOW.as_seconds());
        assert_eq!(verifier.verify(&other, BODY, NOW), Verdict::WrongSignature);
        assert_eq!(verifier.verify(&signed(&first, NOW.as_seconds()), b"{}", NOW), Verdict::WrongSignature);
    }

    #[test]
    fn a_right_signature_does_not_stay_right_for_ever() {
        let secret = SigningSecret::new([1; 32]);
        let verifier = Verifier::new([Key::from(&secret)]);
        for (off, verdict) in
            [(-301, Verdict::WrongTime), (-300, Verdict::Verified), (300, Verdict::Verified), (301, Verdict::WrongTime)]
        {
            assert_eq!(verifier.verify(&signed(&secret, NOW.as_seconds() + off), BODY, NOW), verdict, "{off}");
        }
        let far = Verifier::new([Key::from(&secret)]).verify(&signed(&secret, i64::MIN), BODY, NOW);
        assert_eq!(far, Verdict::WrongTime);
    }

    #[test]
    fn a_public_key_verifies_what_its_private_key_signs() {
        let Some(Secret::Ed25519(secret)) = Secret::generate(Scheme::Ed25519, [7; 32]) else {
            panic!("no such secret")
        };
        let mut headers = signed(&SigningSecret::new([1; 32]), NOW.as_seconds());
        let signature = secret.sign("evt_1", NOW.as_seconds(), BODY);
        headers.insert("webhook-signature", signature.parse().unwrap());
        for text in [secret.public_key().to_string(), secret.reveal()] {
            let verifier = Verifier::new([Key::parse(&text).unwrap()]);
            assert_eq!(verifier.verify(&headers, BODY, NOW), Verdict::Verified);
            assert_eq!(verifier.verify(&headers, b"{}", NOW), Verdict::WrongSignature);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for text in ["", "whsec_c2hvcnQ=", "whpk_c2hvcnQ=", "whsk_c2hvcnQ=", "WHPK_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqf"] {
            let error = Key::parse(text).unwrap_err();
            assert!(text.is_empty() || !error.to_string().contains(text), "{text}");
        }
        let secret = SigningSecret::new([1; 32]).reveal();
        assert!(Key::parse(secret.strip_prefix("whsec_").unwrap()).is_ok());
    }

    #[test]
    fn without_a_secret_or_without_a_signature_nothing_is_verified() {
        let secret = SigningSecret::new([1; 32]);
        let headers = signed(&secret, NOW.as_seconds());
        assert_eq!(Verifier::new([]).verify(&headers, BODY, NOW), Verdict::NoSecret);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = headers.clone();
            headers.remove(name);
            assert_eq!(Verifier::new([Key::from(&secret)]).verify(&headers, BODY, NOW), Verdict::Unsigned, "{name}");
        }
    }

    #[test]
    fn nonsense_is_wrong() {
        let secret = SigningSecret::new([1; 32]);
        for (name, value) in [("webhook-timestamp", "yesterday"), ("webhook-signature", "v1,%%%"), ("webhook-id", "")] {
            let mut headers = signed(&secret, NOW.as_seconds());
            headers.insert(name, value.parse().unwrap());
            assert_eq!(
                Verifier::new([Key::from(&secret)]).verify(&headers, BODY, NOW),
                Verdict::WrongSignature,
                "{name}"
            );
        }
    }
}
