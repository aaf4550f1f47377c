//! Events as they are listed, and what few of them have.

use hookcast_core::{
    event::{Event, Extra},
    id::EventId,
    policy::Deduplicate,
};

use super::world::{World, at};
use crate::{Limits, catalogue::AccountKey, history::EventQuery};

cases![
    events_are_listed_in_either_order,
    a_list_goes_on_behind_an_event,
    a_list_is_bounded_by_times,
    a_list_is_bounded_by_bytes,
    a_list_goes_on_where_events_are_gone,
    events_are_found_by_their_source,
    what_few_events_have_is_kept,
    equal_content_for_different_accounts_is_no_duplicate,
    accounts_are_found_by_id_and_by_name,
    what_few_events_have_comes_with_a_copy,
];

const EVERYTHING: EventQuery = EventQuery {
    source_id: None,
    since: at_zero(),
    until: hookcast_core::clock::Timestamp::from_millis(253_402_300_799_000),
    ascending: true,
    after: None,
    limit: 1_000,
    max_bytes: usize::MAX,
};

const fn at_zero() -> hookcast_core::clock::Timestamp {
    hookcast_core::clock::Timestamp::from_millis(0)
}

async fn list(world: &World, query: EventQuery) -> Vec<EventId> {
    world.store().events(query).await.unwrap().into_iter().map(|event| event.id).collect()
}

/// Events of these seconds, several of some.
async fn events(world: &World, seconds: &[u64]) -> Vec<EventId> {
    let mut ids = Vec::new();
    for second in seconds {
        ids.push(world.batch().event("x").at(at(*second)).accept_one().await);
    }
    ids.sort();
    ids
}

async fn events_are_listed_in_either_order(world: World) {
    assert!(list(&world, EVERYTHING).await.is_empty());
    let ids = events(&world, &[1, 2, 2, 2, 3, 5]).await;
    assert_eq!(list(&world, EVERYTHING).await, ids);
    let reversed: Vec<_> = ids.iter().rev().copied().collect();
    assert_eq!(list(&world, EventQuery { ascending: false, ..EVERYTHING }).await, reversed);
}

async fn a_list_goes_on_behind_an_event(world: World) {
    let ids = events(&world, &[1, 2, 2, 2, 2, 3, 5]).await;
    for ascending in [true, false] {
        for limit in [1, 2, 3, 100] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = list(&world, EventQuery { ascending, limit, after, ..EVERYTHING }).await;
                after = page.last().copied();
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= limit as usize);
                all.extend(page);
            }
            if !ascending {
                all.reverse();
            }
            assert_eq!(all, ids, "{ascending} {limit}");
        }
    }
}

async fn a_list_is_bounded_by_times(world: World) {
    let ids = events(&world, &[1, 2, 2, 3, 5]).await;
    for ascending in [true, false] {
        for (since, until, expected) in
            [(0, 9, 0..5), (2, 9, 1..5), (2, 3, 1..3), (0, 5, 0..4), (3, 3, 3..3), (4, 5, 4..4), (6, 9, 5..5)]
        {
            let query = EventQuery { since: at(since), until: at(until), ascending, ..EVERYTHING };
            let mut found = list(&world, query).await;
            found.sort();
            assert_eq!(found, ids[expected], "{ascending} {since} {until}");
        }
        let after = Some(ids[2]);
        let query = EventQuery { since: at(2), until: at(5), ascending, after, ..EVERYTHING };
        let expected = if ascending { &ids[3..4] } else { &ids[1..2] };
        assert_eq!(list(&world, query).await, expected);
    }
}

async fn a_list_is_bounded_by_bytes(world: World) {
    for _ in 0..3 {
        world.batch().event("x").payload(&format!("\"{}\"", "a".repeat(98))).accept().await;
    }
    for (max_bytes, expected) in [(1, 1), (100, 1), (101, 2), (201, 3)] {
        for ascending in [true, false] {
            assert_eq!(list(&world, EventQuery { max_bytes, ascending, ..EVERYTHING }).await.len(), expected);
        }
    }
}

async fn a_list_goes_on_where_events_are_gone(world: World) {
    let ids = events(&world, &[1, 2, 2, 3, 5]).await;
    let gone = EventId::new(at(2), [u8::MAX; 10]);
    let asked = list(&world, EventQuery { after: Some(gone), ..EVERYTHING }).await;
    assert_eq!(asked, ids[3..]);
    let asked = list(&world, EventQuery { after: Some(gone), ascending: false, ..EVERYTHING }).await;
    assert_eq!(asked, [ids[2], ids[1], ids[0]]);
}

fn from(source: &str) -> Extra {
    Extra { source_id: Some(source.into()), ..Extra::default() }
}

