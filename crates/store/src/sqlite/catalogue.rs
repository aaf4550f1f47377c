//! Accounts and subscriptions.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::{AccountId, SubscriptionId},
    subscription::Subscription,
    token::{AccessToken, TokenHash},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{
    SqliteStore, access, lanes,
    rows::{
        self, STATUS_COLUMNS, STATUS_TABLES, STATUS_WIDTH, SubscriptionKey, integer, natural, options_text,
        subscription_status,
    },
};
use crate::{
    catalogue::{AccountKey, Catalogue, CatalogueVersion, Changes, Replaced, Subscribed, SubscriptionStatus},
    code::url_text,
    error::StoreError,
    page::{Cursor, Page, PageRequest},
};

#[async_trait]
impl Catalogue for SqliteStore {
    async fn create_account(&self, account: Account, token: TokenHash) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO accounts (id, user_id, user_email, token_hash, created_at) VALUES (?1, ?2, ?3, ?1, ?4)",
                )?
                .execute((
                    account.id.to_bytes(),
                    account.user_id,
                    account.user_email,
                    account.created_at.as_millis(),
                ))?;
            access::insert(transaction, transaction.last_insert_rowid(), &AccessToken::first(account.created_at), token)
        })
        .await
    }

    async fn set_email(&self, account: AccountId, user_email: Option<String>) -> Result<Account, StoreError> {
        self.write(move |transaction| {
            Ok(transaction
                .prepare_cached(
                    "UPDATE accounts SET user_email = ? WHERE id = ? AND deleted_at IS NULL
                     RETURNING id, user_id, user_email, created_at",
                )?
                .query_row((user_email, account.to_bytes()), |row| rows::account(row, 0))?)
        })
        .await
    }

    async fn delete_account(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let (key, found): (i64, Account) = transaction
                .prepare_cached(
                    "SELECT key, id, user_id, user_email, created_at FROM accounts WHERE id = ? AND deleted_at IS NULL",
                )?
                .query_row([account.to_bytes()], |row| Ok((row.get(0)?, rows::account(row, 1)?)))?;
            let subscriptions: Vec<SubscriptionKey> = transaction
                .prepare_cached("SELECT key FROM subscriptions WHERE account = ? AND deleted_at IS NULL")?
                .query_map([key], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for subscription in subscriptions {
                delete(transaction, subscription, now)?;
            }
            transaction.prepare_cached("DELETE FROM tokens WHERE account = ?")?.execute([key])?;
            let left = found.without_person();
            transaction
                .prepare_cached("UPDATE accounts SET user_id = ?, user_email = ?, deleted_at = ? WHERE key = ?")?
                .execute((left.user_id, left.user_email, now.as_millis(), key))?;
            Ok(())
        })
        .await
    }

    async fn account(&self, which: AccountKey) -> Result<Option<Account>, StoreError> {
        self.read(move |connection| {
            const COLUMNS: &str =
                "SELECT id, user_id, user_email, created_at FROM accounts WHERE deleted_at IS NULL AND";
            let account = |row: &Row<'_>| rows::account(row, 0);
            let found = match which {
                AccountKey::Id(id) => {
                    connection.prepare_cached(&format!("{COLUMNS} id = ?"))?.query_row([id.to_bytes()], account)
                }
                AccountKey::UserId(user_id) => {
                    connection.prepare_cached(&format!("{COLUMNS} user_id = ?"))?.query_row([user_id], account)
                }
            };
            Ok(found.optional()?)
        })
        .await
    }

    async fn accounts(&self, page: PageRequest) -> Result<Page<Account>, StoreError> {
        self.read(move |connection| {
            let accounts = connection
                .prepare_cached(
                    "SELECT key, id, user_id, user_email, created_at FROM accounts
                     WHERE key > ? AND deleted_at IS NULL ORDER BY key LIMIT ?",
                )?
                .query_map(after(page), |row| Ok((natural(row.get(0)?), rows::account(row, 1)?)))?
                .collect::<Result<_, _>>()?;
            Ok(Page::from_rows(accounts, page.limit))
        })
        .await
    }

    async fn subscribe(&self, subscription: Subscription, most: Option<u64>) -> Result<Subscribed, StoreError> {
        self.write(move |transaction| subscribe(transaction, &subscription, most)).await
    }

    async fn subscription(&self, account: AccountId, id: SubscriptionId) -> Result<SubscriptionStatus, StoreError> {
        self.read(move |connection| status(connection, key_of(connection, account, id)?)).await
    }

    async fn subscriptions(
        &self,
        account: Option<AccountId>,
        page: PageRequest,
    ) -> Result<Page<SubscriptionStatus>, StoreError> {
        self.read(move |connection| {
            let whose = if account.is_some() { "a.id = ?3" } else { "?3 IS NULL" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {STATUS_COLUMNS}, s.key FROM {STATUS_TABLES}
                 WHERE s.key > ?1 AND {whose} AND s.deleted_at IS NULL ORDER BY s.key LIMIT ?2"
            ))?;
            let (cursor, limit) = after(page);
            let mut found = statement.query((cursor, limit, account.map(AccountId::to_bytes)))?;
            let mut statuses = Vec::new();
            while let Some(row) = found.next()? {
                statuses.push((natural(row.get(STATUS_WIDTH)?), subscription_status(row)?));
            }
            Ok(Page::from_rows(statuses, page.limit))
        })
        .await
    }

    async fn set_active(
        &self,
        account: AccountId,
        id: SubscriptionId,
        is_active: bool,
        now: Timestamp,
    ) -> Result<SubscriptionStatus, StoreError> {
        self.write(move |transaction| {
            let key = key_of(transaction, account, id)?;
            if is_active {
                activate(transaction, key, now)?;
            } else {
                deactivate(transaction, key)?;
            }
            status(transaction, key)
        })
        .await
    }

    async fn replace(&self, subscription: Subscription) -> Result<Replaced, StoreError> {
        self.write(move |transaction| replace(transaction, &subscription)).await
    }

    async fn unsubscribe(&self, account: AccountId, id: SubscriptionId, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let key = key_of(transaction, account, id)?;
            delete(transaction, key, now)
        })
        .await
    }

    async fn changes_since(&self, version: CatalogueVersion) -> Result<Changes, StoreError> {
        self.read(move |connection| {
            let now: i64 = connection.query_row("SELECT version FROM catalogue", [], |row| row.get(0))?;
            let mut changes =
                Changes { version: CatalogueVersion(natural(now)), changed: Vec::new(), deleted: Vec::new() };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {STATUS_COLUMNS}, s.deleted_at IS NOT NULL FROM {STATUS_TABLES} WHERE s.version > ?"
            ))?;
            let mut found = statement.query([integer(version.0)])?;
            while let Some(row) = found.next()? {
                let subscription = subscription_status(row)?.subscription;
                if row.get(STATUS_WIDTH)? {
                    changes.deleted.push(subscription.id);
                } else {
                    changes.changed.push(subscription);
                }
            }
            Ok(changes)
        })
        .await
    }
}

