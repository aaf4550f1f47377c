//! Changes of accounts: where notices go, and their end.

use hookcast_core::{account::Account, clock::Timestamp, id::AccountId};
use tokio_postgres::types::Type;

use super::{
    Shared,
    catalogue::{self, NEXT_VERSION},
    lanes, locks,
    pool::{Commit, Statement, retrying},
    rows::{self, SubscriptionKey, get, single, uuid},
};
use crate::error::StoreError;

pub(super) const SET_EMAIL: Statement = Statement {
    sql: "UPDATE hookcast.accounts SET user_email = $2 WHERE id = $1 AND deleted_at IS NULL
          RETURNING id, user_id, user_email, created_at",
    types: &[Type::UUID, Type::TEXT],
};
/// Nobody gives it a token meanwhile.
const FIND: Statement = Statement {
    sql: "SELECT key, id, user_id, user_email, created_at FROM hookcast.accounts
          WHERE id = $1 AND deleted_at IS NULL FOR UPDATE",
    types: &[Type::UUID],
};
const DELETE_SUBSCRIPTIONS: Statement = Statement {
    sql: "UPDATE hookcast.subscriptions SET deleted_at = $2, is_active = false, secret = '', version = $3
          WHERE account = $1 AND deleted_at IS NULL RETURNING key",
    types: &[Type::INT8, Type::INT8, Type::INT8],
};
const PARK: Statement = Statement {
    sql: "UPDATE hookcast.lanes SET parked = true WHERE subscription = ANY($1)",
    types: &[Type::INT8_ARRAY],
};
const FORGET_NOTICES: Statement =
    Statement { sql: "DELETE FROM hookcast.notices WHERE subscription = ANY($1)", types: &[Type::INT8_ARRAY] };
const DELETE_TOKENS: Statement =
    Statement { sql: "DELETE FROM hookcast.tokens WHERE account = $1", types: &[Type::INT8] };
const DELETE: Statement = Statement {
    sql: "UPDATE hookcast.accounts SET user_id = $2, user_email = $3, deleted_at = $4 WHERE key = $1",
    types: &[Type::INT8, Type::TEXT, Type::TEXT, Type::INT8],
};

/// Deletes an account with all that is its own; then cancels what waits for its subscriptions, which the next process that joins
/// goes on with where this one dies.
pub(super) async fn delete(shared: &Shared, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    for lane in retrying(|| end(shared, account, now)).await? {
        catalogue::cancel(shared, lane).await?;
    }
    Ok(())
}

/// Answers the lanes of the subscriptions that were deleted with it.
async fn end(shared: &Shared, account: AccountId, now: Timestamp) -> Result<Vec<SubscriptionKey>, StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let answers = transaction.all(&[(&locks::CATALOGUE, &[]), (&FIND, &[&uuid(account.to_bytes())])]).await?;
    let Some(row) = answers.get(1).and_then(|rows| rows.first()) else {
        transaction.rollback().await?;
        return Err(StoreError::NotFound);
    };
    let key: i64 = get(row, 0)?;
    let left: Account = rows::account(row, 1)?.without_person();
    let version: i64 = single(&transaction.query(&NEXT_VERSION, &[]).await?)?;
    let deleted_at = now.as_millis();
    let deleted = transaction.query(&DELETE_SUBSCRIPTIONS, &[&key, &deleted_at, &version]).await?;
    let lanes: Vec<SubscriptionKey> = deleted.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    transaction
        .all(&[
            (&lanes::LOCK, &[&lanes]),
            (&PARK, &[&lanes]),
            (&FORGET_NOTICES, &[&lanes]),
            (&DELETE_TOKENS, &[&key]),
            (&DELETE, &[&key, &left.user_id, &left.user_email, &deleted_at]),
        ])
        .await?;
    transaction.commit().await?;
    Ok(lanes)
}
