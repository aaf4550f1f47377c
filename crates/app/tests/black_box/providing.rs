//! Registration by the tokens of a provider (OAuth 2.0, OpenID Connect), whose keys are real ones and change.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hookcast_core::clock::{Clock as _, SystemClock};
use http::Method;
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::support::{
    http::{Answer, Call},
    receiver::{Receiver, Reply},
    server::{Home, REGISTRATION_TOKEN, Server},
};

fn text(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of a provider, and its id.
struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    fn rsa(id: &'static str) -> Self {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = PrivatePkcs8KeyDer::from_pem_slice(&made.stdout).unwrap();
        Self { id, pair: Pair::Rsa(RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap()) }
    }

    fn p256(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap();
        Self { id, pair: Pair::P256(pair) }
    }

    fn ed(id: &'static str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()) }
    }

    fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// As RFC 7517 and RFC 8037 want it.
    fn public(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let parts: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "n": text(parts.n), "e": text(parts.e)})
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key())}),
        };
        key["kid"] = json!(self.id);
        key["use"] = json!("sig");
        key
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = text(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// A provider that says where its keys are.
struct Provider {
    receiver: Receiver,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    async fn start(keys: &[&Key]) -> Self {
        let receiver = Receiver::start().await;
        let provider = Self { receiver, keys: Arc::default() };
        provider.has(keys);
        let (issuer, keys) = (provider.issuer(), Arc::clone(&provider.keys));
        provider.receiver.judge(move |request| {
            let body = match (&request.method, request.uri.path()) {
                (&Method::GET, "/realm/.well-known/openid-configuration") => {
                    json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})
                }
                (&Method::GET, "/realm/keys") => json!({"keys": *keys.lock().unwrap()}),
                _ => return Reply::from(404),
            };
            Reply { status: 200, body: body.to_string(), ..Reply::default() }
        });
        provider
    }

    fn issuer(&self) -> String {
        format!("{}/realm", self.receiver.url)
    }

    fn has(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = keys.iter().map(|key| key.public()).collect();
    }

    fn home(&self) -> Home {
        Home::new()
            .set("HOOKCAST_REGISTRATION_MODE", "jwt")
            .set("HOOKCAST_REGISTRATION_ISSUER", &self.issuer())
            .set("HOOKCAST_REGISTRATION_AUDIENCE", "hookcast")
    }

    /// What a good token says of somebody.
    fn claims(&self, user_id: &str) -> Value {
        let email = format!("{user_id}@example.org");
        json!({"iss": self.issuer(), "aud": ["other", "hookcast"], "sub": user_id, "email": email, "exp": seconds() + 600})
    }
}

fn seconds() -> i64 {
    SystemClock.now().as_millis() / 1_000
}

fn registering(server: &Server, token: &str) -> Call {
    server.http.post("/webhooks/account").bearer(token)
}

