//! Connections to a receiver that says exactly what a test wants.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// The other side: each look meets one piece of what it says, and then it closes, or says nothing more.
#[derive(Default)]
struct Receiver {
    pieces: VecDeque<Vec<u8>>,
    stays: bool,
    /// It does not close but breaks.
    breaks: bool,
    /// How much of a request it takes.
    takes: usize,
    taken: Vec<u8>,
}

impl AsyncRead for Receiver {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.pieces.pop_front() {
            Some(piece) => read.put_slice(&piece),
            None if self.stays => return Poll::Pending,
            None if self.breaks => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Receiver {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.takes - self.taken.len());
        if taken == 0 {
            return Poll::Pending;
        }
        self.taken.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One that says this in pieces of up to so many bytes, and then closes.
fn saying(text: &[u8], piece: usize) -> Connection<Receiver> {
    let pieces = text.chunks(piece.clamp(1, READ_AT_ONCE)).map(<[u8]>::to_vec).collect();
    Connection::new(Receiver { pieces, takes: usize::MAX, ..Receiver::default() })
}

fn request(method: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::builder().method(method).uri("http://a.example/p?q=1").body(body.into()).unwrap()
}

/// The status and the body of an answer.
async fn exchange(connection: &mut Connection<Receiver>, method: &str) -> Result<(u16, Vec<u8>), Http1Error> {
    let head = connection.send(request(method, ""), None).await?;
    let mut body = Vec::new();
    while let Some(data) = connection.data().await? {
        assert!(!data.is_empty());
        body.extend_from_slice(&data);
    }
    Ok((head.status().as_u16(), body))
}

/// The lengths of pieces that it is worth cutting a text into.
fn sizes(text: &[u8]) -> impl Iterator<Item = usize> {
    (1..16).chain([text.len()])
}

#[tokio::test]
async fn an_answer_ends_where_it_says() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    for (method, text, status, body, is_reusable) in [
        ("POST", format!("{OK}Content-Length: 5\r\n\r\nhello"), 200, "hello", true),
        ("POST", format!("{OK}Content-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello"), 200, "hello", true),
        ("POST", format!("{OK}Content-Length: 0\r\n\r\n"), 200, "", true),
        ("POST", format!("{OK}Content-Length: 5\r\n\r\nhello, and more"), 200, "hello", false),
        ("POST", format!("{OK}Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello"), 200, "hello", false),
        ("POST", format!("{OK}\r\nuntil the end"), 200, "until the end", false),
        ("POST", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), 200, "ok", false),
        ("POST", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok".into(), 200, "ok", true),
        ("POST", "HTTP/1.1 204 No Content\r\n\r\n".into(), 204, "", true),
        ("POST", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".into(), 304, "", true),
        ("HEAD", format!("{OK}Content-Length: 9\r\n\r\n"), 200, "", true),
        ("POST", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".into(), 101, "", false),
        ("POST", format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}Content-Length: 1\r\n\r\nx"), 200, "x", true),
        ("POST", format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 200, "hello", true),
        (
            "POST",
            format!("{OK}Transfer-Encoding: x, Chunked\r\n\r\n2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\nX: y\r\nZ:\r\n\r\n"),
            200,
            "hello",
            true,
        ),
        // RFC 9112, section 6.1: the one in chunks counts, and nothing may follow.
        (
            "POST",
            format!("{OK}Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
            200,
            "x",
            false,
        ),
        ("POST", format!("{OK}Transfer-Encoding: chunked, gzip\r\n\r\n1\r\nx"), 200, "1\r\nx", false),
    ] {
        for size in sizes(text.as_bytes()) {
            let mut connection = saying(text.as_bytes(), size);
            let answered = exchange(&mut connection, method).await.unwrap();
            assert_eq!(answered, (status, body.as_bytes().to_vec()), "{text:?} by {size}");
            // More may lie behind it that has not come.
            let has_rest = connection.stream.pieces.pop_front().is_some();
            assert_eq!(connection.is_reusable() && !has_rest, is_reusable, "{text:?} by {size}");
            assert_eq!(connection.unread.capacity() > 0, !connection.unread.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_no_whole_answer_is_an_error() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let incomplete = "the connection was closed in the middle of the answer";
    for (text, expected) in [
        (String::new(), "the connection was closed before an answer came"),
        ("HTTP/1.1 103 Early\r\n\r\n".into(), "the connection was closed before an answer came"),
        ("HTTP/1.1 200 OK\r\nX: ".into(), incomplete),
        (format!("{OK}Content-Length: 5\r\n\r\nhell"), incomplete),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), incomplete),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"), incomplete),
        (format!("{OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), "its Content-Length is no length"),
        (format!("{OK}Content-Length: +5\r\n\r\nhello"), "its Content-Length is no length"),
        (format!("{OK}Content-Length: \r\n\r\nhello"), "its Content-Length is no length"),
        (format!("{OK}Content-Length: 18446744073709551616\r\n\r\n"), "its Content-Length is no length"),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\nx\r\n"), "a chunk's length is none"),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"), "a chunk is longer than it says"),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(20_000)), "the line of a chunk is longer"),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n{}", "X: y\r\n".repeat(4_000)), "its trailers are longer"),
        (format!("{OK}{}\r\n", "X: y\r\n".repeat(101)), "too many headers"),
        (format!("{OK}X: {}", "y".repeat(HEAD_MAX)), "its head is longer"),
        (format!("{OK}X: {}\r\n\r\n", "y".repeat(HEAD_MAX)), "its head is longer"),
        ("HTTP/2 200\r\n\r\n".into(), "is not HTTP"),
        ("HTTP/1.1 99 Low\r\n\r\n".into(), "is not HTTP"),
        (format!("{OK}X : y\r\n\r\n"), "is not HTTP"),
        (format!("{OK}X: y\r\n folded\r\n\r\n"), "is not HTTP"),
    ] {
        for size in [7, 1_000, READ_AT_ONCE] {
            let error = exchange(&mut saying(text.as_bytes(), size), "POST").await.unwrap_err().to_string();
            assert!(error.contains(expected), "{:?} by {size}: {error}", text.get(..80));
        }
    }
}

#[tokio::test]
async fn a_request_says_whom_it_means_and_where_it_ends() {
    let host = HeaderValue::from_static("b.example");
    let large = "x".repeat(100_000);
    for (request, host, expected) in [
        (request("GET", ""), Some(&host), "GET /p?q=1 HTTP/1.1\r\nhost: b.example\r\n\r\n".to_owned()),
        (request("POST", ""), None, "POST /p?q=1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_owned()),
        (request("DELETE", "{}"), None, "DELETE /p?q=1 HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}".to_owned()),
        (
            request("POST", large.clone()),
            None,
            format!("POST /p?q=1 HTTP/1.1\r\ncontent-length: 100000\r\n\r\n{large}"),
        ),
        (
            Request::post("http://a.example?q")
                .header("host", "c.example")
                .header("x", "y")
                .body(Bytes::new())
                .unwrap(),
            Some(&host),
            "POST /?q HTTP/1.1\r\nhost: c.example\r\nx: y\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ),
        (
            Request::get("http://a.example")
                .header("content-length", "7")
                .header("transfer-encoding", "chunked")
                .header("connection", "close")
                .body(Bytes::new())
                .unwrap(),
            None,
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
        ),
    ] {
        let mut connection = saying(b"HTTP/1.1 204 No\r\n\r\n", READ_AT_ONCE);
        connection.send(request, host).await.unwrap();
        assert_eq!(str::from_utf8(&connection.stream.taken).unwrap(), expected);
    }
}

#[tokio::test]
async fn one_that_answers_early_is_heard_and_sent_nothing_more() {
    let mut connection = saying(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", READ_AT_ONCE);
    connection.stream.takes = 1_000;
    let head = connection.send(request("POST", vec![b'x'; 2_000]), None).await.unwrap();
    assert_eq!((head.status().as_u16(), connection.stream.taken.len()), (413, 1_000));
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn one_that_breaks_is_told_from_one_that_breaks_off() {
    for (text, expected) in [("", "the connection broke"), ("HTTP/1.1 2", "the connection was closed in the middle")] {
        let mut connection = saying(text.as_bytes(), READ_AT_ONCE);
        connection.stream.breaks = true;
        let error = exchange(&mut connection, "POST").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!connection.is_reusable());
    }
}

#[tokio::test]
async fn one_that_was_left_before_its_answer_is_not_used_again() {
    let mut connection = Connection::new(Receiver { stays: true, takes: usize::MAX, ..Receiver::default() });
    let left = tokio::time::timeout(std::time::Duration::ZERO, connection.send(request("POST", ""), None)).await;
    assert!(left.is_err());
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn what_comes_unasked_is_the_end_of_a_connection() {
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    for (pieces, stays, is_ready) in [
        (vec![answer.clone()], true, true),
        (vec![answer.clone()], false, false),
        (vec![answer.clone(), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], true, false),
        (vec![[answer, b"x".to_vec()].concat()], true, false),
    ] {
        let mut connection =
            Connection::new(Receiver { pieces: pieces.into(), stays, takes: usize::MAX, ..Receiver::default() });
        exchange(&mut connection, "POST").await.unwrap();
        assert_eq!(connection.is_ready(), is_ready);
        // It is not asked a second time.
        assert_eq!(connection.is_ready(), is_ready);
    }
}

proptest! {
    #[test]
    fn a_body_in_chunks_is_what_they_hold(chunks in prop::collection::vec("[ -~]{1,300}", 0..6), size in 1_usize..700) {
        let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for chunk in &chunks {
            text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
        }
        text += "0\r\n\r\n";
        let mut connection = saying(text.as_bytes(), size);
        let answered = at_once(exchange(&mut connection, "POST")).unwrap();
        prop_assert_eq!(answered.1, chunks.concat().into_bytes());
        prop_assert!(connection.is_reusable());
    }

    #[test]
    fn nothing_that_comes_is_beyond_it(
        head in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        size in 1_usize..50,
    ) {
        let mut connection = saying(&[head.as_bytes(), &rest].concat(), size);
        if at_once(exchange(&mut connection, "POST")).is_err() {
            prop_assert!(!connection.is_reusable());
        }
    }
}

/// Runs what never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
