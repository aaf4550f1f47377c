//! An OAuth 2.0 or OpenID Connect provider whose tokens are taken here: JWTs (RFC 7519) that it has signed with a key of its set (RFC
//! 7517).

mod signatures;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookcast_core::clock::{Clock, Timestamp};
use hookcast_delivery::client::Client;
use http::{Request, header};
use jsonwebtoken::{
    DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use self::signatures::ALGORITHMS;
use super::error::ApiError;

/// The least time between two questions for the keys.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How old keys may be before they are asked for again.
const FRESH: Duration = Duration::from_secs(3_600);

/// How much the clocks of the provider and of this node may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// The most bytes of an answer of the provider.
const ANSWER_MAX: usize = 1024 * 1024;

/// What is taken of the provider's tokens.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who must have issued them: the `iss` claim, and where the provider describes itself.
    pub issuer: String,
    /// For whom they must be: the `aud` claim.
    pub audience: String,
    /// Where the provider's keys are; `None`: where it says.
    pub keys_url: Option<String>,
    /// The claim that is the `user_id`.
    pub user_id_claim: String,
    /// The claim that is the `user_email`.
    pub user_email_claim: String,
}

/// Who a token says that its bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account's name.
    pub user_id: String,
    /// Where its notices go.
    pub user_email: Option<String>,
    /// When the token ends to be valid.
    pub expires_at: Timestamp,
}

/// The provider.
pub struct Provider {
    terms: Terms,
    client: Client,
    /// Those that came last, if any ever came.
    keys: RwLock<Option<Arc<Keys>>>,
    /// When they were asked for last, whatever came of it. Who asks holds it.
    asked_at: Mutex<Option<Instant>>,
}

struct Keys {
    set: JwkSet,
    came_at: Instant,
}

/// Whether a bearer token is a JWT by its looks, as none of this service's own are.
pub fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3 && token.starts_with("ey")
}

fn refused(why: impl std::fmt::Display) -> ApiError {
    ApiError::unauthorized(format!("the token is not taken: {why}"))
}

impl Provider {
    /// One whose keys are asked for with this client.
    pub fn new(terms: Terms, client: Client) -> Self {
        signatures::install();
        Self { terms, client, keys: RwLock::default(), asked_at: Mutex::default() }
    }

    /// Who the bearer of a token is.
    ///
    /// # Errors
    /// 401 for a token that is not taken, 503 while the provider's keys are not known.
    pub async fn identify(&self, token: &str, clock: &dyn Clock) -> Result<Identity, ApiError> {
        let header = decode_header(token).map_err(refused)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("it must be signed with RS256, ES256 or EdDSA"));
        }
        // RFC 7515, section 4.1.11.
        if header.crit.is_some() {
            return Err(refused("its `crit` names extensions, and none is understood here"));
        }
        let key = self.key(header.kid.as_deref()).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.terms.issuer]);
        validation.set_audience(&[&self.terms.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        // By this service's own clock, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<Map<String, Value>>(token, &key, &validation).map_err(refused)?.claims;
        self.identity(&claims, clock.now())
    }

    fn identity(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Identity, ApiError> {
        let time = |name: &str| {
            let seconds = claims.get(name).and_then(Value::as_f64)?;
            #[expect(clippy::cast_possible_truncation, reason = "a time beyond all times is the last one")]
            Some(Timestamp::from_millis((seconds * 1_000.0) as i64))
        };
        let expires_at = time("exp").ok_or_else(|| refused("it has no `exp`"))?;
        if expires_at.plus(LEEWAY) <= now {
            return Err(refused("it has expired"));
        }
        if time("nbf").is_some_and(|begin| begin > now.plus(LEEWAY)) {
            return Err(refused("it is not valid yet"));
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Terms { user_id_claim, user_email_claim, .. } = &self.terms;
        let user_id = text(user_id_claim).ok_or_else(|| refused(format!("it has no claim `{user_id_claim}`")))?;
        Ok(Identity { user_id: user_id.to_owned(), user_email: text(user_email_claim).map(str::to_owned), expires_at })
    }

    /// The key of this id, or the only one. Where it is not known the keys are asked for once more, though not too often; while the
    /// provider does not answer, those that are known go on being used, and who needs no others does not wait for it.
    async fn key(&self, id: Option<&str>) -> Result<DecodingKey, ApiError> {
        let known = self.known();
        if let Some(key) = known.as_ref().filter(|known| known.is_fresh()).and_then(|known| known.find(id)) {
            return DecodingKey::from_jwk(key).map_err(refused);
        }
        self.ask_in_turn().await;
        let Some(known) = self.known() else {
            return Err(ApiError::unavailable("the keys of the token's issuer are not known yet: try again"));
        };
        let key = known.find(id).ok_or_else(|| refused("its key is none of its issuer's"))?;
        DecodingKey::from_jwk(key).map_err(refused)
    }

    fn known(&self) -> Option<Arc<Keys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the keys, unless somebody has just done so.
    async fn ask_in_turn(&self) {
        let mut asked_at = self.asked_at.lock().await;
        if asked_at.is_some_and(|at| at.elapsed() < ASK_EVERY) {
            return;
        }
        // Before the question, as who asks may leave during it, and come again.
        *asked_at = Some(Instant::now());
        match self.ask_for_keys().await {
            Ok(set) => {
                let keys = Arc::new(Keys { set, came_at: Instant::now() });
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
            }
            Err(problem) => {
                tracing::warn!(problem, issuer = self.terms.issuer, "the provider's keys cannot be had now");
            }
        }
    }

    async fn ask_for_keys(&self) -> Result<JwkSet, String> {
        #[derive(Deserialize)]
        struct Description {
            issuer: String,
            jwks_uri: String,
        }
        let url = match &self.terms.keys_url {
            Some(url) => url.clone(),
            None => {
                let base = self.terms.issuer.trim_end_matches('/');
                let description: Description = self.get(&format!("{base}/.well-known/openid-configuration")).await?;
                if description.issuer != self.terms.issuer {
                    return Err("it describes another issuer".into());
                }
                description.jwks_uri
            }
        };
        let mut set: JwkSet = self.get(&url).await?;
        // RFC 7517 section 4.2: a key that is for encryption signs nothing.
        let may_sign = |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        set.keys.retain(may_sign);
        Ok(set)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, String> {
        let request = Request::get(url)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.exchange(request, ANSWER_MAX).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers with status {}", answer.status().as_u16()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| format!("{url}: {error}"))
    }
}

impl Keys {
    fn is_fresh(&self) -> bool {
        self.came_at.elapsed() < FRESH
    }

    fn find(&self, id: Option<&str>) -> Option<&Jwk> {
        match (id, self.set.keys.as_slice()) {
            (Some(id), _) => self.set.find(id),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}
