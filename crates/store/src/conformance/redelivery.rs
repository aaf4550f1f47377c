//! What has ended is sent again, because somebody asks for it.

use hookcast_core::{
    delivery::DeliveryState::{Cancelled, Delivered, Failed, Sending, Waiting},
    id::DeliveryId,
    options::Ordering,
    subscription::Subscription,
};

use super::{
    process::{delivered, failed, ids, retried},
    world::{NOW, World, at},
};
use crate::{Limits, error::StoreError};

cases![
    one_delivery_is_read_by_its_id,
    what_has_ended_waits_again_and_is_due,
    its_attempts_go_on_being_counted,
    what_has_not_ended_is_left,
    another_subscriptions_deliveries_are_left,
    a_deleted_subscriptions_deliveries_are_left,
    an_inactive_subscriptions_deliveries_wait,
    it_has_left_its_group,
    what_has_expired_may_be_sent_again,
    more_than_may_wait_expires,
];

async fn redeliver(world: &World, subscription: &Subscription, ids: &[DeliveryId]) -> Vec<DeliveryId> {
    world.store().redeliver(subscription.id, ids.to_vec(), at(10)).await.unwrap()
}

/// One that was delivered, one that has failed, one that waits for its second try and one that is being sent.
async fn one_of_each(world: &World, subscription: &Subscription) -> [DeliveryId; 4] {
    world.send(4, subscription).await;
    let claimed = world.here.claim(subscription, 4, NOW).await;
    let outcomes = [delivered(&claimed[0], NOW), failed(&claimed[1], NOW), retried(&claimed[2], NOW, at(60))];
    world.here.finish(outcomes, NOW).await;
    ids(&claimed).try_into().unwrap()
}

async fn one_delivery_is_read_by_its_id(world: World) {
    let ada = world.subscriber("x").await;
    for id in one_of_each(&world, &ada).await {
        let (one, listed) = (world.store().delivery(id).await.unwrap(), world.delivery(&ada, id).await);
        assert_eq!((one.id, one.event, one.subscription), (id, listed.event, ada.id));
        assert_eq!((one.state, one.due_at, one.attempts), (listed.state, listed.due_at, listed.attempts));
        for nobody in [
            DeliveryId::from_position(id.time(), id.position() + 1_000),
            DeliveryId::from_position(at(7), id.position()),
        ] {
            assert!(matches!(world.store().delivery(nobody).await, Err(StoreError::NotFound)));
        }
    }
}

