//! `hookcast outbox`.

use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use hookcast_store::outbox::TABLE_SQL;

use super::{
    Global, print,
    remote::{Remote, Token},
};
use crate::outbox::{Answer, Server, Settings, publish};

/// Publish the events that a producer writes into its own database
///
/// A producer that writes an event into a table of its PostgreSQL, in the transaction that changes what the event tells of, has
/// published it if and only if that transaction commits. This follows the table, posts its events to a server in their order, and
/// deletes those that were accepted. It may be killed at any time: a batch that was under way is posted again under the same
/// idempotency key. An event that cannot be accepted stays, with the reason in its `error`. A stream of Redis can be followed in the
/// same way, with entries that have the fields `event` and `payload`; what cannot be accepted goes to the stream NAME:refused.
///
/// `hookcast serve` does the same by itself where `outbox.from` is set.
///
/// Takes the trigger token: that of the settings, or `trigger_token` in the credentials file.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  hookcast outbox --sql | psql postgres://shop@db.example/shop      # makes the table
  hookcast outbox --from postgres://shop@db.example/shop --server https://hooks.example.org
  hookcast outbox --from redis://cache.example/0 --name shop:events

In the producer:
  BEGIN;
  UPDATE orders SET paid = true WHERE id = 17;
  INSERT INTO outbox (event, payload, key) VALUES ('order_paid', '{\"order\": 17}', '17');
  COMMIT;")]
pub struct Args {
    /// The producer's database: postgres://… or redis://… (setting `outbox.from`)
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The table, with its schema if it is in another one, or the stream (setting `outbox.name`)
    #[arg(long, alias = "table", alias = "stream", value_name = "NAME")]
    name: Option<String>,
    /// How many events go into one request, at the most
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// The server; by default the one that the settings describe
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Print the SQL that makes the table, and do nothing else
    #[arg(long)]
    sql: bool,
}

impl Server for Remote {
    async fn post(&self, key: &str, body: Bytes) -> Result<Answer, String> {
        let (status, body) = self.try_post_events(key, body).await.map_err(|error| format!("{error:#}"))?;
        Ok(Answer { status, body })
    }
}

pub async fn run(global: &Global, args: Args) -> anyhow::Result<ExitCode> {
    let own = [("outbox.from", args.from, "--from"), ("outbox.name", args.name, "--name")];
    if args.sql {
        let name = global.load(&own)?.config.outbox.name;
        print(TABLE_SQL.replace("{table}", &name).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = global.start(&own)?;
    let remote = Remote::of(&config, args.server.as_deref(), Token::Trigger)?;
    let from = config.outbox.from.context("which outbox? --from names the producer's database")?;
    let settings = Settings {
        from: from.expose().to_owned(),
        name: config.outbox.name,
        ca_file: config.database.ca_file,
        limit: usize::from(args.batch),
    };
    Err(publish(&settings, &remote, |count| tracing::info!("{count} events published")).await.into())
}
