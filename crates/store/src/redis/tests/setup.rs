//! Opening a store: by whom, beside what, and of which version.

use hookcast_core::{
    clock::Timestamp,
    token::{AccessToken, TokenHash},
};

use super::{
    super::is_too_old,
    server::{Sender, Server, open},
};
use crate::{Settings, StoreError};

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start(&[]);
    server.command(&["ACL", "SETUSER", "default", "resetpass", ">swordfish"]);
    for login in ["", ":hunter2@", "ada:hunter2@"] {
        let url = server.url.replace("redis://", &format!("redis://{login}"));
        let error = open(&url, Settings::default()).await.err().unwrap();
        assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
        assert!(error.to_string().contains("refuses the user name or the password"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let url = server.url.replace("redis://", "redis://:swordfish@");
    open(&url, Settings::default()).await.unwrap();
}

#[test]
fn old_servers_are_known_by_their_version() {
    assert!(is_too_old("6.2.14") && is_too_old("2.8.0"));
    assert!(!is_too_old("7.0.15") && !is_too_old("10.1.0") && !is_too_old("unstable"));
}

#[tokio::test]
async fn a_user_who_may_do_too_little_is_told() {
    let server = Server::start(&[]);
    server.command(&["ACL", "SETUSER", "hookcast", "on", ">pw", "~other:*", "+@all"]);
    let url = server.url.replace("redis://", "redis://hookcast:pw@");
    let error = open(&url, Settings::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Misconfigured(_)), "{error}");
    // Hints are not among what it needs.
    server.command(&["ACL", "SETUSER", "hookcast", "resetchannels", "~{hookcast}:*"]);
    let mut sender = Sender::new(open(&url, Settings::default()).await.unwrap()).await;
    sender.send(10).await.unwrap();
}

#[tokio::test]
async fn a_store_from_the_future_is_refused() {
    let server = Server::start(&[]);
    server.open().await.unwrap();
    server.command(&["HSET", "{hookcast}:meta", "schema", "9", "reader", "1"]);
    server.open().await.unwrap();
    server.command(&["HSET", "{hookcast}:meta", "reader", "8"]);
    let error = server.open().await.err().unwrap();
    assert!(error.to_string().contains("run a newer Hookcast"), "{error}");
    // Its neighbour is another store.
    open(&format!("{}?prefix=other", server.url), Settings::default()).await.unwrap();
}

#[tokio::test]
async fn the_tokens_of_older_accounts_get_names() {
    let server = Server::start(&[]);
    server.open().await.unwrap();
    // More of them than are done at a time, as an older version has left them.
    let older = "for n = 1, 2500 do
        local id, token = string.format('%016d', n), string.format('%032d', n)
        redis.call('HSET', '{hookcast}:account:' .. n, 'id', id, 'user_id', n, 'token', token, 'made', n)
        redis.call('HSET', '{hookcast}:account-ids', id, n)
        redis.call('HSET', '{hookcast}:user-ids', n, n)
        redis.call('HSET', '{hookcast}:tokens', token, n)
        redis.call('ZADD', '{hookcast}:accounts', n, n)
    end
    redis.call('HSET', '{hookcast}:meta', 'schema', 2, 'reader', 2, 'account', 2500)";
    server.command(&["EVAL", older, "0"]);
    let store = server.open().await.unwrap();
    for number in [1, 1000, 1001, 2500] {
        let hash = TokenHash::from_bytes(format!("{number:032}").into_bytes().try_into().unwrap());
        let found = store.bearer(hash).await.unwrap().unwrap();
        assert_eq!(found.account.user_id, number.to_string());
        assert_eq!(found.token, AccessToken::first(Timestamp::from_millis(number)));
    }
    assert_eq!(server.command(&["HEXISTS", "{hookcast}:account:2500", "token"]), redis::Value::Int(0));
    assert_eq!(server.command(&["HEXISTS", "{hookcast}:meta", "named"]), redis::Value::Int(0));
}

#[tokio::test]
async fn what_else_lives_there_is_left_alone() {
    let server = Server::start(&[]);
    server.command(&["SET", "other", "kept"]);
    server.open().await.unwrap();
    assert_eq!(server.command(&["GET", "other"]), redis::Value::BulkString(b"kept".to_vec()));

    server.command(&["SET", "{mine}:meta", "something else"]);
    let error = open(&format!("{}?prefix=mine", server.url), Settings::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn a_replica_takes_no_store() {
    let (server, replica) = (Server::start(&[]), Server::start(&[]));
    let port = server.url.trim_end_matches('/').rsplit(':').next().unwrap();
    replica.command(&["REPLICAOF", "127.0.0.1", port]);
    let error = replica.open().await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}
