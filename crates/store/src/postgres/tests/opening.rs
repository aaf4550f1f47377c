//! Opening a store: with which password, of which version.

use std::fs;

use hookcast_core::{
    clock::Timestamp,
    token::{AccessToken, TokenHash},
};

use super::server::{Server, sql};
use crate::{
    Access as _, Settings, StoreError,
    conformance::place,
    postgres::{PostgresStore, schema},
};

async fn refused(url: &str) -> StoreError {
    PostgresStore::open(url, &Settings::default()).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start();
    server.sql("ALTER ROLE hookcast PASSWORD 'swordfish'; CREATE ROLE weak LOGIN PASSWORD 'swordfish'").await;
    fs::write(server.data().join("pg_hba.conf"), "host all all all scram-sha-256\n").unwrap();
    server.set(&[]);
    let url = |login: &str, database: &str| format!("postgres://{login}@127.0.0.1:{}/{database}", server.port());
    PostgresStore::open(&url("hookcast:swordfish", "postgres"), &Settings::default()).await.unwrap();
    for (login, database, told) in [
        ("hookcast:hunter2", "postgres", "password authentication failed"),
        ("nobody:hunter2", "postgres", "password authentication failed"),
        ("hookcast:swordfish", "missing", "does not exist"),
        ("weak:swordfish", "template1", "permission denied"),
    ] {
        let error = refused(&url(login, database)).await;
        assert!(matches!(error, StoreError::Misconfigured(_)), "{login}: {error:?}");
        assert!(error.to_string().contains(told), "{login}: {error}");
        for secret in ["hunter2", "swordfish"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
        }
    }
    let error = refused(&url("hookcast", "postgres")).await;
    assert!(error.to_string().contains("password missing"), "{error}");
}

#[tokio::test]
async fn a_store_from_the_future_is_refused_and_one_of_a_neighbour_is_not() {
    let url = place::postgres_url().await;
    PostgresStore::open(&url, &Settings::default()).await.unwrap();
    let known = schema::newest();
    sql(&url, &format!("INSERT INTO hookcast.schema VALUES ({}, {known})", known + 2)).await;
    PostgresStore::open(&url, &Settings::default()).await.unwrap();
    sql(&url, "INSERT INTO hookcast.schema VALUES (99, 99)").await;
    let error = refused(&url).await;
    assert!(error.to_string().contains("run a newer Hookcast"), "{error}");
}

#[tokio::test]
async fn the_token_of_an_older_account_gets_a_name() {
    let url = place::postgres_url().await;
    sql(
        &url,
        "CREATE SCHEMA hookcast; CREATE TABLE hookcast.schema (version integer PRIMARY KEY, readable_by integer)",
    )
    .await;
    for migration in [
        include_str!("../migrations/0001_initial.sql"),
        include_str!("../migrations/0002_copying.sql"),
        include_str!("../migrations/0003_trust.sql"),
    ] {
        sql(&url, migration).await;
    }
    sql(
        &url,
        "INSERT INTO hookcast.schema VALUES (3, 3);
         INSERT INTO hookcast.accounts (id, user_id, token_hash, created_at)
         SELECT gen_random_uuid(), 'ada', decode(repeat('07', 32), 'hex'), 5",
    )
    .await;
    let store = PostgresStore::open(&url, &Settings::default()).await.unwrap();
    let found = store.bearer(TokenHash::from_bytes([7; 32])).await.unwrap().unwrap();
    assert_eq!(found.account.user_id, "ada");
    assert_eq!(found.token, AccessToken::first(Timestamp::from_millis(5)));
}

#[tokio::test]
async fn nodes_that_start_at_once_make_the_tables_once() {
    let url = place::postgres_url().await;
    let opened = (0..5).map(async |_| PostgresStore::open(&url, &Settings::default()).await);
    for store in futures_util::future::join_all(opened).await {
        store.unwrap();
    }
}
