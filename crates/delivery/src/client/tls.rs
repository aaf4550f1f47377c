//! Whom the client trusts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};

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

/// TLS 1.2 and 1.3 for HTTP/1.1, with the public authorities that browsers trust and those of the PEM file.
pub(super) fn client_config(extra_authorities: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = extra_authorities {
        roots.add_parsable_certificates(authorities(path)?);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
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
