-- 0008_erasure: originals are removed for good, and nothing stored later passes for what was removed.
-- requires: 0007_rotation
-- The operator calls functions; no key is needed. Functions check their input by hand: a constraint's error would print
-- the row.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.erasure (
    id           uuid        PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind IN ('tokens', 'user', 'retention')),
    masked_rows  text        NOT NULL CHECK (masked_rows IN ('keep', 'clear', 'delete')),
    shared       text        NOT NULL CHECK (shared IN ('keep', 'erase')),
    domain       text        NULL,
    cutoff       date        NULL,
    subject      bytea       NULL CHECK (octet_length(subject) = 32),
    state        text        NOT NULL CHECK (state IN ('planned', 'running', 'finished')),
    started_by   name        NOT NULL DEFAULT session_user,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz NULL,
    own_rows     bigint      NOT NULL DEFAULT 0,
    rows_done    boolean     NOT NULL DEFAULT false,
    asked        bigint      NOT NULL DEFAULT 0,
    erased       bigint      NOT NULL DEFAULT 0,
    absent       bigint      NOT NULL DEFAULT 0,
    kept         bigint      NOT NULL DEFAULT 0,
    rows_cleared bigint      NOT NULL DEFAULT 0,
    rows_deleted bigint      NOT NULL DEFAULT 0,
    keys_dropped bigint      NOT NULL DEFAULT 0,
    CHECK ((kind = 'retention') = (cutoff IS NOT NULL))
);
COMMENT ON TABLE  vault.erasure         IS 'One request to erase and how far it is; never whose.';
COMMENT ON COLUMN vault.erasure.cutoff  IS 'retention: values last seen before this UTC date go.';
COMMENT ON COLUMN vault.erasure.subject IS 'While unfinished: SHA-256 of the id and what was asked, to know it again.';

CREATE TABLE vault.erasure_item (
    erasure     uuid    NOT NULL,
    token       text    COLLATE "C" NOT NULL,
    state       text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'erased', 'absent', 'kept')),
    held        bigint  NOT NULL DEFAULT 0,
    other_users bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (erasure, token)
);
COMMENT ON TABLE  vault.erasure_item             IS 'Tokens of an unfinished erasure; gone when it ends.';
COMMENT ON COLUMN vault.erasure_item.held        IS 'Masked rows that hold the token, or one of the same value.';
COMMENT ON COLUMN vault.erasure_item.other_users IS 'Users other than the one asked for; of a single token, all but one.';

CREATE TABLE vault.erased_token (
    token     uuid        PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erasure   uuid        NOT NULL,
    rotation  uuid        NULL
);
COMMENT ON TABLE  vault.erased_token          IS 'Tombstones: what once had an original. It has one again if vault.original holds it.';
COMMENT ON COLUMN vault.erased_token.rotation IS 'The rotation that had made or sealed the original, for its verify.';

-- Erasing takes this table's lock, ingest shares it: no batch is under way while originals go.
CREATE TABLE vault.erasure_gate (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch     bigint  NOT NULL DEFAULT 0
);
COMMENT ON TABLE vault.erasure_gate IS 'How often originals were removed: what an ingest run remembers ends with it.';
INSERT INTO vault.erasure_gate DEFAULT VALUES;

-- First statement of an ingest batch. Until its transaction ends no original is removed, so that "it stands already" stays
-- true. Returns the epoch: where it differs from the last one, originals that the run has sent may be gone.
-- A table lock, because its queue is fair, and because only the owner can take it: any role could hold an advisory lock.
CREATE FUNCTION vault.enter_batch() RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE vault.erasure_gate IN ROW SHARE MODE;
    RETURN (SELECT gate.epoch FROM vault.erasure_gate AS gate);
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.enter_batch() TO tokenvault_ingest;

SELECT vault.record_migration(8, 'erasure');

COMMIT;
