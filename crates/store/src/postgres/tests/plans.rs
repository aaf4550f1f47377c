//! How the server goes about the statements when there is a long history: what the store runs is explained in the server's log.

use std::{fmt::Write as _, time::Duration};

use hookcast_core::{clock::Timestamp, delivery::DeliveryState, options::Ordering, subscription::Subscription};
use serde_json::Value;

use super::server::Server;
use crate::{
    Limits,
    conformance::{
        process::{EVERYTHING, delivered, failed as failed_again, retried},
        world::{LONG, NOW, World, at},
    },
    engine::{Outcome, Pass, Role},
    history::DeliveryRecord,
    page::{Page, PageRequest},
    transfer::{Portion, Section},
};

/// Days over which the history is spread, the last of which is the present one.
const DAYS: i64 = 10;
const DAY_MS: i64 = 86_400_000;
const LANES: i64 = 5;
/// Deliveries of the history that wait for each of the lanes.
const WAITING: i64 = 1_000;

/// Blocks that a statement may look at for each row that it is about, and beside them.
const BLOCKS_PER_ROW: u64 = 50;
const BLOCKS: u64 = 200;

const EXPLAINING: [&str; 7] = [
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_buffers = on",
    "auto_explain.log_timing = on",
    "auto_explain.log_format = json",
    "max_wal_size = 8GB",
];

/// A store with a history.
struct Old {
    server: Server,
    world: World,
    /// Those of the lanes, and one to whom little has been sent.
    subscriptions: Vec<Subscription>,
}

impl Old {
    async fn new(rows: i64) -> Self {
        let server = Server::start();
        let world = server.world().await;
        let subscriptions = world.subscribers("x", usize::try_from(LANES + 1).unwrap()).await;
        // Makes the days' partitions as the store makes them.
        for day in 0..DAYS {
            world.batch().event("x").made(Self::time(day * DAY_MS)).accept().await;
        }
        server.sql(&Self::script(rows)).await;
        server.sql("VACUUM ANALYZE").await;
        server.set(&EXPLAINING);
        server.found_again_by(&**world.store()).await;
        Self { server, world, subscriptions }
    }

