-- One row while this store is the target of a copy that is not whole yet, and none otherwise.
CREATE TABLE hookcast.copying (
    id       integer PRIMARY KEY CHECK (id = 1),
    -- How far it has come, as JSON.
    progress text    NOT NULL
);
