//! Passing webhooks on to a program under development.

use std::{fmt, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use hookcast_core::clock::SystemClock;
use hookcast_delivery::client::{Client, ClientError, ClientSettings};
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri, header};
use url::Url;

use crate::receiver::{BODY_MAX, Received};

/// How long the program may take; it may well stand still in a debugger.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Headers that mean one connection only (RFC 9110, section 7.6.1), and those that say where a request goes and where it
/// ends, which the next connection has of its own.
const OF_ONE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::CONTENT_LENGTH,
];

/// Where webhooks are passed on to.
#[derive(Clone, Debug)]
pub struct Target(String);

impl Target {
    /// Reads an `http` or `https` URL to which paths can be appended.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://".into());
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user, no query and no fragment".into());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// Where a webhook for this path and query goes.
    fn for_path(&self, uri: &Uri) -> Result<Uri, http::uri::InvalidUri> {
        match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => self.0.parse(),
            path => format!("{}{path}", self.0).parse(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Passes webhooks on.
pub struct Forwarder {
    target: Target,
    client: Client,
}

impl Forwarder {
    /// One that passes them to `target`.
    pub fn new(target: Target) -> Result<Self, ClientError> {
        Ok(Self { target, client: Client::new(ClientSettings::unguarded(TIMEOUT), Arc::new(SystemClock))? })
    }

    /// Passes one on. The answer is the program's, or `502` with the reason why there is none.
    pub async fn pass(&self, received: &Received) -> (Response, Option<String>) {
        match self.exchange(received).await {
            Ok(response) => (response, None),
            Err(reason) => {
                let mut response = Response::new(Body::from(format!("{reason}\n")));
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                (response, Some(reason))
            }
        }
    }

    async fn exchange(&self, received: &Received) -> Result<Response, String> {
        let explain = |reason: &dyn fmt::Display| format!("no answer from {}: {reason}", self.target);
        let mut request = Request::new(received.body.clone());
        *request.method_mut() = received.method.clone();
        *request.uri_mut() = self.target.for_path(&received.uri).map_err(|error| explain(&error))?;
        *request.headers_mut() = end_to_end(&received.headers);
        let (head, body) = self.client.exchange(request, BODY_MAX).await.map_err(|error| explain(&error))?.into_parts();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = head.status;
        *response.headers_mut() = end_to_end(&head.headers);
        Ok(response)
    }
}

/// The headers that go further than one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for named in headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()) {
        for name in named.split(',') {
            kept.remove(name.trim());
        }
    }
    for name in &OF_ONE_CONNECTION {
        kept.remove(name);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_appended() {
        for (target, path, expected) in [
            ("http://localhost:3000", "/", "http://localhost:3000/"),
            ("http://localhost:3000/", "/a?b=c", "http://localhost:3000/a?b=c"),
            ("http://localhost:3000/hooks", "/", "http://localhost:3000/hooks"),
            ("http://localhost:3000/hooks/", "/a", "http://localhost:3000/hooks/a"),
            ("https://[::1]:3000", "/?b", "https://[::1]:3000/?b"),
        ] {
            let uri = Target::parse(target).unwrap().for_path(&path.parse().unwrap()).unwrap();
            assert_eq!(uri.to_string(), expected);
        }
    }

    #[test]
    fn only_urls_that_can_be_appended_to_are_targets() {
        for bad in
            ["localhost:3000", "ftp://localhost", "http://u:p@localhost", "http://localhost/?a", "http://localhost#a"]
        {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_of_one_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("transfer-encoding", "chunked"),
            ("host", "localhost"),
            ("webhook-id", "evt_1"),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let kept = end_to_end(&headers);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "webhook-id"]);
    }
}
