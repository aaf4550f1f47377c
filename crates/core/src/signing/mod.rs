//! Signatures of what is delivered, as the Standard Webhooks specification has them.

mod hmac_sha256;

pub use hmac_sha256::{InvalidSecret, SigningKey, SigningSecret};