/// The parameters of a page in ascending order: the key to begin after, and one row more than is wanted.
fn after(page: PageRequest) -> (i64, i64) {
    (page.cursor.map_or(0, Cursor::key), i64::from(page.limit) + 1)
}

fn subscribe(transaction: &Transaction<'_>, new: &Subscription, most: Option<u64>) -> Result<Subscribed, StoreError> {
    let account: i64 = transaction
        .prepare_cached("SELECT key FROM accounts WHERE id = ? AND deleted_at IS NULL")?
        .query_row([new.account.to_bytes()], |row| row.get(0))?;
    let existing: Option<SubscriptionKey> = transaction
        .prepare_cached(
            "SELECT key FROM subscriptions WHERE account = ? AND event = ? AND url = ? AND deleted_at IS NULL",
        )?
        .query_row((account, new.events.to_string(), url_text(new)), |row| row.get(0))
        .optional()?;
    if let Some(key) = existing {
        return Ok(Subscribed { status: status(transaction, key)?, created: false });
    }
    if let Some(most) = most {
        let count: i64 = transaction
            .prepare_cached("SELECT count(*) FROM subscriptions WHERE account = ? AND deleted_at IS NULL")?
            .query_row([account], |row| row.get(0))?;
        if natural(count) >= most {
            return Err(StoreError::Conflict);
        }
    }
    transaction
        .prepare_cached(
            "INSERT INTO subscriptions (id, account, event, url, options, secret, is_active, created_at, version)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            new.id.to_bytes(),
            account,
            new.events.to_string(),
            url_text(new),
            options_text(&new.options)?,
            new.secrets.as_bytes(),
            new.is_active,
            new.created_at.as_millis(),
            next_version(transaction)?,
        ))?;
    let key = transaction.last_insert_rowid();
    transaction
        .prepare_cached("INSERT INTO lanes (subscription, parked) VALUES (?, ?)")?
        .execute((key, !new.is_active))?;
    Ok(Subscribed { status: status(transaction, key)?, created: true })
}

