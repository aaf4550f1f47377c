//! Connections, kept between requests.
//!
//! Whoever sends a request works its connection, too: a connection has no task of its own, so that nothing has to be handed from
//! one task to another on the way out and back. One that is not in use is looked at when it is taken, and now and then.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use foldhash::quality::RandomState;
use http::{
    HeaderValue, Request, Response, Uri,
    uri::{Authority, Scheme},
};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::{
    connector::{Connector, Stream},
    http1::{self, Http1Error},
};

/// How long a connection that nothing uses stays open, and how often those are looked for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How many unused connections are kept. As many are in flight at the most, by default, so that a burst leaves none that must be made
/// again for the next.
const IDLE_MAX: usize = 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// There was no connection to send over.
    #[error("no connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or what came over it is not HTTP.
    #[error("no exchange")]
    Exchange(#[from] Http1Error),
}

/// Makes connections and keeps them. Cheap to clone; clones share them.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    connector: Connector,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    by_origin: HashMap<Origin, Vec<Unused>, RandomState>,
    count: usize,
    /// Somebody looks for those that have been unused for long.
    is_swept: bool,
}

struct Unused {
    connection: Connection,
    since: Instant,
}

/// Whom a connection leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
}

impl Origin {
    fn of(uri: &Uri) -> Self {
        Self { scheme: uri.scheme().cloned(), authority: uri.authority().cloned() }
    }
}

struct Connection {
    /// In a box, since it is large and goes from hand to hand.
    http: Box<http1::Connection<TokioIo<Stream>>>,
    /// What `Host` is in its requests.
    host: Option<HeaderValue>,
}

impl Pool {
    /// One without connections so far.
    pub(super) fn new(connector: Connector) -> Self {
        Self(Arc::new(Shared { connector, idle: Mutex::default() }))
    }

    /// The same way of connecting with other TLS and other connections.
    pub(super) fn with_tls(&self, tls: rustls::ClientConfig) -> Self {
        Self::new(self.0.connector.with_tls(tls))
    }

    /// A connection to where `uri` leads: one that was kept, or else a new one.
    pub(super) async fn connection(&self, uri: &Uri) -> Result<Lent<'_>, SendError> {
        let origin = Origin::of(uri);
        while let Some(mut connection) = self.kept(&origin) {
            if connection.http.is_ready() {
                return Ok(Lent { pool: self, origin, connection, is_new: false });
            }
        }
        // In a box, so that the many requests that need none carry nothing of it.
        Box::pin(self.new_connection(uri)).await
    }

    fn kept(&self, origin: &Origin) -> Option<Connection> {
        self.0.idle().take(origin)
    }

    /// A new connection to where `uri` leads.
    pub(super) async fn new_connection(&self, uri: &Uri) -> Result<Lent<'_>, SendError> {
        let stream = self.0.connector.connect(uri.clone()).await.map_err(SendError::Connect)?;
        let http = Box::new(http1::Connection::new(TokioIo::new(stream)));
        Ok(Lent { pool: self, origin: Origin::of(uri), connection: Connection { http, host: host(uri) }, is_new: true })
    }

    fn keep(&self, origin: Origin, connection: Connection) {
        let mut idle = self.0.idle();
        if idle.count >= IDLE_MAX {
            return;
        }
        idle.count += 1;
        idle.by_origin.entry(origin).or_default().push(Unused { connection, since: Instant::now() });
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.0.idle().count).finish_non_exhaustive()
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    /// The one that was used last, since it is the least likely to have been closed meanwhile.
    fn take(&mut self, origin: &Origin) -> Option<Connection> {
        let unused = self.by_origin.get_mut(origin)?.pop()?;
        self.count -= 1;
        Some(unused.connection)
    }

    /// Closes those that have been unused for long, or that the other side has closed.
    fn sweep(&mut self, now: Instant) {
        for unused in self.by_origin.values_mut() {
            unused.retain_mut(|unused| {
                now.duration_since(unused.since) < IDLE_TIMEOUT && unused.connection.http.is_ready()
            });
        }
        self.by_origin.retain(|_, unused| !unused.is_empty());
        self.count = self.by_origin.values().map(Vec::len).sum();
    }
}

/// Sweeps for as long as there is something to sweep.
async fn sweep(pool: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.sweep(Instant::now());
        if idle.count == 0 {
            idle.is_swept = false;
            return;
        }
    }
}

/// A connection for one request. It is closed unless it is given back.
pub(super) struct Lent<'p> {
    pool: &'p Pool,
    origin: Origin,
    connection: Connection,
    is_new: bool,
}

