//! Whom the client trusts, and how it shows who it is.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hookcast_core::callback_auth::{ClientTls, Refused};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use secrecy::ExposeSecret;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of extra authorities cannot be read as PEM.
    #[error("cannot read the certificates in {}", .0.display())]
    Authorities(PathBuf, #[source] pem::Error),
    /// The file of extra authorities has no certificate.
    #[error("there is no certificate in {}", .0.display())]
    NoAuthority(PathBuf),
    /// A certificate cannot be that of an authority.
    #[error("a certificate in {} cannot be used", .0.display())]
    BadAuthority(PathBuf, #[source] rustls::Error),
    /// The TLS library refuses what it is built with.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// The public authorities that browsers trust, and those of the PEM file.
pub(super) fn trusted(extra_authorities: Option<&Path>) -> Result<Arc<RootCertStore>, ClientError> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = extra_authorities {
        roots.add_parsable_certificates(authorities(path)?);
    }
    Ok(Arc::new(roots))
}

/// TLS 1.2 and 1.3 for HTTP/1.1, of a client that does not show who it is.
pub(super) fn anonymous(roots: Arc<RootCertStore>) -> Result<ClientConfig, ClientError> {
    Ok(http(builder(roots).map_err(ClientError::Tls)?.with_no_client_auth()))
}

/// The same of a client that shows its certificate, and trusts its own authorities too.
///
/// # Errors
///
/// The member that cannot be used, and why.
pub(super) fn identified(roots: &Arc<RootCertStore>, tls: &ClientTls) -> Result<ClientConfig, Refused> {
    let roots = match tls.ca() {
        Some(ca) => Arc::new(with_own(RootCertStore::clone(roots), ca)?),
        None => Arc::clone(roots),
    };
    let chain = certificates(tls.certificate()).map_err(|_| refused("certificate", "must be certificates in PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(tls.private_key().expose_secret().as_bytes())
        .map_err(|_| refused("private_key", "must be a private key in PEM"))?;
    let config = builder(roots).and_then(|builder| builder.with_client_auth_cert(chain, key)).map_err(|error| {
        match error {
            rustls::Error::InconsistentKeys(_) => refused("private_key", "does not belong to the certificate"),
            rustls::Error::InvalidCertificate(_) => refused("certificate", "is not a certificate of X.509, version 3"),
            // The library's words add nothing: it cannot tell a key that is broken from one of another kind.
            _ => refused("private_key", "must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519"),
        }
    })?;
    // One subscription has one callback, so that there is little to remember.
    let mut config = http(config);
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(config)
}

/// Says whether requests can be made with a certificate and its key: that both can be understood and belong together. For
/// whoever is about to keep them.
///
/// # Errors
///
/// The member that cannot be used, and why.
pub fn check_client_tls(tls: &ClientTls) -> Result<(), Refused> {
    identified(&Arc::new(RootCertStore::empty()), tls).map(drop)
}

type ConfigBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(roots: Arc<RootCertStore>) -> Result<ConfigBuilder, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots))
}

fn http(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn with_own(mut roots: RootCertStore, ca: &str) -> Result<RootCertStore, Refused> {
    let authorities = certificates(ca).map_err(|_| refused("ca", "must be certificates in PEM"))?;
    for authority in authorities {
        roots.add(authority).map_err(|_| refused("ca", "has a certificate that cannot be that of an authority"))?;
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

fn refused(member: &str, rule: &'static str) -> Refused {
    Refused::new(format!("tls.{member}"), rule)
}

/// The certificates of a PEM file, of which there is at least one, each fit to be an authority's.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let unreadable = |error| ClientError::Authorities(path.to_owned(), error);
    let found = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let certificates = found.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let mut trusted = RootCertStore::empty();
    for certificate in &certificates {
        trusted.add(certificate.clone()).map_err(|error| ClientError::BadAuthority(path.to_owned(), error))?;
    }
    if certificates.is_empty() { Err(ClientError::NoAuthority(path.to_owned())) } else { Ok(certificates) }
}
