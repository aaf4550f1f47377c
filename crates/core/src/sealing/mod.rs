//! How secrets lie in a store: encrypted under a master key that the store does not have, where there is one.
//!
//! What is kept begins with a byte that says how the rest is to be read:
//!
//! | first byte | the rest |
//! |---|---|
//! | 0 | the document as it is |
//! | 1 | the master key's id (4 bytes), the nonce (24), the document in XChaCha20-Poly1305 |
//!
//! Exactly 32 bytes are neither: earlier versions kept a bare HMAC secret so.
//!
//! Encryption keeps what is in the store from whoever reads the store or a copy of it. It proves of a sealed document that
//! it was sealed for this context; of a plain one it proves nothing, and plain ones are read whether or not there is a
//! master key, since they may be older than it.

mod master_key;

use std::fmt;

use chacha20poly1305::{AeadInOut as _, Tag};
use secrecy::SecretSlice;

pub use master_key::{InvalidMasterKey, KeyId, MasterKey, MasterKeys};

const PLAIN: u8 = 0;
const XCHACHA20_POLY1305: u8 = 1;
const NONCE_LEN: usize = 24;
/// How many bytes of the authenticator end an encrypted document.
const AUTHENTICATOR_LEN: usize = 16;
/// How long a bare HMAC secret of an earlier version is.
const LEGACY_LEN: usize = 32;

/// A document as a store keeps it. Only [`open`](Self::open) knows what is in it, and nothing shows it, since it may be
/// unencrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// What was kept.
#[derive(Debug)]
pub enum Opened {
    /// A document that [`Sealed::seal`] was given.
    Document(SecretSlice<u8>),
    /// The bare HMAC secret that an earlier version kept.
    Legacy(SecretSlice<u8>),
}

/// What is kept cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is encrypted, and there is no master key at all.
    #[error("it is encrypted under the master key {0}, and no master key is configured: configure that one")]
    NoMasterKey(KeyId),
    /// It is encrypted under a key that is not there.
    #[error(
        "it is encrypted under the master key {0}, which is not among those configured: configure that one as an earlier key"
    )]
    UnknownKey(KeyId),
    /// It does not decrypt under the key that it names.
    #[error("it does not decrypt under the master key {0}: it was changed, or it was moved here from another record")]
    Broken(KeyId),
    /// It begins with a byte that means nothing here.
    #[error("it is kept in form {0}, which this version does not know: it was damaged, or a later version wrote it")]
    UnknownForm(u8),
    /// It ends too early.
    #[error("it is cut short")]
    Truncated,
}

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

    /// The bytes, for a store to keep.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Encrypts a document under the current master key, or leaves it as it is where there is none.
    ///
    /// It opens with the same `context` alone, such as the id of the record that it belongs to, so that nobody can move it
    /// to another record. `nonce` is random and never used twice. The document is text in which a space at the end means
    /// nothing, such as JSON: a plain one that would be taken for a bare secret by its length gets one.
    #[must_use]
    pub fn seal(keys: Option<&MasterKeys>, context: &[u8], document: &[u8], nonce: [u8; NONCE_LEN]) -> Self {
        match keys {
            Some(keys) => encrypt(keys.current(), context, document, nonce),
            None => plain(document),
        }
    }

    /// Reads what is kept, with whichever master key it was sealed under.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong, and what to do where something can be done.
    pub fn open(&self, keys: Option<&MasterKeys>, context: &[u8]) -> Result<Opened, OpenError> {
        if self.0.len() == LEGACY_LEN {
            return Ok(Opened::Legacy(self.0.clone().into()));
        }
        match self.0.split_first().ok_or(OpenError::Truncated)? {
            (&PLAIN, document) => Ok(Opened::Document(document.to_vec().into())),
            (&XCHACHA20_POLY1305, sealed) => decrypt(keys, context, sealed).map(Opened::Document),
            (&form, _) => Err(OpenError::UnknownForm(form)),
        }
    }

    /// Whether it is kept as [`seal`](Self::seal) would keep it with these keys: under the current one, or plain where
    /// there is none. What is not may be opened and sealed again.
    #[must_use]
    pub fn is_sealed_with(&self, keys: Option<&MasterKeys>) -> bool {
        if self.0.len() == LEGACY_LEN {
            return false;
        }
        match (self.0.split_first(), keys) {
            (Some((&PLAIN, _)), None) => true,
            (Some((&XCHACHA20_POLY1305, sealed)), Some(keys)) => sealed.starts_with(keys.current().id().as_bytes()),
            _ => false,
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

fn plain(document: &[u8]) -> Sealed {
    let padding: &[u8] = if 1 + document.len() == LEGACY_LEN { b" " } else { b"" };
    Sealed([&[PLAIN], document, padding].concat())
}

fn encrypt(key: &MasterKey, context: &[u8], document: &[u8], nonce: [u8; NONCE_LEN]) -> Sealed {
    let mut head = vec![XCHACHA20_POLY1305];
    head.extend_from_slice(key.id().as_bytes());
    head.extend_from_slice(&nonce);
    // The document is encrypted where it will stay, with room for all of it from the start: it leaves no copy behind.
    let mut bytes = Vec::with_capacity(head.len() + document.len() + AUTHENTICATOR_LEN);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(document);
    match key.cipher().encrypt_inout_detached(&nonce.into(), context, (&mut bytes[head.len()..]).into()) {
        Ok(authenticator) => bytes.extend_from_slice(&authenticator),
        Err(_) => unreachable!("XChaCha20-Poly1305 takes every document that memory can hold"),
    }
    Sealed(bytes)
}

/// Decrypts what comes after the first byte.
fn decrypt(keys: Option<&MasterKeys>, context: &[u8], sealed: &[u8]) -> Result<SecretSlice<u8>, OpenError> {
    let (id, rest) = sealed.split_first_chunk().ok_or(OpenError::Truncated)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::Truncated)?;
    let (document, authenticator) = rest.split_last_chunk::<AUTHENTICATOR_LEN>().ok_or(OpenError::Truncated)?;

    let id = KeyId::from_bytes(*id);
    let key = keys.ok_or(OpenError::NoMasterKey(id))?.find(id).ok_or(OpenError::UnknownKey(id))?;
    let mut document = document.to_vec();
    key.cipher()
        .decrypt_inout_detached(&(*nonce).into(), context, document.as_mut_slice().into(), &Tag::from(*authenticator))
        .map_err(|_| OpenError::Broken(id))?;
    Ok(document.into())
}

#[cfg(test)]
mod tests;
