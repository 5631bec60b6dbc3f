-- 0004_ingest: what lets a batch be driven twice and count once; the quarantine; runs.
-- requires: 0003_user_logins
-- The ingest role inserts into five tables and reads none. Every other verb is a function here.
-- Functions check their input by hand: a constraint's error would print the row.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.ingest_run (
    id          uuid        PRIMARY KEY,
    source      text        NOT NULL,
    started_by  name        NOT NULL DEFAULT session_user,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz NULL,
    outcome     text        NULL,
    stored      bigint      NOT NULL DEFAULT 0,
    repeated    bigint      NOT NULL DEFAULT 0,
    quarantined bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE  vault.ingest_run          IS 'One ingest run and its counts, moved in the transaction of each batch.';
COMMENT ON COLUMN vault.ingest_run.repeated IS 'Records that were stored before: redelivered, or read again.';
CREATE INDEX ingest_run_started_at ON vault.ingest_run (started_at);

CREATE TABLE vault.ingest_message (
    queue       text        NOT NULL,
    message_id  text        COLLATE "C" NOT NULL,
    key_version integer     NOT NULL,
    body_mac    bytea       NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, message_id)
);
COMMENT ON TABLE  vault.ingest_message             IS 'Messages that are stored; kept 15 days (a queue keeps 14).';
COMMENT ON COLUMN vault.ingest_message.key_version IS 'Token key version whose MAC subkey made body_mac.';
CREATE INDEX ingest_message_received_at ON vault.ingest_message (received_at);

CREATE TABLE vault.ingest_file (
    id               uuid        PRIMARY KEY,
    name             text        NOT NULL,
    key_version      integer     NOT NULL,
    prefix_length    integer     NOT NULL,
    fingerprint      bytea       NOT NULL,
    committed_offset bigint      NOT NULL DEFAULT 0,
    committed_lines  bigint      NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Two runs that meet at a new file must not both begin at its first byte.
    UNIQUE (name, key_version, prefix_length, fingerprint)
);
COMMENT ON TABLE  vault.ingest_file             IS 'How far each file is stored; the offset moves with the rows.';
COMMENT ON COLUMN vault.ingest_file.fingerprint IS 'Keyed MAC of the first prefix_length bytes: no unkeyed hash.';

CREATE TABLE vault.quarantine (
    id          uuid        PRIMARY KEY,
    run         uuid        NULL,
    source      text        NOT NULL,
    position    text        NOT NULL,
    cause       text        NOT NULL,
    truncated   boolean     NOT NULL DEFAULT false,
    body_mac    bytea       NOT NULL CHECK (octet_length(body_mac) = 16),
    data_key    uuid        NOT NULL,
    sealed      bytea       NOT NULL CHECK (octet_length(sealed) BETWEEN 42 AND 1100000),
    created_at  timestamptz NOT NULL DEFAULT now(),
    resolution  text        NULL CHECK (resolution IN ('replayed', 'discarded')),
    resolved_at timestamptz NULL,
    resolved_by name        NULL,
    UNIQUE (source, position, body_mac),
    CHECK ((resolution IS NULL) = (resolved_at IS NULL) AND (resolution IS NULL) = (resolved_by IS NULL))
);
COMMENT ON TABLE  vault.quarantine          IS 'Records that could not be processed, sealed, waiting for a person.';
COMMENT ON COLUMN vault.quarantine.position IS 'Message id, or line number, within the source.';
COMMENT ON COLUMN vault.quarantine.cause    IS 'A code such as malformed_json; never part of the record.';
ALTER TABLE vault.quarantine ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- ciphertext does not compress

-- Raises unless p_value is text of 1 to p_limit characters that are not all blank. Never repeats the value.
CREATE FUNCTION vault.require_text(p_what text, p_value text, p_limit integer) RETURNS void
    LANGUAGE plpgsql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_value IS NULL OR p_value !~ '[^[:space:]]' THEN
        RAISE EXCEPTION '% is missing', p_what USING ERRCODE = 'TV020';
    END IF;
    IF length(p_value) > p_limit THEN
        RAISE EXCEPTION '% is longer than % characters', p_what, p_limit USING ERRCODE = 'TV020';
    END IF;
END;
$$;

-- Starts a run, and forgets messages older than a queue can redeliver.
CREATE FUNCTION vault.begin_run(p_run uuid, p_source text) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_run IS NULL THEN
        RAISE EXCEPTION 'a run needs an id' USING ERRCODE = 'TV020';
    END IF;
    PERFORM vault.require_text('the source of a run', p_source, 4096);
    INSERT INTO vault.ingest_run (id, source) VALUES (p_run, p_source) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a run with this id has begun already' USING ERRCODE = 'TV020';
    END IF;

    -- Two purges would deadlock. Whoever holds the lock in bad faith only delays the purge.
    IF pg_try_advisory_xact_lock(hashtextextended('tokenvault: purge of vault.ingest_message', 0)) THEN
        DELETE FROM vault.ingest_message AS message
        WHERE message.received_at < clock_timestamp() - interval '15 days';
    END IF;
