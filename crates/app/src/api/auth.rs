//! Who asks: bearer tokens (RFC 6750, section 2.1) and their roles.

use hookcast_core::{account::Account, token::TokenHash};
use http::{HeaderMap, header};
use secrecy::SecretString;

use super::{ApiState, error::ApiError};
use crate::config::RegistrationMode;

/// Whose token it is.
enum Role {
    Registrar,
    Producer,
    Consumer(Account),
}

/// Lets those register accounts who may.
pub async fn registrar(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    if state.registration_mode == RegistrationMode::Open {
        return Ok(());
    }
    let hash = bearer(headers)?;
    if hash == state.registration_token {
        return Ok(());
    }
    match role(state, hash).await? {
        Role::Registrar => Ok(()),
        _ => Err(ApiError::forbidden("this takes the registration token, and yours is another valid one")),
    }
}

/// Lets those trigger events and look at them who may.
pub async fn producer(state: &ApiState, headers: &HeaderMap) -> Result<(), ApiError> {
    let hash = bearer(headers)?;
    if hash == state.trigger_token {
        return Ok(());
    }
    match role(state, hash).await? {
        Role::Producer => Ok(()),
        _ => Err(ApiError::forbidden("this takes the trigger token, and yours is another valid one")),
    }
}

/// Finds whose access token it is.
pub async fn consumer(state: &ApiState, headers: &HeaderMap) -> Result<Account, ApiError> {
    match role(state, bearer(headers)?).await? {
        Role::Consumer(account) => Ok(account),
        _ => Err(ApiError::forbidden("this takes an account's access token, and yours is another valid one")),
    }
}

async fn role(state: &ApiState, hash: TokenHash) -> Result<Role, ApiError> {
    if hash == state.registration_token {
        return Ok(Role::Registrar);
    }
    if hash == state.trigger_token {
        return Ok(Role::Producer);
    }
    match state.store.account_by_token(hash).await? {
        Some(account) => Ok(Role::Consumer(account)),
        None => Err(ApiError::unauthorized("the token is not known here")),
    }
}

fn bearer(headers: &HeaderMap) -> Result<TokenHash, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value =
        values.next().ok_or_else(|| ApiError::unauthorized("a token is wanted: `Authorization: Bearer TOKEN`"))?;
    let malformed = || ApiError::unauthorized("the header must be `Authorization: Bearer TOKEN`, once");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let token = token.trim_matches(' ');
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(malformed());
    }
    Ok(TokenHash::of(&SecretString::from(token)))
}