    /// So many milliseconds after the history's beginning.
    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() - (DAYS - 1) * DAY_MS + ms)
    }

    /// Events one after the other, a delivery each. Of the last ones some wait.
    fn script(rows: i64) -> String {
        let (begins, span, waiting) = (Self::time(0).as_millis(), (DAYS - 1) * DAY_MS, LANES * WAITING);
        format!(
            "CREATE TEMP TABLE made AS
                 SELECT n, time, CASE n % ({rows} / 3) WHEN {rows} / 3 - 2 THEN 1 + {LANES} ELSE 1 + n % {LANES} END AS lane, (lpad(to_hex(time), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id
                 FROM (SELECT n, {begins} + n * {span} / {rows} AS time FROM generate_series(0::int8, {rows} - 1) n) n;
             INSERT INTO hookcast.events
                 SELECT time, id, 'x', decode(md5(n::text), 'hex'), 1000000 + n, 1, '{{\"number\":' || n || '}}' FROM made;
             INSERT INTO hookcast.finished
                 SELECT time, 1000000 + n, lane, id, CASE n % 100 WHEN 0 THEN 3 ELSE 2 END, 1,
                     '{{\"number\":1,\"time\":' || time || ',\"latency_ms\":9,\"status\":200,\"detail\":\"ok\"}}' || E'\\n'
                 FROM made WHERE n < {rows} - {waiting};
             INSERT INTO hookcast.unfinished (time, position, subscription, event, due_at)
                 SELECT time, 1000000 + n, lane, id, time FROM made WHERE n >= {rows} - {waiting};
             UPDATE hookcast.positions SET next = 2000000 + {rows};
             UPDATE hookcast.lanes l SET waiting = u.count, next_due = u.due FROM
                 (SELECT subscription, count(*), min(due_at) AS due FROM hookcast.unfinished GROUP BY 1) u
                 WHERE u.subscription = l.subscription"
        )
    }

    /// Runs something, which must find by index the rows that it is about, so many of them, and look at little else.
    async fn check<T>(&self, rows: u64, run: impl AsyncFnOnce() -> T) -> T {
        let (result, plans) = self.plans_of(run).await;
        assert!(!plans.is_empty(), "nothing was explained");
        plans.iter().for_each(|plan| println!("{}", plan.text()));
        plans.iter().for_each(|plan| plan.check(rows));
        result
    }

    /// Runs something that may find what it wants without a look at deliveries or events.
    async fn check_if_read<T>(&self, rows: u64, run: impl AsyncFnOnce() -> T) -> T {
        let (result, plans) = self.plans_of(run).await;
        plans.iter().for_each(|plan| plan.check(rows));
        result
    }

    /// The plans of what is run meanwhile that touches a delivery or an event.
    async fn plans_of<T>(&self, run: impl AsyncFnOnce() -> T) -> (T, Vec<Plan>) {
        let before = self.server.log().len();
        let result = run().await;
        let log = self.server.log().split_off(before);
        let plans = log.split("plan:\n").skip(1).map(|text| {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            Plan(values.next().unwrap().unwrap())
        });
        (result, plans.filter(|plan| !plan.tables().is_empty()).collect())
    }
}

/// A statement as the server has run it.
struct Plan(Value);

impl Plan {
    /// A line for each of its nodes that did something.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut next = vec![(0, &self.0["Plan"])];
        while let Some((depth, node)) = next.pop() {
            let word = |key: &str| node[key].as_str().map(|word| format!(" {word}")).unwrap_or_default();
            let number = |key: &str| node[key].as_f64().unwrap_or_default();
            if number("Actual Loops") > 0.0 {
                let _ = writeln!(
                    text,
                    "{:depth$}{}{}{}{}{}: {} rows x {}, {} blocks, {:.3} ms",
                    "",
                    node["Node Type"].as_str().unwrap(),
                    word("Index Name"),
                    word("Relation Name"),
                    word("Index Cond"),
                    word("Filter"),
                    number("Actual Rows"),
                    number("Actual Loops"),
                    number("Shared Hit Blocks") + number("Shared Read Blocks"),
                    number("Actual Total Time"),
                );
            }
            next.extend(node["Plans"].as_array().into_iter().flatten().rev().map(|inner| (depth + 2, inner)));
        }
        text
    }

    fn nodes(&self) -> Vec<&Value> {
        let (mut nodes, mut next) = (Vec::new(), vec![&self.0["Plan"]]);
        while let Some(node) = next.pop() {
            next.extend(node["Plans"].as_array().into_iter().flatten());
            nodes.push(node);
        }
        nodes
    }

    /// The large tables that are read, with how.
    fn tables(&self) -> Vec<(&str, &str)> {
        let tables = self.nodes().into_iter().filter_map(|node| {
            let table = node["Relation Name"].as_str()?;
            let is_large = ["events", "finished", "unfinished"].iter().any(|name| table.starts_with(name));
            Some((table, node["Node Type"].as_str()?)).filter(|(_, how)| is_large && *how != "ModifyTable")
        });
        tables.collect()
    }

    /// Rows of large tables that were read, wherever they are: those of events are many to a block.
    fn rows_read(&self) -> u64 {
        let scans = self.nodes().into_iter().filter(|node| node.get("Relation Name").is_some());
        let reads = scans.filter(|node| node["Node Type"] != "ModifyTable");
        reads.map(|node| (node["Actual Rows"].as_f64().unwrap() * node["Actual Loops"].as_f64().unwrap()) as u64).sum()
    }

    fn blocks(&self) -> u64 {
        let count = |kind: &str| self.0["Plan"][kind].as_u64().unwrap();
        count("Shared Hit Blocks") + count("Shared Read Blocks")
    }

    fn check(&self, rows: u64) {
        for (table, how) in self.tables() {
            let is_direct = how.starts_with("Index") || how == "Tid Scan";
            assert!(is_direct, "{table} is read by {how}:\n{}", self.text());
        }
        let (read, most) = (self.blocks().max(self.rows_read()), BLOCKS + BLOCKS_PER_ROW * rows);
        assert!(read <= most, "{rows} rows, {read} blocks or rows were read:\n{}", self.text());
    }
}

