//! Tokens by the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4): asked for once for all who wait, kept while they
//! last, and renewed while they are still good.

mod answer;

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hookcast_core::callback_auth::ClientCredentials;
use http::{HeaderValue, Method, Request, Uri, header};
use secrecy::ExposeSecret;
use tokio::{sync::MutexGuard, time::Instant};
use url::form_urlencoded;

use super::{
    Unfit, basic,
    kept::{Digest, Kept},
};
use crate::client::{Client, ExchangeFailed};
use answer::Granted;

/// How long nobody asks again after a request that failed, and how young a token is that is not replaced when it is refused.
const PAUSE: Duration = Duration::from_secs(1);

/// How many tokens are kept. Another one costs a request for a token.
const TOKENS_MAX: usize = 8192;

/// How long one is kept that nothing uses.
const TOKEN_IDLE: Duration = Duration::from_secs(60 * 60);

/// The most bytes of an answer with a token.
const ANSWER_MAX: usize = 64 * 1024;

/// The request for a token, ready to be made.
pub(super) struct Grant {
    digest: Digest,
    uri: Uri,
    authorization: HeaderValue,
    form: Bytes,
}

impl Grant {
    pub(super) fn new(credentials: &ClientCredentials) -> Result<Self, Unfit> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("scope", &credentials.scope), ("audience", &credentials.audience)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let uri = url::Url::parse(&credentials.token_url).map_err(|_| Unfit)?;
        Ok(Self {
            digest: credentials.digest(),
            uri: uri.as_str().parse().map_err(|_| Unfit)?,
            authorization: basic(
                &encoded(&credentials.client_id),
                &encoded(credentials.client_secret.expose_secret()),
            )?,
            form: form.finish().into(),
        })
    }

    /// Asks for a token, in half of the time that an attempt has: the other half is for what the token is wanted for.
    async fn ask(&self, client: &Client) -> Result<Token, ExchangeFailed> {
        let mut request = Request::new(self.form.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().extend([
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, form),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (header::USER_AGENT, HeaderValue::from_static(crate::courier::USER_AGENT)),
        ]);
        let answer = client.exchange_anew(request, ANSWER_MAX, client.timeout / 2).await;
        let granted = match answer {
            Ok(answer) => answer::read(answer.status(), answer.body()),
            Err(failed) => Err(failed.detail),
        };
        granted.map(Token::new).map_err(|detail| ExchangeFailed::auth(&format!("no token: {detail}")))
    }
}

/// A token and how long it is good for.
pub(super) struct Token {
    pub(super) authorization: HeaderValue,
    /// From when on a new one is asked for, while this one is used still.
    renew_at: Instant,
    expires_at: Instant,
}

impl Token {
    fn new(granted: Granted) -> Self {
        let now = Instant::now();
        // What ends at once would be asked for with every request.
        let lifetime = granted.lifetime.max(PAUSE);
        Self {
            authorization: granted.authorization,
            renew_at: now + (lifetime.mul_f64(0.8)).max(PAUSE),
            expires_at: now + lifetime,
        }
    }
}

/// The tokens that are in use.
pub(in crate::client) struct Tokens(Kept<Arc<TokenSource>>);

impl Tokens {
    /// None so far.
    pub(in crate::client) fn new() -> Self {
        Self(Kept::new(TOKENS_MAX, TOKEN_IDLE))
    }

    pub(super) fn source(&self, grant: &Grant) -> Arc<TokenSource> {
        let Ok(source) = self.0.get_or_make(grant.digest, || Ok::<_, Infallible>(Arc::default()));
        source
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

/// What all attempts with the same credentials share.
#[derive(Default)]
pub(super) struct TokenSource {
    current: Mutex<Option<Arc<Token>>>,
    /// Held by the one that asks; the others wait for it here.
    asking: tokio::sync::Mutex<Asked>,
}

/// How it went when a token was asked for last.
#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    failed: Option<ExchangeFailed>,
}

impl TokenSource {
    /// A token that is good now.
    pub(super) async fn token(&self, grant: &Grant, client: &Client) -> Result<Arc<Token>, ExchangeFailed> {
        let now = Instant::now();
        let token = match self.current().filter(|token| now < token.expires_at) {
            Some(token) if now < token.renew_at => return Ok(token),
            // It is good still: one renews it, and the others go on. That it cannot be renewed now is no failure yet.
            Some(token) => {
                let Ok(asked) = self.asking.try_lock() else { return Ok(token) };
                let renewed = self.ask(asked, Some(&token), grant, client).await;
                return Ok(renewed.ok().flatten().unwrap_or(token));
            }
            None => self.ask(self.asking.lock().await, None, grant, client).await?,
        };
        token.ok_or_else(|| ExchangeFailed::auth("no token: the last one was given out a moment ago and has ended"))
    }

    /// Another token than the one that was refused; `None` if that one is so new that a newer one would fare no better.
    pub(super) async fn instead_of(
        &self,
        refused: &Arc<Token>,
        grant: &Grant,
        client: &Client,
    ) -> Result<Option<Arc<Token>>, ExchangeFailed> {
        self.ask(self.asking.lock().await, Some(refused), grant, client).await
    }

    /// Asks for a token other than `old`, unless there is one since or it is too early to ask again.
    async fn ask(
        &self,
        mut asked: MutexGuard<'_, Asked>,
        old: Option<&Arc<Token>>,
        grant: &Grant,
        client: &Client,
    ) -> Result<Option<Arc<Token>>, ExchangeFailed> {
        let is_other = |token: &Arc<Token>| old.is_none_or(|old| !Arc::ptr_eq(token, old));
        if let Some(token) = self.current().filter(|token| is_other(token) && Instant::now() < token.expires_at) {
            return Ok(Some(token));
        }
        if asked.at.is_some_and(|at| at.elapsed() < PAUSE) {
            return asked.failed.clone().map_or(Ok(None), Err);
        }
        // Stays so if this attempt's time is up before there is an answer.
        *asked = Asked {
            at: Some(Instant::now()),
            failed: Some(ExchangeFailed::auth("no token: the server of tokens did not answer in time")),
        };
        let outcome = grant.ask(client).await;
        // Those who waited have waited for this outcome, however long it took.
        asked.at = Some(Instant::now());
        match outcome {
            Ok(token) => {
                asked.failed = None;
                let token = Arc::new(token);
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
                Ok(Some(token))
            }
            Err(failed) => {
                asked.failed = Some(failed.clone());
                Err(failed)
            }
        }
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(id: &str, secret: &str, scope: Option<&str>) -> Grant {
        let credentials = ClientCredentials {
            token_url: "https://id.example/token?a=b".into(),
            client_id: id.into(),
            client_secret: secret.into(),
            scope: scope.map(str::to_owned),
            audience: scope.map(|_| "urn:a&b".to_owned()),
        };
        Grant::new(&credentials).unwrap()
    }

    #[test]
    fn the_request_is_as_the_standard_says() {
        // The example of RFC 6749, section 2.3.1.
        let plain = grant("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", None);
        assert_eq!(plain.authorization, "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3");
        assert_eq!(plain.form, "grant_type=client_credentials");
        assert_eq!(plain.uri, "https://id.example/token?a=b");
        let full = grant("a:b", "c d%", Some("read write"));
        assert_eq!(full.authorization, super::super::basic("a%3Ab", "c+d%25").unwrap());
        assert_eq!(full.form, "grant_type=client_credentials&scope=read+write&audience=urn%3Aa%26b");
    }
}
