//! Connections to addresses that were judged: the guard sits between resolving a name and dialling what it resolved to,
//! so that no answer of a name server can lead a request elsewhere.

use std::{
    cell::Cell,
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hookcast_core::guard::Rules;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower::Service;

use super::{
    dial::{DialError, dial, judge},
    proxy::Proxy,
};

tokio::task_local! {
    /// Whether the request that is being watched has dialled.
    static DIALLED: Cell<bool>;
}

/// Runs a request, and also tells whether it dialled. If it did not, it went over a connection that was there before.
pub(super) async fn watch<F: Future>(request: F) -> (F::Output, bool) {
    DIALLED.scope(Cell::new(false), async { (request.await, DIALLED.with(Cell::get)) }).await
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
    /// `timeout` is for everything up to the end of the TLS handshake.
    pub(super) fn new(tls: ClientConfig, road: Road, timeout: Duration) -> Self {
        let guarded = GuardedConnector(Arc::new(road));
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

/// Where connections may lead, and how they get there.
#[derive(Debug)]
pub(super) struct Road {
    /// Where they may lead.
    pub(super) rules: Rules,
    /// Whom to ask for them instead of dialling.
    pub(super) proxy: Option<Proxy>,
    /// For connecting alone, over all addresses of a host.
    pub(super) connect_timeout: Duration,
}

/// Resolves, judges, dials.
#[derive(Clone, Debug)]
struct GuardedConnector(Arc<Road>);

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
        let road = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = judge(&uri, &road.rules).await?;
            dial(&addresses, road.proxy.as_ref(), road.connect_timeout).await.map(TokioIo::new)
        })
    }
}

#[cfg(test)]
mod tests {
    use hookcast_core::{delivery::Failure, guard::AllowedNetworks};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::tls;

    #[tokio::test]
    async fn a_handshake_that_stalls_ends_without_help_from_the_request() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = tls::anonymous(tls::trusted(None).unwrap()).unwrap();
        let networks = AllowedNetworks::new(vec!["127.0.0.1/32".parse().unwrap()]);
        let rules = Rules { networks, ..Rules::default() };
        let road = Road { rules, proxy: None, connect_timeout: Duration::from_secs(60) };
        let mut connector = Connector::new(tls, road, Duration::from_millis(50));
        let uri = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
        let error = connector.call(uri).await.unwrap_err();
        assert_eq!(error.downcast_ref::<DialError>().unwrap().failure(), Failure::Timeout);
    }
}
