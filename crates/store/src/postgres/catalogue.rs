//! Accounts and subscriptions.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::{AccountId, SubscriptionId},
    notice::NoticeKind,
    subscription::Subscription,
    token::{TokenHash, TokenName},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    PostgresStore, Shared, accounts,
    health::Beyond,
    lanes, locks,
    notices::{self, News},
    pool::{Commit, Statement, Transaction, retrying},
    rows::{
        self, SubscriptionKey, get, integer, natural, optional_time, select_status, single, subscription_status, uuid,
    },
    subscribing,
};
use crate::{
    catalogue::{AccountKey, Catalogue, CatalogueVersion, Changes, Replaced, Subscribed, SubscriptionStatus},
    error::StoreError,
    page::{Cursor, Page, PageRequest},
};

/// Rows that are changed in one transaction where there may be very many.
const CHUNK: i64 = 10_000;

const CREATE_ACCOUNT: Statement = Statement {
    sql: "WITH new AS (
              INSERT INTO hookcast.accounts (id, user_id, user_email, created_at) VALUES ($1, $2, $3, $5)
              RETURNING key, created_at)
          INSERT INTO hookcast.tokens (account, name, hash, scope, created_at)
          SELECT key, $6, $4, 'write', created_at FROM new RETURNING key",
    types: &[Type::UUID, Type::TEXT, Type::TEXT, Type::BYTEA, Type::INT8, Type::TEXT],
};
const ACCOUNTS: Statement = Statement {
    sql: "SELECT key, id, user_id, user_email, created_at FROM hookcast.accounts
          WHERE key > $1 AND deleted_at IS NULL ORDER BY key LIMIT $2",
    types: &[Type::INT8, Type::INT8],
};
const ACCOUNT_BY_ID: Statement = Statement {
    sql: "SELECT id, user_id, user_email, created_at FROM hookcast.accounts WHERE id = $1 AND deleted_at IS NULL",
    types: &[Type::UUID],
};
const ACCOUNT_BY_USER_ID: Statement = Statement {
    sql: "SELECT id, user_id, user_email, created_at FROM hookcast.accounts WHERE user_id = $1 AND deleted_at IS NULL",
    types: &[Type::TEXT],
};

const SUBSCRIPTION_KEY: Statement = Statement {
    sql: "SELECT s.key FROM hookcast.subscriptions s JOIN hookcast.accounts a ON a.key = s.account
          WHERE s.id = $1 AND a.id = $2 AND s.deleted_at IS NULL",
    types: &[Type::UUID, Type::UUID],
};
pub(super) const STATUS: Statement = Statement { sql: select_status!("WHERE s.key = $1"), types: &[Type::INT8] };
const STATUSES: Statement = Statement {
    sql: select_status!("WHERE s.key > $1 AND a.id = $2 AND s.deleted_at IS NULL ORDER BY s.key LIMIT $3"),
    types: &[Type::INT8, Type::UUID, Type::INT8],
};
const ALL_STATUSES: Statement = Statement {
    sql: select_status!("WHERE s.key > $1 AND s.deleted_at IS NULL ORDER BY s.key LIMIT $2"),
    types: &[Type::INT8, Type::INT8],
};
const CHANGED: Statement = Statement { sql: select_status!("WHERE s.version > $1"), types: &[Type::INT8] };
const VERSION: Statement = Statement { sql: "SELECT version FROM hookcast.catalogue", types: &[] };
pub(super) const NEXT_VERSION: Statement =
    Statement { sql: "UPDATE hookcast.catalogue SET version = version + 1 RETURNING version", types: &[] };
const SET_ACTIVE: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET is_active = $2, version = $3 WHERE key = $1",
    types: &[Type::INT8, Type::BOOL, Type::INT8],
};
const PARK: Statement =
    Statement { sql: "UPDATE hookcast.lanes SET parked = true WHERE subscription = $1", types: &[Type::INT8] };
