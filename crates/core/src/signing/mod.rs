//! Signatures of what is delivered, as the Standard Webhooks specification has them.
//!
//! A subscription has a [`Keyring`]; each secret in it signs by its [`Scheme`]. How a scheme works is in the file of its
//! name.

mod ed25519;
mod hmac_sha256;
mod jwk;
mod keyring;
mod scheme;
mod secret;

pub use ed25519::{Ed25519Secret, InvalidPublicKey, PublicKey};
pub use hmac_sha256::{SigningKey, SigningSecret};
pub use jwk::Jwk;
pub use keyring::{EARLIER_SECRETS_MAX, EarlierSecret, Keyring};
pub use scheme::Scheme;
pub use secret::{InvalidSecret, Secret};
