//! A secret of any scheme.

use super::{Ed25519Secret, PublicKey, Scheme, SigningKey, SigningSecret, ed25519, hmac_sha256};

/// What a subscription's deliveries are signed with. Its text says by its prefix which scheme it is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Secret {
    /// A secret that both sides know.
    Hmac(SigningSecret),
    /// A private key.
    Ed25519(Ed25519Secret),
}

/// The text is no signing secret. The text itself is not shown, since it may be one that is mistyped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It begins like none.
    #[error("a signing secret begins with `whsec_` (HMAC-SHA256) or `whsk_` (Ed25519)")]
    Prefix,
    /// It is the half that others may know.
    #[error("`whpk_` is a public key, which cannot sign: give the private key, which begins with `whsk_`")]
    PublicKey,
    /// The rest of a `whsec_` is wrong.
    #[error("a signing secret is `whsec_` followed by 24 to 64 bytes in base64")]
    Hmac,
    /// The rest of a `whsk_` is wrong.
    #[error("a private key is `whsk_` followed by 32 bytes in base64, or by 64 where the public key comes after them")]
    Ed25519,
    /// The two halves of a `whsk_` of 64 bytes are of different keys.
    #[error("the public key at the end of this `whsk_` does not belong to its private key")]
    Mismatch,
}

impl Secret {
    /// A new secret of these random bytes, or none where nothing is signed.
    #[must_use]
    pub fn generate(scheme: Scheme, random: [u8; 32]) -> Option<Self> {
        match scheme {
            Scheme::None => None,
            Scheme::HmacSha256 => Some(Self::Hmac(SigningSecret::new(random))),
            Scheme::Ed25519 => Some(Self::Ed25519(Ed25519Secret::new(random))),
        }
    }

    /// Reads the form that [`reveal`](Self::reveal) writes.
    ///
    /// # Errors
    /// [`InvalidSecret`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if text.starts_with(hmac_sha256::PREFIX) {
            SigningSecret::parse(text).map(Self::Hmac)
        } else if text.starts_with(ed25519::PRIVATE_PREFIX) {
            Ed25519Secret::parse(text).map(Self::Ed25519)
        } else if text.starts_with(ed25519::PUBLIC_PREFIX) {
            Err(InvalidSecret::PublicKey)
        } else {
            Err(InvalidSecret::Prefix)
        }
    }

    /// The secret as its owner gets it: `whsec_` or `whsk_`, and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        match self {
            Self::Hmac(secret) => secret.reveal(),
            Self::Ed25519(secret) => secret.reveal(),
        }
    }

    /// The scheme that the secret is for.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Hmac(_) => Scheme::HmacSha256,
            Self::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// The key by which a receiver verifies; none where it needs the secret itself.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(secret) => Some(secret.public_key()),
        }
    }
}

/// A secret made ready to sign, so that a delivery costs no more than its own signature.
#[derive(Clone, Debug)]
pub(super) enum ReadyKey {
    Hmac(SigningKey),
    Ed25519(Ed25519Secret),
}

impl ReadyKey {
    pub(super) fn new(secret: &Secret) -> Self {
        match secret {
            Secret::Hmac(secret) => Self::Hmac(SigningKey::new(secret)),
            Secret::Ed25519(secret) => Self::Ed25519(secret.clone()),
        }
    }

    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        match self {
            Self::Hmac(key) => key.sign(id, timestamp, body),
            Self::Ed25519(key) => key.sign(id, timestamp, body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_is_said_and_the_secret_is_not() {
        let mismatched =
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfXKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        for (text, error) in [
            ("", InvalidSecret::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecret::Prefix),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecret::Prefix),
            ("whsec_c2hvcnQ=", InvalidSecret::Hmac),
            ("whsk_c2hvcnQ=", InvalidSecret::Ed25519),
            ("whsk_%%%", InvalidSecret::Ed25519),
            (mismatched, InvalidSecret::Mismatch),
            ("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", InvalidSecret::PublicKey),
        ] {
            assert_eq!(Secret::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_secret_is_made_for_a_scheme() {
        assert_eq!(Secret::generate(Scheme::None, [1; 32]), None);
        for scheme in [Scheme::HmacSha256, Scheme::Ed25519] {
            let secret = Secret::generate(scheme, [1; 32]).unwrap();
            assert_eq!(secret.scheme(), scheme);
            assert_eq!(secret.public_key().is_some(), scheme == Scheme::Ed25519);
        }
    }

    proptest::proptest! {
        #[test]
        fn secrets_read_back_and_do_not_show(random: [u8; 32], ed25519: bool) {
            let scheme = if ed25519 { Scheme::Ed25519 } else { Scheme::HmacSha256 };
            let secret = Secret::generate(scheme, random).unwrap();
            let text = secret.reveal();
            proptest::prop_assert_eq!(&Secret::parse(&text).unwrap(), &secret);
            let shown = format!("{secret:?} {:?}", ReadyKey::new(&secret));
            proptest::prop_assert!(shown.len() < 80 && !shown.contains(&text), "{}", shown);
        }
    }
}
