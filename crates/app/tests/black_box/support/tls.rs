//! Certificates of a private authority, and a callback that asks for them.

use std::{
    io::{Read, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::sync::mpsc;

/// An authority that nobody knows of unless told.
pub struct Authority {
    /// Its own certificate as PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub private_key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Vouches for a new identity of this name.
    pub fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, private_key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots.into()
    }
}

/// A callback with a certificate of its authority that answers nobody without one.
pub struct StrictReceiver {
    pub url: String,
    /// The certificates that came, each with its request's text.
    requests: mpsc::UnboundedReceiver<(CertificateDer<'static>, String)>,
}

impl StrictReceiver {
    pub fn start(authority: &Authority) -> Self {
        let own = authority.identity("127.0.0.1");
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(authority.roots(), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(own.private_key.as_bytes()).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let Some(request) = read_request(&mut stream) else { continue };
                let certificate = stream.conn.peer_certificates().unwrap()[0].clone().into_owned();
                // A client that hangs up now has been served.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
                if sender.send((certificate, request)).is_err() {
                    break;
                }
            }
        });
        Self { url, requests }
    }

    /// The certificate of the next request, as PEM's inside, and the request's text.
    pub async fn next(&mut self) -> (CertificateDer<'static>, String) {
        let next = tokio::time::timeout(super::PATIENCE, self.requests.recv()).await;
        next.expect("a delivery in time").unwrap()
    }
}

/// Reads a request to its end, which for a webhook is that of a JSON object; nothing where the handshake fails.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        match stream.read(&mut chunk) {
            Ok(length @ 1..) => request.extend_from_slice(&chunk[..length]),
            Ok(0) | Err(_) => return None,
        }
    }
    Some(String::from_utf8(request).unwrap())
}