END;
$$;

-- Claims message ids for this transaction. Returns a row for each id that stood already, from an earlier or a
-- concurrent committed transaction, or earlier in the same call, with what is known of its body.
-- Waits for a concurrent claimant of the same id. Ids are inserted in order, so two claimants cannot deadlock.
CREATE FUNCTION vault.claim_messages(p_queue text, p_message_ids text[], p_key_version integer, p_body_macs bytea[])
    RETURNS TABLE (ordinal integer, key_version integer, body_mac bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    claimed text[];
BEGIN
    PERFORM vault.require_text('the queue', p_queue, 2048);
    IF p_message_ids IS NULL OR p_body_macs IS NULL OR p_key_version IS NULL OR p_key_version < 1
        OR cardinality(p_message_ids) <> cardinality(p_body_macs)
        OR array_ndims(p_message_ids) > 1 OR array_ndims(p_body_macs) > 1
    THEN
        RAISE EXCEPTION 'message ids and body MACs must be lists of one length, with a key version'
            USING ERRCODE = 'TV020';
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_message_ids, p_body_macs) AS given (message_id, mac)
        WHERE given.message_id IS NULL OR given.mac IS NULL OR octet_length(given.mac) <> 16
            OR length(given.message_id) NOT BETWEEN 1 AND 256
    ) THEN
        RAISE EXCEPTION 'a message id has 1 to 256 characters and a body MAC 16 bytes' USING ERRCODE = 'TV020';
    END IF;

    WITH first_of_each AS (
        SELECT DISTINCT ON (given.message_id COLLATE "C") given.message_id, given.mac
        FROM unnest(p_message_ids, p_body_macs) WITH ORDINALITY AS given (message_id, mac, place)
        ORDER BY given.message_id COLLATE "C", given.place
    ), inserted AS (
        INSERT INTO vault.ingest_message AS message (queue, message_id, key_version, body_mac)
        SELECT p_queue, first_of_each.message_id, p_key_version, first_of_each.mac
        FROM first_of_each
        ORDER BY first_of_each.message_id COLLATE "C"
        ON CONFLICT DO NOTHING
        RETURNING message.message_id
    )
    SELECT coalesce(array_agg(inserted.message_id), '{}') INTO claimed FROM inserted;

    IF cardinality(claimed) = cardinality(p_message_ids) THEN
        RETURN;
    END IF;

    -- A statement of its own: its snapshot sees what a concurrent claimant has committed meanwhile.
    RETURN QUERY
        SELECT given.place::integer, message.key_version, message.body_mac
        FROM (
            SELECT listed.message_id, listed.place,
                   row_number() OVER (PARTITION BY listed.message_id COLLATE "C" ORDER BY listed.place) AS occurrence
            FROM unnest(p_message_ids) WITH ORDINALITY AS listed (message_id, place)
        ) AS given
        LEFT JOIN (SELECT new.message_id FROM unnest(claimed) AS new (message_id)) AS own
            ON own.message_id COLLATE "C" = given.message_id COLLATE "C"
        JOIN vault.ingest_message AS message
            ON message.queue = p_queue AND message.message_id = given.message_id COLLATE "C"
        WHERE own.message_id IS NULL OR given.occurrence > 1
        ORDER BY given.place;
END;
$$;

