//! A server that gives out tokens by OAuth 2.0 and has a callback that wants them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use super::receiver::Received;

/// `hookcast:of the bridge` as RFC 6749, section 2.3.1, wants it: each part form-encoded, both in base64.
const CLIENT: &str = "Basic aG9va2Nhc3Q6b2YrdGhlK2JyaWRnZQ==";
pub const CLIENT_ID: &str = "hookcast";
pub const CLIENT_SECRET: &str = "of the bridge";

#[derive(Default)]
struct Books {
    issued: usize,
    /// `Authorization` headers that are good, and until when.
    valid: HashMap<String, Instant>,
    /// Forms that came with the right client and secret.
    forms: Vec<String>,
    /// What is answered instead of a token, one after the other.
    broken: VecDeque<(u16, String)>,
}

#[derive(Clone)]
struct Shared {
    books: Arc<Mutex<Books>>,
    delivered: mpsc::UnboundedSender<Received>,
    /// How long tokens last, in seconds.
    lifetime: u64,
}

/// The server. Its callback takes what comes with a token that is good, and answers 401 to everything else.
pub struct TokenServer {
    /// Where tokens are asked for.
    pub token_url: String,
    /// The callback.
    pub hook_url: String,
    books: Arc<Mutex<Books>>,
    delivered: mpsc::UnboundedReceiver<Received>,
    server: JoinHandle<()>,
}

impl TokenServer {
    /// One whose tokens last for so many seconds.
    pub async fn start(lifetime: u64) -> Self {
        let (sender, delivered) = mpsc::unbounded_channel();
        let books = Arc::<Mutex<Books>>::default();
        let shared = Shared { books: Arc::clone(&books), delivered: sender, lifetime };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/token", post(token)).route("/hook", post(hook)).with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { token_url: format!("{base}/token"), hook_url: format!("{base}/hook"), books, delivered, server }
    }

    /// Answers the next requests for a token so.
    pub fn break_next<const N: usize>(&self, answers: [(u16, &str); N]) {
        let answers = answers.map(|(status, body)| (status, body.to_owned()));
        self.books.lock().unwrap().broken.extend(answers);
    }

    /// Makes all tokens void, without a word to those who have one.
    pub fn revoke_all(&self) {
        self.books.lock().unwrap().valid.clear();
    }

    pub fn issued(&self) -> usize {
        self.books.lock().unwrap().issued
    }

    /// The forms with which tokens were asked for.
    pub fn forms(&self) -> Vec<String> {
        self.books.lock().unwrap().forms.clone()
    }

    /// The next delivery that came with a token that is good.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(super::PATIENCE, self.delivered.recv()).await;
        next.expect("a delivery in time").unwrap()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn token(State(shared): State<Shared>, headers: HeaderMap, form: String) -> Response {
    let mut books = shared.books.lock().unwrap();
    if let Some((status, body)) = books.broken.pop_front() {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    if headers.get(header::AUTHORIZATION).is_none_or(|client| client != CLIENT) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response();
    }
    books.forms.push(form);
    books.issued += 1;
    let token = format!("token-{}", books.issued);
    let end = Instant::now() + Duration::from_secs(shared.lifetime);
    books.valid.insert(format!("Bearer {token}"), end);
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": shared.lifetime})).into_response()
}

async fn hook(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let token = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok()).unwrap_or_default();
    let at = Instant::now();
    if shared.books.lock().unwrap().valid.get(token).is_none_or(|end| *end <= at) {
        return StatusCode::UNAUTHORIZED;
    }
    let _ = shared.delivered.send(Received { method, uri, headers, body, at });
    StatusCode::OK
}
