//! One keep-alive HTTP/1.1 connection: what a client needs and nothing more, so that it does not become the bottleneck.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// An open connection, which carries one request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong here is told to whoever waits for the answer.
        tokio::spawn(connection);
        Ok(Self { sender, host: HeaderValue::try_from(address.to_string())? })
    }

    /// Opens `count` connections.
    pub async fn open_many(address: SocketAddr, count: usize) -> Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address).await?);
        }
        Ok(connections)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Reads what `path` answers with `200`.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        let response = self.send(Request::get(path).body(Full::default())?).await?;
        ensure!(response.status() == StatusCode::OK, "GET {path}: {}", describe(&response));
        serde_json::from_slice(response.body()).with_context(|| format!("GET {path}: no valid answer"))
    }
}

/// A POST of JSON, with a bearer token.
pub fn post_json(path: &str, token: &HeaderValue, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let request = Request::post(path)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(AUTHORIZATION, token.clone());
    Ok(request.body(Full::new(body))?)
}

/// The value of `Authorization` for a token.
pub fn bearer(token: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(format!("Bearer {token}")).context("the token does not fit into a header")
}

/// An answer that was not the expected one, for people.
pub fn describe(response: &Response<Bytes>) -> String {
    format!("{} {}", response.status(), String::from_utf8_lossy(response.body()))
}
