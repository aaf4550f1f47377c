//! Notices of changes of state that have not been given yet. `scripts/finish.lua` leaves them.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    guard::mask_query,
    id::{AccountId, NoticeId, SubscriptionId},
    notice::{Notice, NoticeKind},
};

use super::{
    RedisStore,
    reply::{Reply, malformed},
    rows, scripts,
};
use crate::{
    error::StoreError,
    notices::{Notices, PendingNotice},
    transition::{FAILING, GONE, RECOVERED, TOO_MANY},
};

#[async_trait]
impl Notices for RedisStore {
    async fn take_notices(
        &self,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<PendingNotice>, StoreError> {
        let mut call = self.call(&scripts::TAKE_NOTICES);
        call.arg(now.as_millis()).arg(until.as_millis()).arg(limit);
        let mut reply = self.run(&call).await?;
        let mut taken = Vec::new();
        while !reply.is_empty() {
            taken.push(pending(reply.list()?)?);
        }
        Ok(taken)
    }

    async fn begin_mail(&self, id: NoticeId) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::BEGIN_MAIL);
        call.arg(&id.to_bytes()[..]);
        self.run(&call).await.map(drop)
    }

    async fn postpone_notice(&self, id: NoticeId, until: Timestamp) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::POSTPONE_NOTICE);
        call.arg(&id.to_bytes()[..]).arg(until.as_millis());
        self.run(&call).await.map(drop)
    }

    async fn notice_given(&self, id: NoticeId) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::NOTICE_GIVEN);
        call.arg(&id.to_bytes()[..]);
        self.run(&call).await.map(drop)
    }
}

fn pending(mut row: Reply) -> Result<PendingNotice, StoreError> {
    let id = NoticeId::from_bytes(row.array()?);
    let subscription = SubscriptionId::from_bytes(row.array()?);
    let account = AccountId::from_bytes(row.array()?);
    let (user_id, events, url) = (row.text()?, row.text()?, row.text()?);
    let (kind, reason) = kind_and_reason(&row.text()?)?;
    let notice = Notice {
        id,
        subscription,
        account,
        user_id,
        events,
        url: mask_query(&url),
        kind,
        time: rows::timestamp(&mut row)?,
        reason: reason.into(),
        failure_count: rows::failures(&mut row)?,
        failing_since: rows::optional_timestamp(&mut row)?,
    };
    Ok(PendingNotice { notice, user_email: row.optional_text()?, mail_begun: row.flag()? })
}

/// What is told for a reason as the scripts name it.
fn kind_and_reason(name: &str) -> Result<(NoticeKind, &'static str), StoreError> {
    Ok(match name {
        "gone" => (NoticeKind::Deactivated, GONE),
        "too many" => (NoticeKind::Deactivated, TOO_MANY),
        "failing" => (NoticeKind::Failing, FAILING),
        "recovered" => (NoticeKind::Recovered, RECOVERED),
        _ => return Err(malformed()),
    })
}
