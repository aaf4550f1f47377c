//! An event's way, step by step, for `scripts/instruction-count`: the same work at every run, each step in a call of
//! [`measured`], whose instructions are counted. Its output is a line per step: the name, and for how many events.
//!
//! What is left out is what depends on timing: sockets, the tasks' runtime, waiting.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, Next, Verdict},
    event::Event,
    format::{Format, Formatter},
    id::{AccountId, DeliveryId, EventId, SubscriptionId},
    options::{Options, Ordering},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate, HealthPolicy},
    sealing::Sealed,
    signing::{Keyring, Scheme, Secret},
    subscription::{Health, Subscription},
    token::TokenHash,
};
use hookcast_store::{
    Location, Settings, Store,
    catalogue::{CatalogueVersion, Recipient},
    engine::{Batch, Claim, Incarnation, NewEvent, Outcome, Role, Which},
};
use rusqlite::Connection;
use serde_json::value::RawValue;

const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);
const LEASE: Duration = Duration::from_secs(60);
const EVENTS: u64 = 8_192;
/// How many writes gather in one commit.
const GROUP: u64 = 32;
const EVENT_TYPE: &str = "relation_added";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let events: Vec<Event> = (0..EVENTS).map(event).collect::<Result<_, _>>()?;
    step("content", EVENTS, || {
        for event in &events {
            std::hint::black_box(ContentMd5::of(EVENT_TYPE, event.payload.get())?);
        }
        Ok(())
    })?;
    let formatter = Formatter::new("https://creator.example", "https://source.example", "relations of works");
    let mut messages = Vec::new();
    step("envelope", EVENTS, || {
        messages.extend(events.iter().map(|event| formatter.message(Format::Hookcast, event)));
        Ok(())
    })?;
    let keyring = Keyring::new(Secret::generate(Scheme::HmacSha256, [7; 32]));
    step("sign", EVENTS, || {
        for (event, message) in events.iter().zip(&messages) {
            let signature = keyring.sign(&event.id.to_string(), NOW.as_seconds(), &message.body, NOW);
            std::hint::black_box(signature.ok_or("there is no key")?);
        }
        Ok(())
    })?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let node = runtime.block_on(Node::new(&path))?;
    let (gathered, single) = events.split_at(events.len() - events.len() / 4);
    let (held, waiting) = gathered.split_at(gathered.len() / 2);

    let mut deliveries = Vec::new();
    step("accept, gathered, sent at once", count(held), || {
        for group in held.chunks(usize::try_from(GROUP)?) {
            deliveries.extend(runtime.block_on(node.accept_together(group, &[0], &path))?);
        }
        Ok(())
    })?;
    step("accept, gathered, to wait", count(waiting), || {
        for group in waiting.chunks(usize::try_from(GROUP)?) {
            runtime.block_on(node.accept_together(group, &[], &path))?;
        }
        Ok(())
    })?;
    step("accept, alone", count(single), || {
        for event in single {
            runtime.block_on(node.accept(event, &[0]))?;
        }
        Ok(())
    })?;
    step("outcome", count(held), || {
        for group in deliveries.chunks(usize::try_from(GROUP)?) {
            runtime.block_on(node.finish(group))?;
        }
        Ok(())
    })?;
    step("claim", count(waiting), || runtime.block_on(node.claim(waiting.len())))?;
    runtime.block_on(node.store.close());
    Ok(())
}

fn count<T>(items: &[T]) -> u64 {
    items.len() as u64
}

fn step(name: &str, events: u64, mut work: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    measured(&mut work)?;
    writeln!(std::io::stdout(), "{events} {name}")?;
    Ok(())
}

/// Its name is how callgrind knows where a step begins and ends.
#[inline(never)]
fn measured(work: &mut dyn FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    work()
}

fn random(number: u64) -> [u8; 10] {
    let mut random = [0; 10];
    // Spread, as real ones are: ids are indexed.
    random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    random
}

fn event(number: u64) -> Result<Event, Failure> {
    let payload = format!(
        r#"{{"target": {{"type": "doi", "id": "10.1234/zenodo.{number}"}}, "relations": [
            {{"type": "cites", "source": "10.5281/zenodo.7", "title": "A \"study\" of caf\u00e9s", "year": 2019}},
            {{"type": "cites", "source": "10.5281/zenodo.8", "title": "Another one, without a café", "year": 2021}},
            {{"type": "isCitedBy", "source": "10.5281/zenodo.9", "title": "A third", "year": null}}], "count": 3.0}}"#
    );
    let time = NOW.plus(Duration::from_millis(number));
    Ok(Event {
        id: EventId::new(time, random(number)),
        event_type: EVENT_TYPE.parse()?,
        time,
        md5: ContentMd5::of(EVENT_TYPE, &payload)?,
        extra: None,
        key: None,
        payload: RawValue::from_string(payload)?,
    })
}

