//! The receiver of callbacks: answers `200` to everything as fast as it can, or as slowly as it is asked to, and counts.

use std::{
    convert::Infallible,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{load::TRIGGER, tally::Tally};

/// How long callbacks below `/slow/` take.
pub const SLOW: Duration = Duration::from_secs(1);

/// Listens on `listen`, says where on stdout, and answers until the process ends.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    serve(listener).await
}

/// Answers on `listener`.
pub async fn serve(listener: TcpListener) -> Result<()> {
    let tally = Arc::new(Mutex::new(Tally::new()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let tally = Arc::clone(&tally);
        let service = service_fn(move |request| answer(Arc::clone(&tally), request));
        // A connection that breaks is for the client to notice.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(tally: Arc<Mutex<Tally>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(empty(StatusCode::BAD_REQUEST)) };
    let path = head.uri.path();
    if let Some(subscription) = number(path, "/slow/") {
        tokio::time::sleep(SLOW).await;
        locked(&tally).record(subscription, id(&head), &body.to_bytes());
        return Ok(empty(StatusCode::OK));
    }
    let mut tally = locked(&tally);
    if let Some(subscription) = number(path, "/s/") {
        tally.record(subscription, id(&head), &body.to_bytes());
        return Ok(empty(StatusCode::OK));
    }
    Ok(match (&head.method, path) {
        (&Method::GET, "/stats") => json(&tally.stats()),
        (&Method::GET, "/latencies") => json(&tally.latency()),
        (&Method::POST, "/reset") => {
            *tally = Tally::new();
            empty(StatusCode::OK)
        }
        (&Method::POST, "/mark") => {
            tally.mark();
            empty(StatusCode::OK)
        }
        // In the server's place, to see how fast the load generator is.
        (&Method::POST, TRIGGER) => empty(StatusCode::ACCEPTED),
        _ => empty(StatusCode::NOT_FOUND),
    })
}

/// The subscription that a callback is for, below one of the folders.
fn number(path: &str, folder: &str) -> Option<u32> {
    path.strip_prefix(folder)?.parse().ok()
}

fn id(head: &Parts) -> Option<&[u8]> {
    head.headers.get("webhook-id").map(HeaderValue::as_bytes)
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => Response::new(body.into()),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
