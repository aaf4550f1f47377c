//! Order and breakers where several nodes do things at the same moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use futures_util::future::join_all;
use hookcast_core::{
    clock::Timestamp, notice::NoticeKind, options::Ordering, policy::BreakerPolicy, subscription::Subscription,
};

use crate::{
    Settings,
    conformance::{
        place::{self, Place},
        process::{Process, delivered, failed, retried},
        world::{LONG, NOW, World, at},
    },
    engine::{Claimed, Role},
};

fn number(claimed: &Claimed) -> u64 {
    claimed.event.payload.get().parse().unwrap()
}

/// Nodes have positions of their own, by the block, so that these say nothing about the order of acceptance.
#[tokio::test]
async fn what_nodes_accept_side_by_side_goes_out_in_the_order_of_the_commits() {
    const NODES: u64 = 4;
    const EACH: u64 = 25;
    let url = place::postgres_url().await;
    let world = World::new(Place::at(&url, Settings::default())).await;
    let ada = world.ordered("x", Ordering::Subscription).await;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(world.process().await);
    }
    // When each was begun to be accepted, and when it was, by one clock.
    let clock = AtomicU64::new(0);
    let spans = Mutex::new(BTreeMap::new());
    let (clock, spans, world, ada) = (&clock, &spans, &world, &ada);
    let accept = async |node: &Process, number: u64| {
        let begun = clock.fetch_add(1, Atomic::SeqCst);
        world.batch().by(node).event("x").payload(&number.to_string()).to([ada]).accept().await;
        spans.lock().unwrap().insert(number, (begun, clock.fetch_add(1, Atomic::SeqCst)));
    };
    for (node, first) in [(&nodes[0], 0), (&nodes[1], 1), (&nodes[0], 2)] {
        accept(node, first).await;
    }
    join_all(nodes.iter().zip(1..).map(async |(node, name)| {
        for number in 0..EACH {
            accept(node, name * 1_000 + number).await;
        }
    }))
    .await;

    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let stored = "SELECT e.payload, u.sequence, u.position FROM hookcast.unfinished u
                  JOIN hookcast.events e ON e.time = u.time AND e.id = u.event ORDER BY u.sequence";
    let stored = client.query(stored, &[]).await.unwrap();
    let column = |at| stored.iter().map(|row| row.get(at)).collect::<Vec<i64>>();
    let total = i64::try_from(NODES * EACH + 3).unwrap();
    assert_eq!(column(1), (1..=total).collect::<Vec<_>>(), "no number is left out or given twice");
    assert!(!column(2).is_sorted(), "positions follow another order");

    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < stored.len() {
        let run = world.here.claim(ada, 1_000, NOW).await;
        assert!(!run.is_empty());
        numbers.extend(run.iter().map(number));
        world.here.finish(run.iter().map(|one| delivered(one, NOW)).collect::<Vec<_>>(), NOW).await;
    }
    let in_sequence: Vec<u64> = stored.iter().map(|row| row.get::<_, &str>(0).parse().unwrap()).collect();
    assert_eq!(numbers, in_sequence);
    let spans = spans.lock().unwrap();
    for (index, earlier) in numbers.iter().enumerate() {
        for later in &numbers[index + 1..] {
            assert!(spans[later].1 > spans[earlier].0, "{later} was accepted before {earlier} was begun");
        }
    }
}

const KEYS: [&str; 3] = ["a", "b", "c"];
const OF_EACH_KEY: u64 = 30;

/// A lane in which nodes send side by side, and what an onlooker sees of it.
struct Race<'w> {
    world: &'w World,
    ada: &'w Subscription,
    clock: AtomicU64,
    ended: AtomicUsize,
    /// What the callback got of each key, with repetitions.
    sent: Mutex<HashMap<String, Vec<u64>>>,
    /// Who may send of a group now.
    senders: Mutex<HashMap<i64, usize>>,
}

