//! A receiver whose answers a test decides.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::{Router, body::Bytes, extract::State, response::Response};
use http::{HeaderMap, Method, Uri};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The event's id.
    pub fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    /// Verifies it as a subscriber would, with the reference library.
    pub fn verify(&self, secret: &str) -> Result<(), String> {
        let webhook = standardwebhooks::Webhook::new(secret).map_err(|error| error.to_string())?;
        webhook.verify(&self.body, &self.headers).map_err(|error| error.to_string())
    }
}

/// An answer to give: status, headers, body.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

type Judge = Box<dyn FnMut(&Received) -> Reply + Send>;

struct Script {
    received: mpsc::UnboundedSender<Received>,
    next: Mutex<VecDeque<Reply>>,
    judge: Mutex<Option<Judge>>,
    then: AtomicU16,
    /// Answers wait for a permit each, once there is to be a gate.
    gate: Semaphore,
    total: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// Answers 200 unless told otherwise.
pub struct Receiver {
    pub url: String,
    received: mpsc::UnboundedReceiver<Received>,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_gated(Semaphore::MAX_PERMITS >> 1).await
    }

    /// One whose first `open` requests are answered, and the others when [`let_through`](Self::let_through) says so.
    pub async fn start_gated(open: usize) -> Self {
        Self::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), open).await
    }

    /// One at this address.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::bind(address, Semaphore::MAX_PERMITS >> 1).await
    }

    async fn bind(address: SocketAddr, open: usize) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let script = Arc::new(Script {
            received: sender,
            next: Mutex::default(),
            judge: Mutex::default(),
            then: AtomicU16::new(200),
            gate: Semaphore::new(open),
            total: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, received, script, server }
    }

    /// Answers the next requests like this, one after the other, before it answers as [`always`](Self::always) says.
    pub fn next_replies<R: Into<Reply>>(&self, replies: impl IntoIterator<Item = R>) {
        self.script.next.lock().unwrap().extend(replies.into_iter().map(Into::into));
    }

    /// Answers from now on as this says of each request, instead of [`always`](Self::always).
    pub fn judge<R: Into<Reply>>(&self, mut judge: impl FnMut(&Received) -> R + Send + 'static) {
        *self.script.judge.lock().unwrap() = Some(Box::new(move |request| judge(request).into()));
    }

    /// Answers with this status from now on.
    pub fn always(&self, status: u16) {
        *self.script.judge.lock().unwrap() = None;
        self.script.then.store(status, Ordering::SeqCst);
    }

    /// Lets so many more requests be answered.
    pub fn let_through(&self, count: usize) {
        self.script.gate.add_permits(count);
    }

    /// The next request.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(super::PATIENCE, self.received.recv()).await;
        next.expect("a delivery in time").unwrap()
    }

    /// The next so many requests.
    pub async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(self.next().await);
        }
        taken
    }

    /// Requests that have come and were not looked at.
    pub fn unseen(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }

    /// How many requests have come in all.
    pub fn total(&self) -> usize {
        self.script.total.load(Ordering::SeqCst)
    }

    /// How many requests were open at once at the most.
    pub fn most_open(&self) -> usize {
        self.script.most_open.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let open = script.open.fetch_add(1, Ordering::SeqCst) + 1;
    script.most_open.fetch_max(open, Ordering::SeqCst);
    script.total.fetch_add(1, Ordering::SeqCst);
    let request = Received { method, uri, headers, body, at: Instant::now() };
    let _ = script.received.send(request.clone());
    script.gate.acquire().await.unwrap().forget();
    let reply = script.next.lock().unwrap().pop_front();
    let judged = || script.judge.lock().unwrap().as_mut().map(|judge| judge(&request));
    let reply = reply.or_else(judged).unwrap_or_else(|| script.then.load(Ordering::SeqCst).into());
    script.open.fetch_sub(1, Ordering::SeqCst);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(reply.body.into()).unwrap()
}
