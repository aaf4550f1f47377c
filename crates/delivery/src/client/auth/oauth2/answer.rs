//! What a server of tokens answers (RFC 6749, sections 5.1 and 5.2). Nothing of its text is told further but the standard's own
//! words: a server may repeat the secret that it refuses.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde_json::Value;

use crate::client::auth::bearer;

/// How long a token lasts whose end is not told. If it ends sooner, the callback's 401 tells.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The longest that a token is used.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest token, in bytes.
const TOKEN_MAX: usize = 8192;

const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A token that was given out.
pub(super) struct Granted {
    /// The header's value that brings it along.
    pub(super) authorization: HeaderValue,
    pub(super) lifetime: Duration,
}

/// Reads an answer.
///
/// # Errors
///
/// Why there is no token in it, for people to read.
pub(super) fn read(status: StatusCode, body: &[u8]) -> Result<Granted, String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if !status.is_success() {
        let error = ERRORS.iter().find(|error| answer["error"] == **error);
        let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("the server of tokens answered {}{error}", status.as_u16()));
    }
    let token = answer["access_token"].as_str().ok_or("the answer is no JSON with an `access_token`")?;
    if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the `access_token` is not 1 to {TOKEN_MAX} visible ASCII characters"));
    }
    if answer["token_type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the `token_type` is not `Bearer`".into());
    }
    let authorization = bearer(token).map_err(|unfit| unfit.to_string())?;
    Ok(Granted { authorization, lifetime: lifetime(&answer["expires_in"]) })
}

/// A number of seconds, which some servers write as a text.
fn lifetime(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let told = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.min(LIFETIME_MAX.as_secs_f64())).ok());
    told.unwrap_or(LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(body: &str) -> (String, u64) {
        let granted = read(StatusCode::OK, body.as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"));
        (granted.authorization.to_str().unwrap().to_owned(), granted.lifetime.as_secs())
    }

    #[test]
    fn tokens_and_their_lifetimes() {
        for (rest, lifetime) in [
            (r#","token_type":"example","expires_in":3600"#, None),
            (r#","token_type":"bearer","expires_in":60"#, Some(60)),
            (r#","token_type":"Bearer","expires_in":"60""#, Some(60)),
            (r#","expires_in":0"#, Some(0)),
            (r#","expires_in":1e300"#, Some(86_400)),
            (r#","expires_in":"NaN""#, Some(86_400)),
            (r#","expires_in":-1"#, Some(3_600)),
            (r#","expires_in":"soon""#, Some(3_600)),
            ("", Some(3_600)),
        ] {
            let body = format!(r#"{{"access_token":"2YotnFZFEjr1zCsicMWpAA"{rest}}}"#);
            match lifetime {
                Some(lifetime) => {
                    assert_eq!(granted(&body), ("Bearer 2YotnFZFEjr1zCsicMWpAA".to_owned(), lifetime), "{body}");
                }
                None => assert!(read(StatusCode::OK, body.as_bytes()).is_err()),
            }
        }
    }

    #[test]
    fn refusals_are_told_in_the_standards_words_only() {
        for (status, body, told) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"s3cret"}"#,
                "the server of tokens answered 401 (invalid_client)",
            ),
            (400, r#"{"error":"s3cret"}"#, "the server of tokens answered 400"),
            (302, "s3cret", "the server of tokens answered 302"),
            (200, "s3cret", "the answer is no JSON with an `access_token`"),
            (200, r#"{"access_token":7}"#, "the answer is no JSON with an `access_token`"),
            (
                200,
                r#"{"access_token":"s3cret\r\nx: y"}"#,
                "the `access_token` is not 1 to 8192 visible ASCII characters",
            ),
            (200, r#"{"access_token":"s3cret","token_type":"mac"}"#, "the `token_type` is not `Bearer`"),
        ] {
            let error = read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).err();
            assert_eq!(error.as_deref(), Some(told));
        }
    }
}