/// Failures are forgotten, and what waits may go.
const UNPARK: Statement = Statement {
    sql: "UPDATE hookcast.lanes SET parked = false, failure_count = 0, failing_since = NULL, failed_at = NULL,
              probe_at = NULL, recovered_at = NULL WHERE subscription = $1",
    types: &[Type::INT8],
};
/// Makes what waits for a later time due now.
const HURRY: Statement = Statement {
    sql: "UPDATE hookcast.unfinished SET due_at = $2 WHERE ctid = ANY(ARRAY(
              SELECT ctid FROM hookcast.unfinished
              WHERE subscription = $1 AND holder IS NULL AND due_at > $2 AND NOT EXISTS (
                  SELECT FROM hookcast.events e WHERE e.time = unfinished.time AND e.id = unfinished.event
                      AND (e.extra->>'deliver_at')::int8 > $2) LIMIT $3))
          RETURNING 1",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const DELETE: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET deleted_at = $2, is_active = false, secret = '', version = $3 WHERE key = $1",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const CANCEL: Statement = Statement {
    sql: "WITH gone AS (
              DELETE FROM hookcast.unfinished WHERE ctid = ANY(ARRAY(
                  SELECT ctid FROM hookcast.unfinished WHERE subscription = $1 AND holder IS NULL LIMIT $2))
              RETURNING time, position, subscription, event, attempts, log)
          INSERT INTO hookcast.finished (time, position, subscription, event, state, attempts, log)
          SELECT time, position, subscription, event, 5, attempts, log FROM gone RETURNING 1",
    types: &[Type::INT8, Type::INT8],
};
const LEFT_OVER: Statement = Statement {
    sql: "SELECT s.key FROM hookcast.subscriptions s JOIN hookcast.lanes l ON l.subscription = s.key
          WHERE s.deleted_at IS NOT NULL AND l.waiting > 0",
    types: &[],
};
const DEACTIVATE: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET is_active = false WHERE key = $1 AND is_active
              AND (SELECT failure_count FROM hookcast.lanes WHERE subscription = $1) > 0
          RETURNING key",
    types: &[Type::INT8],
};
const SET_VERSION: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET version = $2 WHERE key = ANY($1)",
    types: &[Type::INT8_ARRAY, Type::INT8],
};

#[async_trait]
impl Catalogue for PostgresStore {
    async fn create_account(&self, account: Account, token: TokenHash) -> Result<(), StoreError> {
        let id = uuid(account.id.to_bytes());
        let (token, created_at) = (token.to_bytes().to_vec(), account.created_at.as_millis());
        let (email, name) = (&account.user_email, TokenName::first());
        self.write(&CREATE_ACCOUNT, &[&id, &account.user_id, email, &token, &created_at, &name.as_str()]).await?;
        Ok(())
    }

    async fn set_email(&self, account: AccountId, user_email: Option<String>) -> Result<Account, StoreError> {
        let changed = self.write(&accounts::SET_EMAIL, &[&uuid(account.to_bytes()), &user_email]).await?;
        rows::account(changed.first().ok_or(StoreError::NotFound)?, 0)
    }

    async fn delete_account(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        accounts::delete(&self.shared, account, now).await
    }

    async fn account(&self, which: AccountKey) -> Result<Option<Account>, StoreError> {
        let pool = &self.shared.pool;
        let found = match which {
            AccountKey::Id(id) => pool.query(&ACCOUNT_BY_ID, &[&uuid(id.to_bytes())]).await?,
            AccountKey::UserId(user_id) => pool.query(&ACCOUNT_BY_USER_ID, &[&user_id]).await?,
        };
        found.first().map(|row| rows::account(row, 0)).transpose()
    }

    async fn accounts(&self, page: PageRequest) -> Result<Page<Account>, StoreError> {
        let found = self.shared.pool.query(&ACCOUNTS, &[&after(page), &one_more(page)]).await?;
        let account = |row: &Row| Ok((natural(get(row, 0)?), rows::account(row, 1)?));
        Ok(Page::from_rows(found.iter().map(account).collect::<Result<_, StoreError>>()?, page.limit))
    }

    async fn subscribe(&self, subscription: Subscription, most: Option<u64>) -> Result<Subscribed, StoreError> {
        let (created, status) = retrying(|| subscribing::subscribe(&self.shared, &subscription, most)).await?;
        let status = subscription_status(&status)?;
        Ok(Subscribed { status, created })
    }

    async fn subscription(&self, account: AccountId, id: SubscriptionId) -> Result<SubscriptionStatus, StoreError> {
        let key = self.key_of(account, id).await?;
        self.status(key).await
    }

    async fn subscriptions(
        &self,
        account: Option<AccountId>,
        page: PageRequest,
    ) -> Result<Page<SubscriptionStatus>, StoreError> {
        let (pool, after, limit) = (&self.shared.pool, after(page), one_more(page));
        let found = match account {
            Some(account) => pool.query(&STATUSES, &[&after, &uuid(account.to_bytes()), &limit]).await?,
            None => pool.query(&ALL_STATUSES, &[&after, &limit]).await?,
        };
        let status = |row: &Row| Ok((natural(get(row, 0)?), subscription_status(row)?));
        Ok(Page::from_rows(found.iter().map(status).collect::<Result<_, StoreError>>()?, page.limit))
    }

