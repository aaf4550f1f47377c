//! Telling of changes of subscriptions' states: as events, and by mail.

use std::{sync::Arc, time::Duration};

use hookcast_core::{canonical::ContentMd5, event::Event, id::EventId, notice::Notice};
use hookcast_store::{AcceptError, StoreError, engine::Idempotency, notices::PendingNotice};

use crate::{
    acceptor::{About, Acceptor, REMEMBER_KEY, Submission},
    mail::{MailError, Mailer},
    parts::Parts,
};

/// How often notices are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// For so long nobody else gets a notice that was taken.
const HOLD: Duration = Duration::from_secs(300);

/// The bounds of the pauses before a mail is tried again that was certainly not sent. In between a pause is as long as the notice is
/// old, so that each is twice the one before. When a notice is older than a day, its mail is given up.
const MAIL_PAUSE_MIN: Duration = Duration::from_secs(5);
const MAIL_PAUSE_MAX: Duration = Duration::from_secs(900);
const MAIL_PATIENCE: Duration = Duration::from_secs(86_400);

/// Notices taken at once.
const AT_ONCE: u32 = 100;

/// Gives notices for as long as the future lives.
pub async fn give(parts: &Parts, acceptor: &Arc<Acceptor>, mailer: Option<&Mailer>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = give_pending(parts, acceptor, mailer).await {
            tracing::warn!(%error, "notices cannot be given now");
        }
    }
}

/// Gives the notices that wait and whose time has come.
///
/// # Errors
/// The store failed; what is not given by then waits.
pub(crate) async fn give_pending(
    parts: &Parts,
    acceptor: &Arc<Acceptor>,
    mailer: Option<&Mailer>,
) -> Result<(), StoreError> {
    loop {
        let now = parts.clock.now();
        let taken = parts.store.take_notices(AT_ONCE, now.plus(HOLD), now).await?;
        if taken.is_empty() {
            return Ok(());
        }
        for pending in taken {
            give_one(parts, acceptor, mailer, pending).await?;
        }
    }
}

/// The event comes first: an idempotency key makes it one however often it is posted. The mail is begun once and for all.
async fn give_one(
    parts: &Parts,
    acceptor: &Arc<Acceptor>,
    mailer: Option<&Mailer>,
    pending: PendingNotice,
) -> Result<(), StoreError> {
    let PendingNotice { notice, user_email, mail_begun } = pending;
    post(parts, acceptor, &notice).await?;
    if let (Some(mailer), Some(address), false) = (mailer, user_email, mail_begun) {
        match parts.store.begin_mail(notice.id).await {
            Ok(()) => {}
            // Somebody else has given it.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
        match mailer.send_notice(&notice, &address).await {
            Ok(()) => {}
            Err(error @ MailError::NotSent(_)) if age(parts, &notice) < MAIL_PATIENCE => {
                let pause = age(parts, &notice).clamp(MAIL_PAUSE_MIN, MAIL_PAUSE_MAX);
                parts.store.postpone_notice(notice.id, parts.clock.now().plus(pause)).await?;
                tracing::warn!(%error, notice = %notice.id, "the mail of a notice was not sent; it is tried again");
                return Ok(());
            }
            Err(error) => tracing::warn!(%error, notice = %notice.id, "the mail of a notice is given up"),
        }
    }
    parts.store.notice_given(notice.id).await
}

fn age(parts: &Parts, notice: &Notice) -> Duration {
    parts.clock.now().since(notice.time)
}

async fn post(parts: &Parts, acceptor: &Arc<Acceptor>, notice: &Notice) -> Result<(), StoreError> {
    let now = parts.clock.now();
    let payload = notice.payload();
    let (Ok(event_type), Ok(md5)) = (notice.kind.as_str().parse(), ContentMd5::of(notice.kind.as_str(), payload.get()))
    else {
        return Err(StoreError::Corrupt("a notice is no event".into()));
    };
    let event =
        Event { id: EventId::next(now, rand::random()), event_type, time: now, md5, key: None, extra: None, payload };
    let about = About { account: notice.account, subscription: notice.subscription };
    // No producer can choose such a key: theirs are visible characters.
    let key = format!("notice {}", notice.id);
    let idempotency = Idempotency { key, body_digest: [0; 32], remember: REMEMBER_KEY };
    let submission = Submission { event, deduplicate: false, about: Some(about), only: None };
    match acceptor.accept(vec![submission], Some(idempotency), ()).await {
        Ok(_) => Ok(()),
        Err(AcceptError::Store(error)) => Err(error),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}
