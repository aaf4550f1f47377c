//! Connections to addresses that were judged: the guard sits between resolving a name and dialling what it resolved to,
//! so that no answer of a name server can lead a request elsewhere.

use std::{
    cell::Cell,
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hookcast_core::{
    delivery::Failure,
    guard::{AllowedNetworks, CallbackUrl, Host, SpecialAddress, check_resolved},
};
use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tower::Service;

tokio::task_local! {
    /// Whether the request that is being watched has dialled.
    static DIALLED: Cell<bool>;
}

/// Runs a request, and also tells whether it dialled. If it did not, it went over a connection that was there before.
pub(super) async fn watch<F: Future>(request: F) -> (F::Output, bool) {
    DIALLED.scope(Cell::new(false), async { (request.await, DIALLED.with(Cell::get)) }).await
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the URL names no host")]
    NoHost,
    #[error("the name `{0}` does not resolve")]
    Resolve(String, #[source] io::Error),
    #[error("the name `{0}` has no address")]
    NoAddress(String),
    #[error("callbacks may not go there: {0}")]
    Refused(SpecialAddress),
    #[error("no connection to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("no connection to {0} in time")]
    ConnectTimeout(SocketAddr),
    #[error("no connection was ready in time")]
    Timeout,
}

impl DialError {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::NoHost | Self::Connect(..) => Failure::Connect,
            Self::Resolve(..) | Self::NoAddress(_) => Failure::Dns,
            Self::Refused(_) => Failure::AddressRefused,
            Self::ConnectTimeout(_) | Self::Timeout => Failure::Timeout,
        }
    }
}

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Makes connections, with TLS for `https`. Cheap to clone, as the HTTP client clones it for each request.
///
/// It has a deadline of its own because the HTTP client may let a connection become ready in the background, when the
/// request that wanted it has got another in the meantime: a receiver that stalls its handshakes would collect these.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    https: HttpsConnector<GuardedConnector>,
    guarded: GuardedConnector,
    timeout: Duration,
}

impl Connector {
    /// `timeout` is for everything up to the end of the TLS handshake, `connect_timeout` for connecting alone.
    pub(super) fn new(
        tls: ClientConfig,
        allowed: AllowedNetworks,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Self {
        let guarded = GuardedConnector(Arc::new(Rules { allowed, connect_timeout }));
        Self { https: HttpsConnector::from((guarded.clone(), tls)), guarded, timeout }
    }

    /// The same with other TLS.
    pub(super) fn with_tls(&self, tls: ClientConfig) -> Self {
        Self { https: HttpsConnector::from((self.guarded.clone(), tls)), ..self.clone() }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connection = timeout(self.timeout, self.https.call(uri));
        Box::pin(async { connection.await.unwrap_or_else(|_| Err(DialError::Timeout.into())) })
    }
}

/// Resolves, judges, dials.
#[derive(Clone, Debug)]
struct GuardedConnector(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    allowed: AllowedNetworks,
    connect_timeout: Duration,
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = BoxFuture<Self::Response, DialError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // Without a watcher there is nobody to tell.
        let _ = DIALLED.try_with(|dialled| dialled.set(true));
        let rules = Arc::clone(&self.0);
        Box::pin(async move {
            let mut addresses = resolve(&uri).await?;
            let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
            let may_be_dialled = check_resolved(&ips, &rules.allowed).map_err(DialError::Refused)?;
            addresses.retain(|address| may_be_dialled.contains(&address.ip()));
            dial(&addresses, rules.connect_timeout).await.map(TokioIo::new)
        })
    }
}

/// The addresses behind a URL's host: at least one.
async fn resolve(uri: &Uri) -> Result<Vec<SocketAddr>, DialError> {
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(DialError::NoHost)?;
    let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = lookup_host((bare, port)).await.map_err(|error| DialError::Resolve(bare.to_owned(), error))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() { Err(DialError::NoAddress(bare.to_owned())) } else { Ok(addresses) }
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
async fn dial(addresses: &[SocketAddr], within: Duration) -> Result<TcpStream, DialError> {
    let start = Instant::now();
    let mut outcome = Err(DialError::NoHost);
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = within.saturating_sub(start.elapsed()) / u32::try_from(untried).unwrap_or(u32::MAX);
        outcome = connect(*address, share).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn connect(address: SocketAddr, within: Duration) -> Result<TcpStream, DialError> {
    let connected =
        timeout(within, TcpStream::connect(address)).await.map_err(|_| DialError::ConnectTimeout(address))?;
    let stream = connected.map_err(|error| DialError::Connect(address, error))?;
    // A request is written at once; waiting for more would only delay it.
    stream.set_nodelay(true).map_err(|error| DialError::Connect(address, error))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::tls;

    #[tokio::test]
    async fn addresses_are_tried_until_one_lets_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let stream = dial(&[dead, alive, dead], Duration::from_secs(60)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert!(stream.nodelay().unwrap());
        let error = dial(&[dead], Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.failure(), Failure::Connect);
    }

    #[tokio::test]
    async fn a_handshake_that_stalls_ends_without_help_from_the_request() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = tls::anonymous(tls::trusted(None).unwrap()).unwrap();
        let allowed = AllowedNetworks::new(vec!["127.0.0.1/32".parse().unwrap()]);
        let mut connector = Connector::new(tls, allowed, Duration::from_secs(60), Duration::from_millis(50));
        let uri = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
        let error = connector.call(uri).await.unwrap_err();
        assert_eq!(error.downcast_ref::<DialError>().unwrap().failure(), Failure::Timeout);
    }

    #[tokio::test]
    async fn urls_lead_to_their_hosts_and_ports() {
        for (uri, address) in [
            ("http://192.0.2.1/", "192.0.2.1:80"),
            ("https://192.0.2.1/", "192.0.2.1:443"),
            ("https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
            ("http://user@192.0.2.1:81/", "192.0.2.1:81"),
        ] {
            assert_eq!(resolve(&Uri::from_static(uri)).await.unwrap(), [address.parse().unwrap()], "{uri}");
        }
    }
}