/// A store with one subscription, and who holds its deliveries.
struct Node {
    store: Arc<dyn Store>,
    holder: Incarnation,
    catalogue: CatalogueVersion,
    recipients: Arc<[Recipient]>,
}

impl Node {
    async fn new(path: &Path) -> Result<Self, Failure> {
        let location = Location::parse(&format!("sqlite://{}", path.display()))?;
        let store = hookcast_store::connect(&location, &Settings::default()).await?;
        let account =
            Account { id: AccountId::new(NOW, [1; 10]), user_id: "ada".into(), user_email: None, created_at: NOW };
        store.create_account(account.clone(), TokenHash::from_bytes([1; 32])).await?;
        let subscription = Subscription {
            id: SubscriptionId::new(NOW, [2; 10]),
            account: account.id,
            user_id: account.user_id,
            events: EVENT_TYPE.parse()?,
            url: Some("https://callback.example/hook".into()),
            options: Options::default(),
            secrets: Sealed::from_bytes(vec![7; 64]),
            is_active: true,
            health: Health::default(),
            created_at: NOW,
            version: 0,
        };
        let recipient = Recipient { subscription: subscription.id, is_active: true, ordering: Ordering::None };
        store.subscribe(subscription, None).await?;
        let catalogue = store.changes_since(CatalogueVersion(0)).await?.version;
        let holder = store.join(Role::OnlyServer, None, LEASE, NOW).await?;
        Ok(Self { store, holder, catalogue, recipients: Arc::new([recipient]) })
    }

    async fn accept(&self, event: &Event, reserved: &[u32]) -> Result<Vec<DeliveryId>, Failure> {
        let new = NewEvent {
            event: event.clone(),
            deduplicate: true,
            recipients: Arc::clone(&self.recipients),
            reserved: reserved.to_vec(),
        };
        let batch = Batch {
            catalogue: self.catalogue,
            holder: self.holder,
            events: vec![new],
            deduplicate: Deduplicate::Off,
            idempotency: None,
        };
        Ok(self.store.accept(batch, NOW).await?.held.concat())
    }

    /// Accepts events whose writes gather in one commit. So that all of them do, whatever the threads' timing, another process's
    /// write holds up the one before them.
    async fn accept_together(
        &self,
        events: &[Event],
        reserved: &[u32],
        path: &Path,
    ) -> Result<Vec<DeliveryId>, Failure> {
        let other = Connection::open(path)?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        let held_up = self.store.renew(self.holder, LEASE, NOW);
        let gathered = join_all(events.iter().map(|event| self.accept(event, reserved)));
        let release = async {
            // By now all are in the queue: each is put there when it is first looked at, and this is looked at last.
            other.execute_batch("ROLLBACK")
        };
        let gathered = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            tokio::join!(gathered, release)
        };
        let (renewed, (accepted, released)) = tokio::join!(held_up, gathered);
        renewed?;
        released?;
        Ok(accepted.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn finish(&self, deliveries: &[DeliveryId]) -> Result<(), Failure> {
        let policy = HealthPolicy {
            deactivation: DeactivationPolicy { max_failures: 50, after: Duration::from_secs(86_400) },
            breaker: BreakerPolicy {
                failures: 5,
                first_pause: Duration::from_secs(30),
                longest_pause: Duration::from_secs(600),
            },
        };
        let outcome = |delivery: &DeliveryId| Outcome {
            delivery: *delivery,
            subscription: self.recipients[0].subscription,
            group: None,
            attempt: Attempt {
                number: 1,
                time: NOW,
                latency_ms: 3,
                result: AttemptResult::Answered(Answer { status: 200, excerpt: "ok".into(), retry_after: None }),
            },
            verdict: Verdict { next: Next::Delivered, gone: false },
        };
        let outcomes = deliveries.iter().map(outcome).collect();
        let finished = self.store.finish(self.holder, outcomes, policy, NOW).await?;
        if finished.ignored == 0 { Ok(()) } else { Err("outcomes were ignored".into()) }
    }

    /// Claims so many deliveries, a group at a time.
    async fn claim(&self, count: usize) -> Result<(), Failure> {
        let now = NOW.plus(Duration::from_secs(10));
        for _ in 0..count / usize::try_from(GROUP)? {
            let claim = Claim {
                holder: self.holder,
                wanted: vec![(self.recipients[0].subscription, usize::try_from(GROUP)?)],
                which: Which::DueBy(now),
                max_bytes: usize::MAX,
            };
            if self.store.claim(claim, now).await?.len() as u64 != GROUP {
                return Err("there was less to claim than there should be".into());
            }
        }
        Ok(())
    }
}
