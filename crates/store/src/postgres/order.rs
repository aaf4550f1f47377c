//! Deliveries that go out one after the other. Whoever changes anything about them holds their lane's lock: so the numbers that
//! [`NUMBER`] gives follow the order of the commits, and a group has one head.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    lanes::More,
    pool::{Statement, Transaction},
    rows::{SubscriptionKey, get},
};
use crate::error::StoreError;

/// Takes so many numbers for each lane; the last one before them.
pub(super) const NUMBER: Statement = Statement {
    sql: "UPDATE hookcast.lanes AS l SET sequence = l.sequence + more.count
          FROM unnest($1::int8[], $2::int8[]) AS more (subscription, count)
          WHERE l.subscription = more.subscription
          RETURNING l.subscription, l.sequence - more.count",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Inserts deliveries that go one after the other. One that may be its group's first is due if the group has none that has not
/// ended; that is a query within a query, and no join, so that the server asks the index about each group and not for all.
pub(super) const INSERT: Statement = Statement {
    sql: "INSERT INTO hookcast.unfinished (time, position, subscription, event, due_at, order_group, sequence)
          SELECT time, position, subscription, event, CASE WHEN may_be_first AND (
                  SELECT u.sequence FROM hookcast.unfinished u
                  WHERE u.subscription = n.subscription AND u.order_group = n.order_group LIMIT 1) IS NULL
              THEN due END, order_group, sequence
          FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::uuid[], $5::bool[], $6::int8[], $7::int8[], $8::int8[])
              AS n (time, position, subscription, event, may_be_first, order_group, sequence, due)
          RETURNING subscription, due_at",
    types: &[
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::UUID_ARRAY,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// Makes the first of each group that has not ended due, if it waits for others. [`lanes::TAKE`](super::lanes::TAKE) must follow.
pub(super) const PROMOTE: Statement = Statement {
    sql: "UPDATE hookcast.unfinished u SET due_at = GREATEST(u.time, (
              SELECT (e.extra->>'deliver_at')::int8 FROM hookcast.events e WHERE e.time = u.time AND e.id = u.event))
          FROM unnest($1::int8[], $2::int8[]) AS g (subscription, order_group)
          CROSS JOIN LATERAL (
              SELECT ctid AS row FROM hookcast.unfinished h
              WHERE h.subscription = g.subscription AND h.order_group = g.order_group
              ORDER BY h.subscription, h.order_group, h.sequence LIMIT 1) first
          WHERE u.ctid = first.row AND u.holder IS NULL AND u.due_at IS NULL",
    types: &[Type::INT8_ARRAY, Type::INT8_ARRAY],
};

/// Groups whose head may have ended, as the parameters of [`PROMOTE`].
#[derive(Default)]
pub(super) struct Groups(BTreeSet<(SubscriptionKey, i64)>);

impl Groups {
    /// Adds the group of a delivery, if it has one.
    pub(super) fn add(&mut self, lane: SubscriptionKey, group: Option<i64>) {
        self.0.extend(group.map(|group| (lane, group)));
    }

    /// Lanes and groups, side by side.
    pub(super) fn columns(self) -> (Vec<SubscriptionKey>, Vec<i64>) {
        self.0.into_iter().unzip()
    }
}

/// A delivery of an event of this time.
#[derive(Clone, Copy)]
pub(super) struct NewDelivery {
    pub time: i64,
    /// As a group's first it is due then.
    pub due: i64,
    pub position: i64,
    pub lane: SubscriptionKey,
    pub event: Uuid,
}

/// New deliveries that go one after the other, in columns, in the order of acceptance.
#[derive(Default)]
pub(super) struct Ordered {
    times: Vec<i64>,
    dues: Vec<i64>,
    positions: Vec<i64>,
    lanes: Vec<SubscriptionKey>,
    events: Vec<Uuid>,
    /// No other one of these is before it in its group.
    may_be_first: Vec<bool>,
    groups: Vec<i64>,
    seen: HashSet<(SubscriptionKey, i64)>,
    counts: BTreeMap<SubscriptionKey, i64>,
}

impl Ordered {
    pub(super) fn add(&mut self, new: NewDelivery, group: i64) {
        self.times.push(new.time);
        self.dues.push(new.due);
        self.positions.push(new.position);
        self.lanes.push(new.lane);
        self.events.push(new.event);
        self.may_be_first.push(self.seen.insert((new.lane, group)));
        self.groups.push(group);
        *self.counts.entry(new.lane).or_default() += 1;
    }

    /// The lanes, in the order of their keys.
    pub(super) fn lanes(&self) -> impl Iterator<Item = SubscriptionKey> {
        self.counts.keys().copied()
    }

    /// Stores them; their lanes must be locked. Adds them to what waits.
    pub(super) async fn write(&self, transaction: &Transaction, waiting: &mut More) -> Result<(), StoreError> {
        if self.lanes.is_empty() {
            return Ok(());
        }
        let (lanes, counts): (Vec<SubscriptionKey>, Vec<i64>) = self.counts.iter().unzip();
        let numbered = transaction.query(&NUMBER, &[&lanes, &counts]).await?;
        let last: HashMap<SubscriptionKey, i64> =
            numbered.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_, StoreError>>()?;
        let sequences = self.sequences(last)?;
        let Self { times, dues, positions, lanes, events, may_be_first, groups, .. } = self;
        let stored = transaction
            .query(&INSERT, &[times, positions, lanes, events, may_be_first, groups, &sequences, dues])
            .await?;
        for row in &stored {
            waiting.add(get(row, 0)?, get(row, 1)?);
        }
        Ok(())
    }

    /// A number for each, above the last one of its lane.
    fn sequences(&self, mut last: HashMap<SubscriptionKey, i64>) -> Result<Vec<i64>, StoreError> {
        let next = |lane| {
            let last = last.get_mut(lane).ok_or(StoreError::NotFound)?;
            *last += 1;
            Ok(*last)
        };
        self.lanes.iter().map(next).collect()
    }
}
