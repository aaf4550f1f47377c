//! Moving a store to another one and back.

use std::{collections::BTreeMap, time::Duration};

use hookcast_core::{
    clock::{Clock, Timestamp},
    delivery::DeliveryState,
    policy::Deduplicate,
    token::AccessToken,
};

use super::{
    full::{REMEMBER, RULE, fill, seen},
    place::{self, Place},
    process::{delivered, retried},
    world::{ALL, LONG, NOW, World, at, day},
};
use crate::{
    Limits, Store,
    engine::Role,
    transfer::{
        AccountItem, Item, Portion, Progress, Section, Step, TokenItem,
        copy::{CopyError, Phase, Status, copy},
    },
};

cases![
    a_copy_of_a_copy_is_like_the_original,
    a_copy_goes_on_as_the_original_would_have,
    what_a_dead_process_held_waits_in_the_copy,
    new_events_get_new_places,
    what_is_equal_is_known_to_the_copy,
    what_has_run_out_stays_behind,
    notices_that_wait_are_given_from_the_copy,
    more_may_wait_in_a_copy_than_is_allowed,
    an_empty_store_has_an_empty_copy,
    an_interrupted_copy_goes_on_from_wherever_it_was,
    importing_twice_changes_nothing,
    a_portion_is_bounded_by_its_bytes,
    an_item_that_refers_to_nothing_is_refused,
    an_import_that_contradicts_is_refused,
    a_store_in_use_is_neither_source_nor_target,
    a_target_that_holds_something_is_refused,
    an_unfinished_copy_is_no_source,
    a_source_that_changes_is_noticed,
    the_copy_says_how_far_it_is,
];

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct At(pub(crate) Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

async fn copied(from: &dyn Store, to: &dyn Store) -> Result<BTreeMap<Section, u64>, CopyError> {
    copy(from, to, &At(NOW), |_| {}).await
}

impl World {
    /// A copy of this store at another place, and the world there. Whoever works here leaves first.
    async fn copied_to(&self, place: Place) -> World {
        self.here.leave(NOW).await;
        let target = place.open(Limits::default()).await;
        copied(&**self.store(), &*target).await.unwrap();
        target.close().await;
        self.at(place).await
    }
}

async fn a_copy_of_a_copy_is_like_the_original(world: World) {
    let full = fill(&world).await;
    let original = seen(&world, &full).await;
    let copy = world.copied_to(place::sqlite().await).await;
    assert_eq!(seen(&copy, &full).await, original);
    let back = copy.copied_to(world.another_place().await).await;
    assert_eq!(seen(&back, &full).await, original);
    assert_eq!(seen(&world, &full).await, original, "the source is as it was");
}

async fn a_copy_goes_on_as_the_original_would_have(world: World) {
    let full = fill(&world).await;
    let [well, failing, inactive, _, idle, ordered] = &full.subscriptions[..] else { unreachable!() };
    let copy = world.copied_to(place::sqlite().await).await.copied_to(world.another_place().await).await;
    assert_eq!((copy.waiting(idle).await, copy.expired(idle).await), (2, 1));

    assert!(copy.here.claim(inactive, 10, at(900)).await.is_empty());
    assert_eq!(copy.waiting(inactive).await, 3);
    copy.set_active(inactive, true, at(6)).await;
    assert_eq!(copy.here.claim(inactive, 10, at(6)).await.len(), 3);

    let waited = copy.here.claim(failing, 10, at(100)).await;
    assert_eq!(waited.iter().map(|claimed| claimed.attempts).collect::<Vec<_>>(), [1]);
    copy.here.finish([retried(&waited[0], at(100), at(300))], at(100)).await;
    let attempts = &copy.delivery(failing, waited[0].id).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(copy.health(failing).await.failure_count, 5);

    let waited = copy.here.claim(well, 10, at(1)).await;
    let outcomes: Vec<_> = waited.iter().map(|claimed| delivered(claimed, at(2))).collect();
    assert_eq!(copy.here.finish(outcomes, at(2)).await.ignored, 0);
    assert_eq!((waited.len(), copy.waiting(well).await), (3, 0));

    copy.send_keyed(ordered, "k").await;
    assert!(copy.here.claim(ordered, 10, at(79)).await.is_empty(), "the first waits, and the rest for it");
    let probe = copy.here.claim(ordered, 10, at(80)).await;
    assert_eq!((probe.len(), probe[0].attempts), (1, 1));
    copy.here.finish([delivered(&probe[0], at(80))], at(80)).await;
    let run = copy.here.claim(ordered, 10, at(80)).await;
    assert_eq!(run.len(), 3);
    assert!(run.is_sorted_by_key(|claimed| claimed.event.id));

    let version = copy.version().await;
    let new = copy.subscriber("x").await;
    let changes = copy.store().changes_since(version).await.unwrap();
    assert_eq!(changes.changed.iter().map(|subscription| subscription.id).collect::<Vec<_>>(), [new.id]);
    let purged = copy.store().purge(day(9), day(9)).await.unwrap();
    assert!(purged.events > 0);
}

async fn what_a_dead_process_held_waits_in_the_copy(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    world.batch().event("x").to([&ada, &bob]).accept().await;
    let dead = world.joining(Role::Server, Duration::from_secs(10), NOW).await;
    world.batch().event("x").to([&ada, &bob]).reserved(&[0]).by(&dead).at(at(3)).accept().await;
    assert_eq!(dead.claim_all([&ada, &bob], 10, at(4)).await.len(), 3);
    world.unsubscribe(&bob).await;
    world.here.leave(NOW).await;

    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let early = copy(&**world.store(), &*target, &At(at(9)), |_| {}).await;
    assert!(matches!(early, Err(CopyError::InUse { side: "source", processes: 1 })));
    copy(&**world.store(), &*target, &At(at(10)), |_| {}).await.unwrap();
    target.close().await;

    let copy = World::new(place).await;
    assert_eq!(copy.states(&ada).await, [DeliveryState::Waiting; 2]);
    assert_eq!(copy.states(&bob).await, [DeliveryState::Cancelled; 2]);
    let dues: Vec<_> = copy.deliveries(&ada).await.iter().map(|record| record.due_at).collect();
    assert_eq!(dues, [Some(NOW), Some(at(3))]);
    assert_eq!((copy.waiting(&ada).await, copy.due(NOW).await.subscriptions), (2, vec![ada.id]));
    assert_eq!(world.states(&ada).await, [DeliveryState::Sending; 2], "the source is as it was");
}

async fn new_events_get_new_places(world: World) {
    let ada = world.subscriber("x").await;
    world.send(20, &ada).await;
    let old: Vec<_> = world.deliveries(&ada).await.iter().map(|record| record.id).collect();
    let copy = world.copied_to(world.another_place().await).await;
    let last = old.iter().map(|id| id.position()).max().unwrap();
    let held = copy.batch().event("x").to([&ada]).reserved(&[0]).accept().await.held[0][0];
    copy.send(3, &ada).await;
    let all = copy.deliveries(&ada).await;
    assert!(held.position() > last);
    assert_eq!(all[..20].iter().map(|record| record.id).collect::<Vec<_>>(), old);
    assert!(all[20..].iter().all(|record| record.id.position() > last));
    let ids: std::collections::HashSet<_> = all.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), 24);
}

