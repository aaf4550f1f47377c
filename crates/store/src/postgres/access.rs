//! Access tokens.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::AccountId,
    token::{AccessToken, TokenHash, TokenName},
};
use tokio_postgres::types::Type;

use super::{
    PostgresStore, Shared,
    pool::{Commit, Statement, retrying},
    rows::{self, get, single, uuid},
};
use crate::{
    access::{Access, Bearer, TokenDeleted},
    error::StoreError,
};

const BEARER: Statement = Statement {
    sql: "SELECT a.id, a.user_id, a.user_email, a.created_at, t.name, t.scope, t.created_at, t.expires_at
          FROM hookcast.tokens t JOIN hookcast.accounts a ON a.key = t.account WHERE t.hash = $1",
    types: &[Type::BYTEA],
};
const TOKENS: Statement = Statement {
    sql: "SELECT t.name, t.scope, t.created_at, t.expires_at
          FROM hookcast.tokens t JOIN hookcast.accounts a ON a.key = t.account WHERE a.id = $1 ORDER BY t.name",
    types: &[Type::UUID],
};
const CREATE: Statement = Statement {
    sql: "INSERT INTO hookcast.tokens (account, name, hash, scope, created_at, expires_at)
          SELECT key, $2, $3, $4, $5, $6 FROM hookcast.accounts
          WHERE id = $1 AND deleted_at IS NULL FOR SHARE
          RETURNING key",
    types: &[Type::UUID, Type::TEXT, Type::BYTEA, Type::TEXT, Type::INT8, Type::INT8],
};
/// Of two deletions of one account's tokens the second sees what the first has left.
const LOCK_ACCOUNT: Statement =
    Statement { sql: "SELECT key FROM hookcast.accounts WHERE id = $1 FOR NO KEY UPDATE", types: &[Type::UUID] };
const FIND: Statement = Statement {
    sql: "SELECT t.key, t.scope = 'write' AND NOT EXISTS (
              SELECT FROM hookcast.tokens o WHERE o.account = t.account AND o.key <> t.key AND o.scope = 'write'
                  AND (o.expires_at IS NULL OR o.expires_at > $3))
          FROM hookcast.tokens t JOIN hookcast.accounts a ON a.key = t.account WHERE a.id = $1 AND t.name = $2",
    types: &[Type::UUID, Type::TEXT, Type::INT8],
};
const DELETE: Statement =
    Statement { sql: "DELETE FROM hookcast.tokens WHERE key = $1 RETURNING key", types: &[Type::INT8] };
const ROTATE: Statement = Statement {
    sql: "WITH rotated AS (UPDATE hookcast.tokens SET hash = $2 WHERE hash = $1 RETURNING account)
          SELECT a.id, a.user_id, a.user_email, a.created_at
          FROM rotated r JOIN hookcast.accounts a ON a.key = r.account",
    types: &[Type::BYTEA, Type::BYTEA],
};
const RESET: Statement = Statement {
    sql: "WITH owner AS (SELECT key, id, user_id, user_email, created_at FROM hookcast.accounts
              WHERE user_id = $1 AND deleted_at IS NULL FOR SHARE),
          reset AS (
              INSERT INTO hookcast.tokens (account, name, hash, scope, created_at)
              SELECT key, $2, $3, 'write', $4 FROM owner
              ON CONFLICT (account, name) DO UPDATE SET hash = excluded.hash, scope = 'write', expires_at = NULL)
          SELECT id, user_id, user_email, created_at FROM owner",
    types: &[Type::TEXT, Type::TEXT, Type::BYTEA, Type::INT8],
};

#[async_trait]
impl Access for PostgresStore {
    async fn bearer(&self, token: TokenHash) -> Result<Option<Bearer>, StoreError> {
        let found = self.shared.pool.query(&BEARER, &[&token.to_bytes().to_vec()]).await?;
        let bearer = |row| Ok(Bearer { account: rows::account(row, 0)?, token: rows::token(row, 4)? });
        found.first().map(bearer).transpose()
    }

    async fn tokens(&self, account: AccountId) -> Result<Vec<AccessToken>, StoreError> {
        let found = self.shared.pool.query(&TOKENS, &[&uuid(account.to_bytes())]).await?;
        found.iter().map(|row| rows::token(row, 0)).collect()
    }

    async fn create_token(&self, account: AccountId, token: AccessToken, hash: TokenHash) -> Result<(), StoreError> {
        let (account, hash) = (uuid(account.to_bytes()), hash.to_bytes().to_vec());
        let (created_at, expires_at) = (token.created_at.as_millis(), token.expires_at.map(Timestamp::as_millis));
        let (name, scope) = (token.name.as_str(), token.scope.as_str());
        let created = self.write(&CREATE, &[&account, &name, &hash, &scope, &created_at, &expires_at]).await?;
        single::<i64>(&created).map(drop)
    }

    async fn delete_token(
        &self,
        account: AccountId,
        name: TokenName,
        now: Timestamp,
    ) -> Result<TokenDeleted, StoreError> {
        retrying(|| delete(&self.shared, account, &name, now)).await
    }

    async fn rotate_token(&self, present: TokenHash, new: TokenHash) -> Result<Account, StoreError> {
        let rotated = self.write(&ROTATE, &[&present.to_bytes().to_vec(), &new.to_bytes().to_vec()]).await?;
        rows::account(rotated.first().ok_or(StoreError::NotFound)?, 0)
    }

    async fn reset_token(&self, user_id: &str, token: TokenHash, now: Timestamp) -> Result<Account, StoreError> {
        let (name, token) = (TokenName::first(), token.to_bytes().to_vec());
        let reset = self.write(&RESET, &[&user_id, &name.as_str(), &token, &now.as_millis()]).await?;
        rows::account(reset.first().ok_or(StoreError::NotFound)?, 0)
    }
}

async fn delete(
    shared: &Shared,
    account: AccountId,
    name: &TokenName,
    now: Timestamp,
) -> Result<TokenDeleted, StoreError> {
    let account = uuid(account.to_bytes());
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let answers = transaction
        .all(&[(&LOCK_ACCOUNT, &[&account]), (&FIND, &[&account, &name.as_str(), &now.as_millis()])])
        .await?;
    let Some(row) = answers.get(1).and_then(|rows| rows.first()) else {
        transaction.rollback().await?;
        return Err(StoreError::NotFound);
    };
    let (key, is_last): (i64, bool) = (get(row, 0)?, get(row, 1)?);
    if is_last {
        transaction.rollback().await?;
        return Ok(TokenDeleted::LastWrite);
    }
    transaction.query(&DELETE, &[&key]).await?;
    transaction.commit().await?;
    Ok(TokenDeleted::Done)
}
