//! A setting's value as a layer gives it, and the parsers that make something typed of it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use hookcast_delivery::{
    client::Proxy,
    mail::{MailServer, Mailbox, parse_mailbox},
};
use ipnet::IpNet;
use secrecy::SecretString;

use super::quantity::{parse_duration, parse_size};

/// The longest token, in characters.
const MAX_TOKEN: usize = 512;
/// The longest free text, in characters.
const MAX_LINE: usize = 256;

/// What a layer says about one setting, before it means anything. No `Debug`: it may hold a secret.
pub(super) enum Raw {
    /// Text, or a number or truth value of TOML in its usual spelling.
    Text(String),
    /// An array of TOML whose items are such texts.
    List(Vec<String>),
    /// Something that no setting takes, by its name (`a table`).
    Other(&'static str),
}

/// Why a value was refused.
#[derive(Debug, PartialEq)]
pub(super) enum Invalid {
    /// This text: the whole value, or the item of a list that is wrong.
    Text(String),
    /// A value of a wrong kind, by its name (`a list`).
    Kind(&'static str),
}

impl Raw {
    /// The value as one thing.
    pub(super) fn one<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<T, Invalid> {
        match self {
            Self::Text(text) => parse(text).ok_or_else(|| Invalid::Text(text.clone())),
            Self::List(_) => Err(Invalid::Kind("a list")),
            Self::Other(kind) => Err(Invalid::Kind(kind)),
        }
    }

    /// The value as one thing or, when empty, as nothing.
    pub(super) fn optional<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Invalid> {
        self.one(|text| if text.is_empty() { Some(None) } else { parse(text).map(Some) })
    }

