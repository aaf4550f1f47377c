//! Names and values of header fields (RFC 9110, sections 5.1 and 5.5), and which names a subscription's owner may choose.

use std::borrow::Cow;

/// The longest value of a header with a secret, in bytes.
const SECRET_MAX: usize = 8192;

/// Names that say how a message is framed, what its body is, who sends it and where it came from. They are Hookcast's own.
const RESERVED: [&str; 16] = [
    "accept-encoding",
    "connection",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "signature",
    "signature-input",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Beginnings of such names: the body, the event, whoever stands in between.
const RESERVED_BEGINNINGS: [&str; 8] =
    ["ce-", "content-", "if-", "proxy-", "sec-", "webhook-", "x-forwarded-", "x-real-ip"];

/// Names whose values prove something, so that they are not kept like other headers.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

type Rule = Cow<'static, str>;

/// The rule that the name of a header breaks which is shown to whom the subscription is shown.
pub(super) fn check_name(name: &str) -> Result<(), Rule> {
    check_secret_name(name)?;
    if CREDENTIALS.contains(&name) {
        return Err("carries a secret; give it as the subscription's authentication".into());
    }
    Ok(())
}

/// The rule that the name of a header with a secret breaks. `name` is in lower case.
pub(super) fn check_secret_name(name: &str) -> Result<(), Rule> {
    if name.is_empty() || name.len() > super::HEADER_MAX_BYTES || !name.bytes().all(is_token) {
        return Err("must be a header's name: letters, digits and the characters !#$%&'*+-.^_`|~".into());
    }
    if RESERVED.contains(&name) || RESERVED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
        return Err("is a header that Hookcast sets itself or never sends".into());
    }
    Ok(())
}

/// The rule that a value breaks.
pub(super) fn check_value(value: &str) -> Result<(), Rule> {
    if value.len() > super::HEADER_MAX_BYTES {
        return Err(format!("must have at most {} bytes", super::HEADER_MAX_BYTES).into());
    }
    check_characters(value)
}

/// The rule that a secret value breaks.
pub(super) fn check_secret_value(value: &str) -> Result<(), Rule> {
    if value.is_empty() || value.len() > SECRET_MAX {
        return Err(format!("must have 1 to {SECRET_MAX} bytes").into());
    }
    check_characters(value)
}

/// Bytes beyond ASCII are allowed by the grammar's obsolete part, and read in as many ways as there are receivers.
fn check_characters(value: &str) -> Result<(), Rule> {
    let is_plain = |byte| matches!(byte, b' '..=b'~' | b'\t');
    if !value.bytes().all(is_plain) || value.trim_matches([' ', '\t']) != value {
        return Err("must be visible ASCII characters, with spaces and tabs between them only".into());
    }
    Ok(())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
