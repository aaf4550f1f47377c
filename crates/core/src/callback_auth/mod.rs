//! How Hookcast proves to a callback who calls: credentials in a header, a client certificate, and headers of the owner's own.
//!
//! What is secret here is in no `Debug` and in no error, and is serialised by functions that say so and by nothing else.

mod client_tls;
mod field;
mod headers;
mod members;
#[cfg(test)]
mod tests;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::guard::mask_query;
pub use client_tls::{ClientTls, PEM_MAX};
pub use headers::{CustomHeaders, HEADER_MAX_BYTES, HEADERS_MAX, HEADERS_MAX_BYTES};
pub use members::Refused;
use members::{Members, Rule};

/// What a bearer token is made of, and an API key in a header of its own.
const TOKEN: Rule =
    Rule { allows: |c| c.is_ascii_graphic(), length: (1, 8192), words: "visible ASCII characters without spaces" };
/// RFC 7617, section 2: a colon would end the user name.
const USERNAME: Rule = Rule {
    allows: |c| c != ':' && !c.is_control(),
    length: (0, 1024),
    words: "text without colons and control characters",
};
const PASSWORD: Rule =
    Rule { allows: |c| !c.is_control(), length: (0, 1024), words: "text without control characters" };
/// RFC 6749, appendices A.1 and A.2.
const CLIENT_ID: Rule =
    Rule { allows: |c| matches!(c, ' '..='~'), length: (1, 1024), words: "visible ASCII characters and spaces" };
const CLIENT_SECRET: Rule = Rule { length: (1, 4096), ..CLIENT_ID };
/// RFC 6749, section 3.3.
const SCOPE: Rule = Rule {
    allows: |c| matches!(c, ' '..='~') && c != '"' && c != '\\',
    length: (1, 1024),
    words: "scopes with spaces between them, without quotes and backslashes",
};
const AUDIENCE: Rule = Rule { length: (1, 2048), ..PASSWORD };

/// What every request to a callback brings along to prove who sends it.
#[derive(Clone)]
pub enum CallbackAuth {
    /// `Authorization: Bearer TOKEN` (RFC 6750).
    Bearer(SecretString),
    /// `Authorization: Basic` (RFC 7617). Either part may be empty.
    Basic {
        /// Shown to whom the subscription is shown, so that a secret belongs into the password.
        username: String,
        /// The secret.
        password: SecretString,
    },
    /// A header with a secret value, such as an API key.
    Header {
        /// The header's name.
        name: String,
        /// The secret.
        value: SecretString,
    },
    /// A token that is asked for where tokens are given out.
    OAuth2(ClientCredentials),
}

/// The client credentials grant of OAuth 2.0 (RFC 6749, section 4.4).
#[derive(Clone)]
pub struct ClientCredentials {
    /// Where the token is asked for. Its query may hold a secret: mask it wherever others may read it.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// The secret that proves it.
    pub client_secret: SecretString,
    /// What the token shall allow: scopes with spaces between them.
    pub scope: Option<String>,
    /// Whom the token is for, as some servers want to be told beyond the standard.
    pub audience: Option<String>,
}

