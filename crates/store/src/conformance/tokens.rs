//! Access tokens: several of an account, each with its name, scope and end.

use hookcast_core::{
    account::Account,
    token::{AccessToken, Scope, TokenHash},
};

use super::world::{NOW, World, at, owner};
use crate::{
    StoreError,
    access::{Bearer, TokenDeleted},
};

cases![
    an_account_begins_with_one_token,
    a_token_is_found_with_all_that_is_known_of_it,
    tokens_are_listed_by_name,
    names_are_taken_once_in_an_account,
    a_token_is_made_for_nobody_unknown,
    a_deleted_token_is_void_at_once,
    the_last_valid_token_for_changes_stays,
    of_two_last_tokens_that_go_at_once_one_stays,
    a_rotated_token_keeps_all_but_itself,
    a_token_that_is_gone_is_rotated_no_more,
    a_token_that_was_deleted_is_made_anew_by_a_reset,
];

fn token(name: &str, scope: Scope, end: Option<u64>) -> AccessToken {
    AccessToken { name: name.parse().unwrap(), scope, created_at: at(1), expires_at: end.map(at) }
}

/// An account and the hash of its first token.
async fn registered(world: &World, user_id: &str) -> (Account, TokenHash) {
    let (account, hash) = (world.new_account(user_id), world.new_token());
    world.store().create_account(account.clone(), hash).await.unwrap();
    (account, hash)
}

async fn give(world: &World, account: &Account, token: &AccessToken) -> TokenHash {
    let hash = world.new_token();
    world.store().create_token(account.id, token.clone(), hash).await.unwrap();
    hash
}

async fn names(world: &World, account: &Account) -> Vec<String> {
    let tokens = world.store().tokens(account.id).await.unwrap();
    tokens.iter().map(|token| token.name.to_string()).collect()
}

async fn delete(world: &World, account: &Account, name: &str) -> Result<TokenDeleted, StoreError> {
    world.store().delete_token(account.id, name.parse().unwrap(), at(100)).await
}

