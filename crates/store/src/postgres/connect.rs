//! How the server is reached: the URL, and TLS.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::StoreError;

/// What a server does not answer for this long is no connection any more.
const SILENCE: Duration = Duration::from_secs(15);

/// All that it takes to connect.
#[derive(Clone)]
pub(crate) struct Connector {
    pub config: tokio_postgres::Config,
    pub tls: MakeRustlsConnect,
}

impl Connector {
    /// Reads a URL as libpq does. `sslmode` may be `disable`, `prefer` (the default: TLS where the server has it, whatever its
    /// certificate), `require` or `verify-full` (TLS, and a certificate that an authority vouches for).
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Misconfigured(format!("the database URL is wrong: {reason}"));
        let (url, verifies) = match url.split_once("sslmode=verify-full") {
            Some((before, after)) => (format!("{before}sslmode=require{after}"), true),
            None => (url.to_owned(), false),
        };
        // The parser's words name the part that is wrong, and no value.
        let mut config: tokio_postgres::Config = url.parse().map_err(|error| {
            let error: tokio_postgres::Error = error;
            wrong(&std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host, as `postgres://user:password@host/database` does"));
        }
        if config.get_application_name().is_none() {
            config.application_name("hookcast");
        }
        config.connect_timeout(SILENCE).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE).keepalives_interval(SILENCE / 3).keepalives_retries(3);
        let verifies = verifies || config.get_ssl_mode() == SslMode::Require;
        Ok(Self { config, tls: MakeRustlsConnect::new(client_config(ca_file, verifies)?) })
    }
}

fn client_config(ca_file: Option<&Path>, verifies: bool) -> Result<ClientConfig, StoreError> {
    let wrong = |error: &dyn std::fmt::Display| StoreError::Misconfigured(format!("database.ca_file: {error}"));
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca_file {
        let public = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        if roots.len() == public {
            return Err(wrong(&"there is no certificate in it"));
        }
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Misconfigured(error.to_string()))?;
    let config = if verifies {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    Ok(config.with_no_client_auth())
}

/// Takes whatever certificate the server has, as libpq does unless it is told to verify: better encrypted than not.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        for url in ["postgres://me:hunter2@host:port/db", "postgres://me:hunter2@host/db?nonsense=1", "postgres://"] {
            let error = Connector::new(url, None).err().unwrap().to_string();
            assert!(error.contains("the database URL is wrong") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn modes_of_tls() {
        for mode in ["disable", "prefer", "require", "verify-full"] {
            Connector::new(&format!("postgres://me@host/db?sslmode={mode}"), None).unwrap();
        }
        assert!(Connector::new("postgres://me@host/db?sslmode=nonsense", None).is_err());
    }
}
