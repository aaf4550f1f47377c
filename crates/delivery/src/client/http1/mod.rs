//! HTTP/1.1 (RFC 9112) over one connection, as far as it takes to post small messages: one request at a time, and answers read with
//! bounds.
//!
//! A general library keeps buffers and a channel for each connection. Here a connection that waits for an answer, or for its next
//! request, holds nothing but itself, so that thousands of slow callbacks cost little.

mod body;
mod head;
mod outgoing;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::{body::Body, outgoing::Outgoing};

/// The most bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

/// How much is read at once.
const READ_AT_ONCE: usize = 4 * 1024;

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Http1Error {
    /// Nothing of an answer has come.
    #[error("the connection was closed before an answer came")]
    Unanswered,
    /// It can be neither read nor written, and nothing of an answer has come, or not the whole body.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the connection was closed in the middle of the answer")]
    Incomplete,
    #[error("the answer is not HTTP: {0}")]
    Malformed(String),
}

impl Http1Error {
    fn malformed(reason: &(impl ToString + ?Sized)) -> Self {
        Self::Malformed(reason.to_string())
    }
}

/// A connection on which a client asks.
pub(super) struct Connection<S> {
    stream: S,
    /// What has come and has not been taken. Empty between an answer and the next.
    unread: BytesMut,
    /// What is left of the answer.
    body: Body,
    /// It takes no further request.
    is_last: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// One over which nothing has been sent.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, unread: BytesMut::new(), body: Body::Ended, is_last: false }
    }

    /// Sends a request to this host, unless it names one itself, and answers the head of the answer. Whoever leaves before that must
    /// not use the connection again.
    ///
    /// # Errors
    /// No answer came, or what came is none.
    pub(super) async fn send(
        &mut self,
        request: Request<Bytes>,
        host: Option<&HeaderValue>,
    ) -> Result<Response<()>, Http1Error> {
        let method = request.method().clone();
        let mut outgoing = Outgoing::of(request, host);
        let mut seen = 0;
        let was_last = std::mem::replace(&mut self.is_last, true);
        let head = poll_fn(|context| self.poll_answer(context, &mut outgoing, &mut seen)).await?;
        self.body = Body::of(&method, &head)?;
        // A receiver may answer before it has read everything. What is left is not sent, and so nothing may follow it.
        self.is_last = was_last
            || !outgoing.is_sent()
            || !head::keeps_connection(&head)
            || self.body.ends_with_connection()
            || head.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.tidy();
        Ok(head)
    }

    /// The next piece of the answer's body; nothing at its end.
    ///
    /// # Errors
    /// It breaks off, or is not what its head says.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, Http1Error> {
        poll_fn(|context| self.poll_data(context)).await
    }

    /// Whether it takes another request, as far as is known without a look.
    pub(super) fn is_reusable(&self) -> bool {
        !self.is_last && matches!(self.body, Body::Ended) && self.unread.is_empty()
    }

    /// Whether it takes another request, by what has become of it meanwhile: whatever comes unasked is its end.
    pub(super) fn is_ready(&mut self) -> bool {
        self.is_last |= self.is_reusable() && self.poll_read(&mut Context::from_waker(Waker::noop())).is_ready();
        self.is_reusable()
    }

    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        outgoing: &mut Outgoing,
        seen: &mut usize,
    ) -> Poll<Result<Response<()>, Http1Error>> {
        // One that has answered already and closed the connection may have been heard only in part.
        let unsent = match outgoing.poll_send(Pin::new(&mut self.stream), context) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        loop {
            if let Some(head) = head::read(&mut self.unread, seen)? {
                // RFC 9110, section 15.2: what is interim comes before the answer. One to another protocol was not asked for.
                if head.status().is_informational() && head.status() != StatusCode::SWITCHING_PROTOCOLS {
                    continue;
                }
                return Poll::Ready(Ok(head));
            }
            match self.poll_read(context) {
                // Over TLS that is an error where the receiver does not take its leave.
                Poll::Ready(Ok(0) | Err(_)) if !self.unread.is_empty() => {
                    return Poll::Ready(Err(Http1Error::Incomplete));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(unsent.map_or(Http1Error::Unanswered, Http1Error::Broken)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Http1Error::Broken(unsent.unwrap_or(error)))),
                Poll::Pending => match unsent {
                    Some(error) => return Poll::Ready(Err(Http1Error::Broken(error))),
                    None => return Poll::Pending,
                },
            }
        }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Http1Error>> {
        loop {
            let piece = self.body.take(&mut self.unread)?;
            if piece.is_some() || matches!(self.body, Body::Ended) {
                self.tidy();
                return Poll::Ready(Ok(piece));
            }
            if ready!(self.poll_read(context)).map_err(Http1Error::Broken)? == 0 {
                self.is_last = true;
                self.body.close()?;
            }
        }
    }

    /// Reads some more; answers how much, which is nothing at the end.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ_AT_ONCE];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.unread.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Gives up the room of what has been taken.
    fn tidy(&mut self) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}
