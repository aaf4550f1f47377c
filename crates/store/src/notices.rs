//! Notices: what subscriptions' owners are told of changes of state. A change leaves its notice in the transaction that makes it.

use async_trait::async_trait;
use hookcast_core::{clock::Timestamp, id::NoticeId, notice::Notice};

use crate::error::StoreError;

/// A notice that is to be given.
#[derive(Clone, Debug)]
pub struct PendingNotice {
    /// The notice, with its subscription as it is now.
    pub notice: Notice,
    /// Where its account wants notices.
    pub user_email: Option<String>,
    /// Its mail was begun before, and may have been sent: it must not be sent again.
    pub mail_begun: bool,
}

/// The notices that have not been given yet. Where a subscription is deleted, so are they.
#[async_trait]
pub trait Notices: Send + Sync {
    /// Takes notices whose time has come, the oldest first. Nobody else gets them until `until`, when they come again unless
    /// they are done.
    ///
    /// # Errors
    /// The store failed.
    async fn take_notices(
        &self,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<PendingNotice>, StoreError>;

    /// Notes that the mail is about to be sent. When it answers, that is on disk.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the notice is done or its mail was begun before.
    async fn begin_mail(&self, id: NoticeId) -> Result<(), StoreError>;

    /// Lets a notice wait until `until`: its mail was certainly not sent.
    ///
    /// # Errors
    /// The store failed. That there is no such notice is none.
    async fn postpone_notice(&self, id: NoticeId, until: Timestamp) -> Result<(), StoreError>;

    /// Forgets a notice that was given.
    ///
    /// # Errors
    /// The store failed. That there is no such notice is none.
    async fn notice_given(&self, id: NoticeId) -> Result<(), StoreError>;
}