impl Lent<'_> {
    /// Whether it was made for this request. The other side may have closed one that was kept, just when it was taken.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Sends a request to an absolute URL, and answers when the head of its answer is there.
    pub(super) async fn send(&mut self, request: Request<Bytes>) -> Result<Response<()>, SendError> {
        Ok(self.connection.http.send(request, self.connection.host.as_ref()).await?)
    }

    /// The next piece of the answer's body; nothing at its end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, Http1Error> {
        self.connection.http.data().await
    }

    /// Keeps the connection for another request, if it takes one.
    pub(super) fn give_back(self) {
        if self.connection.http.is_reusable() {
            self.pool.keep(self.origin, self.connection);
        }
    }
}

/// The host and the port, which is left out where it is the scheme's own.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let authority = uri.authority()?;
    let default_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let is_default = authority.port_u16() == Some(default_port);
    HeaderValue::from_str(if is_default { authority.host() } else { authority.as_str() }).ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hookcast_core::guard::Rules;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::client::{connector::Road, tls};

    fn pool() -> Pool {
        let tls = tls::anonymous(tls::trusted(None).unwrap()).unwrap();
        let road = Road { rules: Rules::unguarded(), proxy: None, connect_timeout: Duration::from_secs(10) };
        Pool::new(Connector::new(tls, road))
    }

    async fn receiver() -> (TcpListener, Uri) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        (listener, format!("http://{address}/").parse().unwrap())
    }

    async fn answer(stream: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    }

    fn request(uri: &Uri) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        request
    }

    /// Sends a request over `lent`, which `stream` answers.
    async fn exchange(lent: &mut Lent<'_>, uri: &Uri, stream: &mut TcpStream) {
        let (answered, ()) = tokio::join!(lent.send(request(uri)), answer(stream));
        assert_eq!(answered.unwrap().status(), 204);
    }

    #[tokio::test]
    async fn as_many_connections_are_kept_as_a_burst_needed() {
        let (pool, (listener, uri)) = (pool(), receiver().await);
        let mut streams = Vec::new();
        for round in 0..2 {
            let mut burst = Vec::new();
            for _ in 0..200 {
                let lent = pool.connection(&uri).await.unwrap();
                assert_eq!(lent.is_new(), round == 0);
                burst.push(lent);
                if round == 0 {
                    streams.push(listener.accept().await.unwrap().0);
                }
            }
            // The one that was given back last is lent first.
            for (lent, stream) in burst.iter_mut().zip(&mut streams) {
                exchange(lent, &uri, stream).await;
            }
            burst.into_iter().rev().for_each(Lent::give_back);
        }
        assert_eq!(pool.0.idle().count, 200);
    }

    #[tokio::test]
    async fn what_is_unused_for_long_or_closed_is_given_up() {
        let (pool, (listener, uri)) = (pool(), receiver().await);
        let (mut one, mut other) = (pool.connection(&uri).await.unwrap(), pool.connection(&uri).await.unwrap());
        let (mut at_one, mut at_other) = (listener.accept().await.unwrap().0, listener.accept().await.unwrap().0);
        exchange(&mut one, &uri, &mut at_one).await;
        exchange(&mut other, &uri, &mut at_other).await;
        one.give_back();
        other.give_back();
        let now = Instant::now();
        pool.0.idle().sweep(now);
        assert_eq!(pool.0.idle().count, 2);
        drop(at_one);
        while pool.0.idle().count == 2 {
            // Until the end of the other side has come over.
            tokio::task::yield_now().await;
            pool.0.idle().sweep(now);
        }
        pool.0.idle().sweep(now + IDLE_TIMEOUT);
        assert!(pool.0.idle().by_origin.is_empty());
        assert_eq!(at_other.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn one_that_still_reads_an_answer_is_not_kept() {
        let (pool, (listener, uri)) = (pool(), receiver().await);
        let mut lent = pool.connection(&uri).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let half = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        };
        let (answered, ()) = tokio::join!(lent.send(request(&uri)), half);
        drop(answered.unwrap());
        lent.give_back();
        assert_eq!(pool.0.idle().count, 0);
    }

    #[test]
    fn a_host_is_told_without_the_port_that_its_scheme_has() {
        for (uri, expected) in [
            ("http://a.example/p?q=1", "a.example"),
            ("http://a.example:80/", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("https://a.example:80/", "a.example:80"),
            ("http://[::1]:9000/x", "[::1]:9000"),
        ] {
            assert_eq!(host(&Uri::from_static(uri)).unwrap(), expected, "{uri}");
        }
    }
}
