-- What its owner has chosen, as JSON; `secret` holds sealed bytes from now on. Health is as `lanes.probe_at` has it, too.
ALTER TABLE subscriptions ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE subscriptions ADD COLUMN failed_at INTEGER;
ALTER TABLE subscriptions ADD COLUMN recovered_at INTEGER;

-- The breaker is open: nothing is due before this time, and `next_due` is no earlier.
ALTER TABLE lanes ADD COLUMN probe_at INTEGER;

ALTER TABLE events ADD COLUMN order_key TEXT;

-- Those of one group and subscription go out in the order of their sequence: only the first that has not ended has a due time.
ALTER TABLE deliveries ADD COLUMN order_group INTEGER;
ALTER TABLE deliveries ADD COLUMN sequence INTEGER;
CREATE INDEX deliveries_ordered ON deliveries (subscription, order_group, sequence) WHERE order_group IS NOT NULL AND state < 2;

-- Which process over all of its incarnations, if it sends.
ALTER TABLE incarnations ADD COLUMN node INTEGER;

CREATE TABLE notices (
    key           INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    subscription  INTEGER NOT NULL REFERENCES subscriptions (key),
    kind          TEXT NOT NULL,
    time          INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    failure_count INTEGER NOT NULL,
    failing_since INTEGER,
    due_at        INTEGER NOT NULL,
    mail_begun    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_due ON notices (due_at);
