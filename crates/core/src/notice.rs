//! Notices: what the owner of a subscription is told when its state changes.

use std::{fmt, str::FromStr};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    clock::Timestamp,
    id::{AccountId, NoticeId, SubscriptionId},
};

/// How a subscription's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// Its callback fails, and is left alone for a while.
    Failing,
    /// Its callback, which was failing, answers again.
    Recovered,
    /// It was made inactive. Nothing is sent until its owner makes it active again.
    Deactivated,
}

/// The text is no kind of notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", NoticeKind::ALL.map(NoticeKind::as_str).join(", "))]
pub struct InvalidNoticeKind;

impl NoticeKind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Failing, Self::Recovered, Self::Deactivated];

    /// Its name, which is the type of the event that tells of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "subscription.failing",
            Self::Recovered => "subscription.recovered",
            Self::Deactivated => "subscription.deactivated",
        }
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NoticeKind {
    type Err = InvalidNoticeKind;

    fn from_str(text: &str) -> Result<Self, InvalidNoticeKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidNoticeKind)
    }
}

/// That a subscription's state changed, with all that its owner needs to know of it: the subscription may be another one, or
/// gone, when the notice is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id, by which one that is told twice is recognised.
    pub id: NoticeId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The `user_id` of that account.
    pub user_id: String,
    /// What happened.
    pub kind: NoticeKind,
    /// When it happened.
    pub time: Timestamp,
    /// Why, a line for people; what a callback answered may be a part of it.
    pub reason: String,
    /// The subscription's failures in a row up to then; for a recovery, those that it ended.
    pub failure_count: u32,
    /// When the first of them began.
    pub failing_since: Option<Timestamp>,
    /// What the subscription gets.
    pub events: String,
    /// The callback, without the values of its query; see [`mask_query`](crate::guard::mask_query).
    pub url: String,
}

/// A notice as the payload of an event.
#[derive(Serialize)]
struct Payload<'a> {
    subscription: SubscriptionId,
    user_id: &'a str,
    event: &'a str,
    url: &'a str,
    reason: &'a str,
    failure_count: u32,
    failing_since: Option<Timestamp>,
    time: Timestamp,
}

impl Notice {
    /// The payload of the event that tells of it: an object with the members `subscription`, `user_id`, `event`, `url`,
    /// `reason`, `failure_count`, `failing_since` (`null` when nothing failed) and `time`.
    #[must_use]
    pub fn payload(&self) -> Box<RawValue> {
        let payload = to_raw_value(&Payload {
            subscription: self.subscription,
            user_id: &self.user_id,
            event: &self.events,
            url: &self.url,
            reason: &self.reason,
            failure_count: self.failure_count,
            failing_since: self.failing_since,
            time: self.time,
        });
        // There is nothing in it that JSON cannot say.
        payload.unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn notice(failures: Option<(u32, Timestamp)>) -> Notice {
        Notice {
            id: NoticeId::from_bytes([3; 16]),
            subscription: SubscriptionId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            user_id: "ada".to_owned(),
            kind: NoticeKind::Failing,
            time: Timestamp::from_millis(1_769_860_860_000),
            reason: "it \"answered\" 500".to_owned(),
            failure_count: failures.map_or(0, |(count, _)| count),
            failing_since: failures.map(|(_, since)| since),
            events: "relation_added".to_owned(),
            url: "https://example.org/hook?token=***".to_owned(),
        }
    }

    #[test]
    fn kinds_read_back_as_they_are_named() {
        for kind in NoticeKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert!(kind.as_str().parse::<crate::event::EventType>().is_ok());
        }
        let refused = "failing".parse::<NoticeKind>().unwrap_err().to_string();
        assert!(refused.contains("subscription.recovered, subscription.deactivated"), "{refused}");
    }

    #[test]
    fn they_are_the_types_that_patterns_know_as_the_services_own() {
        let mut names = NoticeKind::ALL.map(NoticeKind::as_str);
        names.sort_unstable();
        assert_eq!(names, crate::pattern::OWN_EVENT_TYPES);
    }

    #[test]
    fn the_payload_tells_everything() {
        let notice = notice(Some((7, Timestamp::from_millis(1_769_860_800_000))));
        let payload: Value = serde_json::from_str(notice.payload().get()).unwrap();
        let expected = json!({
            "subscription": "sub_01010101010101010101010101010101", "user_id": "ada", "event": "relation_added",
            "url": "https://example.org/hook?token=***", "reason": "it \"answered\" 500", "failure_count": 7,
            "failing_since": "2026-01-31T12:00:00.000Z", "time": "2026-01-31T12:01:00.000Z",
        });
        assert_eq!(payload, expected);
    }

    #[test]
    fn where_nothing_failed_there_is_no_since() {
        let payload: Value = serde_json::from_str(notice(None).payload().get()).unwrap();
        assert_eq!((&payload["failure_count"], &payload["failing_since"]), (&json!(0), &Value::Null));
    }
}
