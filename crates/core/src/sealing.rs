//! Secrets at rest: encrypted with a master key where one is configured (XChaCha20-Poly1305,
//! draft-irtf-cfrg-xchacha-03), and as they are otherwise.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use secrecy::{ExposeSecret as _, SecretBox, SecretSlice};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "hcmk_";

/// The first byte says what follows.
const PLAIN: u8 = 0;
/// The id of the master key, the nonce, the ciphertext.
const ENCRYPTED: u8 = 1;

/// What the first version kept was a secret for HMAC of so many bytes, and nothing else. Nothing that is made today is as long.
const LEGACY_LENGTH: usize = 32;

const ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;

/// Secrets as a store keeps them.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// What a store has kept.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is as it would be if it were sealed now, with these keys.
    #[must_use]
    pub fn is_current(&self, keys: Option<&MasterKeys>) -> bool {
        match keys {
            None => self.0.first() == Some(&PLAIN) && self.0.len() != LEGACY_LENGTH,
            Some(keys) => {
                self.0.first() == Some(&ENCRYPTED)
                    && self.0.len() != LEGACY_LENGTH
                    && self.0.get(1..=ID_LENGTH) == Some(&keys.current.id[..])
            }
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// The text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is `hcmk_` followed by 32 bytes in base64")]
pub struct InvalidMasterKey;

/// A key that encrypts secrets at rest.
#[derive(Clone)]
pub struct MasterKey {
    key: Arc<SecretBox<[u8; 32]>>,
    id: [u8; ID_LENGTH],
}

impl MasterKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let mut id = [0; ID_LENGTH];
        id.copy_from_slice(&Sha256::digest(bytes)[..ID_LENGTH]);
        Self { key: Arc::new(SecretBox::new(Box::new(bytes))), id }
    }

    /// The key as its operator keeps it: `hcmk_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(self.key.expose_secret()))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose_secret().into())
    }
}

impl FromStr for MasterKey {
    type Err = InvalidMasterKey;

    fn from_str(text: &str) -> Result<Self, InvalidMasterKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidMasterKey)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidMasterKey)?;
        Ok(Self::new(bytes.try_into().map_err(|_| InvalidMasterKey)?))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", hex(&self.id))
    }
}

/// The master key that encrypts, and those before it that may have encrypted what is there.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    current: MasterKey,
    earlier: Vec<MasterKey>,
}

impl MasterKeys {
    /// The first one encrypts, and all decrypt; `None` of none.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = MasterKey>) -> Option<Self> {
        let mut keys = keys.into_iter();
        Some(Self { current: keys.next()?, earlier: keys.collect() })
    }

    fn by_id(&self, id: &[u8]) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.earlier).find(|key| key.id == id)
    }
}

/// What was sealed.
#[derive(Debug)]
pub enum Opened {
    /// The document.
    Document(SecretSlice<u8>),
    /// What the first version kept: the bytes of a secret for HMAC.
    Legacy(SecretSlice<u8>),
}

/// Why what was sealed cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no key for it.
    #[error(
        "secrets are encrypted with the master key {0}, which is not configured: add it to encryption.master_keys"
    )]
    NoKey(String),
    /// It is not what the key has encrypted, or not for this.
    #[error("secrets that the master key {0} has encrypted were changed since")]
    Tampered(String),
    /// It was written by a later version, or is no sealed document at all.
    #[error("secrets are of an unknown form")]
    Unknown,
}

/// Seals a document. `context` is what it belongs to: it opens in no other.
#[must_use]
pub fn seal(keys: Option<&MasterKeys>, context: &[u8], document: &[u8], nonce: [u8; NONCE_LENGTH]) -> Sealed {
    let Some(MasterKeys { current, .. }) = keys else { return plain(document) };
    let payload = Payload { msg: document, aad: context };
    match current.cipher().encrypt(&XNonce::from(nonce), payload) {
        Ok(ciphertext) => {
            let mut bytes = vec![ENCRYPTED];
            bytes.extend_from_slice(&current.id);
            bytes.extend_from_slice(&nonce);
            bytes.extend_from_slice(&ciphertext);
            // The tag alone makes it longer than what the first version kept.
            Sealed(bytes)
        }
        Err(_) => unreachable!("only documents of 256 GiB cannot be encrypted"),
    }
}

fn plain(document: &[u8]) -> Sealed {
    let mut bytes = Vec::with_capacity(document.len() + 2);
    bytes.push(PLAIN);
    bytes.extend_from_slice(document);
    if bytes.len() == LEGACY_LENGTH {
        // White space behind JSON means nothing.
        bytes.push(b' ');
    }
    Sealed(bytes)
}

