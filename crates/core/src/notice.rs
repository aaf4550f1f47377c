//! Placeholder.
use crate::{
    clock::Timestamp,
    id::{AccountId, NoticeId, SubscriptionId},
};
/// Kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// f
    Failing,
    /// r
    Recovered,
    /// d
    Deactivated,
}
impl NoticeKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "subscription.failing",
            Self::Recovered => "subscription.recovered",
            Self::Deactivated => "subscription.deactivated",
        }
    }
}
impl std::str::FromStr for NoticeKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Failing, Self::Recovered, Self::Deactivated]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| text.to_owned())
    }
}
/// A notice.
#[derive(Clone, Debug)]
pub struct Notice {
    /// i
    pub id: NoticeId,
    /// s
    pub subscription: SubscriptionId,
    /// a
    pub account: AccountId,
    /// u
    pub user_id: String,
    /// e
    pub events: String,
    /// u
    pub url: String,
    /// k
    pub kind: NoticeKind,
    /// t
    pub time: Timestamp,
    /// r
    pub reason: String,
    /// f
    pub failure_count: u32,
    /// f
    pub failing_since: Option<Timestamp>,
}
