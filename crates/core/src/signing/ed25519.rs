//! The asymmetric scheme `v1a`: Ed25519 with a `whsk_` private and a `whpk_` public key
//! (Standard Webhooks 1.0.0, "Signature scheme" and "Asymmetric keys").

use std::fmt;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// The text is no private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a private key is `whsk_` followed by 32 bytes of seed, or 64 of seed and public key that belong together, in base64")]
pub struct InvalidPrivateKey;

/// A private key (RFC 8032, section 5.1.5), ready to sign. Its memory is wiped when it goes.
#[derive(Clone)]
pub struct Ed25519Secret(SigningKey);

impl Ed25519Secret {
    /// The key of this seed.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the form that [`reveal`](Self::reveal) writes, or one with the public key behind the seed, as other libraries have it.
    ///
    /// # Errors
    /// [`InvalidPrivateKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidPrivateKey> {
        let encoded = text.strip_prefix(PRIVATE_PREFIX).ok_or(InvalidPrivateKey)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidPrivateKey)?;
        let (seed, public) = bytes.split_at_checked(32).ok_or(InvalidPrivateKey)?;
        let secret = Self::new(seed.try_into().map_err(|_| InvalidPrivateKey)?);
        if public.is_empty() || public == secret.public_bytes() { Ok(secret) } else { Err(InvalidPrivateKey) }
    }

    /// The private key as its owner gets it: `whsk_` and the seed in base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PRIVATE_PREFIX}{}", BASE64_STANDARD.encode(self.0.to_bytes()))
    }

    /// The public key as receivers have it: `whpk_` and base64.
    #[must_use]
    pub fn public_key(&self) -> String {
        format!("{PUBLIC_PREFIX}{}", BASE64_STANDARD.encode(self.public_bytes()))
    }

    /// The public key as a JSON web key.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.public_bytes());
        Jwk { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid: thumbprint(&x), x }
    }

    /// A signature of `message`: `v1a,` and base64.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        format!("v1a,{}", BASE64_STANDARD.encode(self.0.sign(message).to_bytes()))
    }

    fn public_bytes(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

impl fmt::Debug for Ed25519Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Secret({})", self.public_key())
    }
}

/// A public key (RFC 8037, section 2) as `/.well-known/webhook-keys` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

/// RFC 7638, section 3: the digest of the members that are required, in their order.
fn thumbprint(x: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};

    use super::*;

    /// RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn the_vectors_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let secret = Ed25519Secret::new(hex(seed).try_into().unwrap());
            assert_eq!(secret.public_bytes().as_slice(), hex(public));
            assert_eq!(secret.sign(&hex(message)), format!("v1a,{}", BASE64_STANDARD.encode(hex(signature))));
        }
    }

    /// RFC 8037, appendix A.
    #[test]
    fn the_key_and_thumbprint_of_the_standard() {
        let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let jwk = Ed25519Secret::new(seed.try_into().unwrap()).jwk();
        assert_eq!(jwk.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let json = serde_json::to_value(&jwk).unwrap();
        assert_eq!((&json["kty"], &json["crv"], &json["use"]), (&"OKP".into(), &"Ed25519".into(), &"sig".into()));
    }

    #[test]
    fn keys_read_back_with_or_without_the_public_half() {
        let secret = Ed25519Secret::new([7; 32]);
        let with_public = [[7; 32], secret.public_bytes()].concat();
        for text in [secret.reveal(), format!("whsk_{}", BASE64_STANDARD.encode(with_public))] {
            assert_eq!(Ed25519Secret::parse(&text).unwrap().reveal(), secret.reveal());
        }
        let mismatch = [[7; 32], Ed25519Secret::new([8; 32]).public_bytes()].concat();
        for text in ["", "whsk_", "whsk_AAAA", "whsec_AAAA", &format!("whsk_{}", BASE64_STANDARD.encode(mismatch))] {
            assert_eq!(Ed25519Secret::parse(text).unwrap_err(), InvalidPrivateKey, "{text}");
        }
    }

    #[test]
    fn receivers_verify_with_the_public_key_alone() {
        let secret = Ed25519Secret::new([3; 32]);
        let bytes = BASE64_STANDARD.decode(secret.public_key().strip_prefix("whpk_").unwrap()).unwrap();
        let key = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
        let signature = BASE64_STANDARD.decode(secret.sign(b"evt.1.{}").strip_prefix("v1a,").unwrap()).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        assert!(key.verify(b"evt.1.{}", &signature).is_ok());
        assert!(key.verify(b"evt.1.[]", &signature).is_err());
    }

    #[test]
    fn the_private_half_does_not_show() {
        let secret = Ed25519Secret::new([3; 32]);
        let shown = format!("{secret:?}");
        assert!(shown.contains("whpk_") && !shown.contains(&BASE64_STANDARD.encode([3; 32])));
    }
}