/// Opens what [`seal`] has sealed for this context.
///
/// # Errors
/// See [`OpenError`].
pub fn open(keys: Option<&MasterKeys>, context: &[u8], sealed: &Sealed) -> Result<Opened, OpenError> {
    let bytes = sealed.as_bytes();
    if bytes.len() == LEGACY_LENGTH {
        return Ok(Opened::Legacy(bytes.to_vec().into()));
    }
    match bytes.split_first() {
        Some((&PLAIN, document)) => Ok(Opened::Document(document.to_vec().into())),
        Some((&ENCRYPTED, rest)) => {
            let (id, rest) = rest.split_at_checked(ID_LENGTH).ok_or(OpenError::Unknown)?;
            let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(OpenError::Unknown)?;
            let key = keys.and_then(|keys| keys.by_id(id)).ok_or_else(|| OpenError::NoKey(hex(id)))?;
            let payload = Payload { msg: ciphertext, aad: context };
            let document =
                key.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| OpenError::Tampered(hex(id)))?;
            Ok(Opened::Document(document.into()))
        }
        _ => Err(OpenError::Unknown),
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> MasterKeys {
        MasterKeys::new(bytes.iter().map(|byte| MasterKey::new([*byte; 32]))).unwrap()
    }

    fn opened(keys: Option<&MasterKeys>, context: &[u8], sealed: &Sealed) -> Result<Vec<u8>, OpenError> {
        open(keys, context, sealed).map(|opened| match opened {
            Opened::Document(document) => document.expose_secret().to_vec(),
            Opened::Legacy(_) => panic!("not of the first version"),
        })
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(text in "[ -~]{0,80}", encrypts: bool) {
            let document = serde_json::to_vec(&text).unwrap();
            let keys = encrypts.then(|| keys(&[1]));
            let sealed = seal(keys.as_ref(), b"sub", &document, [7; 24]);
            prop_assert!(sealed.is_current(keys.as_ref()));
            let opened = opened(keys.as_ref(), b"sub", &sealed).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&opened).unwrap(), text);
        }

        #[test]
        fn a_change_of_any_byte_is_noticed(at in 0_usize..100, bit in 0_u8..8) {
            let keys = keys(&[1]);
            let Sealed(mut bytes) = seal(Some(&keys), b"sub", &[b'x'; 80], [7; 24]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // A plain document may say anything; whoever can write one can do so in any case.
            prop_assume!(bytes[0] != PLAIN);
            prop_assert!(open(Some(&keys), b"sub", &Sealed(bytes)).is_err());
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = open(Some(&keys(&[1])), b"sub", &Sealed(bytes));
        }
    }

    #[test]
    fn it_opens_for_what_it_belongs_to_alone() {
        let keys = keys(&[1]);
        let sealed = seal(Some(&keys), b"ada", b"{}", [7; 24]);
        assert!(matches!(opened(Some(&keys), b"bob", &sealed), Err(OpenError::Tampered(_))));
    }

    #[test]
    fn earlier_keys_open_and_the_current_one_seals() {
        let sealed = seal(Some(&keys(&[1])), b"ada", b"{}", [7; 24]);
        let rotated = keys(&[2, 1]);
        assert_eq!(opened(Some(&rotated), b"ada", &sealed).unwrap(), b"{}");
        assert!(!sealed.is_current(Some(&rotated)) && !sealed.is_current(None));
        let again = seal(Some(&rotated), b"ada", b"{}", [8; 24]);
        assert!(again.is_current(Some(&rotated)));
        let error = opened(Some(&keys(&[2])), b"ada", &sealed).unwrap_err();
        assert!(error.to_string().contains("encryption.master_keys"), "{error}");
        assert!(matches!(opened(None, b"ada", &sealed), Err(OpenError::NoKey(_))));
    }

    #[test]
    fn a_secret_of_the_first_version_is_known() {
        let sealed = Sealed::from_bytes(vec![1; LEGACY_LENGTH]);
        assert!(!sealed.is_current(None) && !sealed.is_current(Some(&keys(&[1]))));
        assert!(matches!(open(None, b"", &sealed), Ok(Opened::Legacy(_))));
        for length in 0..70 {
            assert_ne!(seal(None, b"", &vec![b'x'; length], [0; 24]).as_bytes().len(), LEGACY_LENGTH);
        }
    }

    #[test]
    fn keys_read_back_and_do_not_show() {
        let key = MasterKey::new([9; 32]);
        let read: MasterKey = key.reveal().parse().unwrap();
        assert_eq!(read.reveal(), key.reveal());
        assert!(!format!("{:?}", keys(&[9])).contains(&key.reveal()[PREFIX.len()..]));
        for text in ["", "hcmk_", "hcmk_AAAA", &key.reveal()[PREFIX.len()..]] {
            assert!(text.parse::<MasterKey>().is_err(), "{text}");
        }
    }
}
