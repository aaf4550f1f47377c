//! The keys that secrets are encrypted under.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "hcmk_";
const KEY_LEN: usize = 32;

/// A key that secrets are encrypted under. It lies where the store does not, such as in a file of the server's, and is
/// wiped from memory in the end.
#[derive(Clone)]
pub struct MasterKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// The name of a master key: the first four bytes of its SHA-256. It tells keys apart and says nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 4]);

/// The text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is `hcmk_` followed by 32 random bytes in base64")]
pub struct InvalidMasterKey;

impl MasterKey {
    /// The text of a new key, of these random bytes.
    #[must_use]
    pub fn generate(random: [u8; KEY_LEN]) -> SecretString {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(random)).into()
    }

    /// Reads a key: `hcmk_` and base64 of 32 bytes.
    ///
    /// # Errors
    /// [`InvalidMasterKey`] when the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidMasterKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidMasterKey)?;
        let bytes: SecretSlice<u8> = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidMasterKey)?.into();
        let cipher = XChaCha20Poly1305::new_from_slice(bytes.expose_secret()).map_err(|_| InvalidMasterKey)?;
        Ok(Self { id: KeyId::of(bytes.expose_secret()), cipher })
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn cipher(&self) -> &XChaCha20Poly1305 {
        &self.cipher
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}…)", self.id)
    }
}

impl KeyId {
    fn of(key: &[u8]) -> Self {
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(key).into();
        Self([a, b, c, d])
    }

    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    /// Eight hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The current master key, which everything new is encrypted under, and earlier ones, which still open what they sealed.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    current: MasterKey,
    earlier: Vec<MasterKey>,
}

impl MasterKeys {
    /// These keys.
    #[must_use]
    pub fn new(current: MasterKey, earlier: Vec<MasterKey>) -> Self {
        Self { current, earlier }
    }

    /// The key that new secrets are encrypted under.
    #[must_use]
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.earlier).find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_under_the_same_name_and_do_not_show() {
        let text = MasterKey::generate([7; 32]);
        let key = MasterKey::parse(text.expose_secret()).unwrap();
        // sha256 of 32 bytes of 7.
        assert_eq!(key.id().to_string(), "4bb06f8e");
        assert_eq!(format!("{key:?}"), "MasterKey(4bb06f8e…)");
        let keys = MasterKeys::new(key.clone(), vec![key]);
        assert_eq!(
            format!("{keys:?}"),
            "MasterKeys { current: MasterKey(4bb06f8e…), earlier: [MasterKey(4bb06f8e…)] }"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (short, long) = (BASE64_STANDARD.encode([7; 31]), BASE64_STANDARD.encode([7; 33]));
        let bare = BASE64_STANDARD.encode([7; 32]);
        for text in ["", "hcmk_", "hcmk_%", &bare, &format!("hcmk_{short}"), &format!("hcmk_{long}")] {
            assert_eq!(MasterKey::parse(text).unwrap_err(), InvalidMasterKey, "{text}");
        }
    }
}
