//! The client against real sockets.

mod client_tls;
mod failures;
mod hostile;
mod oauth2;
mod proxies;
mod proxy;
mod receiver;
mod trust;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hookcast_core::{
    clock::{Clock, SystemClock, Timestamp},
    delivery::{Answer, AttemptResult, Failure},
    guard::{AllowedNetworks, Rules},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

use super::{Client, ClientSettings};
use receiver::{OK, Receiver};

/// Rules that let loopback addresses pass.
fn loopback() -> Rules {
    let networks = AllowedNetworks::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    Rules { networks, ..Rules::default() }
}

fn settings(timeout: Duration) -> ClientSettings {
    ClientSettings { timeout, connect_timeout: timeout, rules: loopback(), proxy: None, extra_authorities: None }
}

/// A client that gives up so late that a test which runs into it has failed.
fn client() -> Client {
    client_with(settings(Duration::from_secs(60)))
}

fn client_with(settings: ClientSettings) -> Client {
    Client::new(settings, Arc::new(SystemClock)).unwrap()
}

async fn send(client: &Client, uri: &Uri) -> AttemptResult {
    client.send(uri, HeaderMap::new(), Bytes::from_static(b"{}")).await
}

fn answered(result: AttemptResult) -> Answer {
    match result {
        AttemptResult::Answered(answer) => answer,
        AttemptResult::Unanswered { failure, detail } => panic!("{failure:?}: {detail}"),
    }
}

fn unanswered(result: AttemptResult) -> (Failure, String) {
    match result {
        AttemptResult::Answered(answer) => panic!("{answer:?}"),
        AttemptResult::Unanswered { failure, detail } => (failure, detail),
    }
}

#[tokio::test]
async fn the_request_is_a_post_and_the_answer_is_told() {
    let receiver = Receiver::answering(OK);
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let result = client().send(&receiver.uri(), headers, Bytes::from_static(b"{\"a\":1}")).await;

    let expected = Answer { status: 200, excerpt: "hello".to_owned(), retry_after: None };
    assert_eq!(result, AttemptResult::Answered(expected));
    let request = receiver.requests().remove(0).text;
    let mut lines: Vec<_> = request.split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /hook?token=secret HTTP/1.1");
    let host = format!("host: {}", receiver.address);
    lines.sort_unstable();
    assert_eq!(lines, ["", "content-length: 7", "content-type: application/json", &host, "{\"a\":1}"]);
}

#[tokio::test]
async fn framing_headers_are_the_clients_own() {
    let receiver = Receiver::answering(OK);
    let wrong =
        [("host", "elsewhere"), ("content-length", "1"), ("transfer-encoding", "gzip"), ("connection", "close")];
    let wrong = wrong.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    for body in ["", "{}"] {
        answered(client().send(&receiver.uri(), HeaderMap::from_iter(wrong.clone()), body.into()).await);
        let request = receiver.requests().pop().unwrap().text;
        assert!(request.contains(&format!("host: {}\r\n", receiver.address)), "{request}");
        assert!(request.contains(&format!("content-length: {}\r\n", body.len())), "{request}");
        assert!(!request.contains("transfer-encoding") && !request.contains("connection"), "{request}");
    }
}

#[tokio::test]
async fn a_redirect_is_the_answer() {
    let receiver = Receiver::answering("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(answered(send(&client(), &receiver.uri()).await).status, 302);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        connection.write("HTTP/1.1 200 OK\r\n\r\n");
        while connection.write([b'x'; 4096]) {}
    });
    let answer = answered(send(&client(), &receiver.uri()).await);
    assert_eq!((answer.status, answer.excerpt), (200, "x".repeat(1024)));
}

#[tokio::test]
async fn connections_are_kept() {
    let receiver = Receiver::answering(OK);
    let client = client();
    for _ in 0..10 {
        answered(send(&client, &receiver.uri()).await);
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), 10);
    assert!(requests.iter().all(|request| request.connection == 0));
}

/// The connection is closed while it is idle, without a word before, and the next request may already be on its way.
#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_failure() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        connection.write(OK);
    });
    let client = client();
    for sent in 1..=50 {
        assert_eq!(answered(send(&client, &receiver.uri()).await).status, 200);
        assert_eq!(receiver.requests().len(), sent);
    }
}

/// The same as above, made certain: the request is read before the connection is closed.
#[tokio::test]
async fn a_kept_connection_that_ends_unanswered_is_replaced_once() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        if connection.number != 1 {
            connection.write(OK);
            connection.read_request();
        }
    });
    let client = client();
    answered(send(&client, &receiver.uri()).await);
    // The first connection ends, and so does the new one.
    assert_eq!(unanswered(send(&client, &receiver.uri()).await).0, Failure::Protocol);
    assert_eq!(receiver.requests().iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0, 1]);
    answered(send(&client, &receiver.uri()).await);
}

#[tokio::test]
async fn retry_after_is_told() {
    #[derive(Debug)]
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(784_111_740_000)
        }
    }
    for (value, seconds) in [("7", 7), ("Sun, 06 Nov 1994 08:49:37 GMT", 37)] {
        let answer = format!("HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer);
        let client = Client::new(settings(Duration::from_secs(60)), Arc::new(Fixed)).unwrap();
        let answer = answered(send(&client, &receiver.uri()).await);
        assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(seconds))));
    }
}

#[tokio::test]
async fn an_exchange_returns_the_whole_answer_or_none() {
    let receiver = Receiver::answering("HTTP/1.1 404 Not Found\r\nX-Kind: a\r\nContent-Length: 5\r\n\r\nhello");
    let client = client_with(ClientSettings::unguarded(Duration::from_secs(60)));
    let get = || Request::get(receiver.uri()).body(Bytes::new()).unwrap();

    let response = client.exchange(get(), 5).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_ref()), (404, b"hello".as_slice()));
    assert_eq!(response.headers()["x-kind"], "a");
    assert!(receiver.requests()[0].text.starts_with("GET /hook?token=secret HTTP/1.1\r\n"));

    let failed = client.exchange(get(), 4).await.unwrap_err();
    assert_eq!(failed.to_string(), "the answer is longer than 4 bytes");
}
