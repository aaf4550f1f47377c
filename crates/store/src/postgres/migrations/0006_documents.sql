CREATE TABLE hookcast.documents (
    key     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    text   NOT NULL,
    name    text   COLLATE "C" NOT NULL,
    -- That of its kind at its last change.
    version bigint NOT NULL,
    -- JSON.
    body    text   NOT NULL,
    UNIQUE (kind, name)
);

CREATE TABLE hookcast.document_kinds (
    kind    text   PRIMARY KEY,
    -- Counts the changes of its documents. Whoever changes one changes this first, so that changes of one kind go one after the other.
    version bigint NOT NULL
);
