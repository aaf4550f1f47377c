//! Connections to addresses that were judged: the guard sits between resolving a name and dialling what it resolved to,
//! so that no answer of a name server can lead a request elsewhere.

use std::{
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
use tokio::net::TcpStream;
use tower::Service;

use super::{
    dial::{DialError, dial, judge},
    proxy::Proxy,
};

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// A connection, with TLS or without.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections, with TLS for `https`.
#[derive(Debug)]
pub(super) struct Connector {
    https: HttpsConnector<GuardedConnector>,
    guarded: GuardedConnector,
}

impl Connector {
    /// One that connects over this road.
    pub(super) fn new(tls: ClientConfig, road: Road) -> Self {
        let guarded = GuardedConnector(Arc::new(road));
        Self { https: HttpsConnector::from((guarded.clone(), tls)), guarded }
    }

    /// The same with other TLS.
    pub(super) fn with_tls(&self, tls: ClientConfig) -> Self {
        Self { https: HttpsConnector::from((self.guarded.clone(), tls)), guarded: self.guarded.clone() }
    }

    /// Connects to where `uri` leads, TLS included.
    pub(super) async fn connect(&self, uri: Uri) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        // It is always ready, as what it connects with is.
        self.https.clone().call(uri).await
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
        let road = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = judge(&uri, &road.rules).await?;
            dial(&addresses, road.proxy.as_ref(), road.connect_timeout).await.map(TokioIo::new)
        })
    }
}
