//! The proxy that stands between Hookcast and the internet, where the operator has one.
//!
//! Names are resolved and judged on this side, and the proxy is asked for the address that was judged. Were it asked for a
//! name, it would resolve that once more, and where the second answer leads nobody would have looked.

use std::{
    error::Error,
    fmt, future, io,
    net::SocketAddr,
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use hyper_util::{
    client::legacy::connect::proxy::{SocksV5, Tunnel},
    rt::TokioIo,
};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tower::Service;
use url::Url;

use super::dial::{Destination, DialError, connect_directly};

/// The longest user name or password that SOCKS can carry, in bytes.
const CREDENTIAL_MAX: usize = 255;

/// Where a proxy is and what it speaks. `Debug` shows no credentials.
#[derive(Clone)]
pub struct Proxy {
    uri: Uri,
    protocol: Protocol,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// A tunnel by HTTP's `CONNECT`, for `http` callbacks as well.
    Http,
    /// SOCKS 5 (RFC 1928).
    Socks5,
}

impl Proxy {
    /// Reads `http://HOST:PORT` or `socks5://HOST:PORT`, each with an optional `USER:PASSWORD@`, percent-encoded where
    /// need be. Without a port it is 80, or 1080 for SOCKS. `None` if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let (protocol, usual_port) = match url.scheme() {
            "http" => (Protocol::Http, 80),
            "socks5" => (Protocol::Socks5, 1080),
            _ => return None,
        };
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|host| is_bare && !host.is_empty())?;
        let port = url.port().unwrap_or(usual_port);
        // Written as `http` in any case: a URI's scheme has a default port, and what is spoken is known from elsewhere.
        let uri = Uri::builder().scheme("http").authority(format!("{host}:{port}")).path_and_query("/").build().ok()?;
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((credential(user)?, credential(password.unwrap_or_default())?)),
        };
        // The first colon ends the user name of HTTP's basic scheme.
        let is_clear = credentials.as_ref().is_none_or(|(user, _)| !user.is_empty() && !user.contains(':'));
        (is_clear && port > 0).then_some(Self { uri, protocol, credentials })
    }

    /// A connection to this address by way of the proxy.
    pub(super) async fn connect(&self, address: SocketAddr) -> Result<TcpStream, DialError> {
        let refused = |error: BoxError| DialError::ProxyRefused(address, error);
        let connected = Connected(Some(TokioIo::new(self.reach().await?)));
        let asked = asked_for(address).map_err(|error| refused(error.into()))?;
        let through = match self.protocol {
            Protocol::Http => self.tunnel(connected).call(asked).await.map_err(Into::into),
            Protocol::Socks5 => self.socks(connected).call(asked).await.map_err(Into::into),
        };
        through.map(TokioIo::into_inner).map_err(refused)
    }

    /// A connection to the proxy itself, which the guard has nothing to say about: the operator chose it.
    async fn reach(&self) -> Result<TcpStream, DialError> {
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        let addresses = Destination::of(&self.uri)?.resolve().await;
        for address in addresses.map_err(|error| DialError::ProxyUnreachable(without_name(error)))? {
            outcome = connect_directly(address).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(DialError::ProxyUnreachable)
    }

    fn tunnel(&self, connected: Connected) -> Tunnel<Connected> {
        let tunnel = Tunnel::new(self.uri.clone(), connected);
        match self.credentials.as_ref().map(basic) {
            Some(Ok(authorization)) => tunnel.with_auth(authorization),
            Some(Err(_)) | None => tunnel,
        }
    }

    fn socks(&self, connected: Connected) -> SocksV5<Connected> {
        let socks = SocksV5::new(self.uri.clone(), connected);
        match self.credentials.clone() {
            Some((user, password)) => socks.with_auth(user, password),
            None => socks,
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        write!(f, "Proxy({:?}, {authority})", self.protocol)
    }
}

/// Why the proxy's name has no address, without the name.
fn without_name(error: DialError) -> io::Error {
    match error {
        DialError::Resolve(_, error) => error,
        _ => io::ErrorKind::NotFound.into(),
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

fn credential(encoded: &str) -> Option<String> {
    let text = percent_decode_str(encoded).decode_utf8().ok()?;
    (text.len() <= CREDENTIAL_MAX && !text.contains(char::is_control)).then(|| text.into_owned())
}

fn basic((user, password): &(String, String)) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

/// An address as the proxy protocols' libraries take it.
fn asked_for(address: SocketAddr) -> Result<Uri, http::Error> {
    // An address of its own, without the zone that a link-local one may have: that means nothing to another host.
    let address = SocketAddr::new(address.ip(), address.port());
    Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build()
}

/// A connector for these libraries whose connection is there already, so that it is known which of the two failed.
struct Connected(Option<TokioIo<TcpStream>>);

impl Service<Uri> for Connected {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_with_their_credentials_and_shown_without() {
        for (text, shown, credentials) in [
            ("http://proxy.example:3128", "Proxy(Http, proxy.example:3128)", None),
            ("http://proxy.example/", "Proxy(Http, proxy.example:80)", None),
            ("HTTP://10.0.0.1:80", "Proxy(Http, 10.0.0.1:80)", None),
            ("socks5://[::1]", "Proxy(Socks5, [::1]:1080)", None),
            ("http://me:secret@p:1", "Proxy(Http, p:1)", Some(("me", "secret"))),
            ("socks5://m%40e:s%3Ac%2fr%C3%A4@p:1", "Proxy(Socks5, p:1)", Some(("m@e", "s:c/rä"))),
            ("socks5://me@p:1", "Proxy(Socks5, p:1)", Some(("me", ""))),
        ] {
            let proxy = Proxy::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(format!("{proxy:?}"), shown);
            assert_eq!(proxy.credentials, credentials.map(|(user, password)| (user.to_owned(), password.to_owned())));
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        let long = format!("socks5://{}@p:1", "x".repeat(256));
        for text in [
            "",
            "proxy.example:3128",
            "https://proxy.example",
            "socks5h://proxy.example",
            "socks4://proxy.example",
            "http://",
            "socks5://",
            "http://p/path",
            "http://p?query",
            "http://p#fragment",
            "http://p:0",
            "http://p:65536",
            "http://:secret@p",
            "http://m%3Ae:secret@p",
            "http://me:se%0d%0acret@p",
            "http://me:%ff@p",
            &long,
        ] {
            assert!(Proxy::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn addresses_are_asked_for_as_addresses() {
        for (address, uri) in [("192.0.2.1:80", "http://192.0.2.1:80/"), ("[fe80::1%3]:443", "http://[fe80::1]:443/")] {
            assert_eq!(asked_for(address.parse().unwrap()).unwrap().to_string(), uri);
        }
    }
}
