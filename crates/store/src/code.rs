//! Values as every store keeps them.

use hookcast_core::{
    delivery::DeliveryState,
    event::{Event, Extra},
    options::Options,
    pattern::EventPatterns,
    subscription::Subscription,
    token::{Scope, TokenName},
};

use crate::error::StoreError;

/// How a delivery's state is kept.
pub(crate) const fn state_code(state: DeliveryState) -> i16 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Sending => 1,
        DeliveryState::Delivered => 2,
        DeliveryState::Failed => 3,
        DeliveryState::Expired => 4,
        DeliveryState::Cancelled => 5,
    }
}

pub(crate) fn state_of(code: i16) -> Result<DeliveryState, StoreError> {
    let all = DeliveryState::ALL;
    all.into_iter()
        .find(|state| state_code(*state) == code)
        .ok_or_else(|| StoreError::Corrupt(format!("a delivery has the unknown state {code}")))
}

/// A number as databases keep it, which know no unsigned ones.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Reads the patterns of a subscription's event types.
pub(crate) fn patterns(text: &str) -> Result<EventPatterns, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("the event types of a subscription are malformed".into()))
}

/// Reads a subscription's options.
pub(crate) fn options(text: &str) -> Result<Options, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("the options of a subscription: {error}")))
}

/// How a subscription's options are kept.
pub(crate) fn options_text(options: &Options) -> Result<String, StoreError> {
    serde_json::to_string(options).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads a token's name.
pub(crate) fn token_name(text: &str) -> Result<TokenName, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a token's name is malformed".into()))
}

/// Reads a token's scope.
pub(crate) fn scope(text: &str) -> Result<Scope, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a token's scope is unknown".into()))
}

/// Reads what few events have.
pub(crate) fn extra(text: Option<&str>) -> Result<Option<Box<Extra>>, StoreError> {
    let corrupt =
        |error: serde_json::Error| StoreError::Corrupt(format!("what an event has beside its content: {error}"));
    text.map(|text| serde_json::from_str(text).map(Box::new).map_err(corrupt)).transpose()
}

/// How that is kept.
pub(crate) fn extra_text(event: &Event) -> Result<Option<String>, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    event.extra.as_ref().map(|extra| serde_json::to_string(extra).map_err(corrupt)).transpose()
}

/// How a subscription's callback is kept: the empty text where it has none.
pub(crate) fn url_text(subscription: &Subscription) -> &str {
    subscription.url.as_deref().unwrap_or_default()
}

/// Reads a subscription's callback.
pub(crate) fn url(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
