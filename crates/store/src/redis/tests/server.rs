//! Redis servers of a test's own, and short words for what is done on them.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, Next, Verdict},
    event::Event,
    id::{AccountId, EventId, SubscriptionId},
    options::{Options, Ordering},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate, HealthPolicy},
    sealing::Sealed,
    subscription::{Health, Subscription},
    token::TokenHash,
};
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::{
    AcceptError, Location, Settings, Store, StoreError,
    catalogue::Recipient,
    connect,
    engine::{Accepted, Batch, Claim, Claimed, Incarnation, NewEvent, Outcome, Role, Which},
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_769_860_800_000);

/// A server that goes with the value.
pub(super) struct Server {
    folder: TempDir,
    pub url: String,
}

impl Server {
    /// A server with these options, otherwise durable.
    pub(super) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = script("start", folder.path(), options);
        Self { folder, url }
    }

    pub(super) fn kill(&self) {
        script("kill", self.folder.path(), &[]);
    }

    /// Starts it again where it was.
    pub(super) fn restart(&self) {
        assert_eq!(script("start", self.folder.path(), &[]), self.url);
    }

    /// Runs a command beside the store.
    pub(super) fn command(&self, words: &[&str]) -> redis::Value {
        let mut connection = redis::Client::open(&*self.url).unwrap().get_connection().unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        open(&self.url, Settings::default()).await
    }

    /// Opens it by somebody who accepts that it is not durable.
    pub(super) async fn open_at_risk(&self) -> Result<Arc<dyn Store>, StoreError> {
        open(&self.url, Settings { require_durable: false, ..Settings::default() }).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = Command::new(SCRIPT).arg("kill").arg(self.folder.path()).output();
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/redis");

fn script(verb: &str, folder: &Path, options: &[&str]) -> String {
    let output = Command::new(SCRIPT).arg(verb).arg(folder).args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) async fn open(url: &str, settings: Settings) -> Result<Arc<dyn Store>, StoreError> {
    connect(&Location::parse(url)?, &settings).await
}

/// A process with one subscription, to which it sends.
pub(super) struct Sender {
    pub store: Arc<dyn Store>,
    pub holder: Incarnation,
    pub subscription: SubscriptionId,
    /// Which of the deliveries wait for each other.
    pub ordering: Ordering,
    sent: u8,
}

impl Sender {
    pub(super) async fn new(store: Arc<dyn Store>) -> Self {
        let account =
            Account { id: AccountId::new(NOW, [1; 10]), user_id: "ada".into(), user_email: None, created_at: NOW };
        let subscription = Subscription {
            id: SubscriptionId::new(NOW, [2; 10]),
            account: account.id,
            user_id: account.user_id.clone(),
            events: "x".parse().unwrap(),
            url: Some("https://ada.example".into()),
            options: Options::default(),
            secrets: Sealed::from_bytes(vec![3; 32]),
            is_active: true,
            health: Health::default(),
            created_at: NOW,
            version: 0,
        };
        store.create_account(account, TokenHash::from_bytes([4; 32])).await.unwrap();
        let subscription = store.subscribe(subscription, None).await.unwrap().status.subscription.id;
        let holder = store.join(Role::Server, None, Duration::from_secs(1_000_000), NOW).await.unwrap();
        Self { store, holder, subscription, ordering: Ordering::None, sent: 0 }
    }

    /// Accepts an event for the subscription, with a payload of about so many bytes.
    pub(super) async fn send(&mut self, size: usize) -> Result<Accepted, AcceptError> {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(size))).unwrap();
        self.sent += 1;
        let event = Event {
            id: EventId::new(NOW, [self.sent; 10]),
            event_type: "x".parse().unwrap(),
            time: NOW,
            md5: ContentMd5::of("x", payload.get()).unwrap(),
            payload,
            key: None,
            extra: None,
        };
        let catalogue = self.store.changes_since(Default::default()).await?.version;
        let recipients =
            [Recipient { subscription: self.subscription, is_active: true, ordering: self.ordering }].into();
        let batch = Batch {
            catalogue,
            holder: self.holder,
            events: vec![NewEvent { event, deduplicate: false, recipients, reserved: Vec::new() }],
            deduplicate: Deduplicate::Off,
            idempotency: None,
        };
        self.store.accept(batch, NOW).await
    }

    pub(super) async fn claim(&self) -> Result<Vec<Claimed>, StoreError> {
        let wanted = vec![(self.subscription, 1_000)];
        let claim = Claim { holder: self.holder, wanted, which: Which::DueBy(NOW), max_bytes: usize::MAX };
        self.store.claim(claim, NOW).await
    }

    pub(super) async fn deliver(&self, claimed: &Claimed) {
        let result = AttemptResult::Answered(Answer { status: 200, excerpt: "thanks".into(), retry_after: None });
        let outcome = Outcome {
            delivery: claimed.id,
            subscription: claimed.subscription,
            group: claimed.group,
            attempt: Attempt { number: claimed.attempts + 1, time: NOW, latency_ms: 5, result },
            verdict: Verdict { next: Next::Delivered, gone: false },
        };
        let patient = HealthPolicy {
            deactivation: DeactivationPolicy { max_failures: u32::MAX, after: Duration::ZERO },
            breaker: BreakerPolicy { failures: 0, first_pause: Duration::ZERO, longest_pause: Duration::ZERO },
        };
        let finished = self.store.finish(self.holder, [outcome].into(), patient, NOW).await.unwrap();
        assert_eq!(finished.ignored, 0);
    }
}
