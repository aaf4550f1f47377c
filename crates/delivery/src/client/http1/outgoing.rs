//! Requests on their way out.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderValue, Method, Request, header};
use tokio::io::AsyncWrite;

/// Bodies of up to so many bytes are copied behind their heads, since one piece is sent with less effort than two.
const SMALL_BODY: usize = 16 * 1024;

/// What the head has besides its headers, and a header besides its name and value, in bytes.
const LINES: usize = 128;
const HEADER: usize = 4;

/// What is left to send.
pub(super) struct Outgoing {
    head: Bytes,
    body: Bytes,
    is_flushed: bool,
}

impl Outgoing {
    /// All of a request. Of its headers those that say where it ends are the connection's own.
    pub(super) fn of(request: Request<Bytes>, host: Option<&HeaderValue>) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let is_small = body.len() <= SMALL_BODY;
        let size = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum::<usize>()
            + LINES
            + path.len()
            + host.map_or(0, HeaderValue::len)
            + if is_small { body.len() } else { 0 };
        let mut head = Vec::with_capacity(size);
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        // RFC 9112, section 3.2.1: an empty path is `/`.
        let root: &[u8] = if path.starts_with('/') { b"" } else { b"/" };
        put(&[parts.method.as_str().as_bytes(), b" ", root, path.as_bytes(), b" HTTP/1.1\r\n"]);
        if let Some(host) = host.filter(|_| !parts.headers.contains_key(header::HOST)) {
            put(&[b"host: ", host.as_bytes(), b"\r\n"]);
        }
        let is_own = |name| [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(name);
        for (name, value) in parts.headers.iter().filter(|(name, _)| !is_own(*name)) {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        // RFC 9110, section 8.6: a request whose method gives a body a meaning says if it has none.
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
            // Writing to memory does not fail.
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        head.extend_from_slice(b"\r\n");
        if is_small {
            head.extend_from_slice(&body);
        }
        let body = if is_small { Bytes::new() } else { body };
        Self { head: head.into(), body, is_flushed: false }
    }

    /// Whether nothing is left.
    pub(super) fn is_sent(&self) -> bool {
        self.is_flushed
    }

    /// Sends what is left.
    pub(super) fn poll_send<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.head.is_empty() || !self.body.is_empty() {
            let written = if self.body.is_empty() {
                ready!(stream.as_mut().poll_write(context, &self.head))?
            } else if self.head.is_empty() {
                ready!(stream.as_mut().poll_write(context, &self.body))?
            } else {
                let both = [IoSlice::new(&self.head), IoSlice::new(&self.body)];
                ready!(stream.as_mut().poll_write_vectored(context, &both))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.body.advance(written - of_head);
        }
        if !self.is_flushed {
            // While the answer is awaited nothing of the request is held.
            (self.head, self.body) = (Bytes::new(), Bytes::new());
            ready!(stream.poll_flush(context))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
