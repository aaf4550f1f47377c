//! Accounts and subscriptions.

use std::collections::HashMap;

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::{AccountId, SubscriptionId},
    subscription::Subscription,
    token::{TokenHash, TokenName},
};

use super::{RedisStore, rows, scripts};
use crate::{
    catalogue::{AccountKey, Catalogue, CatalogueVersion, Changes, Replaced, Subscribed, SubscriptionStatus},
    code::{options_text, url_text},
    error::StoreError,
    page::{Cursor, Page, PageRequest},
};

/// Changes that are read at a time, so that no reading holds up the server.
const CHANGES: usize = 1_000;

#[async_trait]
impl Catalogue for RedisStore {
    async fn create_account(&self, account: Account, token: TokenHash) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::CREATE_ACCOUNT);
        call.arg(&account.id.to_bytes()[..])
            .arg(account.user_id)
            .arg(&token.to_bytes()[..])
            .arg(TokenName::first().as_str())
            .arg(account.created_at.as_millis())
            .arg(account.user_email);
        self.run(&call).await.map(drop)
    }

    async fn set_email(&self, account: AccountId, user_email: Option<String>) -> Result<Account, StoreError> {
        let mut call = self.call(&scripts::SET_EMAIL);
        call.arg(&account.to_bytes()[..]).arg(user_email);
        rows::account(self.run(&call).await?.list()?)
    }

    async fn delete_account(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::DELETE_ACCOUNT);
        // What a deleted account is called is its id.
        call.arg(&account.to_bytes()[..]).arg(account.to_string()).arg(now.as_millis());
        loop {
            let reply = self.link.ask(&call).await?;
            if reply.status() != "again" {
                return reply.expect_ok();
            }
        }
    }

    async fn account(&self, which: AccountKey) -> Result<Option<Account>, StoreError> {
        let mut call = self.call(&scripts::ACCOUNT);
        match which {
            AccountKey::Id(id) => call.arg("account-ids").arg(&id.to_bytes()[..]),
            AccountKey::UserId(user_id) => call.arg("user-ids").arg(user_id),
        };
        match self.run(&call).await {
            Ok(mut reply) => rows::account(reply.list()?).map(Some),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn accounts(&self, page: PageRequest) -> Result<Page<Account>, StoreError> {
        let mut call = self.call(&scripts::ACCOUNTS);
        call.arg(page.cursor.map_or(0, Cursor::key)).arg(u64::from(page.limit) + 1);
        let mut reply = self.run(&call).await?;
        let mut accounts = Vec::new();
        while !reply.is_empty() {
            accounts.push((reply.natural()?, rows::account(reply.list()?)?));
        }
        Ok(Page::from_rows(accounts, page.limit))
    }

    async fn subscribe(&self, subscription: Subscription, most: Option<u64>) -> Result<Subscribed, StoreError> {
        let mut call = self.call(&scripts::SUBSCRIBE);
        call.arg(&subscription.id.to_bytes()[..])
            .arg(&subscription.account.to_bytes()[..])
            .arg(subscription.events.to_string())
            .arg(url_text(&subscription))
            .arg(options_text(&subscription.options)?)
            .arg(subscription.secrets.as_bytes())
            .arg(i32::from(subscription.is_active))
            .arg(subscription.created_at.as_millis())
            .arg(most.map_or_else(String::new, |most| most.to_string()));
        let mut reply = self.run(&call).await?;
        Ok(Subscribed { created: reply.flag()?, status: rows::status(reply.list()?)? })
    }

    async fn subscription(&self, account: AccountId, id: SubscriptionId) -> Result<SubscriptionStatus, StoreError> {
        let mut call = self.call(&scripts::SUBSCRIPTION);
        call.arg(&account.to_bytes()[..]).arg(&id.to_bytes()[..]);
        rows::status(self.run(&call).await?.list()?)
    }

    async fn subscriptions(
        &self,
        account: Option<AccountId>,
        page: PageRequest,
    ) -> Result<Page<SubscriptionStatus>, StoreError> {
        let mut call = self.call(&scripts::SUBSCRIPTIONS);
        call.arg(account.map_or_else(Vec::new, |account| account.to_bytes().to_vec()));
        call.arg(page.cursor.map_or(0, Cursor::key)).arg(u64::from(page.limit) + 1);
        let mut reply = self.run(&call).await?;
        let mut statuses = Vec::new();
        while !reply.is_empty() {
            statuses.push((reply.natural()?, rows::status(reply.list()?)?));
        }
        Ok(Page::from_rows(statuses, page.limit))
    }

    async fn set_active(
        &self,
        account: AccountId,
        id: SubscriptionId,
        is_active: bool,
        now: Timestamp,
    ) -> Result<SubscriptionStatus, StoreError> {
        let mut call = self.call(&scripts::SET_ACTIVE);
        call.arg(&account.to_bytes()[..]).arg(&id.to_bytes()[..]).arg(i32::from(is_active)).arg(now.as_millis());
        let status = rows::status(self.run(&call).await?.list()?)?;
        if is_active {
            self.hurry(account, id, now).await?;
        }
        Ok(status)
    }

    async fn replace(&self, subscription: Subscription) -> Result<Replaced, StoreError> {
        let mut call = self.call(&scripts::REPLACE);
        call.arg(&subscription.account.to_bytes()[..])
            .arg(&subscription.id.to_bytes()[..])
            .arg(subscription.version)
            .arg(subscription.events.to_string())
            .arg(url_text(&subscription))
            .arg(options_text(&subscription.options)?)
            .arg(subscription.secrets.as_bytes());
        let mut reply = self.link.ask(&call).await?;
        match reply.status() {
            "outdated" => return Ok(Replaced::Outdated),
            "taken" => return Ok(Replaced::Taken),
            _ => reply.expect_ok()?,
        }
        Ok(Replaced::Done(Box::new(rows::status(reply.list()?)?)))
    }

    async fn unsubscribe(&self, account: AccountId, id: SubscriptionId, now: Timestamp) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::UNSUBSCRIBE);
        call.arg(&account.to_bytes()[..]).arg(&id.to_bytes()[..]).arg(now.as_millis());
        self.run(&call).await.map(drop)
    }

    /// Reads page by page. What changes meanwhile moves to a later page, so that the last word on each is the newest.
    async fn changes_since(&self, version: CatalogueVersion) -> Result<Changes, StoreError> {
        let mut newest: HashMap<SubscriptionId, Option<Subscription>> = HashMap::new();
        let mut after = version.0;
        loop {
            let mut call = self.call(&scripts::CHANGES);
            call.arg(after).arg(CHANGES);
            let mut reply = self.run(&call).await?;
            let version = CatalogueVersion(reply.natural()?);
            let mut read = 0;
            while !reply.is_empty() {
                let mut change = reply.list()?;
                after = change.natural()?;
                let is_deleted = change.flag()?;
                let subscription = rows::status(change.list()?)?.subscription;
                newest.insert(subscription.id, (!is_deleted).then_some(subscription));
                read += 1;
            }
            if read < CHANGES {
                return Ok(changes(version, newest));
            }
        }
    }
}

fn changes(version: CatalogueVersion, newest: HashMap<SubscriptionId, Option<Subscription>>) -> Changes {
    let mut changes = Changes { version, changed: Vec::new(), deleted: Vec::new() };
    for (id, subscription) in newest {
        match subscription {
            Some(subscription) => changes.changed.push(subscription),
            None => changes.deleted.push(id),
        }
    }
    changes
}

/// Deliveries that become due in one script, so that none holds up the server.
const HURRY_AT_ONCE: i64 = 10_000;

impl RedisStore {
    /// Makes all that waits for another try due now, some of it at a time.
    async fn hurry(&self, account: AccountId, id: SubscriptionId, now: Timestamp) -> Result<(), StoreError> {
        let mut step_over = 0;
        loop {
            let mut call = self.call(&scripts::HURRY);
            call.arg(&account.to_bytes()[..]).arg(&id.to_bytes()[..]).arg(now.as_millis());
            call.arg(HURRY_AT_ONCE).arg(step_over);
            let mut reply = self.run(&call).await?;
            if reply.int()? < HURRY_AT_ONCE {
                return Ok(());
            }
            step_over += reply.int()?;
        }
    }
}
