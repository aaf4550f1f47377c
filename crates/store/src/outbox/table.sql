CREATE TABLE {table} (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event     text NOT NULL,
    payload   json NOT NULL,
    -- Leave out what you have no use for: the ordering key, your own id of the event (else it is the row's), the `user_id` of the
    -- one account that gets it.
    key       text,
    source_id text,
    account   text,
    -- Hookcast's own. A row whose event cannot be accepted stays, with the reason in `error`; set that to NULL to try again.
    batch     uuid,
    error     text
);
CREATE INDEX ON {table} (id) WHERE batch IS NOT NULL;

-- Not needed: with it events go out at once, and not within a second.
CREATE OR REPLACE FUNCTION hookcast_outbox_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY hookcast_outbox;
    RETURN NULL;
END $$;
CREATE TRIGGER hookcast_outbox AFTER INSERT ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION hookcast_outbox_tell();
