//! OAuth 2.0 against a server of tokens and a callback that asks it which of them are good.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

use hookcast_core::callback_auth::CallbackAuth;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time};

use super::*;
use crate::client::{Authenticator, Credentials};

const SECRET: &str = "s3cret:&%";

/// What the server of tokens does.
enum Behaviour {
    /// Gives out tokens that last so many seconds.
    Grants(u64),
    Answers(StatusCode, String),
    SaysNothing,
}

struct State {
    behaviour: Behaviour,
    /// How often a token was asked for.
    asked: usize,
    /// The tokens that the callback accepts.
    good: HashSet<String>,
    /// What the callback was called with.
    calls: Vec<String>,
}

/// A server of tokens at `/token` and a callback at `/hook`.
#[derive(Clone)]
struct Peers {
    origin: String,
    state: Arc<Mutex<State>>,
}

impl Peers {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = State { behaviour, asked: 0, good: HashSet::new(), calls: Vec::new() };
        let peers = Self { origin, state: Arc::new(Mutex::new(state)) };
        let served = peers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peers = served.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| peers.answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        peers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let authorization = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let (status, body) = match path.as_str() {
            "/hook" => (self.state().call(&authorization), String::new()),
            _ => {
                let answer = self.state().grant(&authorization, &body);
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        };
        let response = Response::builder().status(status).header(header::LOCATION, "/hook");
        Ok(response.body(body.into()).unwrap())
    }

    fn auth(&self, scope: Option<&str>) -> Value {
        json!({ "type": "oauth2", "token_url": format!("{}/token?key={SECRET}", self.origin), "client_id": "a:b",
                "client_secret": SECRET, "scope": scope })
    }

    fn credentials(&self) -> Credentials {
        credentials(self.auth(Some("read write")))
    }

    async fn send(&self, client: &Client, credentials: &Credentials) -> AttemptResult {
        let uri = format!("{}/hook", self.origin).parse().unwrap();
        client.send_as(credentials, &uri, HeaderMap::new(), Bytes::from_static(b"{}")).await
    }

    /// The status that the callback answered.
    async fn status(&self, client: &Client, credentials: &Credentials) -> u16 {
        answered(self.send(client, credentials).await).status
    }

    /// Why there was no token.
    async fn detail(&self, client: &Client, credentials: &Credentials) -> String {
        let (failure, detail) = unanswered(self.send(client, credentials).await);
        assert_eq!(failure, Failure::Auth, "{detail}");
        assert!(!detail.contains("s3cret"), "{detail}");
        detail
    }
}

impl State {
    fn call(&mut self, authorization: &str) -> StatusCode {
        let token = authorization.strip_prefix("Bearer ").unwrap();
        let is_good = self.good.contains(token);
        self.calls.push(token.to_owned());
        if is_good { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }

    /// `None`: no answer.
    fn grant(&mut self, authorization: &str, form: &[u8]) -> Option<(StatusCode, String)> {
        self.asked += 1;
        match &self.behaviour {
            // The base64 of `a%3Ab:s3cret%3A%26%25`.
            Behaviour::Grants(_) if authorization != "Basic YSUzQWI6czNjcmV0JTNBJTI2JTI1" => {
                Some((StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }).to_string()))
            }
            Behaviour::Grants(_) if !form.starts_with(b"grant_type=client_credentials") => {
                Some((StatusCode::BAD_REQUEST, json!({ "error": "unsupported_grant_type" }).to_string()))
            }
            Behaviour::Grants(expires_in) => {
                let token = format!("token-{}", self.asked);
                let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": expires_in });
                self.good.insert(token);
                Some((StatusCode::OK, answer.to_string()))
            }
            Behaviour::Answers(status, body) => Some((*status, body.clone())),
            Behaviour::SaysNothing => None,
        }
    }
}

fn credentials(auth: Value) -> Credentials {
    let auth = CallbackAuth::parse("auth", auth, |_| Ok(())).unwrap();
    Credentials { authenticator: Some(Authenticator::new(&auth).unwrap()), ..Credentials::default() }
}

/// Lets time go by at once, without stopping it, since sockets need theirs.
async fn pass(seconds: u64) {
    time::pause();
    time::advance(Duration::from_secs(seconds)).await;
    time::resume();
}

