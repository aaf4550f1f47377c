//! Fetching what waits for subscriptions without a callback.

use hookcast_core::{
    delivery::DeliveryState,
    id::{DeliveryId, SubscriptionId},
    options::{Options, Ordering},
    subscription::Subscription,
};

use super::world::{LONG, World, at, event_type, pages};
use crate::{
    Limits,
    engine::{Claim, Pass, Role, Which},
    page::PageRequest,
    pull::{Pull, Pulled, Sequence},
};

cases![
    what_waits_is_fetched_in_the_order_of_acceptance,
    fetching_goes_on_behind_a_place,
    what_is_confirmed_is_delivered_and_gone,
    confirming_again_changes_nothing,
    a_page_is_bounded_by_its_bytes,
    nothing_is_sent_to_a_subscription_without_a_callback,
    a_subscription_without_a_callback_is_found_again,
    what_is_too_much_expires_from_the_front,
    a_deleted_subscription_has_nothing_to_fetch,
    several_processes_accept_and_nothing_is_passed_over,
    very_much_is_confirmed_at_once,
];

impl World {
    async fn puller(&self, event: &str) -> Subscription {
        let mut new = self.new_subscription(&self.account(&format!("puller of {event}")).await, event, "");
        new.url = None;
        new.is_active = false;
        new.options = Options { ordering: Some(Ordering::Subscription), ..Options::default() };
        self.store().subscribe(new, None).await.unwrap().status.subscription
    }

    async fn pull(&self, from: &Subscription, after: Sequence, limit: u32) -> Vec<Pulled> {
        let pull = Pull { subscription: from.id, after, limit, max_bytes: usize::MAX };
        self.store().pull(pull).await.unwrap()
    }

    async fn confirm(&self, of: &Subscription, through: Sequence) -> u64 {
        self.store().confirm(of.id, through).await.unwrap()
    }
}

fn payloads(pulled: &[Pulled]) -> Vec<&str> {
    pulled.iter().map(|pulled| pulled.event.payload.get()).collect()
}

async fn send(world: &World, to: &Subscription, payloads: impl IntoIterator<Item = u32>) {
    for payload in payloads {
        world.batch().event("x").payload(&payload.to_string()).to([to]).accept().await;
    }
}

async fn what_waits_is_fetched_in_the_order_of_acceptance(world: World) {
    let ada = world.puller("x").await;
    assert!(world.pull(&ada, Sequence::default(), 10).await.is_empty());
    send(&world, &ada, 1..=3).await;
    let other = world.puller("y").await;
    let batch = world.batch().event("x").payload("4").to([&ada, &other]).event("x").payload("5").to([&ada]);
    let events = batch.accept().await.receipts;
    let pulled = world.pull(&ada, Sequence::default(), 10).await;
    assert_eq!(payloads(&pulled), ["1", "2", "3", "4", "5"]);
    assert!(pulled.is_sorted_by(|one, next| one.sequence < next.sequence));
    assert_eq!(pulled[3].event.id, events[0].id);
    assert_eq!(world.delivery(&ada, pulled[3].delivery).await.event, events[0].id);
    assert_eq!(payloads(&world.pull(&other, Sequence::default(), 10).await), ["4"]);
    assert_eq!(world.waiting(&ada).await, 5, "it goes on waiting");
}

async fn fetching_goes_on_behind_a_place(world: World) {
    let ada = world.puller("x").await;
    send(&world, &ada, 1..=5).await;
    let first = world.pull(&ada, Sequence::default(), 2).await;
    assert_eq!(payloads(&first), ["1", "2"]);
    assert_eq!(payloads(&world.pull(&ada, Sequence::default(), 2).await), ["1", "2"]);
    let next = world.pull(&ada, first[1].sequence, 10).await;
    assert_eq!(payloads(&next), ["3", "4", "5"]);
    assert!(world.pull(&ada, next[2].sequence, 10).await.is_empty());
    send(&world, &ada, 6..=6).await;
    assert_eq!(payloads(&world.pull(&ada, next[2].sequence, 10).await), ["6"]);
}

async fn what_is_confirmed_is_delivered_and_gone(world: World) {
    let ada = world.puller("x").await;
    send(&world, &ada, 1..=4).await;
    let pulled = world.pull(&ada, Sequence::default(), 10).await;
    assert_eq!(world.confirm(&ada, pulled[1].sequence).await, 2);
    assert_eq!(payloads(&world.pull(&ada, Sequence::default(), 10).await), ["3", "4"]);
    assert_eq!(world.waiting(&ada).await, 2);
    let delivery = world.delivery(&ada, pulled[0].delivery).await;
    assert_eq!((delivery.state, delivery.attempts.len()), (DeliveryState::Delivered, 0));
    assert_eq!(delivery.url, None);
    assert_eq!(world.states(&ada).await.iter().filter(|state| **state == DeliveryState::Waiting).count(), 2);
    send(&world, &ada, 5..=5).await;
    assert_eq!(world.confirm(&ada, Sequence(u64::MAX >> 16)).await, 3);
    assert_eq!(world.waiting(&ada).await, 0);
}

