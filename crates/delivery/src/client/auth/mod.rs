//! Proving to a callback who calls.

mod identity;
mod kept;
mod oauth2;

use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hookcast_core::callback_auth::CallbackAuth;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use secrecy::ExposeSecret;

use super::{Client, ExchangeFailed, Headers, Reply, pool::Pool};
pub(super) use identity::Identities;
pub use identity::TlsIdentity;
use oauth2::Grant;
pub(super) use oauth2::Tokens;

/// What a request brings along besides its signature.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// What puts a header on it.
    pub authenticator: Option<Authenticator>,
    /// The certificate that it shows.
    pub identity: Option<TlsIdentity>,
}

/// Puts credentials on a request. Cheap to clone. Tokens are kept by the [`Client`], so that one made anew of the same credentials
/// goes on with the same token.
#[derive(Clone)]
pub struct Authenticator(Kind);

#[derive(Clone)]
enum Kind {
    Header(HeaderName, HeaderValue),
    Token(Arc<Grant>),
}

/// Credentials do not fit into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credentials do not fit into a request")]
pub struct Unfit;

impl Authenticator {
    /// The one that proves who calls in this way.
    ///
    /// # Errors
    /// They do not fit into a request, which does not happen to what [`CallbackAuth::parse`] has accepted.
    pub fn new(auth: &CallbackAuth) -> Result<Self, Unfit> {
        let kind = match auth {
            CallbackAuth::Bearer(token) => Kind::Header(header::AUTHORIZATION, bearer(token.expose_secret())?),
            CallbackAuth::Basic { username, password } => {
                Kind::Header(header::AUTHORIZATION, basic(username, password.expose_secret())?)
            }
            CallbackAuth::Header { name, value } => {
                Kind::Header(name.parse().map_err(|_| Unfit)?, secret(value.expose_secret())?)
            }
            CallbackAuth::OAuth2(credentials) => Kind::Token(Arc::new(Grant::new(credentials)?)),
        };
        Ok(Self(kind))
    }

    /// The name of the header that it puts on requests.
    #[must_use]
    pub fn header_name(&self) -> HeaderName {
        match &self.0 {
            Kind::Header(name, _) => name.clone(),
            Kind::Token(_) => header::AUTHORIZATION,
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator(…)")
    }
}

impl Client {
    /// Puts the credentials on a request.
    pub(super) async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        authenticator: &Authenticator,
    ) -> Result<(), ExchangeFailed> {
        match &authenticator.0 {
            Kind::Header(name, value) => headers.insert(name, value.clone()),
            Kind::Token(grant) => {
                let token = self.tokens.source(grant).token(grant, self).await?;
                headers.insert(header::AUTHORIZATION, token.authorization.clone())
            }
        };
        Ok(())
    }

    /// Makes one attempt with credentials on it. A token that is answered with 401 is replaced by a new one, and the request made
    /// once more.
    pub(super) async fn authenticated(
        &self,
        pool: &Pool,
        uri: &Uri,
        headers: Headers<'_>,
        body: Bytes,
        authenticator: &Authenticator,
    ) -> Result<Reply, ExchangeFailed> {
        let attempt = async |name: &HeaderName, value: &HeaderValue| {
            let headers = || {
                let mut headers = headers()?;
                headers.insert(name, value.clone());
                Ok(headers)
            };
            self.attempt(pool, uri, &headers, body.clone()).await
        };
        let grant = match &authenticator.0 {
            Kind::Header(name, value) => return attempt(name, value).await,
            Kind::Token(grant) => grant,
        };
        let source = self.tokens.source(grant);
        let token = source.token(grant, self).await?;
        let reply = attempt(&header::AUTHORIZATION, &token.authorization).await?;
        if reply.answer.status != 401 {
            return Ok(reply);
        }
        let Some(token) = source.instead_of(&token, grant, self).await? else { return Ok(reply) };
        attempt(&header::AUTHORIZATION, &token.authorization).await
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Unfit> {
    secret(&format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Unfit> {
    secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
}

/// A header's value that `Debug` does not show.
fn secret(value: &str) -> Result<HeaderValue, Unfit> {
    let mut value = HeaderValue::try_from(value).map_err(|_| Unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn header_of(auth: serde_json::Value) -> (HeaderName, HeaderValue) {
        let auth = CallbackAuth::parse("auth", auth, |_| Ok(())).unwrap();
        let authenticator = Authenticator::new(&auth).unwrap();
        assert_eq!(format!("{authenticator:?}"), "Authenticator(…)");
        match authenticator.0 {
            Kind::Header(name, value) => (name, value),
            Kind::Token(_) => panic!("{auth:?}"),
        }
    }

    #[test]
    fn credentials_become_headers_that_debug_does_not_show() {
        for (auth, name, value) in [
            (json!({ "type": "bearer", "token": "abc" }), "authorization", "Bearer abc"),
            // The example of RFC 7617, section 2.
            (
                json!({ "type": "basic", "username": "Aladdin", "password": "open sesame" }),
                "authorization",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            // And the one of its section 2.1.
            (
                json!({ "type": "basic", "username": "test", "password": "123£" }),
                "authorization",
                "Basic dGVzdDoxMjPCow==",
            ),
            (json!({ "type": "header", "name": "X-Api-Key", "value": "k 1" }), "x-api-key", "k 1"),
        ] {
            let (given, header) = header_of(auth);
            assert_eq!((given.as_str(), header.to_str().unwrap()), (name, value));
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
    }
}
