//! An outbox in a stream of Redis: entries with the fields `event`, `payload` and, if wanted, `key`, `source_id` and `account`.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Cmd, Script, Value, aio::MultiplexedConnection, pipe};

use super::{BATCH_BYTES, Entry, MEMBERS, Outbox, Taken, event};
use crate::{
    error::StoreError,
    redis::{RedisLocation, client},
};

/// The consumer group, and its one consumer: what it has read and not acknowledged is the batch in hand.
const GROUP: &str = "hookcast";
const CONSUMER: &str = "outbox";

/// How long it waits for entries.
const WAIT: Duration = Duration::from_secs(1);

/// How long a process that says nothing more keeps others from following.
const LOCK: Duration = Duration::from_secs(5);

/// How often it is tried to be the one who follows.
const ASK_EVERY: Duration = Duration::from_secs(1);

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Becomes the one who follows, or goes on being it. KEYS: the lock. ARGV: this process's name, how long (ms).
const LOCK_OR_RENEW: &str = "local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

/// The stream, and this process's connection.
pub(super) struct Stream {
    connection: MultiplexedConnection,
    name: String,
    lock: String,
    follower: String,
    /// So many of the entries in hand make a batch, where it was too large.
    at_once: Option<usize>,
}

impl Stream {
    pub(super) async fn follow(
        url: &str,
        name: &str,
        ca_file: Option<&Path>,
        follower: &str,
    ) -> Result<Self, StoreError> {
        let client = client(RedisLocation::parse(url)?.server, ca_file)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (lock, follower) = (format!("{name}:hookcast"), follower.to_owned());
        let mut stream = Self { connection, name: name.to_owned(), lock, follower, at_once: None };
        stream.wait_to_be_alone().await?;
        stream.make_group().await?;
        Ok(stream)
    }

    async fn wait_to_be_alone(&mut self) -> Result<(), StoreError> {
        let mut is_told = false;
        loop {
            if self.is_alone().await? {
                return Ok(());
            }
            if !is_told {
                tracing::info!("another process follows the outbox {}; this one waits for its end", self.name);
                is_told = true;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn make_group(&mut self) -> Result<(), StoreError> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.name).arg(GROUP).arg("0").arg("MKSTREAM");
        match create.query_async::<Value>(&mut self.connection).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &Cmd) -> Result<T, StoreError> {
        Ok(command.query_async(&mut self.connection).await?)
    }

    /// Whether nobody else follows, who then does not do so for a while.
    async fn is_alone(&mut self) -> Result<bool, StoreError> {
        let script = Script::new(LOCK_OR_RENEW);
        let mut call = script.prepare_invoke();
        call.key(&self.lock).arg(&self.follower).arg(millis(LOCK));
        Ok(call.invoke_async(&mut self.connection).await?)
    }

    /// Reads what is in hand (`0`) or what is new (`>`).
    async fn read(&mut self, limit: usize, from: &str) -> Result<Vec<(String, Vec<(String, String)>)>, StoreError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(CONSUMER).arg("COUNT").arg(limit);
        if from == ">" {
            read.arg("BLOCK").arg(millis(WAIT));
        }
        read.arg("STREAMS").arg(&self.name).arg(from);
        let answer: Option<redis::streams::StreamReadReply> = self.ask(&read).await?;
        let entries = answer.into_iter().flat_map(|answer| answer.keys).flat_map(|stream| stream.ids);
        Ok(entries
            .map(|entry| {
                let text = |value: Value| redis::from_redis_value::<String>(value).unwrap_or_default();
                (entry.id, entry.map.into_iter().map(|(name, value)| (name, text(value))).collect())
            })
            .collect())
    }

    /// Takes entries out of the stream, and puts those aside that have a reason.
    async fn end(&mut self, ids: &[&str], aside: Option<(&str, &str)>) -> Result<(), StoreError> {
        let mut all = pipe();
        all.atomic();
        if let Some((event, reason)) = aside {
            all.cmd("XADD")
                .arg(format!("{}:refused", self.name))
                .arg("*")
                .arg("entry")
                .arg(event)
                .arg("error")
                .arg(reason);
        }
        all.cmd("XACK").arg(&self.name).arg(GROUP).arg(ids);
        all.cmd("XDEL").arg(&self.name).arg(ids);
        let _: Value = all.query_async(&mut self.connection).await?;
        Ok(())
    }
}

#[async_trait]
impl Outbox for Stream {
    async fn take(&mut self, limit: usize) -> Result<Option<Taken>, StoreError> {
        if !self.is_alone().await? {
            return Err(StoreError::Unavailable(format!("another process follows the outbox {} by now", self.name)));
        }
        let mut found = self.read(limit, "0").await?;
        if found.is_empty() {
            found = self.read(limit, ">").await?;
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (id, fields) in found.into_iter().take(self.at_once.take().unwrap_or(limit)) {
            if fields.is_empty() {
                // It was deleted after it had been read.
                self.end(&[&id], None).await?;
                continue;
            }
            let entry = entry(id, &fields);
            bytes += entry.event.len();
            entries.push(entry);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
        Ok(Some(Taken { name: format!("{}:{}-{}", self.name, first.id, last.id), entries }))
    }

    async fn published(&mut self, taken: Taken) -> Result<(), StoreError> {
        let ids: Vec<&str> = taken.entries.iter().map(|entry| entry.id.as_str()).collect();
        self.end(&ids, None).await
    }

    async fn put_aside(&mut self, taken: Taken, index: usize, reason: &str) -> Result<(), StoreError> {
        let Some(entry) = taken.entries.get(index) else { return Ok(()) };
        self.end(&[&entry.id], Some((&entry.event, reason))).await
    }

    async fn give_back(&mut self, taken: Taken) -> Result<(), StoreError> {
        self.at_once = Some(taken.entries.len().div_ceil(2));
        Ok(())
    }
}

fn entry(id: String, fields: &[(String, String)]) -> Entry {
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let mut members: Vec<_> = MEMBERS.into_iter().filter_map(|name| Some((name, field(name)?))).collect();
    if !members.iter().any(|(name, _)| *name == "source_id") {
        members.push(("source_id", id.clone()));
    }
    let payload = field("payload").unwrap_or_default();
    Entry { event: event(&field("event").unwrap_or_default(), &payload, members), id }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
