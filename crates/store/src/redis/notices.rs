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
        reason,
        failure_count: rows::failures(&mut row)?,
        failing_since: rows::optional_timestamp(&mut row)?,
    };
    Ok(PendingNotice { notice, user_email: row.optional_text()?, mail_begun: row.flag()? })
}

/// The reasons that the scripts give, by their names there.
const REASONS: [(&str, NoticeKind, &str); 4] = [
    ("gone", NoticeKind::Deactivated, GONE),
    ("too many", NoticeKind::Deactivated, TOO_MANY),
    ("failing", NoticeKind::Failing, FAILING),
    ("recovered", NoticeKind::Recovered, RECOVERED),
];

/// What is told for a reason as it is kept.
pub(super) fn kind_and_reason(name: &str) -> Result<(NoticeKind, String), StoreError> {
    if let Some((_, kind, reason)) = REASONS.iter().find(|(known, ..)| *known == name) {
        return Ok((*kind, (*reason).to_owned()));
    }
    let (kind, reason) = name.split_once(' ').ok_or_else(malformed)?;
    Ok((kind.parse().map_err(|_| malformed())?, reason.to_owned()))
}

/// A reason as it is kept. One that came from another store may be in other words than the scripts' own.
pub(super) fn reason_name(kind: NoticeKind, reason: &str) -> String {
    let known = REASONS.iter().find(|(_, of, text)| (*of, *text) == (kind, reason));
    known.map_or_else(|| format!("{kind} {reason}"), |(name, ..)| (*name).to_owned())
}
