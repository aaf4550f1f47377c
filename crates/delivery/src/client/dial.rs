//! From a URL to a connection: the name's addresses, and the first of them that lets connect.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hookcast_core::{
    delivery::Failure,
    guard::{AllowedNetworks, CallbackUrl, Host, RuleBroken, Rules, SpecialAddress, check_resolved},
};
use http::{Uri, uri::Scheme};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::proxy::Proxy;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the URL names no host")]
    NoHost,
    #[error("the URL contains a user name or password, which would not be sent")]
    UserInfo,
    #[error("the name `{0}` does not resolve")]
    Resolve(String, #[source] io::Error),
    #[error("the name `{0}` has no address")]
    NoAddress(String),
    #[error("callbacks may not go there: {0}")]
    Refused(SpecialAddress),
    #[error("callbacks may not go there: the URL {0}")]
    Rule(RuleBroken),
    #[error("no connection to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    /// It keeps to itself where the proxy is, since owners of subscriptions read this.
    #[error("no connection to the proxy")]
    ProxyUnreachable(#[source] io::Error),
    #[error("the proxy makes no connection to {0}")]
    ProxyRefused(SocketAddr, #[source] Box<dyn Error + Send + Sync>),
    #[error("no connection to {0} in time")]
    ConnectTimeout(SocketAddr),
}

impl DialError {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::NoHost | Self::Connect(..) | Self::ProxyUnreachable(_) | Self::ProxyRefused(..) => Failure::Connect,
            Self::UserInfo => Failure::Protocol,
            Self::Resolve(..) | Self::NoAddress(_) => Failure::Dns,
            Self::Refused(_) | Self::Rule(_) => Failure::AddressRefused,
            Self::ConnectTimeout(_) => Failure::Timeout,
        }
    }
}

/// What a request's URL says about where it goes. The URL is taken apart here and nowhere else, so that what is judged
/// is what is dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) is_https: bool,
}

impl Destination {
    /// Takes a URL apart.
    pub(super) fn of(uri: &Uri) -> Result<Self, DialError> {
        let authority = uri.authority().ok_or(DialError::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(DialError::UserInfo);
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err(DialError::NoHost);
        }
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        Ok(Self {
            host: bare.parse().map_or_else(|_| Host::Domain(bare.to_owned()), Host::Ip),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            is_https,
        })
    }

    /// The addresses of the host: at least one.
    pub(super) async fn resolve(self) -> Result<Vec<SocketAddr>, DialError> {
        let name = match self.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(ip, self.port)]),
            Host::Domain(name) => name,
        };
        match lookup_host((name.as_str(), self.port)).await.map(Vec::from_iter) {
            Ok(addresses) if addresses.is_empty() => Err(DialError::NoAddress(name)),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(DialError::Resolve(name, error)),
        }
    }
}

/// The addresses behind a URL that may be dialled: at least one.
pub(super) async fn judge(uri: &Uri, rules: &Rules) -> Result<Vec<SocketAddr>, DialError> {
    let destination = Destination::of(uri)?;
    rules.check(destination.is_https, destination.port).map_err(DialError::Rule)?;
    let mut addresses = destination.resolve().await?;
    let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let may_be_dialled = check_resolved(&ips, &rules.networks).map_err(DialError::Refused)?;
    addresses.retain(|address| may_be_dialled.contains(&address.ip()));
    Ok(addresses)
}

