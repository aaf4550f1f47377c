//! Which server takes mails, as a URL.

use std::{fmt, str::FromStr};

use lettre::transport::smtp::authentication::Credentials;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Where mails are handed in over STARTTLS, or without encryption (RFC 6409).
const SUBMISSION_PORT: u16 = 587;

/// Where they are over TLS from the first byte on (RFC 8314).
const SUBMISSIONS_PORT: u16 = 465;

/// A server that takes mails. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, Debug)]
pub struct MailServer {
    host: String,
    port: u16,
    is_wrapped: bool,
    login: Option<Login>,
}

#[derive(Clone, Debug)]
struct Login {
    name: String,
    password: SecretString,
}

/// The text names no server. It says nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must look like `smtp://name:password@host:587` or `smtps://name:password@host:465`")]
pub struct InvalidMailServer;

impl FromStr for MailServer {
    type Err = InvalidMailServer;

    /// Reads `smtp://host`, `smtps://host:port` or `smtp://name:password@host`. In a name and a password whatever means
    /// something in a URL is percent-encoded: `/` is `%2F`.
    fn from_str(text: &str) -> Result<Self, InvalidMailServer> {
        let url = Url::parse(text).map_err(|_| InvalidMailServer)?;
        let (is_wrapped, usual_port) = match url.scheme() {
            "smtp" => (false, SUBMISSION_PORT),
            "smtps" => (true, SUBMISSIONS_PORT),
            _ => return Err(InvalidMailServer),
        };
        // What follows the host may be the rest of a password with a slash in it.
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidMailServer);
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        // A name that no certificate can be issued for is none that a server is found by either.
        ServerName::try_from(host.as_str()).map_err(|_| InvalidMailServer)?;
        let port = url.port().unwrap_or(usual_port);
        Ok(Self { host, port, is_wrapped, login: login(&url)? })
    }
}

fn login(url: &Url) -> Result<Option<Login>, InvalidMailServer> {
    let (name, password) = match (url.username(), url.password()) {
        ("", None) => return Ok(None),
        ("", Some(_)) | (_, None | Some("")) => return Err(InvalidMailServer),
        (name, Some(password)) => (decoded(name)?, decoded(password)?),
    };
    Ok(Some(Login { name, password: password.into() }))
}

fn decoded(text: &str) -> Result<String, InvalidMailServer> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| InvalidMailServer)?;
    // One of them separates the name from the password on the wire.
    if text.contains(char::is_control) { Err(InvalidMailServer) } else { Ok(text.into_owned()) }
}

impl MailServer {
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it speaks TLS from the first byte on.
    pub(super) const fn is_wrapped(&self) -> bool {
        self.is_wrapped
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        let login = self.login.as_ref()?;
        Some(Credentials::new(login.name.clone(), login.password.expose_secret().to_owned()))
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_wrapped { "smtps" } else { "smtp" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_is_that_of_the_scheme() {
        for (text, shown) in [
            ("smtp://mail.example.org", "smtp://mail.example.org:587"),
            ("smtps://mail.example.org/", "smtps://mail.example.org:465"),
            ("smtp://localhost:25", "smtp://localhost:25"),
            ("smtp://[::1]:2525", "smtp://[::1]:2525"),
            ("smtp://ada:secret@127.0.0.1", "smtp://127.0.0.1:587"),
        ] {
            assert_eq!(text.parse::<MailServer>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn names_and_passwords_are_decoded_and_shown_to_nobody() {
        let server: MailServer = "smtp://ada@example.org:p%2Fw%40%3A%25@host".parse().unwrap();
        assert_eq!(server.credentials(), Some(Credentials::new("ada@example.org".into(), "p/w@:%".into())));
        assert!(!format!("{server:?} {server}").contains("p/w"));
        assert!("smtp://host".parse::<MailServer>().unwrap().credentials().is_none());
    }

    #[test]
    fn what_names_no_server_is_refused() {
        for text in [
            "",
            "mail.example.org",
            "mail.example.org:587",
            "http://mail.example.org",
            "smtp://",
            "smtp://:587",
            "smtp://host:0x1",
            "smtp://host:99999",
            "smtp://host/inbox",
            "smtp://host?tls=none",
            "smtp://host#x",
            "smtp://ada@host",
            "smtp://ada:@host",
            "smtp://:secret@host",
            "smtp://ada:12/3@host",
            "smtp://ada:%00@host",
            "smtp://ada:%ff@host",
            "smtp://a b",
            "smtp://-",
        ] {
            assert!(text.parse::<MailServer>().is_err(), "{text}");
        }
    }
}
