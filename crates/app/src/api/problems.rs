//! Refusals in the description of the interface: one shared answer for each kind, made from the errors themselves.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{
        ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder,
        schema::{ObjectBuilder, Type},
    },
};

use super::error::ApiError;

/// The media type of refusals.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One of each kind that an operation may answer with.
fn kinds() -> [ApiError; 12] {
    [
        ApiError::malformed("the body is not JSON: expected value at line 1 column 1"),
        ApiError::unauthorized("the token is not known here"),
        ApiError::forbidden("this takes an account's access token, and yours is another valid one"),
        ApiError::not_found("you have no such subscription"),
        ApiError::too_slow("the body took too long"),
        ApiError::conflict("you have another subscription for this event and URL"),
        ApiError::too_large("the body may have 65536 bytes"),
        ApiError::unsupported("send `content-type: application/json` here"),
        ApiError::invalid_field("url", "is missing"),
        ApiError::too_many("another test delivery of yours is on its way: wait for its answer"),
        ApiError::internal("the store failed; its operator finds more in the log"),
        ApiError::unavailable("the store has too much to do just now: nothing was stored; try again"),
    ]
}

/// The shared answers, by the codes of their errors.
pub fn components() -> impl Iterator<Item = (String, RefOr<Response>)> {
    kinds().into_iter().map(|error| (error.code().to_owned(), RefOr::T(response(&error))))
}

fn response(error: &ApiError) -> Response {
    let problem = error.problem();
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .example(serde_json::to_value(&problem).ok())
        .build();
    let response = ResponseBuilder::new().description(problem.title).content(MEDIA_TYPE, content);
    match error.header() {
        Some((name, value)) => {
            let text = ObjectBuilder::new().schema_type(Type::String).examples(value.to_str().ok());
            response.header(name.as_str(), HeaderBuilder::new().schema(Some(text)).build()).build()
        }
        None => response.build(),
    }
}

fn shared(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let of_these = kinds().into_iter().filter(|error| statuses.contains(&error.problem().status));
    of_these.map(|error| (error.problem().status.to_string(), Ref::from_response_name(error.code()).into())).collect()
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident: $($status:literal)*;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                shared(&[$($status),*])
            }
        }
    )*};
}

groups! {
    /// Of what takes a token.
    Protected: 401 403 429 500 503;
    /// Of what reads a body.
    Body: 400 408 413 415 422 503;
    /// Of what reads parameters.
    Parameters: 422;
    /// Of what names a thing.
    Missing: 404;
    /// Of what may contradict what is there.
    Conflicting: 409;
    /// Of what looks at the store.
    Stored: 500 503;
}