async fn confirming_again_changes_nothing(world: World) {
    let ada = world.puller("x").await;
    send(&world, &ada, 1..=3).await;
    let pulled = world.pull(&ada, Sequence::default(), 10).await;
    assert_eq!(world.confirm(&ada, Sequence::default()).await, 0);
    for expected in [2, 0, 0] {
        assert_eq!(world.confirm(&ada, pulled[1].sequence).await, expected);
    }
    assert_eq!(payloads(&world.pull(&ada, Sequence::default(), 10).await), ["3"]);
}

async fn a_page_is_bounded_by_its_bytes(world: World) {
    let ada = world.puller("x").await;
    for _ in 0..4 {
        world.batch().event("x").payload(&format!("\"{}\"", "a".repeat(98))).to([&ada]).accept().await;
    }
    for (max_bytes, expected) in [(0, 0), (1, 1), (100, 1), (101, 2), (1_000, 4)] {
        let pull = Pull { subscription: ada.id, after: Sequence::default(), limit: 10, max_bytes };
        assert_eq!(world.store().pull(pull).await.unwrap().len(), expected, "{max_bytes}");
    }
}

async fn nothing_is_sent_to_a_subscription_without_a_callback(world: World) {
    let ada = world.puller("x").await;
    send(&world, &ada, 1..=2).await;
    let due = world.due(at(1_000)).await;
    assert!(due.subscriptions.is_empty() && due.next.is_none());
    assert!(world.here.claim(&ada, 10, at(1_000)).await.is_empty());
    let everything = Pass { due_by: None, failed: true, event: Some(event_type("x")), since: None, after: None };
    let claim = Claim {
        holder: world.here.holder,
        wanted: vec![(ada.id, 10)],
        which: Which::Pass(everything),
        max_bytes: usize::MAX,
    };
    assert!(world.store().claim(claim, at(1_000)).await.unwrap().is_empty());
}

async fn a_subscription_without_a_callback_is_found_again(world: World) {
    let ada = world.puller("x").await;
    assert_eq!(ada.url, None);
    let mut again = ada.clone();
    again.id = SubscriptionId::new(at(1), [7; 10]);
    let again = world.store().subscribe(again, None).await.unwrap();
    assert_eq!((again.created, again.status.subscription.id), (false, ada.id));
    let changes = world.store().changes_since(Default::default()).await.unwrap();
    assert_eq!(changes.changed.iter().map(|subscription| subscription.url.clone()).collect::<Vec<_>>(), [None]);
}

async fn what_is_too_much_expires_from_the_front(world: World) {
    let ada = world.puller("x").await;
    let narrow = world.process_with(Limits { max_waiting: 2, ..Limits::default() }).await;
    for payload in ["1", "2", "3", "4"] {
        world.batch().event("x").payload(payload).to([&ada]).by(&narrow).accept().await;
    }
    assert_eq!(payloads(&world.pull(&ada, Sequence::default(), 10).await), ["3", "4"]);
    assert_eq!((world.waiting(&ada).await, world.expired(&ada).await), (2, 2));
}

async fn a_deleted_subscription_has_nothing_to_fetch(world: World) {
    let ada = world.puller("x").await;
    send(&world, &ada, 1..=2).await;
    let pulled = world.pull(&ada, Sequence::default(), 10).await;
    world.unsubscribe(&ada).await;
    assert!(world.pull(&ada, Sequence::default(), 10).await.is_empty());
    assert_eq!(world.confirm(&ada, pulled[1].sequence).await, 0);
    assert_eq!(world.states(&ada).await, [DeliveryState::Cancelled; 2]);
}

async fn several_processes_accept_and_nothing_is_passed_over(world: World) {
    let ada = world.puller("x").await;
    let others = [world.joining(Role::Server, LONG, at(0)).await, world.joining(Role::Server, LONG, at(0)).await];
    let (mut seen, mut after): (Vec<DeliveryId>, _) = (Vec::new(), Sequence::default());
    for _ in 0..10 {
        let batches = others.iter().map(|process| async {
            for _ in 0..5 {
                world.batch().event("x").to([&ada]).event("x").to([&ada]).by(process).accept().await;
            }
        });
        let fetching = async {
            for _ in 0..5 {
                let pulled = world.pull(&ada, after, 7).await;
                after = pulled.last().map_or(after, |last| last.sequence);
                seen.extend(pulled.iter().map(|pulled| pulled.delivery));
            }
        };
        futures_util::future::join(futures_util::future::join_all(batches), fetching).await;
    }
    seen.extend(world.pull(&ada, after, 1_000).await.iter().map(|pulled| pulled.delivery));
    assert_eq!(seen.len(), 200);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200);
}

async fn very_much_is_confirmed_at_once(world: World) {
    let ada = world.puller("x").await;
    for _ in 0..12 {
        let batch = (0..1_000).fold(world.batch(), |batch, _| batch.event("x").to([&ada]));
        batch.accept().await;
    }
    let last = world.pull(&ada, Sequence::default(), 1_000).await.pop().unwrap();
    assert_eq!(world.confirm(&ada, last.sequence).await, 1_000);
    assert_eq!(world.confirm(&ada, Sequence(u64::MAX >> 16)).await, 11_000);
    assert_eq!(world.waiting(&ada).await, 0);
    let read =
        async |page: PageRequest| world.store().deliveries(ada.id, Some(DeliveryState::Delivered), page).await.unwrap();
    assert_eq!(pages(5_000, read).await.len(), 12_000);
}
