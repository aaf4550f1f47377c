//! Public keys in the form that web libraries read: JSON Web Key.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::PublicKey;

/// An Ed25519 public key as a JSON Web Key (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    alg: &'static str,
    #[serde(rename = "use")]
    use_: &'static str,
    kid: String,
}

impl Jwk {
    /// The key's id: its thumbprint (RFC 7638), so that the same key has the same id everywhere.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl From<&PublicKey> for Jwk {
    fn from(key: &PublicKey) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes());
        // RFC 7638 hashes the members that make the key, in the order of their names and without white space.
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let kid = BASE64_URL_SAFE_NO_PAD.encode(thumbprint);
        Self { kty: "OKP", crv: "Ed25519", x, alg: "EdDSA", use_: "sig", kid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Ed25519Secret;

    /// RFC 8037, appendices A.1 to A.3.
    #[test]
    fn the_key_of_rfc_8037_and_its_thumbprint() {
        let private = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = Ed25519Secret::new(private.try_into().unwrap()).public_key();
        assert_eq!(
            serde_json::to_value(Jwk::from(&key)).unwrap(),
            serde_json::json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "alg": "EdDSA",
                "use": "sig",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            })
        );
    }
}
