//! Who asks: bearer tokens (RFC 6750, section 2.1) and their roles.

use hookcast_core::{
    account::Account,
    event::EventType,
    token::{AccessToken, Scope, TokenHash},
};
use hookcast_store::{access::Bearer, catalogue::AccountKey};
use http::{HeaderMap, header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiState,
    error::ApiError,
    provider::{Identity, is_jwt},
    trigger_tokens::{self, NamedProducer},
};
use crate::config::RegistrationMode;

/// What a provider's token is called where the tokens of an account have names.
const PROVIDED: &str = "jwt";

/// Whose token it is.
enum Role {
    Registrar,
    Producer(Producer),
    Operator,
    Consumer(Bearer),
}

/// Who asks, as it is noted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Asker {
    /// Whoever has no token that is known, where none is wanted.
    Anybody,
    /// Whoever has the registration token.
    Registrar,
    /// Whoever has the trigger token of the settings, or one of a name.
    Producer {
        /// That name.
        token: Option<String>,
    },
    /// Whoever has the admin token.
    Operator,
    /// An account.
    Account {
        /// Its name.
        user_id: String,
        /// The name of the access token.
        token: String,
    },
    /// Whoever works on the store itself, by a command.
    Shell,
}

/// Who triggers events, and looks at them.
#[derive(Debug)]
pub enum Producer {
    /// Whoever has the trigger token of the settings: all types are theirs.
    Main,
    /// Whoever has a token of a name, for some types.
    Named(NamedProducer),
}

impl Producer {
    /// Whether a type is theirs.
    pub fn may(&self, event: &EventType) -> bool {
        match self {
            Self::Main => true,
            Self::Named(producer) => producer.events.matches(event),
        }
    }
}

/// Lets those register accounts who may; answers who they are, where a provider tells, and so which account alone.
pub async fn registrar(state: &ApiState, headers: &HeaderMap) -> Result<Option<Identity>, ApiError> {
    if state.registration_mode == RegistrationMode::Open {
        return Ok(None);
    }
    let token = presented(headers)?;
    if let Some(provider) = state.provider.as_ref().filter(|_| is_jwt(token)) {
        return provider.identify(token, &*state.clock).await.map(Some);
    }
    let hash = bearer(headers)?;
    if hash == state.registration_token {
        return Ok(None);
    }
    match role(state, hash).await? {
        Role::Registrar => Ok(None),
        _ => Err(ApiError::forbidden("this takes the registration token, and yours is another valid one")),
    }
}

/// Lets those trigger events and look at them who may.
pub async fn producer(state: &ApiState, headers: &HeaderMap) -> Result<Producer, ApiError> {
    let hash = bearer(headers)?;
    if hash == state.trigger_token {
        return Ok(Producer::Main);
    }
    match role(state, hash).await? {
        Role::Producer(producer) => Ok(producer),
        _ => Err(ApiError::forbidden("this takes the trigger token, and yours is another valid one")),
    }
}

/// Lets those see to types and to the tokens of producers who may.
pub async fn main_producer(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    match producer(state, headers).await? {
        Producer::Main => Ok(()),
        Producer::Named(producer) => Err(ApiError::forbidden(format!(
            "this takes the trigger token of the server's settings, and `{}` is for some types of event",
            producer.name
        ))),
    }
}

/// Lets those see to everything who may.
pub async fn operator(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    let hash = bearer(headers)?;
    match role(state, hash).await? {
        Role::Operator => Ok(()),
        _ if state.admin_token.is_none() => {
            Err(ApiError::forbidden("this takes the admin token, and the server has none: set `admin.token`"))
        }
        _ => Err(ApiError::forbidden("this takes the admin token, and yours is another valid one")),
    }
}

/// Lets consumers, producers and operators see what is of use to all of them.
pub async fn participant(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    match whose(state, headers).await? {
        Role::Consumer(_) | Role::Producer(_) | Role::Operator => Ok(()),
        Role::Registrar => Err(ApiError::forbidden(
            "this takes an account's access token, a trigger token or the admin token, and yours is for registering accounts",
        )),
    }
}

/// Who asks, whatever they may do.
pub async fn asker(state: &ApiState, headers: &HeaderMap) -> Asker {
    if let Some(provider) = &state.provider
        && let Ok(token) = presented(headers)
        && is_jwt(token)
    {
        return match provider.identify(token, &*state.clock).await {
            Ok(identity) => Asker::Account { user_id: identity.user_id, token: PROVIDED.into() },
            Err(_) => Asker::Anybody,
        };
    }
    let role = match bearer(headers) {
        Ok(hash) => role(state, hash).await.ok(),
        Err(_) => None,
    };
    match role {
        None => Asker::Anybody,
        Some(Role::Registrar) => Asker::Registrar,
        Some(Role::Producer(Producer::Main)) => Asker::Producer { token: None },
        Some(Role::Producer(Producer::Named(producer))) => Asker::Producer { token: Some(producer.name) },
        Some(Role::Operator) => Asker::Operator,
        Some(Role::Consumer(found)) => {
            Asker::Account { user_id: found.account.user_id, token: found.token.name.to_string() }
        }
    }
}

