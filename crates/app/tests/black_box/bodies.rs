//! Request bodies: as large as they may be, larger, slow, broken off.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use serde_json::{Value, json};

use crate::support::{
    PATIENCE, eventually,
    server::{Home, REGISTRATION_TOKEN, Server, TRIGGER_TOKEN},
};

const MIB: usize = 1024 * 1024;

/// A connection that does what no well-behaved client does.
struct Raw {
    stream: BufReader<TcpStream>,
}

/// What came back on it.
#[derive(Debug)]
struct RawAnswer {
    status: u16,
    body: Value,
}

impl Raw {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Writes a request's head with some headers of its own.
    fn begin(&mut self, method: &str, path: &str, token: &str, headers: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{headers}\r\n\r\n");
        self.write(head.as_bytes());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_ascii_lowercase()
    }

    fn answer(&mut self) -> RawAnswer {
        let status = self.line().split(' ').nth(1).expect("an answer").parse().unwrap();
        let mut length = 0;
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        RawAnswer { status, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    #[track_caller]
    fn expect_problem(&mut self, status: u16) {
        let answer = self.answer();
        assert_eq!((answer.status, &answer.body["status"]), (status, &json!(status)), "{answer:?}");
    }
}

/// How a body says how long it is.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks,
}

impl Framing {
    fn header(self, length: usize) -> String {
        match self {
            Self::Length => format!("content-length: {length}"),
            Self::Chunks => "transfer-encoding: chunked".into(),
        }
    }

    fn write(self, raw: &mut Raw, body: &[u8]) {
        match self {
            Self::Length => raw.write(body),
            Self::Chunks => {
                for chunk in body.chunks(64 * 1024) {
                    raw.write(format!("{:x}\r\n", chunk.len()).as_bytes());
                    raw.write(chunk);
                    raw.write(b"\r\n");
                }
                raw.write(b"0\r\n\r\n");
            }
        }
    }
}

/// A small event for a body.
const EVENT: &str = r#"{"event":"e","payload":1}"#;

/// A JSON text with white space behind it, of exactly so many bytes.
fn padded(text: &str, length: usize) -> String {
    text.to_owned() + &" ".repeat(length - text.len())
}

#[test]
fn whoever_sends_far_too_much_before_it_reads_still_sees_the_answer() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    let body = vec![b' '; 40 * MIB];
    for framing in [Framing::Length, Framing::Chunks] {
        for (method, path, token, content_type, status) in [
            ("POST", "/webhooks/trigger", TRIGGER_TOKEN, "application/json", 413),
            ("POST", "/webhooks/account", REGISTRATION_TOKEN, "application/json", 413),
            ("POST", "/webhooks/trigger", "unknown", "application/json", 401),
            ("POST", "/webhooks/trigger", REGISTRATION_TOKEN, "application/json", 403),
            ("POST", "/webhooks/trigger", TRIGGER_TOKEN, "text/plain", 415),
            ("GET", "/webhooks/subscriptions", "unknown", "application/json", 401),
            ("PUT", "/webhooks/trigger", TRIGGER_TOKEN, "application/json", 405),
            ("POST", "/webhooks/nowhere", TRIGGER_TOKEN, "application/json", 404),
        ] {
            println!("{framing:?} {method} {path} {status}");
            let mut raw = Raw::connect(&server);
            let headers = format!("content-type: {content_type}\r\n{}", framing.header(body.len()));
            raw.begin(method, path, token, &headers);
            framing.write(&mut raw, &body);
            raw.expect_problem(status);
        }
    }
    home.assert_stores(&before);
}

#[test]
fn who_asks_before_it_sends_is_answered_before_it_has_sent() {
    let server = Home::new().serve();
    let body = padded(EVENT, 1_000);
    for (token, length, status) in [(TRIGGER_TOKEN, 40 * MIB, 413), ("unknown", 1_000, 401)] {
        let mut raw = Raw::connect(&server);
        let headers = format!("expect: 100-continue\r\ncontent-length: {length}");
        raw.begin("POST", "/webhooks/trigger", token, &headers);
        raw.expect_problem(status);
    }
    let mut raw = Raw::connect(&server);
    raw.begin("POST", "/webhooks/trigger", TRIGGER_TOKEN, "expect: 100-continue\r\ncontent-length: 1000");
    assert_eq!((raw.line().as_str(), raw.line().as_str()), ("http/1.1 100 continue", ""));
    raw.write(body.as_bytes());
    assert_eq!(raw.answer().status, 202);
}

#[test]
fn a_body_that_breaks_off_is_not_taken() {
    let home = Home::new();
    let server = home.serve();
    let before = home.stored();
    for (headers, sent) in [
        ("content-length: 1000".to_owned(), EVENT.to_owned()),
        ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{EVENT}\r\n", EVENT.len())),
        ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{EVENT}\r\nnonsense\r\n\r\n", EVENT.len())),
    ] {
        let mut raw = Raw::connect(&server);
        raw.begin("POST", "/webhooks/trigger", TRIGGER_TOKEN, &headers);
        raw.write(sent.as_bytes());
        raw.stream.get_mut().shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        // An answer or none, but the end of the connection.
        let _ = raw.stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{headers}: {answer}");
    }
    home.assert_stores(&before);
    let mut raw = Raw::connect(&server);
    raw.begin("POST", "/webhooks/trigger", TRIGGER_TOKEN, &format!("content-length: {}", EVENT.len()));
    raw.write(EVENT.as_bytes());
    assert_eq!(raw.answer().status, 202);
}

