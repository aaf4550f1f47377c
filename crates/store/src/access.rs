//! Access to accounts: their tokens.

use async_trait::async_trait;
use hookcast_core::{
    account::Account,
    clock::Timestamp,
    id::AccountId,
    token::{AccessToken, TokenHash, TokenName},
};

use crate::error::StoreError;

/// An account and the token that it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Whose token it is.
    pub account: Account,
    /// Which one it is. It may have expired.
    pub token: AccessToken,
}

/// What became of a wish to delete a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenDeleted {
    /// It is void.
    Done,
    /// It stays: the account has no other valid token of scope write.
    LastWrite,
}

/// The access tokens of accounts, of which a store knows hashes only. What it has answered is on disk.
#[async_trait]
pub trait Access: Send + Sync {
    /// The account with this access token, and what is known of the token.
    ///
    /// # Errors
    /// The store failed.
    async fn bearer(&self, token: TokenHash) -> Result<Option<Bearer>, StoreError>;

    /// An account's tokens in the order of their names, those that have expired too.
    ///
    /// # Errors
    /// The store failed.
    async fn tokens(&self, account: AccountId) -> Result<Vec<AccessToken>, StoreError>;

    /// Gives an account one more token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it has one of this name, [`StoreError::NotFound`] when the account is gone.
    async fn create_token(&self, account: AccountId, token: AccessToken, hash: TokenHash) -> Result<(), StoreError>;

    /// Deletes a token, unless it is of scope write and no other such token of the account is valid.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the account has no token of this name.
    async fn delete_token(
        &self,
        account: AccountId,
        name: TokenName,
        now: Timestamp,
    ) -> Result<TokenDeleted, StoreError>;

    /// Puts a new token in the place of a present one, which is void at once; name, scope and end stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the present one is unknown, [`StoreError::Conflict`] when the new one is known.
    async fn rotate_token(&self, present: TokenHash, new: TokenHash) -> Result<Account, StoreError>;

    /// Gives the account with this `user_id` a new `default` token of scope write and without an end, in place of the present
    /// one if there is one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such account.
    async fn reset_token(&self, user_id: &str, token: TokenHash, now: Timestamp) -> Result<Account, StoreError>;
}
