//! Mutual TLS, with receivers that let nobody in without a certificate of their authority.

use std::net::TcpStream;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hookcast_core::callback_auth::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use serde_json::json;

use super::*;
use crate::client::{Credentials, TlsIdentity, check_client_tls};

/// Vouches for receivers and for clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn vouch(&self, name: &str, key: &KeyPair) -> rcgen::Certificate {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.signed_by(key, &self.issuer).unwrap()
    }

    /// A receiver for `localhost` that wants certificates of this authority.
    fn receiver(&self) -> Receiver {
        let key = KeyPair::generate().unwrap();
        let certificate = self.vouch("localhost", &key);
        let mut clients = RootCertStore::empty();
        clients.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        Receiver::start_over(
            |connection| {
                while connection.read_request() && connection.write(OK) {}
            },
            move |stream: TcpStream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream),
        )
    }

    /// A client with a certificate of this authority, which trusts `ca`.
    fn client(&self, key: &KeyPair, ca: Option<&str>) -> ClientTls {
        client_tls(&self.vouch("hookcast", key).pem(), &key.serialize_pem(), ca)
    }

    fn credentials(&self, ca: Option<&str>) -> Credentials {
        credentials(self.client(&KeyPair::generate().unwrap(), ca))
    }
}

fn client_tls(certificate: &str, private_key: &str, ca: Option<&str>) -> ClientTls {
    let given = json!({ "certificate": certificate, "private_key": private_key, "ca": ca });
    ClientTls::parse("client_tls", given).unwrap()
}

fn credentials(tls: ClientTls) -> Credentials {
    Credentials { identity: Some(TlsIdentity::new(tls)), ..Credentials::default() }
}

async fn send_as(client: &Client, credentials: &Credentials, receiver: &Receiver) -> AttemptResult {
    let uri = format!("https://localhost:{}/?token=secret", receiver.address.port()).parse().unwrap();
    client.send_as(credentials, &uri, HeaderMap::new(), Bytes::from_static(b"{}")).await
}

#[tokio::test]
async fn a_certificate_opens_what_is_closed_without_it() {
    let authority = Authority::new();
    let receiver = authority.receiver();
    let client = client();
    let ca = authority.pem();

    let credentials = authority.credentials(Some(&ca));
    for _ in 0..3 {
        assert_eq!(answered(send_as(&client, &credentials, &receiver).await).excerpt, "hello");
    }
    assert!(receiver.requests().iter().all(|request| request.connection == 0), "connections are kept");

    let stranger = Authority::new().credentials(Some(&ca));
    let untrusting = authority.credentials(None);
    for (credentials, told) in [
        (&stranger, "received fatal alert"),
        (&untrusting, "UnknownIssuer"),
        (&Credentials::default(), "UnknownIssuer"),
    ] {
        let (failure, detail) = unanswered(send_as(&client, credentials, &receiver).await);
        assert_eq!(failure, Failure::Tls, "{detail}");
        assert!(detail.contains(told), "{detail}");
    }
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_is_trusted_but_wants_a_certificate_is_a_tls_failure() {
    let authority = Authority::new();
    let receiver = authority.receiver();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("authorities.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let client = client_with(ClientSettings { extra_authorities: Some(path), ..settings(Duration::from_secs(60)) });
    let (failure, detail) = unanswered(send_as(&client, &Credentials::default(), &receiver).await);
    assert_eq!(failure, Failure::Tls, "{detail}");
    answered(send_as(&client, &authority.credentials(None), &receiver).await);
}

#[tokio::test]
async fn nobody_gets_the_connections_of_another_identity() {
    let authority = Authority::new();
    let receiver = authority.receiver();
    let client = client();
    let key = KeyPair::generate().unwrap();
    let tls = authority.client(&key, Some(&authority.pem()));
    let ada = credentials(tls.clone());
    let ada_made_anew = credentials(tls);
    let bob = authority.credentials(Some(&authority.pem()));
    for credentials in [&ada, &bob, &ada_made_anew, &bob] {
        answered(send_as(&client, credentials, &receiver).await);
    }
    assert_eq!(receiver.requests().iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[tokio::test]
async fn keys_may_be_of_several_kinds() {
    let authority = Authority::new();
    let receiver = authority.receiver();
    let client = client();
    let p256 = KeyPair::generate().unwrap();
    // RFC 5208 wraps the key of RFC 5915, which is what remains of it without the parts that say what it is.
    let sec1 = BASE64_STANDARD.encode(p256.serialize_der().split_off(138 - 109));
    let sec1 = format!("-----BEGIN EC PRIVATE KEY-----\n{sec1}\n-----END EC PRIVATE KEY-----\n");
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let ca = authority.pem();
    for tls in [
        authority.client(&p256, Some(&ca)),
        client_tls(&authority.vouch("hookcast", &p256).pem(), &sec1, Some(&ca)),
        authority.client(&ed25519, Some(&ca)),
    ] {
        assert_eq!(check_client_tls(&tls), Ok(()));
        answered(send_as(&client, &credentials(tls), &receiver).await);
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_told_when_it_is_set_and_when_it_is_used() {
    let authority = Authority::new();
    let [key, other] = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let certificate = authority.vouch("hookcast", &key).pem();
    let private_key = key.serialize_pem();
    let hello = |label: &str| format!("-----BEGIN {label}-----\naGVsbG8=\n-----END {label}-----\n");
    let receiver = authority.receiver();
    let client = client();
    for (tls, told) in [
        (
            client_tls(&certificate, &other.serialize_pem(), None),
            "`tls.private_key` does not belong to the certificate",
        ),
        (
            client_tls(&certificate, &hello("PRIVATE KEY"), None),
            "`tls.private_key` must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519",
        ),
        (
            client_tls(&hello("CERTIFICATE"), &private_key, None),
            "`tls.certificate` is not a certificate of X.509, version 3",
        ),
        (
            client_tls(&certificate, &private_key, Some(&hello("CERTIFICATE"))),
            "`tls.ca` has a certificate that cannot be that of an authority",
        ),
    ] {
        assert_eq!(check_client_tls(&tls).unwrap_err().to_string(), told);
        let (failure, detail) = unanswered(send_as(&client, &credentials(tls), &receiver).await);
        assert_eq!((failure, detail.as_str()), (Failure::Auth, told));
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn keys_are_not_shown() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let credentials = credentials(authority.client(&key, Some(&authority.pem())));
    let client = client();
    answered(send_as(&client, &credentials, &authority.receiver()).await);
    let shown = format!("{client:?} {credentials:?}");
    let pem = key.serialize_pem();
    let line = pem.lines().nth(1).unwrap();
    assert!(!shown.contains(line) && !shown.contains(&format!("{:?}", key.serialize_der())), "{shown}");
}