    /// The value as a list of at most `limit` things: an array, or a text with commas. An empty text is an empty list.
    pub(super) fn list<T>(&self, limit: usize, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Invalid> {
        let items: Vec<&str> = match self {
            Self::Text(text) if text.trim().is_empty() => Vec::new(),
            Self::Text(text) => text.split(',').map(str::trim).collect(),
            Self::List(items) => items.iter().map(String::as_str).collect(),
            Self::Other(kind) => return Err(Invalid::Kind(kind)),
        };
        if items.len() > limit {
            return Err(Invalid::Kind("a list as long as this"));
        }
        items.into_iter().map(|item| parse(item).ok_or_else(|| Invalid::Text(item.to_owned()))).collect()
    }

    /// The value as one line of text, secrets included.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(","),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// A duration within `range`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| parse_duration(text).filter(|duration| range.contains(duration))
}

/// A size within `range`, in bytes. A size that `T` cannot hold is refused.
pub(super) fn size<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Option<T> {
    move |text| parse_size(text).filter(|bytes| range.contains(bytes)).and_then(|bytes| T::try_from(bytes).ok())
}

/// A whole number within `range`, in digits only.
pub(super) fn integer<T: FromStr + PartialOrd>(range: RangeInclusive<T>) -> impl Fn(&str) -> Option<T> {
    move |text| {
        let number = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
        number.filter(|number| range.contains(number))
    }
}

/// A decimal number within `range`.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&str) -> Option<f64> {
    move |text| text.parse().ok().filter(|number| range.contains(number))
}

/// One of some words, each with what it stands for.
pub(super) fn choice<T: Copy, const N: usize>(words: [(&'static str, T); N]) -> impl Fn(&str) -> Option<T> {
    move |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// An address and a port.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// A network in CIDR notation. An address alone is a network of one.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.ok().map(|network| network.trunc())
}

/// A port, or a range of them with both ends.
pub(super) fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = integer(1..=u16::MAX);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

/// The URL of a proxy.
pub(super) fn proxy(text: &str) -> Option<Proxy> {
    Proxy::parse(text)
}

/// A bearer token: visible ASCII only, so that it passes through any header as it is.
pub(super) fn token(text: &str) -> Option<SecretString> {
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    (visible && (1..=MAX_TOKEN).contains(&text.len())).then(|| SecretString::from(text))
}

/// One line of text, not empty.
pub(super) fn line(text: &str) -> Option<String> {
    let fits = (1..=MAX_LINE).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// A path, not empty.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// A URL of a store. Which schemes there are is the store's business, so only the form is looked at here.
pub(super) fn database_url(text: &str) -> Option<DatabaseUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let named = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    (named && !rest.is_empty() && !rest.contains(char::is_control)).then(|| DatabaseUrl::new(text))
}

/// A server that takes mails, as a URL.
pub(super) fn mail_server(text: &str) -> Option<MailServer> {
    text.parse().ok()
}

/// Who a mail is from: one address, and perhaps a name before it.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    parse_mailbox(text)
}

/// Shows a value as it is.
pub(super) fn plain(text: &str) -> String {
    text.to_owned()
}

/// Shows only whether there is a value.
pub(super) fn masked(text: &str) -> String {
    if text.is_empty() { String::new() } else { "***".to_owned() }
}

/// Shows a URL without its password and without parameters that look like one.
///
/// It also gets texts that are no valid URLs, which is why it would rather hide too much: the last `@` ends the user
/// part, as an unescaped password may contain any of `/?#@`.
pub(super) fn url_masked(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    let host = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:***@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let Some((base, query)) = host.split_once('?') else { return format!("{scheme}{host}") };
    let query: Vec<String> = query.split('&').map(parameter_masked).collect();
    format!("{scheme}{base}?{}", query.join("&"))
}

fn parameter_masked(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

/// Where the store is. What it shows, in `Debug` as well, has no password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// The URL with its password, for the one who connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url_masked(self.expose()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn an_empty_text_is_an_empty_list_and_no_value() {
        let number = integer(0..=9_u32);
        assert_eq!(text("").list(3, &number), Ok(vec![]));
        assert_eq!(text(" ").list(3, &number), Ok(vec![]));
        assert_eq!(text("").optional(&number), Ok(None));
        assert_eq!(text("").one(&number), Err(Invalid::Text(String::new())));
    }

    #[test]
    fn lists_are_arrays_or_texts_with_commas() {
        let number = integer(0..=9_u32);
        assert_eq!(text("1, 2,3").list(3, &number), Ok(vec![1, 2, 3]));
        assert_eq!(Raw::List(vec!["4".to_owned()]).list(3, &number), Ok(vec![4]));
        assert_eq!(text("1,x").list(3, &number), Err(Invalid::Text("x".to_owned())));
        assert_eq!(text("1,").list(3, &number), Err(Invalid::Text(String::new())));
        assert_eq!(text("1,2,3,4").list(3, &number), Err(Invalid::Kind("a list as long as this")));
        assert_eq!(Raw::List(vec![]).one(&number), Err(Invalid::Kind("a list")));
    }

    #[test]
    fn numbers_are_digits_within_their_range() {
        let small = integer(1..=10_u8);
        let read: Vec<Option<u8>> = ["1", "10", "0", "11", "+5", "-5", "", "300", "5 "].map(&small).into();
        assert_eq!(read, [Some(1), Some(10), None, None, None, None, None, None, None]);
        let share = number(0.0..=1.0);
        assert_eq!(["0", "0.5", "1", "1.01", "-0.1", "NaN", "inf", "x"].map(share).iter().flatten().count(), 3);
    }

    #[test]
    fn networks() {
        let shown = |text| network(text).map(|network| network.to_string());
        assert_eq!(shown("10.0.0.5"), Some("10.0.0.5/32".to_owned()));
        assert_eq!(shown("::1"), Some("::1/128".to_owned()));
        assert_eq!(shown("10.1.2.3/8"), Some("10.0.0.0/8".to_owned()));
        assert_eq!(shown("10.0.0.0/33"), None);
        assert_eq!(shown("localhost"), None);
    }

    #[test]
    fn ports_stand_alone_or_in_ranges() {
        let read =
            ["443", "8000-8999", "1-65535", "7-7", "0", "65536", "9-8", "80-", "-80", "80 - 90", "1-2-3", "http"];
        let expected = [Some(443..=443), Some(8000..=8999), Some(1..=65535), Some(7..=7)];
        let expected: Vec<_> = expected.into_iter().chain([const { None }; 8]).collect();
        assert_eq!(read.map(ports).to_vec(), expected);
    }

    #[test]
    fn tokens_are_visible_ascii() {
        assert!(token("abc-._~+/=").is_some());
        assert!(token(&"x".repeat(512)).is_some());
        for refused in ["", "two words", "tab\t", "ümlaut", &"x".repeat(513)] {
            assert!(token(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn database_urls_need_a_scheme() {
        for url in ["sqlite://data/hookcast.db", "sqlite:///var/lib/my data.db", "postgres://u:p@h/d", "redis://h"] {
            assert!(database_url(url).is_some(), "{url}");
        }
        for url in ["", "hookcast.db", "sqlite://", "://x", "SQLITE://x", "a b://x", "sqlite://a\nb"] {
            assert!(database_url(url).is_none(), "{url}");
        }
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (url, shown) in [
            ("sqlite://data/a@b.db", "sqlite://data/a@b.db"),
            ("postgres://me@host/db", "postgres://me@host/db"),
            ("postgres://me:secret@host:5432/db", "postgres://me:***@host:5432/db"),
            ("postgres://me:se/c?r@et@host/db", "postgres://me:***@host/db"),
            ("redis://:secret@host", "redis://:***@host"),
            ("me:secret@host", "me:***@host"),
            ("postgres://host/db?sslmode=require&password=secret", "postgres://host/db?sslmode=require&password=***"),
            ("postgres://host/db?password=se@cret", "postgres://host/db?password=***"),
        ] {
            assert_eq!(url_masked(url), shown);
            assert_eq!(format!("{:?}", DatabaseUrl::new(url)), format!("\"{shown}\""));
        }
    }
}
