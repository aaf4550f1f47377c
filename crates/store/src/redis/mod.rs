//! The store on a Redis server (7 or later, or Valkey): everything in memory, made durable by the server's append-only file.
//!
//! Every method is one Lua script, which the server runs whole or not at all. The scripts come with the program, so that two
//! versions of it can use one store side by side; `scripts/prelude.lua` says how things are kept.
//!
//! - [`location`]: the URL. [`link`]: the connection. [`scripts`]: the scripts. [`reply`] and [`rows`]: what they answer.
//! - [`engine`], [`catalogue`], [`history`], [`notices`], [`transfer`]: the traits; [`accept`] and [`claim`] do the larger parts of the
//!   engine's work, [`export`] and [`import`] those of a transfer.
//! - [`durability`]: what the server's settings promise. [`room`]: whether its memory is nearly full.

mod accept;
mod access;
mod catalogue;
mod claim;
mod documents;
mod durability;
mod engine;
mod errors;
mod export;
mod history;
mod import;
mod link;
mod location;
mod notices;
mod pull;
mod reply;
mod room;
mod rows;
mod scripts;
#[cfg(test)]
mod tests;
mod transfer;

use std::{ops::Deref, sync::Arc};

use ::redis::Script;

pub(crate) use self::{link::client, location::RedisLocation};

use self::{
    link::Link,
    reply::Reply,
    room::Room,
    scripts::{Call, SCHEMA},
};
use crate::{Settings, error::StoreError, fullness::Fullness, gather::Gatherer};

/// The first version of Redis whose scripts can say what they need.
const OLDEST_SERVER: u32 = 7;

/// The store on a Redis server.
pub(crate) struct RedisStore {
    server: Arc<Server>,
    acceptor: Gatherer,
    fullness: Fullness,
}

/// The server, and where on it the store is.
pub(crate) struct Server {
    link: Link,
    /// What the name of every key begins with.
    root: String,
    settings: Settings,
    room: Room,
}

impl RedisStore {
    /// Opens the store, which begins empty where there is none.
    pub(crate) async fn open(url: &str, settings: &Settings) -> Result<Self, StoreError> {
        let location = RedisLocation::parse(url)?;
        let root = format!("{{{}}}:", location.prefix);
        let link = Link::new(location, settings.ca_file.as_deref(), format!("{root}work"))?;
        let server = Server { link, root, settings: settings.clone(), room: Room::default() };
        server.require_version().await?;
        durability::require(&server.link, settings.require_durable).await?;
        server.note_schema().await?;
        let server = Arc::new(server);
        let accepting = Arc::clone(&server);
        let acceptor = Gatherer::start(accept::BOUNDS, move |requests| {
            let server = Arc::clone(&accepting);
            async move { server.accept(&requests).await }
        });
        Ok(Self { server, acceptor, fullness: Fullness::default() })
    }
}

impl Deref for RedisStore {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Server {
    /// Refuses a server that is too old, in better words than it would find itself.
    async fn require_version(&self) -> Result<(), StoreError> {
        let server = room::info(&self.link, "server").await?;
        match server.get("redis_version") {
            Some(version) if is_too_old(version) => Err(StoreError::Misconfigured(format!(
                "the Redis server is of version {version}, and Hookcast needs {OLDEST_SERVER} or later"
            ))),
            _ => Ok(()),
        }
    }

    /// Notes which version writes here, unless what is here is for newer ones.
    async fn note_schema(&self) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::OPEN);
        call.arg(SCHEMA.version).arg(SCHEMA.oldest_reader);
        let mut reply = self.link.ask(&call).await?;
        while reply.status() == "again" {
            reply = self.link.ask(&call).await?;
        }
        if reply.status() == "newer" {
            let (version, reader) = (reply.int()?, reply.int()?);
            return Err(StoreError::Corrupt(format!(
                "its keys are of version {version}, which version {reader} can read at the least, and this Hookcast is of \
                 version {}: run a newer Hookcast",
                SCHEMA.version
            )));
        }
        reply.expect_ok()
    }

    /// A call of a script on this store's keys.
    fn call(&self, script: &'static Script) -> Call {
        script.key(&self.root)
    }

    /// Runs a script that succeeds or finds nothing, a contradiction or no room.
    async fn run(&self, call: &Call) -> Result<Reply, StoreError> {
        let reply = self.link.ask(call).await?;
        reply.expect_ok()?;
        Ok(reply)
    }
}

fn is_too_old(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major < OLDEST_SERVER)
}
