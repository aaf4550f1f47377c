CREATE TABLE accounts (
    key        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    user_id    TEXT NOT NULL UNIQUE,
    user_email TEXT,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- A deleted subscription keeps its row: the history of its deliveries refers to it.
CREATE TABLE subscriptions (
    key           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    account       INTEGER NOT NULL REFERENCES accounts (key),
    event         TEXT NOT NULL,
    url           TEXT NOT NULL,
    secret        BLOB NOT NULL,
    is_active     INTEGER NOT NULL,
    failure_count INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    created_at    INTEGER NOT NULL,
    deleted_at    INTEGER,
    -- The catalogue's version at the last change that other processes must see.
    version       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX subscriptions_once ON subscriptions (account, event, url) WHERE deleted_at IS NULL;
CREATE INDEX subscriptions_version ON subscriptions (version);

-- What waits for a subscription, in short: finding work reads this and never the deliveries that wait.
CREATE TABLE lanes (
    subscription INTEGER PRIMARY KEY REFERENCES subscriptions (key),
    -- Deliveries of state 0.
    waiting      INTEGER NOT NULL DEFAULT 0,
    -- No delivery is due earlier. NULL: nothing waits.
    next_due     INTEGER,
    -- Inactive: what waits is not due, whatever its time.
    parked       INTEGER NOT NULL,
    -- Deliveries given up unsent, ever.
    expired      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX lanes_due ON lanes (next_due) WHERE next_due IS NOT NULL AND parked = 0;

-- Keys are given in the order of commits. The deliveries of an event have consecutive positions.
CREATE TABLE events (
    key            INTEGER PRIMARY KEY,
    id             BLOB NOT NULL UNIQUE,
    type           TEXT NOT NULL,
    time           INTEGER NOT NULL,
    md5            BLOB NOT NULL,
    first_delivery INTEGER NOT NULL,
    deliveries     INTEGER NOT NULL,
    payload        TEXT NOT NULL
) STRICT;

-- States: 0 waiting, 1 sending, 2 delivered, 3 failed, 4 expired, 5 cancelled.
CREATE TABLE deliveries (
    position     INTEGER PRIMARY KEY,
    event        INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- While it waits: when it is tried next.
    due_at       INTEGER,
    -- While it is sent: the incarnation that does it.
    holder       INTEGER
) STRICT;
CREATE INDEX deliveries_listed ON deliveries (subscription, position);
CREATE INDEX deliveries_due ON deliveries (subscription, due_at) WHERE state = 0;
CREATE INDEX deliveries_oldest ON deliveries (subscription, position) WHERE state = 0;
CREATE INDEX deliveries_held ON deliveries (holder) WHERE holder IS NOT NULL;

CREATE TABLE attempts (
    delivery   INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    -- The answer's HTTP status, or NULL and the stage at which the attempt failed.
    status     INTEGER,
    failure    TEXT,
    -- The beginning of the answer's body, or more about the failure.
    detail     TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE incarnations (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    is_server  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- The first event of each content, within the window in which equal ones are not sent again.
CREATE TABLE fingerprints (
    md5        BLOB PRIMARY KEY,
    event      BLOB NOT NULL,
    first_at   INTEGER NOT NULL,
    -- NULL: never.
    expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX fingerprints_expiry ON fingerprints (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    key         TEXT PRIMARY KEY,
    body_digest BLOB NOT NULL,
    receipts    TEXT NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

-- One row.
CREATE TABLE retention (
    -- The last position that was taken away: none is given a second time.
    purged_to INTEGER NOT NULL
) STRICT;
INSERT INTO retention (purged_to) VALUES (0);

-- One row.
CREATE TABLE catalogue (
    version INTEGER NOT NULL
) STRICT;
INSERT INTO catalogue (version) VALUES (1);