CREATE FUNCTION vault.find_file(p_name text)
    RETURNS TABLE (id uuid, key_version integer, prefix_length integer, fingerprint bytea, committed_offset bigint,
                   committed_lines bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT file.id, file.key_version, file.prefix_length, file.fingerprint, file.committed_offset,
           file.committed_lines
    FROM vault.ingest_file AS file
    WHERE file.name = p_name
    ORDER BY file.created_at DESC, file.id;
$$;

CREATE FUNCTION vault.register_file(p_id uuid, p_name text, p_key_version integer, p_prefix_length integer,
                                    p_fingerprint bytea) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_text('the name of a file', p_name, 1024);
    IF p_id IS NULL OR p_key_version IS NULL OR p_key_version < 1 OR p_prefix_length IS NULL
        OR p_prefix_length NOT BETWEEN 0 AND 4096 OR p_fingerprint IS NULL OR octet_length(p_fingerprint) <> 16
    THEN
        RAISE EXCEPTION 'a file needs an id, a key version, a prefix of 0 to 4096 bytes and a fingerprint of 16'
            USING ERRCODE = 'TV020';
    END IF;
    INSERT INTO vault.ingest_file (id, name, key_version, prefix_length, fingerprint)
    VALUES (p_id, p_name, p_key_version, p_prefix_length, p_fingerprint)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another run has registered this file meanwhile'
            USING ERRCODE = 'TV010', HINT = 'Look it up again and go on from its offset.';
    END IF;
END;
$$;

-- Compare-and-set. Waits for a concurrent holder, then succeeds only if the offset still is p_from.
CREATE FUNCTION vault.advance_file(p_id uuid, p_from bigint, p_to bigint, p_lines bigint) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_id IS NULL OR p_from IS NULL OR p_to IS NULL OR p_lines IS NULL OR p_from < 0 OR p_to < p_from OR p_lines < 0
    THEN
        RAISE EXCEPTION 'a file advances from an offset to a later one, by some lines' USING ERRCODE = 'TV020';
    END IF;
    UPDATE vault.ingest_file AS file
    SET committed_offset = p_to, committed_lines = file.committed_lines + p_lines, updated_at = clock_timestamp()
    WHERE file.id = p_id AND file.committed_offset = p_from;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another run has advanced this file meanwhile'
            USING ERRCODE = 'TV010', HINT = 'Roll back, look the file up again and go on from its offset.';
    END IF;
END;
$$;

-- Locks the run's row until the transaction ends: call it last, or parallel batches of one run wait in line.
CREATE FUNCTION vault.add_run_counts(p_run uuid, p_stored bigint, p_repeated bigint, p_quarantined bigint)
    RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_stored IS NULL OR p_repeated IS NULL OR p_quarantined IS NULL OR least(p_stored, p_repeated, p_quarantined) < 0
    THEN
        RAISE EXCEPTION 'counts of a batch are numbers from 0' USING ERRCODE = 'TV020';
    END IF;
    UPDATE vault.ingest_run AS run
    SET stored = run.stored + p_stored, repeated = run.repeated + p_repeated,
        quarantined = run.quarantined + p_quarantined
    WHERE run.id = p_run AND run.started_by = session_user AND run.ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no run of yours with this id is under way' USING ERRCODE = 'TV004';
    END IF;
END;
$$;

CREATE FUNCTION vault.finish_run(p_run uuid, p_outcome text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counts text;
BEGIN
    PERFORM vault.require_text('the outcome of a run', p_outcome, 1024);
    UPDATE vault.ingest_run AS run
    SET ended_at = clock_timestamp(), outcome = p_outcome
    WHERE run.id = p_run AND run.started_by = session_user AND run.ended_at IS NULL
    RETURNING format('stored %s, repeated %s, quarantined %s', run.stored, run.repeated, run.quarantined) INTO counts;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no run of yours with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('ingest', p_run::text, NULL, NULL, p_outcome || ': ' || counts) AS appended;
END;
$$;

CREATE FUNCTION vault.record_tokenize(p_domain text, p_count integer, p_reason text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_text('the domain', p_domain, 31);
    IF p_count IS NULL OR p_count < 0 THEN
        RAISE EXCEPTION 'a count is a number from 0' USING ERRCODE = 'TV020';
    END IF;
    IF p_reason IS NOT NULL THEN
        PERFORM vault.require_text('the reason', p_reason, 1024);
    END IF;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('tokenize', p_domain, p_reason, NULL, 'values ' || p_count::text) AS appended;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT INSERT (id, run, source, position, cause, truncated, body_mac, data_key, sealed, created_at)
    ON vault.quarantine TO tokenvault_ingest;
GRANT SELECT (id, run, source, position, cause, truncated, body_mac, data_key, created_at, resolution, resolved_at,
              resolved_by)
    ON vault.quarantine TO tokenvault_operator;
GRANT SELECT ON vault.ingest_run TO tokenvault_operator;
GRANT EXECUTE ON FUNCTION
    vault.begin_run(uuid, text),
    vault.claim_messages(text, text[], integer, bytea[]),
    vault.find_file(text),
    vault.register_file(uuid, text, integer, integer, bytea),
    vault.advance_file(uuid, bigint, bigint, bigint),
    vault.add_run_counts(uuid, bigint, bigint, bigint),
    vault.finish_run(uuid, text)
    TO tokenvault_ingest;
GRANT EXECUTE ON FUNCTION vault.record_tokenize(text, integer, text)
    TO tokenvault_ingest, tokenvault_operator, tokenvault_recoverer;

SELECT vault.record_migration(4, 'ingest');

COMMIT;
