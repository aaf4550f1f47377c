-- What its owner has chosen, as JSON; `secret` holds sealed bytes from now on.
ALTER TABLE hookcast.subscriptions ADD COLUMN options text NOT NULL DEFAULT '{}';

ALTER TABLE hookcast.lanes
    ADD COLUMN failed_at    bigint,
    -- The breaker is open: nothing is due before this time, and `next_due` is no earlier.
    ADD COLUMN probe_at     bigint,
    ADD COLUMN recovered_at bigint,
    -- The last number that was given in the order of acceptance.
    ADD COLUMN sequence     bigint NOT NULL DEFAULT 0;

ALTER TABLE hookcast.events ADD COLUMN order_key text;

-- Those of one group and subscription go out in the order of their sequence, which is that of the commits: positions are given
-- by the block and are not. Only the first that has not ended has a due time.
ALTER TABLE hookcast.unfinished ADD COLUMN order_group bigint, ADD COLUMN sequence bigint;
CREATE INDEX unfinished_ordered ON hookcast.unfinished (subscription, order_group, sequence) WHERE order_group IS NOT NULL;

-- Which process over all of its incarnations, if it sends.
ALTER TABLE hookcast.incarnations ADD COLUMN node bigint;

CREATE TABLE hookcast.notices (
    key           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            uuid    NOT NULL UNIQUE,
    subscription  bigint  NOT NULL REFERENCES hookcast.subscriptions (key),
    kind          text    NOT NULL,
    time          bigint  NOT NULL,
    reason        text    NOT NULL,
    failure_count bigint  NOT NULL,
    failing_since bigint,
    due_at        bigint  NOT NULL,
    mail_begun    boolean NOT NULL DEFAULT false
);
CREATE INDEX notices_due ON hookcast.notices (due_at);
CREATE INDEX notices_subscription ON hookcast.notices (subscription);