#[test]
fn a_request_has_sixteen_mebibytes_at_the_most() {
    let home = Home::new();
    let server = home.serve();
    for framing in [Framing::Length, Framing::Chunks] {
        for (length, status) in [(16 * MIB, 202), (16 * MIB + 1, 413)] {
            let before = home.stored().len();
            let mut raw = Raw::connect(&server);
            raw.begin("POST", "/webhooks/trigger", TRIGGER_TOKEN, &framing.header(length));
            framing.write(&mut raw, padded(EVENT, length).as_bytes());
            assert_eq!(raw.answer().status, status, "{framing:?} {length}");
            assert_eq!(home.stored().len(), before + usize::from(status == 202));
        }
    }
}

#[tokio::test]
async fn an_event_has_one_mebibyte_at_the_most() {
    let home = Home::new();
    let server = home.serve();
    let event = |length: usize| format!(r#"{{"event":"e","payload":"{}"}}"#, "x".repeat(length - 2));
    let receipt = server.http.trigger_text(event(MIB)).await.expect(202);
    let payload = &server.http.event(receipt["id"].as_str().unwrap()).await["payload"];
    assert_eq!(payload.as_str().unwrap().len(), MIB - 2);

    let before = home.stored();
    server.http.trigger_text(event(MIB + 1)).await.expect_problem(413);
    let batch = format!("[{},{},{}]", event(10), event(MIB), event(MIB + 1));
    assert_eq!(server.http.trigger_text(batch).await.expect_problem(413)["index"], 2);
    home.assert_stores(&before);
    let batch = vec![event(MIB); 15].join("\n");
    assert_eq!(server.http.trigger_lines(batch).await.expect(202).as_array().unwrap().len(), 15);
}

#[tokio::test]
async fn the_operator_sets_the_limits() {
    let home = Home::new()
        .set("HOOKCAST_LIMITS_EVENT_SIZE", "100")
        .set("HOOKCAST_LIMITS_REQUEST_SIZE", "1KiB")
        .set("HOOKCAST_LIMITS_BATCH_EVENTS", "2");
    let server = home.serve();
    let event = |length: usize| json!({"event": "e", "payload": "x".repeat(length - 2)});
    server.http.try_trigger(&event(100)).await.expect(202);
    server.http.trigger_text(padded(EVENT, 1_024)).await.expect(202);
    server.http.try_trigger(&json!([event(100), event(100)])).await.expect(202);
    let before = home.stored();
    server.http.try_trigger(&event(101)).await.expect_problem(413);
    server.http.trigger_text(padded(EVENT, 1_025)).await.expect_problem(413);
    let problem = server.http.try_trigger(&json!([event(9), event(9), event(9)])).await.expect_problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("may have 2"), "{problem}");
    home.assert_stores(&before);
}

#[tokio::test]
async fn other_requests_have_sixty_four_kibibytes_at_the_most() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    let subscription = ada.subscribe("e", "http://127.0.0.1:3/").await.id;
    let path = format!("/webhooks/subscriptions/{subscription}");
    let subscribe = json!({"event": "f", "url": "http://127.0.0.1:3/"}).to_string();
    for (method, path, token, body) in [
        ("POST", "/webhooks/account", REGISTRATION_TOKEN, r#"{"user_id":"bob"}"#),
        ("POST", "/webhooks/subscribe", &ada.token, &subscribe),
        ("PATCH", &path, &ada.token, r#"{"is_active":false}"#),
    ] {
        for (length, is_taken) in [(64 * 1024 + 1, false), (64 * 1024, true)] {
            let call = server.http.request(method.parse().unwrap(), path).bearer(token);
            let answer = call.body("application/json", padded(body, length)).send().await;
            if is_taken {
                assert!(answer.status.is_success(), "{answer:?}");
            } else {
                answer.expect_problem(413);
            }
        }
    }
}

#[tokio::test]
async fn an_object_of_very_many_members_is_refused_in_no_time() {
    let server = Home::new().serve();
    let members: String = (0..300_000).map(|n| format!("\"{n}\":0,")).collect();
    server.http.trigger_text(format!("{{{members}\"event\":\"e\",\"payload\":1}}")).await.expect_problem(422);
    let long = "x".repeat(4 * MIB);
    let twice = server.http.trigger_text(format!(r#"{{"{long}":1,"{long}":2}}"#)).await;
    twice.expect_problem(422);
    assert!(twice.body.len() < 1_000, "the answer has {} bytes", twice.body.len());
}

#[tokio::test]
async fn while_others_fill_the_room_for_bodies_new_ones_are_put_off() {
    let home = Home::new().set("HOOKCAST_LIMITS_REQUEST_SIZE", "1MiB").set("HOOKCAST_LIMITS_BUFFERED", "1MiB");
    let server = home.serve();
    let mut slow = Raw::connect(&server);
    let headers = format!("expect: 100-continue\r\n{}", Framing::Length.header(MIB));
    slow.begin("POST", "/webhooks/trigger", TRIGGER_TOKEN, &headers);
    // It has got its room when the server asks for the rest.
    assert!(slow.line().contains("100 continue"));
    assert_eq!(slow.line(), "");
    let body = padded(EVENT, MIB);
    slow.write(&body.as_bytes()[..1_000]);
    let refused = server.http.trigger_text(padded(EVENT, 1_000)).await;
    refused.expect_problem(503);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));

    slow.write(&body.as_bytes()[1_000..]);
    assert_eq!(slow.answer().status, 202);
    eventually("room again", async || {
        (server.http.trigger_text(padded(EVENT, 1_000)).await.status == 202).then_some(())
    })
    .await;
}
