//! What accounts may have: how many subscriptions, and how many events they get sent in a day.

use hookcast_core::id::AccountId;
use hookcast_store::{
    Store, StoreError,
    documents::{Document, Expected, Kind},
};
use serde::{Deserialize, Serialize};

/// What an account may have. `None`: as the setting says; 0: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Subscriptions.
    pub subscriptions: Option<u64>,
    /// Events that are sent to it in a day of UTC.
    pub events_per_day: Option<u64>,
}

impl Quota {
    /// The account's own, if it has one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn of(store: &dyn Store, account: AccountId) -> Result<Option<Self>, StoreError> {
        store.document(Kind::Quotas, &account.to_string()).await?.as_ref().map(Self::read).transpose()
    }

    pub(crate) fn read(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_str(&document.body)
            .map_err(|error| StoreError::Corrupt(format!("the quota of {} cannot be read: {error}", document.name)))
    }

    /// Gives it to an account.
    ///
    /// # Errors
    /// The store failed.
    pub async fn keep(self, store: &dyn Store, account: AccountId) -> Result<(), StoreError> {
        let text = serde_json::to_string(&self).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        store.put_document(Kind::Quotas, &account.to_string(), text, Expected::Any).await.map(drop)
    }

    /// Takes an account's own away, so that the settings hold.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove(store: &dyn Store, account: AccountId) -> Result<(), StoreError> {
        match store.delete_document(Kind::Quotas, &account.to_string(), Expected::Any).await {
            Ok(()) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The numbers that hold, these settings being the others: `None` where there is none.
    #[must_use]
    pub fn over(own: Option<Self>, settings: Self) -> Self {
        let own = own.unwrap_or_default();
        let limit = |own: Option<u64>, setting: Option<u64>| own.or(setting).filter(|limit| *limit > 0);
        Self {
            subscriptions: limit(own.subscriptions, settings.subscriptions),
            events_per_day: limit(own.events_per_day, settings.events_per_day),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_quota_is_over_the_settings_and_zero_is_no_limit() {
        let quota = |subscriptions, events_per_day| Quota { subscriptions, events_per_day };
        let settings = quota(Some(5), Some(0));
        for (own, holds) in [
            (None, quota(Some(5), None)),
            (Some(quota(None, Some(7))), quota(Some(5), Some(7))),
            (Some(quota(Some(0), None)), quota(None, None)),
            (Some(quota(Some(9), Some(0))), quota(Some(9), None)),
        ] {
            assert_eq!(Quota::over(own, settings), holds);
        }
    }
}