fn rows() -> i64 {
    std::env::var("HOOKCAST_HISTORY_ROWS").map_or(200_000, |rows| rows.parse().unwrap())
}

#[tokio::test]
async fn the_length_of_the_history_costs_nothing() {
    let old = Old::new(rows()).await;
    let world = &old.world;
    let [lanes @ .., rare] = &old.subscriptions[..] else { unreachable!() };
    // Several times, since the server makes up its mind about a statement over its first runs.
    for round in 0..8 {
        let claimed = old.check(50, async || world.here.claim_all(lanes, 10, at(round)).await).await;
        assert_eq!(claimed.len(), 50);
        let outcomes: Vec<Outcome> = claimed.iter().map(|claimed| delivered(claimed, at(round))).collect();
        assert_eq!(old.check(50, async || world.here.finish(outcomes, at(round)).await).await.ignored, 0);

        let claimed = world.here.claim_all(lanes, 10, at(round)).await;
        let retry = |claimed| retried(claimed, at(round), at(1_000 + round));
        let outcomes: Vec<Outcome> = claimed.iter().map(retry).collect();
        assert_eq!(old.check(50, async || world.here.finish(outcomes, at(round)).await).await.ignored, 0);

        let claimed = world.here.claim_all(lanes, 10, at(round)).await;
        old.check(50, async || world.store().event(claimed[0].event.id, FIFTY).await.unwrap()).await;
        old.check(50, async || list(world, &lanes[0], Some(DeliveryState::Sending), FIFTY).await).await;
        old.check(50, async || world.here.release(&claimed, at(round)).await).await;
        let accept = async || world.batch().events(50, &lanes[0]).at(at(round)).accept().await;
        old.check_if_read(50, accept).await;
        let due = old.check_if_read(0, async || world.due(at(round)).await).await;
        assert_eq!(due.subscriptions.len(), lanes.len() + 1);

        let failed = Pass { failed: true, due_by: Some(NOW.minus(LONG)), ..EVERYTHING };
        let revived = old.check(50, async || world.here.pass(&lanes[0], 50, failed, at(round)).await).await;
        assert_eq!(revived.len(), 50);
        let outcomes: Vec<Outcome> = revived.iter().map(|claimed| failed_again(claimed, at(round))).collect();
        old.check(50, async || world.here.finish(outcomes, at(round)).await).await;
    }
    for _ in 0..8 {
        for state in [None, Some(DeliveryState::Waiting), Some(DeliveryState::Failed), Some(DeliveryState::Delivered)] {
            let page = old.check(50, async || list(world, &lanes[0], state, FIFTY).await).await;
            assert_eq!(page.items.len(), 50);
            let further = PageRequest { cursor: page.next, ..FIFTY };
            assert_eq!(old.check(50, async || list(world, &lanes[0], state, further).await).await.items.len(), 50);
        }
        for (state, count) in [(None, 3), (Some(DeliveryState::Waiting), 1), (Some(DeliveryState::Expired), 0)] {
            let page = old.check(50, async || list(world, rare, state, FIFTY).await).await;
            assert_eq!(page.items.len(), count, "of the one who is seldom sent to");
        }
        for section in [Section::Events, Section::Deliveries] {
            let portion = Portion { items: 50, bytes: usize::MAX };
            let part = old.check(50, async || world.store().export(section, None, portion).await.unwrap()).await;
            let further = async || world.store().export(section, part.next, portion).await.unwrap();
            assert_eq!(old.check(50, further).await.items.len(), 50);
        }
    }
    let dying = world.joining(Role::Server, Duration::from_secs(1), at(10)).await;
    let held = dying.claim_all(lanes, 10, at(10)).await.len();
    let rescued = old.check(50, async || world.store().rescue(at(11)).await.unwrap()).await;
    assert_eq!(usize::try_from(rescued).unwrap(), held);
}

