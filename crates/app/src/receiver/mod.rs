//! A webhook receiver on this machine: takes what is posted to it, checks the signatures, lets its user answer.

mod verdict;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hookcast_core::clock::{Clock, Timestamp};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

pub use verdict::{Key, Verdict, Verifier};

/// The longest body that is taken, in bytes.
pub const BODY_MAX: usize = 20 * 1024 * 1024;

/// The most connections at once.
const CONNECTIONS: usize = 1_024;

/// A webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it was there as a whole.
    pub time: Timestamp,
    /// The same moment, to measure with.
    pub instant: Instant,
    /// Its method, most likely `POST`.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What its signature is worth.
    pub verdict: Verdict,
}

impl Received {
    /// The value of `webhook-id`.
    pub fn id(&self) -> Option<&str> {
        self.headers.get("webhook-id")?.to_str().ok()
    }
}

/// A receiver at work. It stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Answers on `listener` with what `handler` says. Several webhooks are handled at once, and each to its end, even if
    /// its sender has hung up.
    ///
    /// # Errors
    /// The listener does not know its address.
    pub fn start<H, F>(listener: TcpListener, verifier: Verifier, clock: Arc<dyn Clock>, handler: H) -> io::Result<Self>
    where
        H: Fn(Received) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let answer = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            if method.is_safe() {
                return not_posted();
            }
            let time = clock.now();
            let verdict = verifier.verify(&headers, &body, time);
            let received = Received { time, instant: Instant::now(), method, uri, headers, body, verdict };
            let handled = tokio::spawn(handler(received)).await;
            handled.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        };
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::max(BODY_MAX));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async {
                // A receiver that is dropped stops as well.
                let _ = stopped.await;
            };
            crate::server::run(listener, router, CONNECTIONS, stopped, Duration::MAX).await;
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits up to `grace` until what has arrived is answered.
    pub async fn stop(self, grace: Duration) {
        drop(self.stop);
        let _ = timeout(grace, self.task).await;
    }
}

/// A browser that looks by is no webhook.
fn not_posted() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], "Webhooks are posted here.\n").into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hookcast_core::clock::SystemClock;
    use hookcast_delivery::client::{Client, ClientSettings};
    use http::Request;

    use super::*;

    async fn start<H, F>(handler: H) -> Receiver
    where
        H: Fn(Received) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Receiver::start(listener, Verifier::new([]), Arc::new(SystemClock), handler).unwrap()
    }

    async fn send(method: Method, address: SocketAddr, body: Bytes) -> StatusCode {
        let client = Client::new(ClientSettings::unguarded(Duration::from_secs(5)), Arc::new(SystemClock)).unwrap();
        let request = Request::builder().method(method).uri(format!("http://{address}/a/b?c=d"));
        client.exchange(request.body(body).unwrap(), 1_000).await.unwrap().status()
    }

    #[tokio::test]
    async fn whatever_is_posted_is_handed_over_and_answered() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let receiver = start({
            let seen = Arc::clone(&seen);
            move |received| {
                seen.lock().unwrap().push(received);
                async { StatusCode::IM_A_TEAPOT.into_response() }
            }
        })
        .await;
        assert_eq!(send(Method::POST, receiver.address(), "{}".into()).await, StatusCode::IM_A_TEAPOT);
        assert_eq!(send(Method::GET, receiver.address(), Bytes::new()).await, StatusCode::METHOD_NOT_ALLOWED);
        receiver.stop(Duration::from_secs(5)).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].uri, "/a/b?c=d");
        assert_eq!(seen[0].body, "{}");
        assert_eq!(seen[0].verdict, Verdict::Unsigned);
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_refused() {
        let receiver = start(async |_| StatusCode::OK.into_response()).await;
        let status = send(Method::POST, receiver.address(), vec![b' '; BODY_MAX + 1].into()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn stopping_waits_for_answers_that_are_on_their_way() {
        let receiver = start(async |_| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            StatusCode::OK.into_response()
        })
        .await;
        let sent = tokio::spawn(send(Method::POST, receiver.address(), Bytes::new()));
        tokio::time::sleep(Duration::from_millis(100)).await;
        receiver.stop(Duration::from_secs(5)).await;
        assert_eq!(sent.await.unwrap(), StatusCode::OK);
    }
}
