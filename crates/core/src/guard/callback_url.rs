//! The URL that events are sent to, judged before it is kept.

use std::{fmt, net::IpAddr};

use url::Url;

use super::{AllowedNetworks, RuleBroken, Rules, SpecialAddress, check_address, local_name};

/// The longest URL that is accepted, in bytes.
pub const MAX_URL_LENGTH: usize = 2048;

/// A URL that events may be sent to.
///
/// Two of them are equal if they were written in the same way. `Debug` hides the query's values, as [`Self::masked`]
/// does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallbackUrl {
    text: String,
    url: Url,
    host: Host,
    port: u16,
}

/// The host of a [`CallbackUrl`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name in ASCII and lower case (RFC 5891 A-labels), with the root dot if it was written with one. Its addresses
    /// have yet to pass [`check_resolved`](super::check_resolved).
    Domain(String),
    /// An address that has passed [`check_address`].
    Ip(IpAddr),
}

/// Why a URL is not accepted as a callback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Longer than [`MAX_URL_LENGTH`].
    #[error("the URL has {0} bytes; use at most {MAX_URL_LENGTH}")]
    TooLong(usize),
    /// White space, a control character or another character without a shape.
    #[error("the URL contains {}, which cannot be seen; remove it or percent-encode it", .0.escape_unicode())]
    Invisible(char),
    /// A backslash, which some parsers take for a slash.
    #[error("the URL contains a backslash; use `/`, or `%5C` if a backslash is meant")]
    Backslash,
    /// Neither `http` nor `https`.
    #[error("the URL must begin with `https://` or `http://`")]
    Scheme,
    /// Not exactly two slashes after the scheme.
    #[error("the URL's scheme must be followed by exactly two slashes and the host, as in `https://example.com`")]
    Slashes,
    /// A user name or a password.
    #[error("the URL contains a user name or password before `@`; remove it and give credentials separately")]
    UserInfo,
    /// No host.
    #[error("the URL has no host; name one, as in `https://example.com`")]
    NoHost,
    /// An IPv6 address with a zone (RFC 6874).
    #[error("the URL's IPv6 address has a zone; use an address that is valid everywhere")]
    ZoneId,
    /// A host with percent-encoded characters.
    #[error("the URL's host is percent-encoded; write it in plain characters")]
    EncodedHost,
    /// A host name that no DNS server can know (RFC 1035, section 2.3.4).
    #[error("the URL's host name has an empty or too long part; check its dots")]
    HostName,
    /// A port that is not one.
    #[error("the URL's port must be a number from 1 to 65535 without leading zeros")]
    Port,
    /// A scheme or a port that the operator does not allow.
    #[error("the URL {0}")]
    Rule(#[from] RuleBroken),
    /// A fragment.
    #[error("the URL has a fragment, which is never sent; remove everything from `#` on, or write `%23`")]
    Fragment,
    /// A name that always leads into the local network.
    #[error("the URL's host `{0}` is a local name; use a public one, or ask the operator to allow its network")]
    LocalName(String),
    /// An address that callbacks may not go to.
    #[error("the URL's host {0}; use a public address, or ask the operator to allow its network")]
    Address(#[from] SpecialAddress),
    /// Anything else that the URL standard calls a failure.
    #[error("the URL cannot be understood: {0}")]
    Malformed(#[from] url::ParseError),
}

impl CallbackUrl {
    /// Judges and parses a URL.
    ///
    /// What a parser would have to repair is refused, because another parser might repair it into something else.
    ///
    /// # Errors
    ///
    /// See [`UrlRefused`].
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, UrlRefused> {
        check_text(text)?;
        let url = Url::parse(text)?;
        let host = match url.host().ok_or(UrlRefused::NoHost)? {
            url::Host::Domain(name) => {
                check_name(name, &rules.networks)?;
                Host::Domain(name.to_owned())
            }
            url::Host::Ipv4(address) => Host::Ip(address.into()),
            url::Host::Ipv6(address) => Host::Ip(address.into()),
        };
        if let Host::Ip(address) = host {
            check_address(address, &rules.networks)?;
        }
        let port = url.port_or_known_default().ok_or(UrlRefused::Port)?;
        rules.check(url.scheme() == "https", port)?;
        Ok(Self { text: text.to_owned(), url, host, port })
    }

    /// The URL as it was given. It may contain secrets; see [`Self::masked`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed URL, which is what requests are made from.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The host to connect to.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port to connect to: as given, or else 443 for `https` and 80 for `http`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The URL for logs; see [`mask_query`].
    #[must_use]
    pub fn masked(&self) -> String {
        mask_query(&self.text)
    }
}

/// A URL for logs and for others than its owner: the query's values, which often are secrets, are replaced by `***`.
#[must_use]
pub fn mask_query(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            None if pair.is_empty() => String::new(),
            None => "***".to_owned(),
        })
        .collect();
    format!("{before}?{}", pairs.join("&"))
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallbackUrl").field(&self.masked()).finish()
    }
}

/// Judges what can be seen only before a parser has repaired it.
fn check_text(text: &str) -> Result<(), UrlRefused> {
    if text.len() > MAX_URL_LENGTH {
        return Err(UrlRefused::TooLong(text.len()));
    }
    if let Some(character) = text.chars().find(|character| is_invisible(*character)) {
        return Err(UrlRefused::Invisible(character));
    }
    if text.contains('\\') {
        return Err(UrlRefused::Backslash);
    }
    let (scheme, rest) = text.split_once(':').ok_or(UrlRefused::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlRefused::Scheme);
    }
    let rest = rest.strip_prefix("//").filter(|rest| !rest.starts_with('/')).ok_or(UrlRefused::Slashes)?;
    check_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())?;
    if rest.contains('#') { Err(UrlRefused::Fragment) } else { Ok(()) }
}

/// Judges `host` or `host:port`, as written.
fn check_authority(authority: &str) -> Result<(), UrlRefused> {
    if authority.contains('@') {
        return Err(UrlRefused::UserInfo);
    }
    let is_ipv6 = authority.starts_with('[');
    if authority.contains('%') {
        return Err(if is_ipv6 { UrlRefused::ZoneId } else { UrlRefused::EncodedHost });
    }
    // An IPv6 address has colons of its own; the one before the port follows its bracket.
    let host_end = if is_ipv6 { authority.find("]:").map(|bracket| bracket + 1) } else { authority.find(':') };
    let (host, port) = authority.split_at(host_end.unwrap_or(authority.len()));
    if host.is_empty() {
        return Err(UrlRefused::NoHost);
    }
    match port.strip_prefix(':') {
        Some(port) if !is_port(port) => Err(UrlRefused::Port),
        _ => Ok(()),
    }
}

/// Judges a host name in ASCII and lower case.
fn check_name(name: &str, allowed: &AllowedNetworks) -> Result<(), UrlRefused> {
    let relative = name.strip_suffix('.').unwrap_or(name);
    if relative.len() > 253 || relative.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(UrlRefused::HostName);
    }
    if local_name::is_refused(relative, allowed) {
        return Err(UrlRefused::LocalName(name.to_owned()));
    }
    Ok(())
}

fn is_port(text: &str) -> bool {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && text.parse::<u16>().is_ok()
}

/// White space, control characters, and the characters that parsers drop from host names (UTS 46) or that change the
/// direction in which a text is shown.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || character.is_whitespace()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}
