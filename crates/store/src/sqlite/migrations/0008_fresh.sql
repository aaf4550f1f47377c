-- Events whose deliveries were accepted lately, by the position of the first one. Of those that `holder` has sent at once there is
-- no row in `deliveries` before they have ended, or are given back: most are written once, with what came of them.
CREATE TABLE fresh (
    first_delivery INTEGER PRIMARY KEY,
    event          INTEGER NOT NULL,
    holder         INTEGER,
    deliveries     INTEGER NOT NULL,
    -- The key of each one's subscription, as JSON.
    lanes          TEXT NOT NULL
) STRICT;

-- The deliveries of each subscription, apart from those of fresh events: they are listed by the dozen, as each page that is written
-- has its price.
CREATE TABLE listed (
    subscription INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    PRIMARY KEY (subscription, position)
) STRICT, WITHOUT ROWID;
INSERT INTO listed SELECT subscription, position FROM deliveries ORDER BY subscription, position;
DROP INDEX deliveries_listed;
CREATE INDEX deliveries_failed ON deliveries (subscription, position) WHERE state = 3;

-- The first attempt, if it was answered and its delivery written only then; `attempts` has all others.
ALTER TABLE deliveries ADD COLUMN tried_at INTEGER;
ALTER TABLE deliveries ADD COLUMN latency_ms INTEGER;
ALTER TABLE deliveries ADD COLUMN status INTEGER;
ALTER TABLE deliveries ADD COLUMN answer TEXT;
