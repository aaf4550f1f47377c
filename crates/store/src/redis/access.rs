//! Access tokens.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::AccountId,
    token::{AccessToken, TokenHash, TokenName},
};

use super::{RedisStore, rows, scripts};
use crate::{
    access::{Access, Bearer, TokenDeleted},
    error::StoreError,
};

#[async_trait]
impl Access for RedisStore {
    async fn bearer(&self, token: TokenHash) -> Result<Option<Bearer>, StoreError> {
        let mut call = self.call(&scripts::BEARER);
        call.arg(&token.to_bytes()[..]);
        match self.run(&call).await {
            Ok(mut reply) => {
                Ok(Some(Bearer { account: rows::account(reply.list()?)?, token: rows::token(reply.list()?)? }))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn tokens(&self, account: AccountId) -> Result<Vec<AccessToken>, StoreError> {
        let mut call = self.call(&scripts::TOKENS);
        call.arg(&account.to_bytes()[..]);
        let mut reply = self.run(&call).await?;
        let mut tokens = Vec::new();
        while !reply.is_empty() {
            tokens.push(rows::token(reply.list()?)?);
        }
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tokens)
    }

    async fn create_token(&self, account: AccountId, token: AccessToken, hash: TokenHash) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::CREATE_TOKEN);
        rows::add_token(&mut call, account, &token, hash);
        self.run(&call).await.map(drop)
    }

    async fn delete_token(
        &self,
        account: AccountId,
        name: TokenName,
        now: Timestamp,
    ) -> Result<TokenDeleted, StoreError> {
        let mut call = self.call(&scripts::DELETE_TOKEN);
        call.arg(&account.to_bytes()[..]).arg(name.as_str()).arg(now.as_millis());
        let reply = self.link.ask(&call).await?;
        if reply.status() == "last" {
            return Ok(TokenDeleted::LastWrite);
        }
        reply.expect_ok().map(|()| TokenDeleted::Done)
    }

    async fn rotate_token(&self, present: TokenHash, new: TokenHash) -> Result<Account, StoreError> {
        let mut call = self.call(&scripts::ROTATE_TOKEN);
        call.arg(&present.to_bytes()[..]).arg(&new.to_bytes()[..]);
        rows::account(self.run(&call).await?.list()?)
    }

    async fn reset_token(&self, user_id: &str, token: TokenHash, now: Timestamp) -> Result<Account, StoreError> {
        let mut call = self.call(&scripts::RESET_TOKEN);
        call.arg(user_id).arg(TokenName::first().as_str()).arg(&token.to_bytes()[..]).arg(now.as_millis());
        rows::account(self.run(&call).await?.list()?)
    }
}
