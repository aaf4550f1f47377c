//! The limit: what a client that does nothing but send gets out of this machine and the receiver.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{clock::now_ns, connection::Connection, message};

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// Requests that were answered.
    pub requests: u64,
    /// Over this time.
    pub seconds: f64,
}

impl Limit {
    /// Requests per second.
    pub fn rate(self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Posts callbacks over all `connections` for `duration`.
pub async fn run(receiver: SocketAddr, connections: usize, duration: Duration) -> Result<Limit> {
    let connections = Connection::open_many(receiver, connections).await?;
    let start = Instant::now();
    let mut posters = JoinSet::new();
    for (lane, connection) in connections.into_iter().enumerate() {
        posters.spawn(post_until(start + duration, connection, lane));
    }
    let mut requests = 0;
    while let Some(done) = posters.join_next().await {
        requests += done??;
    }
    Ok(Limit { requests, seconds: start.elapsed().as_secs_f64() })
}

async fn post_until(end: Instant, mut connection: Connection, lane: usize) -> Result<u64> {
    let mut requests = 0;
    while Instant::now() < end {
        let response = connection.send(callback(lane, requests)?).await?;
        ensure!(response.status() == StatusCode::OK, "the receiver answered {}", response.status());
        requests += 1;
    }
    Ok(requests)
}

fn callback(lane: usize, sequence: u64) -> Result<Request<Full<Bytes>>> {
    let id = format!("evt_{lane:08x}-0000-7000-8000-{sequence:012x}");
    let body = message::callback(&id, &message::payload(sequence, now_ns()));
    let request = Request::post("/s/0")
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::USER_AGENT, HeaderValue::from_static("Hookcast/0.1.0"))
        .header("webhook-id", id)
        .header("webhook-timestamp", HeaderValue::from_static("1769860800"))
        .header("webhook-signature", HeaderValue::from_static("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    Ok(request.body(Full::new(body))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        receiver,
        tally::{Latency, Stats},
    };

    #[tokio::test]
    async fn all_that_is_posted_arrives_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(receiver::serve(listener));
        let limit = run(address, 4, Duration::from_millis(50)).await.unwrap();

        let mut control = Connection::open(address).await.unwrap();
        let stats: Stats = control.get("/stats").await.unwrap();
        assert!(limit.requests > 0);
        assert_eq!((stats.distinct, stats.duplicates), (limit.requests, 0));
        assert!(control.get::<Latency>("/latencies").await.unwrap().max_us > 0);
    }
}