#[tokio::test]
async fn a_table_that_is_taken_for_empty_is_read_by_index_all_the_same() {
    let old = Old::new(30_000).await;
    // An analysis in a quiet hour, before the next rush.
    old.server
        .sql(
            "CREATE TABLE rush AS SELECT * FROM hookcast.unfinished; DELETE FROM hookcast.unfinished;
             ANALYZE hookcast.unfinished; INSERT INTO hookcast.unfinished SELECT * FROM rush; DROP TABLE rush",
        )
        .await;
    let (world, lanes) = (&old.world, &old.subscriptions[..5]);
    for round in 0..8 {
        let claimed = old.check(50, async || world.here.claim_all(lanes, 10, at(round)).await).await;
        assert_eq!(claimed.len(), 50);
        let retry = |(index, claimed)| match index % 2 {
            0 => delivered(claimed, at(round)),
            _ => retried(claimed, at(round), at(round)),
        };
        let outcomes: Vec<Outcome> = claimed.iter().enumerate().map(retry).collect();
        assert_eq!(old.check(50, async || world.here.finish(outcomes, at(round)).await).await.ignored, 0);
        let claimed = world.here.claim_all(lanes, 10, at(round)).await;
        old.check(50, async || world.here.release(&claimed, at(round)).await).await;
    }
    let few = world.process_with(Limits { max_waiting: 10, ..Limits::default() }).await;
    old.check_if_read(10_000, async || world.batch().by(&few).events(1, &lanes[0]).accept().await).await;
}

/// Of a lane whose deliveries wait for each other.
const GROUPS: i64 = 25;
const OF_EACH: i64 = 400;

#[tokio::test]
async fn the_length_of_what_waits_for_others_costs_nothing() {
    let old = Old::new(30_000).await;
    let world = &old.world;
    let ada = world.ordered("x", Ordering::Key).await;
    let key = LANES + 2;
    old.server
        .sql(&format!(
            "CREATE TEMP TABLE ordered AS
                 SELECT time, id, n, n % {GROUPS} AS order_group, n / {GROUPS} + 1 AS turn
                 FROM (SELECT time, id, first_delivery - 1000000 AS n FROM hookcast.events) e
                 WHERE n >= 0 AND n < {GROUPS} * {OF_EACH};
             INSERT INTO hookcast.unfinished (time, position, subscription, event, due_at, order_group, sequence)
                 SELECT time, 5000000 + n, {key}, id, CASE turn WHEN 1 THEN time END, order_group, n + 1 FROM ordered;
             UPDATE hookcast.lanes SET waiting = {GROUPS} * {OF_EACH}, sequence = {GROUPS} * {OF_EACH},
                 next_due = (SELECT min(due_at) FROM hookcast.unfinished WHERE subscription = {key})
                 WHERE subscription = {key};
             UPDATE hookcast.positions SET next = 10000000",
        ))
        .await;
    assert_eq!(world.waiting(&ada).await, u64::try_from(GROUPS * OF_EACH).unwrap());
    for round in 0..8 {
        let accept = async || {
            let keyed = (0..50).fold(world.batch().at(at(round)), |batch, n: u32| {
                batch.event("x").keyed(&(n % 10).to_string()).to([&ada])
            });
            keyed.accept().await
        };
        old.check(50, accept).await;
        let claimed = old.check(100, async || world.here.claim(&ada, 100, at(round)).await).await;
        assert_eq!(claimed.len(), 100);
        let (ended, rest) = claimed.split_at(50);
        let outcome = |(index, claimed)| match index % 2 {
            0 => delivered(claimed, at(round)),
            _ => failed_again(claimed, at(round)),
        };
        let outcomes: Vec<Outcome> = ended.iter().enumerate().map(outcome).collect();
        assert_eq!(old.check(50, async || world.here.finish(outcomes, at(round)).await).await.ignored, 0);
        old.check(50, async || world.here.release(rest, at(round)).await).await;
    }
}

const FIFTY: PageRequest = PageRequest { limit: 50, cursor: None };

async fn list(
    world: &World,
    subscription: &Subscription,
    state: Option<DeliveryState>,
    page: PageRequest,
) -> Page<DeliveryRecord> {
    world.store().deliveries(subscription.id, state, page).await.unwrap()
}
