//! Receivers that want an attempt to cost more than it may: time, memory, or connections that stay.

use std::{sync::mpsc, thread};

use super::*;

/// How long the client waits for an answer here, and how much longer it may take until a slow machine has seen that it ended.
const PATIENCE: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_secs(30);

/// Sends to a receiver that first writes `head`, then `piece` again and again with a pause between, until the client has
/// gone. Answers what the client made of it, once it has gone.
async fn endure(head: &'static str, piece: &'static str, pause: Duration) -> AttemptResult {
    let (gone, is_gone) = mpsc::channel();
    let receiver = Receiver::start(move |connection| {
        connection.read_request();
        connection.write(head);
        while connection.write(piece) {
            thread::sleep(pause);
        }
        gone.send(()).unwrap();
    });
    let client = client_with(settings(PATIENCE));
    let result = send(&client, &receiver.uri()).await;
    // The client is still there: it has closed this connection, and not merely ended with everything.
    tokio::task::spawn_blocking(move || is_gone.recv_timeout(SLACK)).await.unwrap().expect("the connection stays open");
    drop(client);
    result
}

/// What comes too slowly, in every part of an answer.
#[tokio::test]
async fn dripping_answers_end_with_the_attempt() {
    for (head, piece) in [
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 200 OK\r\nX-Slow: ", "y"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    ] {
        let (failure, detail) = unanswered(endure(head, piece, Duration::from_millis(40)).await);
        assert_eq!(failure, Failure::Timeout, "{head:?} {piece:?}: {detail}");
    }
}

/// What comes as fast as it can and never ends: it is cut by size, or by time where nothing of it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn endless_answers_are_cut() {
    let flood = async |head, piece| endure(head, piece, Duration::ZERO).await;
    let cut = answered(flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nabcd\r\n").await);
    assert_eq!((cut.status, cut.excerpt), (200, "abcd".repeat(256)));
    for (head, piece) in [
        ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;", "extensionextensionextension"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
    ] {
        let (failure, detail) = unanswered(flood(head, piece).await);
        assert_eq!(failure, Failure::Protocol, "{head:?}: {detail}");
    }
    let (failure, detail) = unanswered(flood("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await);
    assert_eq!(failure, Failure::Timeout, "{detail}");
}

#[tokio::test]
async fn what_is_kept_of_an_answer_is_safe_to_show() {
    let body = "\x1b]0;title\x07\r\n\u{202e}drawkcab\u{2028}\0<b>ok</b>";
    let receiver = Receiver::answering(format!("HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let excerpt = answered(send(&client(), &receiver.uri()).await).excerpt;
    assert_eq!(excerpt, "\u{fffd}]0;title\u{fffd}\u{fffd}\n\u{fffd}drawkcab\u{fffd}\u{fffd}<b>ok</b>");
}
