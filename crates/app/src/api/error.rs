//! Errors as clients see them: problem details (RFC 9457) with the prototype's `error` member.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hookcast_core::{sealing::OpenError, secrets::SecretsError};
use hookcast_store::{AcceptError, StoreError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::problems;

/// How long a client is asked to wait when the store cannot take more, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// A refusal. In a box, since every result carries the room for one.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    status: StatusCode,
    /// A stable name for programs.
    code: &'static str,
    title: &'static str,
    detail: String,
    field: Option<String>,
    index: Option<usize>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A refusal as it is answered.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    /// Ends with a stable code for programs.
    r#type: String,
    /// What kind of refusal it is.
    pub title: &'a str,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong, for people to read.
    detail: &'a str,
    /// The same as `detail`.
    error: &'a str,
    /// The member, parameter or header that breaks a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The place in the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $code:literal, $title:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(detail: impl Into<String>) -> Self {
            Self::new(StatusCode::$status, $code, $title, detail.into())
        }
    )*};
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: String) -> Self {
        Self(Box::new(Refusal { status, code, title, detail, field: None, index: None, header: None }))
    }

    refusals! {
        /// 400: the body is not JSON.
        malformed: BAD_REQUEST, "malformed", "Malformed request";
        /// 403: a valid token of the wrong role.
        forbidden: FORBIDDEN, "forbidden", "Wrong token for this";
        /// 403: one more than the account may have.
        over_quota: FORBIDDEN, "quota-exceeded", "Quota exceeded";
        /// 404: there is no such thing, or it is somebody else's.
        not_found: NOT_FOUND, "not-found", "Not found";
        /// 408: the body did not come in time.
        too_slow: REQUEST_TIMEOUT, "too-slow", "Request too slow";
        /// 409: it contradicts what is there.
        conflict: CONFLICT, "conflict", "Conflict";
        /// 413: the body, or an event in it, is too large.
        too_large: PAYLOAD_TOO_LARGE, "too-large", "Too large";
        /// 415: the body is of a type that is not read here.
        unsupported: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type";
        /// 422: it is JSON and breaks a rule.
        invalid: UNPROCESSABLE_ENTITY, "invalid", "Invalid request";
        /// 500: a fault of ours.
        internal: INTERNAL_SERVER_ERROR, "internal", "Internal error";
    }

    /// 401: no token, or none that is known.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let header = (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hookcast\""));
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Not authorized", detail.into()).with(header)
    }

    /// 405. The framework adds which methods there are.
    pub fn method_not_allowed() -> Self {
        let detail = "this path takes other methods; see the `Allow` header".into();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// 429: more than one may have at a time.
    pub fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail.into())
            .with((header::RETRY_AFTER, RETRY_AFTER))
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail.into())
            .with((header::RETRY_AFTER, RETRY_AFTER))
    }

    /// 422 for one member of the body, or for a header or a parameter: what it must be.
    pub fn invalid_field(field: &str, rule: &str) -> Self {
        let mut error = Self::invalid(format!("`{field}` {rule}"));
        error.0.field = Some(field.to_owned());
        error
    }

    /// A member whose value has something wrong with it, which is said in a clause of its own.
    pub fn invalid_value(field: &str, problem: &impl std::fmt::Display) -> Self {
        let mut error = Self::invalid(format!("`{field}`: {problem}"));
        error.0.field = Some(field.to_owned());
        error
    }

    /// The same, of the element at this place of a batch.
    pub fn at(mut self, index: usize) -> Self {
        self.0.detail = format!("event {index}: {}", self.0.detail);
        self.0.index = Some(index);
        self
    }

    /// What is wrong, for people to read.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The stable name of its kind.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What the answer says beside its body.
    pub fn header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.0.header.as_ref()
    }

    /// What the answer's body says.
    pub fn problem(&self) -> Problem<'_> {
        let refusal = &*self.0;
        Problem {
            r#type: format!("urn:hookcast:problem:{}", refusal.code),
            title: refusal.title,
            status: refusal.status.as_u16(),
            detail: &refusal.detail,
            error: &refusal.detail,
            field: refusal.field.as_deref(),
            index: refusal.index,
        }
    }

    fn with(mut self, header: (HeaderName, HeaderValue)) -> Self {
        self.0.header = Some(header);
        self
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found("there is no such thing"),
            StoreError::Conflict => Self::conflict("it exists already"),
            StoreError::Full(_) => {
                // The store itself tells that it is full: once, and not for every event.
                tracing::debug!(%error, "refused");
                Self::unavailable("the store is full: nothing was stored; try again when its operator has made room")
            }
            StoreError::Busy(_) => {
                tracing::debug!(%error, "refused");
                Self::unavailable("the store has too much to do just now: nothing was stored; try again")
            }
            StoreError::Unavailable(_) => {
                // It is told by whoever meets it; once for every request would be once too often.
                tracing::debug!(%error, "refused");
                Self::unavailable(
                    "the store cannot take it just now: try again; with an `Idempotency-Key` nothing is stored twice, should \
                     it have been stored after all",
                )
            }
            StoreError::Corrupt(_) | StoreError::Misconfigured(_) => {
                tracing::error!(%error, "refused");
                Self::internal("the store failed; its operator finds more in the log")
            }
        }
    }
}

impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> Self {
        // It is told when the catalogue is read; once for every request would be once too often.
        tracing::debug!(%error, "refused");
        match error {
            SecretsError::Sealed(error @ (OpenError::NoMasterKey(_) | OpenError::UnknownKey(_))) => {
                Self::unavailable(format!(
                    "the operator of this service has to put right how secrets are read: {error}; nothing is lost meanwhile"
                ))
            }
            SecretsError::Sealed(_) | SecretsError::Malformed(_) => {
                Self::internal("a subscription's secrets cannot be read; the operator finds more in the log")
            }
        }
    }
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::KeyReused => Self::invalid_field(
                "Idempotency-Key",
                "was used for another body in the last 24 hours: take a new key for a new request",
            ),
            AcceptError::Store(error) => error.into(),
            AcceptError::StaleCatalogue | AcceptError::LeaseLost => {
                tracing::warn!(%error, "refused");
                Self::unavailable("the service is busy with other changes: nothing was stored; try again")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let refusal = *self.0;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = refusal.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(problems::MEDIA_TYPE));
        if let Some((name, value)) = refusal.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
