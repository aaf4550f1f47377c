//! Connections over TLS.

use std::{fs, net::TcpListener};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::server::{Sender, Server, open};
use crate::{Settings, StoreError};

#[tokio::test]
async fn authorities_of_a_file_are_trusted_besides_the_public_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(file("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(file("server.pem"), certificate.pem()).unwrap();
    fs::write(file("server.key"), key.serialize_pem()).unwrap();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}/");
    let trusting = |name: &str| Settings { ca_file: Some(folder.path().join(name)), ..Settings::default() };
    let mut sender = Sender::new(open(&url, trusting("ca.pem")).await.unwrap()).await;
    sender.send(10).await.unwrap();

    let distrusted = open(&url, Settings::default()).await.err().unwrap();
    assert!(matches!(distrusted, StoreError::Unavailable(_)), "{distrusted}");
    for bad in ["missing.pem", "server.key"] {
        let error = open(&url, trusting(bad)).await.err().unwrap();
        assert!(matches!(error, StoreError::Misconfigured(_)), "{bad}: {error}");
    }
}
