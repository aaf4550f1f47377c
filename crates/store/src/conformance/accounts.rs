//! Accounts, and the tokens that they begin with.

use super::world::{NOW, World, owner, pages};
use crate::StoreError;

cases![
    an_account_is_found_by_its_token,
    an_unknown_token_finds_nobody,
    a_user_id_is_taken_once,
    a_user_id_is_taken_once_by_two_processes_at_once,
    a_token_that_was_reset_is_void_at_once,
    a_token_is_reset_for_nobody_unknown,
    accounts_are_listed_in_the_order_of_registration,
];

async fn an_account_is_found_by_its_token(world: World) {
    let (mut ada, bob) = (world.new_account("ada"), world.new_account("bob"));
    ada.user_email = None;
    let (ada_token, bob_token) = (world.new_token(), world.new_token());
    world.store().create_account(ada.clone(), ada_token).await.unwrap();
    world.store().create_account(bob.clone(), bob_token).await.unwrap();

    assert_eq!(owner(world.store(), ada_token).await, Some(ada));
    assert_eq!(owner(&world.process().await.store, bob_token).await, Some(bob));
}

async fn an_unknown_token_finds_nobody(world: World) {
    world.account("ada").await;
    assert_eq!(owner(world.store(), world.new_token()).await, None);
}

async fn a_user_id_is_taken_once(world: World) {
    let ada = world.account("ada").await;
    let (namesake, token) = (world.new_account("ada"), world.new_token());
    assert!(matches!(world.store().create_account(namesake, token).await, Err(StoreError::Conflict)));

    assert_eq!(owner(world.store(), token).await, None);
    assert_eq!(all(&world, 10).await, ["ada"]);
    assert_eq!(world.store().reset_token("ada", world.new_token(), NOW).await.unwrap(), ada);
}

async fn a_user_id_is_taken_once_by_two_processes_at_once(world: World) {
    let other = world.process().await;
    let (one, two) = tokio::join!(
        world.store().create_account(world.new_account("ada"), world.new_token()),
        other.store.create_account(world.new_account("ada"), world.new_token()),
    );
    assert_ne!(one.is_ok(), two.is_ok());
    assert!(matches!(one.and(two), Err(StoreError::Conflict)));
    assert_eq!(all(&world, 10).await, ["ada"]);
}

async fn a_token_that_was_reset_is_void_at_once(world: World) {
    let (ada, bob) = (world.new_account("ada"), world.new_account("bob"));
    let (old, new, bobs) = (world.new_token(), world.new_token(), world.new_token());
    world.store().create_account(ada.clone(), old).await.unwrap();
    world.store().create_account(bob.clone(), bobs).await.unwrap();

    assert_eq!(world.store().reset_token("ada", new, NOW).await.unwrap(), ada);
    for store in [world.store(), &world.process().await.store] {
        assert_eq!(owner(store, old).await, None);
        assert_eq!(owner(store, new).await, Some(ada.clone()));
        assert_eq!(owner(store, bobs).await, Some(bob.clone()));
    }
}

async fn a_token_is_reset_for_nobody_unknown(world: World) {
    world.account("ada").await;
    let reset = world.store().reset_token("Ada", world.new_token(), NOW).await;
    assert!(matches!(reset, Err(StoreError::NotFound)));
}

async fn accounts_are_listed_in_the_order_of_registration(world: World) {
    assert!(all(&world, 3).await.is_empty());
    let names = ["gil", "ada", "fay", "bob", "eve", "cat", "dan"];
    for name in names {
        world.account(name).await;
    }
    for limit in [1, 3, 7, 8] {
        assert_eq!(all(&world, limit).await, names);
    }
}

/// Every `user_id`, read in pages of `limit`.
async fn all(world: &World, limit: u32) -> Vec<String> {
    let accounts = pages(limit, async |page| world.store().accounts(page).await.unwrap()).await;
    accounts.into_iter().map(|account| account.user_id).collect()
}
