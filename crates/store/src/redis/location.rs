//! The URL: `redis://[user[:password]@]host[:port][/database][?prefix=NAME]`, or `rediss://` for TLS.

use redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

use crate::error::StoreError;

/// What the names of keys begin with where the URL names nothing else.
const DEFAULT_PREFIX: &str = "hookcast";

/// The longest prefix.
const PREFIX_MAX: usize = 64;

/// Where a store's server is, and which of its keys are the store's.
pub(crate) struct RedisLocation {
    pub server: ConnectionInfo,
    pub prefix: String,
}

impl RedisLocation {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let mut url = redis::parse_redis_url(url)
            .ok_or_else(|| wrong("must look like `redis://host:6379/0`, or `rediss://…` for TLS"))?;
        let mut prefix = DEFAULT_PREFIX.to_owned();
        for (name, value) in url.query_pairs() {
            if name != "prefix" {
                return Err(wrong("takes no parameter but `prefix`"));
            }
            prefix = value.into_owned();
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if !(1..=PREFIX_MAX).contains(&prefix.len()) || !prefix.chars().all(allowed) {
            return Err(wrong("has a `prefix` that is not 1 to 64 letters, digits or `_ - . :`"));
        }
        url.set_query(None);
        let server = url.into_connection_info().map_err(|error| wrong(error.category()))?;
        // With this protocol the server tells of a message, and the library of a lost connection, by itself.
        let login = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { server: server.set_redis_settings(login), prefix })
    }
}

/// An error about the URL that shows nothing of it: it may hold a password.
fn wrong(rule: &str) -> StoreError {
    StoreError::Misconfigured(format!("the database URL of a Redis server {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_servers_and_prefixes() {
        for (url, prefix) in [
            ("redis://localhost", "hookcast"),
            ("redis://me:secret@localhost:7000/3", "hookcast"),
            ("rediss://:secret@redis.example/?prefix=hookcast-test", "hookcast-test"),
        ] {
            assert_eq!(RedisLocation::parse(url).unwrap().prefix, prefix, "{url}");
        }
        for bad in [
            "redis://",
            "redis://localhost/three",
            "redis://:secret@localhost?prefix=",
            "redis://:secret@localhost?prefix={a}",
            "redis://:secret@localhost?pool=4",
            "rediss://:secret@localhost/#whatever",
        ] {
            let Err(error) = RedisLocation::parse(bad) else { panic!("{bad}") };
            assert!(matches!(error, StoreError::Misconfigured(_)), "{bad}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
