//! Whether the server's memory has room for events. What becomes of those that are there is recorded even where it has none.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{Value, cmd};
use tokio::sync::Mutex;

use super::link::Link;
use crate::error::StoreError;

/// How long an answer is good: filling what is kept free takes longer.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// What is kept free of `maxmemory`: a tenth of it, and no more than this.
const KEPT_FREE_MAX: u64 = 64 * 1024 * 1024;

/// What is known of the server's memory.
#[derive(Default)]
pub(super) struct Room(Mutex<Option<(Instant, Memory)>>);

#[derive(Clone, Copy)]
struct Memory {
    used: u64,
    /// 0 for no limit.
    max: u64,
}

impl Room {
    /// Refuses events while the server's `maxmemory` is nearly reached.
    pub(super) async fn check(&self, link: &Link) -> Result<(), StoreError> {
        let mut known = self.0.lock().await;
        let memory = match *known {
            Some((read_at, memory)) if read_at.elapsed() < GOOD_FOR => memory,
            _ => {
                let memory = Memory::read(link).await?;
                *known = Some((Instant::now(), memory));
                memory
            }
        };
        let kept_free = KEPT_FREE_MAX.min(memory.max / 10);
        if memory.max > 0 && memory.used.saturating_add(kept_free) > memory.max {
            return Err(StoreError::Full(format!(
                "the Redis server uses {} bytes of its `maxmemory` of {}, of which {kept_free} are kept free",
                memory.used, memory.max
            )));
        }
        Ok(())
    }
}

impl Memory {
    async fn read(link: &Link) -> Result<Self, StoreError> {
        let info = info(link, "memory").await?;
        let number = |name: &str| info.get(name).and_then(|value| value.parse().ok()).unwrap_or(0_u64);
        // What the server holds for replicas and its file does not count against the limit.
        let used = number("used_memory").saturating_sub(number("mem_not_counted_for_evict"));
        Ok(Self { used, max: number("maxmemory") })
    }
}

/// What the server tells of itself in a section of `INFO`; nothing where its user may not ask.
pub(super) async fn info(link: &Link, section: &str) -> Result<HashMap<String, String>, StoreError> {
    let text = match link.command(cmd("INFO").arg(section)).await? {
        Some(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        Some(Value::VerbatimString { text, .. }) => text,
        _ => String::new(),
    };
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}