async fn what_is_equal_is_known_to_the_copy(world: World) {
    let request = async |world: &World, body| {
        let batch = world.batch().event("x").payload("1").deduplicate(RULE);
        batch.key("key", body, REMEMBER).try_accept().await
    };
    let first = request(&world, 1).await.unwrap();
    let copy = world.copied_to(place::sqlite().await).await.copied_to(world.another_place().await).await;
    let again = request(&copy, 1).await.unwrap();
    assert!(again.replayed && again.receipts == first.receipts);
    assert!(matches!(request(&copy, 2).await, Err(crate::AcceptError::KeyReused)));
    let equal = copy.batch().event("x").payload("1").deduplicate(RULE).accept().await.receipts.remove(0);
    assert!(equal.duplicate && equal.id == first.receipts[0].id);
}

async fn what_has_run_out_stays_behind(world: World) {
    let rule = Deduplicate::Within(Duration::from_secs(100));
    for (payload, rule) in [("1", rule), ("2", Deduplicate::Forever)] {
        world.batch().event("x").payload(payload).deduplicate(rule).accept().await;
    }
    world.batch().event("x").key("short", 1, Duration::from_secs(100)).accept().await;
    world.batch().event("x").key("long", 1, REMEMBER).accept().await;
    world.here.leave(NOW).await;
    for (second, expected) in [(99, 2), (100, 1)] {
        let target = world.another_place().await;
        let target = target.open(Limits::default()).await;
        let counts = copy(&**world.store(), &*target, &At(at(second)), |_| {}).await.unwrap();
        assert_eq!(counts[&Section::Events], 4);
        assert_eq!((counts[&Section::Fingerprints], counts[&Section::IdempotencyKeys]), (expected, expected));
    }
}

