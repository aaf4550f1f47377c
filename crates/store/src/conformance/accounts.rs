//! Accounts, and the tokens that they begin with.

use hookcast_core::{account::Account, delivery::DeliveryState, token::AccessToken};

use super::world::{ALL, NOW, World, at, owner, pages};
use crate::StoreError;

cases![
    an_account_is_found_by_its_token,
    an_unknown_token_finds_nobody,
    a_user_id_is_taken_once,
    a_user_id_is_taken_once_by_two_processes_at_once,
    a_token_that_was_reset_is_void_at_once,
    a_token_is_reset_for_nobody_unknown,
    accounts_are_listed_in_the_order_of_registration,
    an_email_address_is_changed_and_removed,
    a_deleted_account_is_gone_with_all_that_is_its_own,
    the_history_forgets_who_a_deleted_account_was,
    the_name_of_a_deleted_account_is_free,
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

async fn an_email_address_is_changed_and_removed(world: World) {
    let (ada, bob) = (world.account("ada").await, world.account("bob").await);
    for email in [Some("new@example.org".to_owned()), None, Some("back@example.org".to_owned())] {
        let changed = Account { user_email: email.clone(), ..ada.clone() };
        assert_eq!(world.store().set_email(ada.id, email).await.unwrap(), changed);
        assert_eq!(world.store().accounts(ALL).await.unwrap().items, [changed, bob.clone()]);
    }
    let unknown = world.store().set_email(world.new_account("eve").id, None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
}

async fn a_deleted_account_is_gone_with_all_that_is_its_own(world: World) {
    let (ada, token) = (world.new_account("ada"), world.new_token());
    world.store().create_account(ada.clone(), token).await.unwrap();
    let bob = world.subscriber("x").await;
    let mut subscriptions = Vec::new();
    for number in 0..3 {
        subscriptions.push(world.subscription(&ada, "x", &format!("https://ada.example/{number}")).await);
    }
    world.batch().event("x").to(subscriptions.iter().chain([&bob])).accept().await;
    let version = world.version().await;

    world.store().delete_account(ada.id, at(1)).await.unwrap();
    for store in [world.store(), &world.process().await.store] {
        assert_eq!(owner(store, token).await, None);
        assert!(store.tokens(ada.id).await.unwrap().is_empty());
        assert!(store.subscriptions(Some(ada.id), ALL).await.unwrap().items.is_empty());
        let mut deleted = store.changes_since(version).await.unwrap().deleted;
        deleted.sort();
        assert_eq!(deleted, subscriptions.iter().map(|subscription| subscription.id).collect::<Vec<_>>());
    }
    for subscription in &subscriptions {
        assert_eq!(world.states(subscription).await, [DeliveryState::Cancelled]);
    }
    assert_eq!(world.states(&bob).await, [DeliveryState::Waiting]);

    let again = world.store().delete_account(ada.id, at(2)).await;
    assert!(matches!(again, Err(StoreError::NotFound)));
    let email = world.store().set_email(ada.id, None).await;
    assert!(matches!(email, Err(StoreError::NotFound)));
    let token = world.store().create_token(ada.id, AccessToken::first(NOW), world.new_token()).await;
    assert!(matches!(token, Err(StoreError::NotFound)));
    for name in ["ada", &ada.id.to_string()] {
        let reset = world.store().reset_token(name, world.new_token(), NOW).await;
        assert!(matches!(reset, Err(StoreError::NotFound)));
    }
    let subscribed = world.store().subscribe(world.new_subscription(&ada, "x", "https://ada.example/0"), None).await;
    assert!(matches!(subscribed, Err(StoreError::NotFound)));
}

async fn the_history_forgets_who_a_deleted_account_was(world: World) {
    let ada = world.account("ada").await;
    let subscription = world.subscription(&ada, "x", "https://ada.example").await;
    let event = world.batch().event("x").to([&subscription]).accept_one().await;
    world.store().delete_account(ada.id, at(1)).await.unwrap();
    let record = &world.store().event(event, ALL).await.unwrap().deliveries.items[0];
    assert_eq!(record.user_id, ada.id.to_string());
    assert_eq!(world.deliveries(&subscription).await[0].user_id, ada.id.to_string());
}

async fn the_name_of_a_deleted_account_is_free(world: World) {
    let first = world.account("ada").await;
    world.store().delete_account(first.id, at(1)).await.unwrap();
    assert!(all(&world, 10).await.is_empty());
    let (impostor, token) = (world.new_account(&first.id.to_string()), world.new_token());
    let taken = world.store().create_account(impostor, token).await;
    assert!(matches!(taken, Err(StoreError::Conflict)), "the history has it under this name");
    let second = world.account("ada").await;
    assert_ne!(first.id, second.id);
    world.store().delete_account(second.id, at(2)).await.unwrap();
    let third = world.account("ada").await;
    assert_eq!(world.store().accounts(ALL).await.unwrap().items, [third]);
}

/// Every `user_id`, read in pages of `limit`.
async fn all(world: &World, limit: u32) -> Vec<String> {
    let accounts = pages(limit, async |page| world.store().accounts(page).await.unwrap()).await;
    accounts.into_iter().map(|account| account.user_id).collect()
}