async fn an_account_begins_with_one_token(world: World) {
    let (ada, hash) = registered(&world, "ada").await;
    let first = AccessToken::first(NOW);
    assert_eq!(world.store().tokens(ada.id).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(world.store().bearer(hash).await.unwrap(), Some(Bearer { account: ada, token: first }));
}

async fn a_token_is_found_with_all_that_is_known_of_it(world: World) {
    let (ada, _) = registered(&world, "ada").await;
    for token in [token("a.b-c_D", Scope::Read, Some(9)), token("w", Scope::Write, None), token("r", Scope::Read, None)]
    {
        let hash = give(&world, &ada, &token).await;
        let found = Some(Bearer { account: ada.clone(), token });
        assert_eq!(world.store().bearer(hash).await.unwrap(), found);
        assert_eq!(world.process().await.store.bearer(hash).await.unwrap(), found);
    }
}

async fn tokens_are_listed_by_name(world: World) {
    let ((ada, _), (bob, _)) = (registered(&world, "ada").await, registered(&world, "bob").await);
    for name in ["z", "a", "A", "m", "a-b", "a.b"] {
        give(&world, &ada, &token(name, Scope::Read, None)).await;
    }
    assert_eq!(names(&world, &ada).await, ["A", "a", "a-b", "a.b", "default", "m", "z"]);
    assert_eq!(names(&world, &bob).await, ["default"]);
    assert!(names(&world, &world.new_account("eve")).await.is_empty());
}

async fn names_are_taken_once_in_an_account(world: World) {
    let ((ada, _), (bob, _)) = (registered(&world, "ada").await, registered(&world, "bob").await);
    let hash = give(&world, &ada, &token("ci", Scope::Read, None)).await;
    let (again, other) = (token("ci", Scope::Write, None), world.new_token());
    let refused = world.store().create_token(ada.id, again.clone(), other).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    assert_eq!(owner(world.store(), other).await, None);
    let same = world.store().create_token(bob.id, again.clone(), hash).await;
    assert!(matches!(same, Err(StoreError::Conflict)));
    give(&world, &bob, &again).await;
    assert_eq!(world.store().bearer(hash).await.unwrap().unwrap().token.scope, Scope::Read);
}

async fn a_token_is_made_for_nobody_unknown(world: World) {
    let stranger = world.new_account("ada");
    let made = world.store().create_token(stranger.id, token("t", Scope::Write, None), world.new_token()).await;
    assert!(matches!(made, Err(StoreError::NotFound)));
}

async fn a_deleted_token_is_void_at_once(world: World) {
    let ((ada, first), (bob, bobs)) = (registered(&world, "ada").await, registered(&world, "bob").await);
    let hash = give(&world, &ada, &token("ci", Scope::Write, None)).await;
    assert!(matches!(delete(&world, &bob, "ci").await, Err(StoreError::NotFound)));
    assert_eq!(delete(&world, &ada, "default").await.unwrap(), TokenDeleted::Done);
    for store in [world.store(), &world.process().await.store] {
        assert_eq!(owner(store, first).await, None);
        assert_eq!(owner(store, hash).await, Some(ada.clone()));
        assert_eq!(owner(store, bobs).await, Some(bob.clone()));
    }
    assert!(matches!(delete(&world, &ada, "default").await, Err(StoreError::NotFound)));
    assert!(matches!(delete(&world, &world.new_account("eve"), "default").await, Err(StoreError::NotFound)));
}

async fn the_last_valid_token_for_changes_stays(world: World) {
    let (ada, _) = registered(&world, "ada").await;
    give(&world, &ada, &token("reads", Scope::Read, None)).await;
    give(&world, &ada, &token("expired", Scope::Write, Some(100))).await;
    assert_eq!(delete(&world, &ada, "default").await.unwrap(), TokenDeleted::LastWrite);
    assert_eq!(delete(&world, &ada, "reads").await.unwrap(), TokenDeleted::Done);
    assert_eq!(delete(&world, &ada, "expired").await.unwrap(), TokenDeleted::Done);
    give(&world, &ada, &token("lasts", Scope::Write, Some(101))).await;
    assert_eq!(delete(&world, &ada, "default").await.unwrap(), TokenDeleted::Done);
    assert_eq!(delete(&world, &ada, "lasts").await.unwrap(), TokenDeleted::LastWrite);
    assert_eq!(names(&world, &ada).await, ["lasts"]);
}

async fn of_two_last_tokens_that_go_at_once_one_stays(world: World) {
    let (ada, _) = registered(&world, "ada").await;
    give(&world, &ada, &token("two", Scope::Write, None)).await;
    let other = world.process().await;
    let name = |name: &str| name.parse().unwrap();
    let (one, two) = tokio::join!(
        world.store().delete_token(ada.id, name("default"), at(1)),
        other.store.delete_token(ada.id, name("two"), at(1)),
    );
    let outcomes = [one.unwrap(), two.unwrap()];
    assert!(outcomes.contains(&TokenDeleted::Done) && outcomes.contains(&TokenDeleted::LastWrite), "{outcomes:?}");
    assert_eq!(names(&world, &ada).await.len(), 1);
}

async fn a_rotated_token_keeps_all_but_itself(world: World) {
    let ((ada, first), (_, bobs)) = (registered(&world, "ada").await, registered(&world, "bob").await);
    let ci = token("ci", Scope::Read, Some(9));
    let (old, new) = (give(&world, &ada, &ci).await, world.new_token());
    assert_eq!(world.store().rotate_token(old, new).await.unwrap(), ada);
    for store in [world.store(), &world.process().await.store] {
        assert_eq!(owner(store, old).await, None);
        assert_eq!(owner(store, first).await, Some(ada.clone()));
        assert_eq!(store.bearer(new).await.unwrap(), Some(Bearer { account: ada.clone(), token: ci.clone() }));
    }
    assert!(matches!(world.store().rotate_token(new, bobs).await, Err(StoreError::Conflict)));
    assert_eq!(owner(world.store(), new).await, Some(ada));
}

async fn a_token_that_is_gone_is_rotated_no_more(world: World) {
    let (_, old) = registered(&world, "ada").await;
    let (one, two) = (world.new_token(), world.new_token());
    world.store().rotate_token(old, one).await.unwrap();
    assert!(matches!(world.store().rotate_token(old, two).await, Err(StoreError::NotFound)));
    assert_eq!(owner(world.store(), two).await, None);
}

async fn a_token_that_was_deleted_is_made_anew_by_a_reset(world: World) {
    let (ada, _) = registered(&world, "ada").await;
    let kept = give(&world, &ada, &token("kept", Scope::Write, None)).await;
    delete(&world, &ada, "default").await.unwrap();
    give(&world, &ada, &token("default", Scope::Read, Some(9))).await;
    for _ in 0..2 {
        let hash = world.new_token();
        assert_eq!(world.store().reset_token("ada", hash, at(7)).await.unwrap(), ada);
        let found = world.store().bearer(hash).await.unwrap().unwrap().token;
        assert_eq!((found.name.as_str(), found.scope, found.expires_at), ("default", Scope::Write, None));
        assert_eq!(found.created_at, at(1));
    }
    delete(&world, &ada, "default").await.unwrap();
    let hash = world.new_token();
    world.store().reset_token("ada", hash, at(7)).await.unwrap();
    assert_eq!(world.store().bearer(hash).await.unwrap().unwrap().token, AccessToken::first(at(7)));
    assert_eq!(owner(world.store(), kept).await, Some(ada));
}
