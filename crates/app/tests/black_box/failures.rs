//! What counts as a failed attempt, and that no receiver can do harm with its answers.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE,
    receiver::{Receiver, Reply},
    server::{Home, Server},
};

#[tokio::test]
async fn every_answer_but_200_is_a_failure() {
    let receiver = Receiver::start().await;
    let server = without_retries().set("HOOKCAST_DELIVERY_BREAKER_FAILURES", "0").serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("judged", &receiver.url).await;
    let statuses = [201, 202, 204, 206, 299, 300, 302, 304, 400, 404, 500, 599];
    for (count, status) in (1..).zip(statuses) {
        receiver.always(status);
        let attempt = only_attempt(&server, "judged", "failed").await;
        assert_eq!(attempt["status"], status);
        assert_eq!(attempt["failure"], Value::Null);
        assert_eq!(ada.subscription(&subscription.id).await["failure_count"], count);
    }
    receiver.always(200);
    assert_eq!(only_attempt(&server, "judged", "delivered").await["status"], 200);
}

#[tokio::test]
async fn every_2xx_is_a_success_where_the_setting_says_so() {
    let receiver = Receiver::start().await;
    let server = without_retries().set("HOOKCAST_DELIVERY_SUCCESS", "2xx").serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("judged", &receiver.url).await;
    for (status, state) in [(200, "delivered"), (201, "delivered"), (204, "delivered"), (299, "delivered")]
        .into_iter()
        .chain([(300, "failed"), (302, "failed"), (404, "failed"), (500, "failed")])
    {
        receiver.always(status);
        assert_eq!(only_attempt(&server, "judged", state).await["status"], status);
    }
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let target = Receiver::start().await;
    let receiver = Receiver::start().await;
    let server = without_retries().serve();
    let ada = server.http.account("ada").await;
    ada.subscribe("moved", &receiver.url).await;
    for status in [301, 302, 303, 307, 308] {
        receiver.next_replies([Reply { headers: vec![("location", target.url.clone())], ..Reply::from(status) }]);
        assert_eq!(only_attempt(&server, "moved", "failed").await["status"], status);
    }
    assert_eq!(target.total(), 0);
}

#[tokio::test]
async fn a_receiver_that_never_answers_runs_into_the_timeout() {
    let silent = Receiver::start_gated(0).await;
    let attempt = attempt_at(&impatient(), &silent.url, "failed").await;
    assert_eq!(attempt["failure"], "timeout");
    assert_eq!(attempt["status"], Value::Null);
    assert!(attempt["latency_ms"].as_u64().unwrap() >= 300);
    assert_eq!(silent.total(), 1);
}

#[tokio::test]
async fn a_receiver_that_drips_its_answer_runs_into_the_timeout() {
    let dripping_body = play(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        drip(stream);
    });
    let dripping_head = play(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ");
        drip(stream);
    });
    for url in [dripping_body, dripping_head] {
        assert_eq!(attempt_at(&impatient(), &url, "failed").await["failure"], "timeout");
    }
}

/// Sends a byte now and then, far more often than any limit on silence would notice.
fn drip(mut stream: TcpStream) {
    while stream.write_all(b"a").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let attempt = attempt_at(&without_retries(), &format!("http://{nobody}/"), "failed").await;
    assert_eq!(attempt["failure"], "connect");
    assert!(attempt["detail"].as_str().unwrap().contains(&nobody.to_string()), "{attempt}");
}

#[tokio::test]
async fn what_is_not_http_is_a_failure() {
    let answers: [&[u8]; 5] = [
        b"",
        b"220 mail.example.org ESMTP\r\n",
        b"\x16\x03\x01\x00\xff\x00\x00",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nand no more",
    ];
    for answer in answers {
        let url = play(move |mut stream| {
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Write);
        });
        let attempt = attempt_at(&without_retries(), &url, "failed").await;
        assert_eq!(attempt["failure"], "protocol", "{:?}", String::from_utf8_lossy(answer));
        assert_eq!(attempt["status"], Value::Null);
        assert!(attempt["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

#[tokio::test]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let (sender, sent) = mpsc::channel();
    let endless = play(move |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut bytes = 0;
        while stream.write_all(&[b'a'; 4096]).is_ok() {
            bytes += 4096;
        }
        let _ = sender.send(bytes);
    });
    let home = without_retries();
    let server = home.serve();
    let attempt = first_attempt(&server, &endless, "delivered").await;
    assert_eq!(attempt["answer"], "a".repeat(1024));
    let bytes = sent.recv_timeout(PATIENCE).expect("the connection is dropped");
    assert!(bytes < 64 * 1024 * 1024, "{bytes} bytes, and what systems buffer is a small part of that");
}

#[tokio::test]
async fn of_an_endless_head_nothing_is_believed() {
    let endless = play(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-endless: ");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    });
    assert_eq!(attempt_at(&without_retries(), &endless, "failed").await["failure"], "protocol");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_failure() {
    let (url, _) = play_tls();
    let attempt = attempt_at(&without_retries(), &url, "failed").await;
    assert_eq!(attempt["failure"], "tls");
    assert_eq!(attempt["status"], Value::Null);
}

#[tokio::test]
async fn a_certificate_is_trusted_that_the_operator_trusts() {
    let (url, certificate) = play_tls();
    let home = without_retries().set("HOOKCAST_DELIVERY_CA_FILE", "authorities.pem");
    let file: PathBuf = home.path().join("authorities.pem");
    std::fs::write(file, certificate).unwrap();
    let attempt = attempt_at(&home, &url, "delivered").await;
    assert_eq!((&attempt["status"], &attempt["answer"]), (&json!(200), &json!("thanks, privately")));
}

fn without_retries() -> Home {
    Home::new().set("HOOKCAST_DELIVERY_RETRY_SCHEDULE", "")
}

fn impatient() -> Home {
    let home = without_retries().set("HOOKCAST_DELIVERY_CONNECT_TIMEOUT", "300ms");
    home.set("HOOKCAST_DELIVERY_TIMEOUT", "300ms")
}

/// Delivers an event to this URL, from a server of its own; the only attempt, once the delivery is in this state.
async fn attempt_at(home: &Home, url: &str, state: &str) -> Value {
    first_attempt(&home.serve(), url, state).await
}

async fn first_attempt(server: &Server, url: &str, state: &str) -> Value {
    server.http.account("ada").await.subscribe("tried", url).await;
    only_attempt(server, "tried", state).await
}

/// Triggers an event; its delivery's only attempt, once the delivery is in this state.
async fn only_attempt(server: &Server, event: &str, state: &str) -> Value {
    let receipt = server.http.trigger(event, json!({})).await;
    let event = server.http.event_in_state(receipt["id"].as_str().unwrap(), state).await;
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    attempts[0].clone()
}

/// A receiver that reads every request and then does `this` with its connection; the URL.
fn play(this: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            this(stream);
        }
    });
    url
}

/// Reads a request to its end, which for a webhook is that of a JSON object.
fn read_request(stream: &mut impl Read) {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        match stream.read(&mut chunk) {
            Ok(length @ 1..) => request.extend_from_slice(&chunk[..length]),
            Ok(0) | Err(_) => break,
        }
    }
}

/// A receiver that speaks TLS with a certificate of its own for its address; the URL, and the certificate as PEM.
fn play_tls() -> (String, String) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nthanks, privately");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (url, own.cert.pem())
}