#[tokio::test]
async fn attempts_side_by_side_ask_for_one_token() {
    let peers = Peers::start(Behaviour::Grants(3600)).await;
    let (client, credentials) = (client(), peers.credentials());
    let attempts = (0..64).map(|_| {
        let (peers, client, credentials) = (peers.clone(), client.clone(), credentials.clone());
        tokio::spawn(async move { peers.status(&client, &credentials).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), 200);
    }
    assert_eq!(peers.state().asked, 1);
    assert_eq!(peers.state().calls, ["token-1"; 64]);
}

#[tokio::test]
async fn credentials_made_anew_go_on_with_their_token_and_others_get_their_own() {
    let peers = Peers::start(Behaviour::Grants(3600)).await;
    let client = client();
    for credentials in [peers.credentials(), peers.credentials(), credentials(peers.auth(None)), peers.credentials()] {
        assert_eq!(peers.status(&client, &credentials).await, 200);
    }
    assert_eq!(peers.state().calls, ["token-1", "token-1", "token-2", "token-1"]);
}

#[tokio::test]
async fn a_token_is_renewed_while_it_is_good() {
    let peers = Peers::start(Behaviour::Grants(100)).await;
    let (client, credentials) = (client(), peers.credentials());
    for (seconds, token) in [(0, "token-1"), (75, "token-1"), (10, "token-2"), (75, "token-2"), (10, "token-3")] {
        pass(seconds).await;
        assert_eq!(peers.status(&client, &credentials).await, 200);
        assert_eq!(peers.state().calls.last().unwrap(), token);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_serves_to_its_end() {
    let peers = Peers::start(Behaviour::Grants(100)).await;
    let (client, credentials) = (client(), peers.credentials());
    assert_eq!(peers.status(&client, &credentials).await, 200);
    peers.behave(Behaviour::Answers(StatusCode::SERVICE_UNAVAILABLE, String::new()));
    for (seconds, asked) in [(85, 2), (0, 2), (5, 3)] {
        pass(seconds).await;
        assert_eq!(peers.status(&client, &credentials).await, 200);
        assert_eq!(peers.state().asked, asked);
    }
    pass(11).await;
    assert_eq!(peers.detail(&client, &credentials).await, "no token: the server of tokens answered 503");
    assert_eq!(peers.state().calls, ["token-1"; 4]);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_within_the_attempt() {
    let peers = Peers::start(Behaviour::Grants(3600)).await;
    let (client, credentials) = (client(), peers.credentials());
    assert_eq!(peers.status(&client, &credentials).await, 200);
    pass(2).await;
    peers.state().good.clear();
    let attempts = (0..16).map(|_| {
        let (peers, client, credentials) = (peers.clone(), client.clone(), credentials.clone());
        tokio::spawn(async move { peers.status(&client, &credentials).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), 200);
    }
    assert_eq!(peers.state().asked, 2, "all of them share the new one");
    assert_eq!(peers.state().calls.last().unwrap(), "token-2");
}

#[tokio::test]
async fn a_callback_that_refuses_every_token_does_not_get_one_after_the_other() {
    let body = json!({ "access_token": "never-good" }).to_string();
    let peers = Peers::start(Behaviour::Answers(StatusCode::OK, body)).await;
    let (client, credentials) = (client(), peers.credentials());
    for (seconds, asked, calls) in [(0, 1, 1), (0, 1, 2), (2, 2, 4), (0, 2, 5)] {
        pass(seconds).await;
        assert_eq!(peers.status(&client, &credentials).await, 401);
        let state = peers.state();
        assert_eq!((state.asked, state.calls.len()), (asked, calls));
    }
}

#[tokio::test]
async fn answers_without_a_token_are_told_and_not_asked_for_again_at_once() {
    let too_long = json!({ "access_token": "t", "more": "x".repeat(70_000) }).to_string();
    let answers = [
        (401, json!({ "error": "invalid_client", "error_description": SECRET }).to_string()),
        (400, SECRET.to_owned()),
        (302, SECRET.to_owned()),
        (200, SECRET.to_owned()),
        (200, json!({ "access_token": format!("{SECRET} \n") }).to_string()),
        (200, too_long),
    ];
    let told = [
        "no token: the server of tokens answered 401 (invalid_client)",
        "no token: the server of tokens answered 400",
        "no token: the server of tokens answered 302",
        "no token: the answer is no JSON with an `access_token`",
        "no token: the `access_token` is not 1 to 8192 visible ASCII characters",
        "no token: the answer is longer than 65536 bytes",
    ];
    for ((status, body), told) in answers.into_iter().zip(told) {
        let peers = Peers::start(Behaviour::Answers(StatusCode::from_u16(status).unwrap(), body)).await;
        let (client, credentials) = (client(), peers.credentials());
        for (seconds, asked) in [(0, 1), (0, 1), (2, 2), (0, 2)] {
            pass(seconds).await;
            assert_eq!(peers.detail(&client, &credentials).await, told);
            assert_eq!(peers.state().asked, asked);
        }
        assert!(peers.state().calls.is_empty(), "nothing is sent without a token");
        peers.behave(Behaviour::Grants(60));
        pass(2).await;
        assert_eq!(peers.status(&client, &credentials).await, 200);
    }
}

#[tokio::test]
async fn a_server_of_tokens_that_says_nothing_leaves_half_of_the_time() {
    let peers = Peers::start(Behaviour::SaysNothing).await;
    let client = client_with(settings(Duration::from_secs(2)));
    let attempts = (0..8).map(|_| {
        let (peers, client, credentials) = (peers.clone(), client.clone(), peers.credentials());
        tokio::spawn(async move { peers.detail(&client, &credentials).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), "no token: there was no whole answer within 1s");
    }
    assert_eq!(peers.state().asked, 1, "those who waited for it share its failure");
}

#[tokio::test]
async fn an_attempt_whose_time_is_up_leaves_the_lock_to_others() {
    let peers = Peers::start(Behaviour::SaysNothing).await;
    let (client, credentials) = (client(), peers.credentials());
    let waiting = {
        let (peers, client, credentials) = (peers.clone(), client.clone(), credentials.clone());
        tokio::spawn(async move { peers.send(&client, &credentials).await })
    };
    while peers.state().asked == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let told = "no token: the server of tokens did not answer in time";
    assert_eq!(peers.detail(&client, &credentials).await, told);
    peers.behave(Behaviour::Grants(60));
    pass(2).await;
    assert_eq!(peers.status(&client, &credentials).await, 200);
}

#[tokio::test]
async fn the_guard_judges_where_tokens_are_asked_for() {
    let peers = Peers::start(Behaviour::Grants(60)).await;
    for (url, told) in [
        ("http://10.0.0.1/?key=s3cret", "no token: callbacks may not go there: "),
        ("http://nonexistent.invalid/?key=s3cret", "no token: the name `nonexistent.invalid` does not resolve"),
    ] {
        let auth = json!({ "type": "oauth2", "token_url": url, "client_id": "a", "client_secret": SECRET });
        let detail = peers.detail(&client(), &credentials(auth)).await;
        assert!(detail.starts_with(told), "{detail}");
    }
    assert!(peers.state().calls.is_empty());
}

#[tokio::test]
async fn secrets_and_tokens_are_not_shown() {
    let peers = Peers::start(Behaviour::Grants(60)).await;
    let (client, credentials) = (client(), peers.credentials());
    assert_eq!(peers.status(&client, &credentials).await, 200);
    let shown = format!("{client:?} {credentials:?}");
    for secret in ["s3cret", "token-1", "YSUzQWI6", "key="] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn other_credentials_are_on_the_request_as_they_are() {
    let receiver = Receiver::answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    for (auth, line) in [
        (json!({ "type": "bearer", "token": "abc" }), "authorization: Bearer abc\r\n"),
        (json!({ "type": "basic", "username": "u", "password": "p" }), "authorization: Basic dTpw\r\n"),
        (json!({ "type": "header", "name": "X-Key", "value": "abc" }), "x-key: abc\r\n"),
    ] {
        let before = receiver.requests().len();
        let result =
            client().send_as(&credentials(auth), &receiver.uri(), HeaderMap::new(), Bytes::from_static(b"{}")).await;
        assert_eq!(answered(result).status, 401);
        assert!(receiver.requests()[before].text.contains(line), "{line}");
        assert_eq!(receiver.requests().len(), before + 1, "what does not change is not sent again");
    }
}
