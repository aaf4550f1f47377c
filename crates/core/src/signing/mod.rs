//! Signatures of what is delivered, as the Standard Webhooks specification has them.

mod ed25519;
mod hmac_sha256;
mod keyring;

pub use ed25519::{Ed25519Secret, InvalidPrivateKey, Jwk};
pub use hmac_sha256::{InvalidSecret, SigningKey, SigningSecret};
pub use keyring::{Keyring, Scheme, Secret, UnknownSecret};
