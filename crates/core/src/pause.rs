//! What operators pause: a host, or everything.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use url::{Host, Url};

/// What everything is called.
const EVERYTHING: &str = "*";

/// Where nothing is sent while it is paused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nowhere is anything sent.
    Everything,
    /// This host, as [`host_of`] has it.
    Host(String),
}

/// Why a text names no [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// Nothing at all.
    #[error("is empty; name a host, or `*` for everything")]
    Empty,
    /// A star with something around it.
    #[error("must be a whole host name: there are no patterns, and `*` alone is everything")]
    Pattern,
    /// More than a host.
    #[error(
        "must be a host alone, without scheme, port or path, such as `hooks.example.org`, `192.0.2.1` or `[2001:db8::1]`"
    )]
    NoHost,
    /// Percent-encoded once more than the URL of the request was.
    #[error("is percent-encoded; write the host in plain characters")]
    Encoded,
    /// A name that no DNS server can know (RFC 1035, section 2.3.4).
    #[error("has an empty or too long part; check its dots")]
    Name,
    /// Anything else that the URL standard calls a failure.
    #[error("is no host as URLs have them: {0}")]
    Malformed(#[from] url::ParseError),
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text {
            "" => return Err(InvalidScope::Empty),
            EVERYTHING => return Ok(Self::Everything),
            _ if text.contains('*') => return Err(InvalidScope::Pattern),
            _ => {}
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Host(plain(&Host::<&str>::Ipv6(address))));
        }
        if text.contains(['/', '@', '?', '#', '\\']) || text.contains(':') && !text.ends_with(']') {
            return Err(InvalidScope::NoHost);
        }
        if text.contains('%') {
            return Err(InvalidScope::Encoded);
        }
        let host = Host::parse(text)?;
        let name = plain(&host);
        let is_name =
            |name: &str| name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
        if matches!(host, Host::Domain(_)) && !is_name(&name) {
            return Err(InvalidScope::Name);
        }
        Ok(Self::Host(name))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => EVERYTHING,
            Self::Host(host) => host,
        })
    }
}

/// The host of a URL, by which it is paused: whatever its scheme and port, and with a root dot or without.
#[must_use]
pub fn host_of(url: &Url) -> Option<String> {
    url.host().map(|host| plain(&host))
}

fn plain<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().strip_suffix('.').unwrap_or(name.as_ref()).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_as_in_a_url() {
        for (named, url) in [
            ("hooks.example.org", "https://HOOKS.example.org:8443/x"),
            ("Hooks.Example.ORG.", "http://hooks.example.org/"),
            ("bücher.example", "https://xn--bcher-kva.example/"),
            ("xn--bcher-kva.example", "https://bücher.example/"),
            ("192.0.2.1", "http://192.0.2.1:80/"),
            ("0xc0000201", "http://192.0.2.1/"),
            ("[2001:DB8::1]", "http://[2001:db8:0::1]:8080/"),
            ("2001:db8::1", "http://[2001:db8::1]/"),
            ("under_score", "http://under_score/"),
        ] {
            let scope: Scope = named.parse().unwrap();
            assert_eq!(Some(scope.to_string()), host_of(&url.parse().unwrap()), "{named}");
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert_eq!("*".parse(), Ok(Scope::Everything));
    }

    #[test]
    fn nonsense_is_told_apart() {
        use InvalidScope::{Empty, Encoded, Name, NoHost, Pattern};
        for (text, expected) in [
            ("", Empty),
            ("*.example.org", Pattern),
            ("https://example.org", NoHost),
            ("example.org:443", NoHost),
            ("[::1]:80", NoHost),
            ("user@example.org", NoHost),
            ("example.org/", NoHost),
            ("ex%61mple.org", Encoded),
            ("a..b", Name),
            (".", Name),
            (&"x".repeat(64), Name),
        ] {
            assert_eq!(text.parse::<Scope>(), Err(expected), "{text}");
        }
        for text in ["a b", "256.1.1.1", "[x]", "\u{ad}", "xn--\u{fffd}"] {
            assert!(matches!(text.parse::<Scope>(), Err(InvalidScope::Malformed(_))), "{text}");
        }
    }
}
