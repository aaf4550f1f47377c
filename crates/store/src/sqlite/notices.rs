//! Notices of changes of state that have not been given yet.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    guard::mask_query,
    id::{AccountId, NoticeId, SubscriptionId},
    notice::{Notice, NoticeKind},
    subscription::Health,
};
use rusqlite::{Connection, Row};

use super::{
    SqliteStore,
    rows::{self, SubscriptionKey},
};
use crate::{
    error::StoreError,
    notices::{Notices, PendingNotice},
};

/// Leaves a notice, unless the subscription is deleted or one of its kind was left at this very moment. It is `now` when the
/// change happens.
pub(super) fn leave(
    connection: &Connection,
    subscription: SubscriptionKey,
    id: NoticeId,
    kind: NoticeKind,
    reason: &str,
    health: Health,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO notices (id, subscription, kind, time, reason, failure_count, failing_since, due_at)
             SELECT ?1, key, ?3, ?4, ?5, ?6, ?7, ?4 FROM subscriptions WHERE key = ?2 AND deleted_at IS NULL
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute((
            id.to_bytes(),
            subscription,
            kind.as_str(),
            now.as_millis(),
            reason,
            health.failure_count,
            health.failing_since.map(Timestamp::as_millis),
        ))?;
    Ok(())
}

#[async_trait]
impl Notices for SqliteStore {
    async fn take_notices(
        &self,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<PendingNotice>, StoreError> {
        // A look costs no write where nothing is to be told.
        let is_any = self
            .read(move |connection| {
                Ok(connection
                    .prepare_cached("SELECT 1 FROM notices WHERE due_at <= ? LIMIT 1")?
                    .exists([now.as_millis()])?)
            })
            .await?;
        if !is_any {
            return Ok(Vec::new());
        }
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT n.id, s.id, a.id, a.user_id, s.event, s.url, n.kind, n.time, n.reason, n.failure_count,
                     n.failing_since, a.user_email, n.mail_begun
                 FROM notices n JOIN subscriptions s ON s.key = n.subscription JOIN accounts a ON a.key = s.account
                 WHERE n.due_at <= ? ORDER BY n.due_at, n.key LIMIT ?",
            )?;
            let mut found = statement.query((now.as_millis(), limit))?;
            let mut taken = Vec::new();
            while let Some(row) = found.next()? {
                taken.push(pending(row)?);
            }
            let mut hold = transaction.prepare_cached("UPDATE notices SET due_at = ? WHERE id = ?")?;
            for pending in &taken {
                hold.execute((until.as_millis(), pending.notice.id.to_bytes()))?;
            }
            Ok(taken)
        })
        .await
    }

    async fn begin_mail(&self, id: NoticeId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let begun = transaction
                .prepare_cached("UPDATE notices SET mail_begun = 1 WHERE id = ? AND mail_begun = 0")?
                .execute([id.to_bytes()])?;
            if begun == 0 { Err(StoreError::NotFound) } else { Ok(()) }
        })
        .await
    }

    async fn postpone_notice(&self, id: NoticeId, until: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE notices SET mail_begun = 0, due_at = ? WHERE id = ?")?
                .execute((until.as_millis(), id.to_bytes()))?;
            Ok(())
        })
        .await
    }

    async fn notice_given(&self, id: NoticeId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.prepare_cached("DELETE FROM notices WHERE id = ?")?.execute([id.to_bytes()])?;
            Ok(())
        })
        .await
    }
}

fn pending(row: &Row<'_>) -> Result<PendingNotice, StoreError> {
    let notice = Notice {
        id: NoticeId::from_bytes(row.get(0)?),
        subscription: SubscriptionId::from_bytes(row.get(1)?),
        account: AccountId::from_bytes(row.get(2)?),
        user_id: row.get(3)?,
        events: row.get(4)?,
        url: mask_query(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?),
        kind: kind(row, 6)?,
        time: Timestamp::from_millis(row.get(7)?),
        reason: row.get(8)?,
        failure_count: row.get(9)?,
        failing_since: rows::time(row, 10)?,
    };
    Ok(PendingNotice { notice, user_email: row.get(11)?, mail_begun: row.get(12)? })
}

/// Reads a notice's kind.
pub(super) fn kind(row: &Row<'_>, at: usize) -> Result<NoticeKind, StoreError> {
    let name = row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?;
    name.parse().map_err(|_| StoreError::Corrupt("a notice is of an unknown kind".into()))
}
