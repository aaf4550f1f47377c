//! What the server's settings promise of what it has answered.

use std::collections::HashMap;

use redis::{FromRedisValue as _, cmd};

use super::{link::Link, room::info};
use crate::{error::StoreError, history::Promise, location::StoreKind};

/// The settings that decide what a crash loses.
const SETTINGS: [&str; 4] = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"];

const NO_FAILOVER: &str = "Redis copies to its replicas after it has answered: when one takes the place of a lost server, the \
                           last events may be missing";

/// The server's settings, as far as it tells them.
struct Durability {
    settings: HashMap<String, String>,
    /// The user may not ask for all of them.
    is_hidden: bool,
}

/// Refuses a server that could lose what it has answered, or warns of it where the operator has accepted that.
pub(super) async fn require(link: &Link, require_durable: bool) -> Result<(), StoreError> {
    let durability = Durability::read(link).await?;
    let risks = durability.risks();
    if risks.is_empty() {
        return Ok(());
    }
    let risks = risks.join("; ");
    if require_durable {
        return Err(StoreError::Misconfigured(format!(
            "the Redis server could lose accepted events: {risks}. {} Or accept the risk with database.require_durable=false.",
            durability.remedy()
        )));
    }
    tracing::warn!("the Redis server could lose accepted events: {risks}");
    Ok(())
}

/// What the server promises now: its settings can be changed while it runs.
pub(super) async fn promise(link: &Link) -> Result<Promise, StoreError> {
    let mut remarks = Durability::read(link).await?.risks();
    let survives_restart = remarks.is_empty();
    remarks.push(NO_FAILOVER.into());
    Ok(Promise { store: StoreKind::Redis, survives_restart, survives_failover: false, remarks })
}

impl Durability {
    async fn read(link: &Link) -> Result<Self, StoreError> {
        let answer = link.command(cmd("CONFIG").arg("GET").arg(&SETTINGS)).await?;
        let settings: HashMap<String, String> =
            answer.and_then(|answer| HashMap::from_redis_value(answer).ok()).unwrap_or_default();
        if SETTINGS.iter().all(|setting| settings.contains_key(*setting)) {
            return Ok(Self { settings, is_hidden: false });
        }
        Self::read_info(link).await
    }

    /// Where a provider hides the settings, the server tells some of them otherwise.
    async fn read_info(link: &Link) -> Result<Self, StoreError> {
        let mut settings = HashMap::new();
        let (persistence, memory) = (info(link, "persistence").await?, info(link, "memory").await?);
        if let Some(enabled) = persistence.get("aof_enabled") {
            settings.insert("appendonly".into(), if enabled == "1" { "yes" } else { "no" }.into());
        }
        if let Some(policy) = memory.get("maxmemory_policy") {
            settings.insert("maxmemory-policy".into(), policy.clone());
        }
        Ok(Self { settings, is_hidden: true })
    }

    fn is(&self, setting: &str, wanted: &str) -> bool {
        self.settings.get(setting).is_some_and(|value| value == wanted)
    }

    fn differs(&self, setting: &str, wanted: &str) -> bool {
        self.settings.get(setting).is_some_and(|value| value != wanted)
    }

    /// Ways in which what was answered may be lost, a sentence each.
    fn risks(&self) -> Vec<String> {
        let mut risks = Vec::new();
        if self.differs("appendonly", "yes") {
            risks.push(
                "without an append-only file (`appendonly` is `no`) a crash loses everything since the last snapshot"
                    .into(),
            );
        } else if self.is("appendfsync", "everysec") {
            risks.push(
                "with `appendfsync everysec` a crash of the machine may lose about a second of accepted events".into(),
            );
        } else if self.differs("appendfsync", "always") {
            risks.push("with `appendfsync no` a crash of the machine may lose many seconds of accepted events".into());
        } else if self.is("no-appendfsync-on-rewrite", "yes") {
            risks.push(
                "with `no-appendfsync-on-rewrite yes` a crash of the machine may lose what was accepted while the file was \
                 rewritten"
                    .into(),
            );
        }
        if self.differs("maxmemory-policy", "noeviction") {
            let policy = self.settings.get("maxmemory-policy").map_or("", String::as_str);
            risks.push(format!(
                "with `maxmemory-policy {policy}` the server may drop any of the store's keys when it is full"
            ));
        }
        if self.is_hidden {
            risks.push("the server does not tell its settings (`CONFIG GET` is forbidden), so that what it keeps could not be checked".into());
        }
        risks
    }

    /// The lines that would make it durable.
    fn remedy(&self) -> String {
        if self.is_hidden {
            return "Let its user run `CONFIG GET` (ACL: `+config|get`).".into();
        }
        let wanted = [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
        ];
        let lines: Vec<_> = wanted
            .into_iter()
            .filter(|(setting, value)| self.differs(setting, value))
            .map(|(setting, value)| format!("`{setting} {value}`"))
            .collect();
        format!("Set {} in its redis.conf, or the same with CONFIG SET and then CONFIG REWRITE.", lines.join(", "))
    }
}
