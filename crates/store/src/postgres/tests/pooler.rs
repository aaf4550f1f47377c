//! Behind PgBouncer in its transaction mode, where every transaction may be on another connection.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
};

use super::server::{Server, sql};
use crate::{
    Settings,
    conformance::{
        full::{fill, seen},
        place::Place,
        process::delivered,
        world::{World, at, day},
    },
    engine::Outcome,
};

/// A pooler with two connections to a server's databases. It goes with this value.
struct Pooler {
    process: Child,
    port: u16,
}

impl Pooler {
    fn before(server: &Server) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = server.folder().join("pgbouncer.ini");
        let settings = format!(
            "[databases]
             * = host=127.0.0.1 port={} user=hookcast
             [pgbouncer]
             listen_addr = 127.0.0.1
             listen_port = {port}
             unix_socket_dir =
             auth_type = any
             pool_mode = transaction
             default_pool_size = 2
             {}",
            server.port(),
            // It refuses to run as the superuser.
            if rustix::process::geteuid().is_root() { "user = postgres" } else { "" },
        );
        fs::write(&file, settings).unwrap();
        let mut process = Command::new("pgbouncer").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut told = Vec::new();
        let is_up = lines.any(|line| {
            let is_up = line.contains("process up");
            told.push(line);
            is_up
        });
        assert!(is_up, "{told:?}");
        thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    async fn world(&self, database: &str) -> World {
        let settings = Settings { prepared_statements: false, ..Settings::default() };
        World::new(Place::at(&format!("postgres://anybody@127.0.0.1:{}/{database}", self.port), settings)).await
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_pooler_makes_no_difference() {
    let server = Server::start();
    sql(&server.url, "CREATE DATABASE pooled").await;
    sql(&server.url, "CREATE DATABASE direct").await;
    let pooler = Pooler::before(&server);
    let mut told = Vec::new();
    let direct = World::new(Place::at(&server.database("direct"), Settings::default())).await;
    for world in [pooler.world("pooled").await, direct] {
        let full = fill(&world).await;
        let mut seen = seen(&world, &full).await;
        seen.push(format!("{:?}", world.store().check().await.unwrap()));
        world.here.leave(at(300)).await;
        let mut gone = 0;
        loop {
            let purged = world.store().purge(day(9), day(9)).await.unwrap();
            gone += purged.events;
            if !purged.more {
                break;
            }
        }
        seen.push(format!("{gone} events are gone"));
        told.push(seen);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn several_nodes_share_two_connections() {
    let server = Server::start();
    let pooler = Pooler::before(&server);
    let world = pooler.world("postgres").await;
    let subscriptions = world.subscribers("x", 3).await;
    let nodes = [world.process().await, world.process().await, world.process().await, world.process().await];
    let work = nodes.iter().map(async |node| {
        for _ in 0..5 {
            world.batch().by(node).event("x").to(&subscriptions).event("x").to(&subscriptions).accept().await;
        }
        let mut claimed = Vec::new();
        loop {
            let some = node.claim_all(&subscriptions, 5, at(1)).await;
            if some.is_empty() {
                return claimed;
            }
            let outcomes: Vec<Outcome> = some.iter().map(|one| delivered(one, at(1))).collect();
            assert_eq!(node.finish(outcomes, at(1)).await.ignored, 0);
            claimed.extend(some);
        }
    });
    let claimed: Vec<_> = futures_util::future::join_all(work).await.into_iter().flatten().collect();
    let ids: HashSet<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!((claimed.len(), ids.len()), (4 * 5 * 2 * 3, 4 * 5 * 2 * 3));
    for subscription in &subscriptions {
        assert_eq!(world.waiting(subscription).await, 0);
    }
}
