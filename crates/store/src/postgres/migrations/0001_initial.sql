CREATE TABLE hookcast.accounts (
    key        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid   NOT NULL UNIQUE,
    user_id    text   NOT NULL UNIQUE,
    user_email text,
    token_hash bytea  NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- A deleted subscription keeps its row: the history of its deliveries refers to it.
CREATE TABLE hookcast.subscriptions (
    key        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid    NOT NULL UNIQUE,
    account    bigint  NOT NULL REFERENCES hookcast.accounts (key),
    event      text    NOT NULL,
    url        text    NOT NULL,
    secret     bytea   NOT NULL,
    is_active  boolean NOT NULL,
    created_at bigint  NOT NULL,
    deleted_at bigint,
    -- The catalogue's version at the last change that other processes must see.
    version    bigint  NOT NULL
);
-- By its digest, since a URL may be longer than an index entry.
CREATE UNIQUE INDEX subscriptions_once ON hookcast.subscriptions (account, event, md5(url)) WHERE deleted_at IS NULL;
CREATE INDEX subscriptions_version ON hookcast.subscriptions (version);

-- What changes often about a subscription: what waits for it, in short, and its failures in a row. Finding work reads this and
-- never the deliveries that wait. Whoever changes what waits for a subscription locks its row first, several in the order of
-- their keys.
CREATE TABLE hookcast.lanes (
    subscription  bigint  PRIMARY KEY REFERENCES hookcast.subscriptions (key),
    waiting       bigint  NOT NULL DEFAULT 0,
    -- No delivery is due earlier. NULL: nothing waits.
    next_due      bigint,
    -- Inactive: what waits is not due, whatever its time.
    parked        boolean NOT NULL,
    -- Deliveries given up unsent, ever.
    expired       bigint  NOT NULL DEFAULT 0,
    failure_count bigint  NOT NULL DEFAULT 0,
    failing_since bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX lanes_due ON hookcast.lanes (next_due) WHERE next_due IS NOT NULL AND NOT parked;
-- Whom a success concerns.
CREATE INDEX lanes_failing ON hookcast.lanes (subscription) WHERE failure_count > 0;

-- The deliveries of an event have consecutive positions.
CREATE TABLE hookcast.events (
    time           bigint NOT NULL,
    id             uuid   NOT NULL,
    type           text   NOT NULL,
    md5            bytea  NOT NULL,
    first_delivery bigint NOT NULL,
    deliveries     bigint NOT NULL,
    payload        text   NOT NULL,
    PRIMARY KEY (time, id)
) PARTITION BY RANGE (time);

-- Deliveries that have not ended: those without a holder wait. Rows come and go; what has ended is in `finished`, so that this
-- table and its indexes stay as small as what is left to do, and the history is written once and dropped by the day.
CREATE TABLE hookcast.unfinished (
    -- Its event's.
    time         bigint  NOT NULL,
    position     bigint  NOT NULL,
    subscription bigint  NOT NULL,
    event        uuid    NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    -- The attempts so far, a line of JSON each.
    log          text    NOT NULL DEFAULT '',
    -- While it waits: when it is tried next.
    due_at       bigint,
    -- While it is sent: the incarnation that does it.
    holder       bigint,
    PRIMARY KEY (time, position)
) WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX unfinished_due ON hookcast.unfinished (subscription, due_at, time, position) WHERE holder IS NULL;
CREATE INDEX unfinished_oldest ON hookcast.unfinished (subscription, time, position) WHERE holder IS NULL;
CREATE INDEX unfinished_held ON hookcast.unfinished (holder, subscription) WHERE holder IS NOT NULL;

-- States: 2 delivered, 3 failed, 4 expired, 5 cancelled.
CREATE TABLE hookcast.finished (
    time         bigint   NOT NULL,
    position     bigint   NOT NULL,
    subscription bigint   NOT NULL,
    event        uuid     NOT NULL,
    state        smallint NOT NULL,
    attempts     integer  NOT NULL,
    log          text     NOT NULL,
    PRIMARY KEY (time, position)
) PARTITION BY RANGE (time);
CREATE INDEX finished_listed ON hookcast.finished (subscription, time, position);
-- Nearly all are delivered.
CREATE INDEX finished_otherwise ON hookcast.finished (subscription, state, time, position) WHERE state <> 2;

CREATE TABLE hookcast.incarnations (
    key        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    is_server  boolean NOT NULL,
    expires_at bigint  NOT NULL
);

-- The first event of each content, within the window in which equal ones are not sent again.
CREATE TABLE hookcast.fingerprints (
    md5        bytea  PRIMARY KEY,
    event      uuid   NOT NULL,
    first_at   bigint NOT NULL,
    -- NULL: never.
    expires_at bigint
);
CREATE INDEX fingerprints_expiry ON hookcast.fingerprints (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE hookcast.idempotency_keys (
    key         text   PRIMARY KEY,
    body_digest bytea  NOT NULL,
    receipts    text   NOT NULL,
    expires_at  bigint NOT NULL
);
CREATE INDEX idempotency_keys_expiry ON hookcast.idempotency_keys (expires_at);

-- One row.
CREATE TABLE hookcast.catalogue (
    version bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO hookcast.catalogue (version) VALUES (1);

-- One row. Nodes take positions by the block; none is given a second time.
CREATE TABLE hookcast.positions (
    next bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO hookcast.positions (next) VALUES (1);