async fn what_has_ended_waits_again_and_is_due(world: World) {
    let ada = world.subscriber("x").await;
    let [done, lost, ..] = one_of_each(&world, &ada).await;
    assert_eq!(redeliver(&world, &ada, &[done, lost]).await, [done, lost]);
    assert_eq!(world.states(&ada).await, [Waiting, Waiting, Waiting, Sending]);
    assert_eq!(world.waiting(&ada).await, 3);
    assert_eq!(world.due(at(10)).await.subscriptions, [ada.id]);
    let again = world.here.claim(&ada, 10, at(10)).await;
    assert_eq!(ids(&again), [done, lost]);
    world.here.finish(again.iter().map(|one| delivered(one, at(11))).collect::<Vec<_>>(), at(11)).await;
    assert_eq!(world.states(&ada).await, [Delivered, Delivered, Waiting, Sending]);
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn its_attempts_go_on_being_counted(world: World) {
    let ada = world.subscriber("x").await;
    let [done, ..] = one_of_each(&world, &ada).await;
    redeliver(&world, &ada, &[done]).await;
    let again = world.here.claim_one(&ada, at(10)).await;
    assert_eq!(again.attempts, 1);
    world.here.finish([failed(&again, at(10))], at(10)).await;
    let record = world.delivery(&ada, done).await;
    assert_eq!(record.state, Failed);
    assert_eq!(record.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
}

async fn what_has_not_ended_is_left(world: World) {
    let ada = world.subscriber("x").await;
    let [.., waits, sent] = one_of_each(&world, &ada).await;
    let nobody = DeliveryId::from_position(NOW, 1_000_000);
    assert!(redeliver(&world, &ada, &[waits, sent, nobody]).await.is_empty());
    assert_eq!(world.delivery(&ada, waits).await.due_at, Some(at(60)));
    assert_eq!(world.states(&ada).await, [Delivered, Failed, Waiting, Sending]);
    assert_eq!(world.waiting(&ada).await, 1);
}

async fn another_subscriptions_deliveries_are_left(world: World) {
    let [ada, bob] = world.subscribers("x", 2).await.try_into().unwrap();
    let [done, lost, ..] = one_of_each(&world, &ada).await;
    assert!(redeliver(&world, &bob, &[done, lost]).await.is_empty());
    assert_eq!(world.states(&ada).await, [Delivered, Failed, Waiting, Sending]);
    assert_eq!(world.waiting(&bob).await, 0);
}

async fn a_deleted_subscriptions_deliveries_are_left(world: World) {
    let ada = world.subscriber("x").await;
    let [done, lost, waits, _] = one_of_each(&world, &ada).await;
    world.unsubscribe(&ada).await;
    assert!(redeliver(&world, &ada, &[done, lost, waits]).await.is_empty());
    assert_eq!(world.states(&ada).await[..3], [Delivered, Failed, Cancelled]);
}

async fn an_inactive_subscriptions_deliveries_wait(world: World) {
    let ada = world.subscriber("x").await;
    let [done, ..] = one_of_each(&world, &ada).await;
    world.set_active(&ada, false, at(5)).await;
    assert_eq!(redeliver(&world, &ada, &[done]).await, [done]);
    assert!(world.due(at(20)).await.subscriptions.is_empty());
    world.set_active(&ada, true, at(20)).await;
    assert!(ids(&world.here.claim(&ada, 10, at(20)).await).contains(&done));
}

async fn it_has_left_its_group(world: World) {
    let ada = world.ordered("x", Ordering::Subscription).await;
    world.send(3, &ada).await;
    let run = world.here.claim(&ada, 2, NOW).await;
    world.here.finish([delivered(&run[0], NOW)], NOW).await;
    // The second of the group is still being sent, and the third waits for it.
    redeliver(&world, &ada, &[run[0].id]).await;
    let again = world.here.claim(&ada, 10, at(10)).await;
    assert_eq!((ids(&again), again[0].group), (vec![run[0].id], None));
    world.here.finish([delivered(&again[0], at(10)), delivered(&run[1], at(10))], at(10)).await;
    assert_eq!(world.here.claim(&ada, 10, at(10)).await.len(), 1);
}

async fn what_has_expired_may_be_sent_again(world: World) {
    let ada = world.subscriber("x").await;
    let few = world.process_with(Limits { max_waiting: 2, ..Limits::default() }).await;
    world.send(3, &ada).await;
    let all = world.deliveries(&ada).await;
    // Whoever starts with a lower limit lets the oldest expire when more comes to wait.
    few.store.rescue(at(1)).await.unwrap();
    let claimed = few.claim(&ada, 1, NOW).await;
    few.release(&claimed, at(2)).await;
    let expired: Vec<_> =
        world.deliveries(&ada).await.iter().filter(|one| one.due_at.is_none()).map(|one| one.id).collect();
    assert_eq!(expired, [all[0].id]);
    assert_eq!(redeliver(&world, &ada, &expired).await, expired);
    assert_eq!(world.waiting(&ada).await, 3);
}

async fn more_than_may_wait_expires(world: World) {
    let ada = world.subscriber("x").await;
    let few = world.process_with(Limits { max_waiting: 1, ..Limits::default() }).await;
    let [done, lost, ..] = one_of_each(&world, &ada).await;
    few.store.redeliver(ada.id, vec![done, lost], at(10)).await.unwrap();
    assert_eq!(world.waiting(&ada).await, 1);
    assert_eq!(world.expired(&ada).await, 2);
}
