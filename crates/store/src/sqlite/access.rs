//! Access tokens.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::AccountId,
    token::{AccessToken, TokenHash, TokenName},
};
use rusqlite::{OptionalExtension as _, Transaction};

use super::{SqliteStore, rows};
use crate::{
    access::{Access, Bearer, TokenDeleted},
    error::StoreError,
};

#[async_trait]
impl Access for SqliteStore {
    async fn bearer(&self, token: TokenHash) -> Result<Option<Bearer>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT a.id, a.user_id, a.user_email, a.created_at, t.name, t.scope, t.created_at, t.expires_at
                 FROM tokens t JOIN accounts a ON a.key = t.account WHERE t.hash = ?",
            )?;
            let mut found = statement.query([token.to_bytes()])?;
            let Some(row) = found.next()? else { return Ok(None) };
            Ok(Some(Bearer { account: rows::account(row, 0)?, token: rows::token(row, 4)? }))
        })
        .await
    }

    async fn tokens(&self, account: AccountId) -> Result<Vec<AccessToken>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT t.name, t.scope, t.created_at, t.expires_at
                 FROM tokens t JOIN accounts a ON a.key = t.account WHERE a.id = ? ORDER BY t.name",
            )?;
            let mut found = statement.query([account.to_bytes()])?;
            let mut tokens = Vec::new();
            while let Some(row) = found.next()? {
                tokens.push(rows::token(row, 0)?);
            }
            Ok(tokens)
        })
        .await
    }

    async fn create_token(&self, account: AccountId, token: AccessToken, hash: TokenHash) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let account = transaction
                .prepare_cached("SELECT key FROM accounts WHERE id = ? AND deleted_at IS NULL")?
                .query_row([account.to_bytes()], |row| row.get(0))?;
            insert(transaction, account, &token, hash)
        })
        .await
    }

    async fn delete_token(
        &self,
        account: AccountId,
        name: TokenName,
        now: Timestamp,
    ) -> Result<TokenDeleted, StoreError> {
        self.write(move |transaction| {
            let (key, is_last): (i64, bool) = transaction
                .prepare_cached(
                    "SELECT t.key, t.scope = 'write' AND NOT EXISTS (
                         SELECT 1 FROM tokens o WHERE o.account = t.account AND o.key <> t.key AND o.scope = 'write'
                             AND (o.expires_at IS NULL OR o.expires_at > ?))
                     FROM tokens t JOIN accounts a ON a.key = t.account WHERE a.id = ? AND t.name = ?",
                )?
                .query_row((now.as_millis(), account.to_bytes(), name.as_str()), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            if is_last {
                return Ok(TokenDeleted::LastWrite);
            }
            transaction.prepare_cached("DELETE FROM tokens WHERE key = ?")?.execute([key])?;
            Ok(TokenDeleted::Done)
        })
        .await
    }

    async fn rotate_token(&self, present: TokenHash, new: TokenHash) -> Result<Account, StoreError> {
        self.write(move |transaction| {
            let account: i64 = transaction
                .prepare_cached("UPDATE tokens SET hash = ? WHERE hash = ? RETURNING account")?
                .query_row((new.to_bytes(), present.to_bytes()), |row| row.get(0))?;
            Ok(transaction
                .prepare_cached("SELECT id, user_id, user_email, created_at FROM accounts WHERE key = ?")?
                .query_row([account], |row| rows::account(row, 0))?)
        })
        .await
    }

    async fn reset_token(&self, user_id: &str, token: TokenHash, now: Timestamp) -> Result<Account, StoreError> {
        let user_id = user_id.to_owned();
        self.write(move |transaction| {
            let (key, account): (i64, Account) = transaction
                .prepare_cached(
                    "SELECT key, id, user_id, user_email, created_at FROM accounts
                     WHERE user_id = ? AND deleted_at IS NULL",
                )?
                .query_row([user_id], |row| Ok((row.get(0)?, rows::account(row, 1)?)))?;
            let present: Option<i64> = transaction
                .prepare_cached("SELECT key FROM tokens WHERE account = ? AND name = ?")?
                .query_row((key, TokenName::first().as_str()), |row| row.get(0))
                .optional()?;
            match present {
                Some(present) => {
                    transaction
                        .prepare_cached("UPDATE tokens SET hash = ?, scope = 'write', expires_at = NULL WHERE key = ?")?
                        .execute((token.to_bytes(), present))?;
                }
                None => insert(transaction, key, &AccessToken::first(now), token)?,
            }
            Ok(account)
        })
        .await
    }
}

/// Gives the account of this key a token.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    account: i64,
    token: &AccessToken,
    hash: TokenHash,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO tokens (account, name, hash, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            account,
            token.name.as_str(),
            hash.to_bytes(),
            token.scope.as_str(),
            token.created_at.as_millis(),
            token.expires_at.map(Timestamp::as_millis),
        ))?;
    Ok(())
}
