//! Notices of changes of state that have not been given yet.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    guard::mask_query,
    id::{NoticeId, SubscriptionId},
    notice::{Notice, NoticeKind},
    subscription::Health,
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    PostgresStore,
    pool::{Statement, Transaction},
    rows::{SubscriptionKey, account_id, failures, get, notice_id, optional_time, subscription_id, time, uuid},
};
use crate::{
    error::StoreError,
    notices::{Notices, PendingNotice},
    transition,
};

/// Of a deleted subscription nothing is told.
const LEAVE: Statement = Statement {
    sql: "INSERT INTO hookcast.notices (id, subscription, kind, time, reason, failure_count, failing_since, due_at)
          SELECT n.id, n.subscription, n.kind, $7, n.reason, n.failure_count, n.failing_since, $7
          FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::int8[], $6::int8[])
              AS n (id, subscription, kind, reason, failure_count, failing_since)
          JOIN hookcast.subscriptions s ON s.key = n.subscription AND s.deleted_at IS NULL
          ON CONFLICT (id) DO NOTHING",
    types: &[
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8,
    ],
};
/// Passes over what another node takes at the moment.
const TAKE: Statement = Statement {
    sql: "WITH found AS (
              SELECT key, due_at FROM hookcast.notices WHERE due_at <= $1 ORDER BY due_at, key LIMIT $2
              FOR UPDATE SKIP LOCKED),
          taken AS (
              UPDATE hookcast.notices n SET due_at = $3 FROM found f WHERE n.key = f.key
              RETURNING n.*, f.due_at AS was_due_at)
          SELECT n.id, s.id, a.id, a.user_id, s.event, s.url, n.kind, n.time, n.reason, n.failure_count, n.failing_since,
              a.user_email, n.mail_begun
          FROM taken n JOIN hookcast.subscriptions s ON s.key = n.subscription
              JOIN hookcast.accounts a ON a.key = s.account
          ORDER BY n.was_due_at, n.key",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const BEGIN_MAIL: Statement = Statement {
    sql: "UPDATE hookcast.notices SET mail_begun = true WHERE id = $1 AND NOT mail_begun RETURNING 1",
    types: &[Type::UUID],
};
const POSTPONE: Statement = Statement {
    sql: "UPDATE hookcast.notices SET mail_begun = false, due_at = $2 WHERE id = $1",
    types: &[Type::UUID, Type::INT8],
};
const FORGET: Statement = Statement { sql: "DELETE FROM hookcast.notices WHERE id = $1", types: &[Type::UUID] };
/// The lane must be locked, so that no outcome leaves another one.
pub(super) const FORGET_ALL: Statement =
    Statement { sql: "DELETE FROM hookcast.notices WHERE subscription = $1", types: &[Type::INT8] };

/// Notices to leave, in columns.
#[derive(Default)]
pub(super) struct News {
    ids: Vec<Uuid>,
    lanes: Vec<SubscriptionKey>,
    kinds: Vec<&'static str>,
    reasons: Vec<&'static str>,
    failures: Vec<i64>,
    failing_since: Vec<Option<i64>>,
}

impl News {
    /// Adds what is to be told of a subscription whose health is this. It is `now` when the change happens.
    pub(super) fn add(
        &mut self,
        (subscription, lane): (SubscriptionId, SubscriptionKey),
        (kind, reason): (NoticeKind, &'static str),
        health: Health,
        now: Timestamp,
    ) {
        self.ids.push(uuid(transition::notice_id(subscription, kind, now).to_bytes()));
        self.lanes.push(lane);
        self.kinds.push(kind.as_str());
        self.reasons.push(reason);
        self.failures.push(health.failure_count.into());
        self.failing_since.push(health.failing_since.map(Timestamp::as_millis));
    }

    /// Leaves them with what they tell of.
    pub(super) async fn leave(&self, transaction: &Transaction, now: Timestamp) -> Result<(), StoreError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let Self { ids, lanes, kinds, reasons, failures, failing_since } = self;
        let now = now.as_millis();
        transaction.query(&LEAVE, &[ids, lanes, kinds, reasons, failures, failing_since, &now]).await.map(drop)
    }
}

#[async_trait]
impl Notices for PostgresStore {
    async fn take_notices(
        &self,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<PendingNotice>, StoreError> {
        let (now, until) = (now.as_millis(), until.as_millis());
        self.write(&TAKE, &[&now, &i64::from(limit), &until]).await?.iter().map(pending).collect()
    }

    async fn begin_mail(&self, id: NoticeId) -> Result<(), StoreError> {
        let begun = self.write(&BEGIN_MAIL, &[&uuid(id.to_bytes())]).await?;
        if begun.is_empty() { Err(StoreError::NotFound) } else { Ok(()) }
    }

    async fn postpone_notice(&self, id: NoticeId, until: Timestamp) -> Result<(), StoreError> {
        self.write(&POSTPONE, &[&uuid(id.to_bytes()), &until.as_millis()]).await.map(drop)
    }

    async fn notice_given(&self, id: NoticeId) -> Result<(), StoreError> {
        self.write(&FORGET, &[&uuid(id.to_bytes())]).await.map(drop)
    }
}

fn pending(row: &Row) -> Result<PendingNotice, StoreError> {
    let notice = Notice {
        id: notice_id(row, 0)?,
        subscription: subscription_id(row, 1)?,
        account: account_id(row, 2)?,
        user_id: get(row, 3)?,
        events: get(row, 4)?,
        url: mask_query(get(row, 5)?),
        kind: kind(row, 6)?,
        time: time(row, 7)?,
        reason: get(row, 8)?,
        failure_count: failures(row, 9)?,
        failing_since: optional_time(row, 10)?,
    };
    Ok(PendingNotice { notice, user_email: get(row, 11)?, mail_begun: get(row, 12)? })
}

/// Reads a notice's kind.
pub(super) fn kind(row: &Row, at: usize) -> Result<NoticeKind, StoreError> {
    get::<&str>(row, at)?.parse().map_err(|_| StoreError::Corrupt("a notice is of an unknown kind".into()))
}
