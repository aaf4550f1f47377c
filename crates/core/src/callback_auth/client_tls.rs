//! The certificate by which Hookcast shows a callback who it is (mutual TLS).

use std::fmt;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::members::{Members, Refused};

/// The most bytes of each PEM text.
pub const PEM_MAX: usize = 32 * 1024;

/// A client certificate with its key, and whom the callback's own certificate may come from.
///
/// That these are PEM of the right kinds is known; whether the TLS library can use them is for `delivery` to say.
#[derive(Clone)]
pub struct ClientTls {
    certificate: String,
    private_key: SecretString,
    ca: Option<String>,
}

impl ClientTls {
    /// Reads what a client gave as the member `member`: `{"certificate":…,"private_key":…,"ca":…}`, each in PEM.
    /// `certificate` may go on with the certificates of its authorities; `private_key` is PKCS#8, SEC1 or PKCS#1 and not
    /// encrypted; `ca` may be left out.
    ///
    /// # Errors
    /// The member that breaks a rule, and the rule.
    pub fn parse(member: &str, value: Value) -> Result<Self, Refused> {
        let mut members = Members::of(member, value)?;
        let certificate = members.text("certificate")?;
        check_certificates(&certificate).map_err(|rule| members.refuse("certificate", rule))?;
        let private_key = members.text("private_key")?;
        check_key(&private_key).map_err(|rule| members.refuse("private_key", rule))?;
        let ca = members.optional("ca")?;
        if let Some(ca) = &ca {
            check_certificates(ca).map_err(|rule| members.refuse("ca", rule))?;
        }
        members.end("`certificate`, `private_key` and `ca`")?;
        Ok(Self { certificate, private_key: private_key.into(), ca })
    }

    /// Reads what [`to_secret_json`](Self::to_secret_json) wrote.
    ///
    /// # Errors
    /// It wrote something else.
    pub fn from_secret_json(value: Value) -> Result<Self, Refused> {
        Self::parse("client_tls", value)
    }

    /// The whole with its key, to be sealed and nothing else.
    #[must_use]
    pub fn to_secret_json(&self) -> Value {
        json!({
            "certificate": self.certificate,
            "private_key": self.private_key.expose_secret(),
            "ca": self.ca,
        })
    }

    /// What its owner may see again: the SHA-256 of the certificate and of each certificate in `ca`, in hexadecimal digits.
    #[must_use]
    pub fn public_view(&self) -> Value {
        let fingerprints = |pem: &str| -> Vec<String> {
            CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().map(|der| fingerprint(&der)).collect()
        };
        let mut view = json!({ "certificate_sha256": fingerprints(&self.certificate).first() });
        if let Some(ca) = &self.ca {
            view["ca_sha256"] = fingerprints(ca).into();
        }
        view
    }

    /// The certificate, and those that vouch for it, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key in PEM.
    #[must_use]
    pub fn private_key(&self) -> &SecretString {
        &self.private_key
    }

    /// Certificates of authorities that the callback may have its own from, besides the public ones, in PEM.
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Tells it from others: the SHA-256 of all that it consists of.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        super::digest([&self.certificate, self.private_key.expose_secret(), self.ca.as_deref().unwrap_or_default()])
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls(…)")
    }
}

fn fingerprint(der: &CertificateDer<'_>) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_certificates(pem: &str) -> Result<(), String> {
    check_length(pem)?;
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        _ => Err("must be certificates in PEM (`-----BEGIN CERTIFICATE-----`)".into()),
    }
}

fn check_key(pem: &str) -> Result<(), String> {
    check_length(pem)?;
    if pem.contains("ENCRYPTED") {
        return Err("must not be encrypted; nobody could enter its passphrase".into());
    }
    let keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match keys.as_deref() {
        Ok([_]) => Ok(()),
        _ => Err("must be one private key in PEM, as PKCS#8, SEC1 or PKCS#1".into()),
    }
}

fn check_length(pem: &str) -> Result<(), String> {
    if pem.len() > PEM_MAX { Err(format!("must have at most {PEM_MAX} bytes")) } else { Ok(()) }
}