    async fn set_active(
        &self,
        account: AccountId,
        id: SubscriptionId,
        is_active: bool,
        now: Timestamp,
    ) -> Result<SubscriptionStatus, StoreError> {
        let change = if is_active { Change::Activate } else { Change::Deactivate };
        let key = self.change(account, id, &change).await?;
        if is_active {
            self.hurry(key, now).await?;
            self.shared.hints.tell();
        }
        self.status(key).await
    }

    async fn replace(&self, subscription: Subscription) -> Result<Replaced, StoreError> {
        retrying(|| subscribing::replace(&self.shared, &subscription)).await
    }

    async fn unsubscribe(&self, account: AccountId, id: SubscriptionId, now: Timestamp) -> Result<(), StoreError> {
        let key = self.change(account, id, &Change::Delete(now)).await?;
        cancel(&self.shared, key).await
    }

    async fn changes_since(&self, version: CatalogueVersion) -> Result<Changes, StoreError> {
        let mut transaction = self.shared.pool.begin(Commit::Relaxed).await?;
        // Of two statements the second may see more than the first: a change that is told twice does no harm, and one that is
        // newer than the version told would be told again.
        let answers = transaction.finish(&[(&VERSION, &[]), (&CHANGED, &[&integer(version.0)])]).await?;
        let [version, changed] = answers.as_slice() else { return Err(StoreError::NotFound) };
        let version = CatalogueVersion(natural(single(version)?));
        let mut changes = Changes { version, changed: Vec::new(), deleted: Vec::new() };
        for row in changed {
            let subscription = subscription_status(row)?.subscription;
            self.shared.keys.learn(subscription.id, get(row, 0)?);
            if optional_time(row, 13)?.is_some() {
                changes.deleted.push(subscription.id);
            } else {
                changes.changed.push(subscription);
            }
        }
        Ok(changes)
    }
}

/// A change of a subscription that other processes must see.
enum Change {
    Activate,
    Deactivate,
    Delete(Timestamp),
}

impl Change {
    async fn make(&self, transaction: &Transaction, key: SubscriptionKey, version: i64) -> Result<(), StoreError> {
        let lane = vec![key];
        match self {
            Self::Activate => {
                transaction
                    .all(&[(&SET_ACTIVE, &[&key, &true, &version]), (&lanes::LOCK, &[&lane]), (&UNPARK, &[&key])])
                    .await?
            }
            Self::Deactivate => {
                transaction
                    .all(&[(&SET_ACTIVE, &[&key, &false, &version]), (&lanes::LOCK, &[&lane]), (&PARK, &[&key])])
                    .await?
            }
            Self::Delete(now) => {
                let deleted_at = now.as_millis();
                transaction
                    .all(&[
                        (&DELETE, &[&key, &deleted_at, &version]),
                        (&lanes::LOCK, &[&lane]),
                        (&PARK, &[&key]),
                        (&notices::FORGET_ALL, &[&key]),
                    ])
                    .await?
            }
        };
        Ok(())
    }
}

/// The key to begin after.
fn after(page: PageRequest) -> i64 {
    page.cursor.map_or(0, Cursor::key)
}

fn one_more(page: PageRequest) -> i64 {
    i64::from(page.limit) + 1
}

