//! Events that producers write into their own databases, in the transactions that they tell of.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{
    command::Running,
    database::{Database, Kind},
    eventually,
    receiver::{Received, Receiver},
    server::{Home, Server},
};

/// A producer's own database.
struct Producer {
    url: String,
    table: Option<tokio_postgres::Client>,
    stream: String,
}

impl Producer {
    /// With its outbox as `hookcast outbox --sql` makes it.
    async fn on(kind: Kind, url: &str, home: &Home) -> Self {
        let stream = format!("{{outbox {:x}}}", rand::random::<u64>());
        let table = match kind {
            Kind::Redis => None,
            Kind::Postgres => {
                let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&home.hookcast(&["outbox", "--sql"]).expect(0).stdout).await.unwrap();
                Some(client)
            }
        };
        let url = url.split('?').next().unwrap().to_owned();
        Self { url, table, stream }
    }

    fn name(&self) -> &str {
        if self.table.is_some() { "outbox" } else { &self.stream }
    }

    /// Writes events down; of PostgreSQL in a transaction each, every third of which is rolled back.
    async fn write(&self, event: &str, numbers: std::ops::Range<u64>) {
        for n in numbers {
            let payload = format!("{{ \"n\":{n} }}");
            match &self.table {
                Some(client) => {
                    let insert =
                        format!("INSERT INTO outbox (event, payload, key) VALUES ('{event}', '{payload}', 'k')");
                    client.batch_execute(&format!("BEGIN; {insert}; COMMIT; BEGIN; {insert}; ROLLBACK")).await.unwrap();
                }
                None => {
                    self.redis(&["XADD", &self.stream, "*", "event", event, "payload", &payload, "key", "k"]);
                }
            }
        }
    }

    fn redis(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new("redis-cli").args(["-u", &self.url]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// How many events are left.
    async fn left(&self) -> i64 {
        match &self.table {
            Some(client) => client.query_one("SELECT count(*) FROM outbox", &[]).await.unwrap().get(0),
            None => self.redis(&["XLEN", &self.stream]).parse().unwrap(),
        }
    }

    async fn is_empty(&self) {
        until("the outbox is empty", async || self.left().await == 0).await;
    }

    /// Why what was put aside cannot be published.
    async fn put_aside(&self) -> Vec<String> {
        match &self.table {
            Some(client) => {
                let rows = client.query("SELECT error FROM outbox WHERE error IS NOT NULL ORDER BY id", &[]).await;
                rows.unwrap().iter().map(|row| row.get(0)).collect()
            }
            None => {
                let stream = format!("{}:refused", self.stream);
                let lines = self.redis(&["XRANGE", &stream, "-", "+"]);
                let all: Vec<_> = lines.lines().map(str::to_owned).collect();
                all.windows(2).filter(|pair| pair[0] == "error").map(|pair| pair[1].clone()).collect()
            }
        }
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

fn follow(home: &Home, producer: &Producer, server: &Server, more: &[&str]) -> Running {
    let at = format!("http://{}", server.address);
    let arguments = ["outbox", "--from", &producer.url, "--name", producer.name(), "--server", &at];
    home.start(&[&arguments, more].concat())
}

fn numbers(requests: &[Received]) -> Vec<u64> {
    requests.iter().map(|request| request.json()["payload"]["n"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_published_in_order_and_deleted() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let (home, mut receiver) = (Home::new(), Receiver::start().await);
        let server = home.serve();
        let ada = server.http.account("ada").await;
        ada.subscribe_with("x", &receiver.url, json!({"ordering": "subscription"})).await;
        let producer = Producer::on(kind, &kind.shared().await, &home).await;
        producer.write("x", 0..150).await;
        let mut following = follow(&home, &producer, &server, &[]);
        assert_eq!(numbers(&receiver.take(150).await), (0..150).collect::<Vec<_>>());
        producer.is_empty().await;
        producer.write("x", 150..160).await;
        let got = receiver.take(10).await;
        assert_eq!(numbers(&got), (150..160).collect::<Vec<_>>());
        assert_eq!(got[0].json()["key"], "k");
        assert!(String::from_utf8_lossy(&got[0].body).contains("{ \"n\":150 }"), "a payload stays as it was written");
        producer.is_empty().await;
        following.stop();
        assert!(receiver.unseen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_however_often_it_is_killed() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let (home, mut receiver) = (Home::new().set("HOOKCAST_DEDUPLICATE", "off"), Receiver::start().await);
        let server = home.serve();
        let ada = server.http.account("ada").await;
        ada.subscribe("x", &receiver.url).await;
        let producer = Producer::on(kind, &kind.shared().await, &home).await;
        producer.write("x", 0..400).await;
        let before = producer.left().await;
        let mut kills = 0;
        while producer.left().await > 0 {
            let left = producer.left().await;
            let following = follow(&home, &producer, &server, &["--batch", "7"]);
            // Each gets some of it done, and dies wherever it is then; the last one gets all of it done.
            let enough = if kills < 5 { left - 1 } else { 0 };
            until("some of it is published", async || producer.left().await <= enough).await;
            drop(following);
            kills += 1;
        }
        assert!(before == 400 && kills > 1, "{kills} kills");
        let got = receiver.take(400).await;
        assert_eq!(numbers(&got).into_iter().collect::<BTreeSet<_>>().len(), 400);
        let events = got.iter().map(|request| request.json()["id"].clone().to_string()).collect::<BTreeSet<_>>();
        assert_eq!(events.len(), 400);
        assert!(receiver.unseen().is_empty(), "each is one event");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_accepted_is_put_aside_and_the_rest_goes_on() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let home = Home::new().set("HOOKCAST_LIMITS_BATCH_EVENTS", "4");
        let mut receiver = Receiver::start().await;
        let server = home.serve();
        let ada = server.http.account("ada").await;
        ada.subscribe_with("x", &receiver.url, json!({"ordering": "subscription"})).await;
        let producer = Producer::on(kind, &kind.shared().await, &home).await;
        producer.write("x", 0..3).await;
        producer.write("no type", 3..4).await;
        producer.write("x", 4..20).await;
        let mut following = follow(&home, &producer, &server, &[]);
        assert_eq!(numbers(&receiver.take(19).await), (0..20).filter(|n| *n != 3).collect::<Vec<_>>());
        until("one is put aside", async || producer.put_aside().await.len() == 1).await;
        let reason = producer.put_aside().await.pop().unwrap();
        assert!(reason.contains("event"), "{reason}");
        following.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_publishes_an_outbox_by_itself_and_one_node_at_a_time() {
    let mut receiver = Receiver::start().await;
    let own = Kind::Postgres.shared().await;
    let plain = Home::new();
    let producer = Producer::on(Kind::Postgres, &Kind::Postgres.shared().await, &plain).await;
    let home = Home::on(&own).set("HOOKCAST_OUTBOX_FROM", &producer.url);
    let (one, other) = (home.serve(), home.serve());
    let ada = one.http.account("ada").await;
    ada.subscribe("x", &receiver.url).await;
    producer.write("x", 0..50).await;
    receiver.take(50).await;
    producer.is_empty().await;
    // Whichever of them follows, the other one does so after its end.
    one.kill();
    producer.write("x", 50..60).await;
    receiver.take(10).await;
    producer.is_empty().await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_or_a_server_that_is_away_is_waited_for() {
    for kind in [Kind::Postgres, Kind::Redis] {
        let (home, mut receiver) = (Home::new(), Receiver::start().await);
        let server = home.serve();
        let ada = server.http.account("ada").await;
        ada.subscribe("x", &receiver.url).await;
        let database = Database::start(kind);
        let producer = Producer::on(kind, &database.url, &home).await;
        producer.write("x", 0..3).await;
        let following = follow(&home, &producer, &server, &[]);
        receiver.take(3).await;
        producer.is_empty().await;
        database.stop();
        following.stderr.with("tried again");
        database.start_again();
        let producer = Producer { table: reconnected(kind, &producer.url).await, ..producer };
        producer.write("x", 3..5).await;
        assert_eq!(numbers(&receiver.take(2).await).len(), 2);

        let address = server.address.clone();
        server.kill();
        producer.write("x", 5..7).await;
        following.stderr.with("cannot be published now");
        let _server = home.set("HOOKCAST_LISTEN", &address).serve();
        receiver.take(2).await;
        producer.is_empty().await;
    }
}

async fn reconnected(kind: Kind, url: &str) -> Option<tokio_postgres::Client> {
    if kind == Kind::Redis {
        return None;
    }
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    Some(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_up_wrongly_is_told() {
    let home = Home::new();
    let postgres = Kind::Postgres.shared().await;
    for (from, name, expected) in [
        ("sqlite://a.db", "outbox", "outbox.from: `sqlite://a.db` is not allowed"),
        (postgres.as_str(), "nowhere", "there is no table"),
        (postgres.as_str(), "pg_catalog.pg_class", "has no column"),
        ("postgres://me:hunter2@host:port/db", "outbox", "URL is wrong"),
        ("redis://:hunter2@localhost?pool=4", "outbox", "URL"),
    ] {
        let refusal = home.refusal(&["outbox", "--from", from, "--name", name, "--server", "http://127.0.0.1:9"]);
        assert!(refusal.contains(expected) && !refusal.contains("hunter2"), "{from}: {refusal}");
    }
    assert!(home.refusal(&["outbox", "--server", "http://127.0.0.1:9"]).contains("--from"));
    let sql = home.hookcast(&["outbox", "--sql", "--table", "shop.events"]).expect(0).stdout;
    assert!(sql.contains("CREATE TABLE shop.events") && !sql.contains("ON TABLE"), "{sql}");
}
