-- One row while this store is the target of a copy that is not whole yet, and none otherwise.
CREATE TABLE copying (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    -- How far it has come, as JSON.
    progress TEXT NOT NULL
) STRICT;
