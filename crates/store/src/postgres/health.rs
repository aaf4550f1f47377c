//! The health of subscriptions through outcomes, and what follows from its changes.

use std::collections::BTreeMap;

use hookcast_core::{
    clock::Timestamp, id::SubscriptionId, notice::NoticeKind, policy::HealthPolicy, subscription::Health,
};
use tokio_postgres::{Row, types::Type};

use super::{
    lanes::Fewer,
    notices::News,
    pool::{Statement, Transaction},
    rows::{SubscriptionKey, get, health},
};
use crate::{engine::Outcome, error::StoreError, transition::Transition};

const SET: Statement = Statement {
    sql: "UPDATE hookcast.lanes l SET failure_count = h.count, failing_since = h.since, failed_at = h.failed_at,
              probe_at = h.probe_at, recovered_at = h.recovered_at
          FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[])
              AS h (subscription, count, since, failed_at, probe_at, recovered_at)
          WHERE l.subscription = h.subscription",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// A subscription that is to become inactive.
pub(super) struct Beyond {
    pub subscription: SubscriptionId,
    pub lane: SubscriptionKey,
    pub reason: &'static str,
    pub health: Health,
}

/// The health of lanes whose locks are held.
pub(super) struct Healths(BTreeMap<SubscriptionKey, Lane>);

struct Lane {
    before: Health,
    health: Health,
    is_active: bool,
    /// It is to become inactive, of which its owner is told.
    is_beyond: bool,
}

/// What follows from changes of health.
#[derive(Default)]
pub(super) struct Changes {
    news: News,
    /// Who has failed too much, or is gone, in the order of the outcomes.
    pub beyond: Vec<Beyond>,
    /// Whose breakers have opened, and closed.
    pub opened: Vec<SubscriptionId>,
    pub closed: Vec<SubscriptionId>,
}

impl Healths {
    /// Reads what [`lanes::LOCK_FAILING`](super::lanes::LOCK_FAILING) tells.
    pub(super) fn read(rows: &[Row]) -> Result<Self, StoreError> {
        let lane = |row: &Row| {
            let health = health(row, 2)?;
            let is_active = !get::<bool>(row, 1)?;
            Ok((get(row, 0)?, Lane { before: health, health, is_active, is_beyond: false }))
        };
        rows.iter().map(lane).collect::<Result<_, _>>().map(Self)
    }

    /// Follows an outcome. That of a lane that is not among these, and so is well, is a success and changes nothing.
    pub(super) fn follow(
        &mut self,
        outcome: &Outcome,
        key: SubscriptionKey,
        policy: &HealthPolicy,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let Some(lane) = self.0.get_mut(&key) else { return };
        let transition = Transition::of(outcome, lane.health, lane.is_active, policy, now);
        let (was_open, subscription) = (lane.health.is_open(), outcome.subscription);
        lane.health = transition.health;
        match (was_open, lane.health.is_open()) {
            (false, true) => changes.opened.push(subscription),
            (true, false) => changes.closed.push(subscription),
            _ => {}
        }
        match transition.notice {
            Some((NoticeKind::Deactivated, reason)) => {
                (lane.is_active, lane.is_beyond) = (false, true);
                changes.beyond.push(Beyond { subscription, lane: key, reason, health: transition.told });
            }
            // That is no news beside the other, which is told later.
            Some((NoticeKind::Failing, _)) if lane.is_beyond => {}
            Some(notice) => changes.news.add((subscription, key), notice, transition.told, now),
            None => {}
        }
    }

    /// Keeps what has changed, and leaves the notices of it. When the lanes' next deliveries are due is to be refreshed then.
    pub(super) async fn write(
        self,
        transaction: &Transaction,
        changes: &Changes,
        refresh: &mut Fewer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let changed: Vec<_> = self.0.into_iter().filter(|(_, lane)| lane.health != lane.before).collect();
        if changed.is_empty() {
            return Ok(());
        }
        for (key, _) in changed.iter().filter(|(_, lane)| lane.health.probe_at != lane.before.probe_at) {
            refresh.refresh(*key);
        }
        let lanes: Vec<SubscriptionKey> = changed.iter().map(|(key, _)| *key).collect();
        let counts: Vec<i64> = changed.iter().map(|(_, lane)| lane.health.failure_count.into()).collect();
        let times = |time: fn(&Health) -> Option<Timestamp>| -> Vec<Option<i64>> {
            changed.iter().map(|(_, lane)| time(&lane.health).map(Timestamp::as_millis)).collect()
        };
        let (since, failed_at) = (times(|health| health.failing_since), times(|health| health.failed_at));
        let (probe_at, recovered_at) = (times(|health| health.probe_at), times(|health| health.recovered_at));
        transaction.query(&SET, &[&lanes, &counts, &since, &failed_at, &probe_at, &recovered_at]).await?;
        changes.news.leave(transaction, now).await
    }
}
