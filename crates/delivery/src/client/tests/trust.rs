//! TLS: whom the client believes.

use std::{fs, net::TcpStream, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;

use super::*;
use crate::client::ClientError;

/// An authority's certificate as PEM, and a receiver for `localhost` that it vouches for.
pub(super) fn vouched_for() -> (String, Receiver) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);

    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    // A receiver that speaks nothing else: the handshake fails unless the client offers it.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let wrap = move |stream: TcpStream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
    let receiver = Receiver::start_over(
        |connection| {
            while connection.read_request() && connection.write(OK) {}
        },
        wrap,
    );
    (authority, receiver)
}

pub(super) fn https(receiver: &Receiver, host: &str) -> Uri {
    format!("https://{host}:{}/?token=secret", receiver.address.port()).parse().unwrap()
}

/// A file in a directory that lasts as long as the first value.
pub(super) fn file(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("authorities.pem");
    fs::write(&path, content).unwrap();
    (directory, path)
}

fn trusting(path: PathBuf) -> Result<Client, ClientError> {
    let settings = ClientSettings { extra_authorities: Some(path), ..settings(Duration::from_secs(60)) };
    Client::new(settings, Arc::new(SystemClock))
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_a_tls_failure() {
    let (_, receiver) = vouched_for();
    let (failure, detail) = unanswered(send(&client(), &https(&receiver, "localhost")).await);
    assert_eq!((failure, detail.as_str()), (Failure::Tls, "invalid peer certificate: UnknownIssuer"));
}

#[tokio::test]
async fn an_extra_authority_is_trusted_for_the_names_that_it_vouches_for() {
    let (authority, receiver) = vouched_for();
    let (_directory, path) = file(&authority);
    let client = trusting(path).unwrap();
    for _ in 0..3 {
        assert_eq!(answered(send(&client, &https(&receiver, "localhost")).await).excerpt, "hello");
    }
    assert!(receiver.requests().iter().all(|request| request.connection == 0), "connections are kept");
    assert_eq!(unanswered(send(&client, &https(&receiver, "127.0.0.1")).await).0, Failure::Tls);
}

#[tokio::test]
async fn what_does_not_speak_tls_is_a_tls_failure() {
    let silent = Receiver::start(|_| {});
    let plain = Receiver::start(|connection| {
        connection.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        connection.wait_for_end();
    });
    for receiver in [silent, plain] {
        assert_eq!(unanswered(send(&client(), &https(&receiver, "localhost")).await).0, Failure::Tls);
    }
}

#[test]
fn a_file_of_authorities_must_have_some() {
    let (directory, path) = file("");
    assert!(matches!(trusting(path), Err(ClientError::NoAuthority(_))));
    assert!(matches!(trusting(directory.path().join("missing.pem")), Err(ClientError::Authorities(..))));
    let (_directory, path) = file("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    assert!(matches!(trusting(path), Err(ClientError::Authorities(..))));
    let (_directory, path) = file("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    assert!(matches!(trusting(path), Err(ClientError::BadAuthority(..))));
}
