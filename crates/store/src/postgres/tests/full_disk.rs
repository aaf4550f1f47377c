//! A disk that is full.

use std::process::Command;

use super::server::Server;
use crate::{
    AcceptError, Settings, StoreError,
    conformance::{
        place::Place,
        process::delivered,
        world::{World, at, day},
    },
};

/// A small disk for some of the server's tables. Only the server sees it, so that it goes with it.
const WITH_DISK: &str = r#"
    mkdir -p "$1/../small"
    mount -t tmpfs -o size=24m tmpfs "$1/../small"
    [ "$(id -u)" != 0 ] || chown postgres "$1/../small"
    exec "$0" start "$1"
"#;

#[tokio::test]
async fn events_are_refused_while_the_disk_is_full() {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("not tried: making a small disk is for the superuser");
        return;
    }
    let server = Server::start_by(|folder| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-euc", WITH_DISK, script]).arg(folder);
        command
    });
    let small = server.folder().join("small");
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", small.display())).await;
    server.sql("CREATE DATABASE small TABLESPACE small").await;
    let world = World::new(Place::at(&server.database("small"), Settings::default())).await;
    let ada = world.subscriber("x").await;
    let next_day = at(86_400);
    let held = world.batch().at(next_day).event("x").to([&ada]).reserved(&[0]).accept().await.held[0][0];

    let mut state = 1_u64;
    let mut random = || {
        // Whatever it is, it must not get smaller.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    let mut accepted = 0;
    let refused = loop {
        let payload: String = (0..10_000).map(|_| random()).collect();
        match world.batch().event("x").payload(&format!("\"{payload}\"")).try_accept().await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1_000, "the disk is never full");
    };
    assert!(matches!(refused, AcceptError::Store(StoreError::Full(_))), "{refused}");
    assert!(accepted > 10);

    // The oldest day makes room, for the outcome too that has waited for it.
    assert_eq!(world.store().purge(day(1), next_day).await.unwrap().events, accepted);
    assert_eq!(world.here.finish([delivered((held, &ada), next_day)], next_day).await.ignored, 0);
    world.batch().at(next_day).event("x").to([&ada]).accept().await;
    assert_eq!(world.waiting(&ada).await, 1);
}