async fn events_are_found_by_their_source(world: World) {
    let mut ids = Vec::new();
    for (second, source) in [(1, "a"), (2, "b \"é\""), (3, "a"), (4, "A")] {
        ids.push(world.batch().event("x").at(at(second)).extra(from(source)).accept_one().await);
    }
    world.batch().event("x").accept().await;
    let of = |source: &str| EventQuery { source_id: Some(source.into()), ..EVERYTHING };
    assert_eq!(list(&world, of("a")).await, [ids[0], ids[2]]);
    assert_eq!(list(&world, EventQuery { ascending: false, ..of("a") }).await, [ids[2], ids[0]]);
    assert_eq!(list(&world, EventQuery { after: Some(ids[0]), ..of("a") }).await, [ids[2]]);
    assert_eq!(list(&world, EventQuery { since: at(2), limit: 1, ..of("a") }).await, [ids[2]]);
    assert_eq!(list(&world, of("b \"é\"")).await, [ids[1]]);
    assert!(list(&world, of("c")).await.is_empty());
    world.store().purge(super::world::day(9), super::world::day(9)).await.unwrap();
    assert!(list(&world, of("a")).await.is_empty());
}

async fn what_few_events_have_is_kept(world: World) {
    let ada = world.subscriber("x").await;
    let extra = Extra {
        source_id: Some("source".into()),
        account: Some(ada.account),
        deliver_at: Some(at(5)),
        replay_of: Some(EventId::new(at(0), [3; 10])),
        cancelled_at: Some(at(6)),
    };
    let id = world.batch().event("x").extra(extra.clone()).to([&ada]).accept_one().await;
    let kept = |event: &Event| event.extra.as_deref().cloned();
    assert_eq!(kept(&world.event(id).await.event), Some(extra.clone()));
    assert_eq!(kept(&world.store().events(EVERYTHING).await.unwrap()[0]), Some(extra.clone()));
    let claimed = world.here.claim(&ada, 10, at(5)).await;
    assert_eq!(kept(&claimed[0].event), Some(extra));
    assert_eq!(claimed[0].event.told_id(), EventId::new(at(0), [3; 10]));
}

async fn equal_content_for_different_accounts_is_no_duplicate(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let send = async |account: Option<_>| {
        let extra = Extra { account, ..Extra::default() };
        let batch = world.batch().event("x").payload("1").extra(extra).deduplicate(Deduplicate::Forever);
        batch.accept().await.receipts[0].duplicate
    };
    for account in [None, Some(ada.account), Some(bob.account)] {
        assert!(!send(account).await);
        assert!(send(account).await, "{account:?}");
    }
}

async fn accounts_are_found_by_id_and_by_name(world: World) {
    let ada = world.account("ada").await;
    let find = async |key| world.store().account(key).await.unwrap();
    assert_eq!(find(AccountKey::Id(ada.id)).await, Some(ada.clone()));
    assert_eq!(find(AccountKey::UserId("ada".into())).await, Some(ada.clone()));
    assert_eq!(find(AccountKey::UserId("Ada".into())).await, None);
    world.store().delete_account(ada.id, at(1)).await.unwrap();
    for key in [AccountKey::Id(ada.id), AccountKey::UserId("ada".into()), AccountKey::UserId(ada.id.to_string())] {
        assert_eq!(find(key).await, None);
    }
}

async fn what_few_events_have_comes_with_a_copy(world: World) {
    let ada = world.subscriber("x").await;
    let extra = Extra { deliver_at: Some(at(500)), ..from("a") };
    let id = world.batch().event("x").extra(extra.clone()).to([&ada]).accept_one().await;
    let cancelled = world.batch().event("x").extra(from("b")).to([&ada]).accept_one().await;
    world.store().cancel(cancelled, at(3)).await.unwrap();
    world.here.leave(at(0)).await;
    let place = world.another_place().await;
    let target = place.open(Limits::default()).await;
    let clock = super::transfer::At(at(1));
    crate::transfer::copy::copy(&**world.store(), &*target, &clock, |_| {}).await.unwrap();
    target.close().await;
    let copy = World::new(place).await;
    assert_eq!(copy.event(id).await.event.extra.as_deref(), Some(&extra));
    assert_eq!(copy.event(cancelled).await.event.cancelled_at(), Some(at(3)));
    assert_eq!(list(&copy, EventQuery { source_id: Some("a".into()), ..EVERYTHING }).await, [id]);
    assert!(copy.here.claim(&ada, 10, at(499)).await.is_empty());
    assert_eq!(copy.here.claim(&ada, 10, at(500)).await.len(), 1);
}
