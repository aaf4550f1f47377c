//! What a Redis server's errors mean here.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::StoreError;

/// Whether nothing more is to be expected of the connection on which this happened.
pub(super) fn breaks_connection(error: &RedisError) -> bool {
    // After an answer that did not come in time, the connection may well be one that leads nowhere; and where the server has
    // become a replica, the name may lead to its successor by now.
    error.is_io_error() || matches!(error.kind(), ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly))
}

/// Whether the server does not let its user run the command: it may not, or a provider has taken the command away.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
        }
        _ => false,
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match (error.kind(), error.code()) {
            // What the server says to a wrong password is left out: it is not needed, and who knows what it repeats.
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
                Self::Misconfigured("the Redis server refuses the user name or the password of the database URL".into())
            }
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => {
                Self::Misconfigured(format!("the Redis server's user may not do what Hookcast needs: {error}"))
            }
            (ErrorKind::InvalidClientConfig, _) => Self::Misconfigured(error.to_string()),
            (ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::CrossSlot), _) => Self::Misconfigured(
                "the Redis server is a node of a cluster that keeps other keys: give the URL of a single server".into(),
            ),
            (_, Some("OOM")) => Self::Full("the Redis server has reached its `maxmemory`".into()),
            (_, Some("WRONGTYPE")) => Self::Corrupt(
                "keys of the store's prefix hold something else: give Hookcast a `prefix` of its own in the database URL"
                    .into(),
            ),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
