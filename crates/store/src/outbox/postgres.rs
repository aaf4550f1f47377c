//! An outbox in a table of PostgreSQL.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::poll_fn;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client, Row, types::ToSql};
use uuid::Uuid;

use super::{BATCH_BYTES, Entry, MEMBERS, Outbox, Taken, event};
use crate::{error::StoreError, postgres::Connector};

/// On this channel the table's trigger tells that there is something new. It need not: the table is looked at in any case.
pub const NOTIFY_CHANNEL: &str = "hookcast_outbox";

/// How often the table is looked at where nobody tells.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is tried to be the one who follows.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What makes the table, with `{table}` in the place of its name.
pub const TABLE_SQL: &str = include_str!("table.sql");

/// The table, and this process's connection.
pub(super) struct Table {
    client: Client,
    connection: JoinHandle<()>,
    told: Arc<Notify>,
    /// Its name, quoted.
    name: String,
    /// What an event is read from.
    columns: String,
    members: Vec<&'static str>,
    /// Nothing that an earlier process took can be left.
    is_settled: bool,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Table {
    pub(super) async fn follow(url: &str, name: &str, ca_file: Option<&Path>) -> Result<Self, StoreError> {
        let connector = Connector::new(url, ca_file)?;
        let (client, mut connection) = connector.config.connect(connector.tls.clone()).await?;
        let told = Arc::new(Notify::new());
        let telling = Arc::clone(&told);
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message {
                    telling.notify_one();
                }
            }
        });
        let name =
            name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".");
        let mut table =
            Self { client, connection, told, columns: String::new(), members: Vec::new(), is_settled: false, name };
        table.look_at_columns().await?;
        table.wait_to_be_alone().await?;
        table.client.batch_execute(&format!("LISTEN {NOTIFY_CHANNEL}")).await?;
        Ok(table)
    }

    async fn look_at_columns(&mut self) -> Result<(), StoreError> {
        let found = self
            .client
            .query(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
                &[&self.name],
            )
            .await?;
        let there: Vec<String> = found.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        if there.is_empty() {
            let problem = format!("there is no table {}: `hookcast outbox --sql` tells how to make it", self.name);
            return Err(StoreError::Misconfigured(problem));
        }
        if let Some(missing) =
            ["id", "event", "payload", "batch", "error"].iter().find(|name| !there.iter().any(|column| column == *name))
        {
            let problem = format!("the table {} has no column `{missing}`: see `hookcast outbox --sql`", self.name);
            return Err(StoreError::Misconfigured(problem));
        }
        self.members = MEMBERS.into_iter().filter(|name| there.iter().any(|column| column == name)).collect();
        let members = self.members.iter().map(|name| format!(", {name}::text")).collect::<String>();
        self.columns = format!("id::text, event::text, payload::text{members}");
        Ok(())
    }

    /// Of all that follow the table one goes on from here, until its connection ends.
    async fn wait_to_be_alone(&self) -> Result<(), StoreError> {
        let mut is_told = false;
        loop {
            let row = self
                .client
                .query_one(
                    "SELECT pg_try_advisory_lock(1215262572, hashtext($1::text::regclass::oid::text))",
                    &[&self.name],
                )
                .await?;
            if row.try_get(0)? {
                return Ok(());
            }
            if !is_told {
                tracing::info!("another process follows the outbox {}; this one waits for its end", self.name);
                is_told = true;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn execute(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        self.client.execute(sql, parameters).await?;
        Ok(())
    }

    fn entry(&self, row: &Row) -> Result<Entry, StoreError> {
        let mut members = Vec::new();
        for (at, name) in (3..).zip(&self.members) {
            if let Some(value) = row.try_get::<_, Option<String>>(at)? {
                members.push((*name, value));
            }
        }
        let (id, event_type): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if !members.iter().any(|(name, _)| *name == "source_id") {
            members.push(("source_id", id.clone()));
        }
        let payload: &str = row.try_get(2)?;
        Ok(Entry { id, event: event(&event_type, payload, members) })
    }

    /// Reads rows of one batch, whose name follows the columns of events.
    fn taken(&self, rows: &[Row]) -> Result<Option<Taken>, StoreError> {
        let Some(first) = rows.first() else { return Ok(None) };
        let batch: Uuid = first.try_get(3 + self.members.len())?;
        let entries = rows.iter().map(|row| self.entry(row)).collect::<Result<_, _>>()?;
        Ok(Some(Taken { name: batch.to_string(), entries }))
    }

    /// What an earlier process took and did not end.
    async fn left_over(&self) -> Result<Option<Taken>, StoreError> {
        let Self { name, columns, .. } = self;
        let sql = format!(
            "SELECT {columns}, batch FROM {name} o WHERE batch = (
                 SELECT batch FROM {name} WHERE batch IS NOT NULL ORDER BY id LIMIT 1) ORDER BY o.id"
        );
        self.taken(&self.client.query(&sql, &[]).await?)
    }

    /// Makes a batch of the oldest that have none, if there are any.
    async fn take_new(&self, limit: usize) -> Result<Option<Taken>, StoreError> {
        let Self { name, columns, .. } = self;
        let sql = format!(
            "WITH oldest AS (
                 SELECT id, octet_length(payload::text) AS size FROM {name}
                 WHERE batch IS NULL AND error IS NULL ORDER BY id LIMIT $1),
             fitting AS (
                 SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM oldest) o WHERE before < $2),
             named AS (SELECT gen_random_uuid() AS batch),
             taken AS (
                 UPDATE {name} t SET batch = (SELECT batch FROM named) WHERE t.id IN (SELECT id FROM fitting) RETURNING t.*)
             SELECT {columns}, batch FROM taken ORDER BY taken.id"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bytes = i64::try_from(BATCH_BYTES).unwrap_or(i64::MAX);
        self.taken(&self.client.query(&sql, &[&limit, &bytes]).await?)
    }
}

#[async_trait]
impl Outbox for Table {
    async fn take(&mut self, limit: usize) -> Result<Option<Taken>, StoreError> {
        if !self.is_settled {
            let left_over = self.left_over().await?;
            self.is_settled = left_over.is_none();
            if left_over.is_some() {
                return Ok(left_over);
            }
        }
        let taken = self.take_new(limit).await?;
        if taken.is_some() {
            return Ok(taken);
        }
        let _ = tokio::time::timeout(LOOK_EVERY, self.told.notified()).await;
        self.take_new(limit).await
    }

    async fn published(&mut self, taken: Taken) -> Result<(), StoreError> {
        self.execute(&format!("DELETE FROM {} WHERE batch = $1", self.name), &[&batch(&taken)?]).await
    }

    async fn put_aside(&mut self, taken: Taken, index: usize, reason: &str) -> Result<(), StoreError> {
        let id = taken.entries.get(index).map_or("", |entry| entry.id.as_str());
        let sql = format!(
            "UPDATE {} SET batch = NULL, error = CASE WHEN id::text = $2 THEN $3 END WHERE batch = $1",
            self.name
        );
        self.execute(&sql, &[&batch(&taken)?, &id, &reason]).await
    }

    async fn give_back(&mut self, taken: Taken) -> Result<(), StoreError> {
        self.execute(&format!("UPDATE {} SET batch = NULL WHERE batch = $1", self.name), &[&batch(&taken)?]).await
    }
}

fn batch(taken: &Taken) -> Result<Uuid, StoreError> {
    taken.name.parse().map_err(|_| StoreError::Corrupt("a batch of an outbox has a name that is none".into()))
}
