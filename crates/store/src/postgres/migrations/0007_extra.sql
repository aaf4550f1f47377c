-- What few events have: `source_id`, `account`, `deliver_at` in ms, `replay_of`.
ALTER TABLE hookcast.events ADD COLUMN extra jsonb;
CREATE INDEX events_source ON hookcast.events ((extra->>'source_id'), time, id) WHERE extra IS NOT NULL;