async fn notices_that_wait_are_given_from_the_copy(world: World) {
    fill(&world).await;
    let take = async |world: &World, seconds: u64| {
        let mut taken = world.store().take_notices(10, at(seconds + 300), at(seconds)).await.unwrap();
        taken.sort_by_key(|pending| pending.notice.id);
        taken
    };
    // One is held by who takes it, and one's mail is begun.
    let held = world.store().take_notices(1, at(500), at(100)).await.unwrap().remove(0).notice.id;
    world.store().begin_mail(held).await.unwrap();
    let copy = world.copied_to(place::sqlite().await).await.copied_to(world.another_place().await).await;
    for seconds in [100, 600] {
        let (there, here) = (take(&world, seconds).await, take(&copy, seconds).await);
        assert_eq!(format!("{here:?}"), format!("{there:?}"));
        assert_eq!(here.iter().any(|pending| pending.mail_begun), seconds == 600);
        assert!(here.iter().any(|pending| pending.notice.id == held) == (seconds == 600) && !here.is_empty());
    }
    copy.store().notice_given(held).await.unwrap();
    assert!(take(&copy, 1_000).await.iter().all(|pending| pending.notice.id != held));
}

async fn more_may_wait_in_a_copy_than_is_allowed(world: World) {
    let ada = world.subscriber("x").await;
    world.send(10, &ada).await;
    world.here.leave(NOW).await;
    let place = world.another_place().await;
    let target = place.open(Limits { max_waiting: 3, max_size: 1, ..Limits::default() }).await;
    copied(&**world.store(), &*target).await.unwrap();
    target.close().await;
    let copy = World::new(place).await;
    assert_eq!((copy.waiting(&ada).await, copy.expired(&ada).await), (10, 0));
}

async fn an_empty_store_has_an_empty_copy(world: World) {
    let copy = world.copied_to(world.another_place().await).await;
    assert!(copy.store().accounts(ALL).await.unwrap().items.is_empty());
    assert_eq!(copy.store().progress().await.unwrap(), None);
    let ada = copy.subscriber("x").await;
    copy.send(2, &ada).await;
    assert_eq!(copy.waiting(&ada).await, 2);
}

const ONE: Portion = Portion { items: 1, bytes: usize::MAX };

/// Every item of a section, read one by one or as many at a time.
async fn items(store: &dyn Store, section: Section, portion: Portion) -> Vec<Item> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let part = store.export(section, after, portion).await.unwrap();
        assert!(part.items.len() <= portion.items);
        items.extend(part.items);
        after = part.next;
        if after.is_none() {
            return items;
        }
    }
}

