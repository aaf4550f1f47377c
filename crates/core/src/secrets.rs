//! What a subscription keeps to itself: the secrets that sign, and what authenticates to its callback. Stores keep them as one
//! [`Sealed`] document.

use secrecy::{ExposeSecret as _, SecretSlice};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    callback_auth::{CallbackAuth, ClientTls},
    clock::Timestamp,
    id::SubscriptionId,
    sealing::{MasterKeys, OpenError, Opened, Sealed},
    signing::{EarlierSecret, Keyring, Secret, SigningSecret},
};

/// A subscription's secrets.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// What signs.
    pub keys: Keyring,
    /// What every request authenticates with.
    pub auth: Option<CallbackAuth>,
    /// What every connection authenticates with.
    pub tls: Option<ClientTls>,
}

/// Why a subscription's secrets cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretsError {
    /// They cannot be decrypted.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// What was decrypted makes no sense.
    #[error("the secrets of a subscription are not as they should be: {0}")]
    Malformed(&'static str),
}

/// The document, before it is sealed.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<EarlierKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct EarlierKey {
    key: String,
    /// In ms.
    until: i64,
}

impl Secrets {
    /// Seals them for this subscription, and for no other.
    #[must_use]
    pub fn seal(&self, keys: Option<&MasterKeys>, subscription: SubscriptionId, nonce: [u8; 24]) -> Sealed {
        let document = Document {
            key: self.keys.current().map(Secret::reveal),
            earlier: self
                .keys
                .earlier()
                .map(|earlier| EarlierKey { key: earlier.secret.reveal(), until: earlier.until.as_millis() })
                .collect(),
            auth: self.auth.as_ref().map(CallbackAuth::to_secret_json),
            tls: self.tls.as_ref().map(ClientTls::to_secret_json),
        };
        // Of strings and numbers there is always JSON.
        let text: SecretSlice<u8> = serde_json::to_vec(&document).unwrap_or_default().into();
        Sealed::seal(keys, &subscription.to_bytes(), text.expose_secret(), nonce)
    }

    /// Opens what [`seal`](Self::seal) has made.
    ///
    /// # Errors
    /// The master key is not the right one, or something else is wrong with it.
    pub fn open(
        sealed: &Sealed,
        keys: Option<&MasterKeys>,
        subscription: SubscriptionId,
    ) -> Result<Self, SecretsError> {
        let text = match sealed.open(keys, &subscription.to_bytes())? {
            // What the first version of Hookcast kept: the secret alone.
            Opened::Legacy(bytes) => {
                let secret = Secret::Hmac(SigningSecret::from_bytes(bytes.expose_secret().to_vec()));
                return Ok(Self { keys: Keyring::new(Some(secret)), ..Self::default() });
            }
            Opened::Document(text) => text,
        };
        let document: Document =
            serde_json::from_slice(text.expose_secret()).map_err(|_| SecretsError::Malformed("no document"))?;
        let key = |text: &str| Secret::parse(text).map_err(|_| SecretsError::Malformed("a signing secret"));
        let earlier = document.earlier.iter().map(|earlier| {
            Ok(EarlierSecret { secret: key(&earlier.key)?, until: Timestamp::from_millis(earlier.until) })
        });
        let earlier: Vec<_> = earlier.collect::<Result<_, SecretsError>>()?;
        let keys = Keyring::from_parts(document.key.as_deref().map(key).transpose()?, earlier);
        let auth = document.auth.map(CallbackAuth::from_secret_json).transpose();
        let tls = document.tls.map(ClientTls::from_secret_json).transpose();
        Ok(Self {
            keys,
            auth: auth.map_err(|_| SecretsError::Malformed("the authentication"))?,
            tls: tls.map_err(|_| SecretsError::Malformed("the client's certificate"))?,
        })
    }
}
