//! What holds deliveries back that are due, to subscriptions that are active: pauses, and quotas that are used up. What waits for
//! that stays in the store, and nothing of it counts as a failure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hookcast_core::{clock::Timestamp, id::AccountId};

use crate::{parts::Parts, pauses::Pauses, target::Target};

/// How soon what another node has changed is so here, too.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Everything that holds deliveries back on this node.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    pub(crate) pauses: Arc<Pauses>,
    /// Accounts that have had what they may have, and until when.
    used_up: HashMap<AccountId, Timestamp>,
}

impl Holds {
    /// Whether a target is held back. `now` is asked for only where it matters: this is on the way of every delivery.
    #[must_use]
    pub fn hold(&self, target: &Target, now: impl FnOnce() -> Timestamp) -> bool {
        self.pauses.of_target(target).is_some() || self.is_used_up(target.account, now)
    }

    /// Whether an account has had what it may have.
    pub(crate) fn is_used_up(&self, account: AccountId, now: impl FnOnce() -> Timestamp) -> bool {
        // Mostly nobody has.
        !self.used_up.is_empty() && self.used_up.get(&account).is_some_and(|until| *until > now())
    }

    /// Accounts that have had what they may have.
    pub(crate) fn used_up(&self, now: Timestamp) -> Vec<AccountId> {
        self.used_up.iter().filter(|(_, until)| **until > now).map(|(account, _)| *account).collect()
    }

    /// When the next of them ends by itself.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.used_up.values().copied().filter(|until| *until > now).min()
    }

    pub(crate) fn use_up(&mut self, account: AccountId, until: Timestamp, now: Timestamp) {
        self.used_up.retain(|_, until| *until > now);
        self.used_up.insert(account, until);
    }

    pub(crate) fn allow_again(&mut self, accounts: &[AccountId]) {
        for account in accounts {
            self.used_up.remove(account);
        }
    }
}

/// Follows what is paused and resumed, and whose quotas change, on whichever node, for as long as the future lives. `changed` is told
/// of every change.
pub async fn follow(parts: &Parts, changed: impl Fn()) {
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let mut has_changed = false;
        let (directory, budgets) = (&parts.directory, &parts.budgets);
        for looked in [directory.refresh_pauses().await, budgets.refresh().await, budgets.look_again().await] {
            match looked {
                Ok(is_news) => has_changed |= is_news,
                Err(error) => tracing::warn!(%error, "what is paused, or who may have what, cannot be read now"),
            }
        }
        if has_changed {
            changed();
        }
    }
}