impl CallbackAuth {
    /// Reads what a client gave as the member `member`: `{"type":"bearer","token":…}`,
    /// `{"type":"basic","username":…,"password":…}`, `{"type":"header","name":…,"value":…}` or
    /// `{"type":"oauth2","token_url":…,"client_id":…,"client_secret":…,"scope":…,"audience":…}`, the last two of which may be
    /// left out.
    ///
    /// `judge_url` says what is wrong with a URL that Hookcast shall call, if anything, as it does for callbacks: the token's
    /// URL is one more way to make Hookcast knock somewhere.
    ///
    /// # Errors
    /// The member that breaks a rule, and the rule.
    pub fn parse(
        member: &str,
        value: Value,
        judge_url: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<Self, Refused> {
        let auth = Self::read(member, value)?;
        if let Some(url) = auth.token_url() {
            judge_url(url)
                .map_err(|rule| Refused::new(format!("{member}.token_url"), format!("is refused: {rule}")))?;
        }
        Ok(auth)
    }

    /// Reads what [`to_secret_json`](Self::to_secret_json) wrote.
    ///
    /// # Errors
    /// It wrote something else.
    pub fn from_secret_json(value: Value) -> Result<Self, Refused> {
        Self::read("auth", value)
    }

    /// The whole with its secrets, to be sealed and nothing else.
    #[must_use]
    pub fn to_secret_json(&self) -> Value {
        let mut members = self.public_members();
        let mut secret = |name: &str, secret: &SecretString| members.insert(name.into(), secret.expose_secret().into());
        match self {
            Self::Bearer(token) => secret("token", token),
            Self::Basic { password, .. } => secret("password", password),
            Self::Header { value, .. } => secret("value", value),
            Self::OAuth2(credentials) => {
                secret("client_secret", &credentials.client_secret);
                members.insert("token_url".into(), credentials.token_url.as_str().into())
            }
        };
        Value::Object(members)
    }

    /// What its owner may see again: all members but the secret ones, and no values of the token URL's query.
    #[must_use]
    pub fn public_view(&self) -> Value {
        Value::Object(self.public_members())
    }

    /// Its name in the API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::OAuth2(_) => "oauth2",
        }
    }

    /// Where a token is asked for. It may contain secrets.
    #[must_use]
    pub fn token_url(&self) -> Option<&str> {
        match self {
            Self::OAuth2(credentials) => Some(&credentials.token_url),
            Self::Bearer(_) | Self::Basic { .. } | Self::Header { .. } => None,
        }
    }

    fn public_members(&self) -> Map<String, Value> {
        let members = match self {
            Self::Bearer(_) => vec![],
            Self::Basic { username, .. } => vec![("username", json!(username))],
            Self::Header { name, .. } => vec![("name", json!(name))],
            Self::OAuth2(ClientCredentials { token_url, client_id, scope, audience, .. }) => {
                let mut members = vec![("token_url", json!(mask_query(token_url))), ("client_id", json!(client_id))];
                members.extend(scope.as_ref().map(|scope| ("scope", json!(scope))));
                members.extend(audience.as_ref().map(|audience| ("audience", json!(audience))));
                members
            }
        };
        let kind = ("type", json!(self.kind()));
        [kind].into_iter().chain(members).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn read(member: &str, value: Value) -> Result<Self, Refused> {
        let mut members = Members::of(member, value)?;
        let kind = members.text("type")?;
        let (auth, known) = match kind.as_str() {
            "bearer" => (Self::Bearer(members.secret("token", TOKEN)?), "`type` and `token`"),
            "basic" => {
                let username = members.checked("username", USERNAME)?;
                let password = members.secret("password", PASSWORD)?;
                (Self::Basic { username, password }, "`type`, `username` and `password`")
            }
            "header" => {
                let name = members.text("name")?.to_ascii_lowercase();
                field::check_secret_name(&name).map_err(|rule| members.refuse("name", rule))?;
                let value = members.text("value")?;
                field::check_secret_value(&value).map_err(|rule| members.refuse("value", rule))?;
                (Self::Header { name, value: value.into() }, "`type`, `name` and `value`")
            }
            "oauth2" => (
                Self::OAuth2(ClientCredentials {
                    token_url: members.text("token_url")?,
                    client_id: members.checked("client_id", CLIENT_ID)?,
                    client_secret: members.secret("client_secret", CLIENT_SECRET)?,
                    scope: members.optional_checked("scope", SCOPE)?,
                    audience: members.optional_checked("audience", AUDIENCE)?,
                }),
                "`type`, `token_url`, `client_id`, `client_secret`, `scope` and `audience`",
            ),
            _ => return Err(members.refuse("type", "must be one of `bearer`, `basic`, `header` and `oauth2`")),
        };
        members.end(known)?;
        Ok(auth)
    }
}

impl ClientCredentials {
    /// Tells them from others: the SHA-256 of all that they consist of.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let [scope, audience] = [&self.scope, &self.audience].map(|text| text.as_deref().unwrap_or_default());
        digest([&self.token_url, &self.client_id, self.client_secret.expose_secret(), scope, audience])
    }
}

/// The SHA-256 of texts. Each one's own hash has always the same length, so that texts cannot run into each other.
fn digest<const N: usize>(parts: [&str; N]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

impl fmt::Debug for CallbackAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackAuth({})", self.kind())
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCredentials(…)")
    }
}