/// How long a name may take to resolve when somebody subscribes.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Says at once what the connection would say later: that a callback's name leads now where callbacks may not go. A name that does
/// not resolve now may do so later.
///
/// # Errors
/// The address that is refused.
pub async fn check_resolves(url: &CallbackUrl, allowed: &AllowedNetworks) -> Result<(), SpecialAddress> {
    let Host::Domain(name) = url.host() else { return Ok(()) };
    match timeout(CHECK_TIMEOUT, lookup_host((name.as_str(), url.port()))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.map(|address| address.ip()).collect();
            check_resolved(&found, allowed).map(drop)
        }
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Connects to the first of at least one address that lets it. Each gets an equal share of the time that those before
/// it left over.
pub(super) async fn dial(
    addresses: &[SocketAddr],
    proxy: Option<&Proxy>,
    within: Duration,
) -> Result<TcpStream, DialError> {
    let start = Instant::now();
    let mut outcome = Err(DialError::NoHost);
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = within.saturating_sub(start.elapsed()) / u32::try_from(untried).unwrap_or(u32::MAX);
        let connected = timeout(share, connect(*address, proxy)).await;
        outcome = connected.unwrap_or(Err(DialError::ConnectTimeout(*address)));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn connect(address: SocketAddr, proxy: Option<&Proxy>) -> Result<TcpStream, DialError> {
    match proxy {
        Some(proxy) => proxy.connect(address).await,
        None => connect_directly(address).await.map_err(|error| DialError::Connect(address, error)),
    }
}

pub(super) async fn connect_directly(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written at once; waiting for more would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn addresses_are_tried_until_one_lets_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let stream = dial(&[dead, alive, dead], None, Duration::from_secs(60)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert!(stream.nodelay().unwrap());
        let error = dial(&[dead], None, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.failure(), Failure::Connect);
    }

    #[tokio::test]
    async fn urls_lead_to_their_hosts_and_ports() {
        for (uri, address) in [
            ("http://192.0.2.1/", "192.0.2.1:80"),
            ("https://192.0.2.1/", "192.0.2.1:443"),
            ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
        ] {
            let destination = Destination::of(&Uri::from_static(uri)).unwrap();
            assert_eq!(destination.resolve().await.unwrap(), [address.parse().unwrap()], "{uri}");
        }
    }

    #[test]
    fn a_url_with_credentials_leads_nowhere() {
        for uri in ["http://user@192.0.2.1:81/", "http://user:word@192.0.2.1/", "http://@192.0.2.1/"] {
            let error = Destination::of(&uri.parse().unwrap()).unwrap_err();
            assert!(matches!(error, DialError::UserInfo), "{uri}");
        }
    }

    #[tokio::test]
    async fn rules_hold_for_urls_that_were_accepted_before_they_did() {
        let rules = Rules { https_only: true, ..Rules::default() };
        for (uri, message) in [
            ("http://192.0.2.1/", "callbacks may not go there: the URL must begin with `https://`"),
            ("https://192.0.2.1:6667/", "callbacks may not go there: the URL has port 6667"),
            ("https://192.0.2.1/", "callbacks may not go there: 192.0.2.1 is an address for documentation"),
        ] {
            let error = judge(&Uri::from_static(uri), &rules).await.unwrap_err();
            assert_eq!(error.failure(), Failure::AddressRefused);
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }

    proptest! {
        /// The library that reads a callback's URL when it is accepted is another one than that which sends requests.
        #[test]
        fn what_is_dialled_is_what_was_accepted(
            scheme in "https?|HTTPS?",
            host in "[a-zA-Z0-9_.-]{1,12}|[0-9]{1,3}(\\.[0-9]{1,3}){0,3}|0x[0-9a-f]{1,8}|\\[[0-9a-f:.]{2,12}\\]|\\PC{1,8}",
            port in "(:[1-9][0-9]{0,4})?",
            rest in "([/?][ -~ä]{0,12})?",
        ) {
            let Ok(accepted) = CallbackUrl::parse(&format!("{scheme}://{host}{port}{rest}"), &Rules::unguarded()) else {
                return Ok(());
            };
            let Ok(uri) = accepted.url().as_str().parse() else { return Ok(()) };
            let destination = Destination::of(&uri).unwrap();
            prop_assert_eq!(&destination.host, accepted.host(), "{}", uri);
            prop_assert_eq!(destination.port, accepted.port(), "{}", uri);
            prop_assert_eq!(destination.is_https, accepted.url().scheme() == "https", "{}", uri);
        }
    }
}
