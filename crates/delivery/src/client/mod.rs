//! The only place that calls callbacks: it sends requests, guards where they go, and reads bounded answers.

mod answer;
mod auth;
mod connector;
mod dial;
mod failure;
mod http1;
mod pool;
mod proxy;
mod retry_after;
#[cfg(test)]
mod tests;
mod tls;

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use hookcast_core::{
    clock::Clock,
    delivery::{AttemptResult, Failure},
    guard::Rules,
};
use http::{HeaderMap, Method, Request, Response, Uri, header};

pub use answer::Reply;
pub(crate) use answer::visible;
pub use auth::{Authenticator, Credentials, TlsIdentity, Unfit};
use auth::{Identities, Tokens};
use connector::{Connector, Road};
pub use dial::check_resolves;
pub use failure::ExchangeFailed;
use pool::{Lent, Pool, SendError};
pub use proxy::Proxy;
pub(crate) use tls::authorities;
pub use tls::{ClientError, check_client_tls};

/// What a [`Client`] is made from.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The time for a whole attempt: resolving, connecting, TLS, sending, and reading the answer to its end.
    pub timeout: Duration,
    /// The time for connecting, over all addresses of a host. Resolving and TLS are not part of it.
    pub connect_timeout: Duration,
    /// Where requests may go.
    pub rules: Rules,
    /// The proxy that all requests go through. What the environment says about proxies counts for nothing.
    pub proxy: Option<Proxy>,
    /// A PEM file with certificates of authorities that are trusted besides the public ones.
    pub extra_authorities: Option<PathBuf>,
}

impl ClientSettings {
    /// For requests that their user aims, such as those of a command line: everything may be reached, without a proxy.
    ///
    /// Never for addresses that somebody else can choose.
    #[must_use]
    pub fn unguarded(timeout: Duration) -> Self {
        Self { timeout, connect_timeout: timeout, rules: Rules::unguarded(), proxy: None, extra_authorities: None }
    }
}

/// The headers of a request, made as often as it is sent.
pub(crate) type Headers<'a> = &'a (dyn Fn() -> Result<HeaderMap, ExchangeFailed> + Sync);

/// A request, made as often as it is sent.
type MakeRequest<'a> = &'a (dyn Fn() -> Result<Request<Bytes>, ExchangeFailed> + Sync);

/// Sends HTTP/1.1 requests over connections that it keeps. Cheap to clone; clones share the connections.
///
/// It follows no redirect.
#[derive(Clone, Debug)]
pub struct Client {
    /// For requests that show no certificate.
    plain: Pool,
    /// For those that do.
    identities: Arc<Identities>,
    tokens: Arc<Tokens>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client without connections so far. `clock` tells how far away a date in `Retry-After` is.
    ///
    /// # Errors
    ///
    /// The file of extra authorities cannot be read, or has no certificate or an unusable one.
    pub fn new(settings: ClientSettings, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let roots = tls::trusted(settings.extra_authorities.as_deref())?;
        let tls = tls::anonymous(Arc::clone(&roots))?;
        let ClientSettings { rules, proxy, connect_timeout, timeout, .. } = settings;
        let connector = Connector::new(tls, Road { rules, proxy, connect_timeout });
        let plain = Pool::new(connector);
        let identities = Arc::new(Identities::new(roots, plain.clone()));
        let tokens = Arc::new(Tokens::new());
        Ok(Self { plain, identities, tokens, timeout, clock })
    }

