//! At what stage a request failed, and how to say it.

use std::{error::Error, io, iter};

use hookcast_core::delivery::Failure;
use http::uri::Scheme;

use super::{answer::visible, dial::DialError, http1::Http1Error, pool::SendError};

/// The most characters of [`ExchangeFailed::detail`].
const DETAIL_MAX: usize = 200;

/// Why there was no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ExchangeFailed {
    /// At what stage it failed.
    pub failure: Failure,
    /// More about it, for people to read, in at most 200 characters. It names the host at most, never the URL's path or
    /// query.
    pub detail: String,
}

impl ExchangeFailed {
    /// From an error before the answer's head was there, of a request to a URL with this scheme.
    pub(super) fn before_answer(error: &SendError, scheme: Option<&Scheme>) -> Self {
        let failure = match causes(error).find_map(|cause| cause.downcast_ref::<DialError>()) {
            Some(dial) => dial.failure(),
            // Between our connector and a connection that stands there is only TLS.
            None if matches!(error, SendError::Connect(_)) && scheme == Some(&Scheme::HTTPS) => Failure::Tls,
            // In TLS 1.3 a server judges the client's certificate when the client has finished the handshake already.
            None if causes(error).any(is_tls) => Failure::Tls,
            None => Failure::Protocol,
        };
        // The outermost text says no more than what `failure` does.
        Self { failure, detail: describe(error.source().unwrap_or(error)) }
    }

    /// That the credentials were not to be had.
    pub(super) fn auth(detail: &str) -> Self {
        Self { failure: Failure::Auth, detail: detail.chars().take(DETAIL_MAX).collect() }
    }

    /// From an error in the midst of the answer's body.
    pub(super) fn within_answer(error: &(dyn Error + 'static)) -> Self {
        Self { failure: Failure::Protocol, detail: describe(error) }
    }
}

/// Whether the connection was closed before any part of the answer came.
pub(super) fn closed_unanswered(error: &SendError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        SendError::Exchange(Http1Error::Unanswered) => true,
        SendError::Exchange(Http1Error::Broken(error)) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        SendError::Exchange(_) | SendError::Connect(_) => false,
    }
}

fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.is_some_and(|wrapped| wrapped.is::<rustls::Error>())
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// An error and its causes. Those that repeat what is already said are left out.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut detail = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if detail.contains(&cause) {
            continue;
        }
        if !detail.is_empty() {
            detail.push_str(": ");
        }
        // Some causes quote the receiver, such as the names in its certificate.
        detail.extend(cause.chars().map(visible));
    }
    if let Some((end, _)) = detail.char_indices().nth(DETAIL_MAX) {
        detail.truncate(end);
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn causes_are_joined_without_repetition() {
        let chain = Link("no connection: refused", Some(Box::new(Link("refused", Some(Box::new(Link("why", None)))))));
        assert_eq!(describe(&chain), "no connection: refused: why");
    }

    #[test]
    fn details_are_bounded_in_characters() {
        let text: &'static str = "ä".repeat(500).leak();
        assert_eq!(describe(&Link(text, None)).chars().count(), DETAIL_MAX);
    }
}