async fn an_interrupted_copy_goes_on_from_wherever_it_was(world: World) {
    let full = fill(&world).await;
    let original = seen(&world, &full).await;
    world.here.leave(NOW).await;
    let from = &**world.store();
    let place = world.another_place().await;
    let mut next = Some(Step { section: Section::Accounts, after: None });
    let mut count = BTreeMap::new();
    let mut ends = 0;
    // A copy that ends after every item: the last part of each is brought once more by the one that follows.
    while let Some(Step { section, after }) = next {
        let part = from.export(section, after, ONE).await.unwrap();
        *count.entry(section).or_default() += u64::try_from(part.items.len()).unwrap();
        next = match part.next {
            Some(place) => Some(Step { section, after: Some(place) }),
            None => section.following().map(|section| Step { section, after: None }),
        };
        let progress = Progress { next: next.clone(), copied: count.clone() };
        for _ in 0..2 {
            let target = place.open(Limits::default()).await;
            target.import(part.items.clone(), &progress).await.unwrap();
            assert_eq!(target.progress().await.unwrap(), Some(progress.clone()));
            target.close().await;
        }
        if ends % 7 == 0 {
            check_resumed(&world, &place, &count).await;
        }
        ends += 1;
    }
    assert!(ends > 40, "{ends} items");
    let target = place.open(Limits::default()).await;
    assert_eq!(copied(from, &*target).await.unwrap(), count);
    assert_eq!(target.progress().await.unwrap(), None);
    target.close().await;
    assert_eq!(seen(&World::new(place).await, &full).await, original);
}

/// What an unfinished copy has so far is what it says.
async fn check_resumed(world: &World, place: &Place, count: &BTreeMap<Section, u64>) {
    let target = place.open(Limits::default()).await;
    for section in Section::ALL {
        let (there, here) = (items(&**world.store(), section, ONE).await, items(&*target, section, ONE).await);
        let copied = usize::try_from(count.get(&section).copied().unwrap_or_default()).unwrap();
        assert_eq!(here.len(), copied);
        if !matches!(section, Section::Fingerprints | Section::IdempotencyKeys) {
            assert_eq!(format!("{here:?}"), format!("{:?}", &there[..copied]));
        }
    }
    target.close().await;
}

async fn importing_twice_changes_nothing(world: World) {
    let full = fill(&world).await;
    let original = seen(&world, &full).await;
    let many = Portion { items: 1_000, bytes: usize::MAX };
    let progress = Progress { next: None, copied: BTreeMap::new() };
    for section in Section::ALL {
        world.store().import(items(&**world.store(), section, many).await, &progress).await.unwrap();
    }
    assert_eq!(seen(&world, &full).await, original);
    world.store().finish_import().await.unwrap();
    world.store().finish_import().await.unwrap();
    assert_eq!(world.store().progress().await.unwrap(), None);
}

async fn a_portion_is_bounded_by_its_bytes(world: World) {
    let payload = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..5 {
        world.batch().event("x").payload(&payload).accept().await;
    }
    let read = async |portion| world.store().export(Section::Events, None, portion).await.unwrap();
    let small = read(Portion { items: 10, bytes: 1 }).await;
    assert_eq!((small.items.len(), small.next.is_some()), (1, true));
    assert_eq!(read(Portion { items: 10, bytes: 25_000 }).await.items.len(), 3);
    assert_eq!(items(&**world.store(), Section::Events, Portion { items: 10, bytes: 25_000 }).await.len(), 5);
}

async fn an_item_that_refers_to_nothing_is_refused(world: World) {
    fill(&world).await;
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let progress = Progress { next: None, copied: BTreeMap::new() };
    for section in [Section::Tokens, Section::Subscriptions, Section::Deliveries] {
        let orphans = items(&**world.store(), section, ONE).await;
        assert!(target.import(orphans, &progress).await.is_err());
        assert!(items(&*target, section, ONE).await.is_empty());
        assert_eq!(target.progress().await.unwrap(), None);
    }
}

async fn an_import_that_contradicts_is_refused(world: World) {
    let ada = world.account("ada").await;
    let namesake = Item::Account(AccountItem { account: world.new_account("ada"), deleted_at: None });
    let progress = Progress { next: None, copied: BTreeMap::new() };
    let other = Item::Account(AccountItem { account: world.new_account("bob"), deleted_at: None });
    assert!(world.store().import(vec![other, namesake], &progress).await.is_err());
    let token = AccessToken::first(NOW);
    let another = Item::Token(TokenItem { account: ada.id, token, hash: world.new_token() });
    assert!(world.store().import(vec![another], &progress).await.is_err(), "there is one of this name");
    assert_eq!(world.store().accounts(ALL).await.unwrap().items, [ada]);
    assert_eq!(world.store().progress().await.unwrap(), None);
}