/// Finds whose access token it is, which may be one for looking only.
pub async fn reader(state: &ApiState, headers: &HeaderMap) -> Result<Account, ApiError> {
    Ok(consumer(state, headers).await?.account)
}

/// Finds whose access token it is, which must be one for changes.
pub async fn writer(state: &ApiState, headers: &HeaderMap) -> Result<Account, ApiError> {
    Ok(changing(state, headers).await?.account)
}

/// The same; answers the access token that was used, or the account where a provider has told whose it is.
pub async fn rotating(state: &ApiState, headers: &HeaderMap) -> Result<Rotating, ApiError> {
    let found = changing(state, headers).await?;
    if state.provider.is_some() && is_jwt(presented(headers)?) {
        return Ok(Rotating::Account(found.account));
    }
    Ok(Rotating::Token(bearer(headers)?))
}

/// What gets a new token.
pub enum Rotating {
    /// This token, in its place.
    Token(TokenHash),
    /// This account, in place of its `default` token.
    Account(Account),
}

async fn changing(state: &ApiState, headers: &HeaderMap) -> Result<Bearer, ApiError> {
    let found = consumer(state, headers).await?;
    match found.token.scope {
        Scope::Write => Ok(found),
        Scope::Read => Err(ApiError::forbidden(format!(
            "the token `{}` may only read: use one of scope `write`, which `POST /webhooks/account/tokens` makes",
            found.token.name
        ))),
    }
}

async fn consumer(state: &ApiState, headers: &HeaderMap) -> Result<Bearer, ApiError> {
    match whose(state, headers).await? {
        Role::Consumer(found) => Ok(found),
        _ => Err(ApiError::forbidden("this takes an account's access token, and yours is another valid one")),
    }
}

/// Whose token it is, where an account may have one of a provider's.
async fn whose(state: &ApiState, headers: &HeaderMap) -> Result<Role, ApiError> {
    let token = presented(headers)?;
    if let Some(provider) = state.provider.as_ref().filter(|_| is_jwt(token)) {
        let identity = provider.identify(token, &*state.clock).await?;
        return provided(state, identity).await.map(Role::Consumer);
    }
    role(state, bearer(headers)?).await
}

/// The account of whom a provider knows.
async fn provided(state: &ApiState, identity: Identity) -> Result<Bearer, ApiError> {
    let Identity { user_id, expires_at, .. } = identity;
    let found = state.store.account(AccountKey::UserId(user_id)).await?;
    let account = found.ok_or_else(|| {
        ApiError::forbidden("you have no account here yet: register it with this token, by `POST /webhooks/account`")
    })?;
    let name = PROVIDED.parse().map_err(|_| ApiError::internal("the name of a token is none"))?;
    let token = AccessToken { name, scope: Scope::Write, created_at: account.created_at, expires_at: Some(expires_at) };
    Ok(Bearer { account, token })
}

async fn role(state: &ApiState, hash: TokenHash) -> Result<Role, ApiError> {
    if hash == state.registration_token {
        return Ok(Role::Registrar);
    }
    if hash == state.trigger_token {
        return Ok(Role::Producer(Producer::Main));
    }
    if Some(hash) == state.admin_token {
        return Ok(Role::Operator);
    }
    if let Some(producer) = state.producers.get(&*state.store).await?.get(&trigger_tokens::hex(hash)) {
        if producer.expires_at.is_some_and(|end| end <= state.clock.now()) {
            return Err(ApiError::unauthorized(format!("the token `{}` has expired: use another one", producer.name)));
        }
        return Ok(Role::Producer(Producer::Named(producer.clone())));
    }
    let found = state.store.bearer(hash).await?.ok_or_else(unknown)?;
    match found.token.expires_at {
        Some(end) if found.token.has_expired(state.clock.now()) => Err(ApiError::unauthorized(format!(
            "the token `{}` has expired ({end}): use another one, or make one with `POST /webhooks/account/tokens`",
            found.token.name
        ))),
        _ => Ok(Role::Consumer(found)),
    }
}

/// 401: nobody's token.
pub fn unknown() -> ApiError {
    ApiError::unauthorized("the token is not known here")
}

fn bearer(headers: &HeaderMap) -> Result<TokenHash, ApiError> {
    Ok(TokenHash::of(&SecretString::from(presented(headers)?)))
}

/// The bearer token of a request.
fn presented(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value =
        values.next().ok_or_else(|| ApiError::unauthorized("a token is wanted: `Authorization: Bearer TOKEN`"))?;
    let malformed = || ApiError::unauthorized("the header must be `Authorization: Bearer TOKEN`, once");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim_matches(' ');
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(malformed());
    }
    Ok(token)
}