impl Race<'_> {
    fn now(&self) -> Timestamp {
        NOW.plus(Duration::from_millis(self.clock.fetch_add(10, Atomic::SeqCst)))
    }

    async fn accept(&self, key: &str) {
        let node = self.world.process().await;
        for number in 1..=OF_EACH_KEY {
            let batch = self.world.batch().by(&node).at(self.now());
            batch.event("x").keyed(key).payload(&number.to_string()).to([self.ada]).accept().await;
        }
    }

    /// Claims and sends until all is done. Some of what it holds it gives back; at times it dies.
    async fn send(&self, name: usize) {
        let mut node = self.world.process().await;
        let mut step = name;
        while self.ended.load(Atomic::SeqCst) < KEYS.len() * usize::try_from(OF_EACH_KEY).unwrap() {
            let claimed = node.claim(self.ada, 1 + step % 7, self.now()).await;
            let mut runs = BTreeMap::<i64, Vec<Claimed>>::new();
            for claimed in claimed {
                runs.entry(claimed.group.unwrap()).or_default().push(claimed);
            }
            for group in runs.keys() {
                assert_eq!(self.senders.lock().unwrap().insert(*group, name), None, "two hold a group");
            }
            let mut died = false;
            for (group, run) in runs {
                step += 1;
                died |= self.send_run(&node, group, run, step).await;
            }
            if died {
                let moment = Duration::from_millis(1);
                node.renew(moment, self.now()).await.unwrap();
                self.senders.lock().unwrap().retain(|_, sender| *sender != name);
                self.world.store().rescue(self.now()).await.unwrap();
                node = Process::join(node.store, Role::Server, LONG, self.now()).await;
            }
            step += 1;
            tokio::task::yield_now().await;
        }
    }

    /// Sends a run; answers whether the node has died over it.
    async fn send_run(&self, node: &Process, group: i64, run: Vec<Claimed>, step: usize) -> bool {
        for (index, claimed) in run.iter().enumerate() {
            self.sent.lock().unwrap().entry(claimed.event.key.clone().unwrap()).or_default().push(number(claimed));
            let rest = &run[index + 1..];
            let outcome = match (step + index) % 9 {
                0 => {
                    self.free(group);
                    node.finish([retried(claimed, self.now(), self.now())], self.now()).await;
                    node.release(rest, self.now()).await;
                    return false;
                }
                1 => {
                    self.free(group);
                    node.release(&run[index..], self.now()).await;
                    return false;
                }
                2 => return true,
                3 => failed(claimed, self.now()),
                _ => delivered(claimed, self.now()),
            };
            if rest.is_empty() {
                self.free(group);
            }
            assert_eq!(node.finish([outcome], self.now()).await.ignored, 0);
            self.ended.fetch_add(1, Atomic::SeqCst);
        }
        false
    }

    fn free(&self, group: i64) {
        self.senders.lock().unwrap().remove(&group);
    }
}

#[tokio::test]
async fn whatever_nodes_do_side_by_side_a_group_is_sent_in_order() {
    let world = World::new(place::postgres().await).await;
    let ada = world.ordered("x", Ordering::Key).await;
    let race = Race {
        world: &world,
        ada: &ada,
        clock: AtomicU64::new(0),
        ended: AtomicUsize::new(0),
        sent: Mutex::default(),
        senders: Mutex::default(),
    };
    tokio::join!(join_all(KEYS.map(|key| race.accept(key))), race.send(0), race.send(1), race.send(2));
    for (key, sent) in race.sent.into_inner().unwrap() {
        assert_eq!((sent[0], sent.last()), (1, Some(&OF_EACH_KEY)), "{key}: {sent:?}");
        // Whoever repeats something goes on with what follows it.
        assert!(sent.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{key}: {sent:?}");
    }
    assert_eq!(world.waiting(&ada).await, 0);
}

#[tokio::test]
async fn of_nodes_that_see_a_breaker_change_one_tells_it() {
    const BREAKER: BreakerPolicy =
        BreakerPolicy { failures: 1, first_pause: Duration::from_secs(5), longest_pause: Duration::from_secs(5) };
    let world = World::new(place::postgres().await).await;
    let nodes = [world.process().await, world.process().await, world.process().await];
    for round in 0..10 {
        let ada = world.subscriber("x").await;
        world.send(6, &ada).await;
        let mut held = Vec::new();
        for node in &nodes {
            held.push((node, node.claim(&ada, 2, NOW).await));
        }
        let version = world.version().await;
        let failures = held.iter().map(|(node, held)| node.finish_with(BREAKER, [failed(&held[0], NOW)], NOW));
        let finished = join_all(failures).await;
        assert_eq!(finished.iter().map(|finished| finished.opened.len()).sum::<usize>(), 1, "round {round}");
        assert_eq!(world.version().await.0, version.0 + 1);
        let successes = held.iter().map(|(node, held)| node.finish_with(BREAKER, [delivered(&held[1], at(1))], at(1)));
        let finished = join_all(successes).await;
        assert_eq!(finished.iter().map(|finished| finished.closed.len()).sum::<usize>(), 1, "round {round}");
        assert_eq!(world.version().await.0, version.0 + 2);
        let health = world.health(&ada).await;
        assert_eq!((health.failure_count, health.probe_at, health.recovered_at), (0, None, Some(at(1))));
        let notices = world.store().take_notices(10, at(100), at(1)).await.unwrap();
        let kinds: Vec<NoticeKind> = notices.iter().map(|pending| pending.notice.kind).collect();
        assert_eq!(kinds, [NoticeKind::Failing, NoticeKind::Recovered], "round {round}");
        for notice in notices {
            world.store().notice_given(notice.notice.id).await.unwrap();
        }
    }
}
