//! What a subscription is made with, and what of it its owner changes: there is one of each kind for an account.

use hookcast_core::subscription::Subscription;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Shared,
    catalogue::{NEXT_VERSION, STATUS},
    locks,
    pool::{Commit, Statement},
    rows::{SubscriptionKey, get, natural, options_text, single, subscription_status, uuid},
};
use crate::{catalogue::Replaced, code::url_text, error::StoreError};

const ACCOUNT_KEY: Statement =
    Statement { sql: "SELECT key FROM hookcast.accounts WHERE id = $1 AND deleted_at IS NULL", types: &[Type::UUID] };
const COUNT_SUBSCRIPTIONS: Statement = Statement {
    sql: "SELECT count(*) FROM hookcast.subscriptions WHERE account = $1 AND deleted_at IS NULL",
    types: &[Type::INT8],
};
const SAME_SUBSCRIPTION: Statement = Statement {
    sql: "SELECT key FROM hookcast.subscriptions
          WHERE account = $1 AND event = $2 AND md5(url) = md5($3) AND url = $3 AND deleted_at IS NULL",
    types: &[Type::INT8, Type::TEXT, Type::TEXT],
};
const CREATE_SUBSCRIPTION: Statement = Statement {
    sql: "WITH new AS (
              INSERT INTO hookcast.subscriptions (id, account, event, url, secret, is_active, created_at, version, options)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING key, is_active)
          INSERT INTO hookcast.lanes (subscription, parked) SELECT key, NOT is_active FROM new RETURNING subscription",
    types: &[
        Type::UUID,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::BYTEA,
        Type::BOOL,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
    ],
};
const KEY_AND_VERSION: Statement = Statement {
    sql:
        "SELECT s.key, s.version, s.account FROM hookcast.subscriptions s JOIN hookcast.accounts a ON a.key = s.account
          WHERE s.id = $1 AND a.id = $2 AND s.deleted_at IS NULL",
    types: &[Type::UUID, Type::UUID],
};
const REPLACE: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET event = $2, url = $3, options = $4, secret = $5, version = $6 WHERE key = $1",
    types: &[Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT, Type::BYTEA, Type::INT8],
};

/// Changes what a subscription's owner has chosen, unless somebody was faster.
pub(super) async fn replace(shared: &Shared, new: &Subscription) -> Result<Replaced, StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let (account, id) = (uuid(new.account.to_bytes()), uuid(new.id.to_bytes()));
    let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&KEY_AND_VERSION, &[&id, &account])]).await?;
    let Some(row) = answers.get(1).and_then(|rows| rows.first()) else {
        transaction.rollback().await?;
        return Err(StoreError::NotFound);
    };
    let (key, version, account): (SubscriptionKey, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    if natural(version) != new.version {
        transaction.rollback().await?;
        return Ok(Replaced::Outdated);
    }
    let events = new.events.to_string();
    let same = transaction.query(&SAME_SUBSCRIPTION, &[&account, &events, &url_text(new)]).await?;
    if same.iter().any(|row| get(row, 0).is_ok_and(|same: SubscriptionKey| same != key)) {
        transaction.rollback().await?;
        return Ok(Replaced::Taken);
    }
    let version: i64 = single(&transaction.query(&NEXT_VERSION, &[]).await?)?;
    let (options, secret) = (options_text(&new.options)?, new.secrets.as_bytes());
    let status = transaction
        .all(&[(&REPLACE, &[&key, &events, &url_text(new), &options, &secret, &version]), (&STATUS, &[&key])])
        .await?;
    transaction.commit().await?;
    let status = status.get(1).and_then(|rows| rows.first()).ok_or(StoreError::NotFound)?;
    Ok(Replaced::Done(Box::new(subscription_status(status)?)))
}

/// Makes a subscription or finds it; whether it is new, and its status.
pub(super) async fn subscribe(
    shared: &Shared,
    new: &Subscription,
    most: Option<u64>,
) -> Result<(bool, Row), StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let account = uuid(new.account.to_bytes());
    let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&ACCOUNT_KEY, &[&account])]).await?;
    let Ok(account) = single::<i64>(answers.get(1).map_or(&[], Vec::as_slice)) else {
        transaction.rollback().await?;
        return Err(StoreError::NotFound);
    };
    let events = new.events.to_string();
    let existing = transaction.query(&SAME_SUBSCRIPTION, &[&account, &events, &url_text(new)]).await?;
    let created = existing.is_empty();
    if let Some(most) = most.filter(|_| created) {
        let count: i64 = single(&transaction.query(&COUNT_SUBSCRIPTIONS, &[&account]).await?)?;
        if natural(count) >= most {
            transaction.rollback().await?;
            return Err(StoreError::Conflict);
        }
    }
    let key: SubscriptionKey = if created {
        let version: i64 = single(&transaction.query(&NEXT_VERSION, &[]).await?)?;
        let (id, created_at) = (uuid(new.id.to_bytes()), new.created_at.as_millis());
        let (options, secret) = (options_text(&new.options)?, new.secrets.as_bytes());
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&id, &account, &events, &url_text(new), &secret, &new.is_active, &created_at, &version, &options];
        single(&transaction.query(&CREATE_SUBSCRIPTION, &parameters).await?)?
    } else {
        single(&existing)?
    };
    let status = transaction.query(&STATUS, &[&key]).await?;
    transaction.commit().await?;
    Ok((created, status.into_iter().next().ok_or(StoreError::NotFound)?))
}
