CREATE TABLE hookcast.tokens (
    key        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account    bigint NOT NULL REFERENCES hookcast.accounts (key),
    name       text   COLLATE "C" NOT NULL,
    hash       bytea  NOT NULL UNIQUE,
    scope      text   NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    UNIQUE (account, name)
);
INSERT INTO hookcast.tokens (account, name, hash, scope, created_at)
    SELECT key, 'default', token_hash, 'write', created_at FROM hookcast.accounts ORDER BY key;
ALTER TABLE hookcast.accounts DROP COLUMN token_hash;
