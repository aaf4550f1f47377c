-- The access tokens of accounts. `accounts.token_hash`, which has to be unique, is the account's id from now on: no token's hash.
CREATE TABLE tokens (
    key        INTEGER PRIMARY KEY,
    account    INTEGER NOT NULL REFERENCES accounts (key),
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    scope      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (account, name)
) STRICT;
INSERT INTO tokens (account, name, hash, scope, created_at)
    SELECT key, 'default', token_hash, 'write', created_at FROM accounts ORDER BY key;
UPDATE accounts SET token_hash = id;