async fn a_store_in_use_is_neither_source_nor_target(world: World) {
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let pass = world.joining(Role::Pass, LONG, NOW).await;
    let refused = copied(&**world.store(), &*target).await;
    assert!(matches!(refused, Err(CopyError::InUse { side: "source", processes: 2 })));
    world.here.leave(NOW).await;
    pass.leave(NOW).await;
    let server = target.join(Role::Server, None, LONG, NOW).await.unwrap();
    let refused = copied(&**world.store(), &*target).await;
    assert!(matches!(refused, Err(CopyError::InUse { side: "target", processes: 1 })));
    assert_eq!(target.progress().await.unwrap(), None);
    target.leave(server, NOW).await.unwrap();
    copied(&**world.store(), &*target).await.unwrap();
}

async fn a_target_that_holds_something_is_refused(world: World) {
    world.here.leave(NOW).await;
    let place = world.another_place().await;
    let other = World::new(place).await;
    let first = copied(&**other.store(), &**world.store()).await;
    assert!(matches!(first, Err(CopyError::InUse { .. })));
    other.here.leave(NOW).await;
    let account = world.account("ada").await;
    assert!(matches!(copied(&**other.store(), &**world.store()).await, Err(CopyError::NotEmpty(Section::Accounts))));
    assert_eq!(world.store().accounts(ALL).await.unwrap().items, [account]);
    assert_eq!(world.store().progress().await.unwrap(), None);
}

async fn an_unfinished_copy_is_no_source(world: World) {
    world.here.leave(NOW).await;
    let progress = Progress { next: None, copied: BTreeMap::new() };
    world.store().import(Vec::new(), &progress).await.unwrap();
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let refused = copied(&**world.store(), &*target).await;
    assert!(matches!(refused, Err(CopyError::SourceUnfinished)));
    assert_eq!(target.progress().await.unwrap(), None);
}

async fn a_source_that_changes_is_noticed(world: World) {
    let full = fill(&world).await;
    world.here.leave(NOW).await;
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    copied(&**world.store(), &*target).await.unwrap();
    // As if it were to be checked once more.
    let progress = Progress { next: None, copied: BTreeMap::new() };
    target.import(Vec::new(), &progress).await.unwrap();
    world.store().reset_token("zoe", world.new_token(), NOW).await.unwrap();
    let differs = copied(&**world.store(), &*target).await;
    assert!(matches!(differs, Err(CopyError::Differs(Section::Tokens))));
    world.store().reset_token("zoe", full.tokens[0], NOW).await.unwrap();
    world.set_active(&full.subscriptions[0], false, NOW).await;
    let differs = copied(&**world.store(), &*target).await;
    assert!(matches!(differs, Err(CopyError::Differs(Section::Subscriptions))));
    assert_eq!(target.progress().await.unwrap(), Some(progress), "it is not taken for whole");
}

async fn the_copy_says_how_far_it_is(world: World) {
    fill(&world).await;
    world.here.leave(NOW).await;
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let told = std::sync::Mutex::new(Vec::<Status>::new());
    let counts = copy(&**world.store(), &*target, &At(NOW), |status| told.lock().unwrap().push(status)).await.unwrap();
    let told = told.into_inner().unwrap();
    for section in Section::ALL {
        let last = |phase| told.iter().rfind(|status| status.phase == phase && status.section == section).unwrap();
        assert_eq!(last(Phase::Copying).done, counts[&section]);
        assert_eq!(last(Phase::Checking).done, 2 * counts[&section]);
        assert_eq!(last(Phase::Checking).total, Some(2 * counts[&section]));
    }
    assert!(counts.values().all(|count| *count > 0), "{counts:?}");
}
