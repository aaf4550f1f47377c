//! Transactional outboxes: events that a producer writes down in its own database, in the transaction in which it changes what they
//! tell of, and that are published from there.
//!
//! What is taken out keeps the company in which it was taken, and a name, until it is known to be published: after a crash the same
//! batch is posted under the same idempotency key, so that nothing comes twice and nothing is lost.

mod postgres;
mod redis;

use std::path::Path;

use async_trait::async_trait;

pub use self::postgres::{NOTIFY_CHANNEL, TABLE_SQL};
use crate::error::StoreError;

/// How much is taken at once, at the most, in bytes of events. One event is taken whatever its size.
const BATCH_BYTES: usize = 1024 * 1024;

/// Events that were taken out together.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Names this batch and no other, and is kept through a crash.
    pub name: String,
    /// The events, the oldest first; one at the least.
    pub entries: Vec<Entry>,
}

/// An event in an outbox.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How the outbox knows it.
    pub id: String,
    /// The event, as the API takes it: a JSON object.
    pub event: String,
}

/// An outbox, followed by this process alone.
#[async_trait]
pub trait Outbox: Send {
    /// Takes the oldest events, at most so many, or those again that were taken and have not been ended. Where there are none, it waits
    /// a while for some and answers with `None` in the end.
    ///
    /// # Errors
    /// The producer's database failed, or is not as it should be.
    async fn take(&mut self, limit: usize) -> Result<Option<Taken>, StoreError>;

    /// Deletes what was taken: it is published.
    ///
    /// # Errors
    /// The producer's database failed.
    async fn published(&mut self, taken: Taken) -> Result<(), StoreError>;

    /// Puts one of the events aside, which cannot be published, with the reason. The others are taken anew.
    ///
    /// # Errors
    /// The producer's database failed.
    async fn put_aside(&mut self, taken: Taken, index: usize, reason: &str) -> Result<(), StoreError>;

    /// Gives back what was taken, so that fewer can be taken at once.
    ///
    /// # Errors
    /// The producer's database failed.
    async fn give_back(&mut self, taken: Taken) -> Result<(), StoreError>;
}

/// Begins to follow an outbox: a table of PostgreSQL, or a stream of Redis. Of several processes that follow the same one, one does
/// so and the others wait here. `follower` is this process's name, which no other has.
///
/// # Errors
/// The URL is wrong, the database does not answer, or the table is not as it should be.
pub async fn follow(
    url: &str,
    name: &str,
    ca_file: Option<&Path>,
    follower: &str,
) -> Result<Box<dyn Outbox>, StoreError> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Box::new(postgres::Table::follow(url, name, ca_file).await?)),
        Some("redis" | "rediss") => Ok(Box::new(redis::Stream::follow(url, name, ca_file, follower).await?)),
        _ => Err(StoreError::Misconfigured(
            "an outbox is in PostgreSQL (`postgres://…`) or in Redis (`redis://…` or `rediss://…`)".into(),
        )),
    }
}

/// The members of an event beside its type and payload that an outbox may have, each a text.
const MEMBERS: [&str; 3] = ["key", "source_id", "account"];

/// Writes an event as the API takes it. The payload is JSON, and kept as it is written.
fn event(event_type: &str, payload: &str, members: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let mut event = format!("{{\"event\":{},\"payload\":{payload}", text(event_type));
    for (name, value) in members {
        event += &format!(",\"{name}\":{}", text(&value));
    }
    event.push('}');
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_the_api_takes_it() {
        let written = event("a\"b", "{ \"n\":1.0 }", [("key", "k\n".to_owned())]);
        assert_eq!(written, r#"{"event":"a\"b","payload":{ "n":1.0 },"key":"k\n"}"#);
    }
}
