//! A delivery for its subscription's owner to look at: sent like any other, and kept nowhere.

use std::collections::BTreeMap;

use hookcast_core::{clock::Timestamp, event::Event, format::Message};
use http::{HeaderMap, Uri, header};
use tokio::time::Instant;

use crate::{
    client::{ExchangeFailed, Reply, visible},
    courier::{Courier, Signable},
    target::Target,
};

/// What stands in place of a secret.
const MASK: &str = "***";

/// The most characters that are shown of a value of the answer's headers.
const VALUE_MAX: usize = 1_024;

/// Headers by name; values of one name are joined by `, `.
pub type ShownHeaders = BTreeMap<String, String>;

/// An attempt, and what came of it.
#[derive(Debug)]
pub struct Trial {
    /// The headers that were sent, without the values of secret ones. Empty when nothing could be sent.
    pub sent: ShownHeaders,
    /// What came back.
    pub outcome: Result<Reply, ExchangeFailed>,
    /// How long it took, in milliseconds.
    pub latency_ms: u32,
}

impl Courier {
    /// Sends an event once. Neither it nor its outcome is stored, and nothing follows from it.
    pub async fn try_out(&self, event: &Event, message: &Message, target: &Target, now: Timestamp) -> Trial {
        let request = Signable::of(event.told_id(), message, target, now);
        let (request, sent) = match request.and_then(|request| sent(&request).map(|sent| (request, sent))) {
            Ok(both) => both,
            Err(failed) => return Trial { sent: ShownHeaders::new(), outcome: Err(failed), latency_ms: 0 },
        };
        let begun = Instant::now();
        let outcome = self.exchange(&request).await;
        Trial { sent, outcome, latency_ms: u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX) }
    }
}

/// The headers as they go out, with those that the client adds.
fn sent(request: &Signable<'_>) -> Result<ShownHeaders, ExchangeFailed> {
    let mut sent = shown(&request.headers()?);
    sent.insert(header::HOST.to_string(), host(request.uri));
    sent.insert(header::CONTENT_LENGTH.to_string(), request.message.body.len().to_string());
    let authenticator = request.access.credentials.as_ref().and_then(|credentials| credentials.authenticator.as_ref());
    if let Some(authenticator) = authenticator {
        sent.insert(authenticator.header_name().to_string(), MASK.to_owned());
    }
    Ok(sent)
}

/// The value of `host`: the port is left out where it is the scheme's own.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(80), Some("http")) | (Some(443), Some("https")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// Headers as they may be shown, whoever wrote them.
#[must_use]
pub fn shown(headers: &HeaderMap) -> ShownHeaders {
    let mut shown = ShownHeaders::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text: String = text.chars().map(visible).take(VALUE_MAX).collect();
        shown.entry(name.to_string()).and_modify(|before| *before += &format!(", {text}")).or_insert(text);
    }
    shown
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_are_shown_safely_and_whole() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_bytes("a\u{202e}b".as_bytes()).unwrap());
        headers.append("x", HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append("long", HeaderValue::try_from("y".repeat(2_000)).unwrap());
        let shown = shown(&headers);
        assert_eq!(shown["x"], "a\u{fffd}b, \u{fffd}");
        assert_eq!(shown["long"].len(), VALUE_MAX);
    }

    #[test]
    fn a_schemes_own_port_is_not_named() {
        for (uri, expected) in [
            ("http://a.org:80/x", "a.org"),
            ("https://a.org:443", "a.org"),
            ("https://a.org:80", "a.org:80"),
            ("http://[::1]:8000/", "[::1]:8000"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()), expected);
        }
    }
}
