CREATE TABLE documents (
    key     INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    -- That of its kind at its last change.
    version INTEGER NOT NULL,
    -- JSON.
    body    TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

CREATE TABLE document_kinds (
    kind    TEXT PRIMARY KEY,
    -- Counts the changes of its documents.
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