async fn own_account(server: &Server, token: &str) -> Answer {
    server.http.get("/webhooks/account").bearer(token).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_account_at_the_provider_may_subscribe() {
    let keys = [Key::rsa("r"), Key::p256("p"), Key::ed("e")];
    let provider = Provider::start(&[&keys[0], &keys[1], &keys[2]]).await;
    let (server, mut receiver) = (provider.home().serve(), Receiver::start().await);
    for (key, user) in keys.iter().zip(["ada", "bob", "cleo"]) {
        let token = key.token(&provider.claims(user));
        let early = own_account(&server, &token).await.expect_problem(403);
        assert!(early["detail"].as_str().unwrap().contains("POST /webhooks/account"), "{early}");
        let made = registering(&server, &token).send().await.expect(201);
        assert_eq!((&made["user_id"], &made["user_email"]), (&json!(user), &json!(format!("{user}@example.org"))));
        // Who has an account uses it with either token.
        for token in [&token, made["access_token"].as_str().unwrap()] {
            assert_eq!(own_account(&server, token).await.expect(200)["user_id"], user);
        }
        let wish = json!({"event": user, "url": receiver.url});
        server.http.post("/webhooks/subscribe").bearer(&token).json(&wish).send().await.expect(201);
        server.http.trigger(user, json!(1)).await;
        assert_eq!(receiver.next().await.json()["event"], user);
        registering(&server, &token).send().await.expect_problem(409);
        // A token that was lost gets another one in its place.
        let renewed = server.http.post("/webhooks/account/rotate").bearer(&token).send().await.expect(200);
        own_account(&server, renewed["access_token"].as_str().unwrap()).await.expect(200);
        own_account(&server, made["access_token"].as_str().unwrap()).await.expect_problem(401);
    }
    assert_eq!(provider.receiver.total(), 2, "the keys are asked for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_that_of_the_token_and_no_other() {
    let key = Key::p256("p");
    let provider = Provider::start(&[&key]).await;
    let server = provider.home().set("HOOKCAST_REGISTRATION_USER_ID_CLAIM", "name").serve();
    let mut claims = provider.claims("1");
    claims["name"] = json!("ada");
    let token = key.token(&claims);
    let other = json!({"user_id": "bob"});
    let refused = registering(&server, &token).json(&other).send().await.expect_problem(403);
    assert!(refused["detail"].as_str().unwrap().contains("`ada`"), "{refused}");
    let own = json!({"user_id": "ada", "user_email": "other@example.org"});
    let made = registering(&server, &token).json(&own).send().await.expect(201);
    assert_eq!((&made["user_id"], &made["user_email"]), (&json!("ada"), &json!("other@example.org")));
    // The registration token goes on to register anybody, and nobody without a token is.
    registering(&server, REGISTRATION_TOKEN).json(&other).send().await.expect(201);
    server.http.post("/webhooks/account").json(&json!({"user_id": "cleo"})).send().await.expect_problem(401);
    // A consumer's token shows what types there are, and is no producer's and no operator's.
    server.http.get("/webhooks/event-types").bearer(&token).send().await.expect(200);
    let event = json!({"event": "x", "payload": 1});
    server.http.post("/webhooks/trigger").bearer(&token).json(&event).send().await.expect_problem(401);
    server.http.get("/webhooks/admin/accounts").bearer(&token).send().await.expect_problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_anything_wrong_is_refused() {
    let (key, rsa, stranger) = (Key::p256("p"), Key::rsa("r"), Key::p256("p"));
    let provider = Provider::start(&[&key, &rsa]).await;
    let encrypting = Key::p256("e");
    let mut for_encryption = encrypting.public();
    for_encryption["use"] = json!("enc");
    provider.keys.lock().unwrap().push(for_encryption);
    let home = provider.home();
    let server = home.serve();
    let good = provider.claims("ada");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.token(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.token(&claims)
    };
    let header = |header: Value| key.token_with(&header, &good);
    let unsigned = format!("{}.{}.", text(json!({"alg": "none"}).to_string()), text(good.to_string()));
    let tampered = {
        let token = key.token(&good);
        let parts: Vec<_> = token.split('.').collect();
        format!("{}.{}.{}", parts[0], text(provider.claims("eve").to_string()), parts[2])
    };
    let wrong = [
        ("signed by a stranger", stranger.token(&good)),
        ("tampered with", tampered),
        ("unsigned", unsigned),
        ("of another issuer", with("iss", json!("https://elsewhere.example"))),
        ("for somebody else", with("aud", json!("other"))),
        ("expired", with("exp", json!(seconds() - 120))),
        ("not valid yet", with("nbf", json!(seconds() + 600))),
        ("without an end", without("exp")),
        ("without an issuer", without("iss")),
        ("without an audience", without("aud")),
        ("of nobody", without("sub")),
        ("of a number", with("sub", json!(7))),
        ("of an unknown key", header(json!({"alg": "ES256", "kid": "q"}))),
        ("of a key that is for encryption", encrypting.token(&good)),
        ("of any of several keys", header(json!({"alg": "ES256"}))),
        ("of another algorithm than its key's", header(json!({"alg": "RS256", "kid": "p"}))),
        ("of another key than its algorithm's", rsa.token_with(&json!({"alg": "RS256", "kid": "p"}), &good)),
        ("of an algorithm that shares secrets", header(json!({"alg": "HS256", "kid": "p"}))),
        ("of an unknown algorithm", header(json!({"alg": "XS1", "kid": "p"}))),
        ("of an extension", header(json!({"alg": "ES256", "kid": "p", "crit": ["b64"], "b64": true}))),
        ("of no text", "ey.e30.x".to_owned()),
        ("without a claim", format!("{}..", text(json!({"alg": "ES256", "kid": "p"}).to_string()))),
    ];
    let before = home.stored();
    for (what, token) in &wrong {
        let refused = registering(&server, token).send().await;
        assert_eq!(refused.status, 401, "a token {what}: {refused:?}");
        own_account(&server, token).await.expect_problem(401);
    }
    home.assert_stores(&before);
    registering(&server, &key.token(&good)).send().await.expect(201);
    let (log, token) = (server.log(), key.token(&good));
    assert!(!log.contains(token.rsplit('.').nth(1).unwrap()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_new_or_cannot_be_had_are_waited_for() {
    let (first, second) = (Key::ed("1"), Key::ed("2"));
    let mut provider = Provider::start(&[&first]).await;
    let server = provider.home().serve();
    registering(&server, &first.token(&provider.claims("ada"))).send().await.expect(201);
    provider.has(&[&first, &second]);
    // They are not asked for all the time, whoever shows tokens of unknown keys, but soon enough.
    let token = second.token(&provider.claims("bob"));
    registering(&server, &token).send().await.expect_problem(401);
    assert_eq!(provider.receiver.take(2).await.len(), 2);
    assert!(provider.receiver.unseen().is_empty());
    let registered = async || (registering(&server, &token).send().await.status == 201).then_some(());
    crate::support::eventually("the new key is known", registered).await;

    let gone = Provider::start(&[&first]).await;
    let token = first.token(&gone.claims("ada"));
    gone.receiver.always(500);
    let server = gone.home().serve();
    registering(&server, &token).send().await.expect_problem(503);
    let says_so = async || server.log().contains("keys cannot be had").then_some(());
    crate::support::eventually("the log says so", says_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_must_be_named() {
    let home = Home::new().set("HOOKCAST_REGISTRATION_MODE", "jwt");
    let problem = home.try_serve(&["serve"]).err().expect("it does not start");
    assert!(problem.contains("registration.issuer"), "{problem}");
    assert!(!Path::new(&home.database()).exists());
}
