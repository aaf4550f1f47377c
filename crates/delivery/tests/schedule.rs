//! Days of retries by a clock that the test moves: all of delivery over a store of its own, against a receiver that fails.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hookcast_core::{
    account::Account,
    canonical::ContentMd5,
    clock::{Clock, Timestamp},
    delivery::{AttemptResult, DeliveryState},
    event::Event,
    format::{Format, Formatter},
    id::{AccountId, EventId, SubscriptionId},
    options::{OnFailure, Options, Ordering as Order},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate, HealthPolicy, RetrySchedule, SuccessRule},
    secrets::Secrets,
    subscription::{Health, Subscription},
    token::TokenHash,
};
use hookcast_delivery::{
    acceptor::Submission,
    client::{Client, ClientSettings},
    quotas::Quota,
    service::{Resources, Service, Settings},
    target::Defaults,
};
use hookcast_store::{
    Location, PageRequest, Store,
    documents::{self, Expected, Kind},
    engine::Role,
    history::DeliveryRecord,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The default schedule, in seconds: 75 hours and a half.
const SCHEDULE: [u64; 9] = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
const JITTER: f64 = 0.1;

/// No test waits longer than this for something that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that stands still until it is moved.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Hand {
    fn move_to(&self, time: Timestamp) {
        self.0.fetch_max(time.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A receiver that fails so many times before it is well.
struct Receiver {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Receiver {
    async fn failing(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = if counter.fetch_add(1, Ordering::SeqCst) < failures { "500 Broken" } else { "200 OK" };
                answer(stream, status).await;
            }
        });
        Self { url, requests }
    }
}

/// Reads a request to its end, which its own `Content-Length` tells, and answers it.
async fn answer(mut stream: TcpStream, status: &str) {
    let mut request = String::new();
    let is_whole = |request: &str| {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        body.len() == length.parse::<usize>().unwrap()
    };
    while !is_whole(&request) {
        let mut buffer = [0; 4_096];
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the request breaks off");
        request += std::str::from_utf8(&buffer[..length]).unwrap();
    }
    let text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

/// All of delivery, by a clock of its own.
struct World {
    clock: Arc<Hand>,
    store: Arc<dyn Store>,
    service: Service,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(settings()).await
    }

    async fn start_with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = format!("sqlite://{}/hookcast.db", folder.path().display());
        let location = Location::parse(&location).unwrap();
        let store = hookcast_store::connect(&location, &hookcast_store::Settings::default()).await.unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(1_769_860_800_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let client = Client::new(ClientSettings::unguarded(PATIENCE), Arc::clone(&shared)).unwrap();
        let resources = Resources { store: Arc::clone(&store), clock: shared, client, master_keys: None, mailer: None };
        let service = Service::start(&resources, settings, Role::Server).await.unwrap();
        Self { clock, store, service, _folder: folder }
    }

    /// A subscription to everything, with these options.
    async fn subscribe(&self, url: &str, options: Options) -> SubscriptionId {
        let now = self.clock.now();
        let account = Account {
            id: AccountId::new(now, rand::random()),
            user_id: "ada".into(),
            user_email: None,
            created_at: now,
        };
        self.store.create_account(account.clone(), TokenHash::of(&"a token".into())).await.unwrap();
        let id = SubscriptionId::new(now, rand::random());
        let subscription = Subscription {
            id,
            account: account.id,
            user_id: account.user_id,
            events: "x".parse().unwrap(),
            url: Some(url.into()),
            options,
            secrets: Secrets::default().seal(None, id, rand::random()),
            is_active: true,
            health: Health::default(),
            created_at: now,
            version: 0,
        };
        self.store.subscribe(subscription, None).await.unwrap();
        id
    }

    async fn trigger(&self) {
        let now = self.clock.now();
        let event = Event {
            id: EventId::new(now, rand::random()),
            event_type: "x".parse().unwrap(),
            time: now,
            md5: ContentMd5::of("x", "{}").unwrap(),
            key: None,
            extra: None,
            payload: serde_json::value::to_raw_value(&serde_json::json!({})).unwrap(),
        };
        let submission = Submission { event, deduplicate: false, about: None, only: None };
        self.service.acceptor().accept(vec![submission], None, ()).await.unwrap();
    }

    /// The first delivery to a subscription, once it has had so many attempts and waits, or has ended.
    async fn after_attempt(&self, id: SubscriptionId, attempts: usize) -> DeliveryRecord {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let page = PageRequest { limit: 10, cursor: None };
                let first = self.store.deliveries(id, None, page).await.unwrap().items.pop().unwrap();
                if first.attempts.len() >= attempts && first.state != DeliveryState::Sending {
                    return first;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("attempt {attempts} does not come"))
    }

    /// All deliveries to a subscription, once so many have had an attempt and the others wait.
    async fn after_attempts(&self, id: SubscriptionId, attempted: usize) -> Vec<DeliveryRecord> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let page = PageRequest { limit: 100, cursor: None };
                let all = self.store.deliveries(id, None, page).await.unwrap().items;
                let is_at_rest = all.iter().all(|delivery| delivery.state != DeliveryState::Sending);
                if is_at_rest && all.iter().filter(|delivery| !delivery.attempts.is_empty()).count() >= attempted {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{attempted} attempts do not come"))
    }

    /// Moves the clock from one due time to the next until the first delivery has ended, or has had so many attempts.
    async fn let_time_pass(&self, id: SubscriptionId, at_most: usize) -> DeliveryRecord {
        let mut delivery = self.after_attempt(id, 1).await;
        while delivery.state == DeliveryState::Waiting && delivery.attempts.len() < at_most {
            self.clock.move_to(delivery.due_at.unwrap());
            self.service.dispatcher().wake();
            delivery = self.after_attempt(id, delivery.attempts.len() + 1).await;
        }
        delivery
    }
}

/// The rules of delivery as the program's own defaults have them, but for the time that events are kept.
fn settings() -> Settings {
    Settings {
        defaults: Defaults {
            format: Format::default(),
            ordering: Order::None,
            on_failure: OnFailure::Block,
            rate_limit: None,
            schedule: RetrySchedule { delays: SCHEDULE.map(Duration::from_secs).into(), jitter: JITTER },
            success: SuccessRule::Exactly200,
            timeout: Duration::from_secs(15),
        },
        health: HealthPolicy {
            deactivation: DeactivationPolicy { max_failures: 20, after: Duration::from_secs(5 * 24 * HOUR) },
            breaker: BreakerPolicy {
                failures: 5,
                first_pause: Duration::from_secs(5),
                longest_pause: Duration::from_secs(5 * MINUTE),
            },
        },
        deduplicate: Deduplicate::Off,
        delivers: true,
        lease: Duration::from_secs(25),
        in_flight: 64,
        in_flight_per_subscription: 16,
        in_flight_per_host: 0,
        recovery_rate: 100.0,
        quota: Quota::default(),
        bytes: 1024 * 1024,
        retention: Duration::from_secs(365 * 24 * HOUR),
        formatter: Formatter::new("hookcast", "hookcast", "a test"),
        operators: HashSet::new(),
    }
}

/// The pauses between a delivery's attempts, in seconds.
fn pauses(delivery: &DeliveryRecord) -> Vec<f64> {
    delivery.attempts.windows(2).map(|pair| pair[1].time.since(pair[0].time).as_secs_f64()).collect()
}

/// Makes sure that each pause is that of the schedule, its jitter aside, and of nothing but the schedule.
fn assert_scheduled(pauses: &[f64]) {
    for (pause, scheduled) in pauses.iter().zip(SCHEDULE) {
        let scheduled = Duration::from_secs(scheduled).as_secs_f64();
        // Times are whole milliseconds. The clock stands still while an attempt lasts.
        let allowed = scheduled * (1.0 - JITTER) - 0.001..=scheduled * (1.0 + JITTER) + 0.001;
        assert!(allowed.contains(pause), "{pause} s for {scheduled} s of {pauses:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_always_fails_is_tried_ten_times_in_three_days() {
    let world = World::start().await;
    let receiver = Receiver::failing(usize::MAX).await;
    let id = world.subscribe(&receiver.url, Options::default()).await;
    let begun = world.clock.now();
    world.trigger().await;
    let delivery = world.let_time_pass(id, usize::MAX).await;

    assert_eq!((delivery.state, delivery.due_at, delivery.is_active), (DeliveryState::Failed, None, true));
    assert_eq!((delivery.attempts.len(), receiver.requests.load(Ordering::SeqCst)), (10, 10));
    assert_scheduled(&pauses(&delivery));
    let days = world.clock.now().since(begun).as_secs_f64() / 3_600.0;
    assert!((68.0..=83.2).contains(&days), "{days} hours");
    let is_answer = |result: &AttemptResult| matches!(result, AttemptResult::Answered(answer) if answer.status == 500);
    assert!(delivery.attempts.iter().all(|attempt| is_answer(&attempt.result)));
    assert!(delivery.attempts.iter().map(|attempt| attempt.number).eq(1..=10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_is_well_again_after_two_days_gets_its_delivery() {
    let world = World::start().await;
    let receiver = Receiver::failing(8).await;
    let id = world.subscribe(&receiver.url, Options::default()).await;
    world.trigger().await;
    let delivery = world.let_time_pass(id, usize::MAX).await;
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 9));
    assert_scheduled(&pauses(&delivery));
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_others_wait_for_is_tried_once_a_day_for_ever() {
    let world = World::start().await;
    let receiver = Receiver::failing(15).await;
    let ordered = Options { ordering: Some(Order::Subscription), ..Options::default() };
    let id = world.subscribe(&receiver.url, ordered).await;
    world.trigger().await;
    let delivery = world.let_time_pass(id, 15).await;
    assert_eq!(delivery.state, DeliveryState::Waiting);
    let pauses = pauses(&delivery);
    assert_scheduled(&pauses);
    let day = Duration::from_secs(24 * HOUR).as_secs_f64();
    for pause in &pauses[SCHEDULE.len()..] {
        assert!((day * (1.0 - JITTER) - 0.001..=day * (1.0 + JITTER) + 0.001).contains(pause), "{pauses:?}");
    }
    world.trigger().await;
    let delivery = world.let_time_pass(id, usize::MAX).await;
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_beyond_a_days_budget_waits_for_the_next_day() {
    let quota = Quota { subscriptions: None, events_per_day: Some(3) };
    let world = World::start_with(Settings { quota, ..settings() }).await;
    let receiver = Receiver::failing(0).await;
    let id = world.subscribe(&receiver.url, Options::default()).await;
    for _ in 0..5 {
        world.trigger().await;
    }
    let deliveries = world.after_attempts(id, 3).await;
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 3);
    let waiting = deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Waiting);
    assert_eq!(waiting.filter(|delivery| delivery.attempts.is_empty()).count(), 2);

    // Nothing wakes it: it knows when the day ends.
    let day = i64::try_from(24 * HOUR * 1_000).unwrap();
    let midnight = Timestamp::from_millis((world.clock.now().as_millis() / day + 1) * day);
    world.clock.move_to(midnight);
    world.trigger().await;
    world.trigger().await;
    let deliveries = world.after_attempts(id, 6).await;
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 6);
    assert_eq!(deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Waiting).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_gives_back_of_a_day_is_used_the_same_day() {
    let quota = Quota { subscriptions: None, events_per_day: Some(3) };
    let world = World::start_with(Settings { quota, ..settings() }).await;
    let receiver = Receiver::failing(0).await;
    let id = world.subscribe(&receiver.url, Options::default()).await;
    for _ in 0..6 {
        world.trigger().await;
    }
    let is_held = async || {
        while world.service.dispatcher().parts().directory.can_send_to(id) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_held()).await.unwrap();
    world.after_attempts(id, 3).await;
    let budget = documents::all(&*world.store, Kind::Budgets).await.unwrap().pop().unwrap();
    assert_eq!(budget.body, "3");
    world.store.put_document(Kind::Budgets, &budget.name, "1".into(), Expected::Any).await.unwrap();
    world.clock.move_to(world.clock.now().plus(Duration::from_secs(MINUTE)));
    world.after_attempts(id, 5).await;
    tokio::time::timeout(PATIENCE, is_held()).await.unwrap();
    assert_eq!(receiver.requests.load(Ordering::SeqCst), 5);
}