    /// Makes one attempt: posts `body` to an absolute `http` or `https` URL.
    ///
    /// Any status is an answer, a redirect's too. The headers that say where a request goes and where it ends (`Host`,
    /// `Content-Length`, `Transfer-Encoding`, `Connection`) are the client's own and replaced if given.
    ///
    /// A request can be sent twice: if a kept connection turns out to be closed before any answer came, it is sent once
    /// more over a new one, since the receiver most likely closed it while it was idle. Deliveries are at-least-once
    /// anyway, and this is no failure that a receiver's owner could do something about.
    pub async fn send(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> AttemptResult {
        told(self.try_send(None, uri, &|| Ok(headers.clone()), body, self.timeout).await)
    }

    /// The same with credentials. Asking for a token is part of the attempt: it takes of its time, and if there is none, the
    /// attempt has failed. A header of that name that is there already is replaced.
    pub async fn send_as(
        &self,
        credentials: &Credentials,
        uri: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> AttemptResult {
        told(self.try_send(Some(credentials), uri, &|| Ok(headers.clone()), body, self.timeout).await)
    }

    /// Makes one attempt, with credentials or without, and keeps the answer's headers. It takes no longer than `within`, nor than the
    /// client's own time.
    ///
    /// # Errors
    ///
    /// There was no whole answer, or the credentials were not to be had.
    pub(crate) async fn try_send(
        &self,
        credentials: Option<&Credentials>,
        uri: &Uri,
        headers: Headers<'_>,
        body: Bytes,
        within: Duration,
    ) -> Result<Reply, ExchangeFailed> {
        let within = within.min(self.timeout);
        let own = credentials.map(|credentials| self.own(credentials)).transpose()?.flatten();
        let pool = own.as_ref().unwrap_or(&self.plain);
        // In a box, since it goes through many hands and is large.
        let attempt: Pin<Box<dyn Future<Output = _> + Send>> =
            match credentials.and_then(|credentials| credentials.authenticator.as_ref()) {
                None => Box::pin(self.attempt(pool, uri, headers, body)),
                Some(authenticator) => Box::pin(self.authenticated(pool, uri, headers, body, authenticator)),
            };
        self.in_time(within, attempt).await
    }

    /// The same as [`exchange`](Self::exchange) with credentials.
    ///
    /// # Errors
    ///
    /// The credentials were not to be had, or as there.
    pub async fn exchange_as(
        &self,
        credentials: &Credentials,
        mut request: Request<Bytes>,
        max_body: usize,
    ) -> Result<Response<Bytes>, ExchangeFailed> {
        let own = self.own(credentials)?;
        if let Some(authenticator) = &credentials.authenticator {
            self.authenticate(request.headers_mut(), authenticator).await?;
        }
        let pool = own.as_ref().unwrap_or(&self.plain);
        self.in_time(self.timeout, over_a_new_connection(pool, request, max_body)).await
    }

    /// The connections of those who show a certificate.
    fn own(&self, credentials: &Credentials) -> Result<Option<Pool>, ExchangeFailed> {
        let identity = credentials.identity.as_ref();
        identity
            .map(|identity| self.identities.pool(identity))
            .transpose()
            .map_err(|refused| ExchangeFailed::auth(&refused.to_string()))
    }

    /// Sends a request as it is, and reads the whole answer.
    ///
    /// # Errors
    ///
    /// No whole answer came within the client's time, or its body is longer than `max_body` bytes.
    pub async fn exchange(&self, request: Request<Bytes>, max_body: usize) -> Result<Response<Bytes>, ExchangeFailed> {
        self.in_time(self.timeout, async {
            let (mut connection, answer) = send_over(&self.plain, request.uri(), &|| Ok(request.clone())).await?;
            let read = read_whole(&mut connection, answer, max_body).await?;
            connection.give_back();
            Ok(read)
        })
        .await
    }

    /// The same over a new connection, and within another time.
    async fn exchange_anew(
        &self,
        request: Request<Bytes>,
        max_body: usize,
        within: Duration,
    ) -> Result<Response<Bytes>, ExchangeFailed> {
        self.in_time(within, over_a_new_connection(&self.plain, request, max_body)).await
    }

    async fn attempt(
        &self,
        pool: &Pool,
        uri: &Uri,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Result<Reply, ExchangeFailed> {
        let request = || Ok(post(uri.clone(), headers()?, body.clone()));
        let (mut connection, answer) = send_over(pool, uri, &request).await?;
        let reply = answer::read(answer, &mut connection, &*self.clock).await;
        connection.give_back();
        reply.map_err(|error| ExchangeFailed::within_answer(&error))
    }

    async fn in_time<T>(
        &self,
        within: Duration,
        work: impl Future<Output = Result<T, ExchangeFailed>>,
    ) -> Result<T, ExchangeFailed> {
        tokio::time::timeout(within, work).await.unwrap_or_else(|_| {
            let detail = format!("there was no whole answer within {within:?}");
            Err(ExchangeFailed { failure: Failure::Timeout, detail })
        })
    }
}

/// Sends a request over a connection that was kept, if there is one. If that turns out to be closed, it goes over a new one.
async fn send_over<'p>(
    pool: &'p Pool,
    uri: &Uri,
    request: MakeRequest<'_>,
) -> Result<(Lent<'p>, Response<()>), ExchangeFailed> {
    let failed = |error: SendError| ExchangeFailed::before_answer(&error, uri.scheme());
    let first = request()?;
    let mut connection = pool.connection(uri).await.map_err(failed)?;
    match connection.send(first).await {
        Err(error) if !connection.is_new() && failure::closed_unanswered(&error) => {
            Box::pin(send_anew(pool, uri, request()?)).await
        }
        answered => Ok((connection, answered.map_err(failed)?)),
    }
}

/// Sends a request over a new connection.
async fn send_anew<'p>(
    pool: &'p Pool,
    uri: &Uri,
    request: Request<Bytes>,
) -> Result<(Lent<'p>, Response<()>), ExchangeFailed> {
    let failed = |error: SendError| ExchangeFailed::before_answer(&error, uri.scheme());
    let mut connection = pool.new_connection(uri).await.map_err(failed)?;
    let answer = connection.send(request).await.map_err(failed)?;
    Ok((connection, answer))
}

/// Sends a request over a connection of its own, and reads the whole answer.
async fn over_a_new_connection(
    pool: &Pool,
    request: Request<Bytes>,
    max_body: usize,
) -> Result<Response<Bytes>, ExchangeFailed> {
    let uri = request.uri().clone();
    let (mut connection, answer) = send_anew(pool, &uri, request).await?;
    read_whole(&mut connection, answer, max_body).await
}

/// Reads an answer to its end, which `max_body` bytes must suffice for.
async fn read_whole(
    connection: &mut Lent<'_>,
    answer: Response<()>,
    max_body: usize,
) -> Result<Response<Bytes>, ExchangeFailed> {
    let mut body = BytesMut::new();
    while let Some(data) = connection.data().await.map_err(|error| ExchangeFailed::within_answer(&error))? {
        if body.len() + data.len() > max_body {
            let detail = format!("the answer is longer than {max_body} bytes");
            return Err(ExchangeFailed { failure: Failure::Protocol, detail });
        }
        body.extend_from_slice(&data);
    }
    Ok(answer.map(|()| body.freeze()))
}

fn told(outcome: Result<Reply, ExchangeFailed>) -> AttemptResult {
    match outcome {
        Ok(Reply { answer, .. }) => AttemptResult::Answered(answer),
        Err(ExchangeFailed { failure, detail }) => AttemptResult::Unanswered { failure, detail },
    }
}

fn post(uri: Uri, mut headers: HeaderMap, body: Bytes) -> Request<Bytes> {
    // Who is meant is what the URL says.
    headers.remove(header::HOST);
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}
