//! `/.well-known/webhook-keys`: the public keys with which receivers check signatures of the scheme `v1a`.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_core::{
    clock::Timestamp,
    id::SubscriptionId,
    signing::{Jwk, Keyring, Secret},
};
use http::{HeaderValue, Uri, header};
use serde::Serialize;

use utoipa::ToSchema;

use super::{ApiState, error::ApiError, problems::Parameters, query};

/// For so long a receiver may keep what it has got: shorter than any overlap of secrets that is of use.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A JWK set (RFC 7517, section 5).
#[derive(Serialize, ToSchema)]
struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<Jwk>,
}

/// The route of the keys: all of them, or with `?subscription=` those of one.
pub fn routes() -> MethodRouter<ApiState> {
    get(keys)
}

/// The public keys with which receivers check signatures of the scheme `v1a`, as a JWK set (RFC 7517).
#[utoipa::path(
    get,
    path = "/.well-known/webhook-keys",
    operation_id = "listKeys",
    tag = "Service",
    params(("subscription" = Option<String>, Query, description = "Only those of this subscription.",
        pattern = "^sub_[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The keys. They may be kept for five minutes.", body = KeySet,
            example = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "alg": "EdDSA", "use": "sig", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}]})),
        Parameters
    )
)]
pub async fn keys(State(state): State<ApiState>, uri: Uri) -> Result<Response, ApiError> {
    let only: Option<SubscriptionId> = query::parsed(&uri, "subscription")?;
    let now = state.clock.now();
    let targets = match only {
        Some(id) => state.dispatcher.parts().directory.target(id).into_iter().collect(),
        None => state.dispatcher.parts().directory.with_public_keys(),
    };
    let mut seen = BTreeSet::new();
    let access = targets.iter().filter_map(|target| target.access.as_ref().ok());
    let keys = access.flat_map(|access| public_keys(&access.keys, now));
    let keys = keys.filter(|key| seen.insert(key.kid().to_owned())).collect();
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(KeySet { keys })).into_response())
}

/// The public keys with which receivers can check at this time.
fn public_keys(keyring: &Keyring, now: Timestamp) -> Vec<Jwk> {
    let earlier = keyring.earlier().filter(|earlier| earlier.until > now).map(|earlier| earlier.secret);
    let secrets = keyring.current().cloned().into_iter().chain(earlier);
    secrets.filter_map(|secret: Secret| Some(Jwk::from(&secret.public_key()?))).collect()
}
