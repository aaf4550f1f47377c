-- What few events have, as JSON: `source_id`, `account`, `deliver_at` in ms, `replay_of`.
ALTER TABLE events ADD COLUMN extra TEXT;
CREATE INDEX events_source ON events (json_extract(extra, '$.source_id'), id) WHERE extra IS NOT NULL;
