//! Notices of changes of state.

use std::time::Duration;

use hookcast_core::{
    notice::NoticeKind::{self, Deactivated, Failing, Recovered},
    policy::{BreakerPolicy, DeactivationPolicy, HealthPolicy},
    subscription::Subscription,
};

use super::{
    process::{delivered, gone, retried},
    world::{NOW, World, at},
};
use crate::{StoreError, notices::PendingNotice};

cases![
    each_change_leaves_one,
    one_that_is_gone_tells_why,
    a_notice_tells_whom_it_concerns,
    what_is_taken_comes_again_unless_it_is_given,
    a_mail_is_begun_once,
    a_postponed_one_may_be_mailed,
    where_nobody_is_left_nobody_is_told,
    what_fails_after_the_deletion_is_not_told,
    what_its_owner_does_is_no_news,
];

const POLICY: HealthPolicy = HealthPolicy {
    deactivation: DeactivationPolicy { max_failures: 3, after: Duration::ZERO },
    breaker: BreakerPolicy { failures: 2, first_pause: Duration::from_secs(1), longest_pause: Duration::from_secs(1) },
};

async fn fail(world: &World, subscription: &Subscription, seconds: u64) {
    let claimed = world.here.claim(subscription, 1, at(seconds)).await;
    let outcome = retried(&claimed[0], at(seconds), at(seconds + 1));
    world.store().finish(world.here.holder, [outcome].into(), POLICY, at(seconds)).await.unwrap();
}

async fn take(world: &World, seconds: u64) -> Vec<PendingNotice> {
    world.store().take_notices(10, at(seconds + 300), at(seconds)).await.unwrap()
}

fn kinds(taken: &[PendingNotice]) -> Vec<NoticeKind> {
    taken.iter().map(|pending| pending.notice.kind).collect()
}

async fn each_change_leaves_one(world: World) {
    let ada = world.subscriber("x").await;
    world.send(9, &ada).await;
    assert!(take(&world, 0).await.is_empty());
    fail(&world, &ada, 0).await;
    assert!(take(&world, 0).await.is_empty());
    fail(&world, &ada, 2).await;
    assert_eq!(kinds(&take(&world, 2).await), [Failing]);
    fail(&world, &ada, 4).await;
    assert!(take(&world, 4).await.is_empty());
    let probe = world.here.claim(&ada, 1, at(6)).await;
    world.store().finish(world.here.holder, [delivered(&probe[0], at(6))].into(), POLICY, at(6)).await.unwrap();
    let recovered = take(&world, 6).await;
    assert_eq!(kinds(&recovered), [Recovered]);
    assert_eq!((recovered[0].notice.failure_count, recovered[0].notice.failing_since), (3, Some(at(0))));
    for seconds in [7, 9, 11, 13] {
        fail(&world, &ada, seconds).await;
    }
    assert_eq!(kinds(&take(&world, 13).await), [Failing, Deactivated]);
    assert!(!world.is_active(&ada).await);
}

async fn one_that_is_gone_tells_why(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 2, NOW).await;
    let outcomes = [gone(&claimed[0], NOW, at(60)), gone(&claimed[1], NOW, at(60))];
    world.store().finish(world.here.holder, outcomes.into(), POLICY, NOW).await.unwrap();
    let taken = take(&world, 0).await;
    assert_eq!(taken.iter().filter(|pending| pending.notice.kind == Deactivated).count(), 1);
    assert!(taken[0].notice.reason.contains("410"));
}

async fn a_notice_tells_whom_it_concerns(world: World) {
    let account = world.account("ada").await;
    let ada = world.subscription(&account, "x,y_*", "https://ada.example/hook?token=secret").await;
    world.batch().event("x").to([&ada]).accept().await;
    fail(&world, &ada, 5).await;
    fail(&world, &ada, 6).await;
    let taken = take(&world, 6).await;
    let [PendingNotice { notice, user_email, mail_begun: false }] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!((notice.subscription, notice.account, notice.user_id.as_str()), (ada.id, account.id, "ada"));
    assert_eq!((notice.kind, notice.time, notice.failure_count), (Failing, at(6), 2));
    assert_eq!(notice.failing_since, Some(at(5)));
    assert_eq!(notice.events, "x,y_*");
    assert_eq!(notice.url, "https://ada.example/hook?token=***");
    assert_eq!(user_email.as_deref(), Some("ada@example.org"));
    assert!(!notice.reason.is_empty());
}

async fn one(world: &World) -> PendingNotice {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    fail(world, &ada, 0).await;
    fail(world, &ada, 1).await;
    take(world, 1).await.remove(0)
}

async fn what_is_taken_comes_again_unless_it_is_given(world: World) {
    let id = one(&world).await.notice.id;
    let there = world.process().await;
    assert!(there.store.take_notices(10, at(600), at(300)).await.unwrap().is_empty());
    let again = there.store.take_notices(10, at(600), at(301)).await.unwrap();
    assert_eq!((again[0].notice.id, again.len()), (id, 1));
    world.store().notice_given(id).await.unwrap();
    world.store().notice_given(id).await.unwrap();
    assert!(take(&world, 10_000).await.is_empty());
}

async fn a_mail_is_begun_once(world: World) {
    let id = one(&world).await.notice.id;
    world.store().begin_mail(id).await.unwrap();
    assert!(matches!(world.store().begin_mail(id).await, Err(StoreError::NotFound)));
    let again = take(&world, 301).await;
    assert!(again[0].mail_begun);
    world.store().notice_given(id).await.unwrap();
    assert!(matches!(world.store().begin_mail(id).await, Err(StoreError::NotFound)));
}

async fn a_postponed_one_may_be_mailed(world: World) {
    let id = one(&world).await.notice.id;
    world.store().begin_mail(id).await.unwrap();
    world.store().postpone_notice(id, at(50)).await.unwrap();
    assert!(take(&world, 49).await.is_empty());
    assert!(!take(&world, 50).await[0].mail_begun);
    world.store().begin_mail(id).await.unwrap();
    world.store().notice_given(id).await.unwrap();
    world.store().postpone_notice(id, at(51)).await.unwrap();
    assert!(take(&world, 10_000).await.is_empty());
}

async fn where_nobody_is_left_nobody_is_told(world: World) {
    let ada = world.subscriber("x").await;
    world.send(1, &ada).await;
    fail(&world, &ada, 0).await;
    fail(&world, &ada, 1).await;
    world.unsubscribe(&ada).await;
    assert!(take(&world, 2).await.is_empty());
}

async fn what_fails_after_the_deletion_is_not_told(world: World) {
    let ada = world.subscriber("x").await;
    world.send(2, &ada).await;
    let claimed = world.here.claim(&ada, 2, NOW).await;
    world.unsubscribe(&ada).await;
    for (claimed, seconds) in claimed.iter().zip([1, 2]) {
        let outcome = retried(claimed, at(seconds), at(60));
        world.store().finish(world.here.holder, [outcome].into(), POLICY, at(seconds)).await.unwrap();
    }
    assert!(take(&world, 2).await.is_empty());
}

async fn what_its_owner_does_is_no_news(world: World) {
    let ada = world.subscriber("x").await;
    world.set_active(&ada, false, NOW).await;
    world.set_active(&ada, true, NOW).await;
    assert!(take(&world, 2).await.is_empty());
}