impl PostgresStore {
    /// Runs one statement; what it has written is on disk.
    pub(super) async fn write(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut transaction = self.shared.pool.begin(Commit::Durable).await?;
        let mut answers = transaction.finish(&[(statement, parameters)]).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The key of an account's own subscription that is not deleted.
    async fn key_of(&self, account: AccountId, id: SubscriptionId) -> Result<SubscriptionKey, StoreError> {
        let (account, id) = (uuid(account.to_bytes()), uuid(id.to_bytes()));
        single(&self.shared.pool.query(&SUBSCRIPTION_KEY, &[&id, &account]).await?)
    }

    async fn status(&self, key: SubscriptionKey) -> Result<SubscriptionStatus, StoreError> {
        let found = self.shared.pool.query(&STATUS, &[&key]).await?;
        subscription_status(found.first().ok_or(StoreError::NotFound)?)
    }

    /// Changes an account's own subscription under the catalogue's lock and its next version; answers its key.
    async fn change(
        &self,
        account: AccountId,
        id: SubscriptionId,
        change: &Change,
    ) -> Result<SubscriptionKey, StoreError> {
        let (account, id) = (uuid(account.to_bytes()), uuid(id.to_bytes()));
        retrying(|| async {
            let transaction = self.shared.pool.begin(Commit::Durable).await?;
            let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&SUBSCRIPTION_KEY, &[&id, &account])]).await?;
            let Ok(key) = single(answers.get(1).map_or(&[], Vec::as_slice)) else {
                transaction.rollback().await?;
                return Err(StoreError::NotFound);
            };
            let version = single(&transaction.query(&NEXT_VERSION, &[]).await?)?;
            change.make(&transaction, key, version).await?;
            transaction.commit().await?;
            Ok(key)
        })
        .await
    }

    /// Makes all that waits for a subscription due now, some of it at a time.
    async fn hurry(&self, key: SubscriptionKey, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let hurried = retrying(|| async {
                let mut transaction = self.shared.pool.begin(Commit::Durable).await?;
                let lane = vec![key];
                let answers = transaction
                    .finish(&[
                        (&lanes::LOCK, &[&lane]),
                        (&HURRY, &[&key, &now.as_millis(), &CHUNK]),
                        (&lanes::TAKE, &[&lane, &vec![0_i64]]),
                    ])
                    .await?;
                Ok::<_, StoreError>(answers.get(1).map_or(0, Vec::len))
            })
            .await?;
            if i64::try_from(hurried).unwrap_or(i64::MAX) < CHUNK {
                return Ok(());
            }
        }
    }
}

/// Cancels what waits for a deleted subscription, some of it at a time. Should this process die meanwhile, the next one that
/// joins goes on with it ([`cancel_left_over`]).
pub(super) async fn cancel(shared: &Shared, key: SubscriptionKey) -> Result<(), StoreError> {
    loop {
        let cancelled = retrying(|| async {
            let mut transaction = shared.pool.begin(Commit::Durable).await?;
            let lane = vec![key];
            let answers = transaction.all(&[(&lanes::LOCK, &[&lane]), (&CANCEL, &[&key, &CHUNK])]).await?;
            let cancelled = answers.get(1).map_or(0, |rows| rows::length(rows));
            transaction.finish(&[(&lanes::TAKE, &[&lane, &vec![cancelled]])]).await?;
            Ok::<_, StoreError>(cancelled)
        })
        .await?;
        if cancelled < CHUNK {
            return Ok(());
        }
    }
}

/// Cancels what still waits for deleted subscriptions, since whoever deleted them died over it.
pub(super) async fn cancel_left_over(shared: &Shared) -> Result<(), StoreError> {
    for row in shared.pool.query(&LEFT_OVER, &[]).await? {
        cancel(shared, get(&row, 0)?).await?;
    }
    Ok(())
}

/// Makes a subscription inactive, unless it has been well since it failed; what waits for it stays as it is. Answers whether it
/// was active. Durable as every change of the catalogue: nodes have read its version before the disk has it, and a crash that
/// took it back would give the same version to another change.
pub(super) async fn deactivate(shared: &Shared, beyond: &Beyond, now: Timestamp) -> Result<bool, StoreError> {
    let key = beyond.lane;
    let mut news = News::default();
    news.add((beyond.subscription, key), (NoticeKind::Deactivated, beyond.reason), beyond.health, now);
    retrying(|| async {
        let transaction = shared.pool.begin(Commit::Durable).await?;
        let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&DEACTIVATE, &[&key])]).await?;
        if answers.get(1).is_none_or(Vec::is_empty) {
            transaction.rollback().await?;
            return Ok(false);
        }
        let version: i64 = single(&transaction.query(&NEXT_VERSION, &[]).await?)?;
        let lane = vec![key];
        transaction.all(&[(&SET_VERSION, &[&lane, &version]), (&lanes::LOCK, &[&lane]), (&PARK, &[&key])]).await?;
        news.leave(&transaction, now).await?;
        transaction.commit().await?;
        Ok(true)
    })
    .await
}

/// Lets other processes see a change of subscriptions.
pub(super) async fn touch(shared: &Shared, keys: &Vec<SubscriptionKey>) -> Result<(), StoreError> {
    retrying(|| async {
        let mut transaction = shared.pool.begin(Commit::Durable).await?;
        let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&NEXT_VERSION, &[])]).await?;
        let version: i64 = single(answers.get(1).map_or(&[], Vec::as_slice))?;
        transaction.finish(&[(&SET_VERSION, &[keys, &version])]).await.map(drop)
    })
    .await
}
