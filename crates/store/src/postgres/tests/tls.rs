//! Connections over TLS.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::server::{Server, give_to_server};
use crate::{Settings, StoreError, postgres::PostgresStore};

/// Makes an authority and a certificate for `localhost` in a folder.
fn certify(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn certificates_are_verified_where_the_url_wants_it() {
    let server = Server::start();
    certify(server.folder());
    let file = |name: &str| server.folder().join(name);
    give_to_server(&file("server.key"), &server);
    server.set(&[
        "ssl = on",
        &format!("ssl_cert_file = '{}'", file("server.pem").display()),
        &format!("ssl_key_file = '{}'", file("server.key").display()),
    ]);
    fs::write(server.data().join("pg_hba.conf"), "hostssl all all all trust\n").unwrap();
    server.set(&[]);

    let open = async |host: &str, mode: &str, ca_file: Option<&str>| {
        let url = format!("postgres://hookcast:hunter2@{host}:{}/postgres{mode}", server.port());
        PostgresStore::open(&url, &Settings { ca_file: ca_file.map(file), ..Settings::default() }).await.map(drop)
    };
    for mode in ["?sslmode=require", "?sslmode=verify-full"] {
        open("localhost", mode, Some("ca.pem")).await.unwrap();
        for (host, ca_file) in [("localhost", None), ("127.0.0.1", Some("ca.pem"))] {
            let error = open(host, mode, ca_file).await.unwrap_err();
            assert!(error.to_string().contains("certificate"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
    // Encrypted, and that is all that is asked for.
    for mode in ["", "?sslmode=prefer"] {
        open("127.0.0.1", mode, None).await.unwrap();
    }
    let plain = open("localhost", "?sslmode=disable", None).await.unwrap_err();
    assert!(matches!(plain, StoreError::Misconfigured(_)), "{plain}");
    let error = open("localhost", "?sslmode=require", Some("server.key")).await.unwrap_err();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
}

#[tokio::test]
async fn tls_is_not_done_without_where_it_is_required() {
    let server = Server::start();
    let url = format!("{}?sslmode=require", server.url);
    let error = PostgresStore::open(&url, &Settings::default()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    PostgresStore::open(&format!("{}?sslmode=prefer", server.url), &Settings::default()).await.unwrap();
}