fn replace(transaction: &Transaction<'_>, new: &Subscription) -> Result<Replaced, StoreError> {
    let key = key_of(transaction, new.account, new.id)?;
    let events = new.events.to_string();
    let is_taken = transaction
        .prepare_cached(
            "SELECT 1 FROM subscriptions s JOIN accounts a ON a.key = s.account
             WHERE a.id = ? AND s.event = ? AND s.url = ? AND s.deleted_at IS NULL AND s.key <> ?",
        )?
        .exists((new.account.to_bytes(), &events, url_text(new), key))?;
    let version: i64 = transaction
        .prepare_cached("SELECT version FROM subscriptions WHERE key = ?")?
        .query_row([key], |row| row.get(0))?;
    if natural(version) != new.version {
        return Ok(Replaced::Outdated);
    }
    if is_taken {
        return Ok(Replaced::Taken);
    }
    transaction
        .prepare_cached(
            "UPDATE subscriptions SET event = ?, url = ?, options = ?, secret = ?, version = ? WHERE key = ?",
        )?
        .execute((
            events,
            url_text(new),
            options_text(&new.options)?,
            new.secrets.as_bytes(),
            next_version(transaction)?,
            key,
        ))?;
    Ok(Replaced::Done(Box::new(status(transaction, key)?)))
}

/// Deletes a subscription and cancels what waits for it.
fn delete(transaction: &Transaction<'_>, key: SubscriptionKey, now: Timestamp) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE subscriptions SET deleted_at = ?, is_active = 0, secret = x'', version = ? WHERE key = ?",
        )?
        .execute((now.as_millis(), next_version(transaction)?, key))?;
    transaction
        .prepare_cached("UPDATE deliveries SET state = 5, due_at = NULL WHERE subscription = ? AND state = 0")?
        .execute([key])?;
    transaction
        .prepare_cached("UPDATE lanes SET waiting = 0, next_due = NULL, parked = 1 WHERE subscription = ?")?
        .execute([key])?;
    transaction.prepare_cached("DELETE FROM notices WHERE subscription = ?")?.execute([key])?;
    Ok(())
}

fn activate(transaction: &Transaction<'_>, key: SubscriptionKey, now: Timestamp) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "UPDATE subscriptions SET is_active = 1, failure_count = 0, failing_since = NULL, failed_at = NULL,
                 recovered_at = NULL, version = ? WHERE key = ?",
        )?
        .execute((next_version(transaction)?, key))?;
    transaction
        .prepare_cached(
            "UPDATE deliveries SET due_at = ?2 WHERE subscription = ?1 AND state = 0 AND due_at > ?2
                 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.key = deliveries.event
                     AND e.extra IS NOT NULL AND json_extract(e.extra, '$.deliver_at') > ?2)",
        )?
        .execute((key, now.as_millis()))?;
    transaction
        .prepare_cached("UPDATE lanes SET parked = 0, probe_at = NULL WHERE subscription = ?")?
        .execute([key])?;
    lanes::refresh(transaction, key)
}

/// Makes a subscription inactive; what waits for it stays as it is.
pub(super) fn deactivate(transaction: &Transaction<'_>, key: SubscriptionKey) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE subscriptions SET is_active = 0, version = ? WHERE key = ?")?
        .execute((next_version(transaction)?, key))?;
    transaction.prepare_cached("UPDATE lanes SET parked = 1 WHERE subscription = ?")?.execute([key])?;
    Ok(())
}

/// Lets other processes see a subscription's change.
pub(super) fn touch(transaction: &Transaction<'_>, key: SubscriptionKey) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE subscriptions SET version = ? WHERE key = ?")?
        .execute((next_version(transaction)?, key))?;
    Ok(())
}

/// Counts a change of the catalogue.
pub(super) fn next_version(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    Ok(transaction
        .prepare_cached("UPDATE catalogue SET version = version + 1 RETURNING version")?
        .query_row([], |row| row.get(0))?)
}

/// The key of an account's own subscription that is not deleted.
fn key_of(connection: &Connection, account: AccountId, id: SubscriptionId) -> Result<SubscriptionKey, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT s.key FROM subscriptions s JOIN accounts a ON a.key = s.account
             WHERE s.id = ? AND a.id = ? AND s.deleted_at IS NULL",
        )?
        .query_row((id.to_bytes(), account.to_bytes()), |row| row.get(0))?)
}

fn status(connection: &Connection, key: SubscriptionKey) -> Result<SubscriptionStatus, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {STATUS_COLUMNS} FROM {STATUS_TABLES} WHERE s.key = ?"))?;
    let mut found = statement.query([key])?;
    subscription_status(found.next()?.ok_or(StoreError::NotFound)?)
}
