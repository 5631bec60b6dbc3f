-- 0007_rotation: rotates every kind of key and loses nothing.
-- requires: 0006_operation
-- The operator calls functions; nobody but the owner touches originals, seals or login rows of others.
-- Functions check their input by hand: a constraint's error would print the row.

BEGIN;

-- As the administrator, who owns an adopted table: the owner role moves tokens there, and changes nothing else.
DO $$
DECLARE
    masked text;
BEGIN
    SELECT string_agg(quote_ident(attribute.attname), ', ') INTO masked
    FROM pg_catalog.pg_attribute AS attribute
    WHERE attribute.attrelid = 'public.user_logins'::regclass AND NOT attribute.attisdropped
      AND attribute.attname IN ('masked_ip', 'masked_device_id', 'masked_ip_net');
    EXECUTE format('GRANT UPDATE (%s) ON public.user_logins TO tokenvault_owner', masked);
END;
$$;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.retired_key (
    id         uuid        PRIMARY KEY,
    retired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE vault.retired_key IS 'Keys that a census found nothing to need; only these may be destroyed.';

CREATE TABLE vault.rotation (
    id             uuid        PRIMARY KEY,
    kind           text        NOT NULL CHECK (kind IN ('recovery-key', 'data-keys', 'token-key')),
    target_version integer     NULL,
    state          text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished')),
    started_by     name        NOT NULL DEFAULT session_user,
    started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at    timestamptz NULL,
    place          uuid        NULL,
    pass           integer     NOT NULL DEFAULT 1,
    values_done    bigint      NOT NULL DEFAULT 0,
    rows_done      bigint      NOT NULL DEFAULT 0,
    value_sum      uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    rows_moved     jsonb       NOT NULL DEFAULT '{}',
    rows_before    jsonb       NULL,
    outcome        text        NULL,
    CHECK ((kind = 'token-key') = (target_version IS NOT NULL))
);
COMMENT ON TABLE  vault.rotation             IS 'One rotation and how far it is; at most one is unfinished.';
COMMENT ON COLUMN vault.rotation.place       IS 'Keyset cursor of the pass: everything up to here is done.';
COMMENT ON COLUMN vault.rotation.value_sum   IS 'Keyed fingerprint of the values as they were opened under the old key.';
COMMENT ON COLUMN vault.rotation.rows_before IS 'Fingerprint of the duplicate groups before: by column.';
COMMENT ON COLUMN vault.rotation.rows_moved  IS 'The same of the groups as they were moved.';
CREATE UNIQUE INDEX rotation_one_unfinished ON vault.rotation ((true)) WHERE state = 'running';

CREATE TABLE vault.rotation_exception (
    rotation uuid NOT NULL,
    token    uuid NOT NULL,
    reason   text NOT NULL,
    PRIMARY KEY (rotation, token)
);
COMMENT ON TABLE vault.rotation_exception IS 'Originals that a rotation left alone, and why; never a value.';

CREATE TABLE vault.rotation_scope (
    rotation uuid NOT NULL,
    data_key uuid NOT NULL,
    PRIMARY KEY (rotation, data_key)
);
COMMENT ON TABLE vault.rotation_scope IS 'Data keys that a rotation of data keys replaces.';

CREATE TABLE vault.masked_column (
    table_name  text COLLATE "C" NOT NULL,
    column_name text COLLATE "C" NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    PRIMARY KEY (table_name, column_name)
);
COMMENT ON TABLE  vault.masked_column            IS 'Columns that hold tokens; a rotation of the token key moves them all.';
COMMENT ON COLUMN vault.masked_column.table_name IS 'schema.table, quoted as SQL wants it.';
INSERT INTO vault.masked_column (table_name, column_name, domain)
SELECT 'public.user_logins', known.name, known.domain
FROM (VALUES ('masked_ip', 'ip'), ('masked_device_id', 'device_id'), ('masked_ip_net', 'ip_net')) AS known (name, domain)
JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = 'public.user_logins'::regclass AND attribute.attname = known.name
       AND NOT attribute.attisdropped;

-- Text, not uuid: rows hold text, and building it for each row and query costs more than storing it once.
CREATE TABLE vault.token_successor (
    old_token   text    COLLATE "C" PRIMARY KEY,
    new_token   text    COLLATE "C" NOT NULL,
    domain      text    COLLATE "C" NOT NULL,
    old_version integer NOT NULL,
    slice       integer NOT NULL DEFAULT 0,
    rotation    uuid    NULL
);
-- The planner's statistics would keep old tokens after the pairs are gone: an empty table keeps its last statistics.
ALTER TABLE vault.token_successor ALTER COLUMN old_token SET STATISTICS 0, ALTER COLUMN new_token SET STATISTICS 0;
COMMENT ON TABLE  vault.token_successor          IS 'While two token keys are in use: which tokens stand for one value.';
COMMENT ON COLUMN vault.token_successor.slice    IS '0 to 65535; an address and its network share one, so they move together.';
COMMENT ON COLUMN vault.token_successor.rotation IS 'Set when the rotation made the pair from an opened original; only such rows move.';

-- views

-- Duplicates are counted by the newest token of a value, so that a group counts once while it stands under two versions.
DO $$
DECLARE
    wanted record;
    kind   text;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES ('duplicate_ips', 'masked_ip'), ('duplicate_devices', 'masked_device_id'),
                              ('duplicate_networks', 'masked_ip_net')) AS view (name, masked)
        JOIN vault.masked_column AS registered
            ON registered.table_name = 'public.user_logins' AND registered.column_name = view.masked
    LOOP
        SELECT format_type(attribute.atttypid, attribute.atttypmod) || ' COLLATE pg_catalog.' || quote_ident(collation_.collname)
        INTO kind
        FROM pg_catalog.pg_attribute AS attribute
        JOIN pg_catalog.pg_collation AS collation_ ON collation_.oid = attribute.attcollation
        WHERE attribute.attrelid = 'public.user_logins'::regclass AND attribute.attname = wanted.masked;
        EXECUTE format(
            'CREATE OR REPLACE VIEW public.%1$I AS
             SELECT login.token, count(*) AS logins, count(DISTINCT login.user_id) AS distinct_users,
                    min(login.create_date) AS first_seen, max(login.create_date) AS last_seen
             FROM (SELECT coalesce(successor.new_token, standing.%2$I)::%3$s AS token, standing.user_id,
                          standing.create_date
                   FROM public.user_logins AS standing
                   LEFT JOIN vault.token_successor AS successor ON successor.old_token = standing.%2$I COLLATE "C"
                   WHERE standing.%2$I IS NOT NULL) AS login
             GROUP BY login.token
             HAVING count(*) > 1',
            wanted.name, wanted.masked, kind);
    END LOOP;
    IF to_regclass('public.duplicate_networks') IS NOT NULL THEN
        COMMENT ON VIEW public.duplicate_networks IS 'Networks (/24, /48) that logged in more than once, by token.';
        GRANT SELECT ON public.duplicate_networks TO tokenvault_analyst;
    END IF;
END;
$$;

-- fingerprints and census

-- Of each masked column of user_logins: rows, groups and a fingerprint of which rows stand together, whatever their
-- tokens are. p_version: rows of that token version only; NULL for all. Not cryptographic: it finds accidents.
CREATE FUNCTION vault.row_fingerprint(p_version integer) RETURNS jsonb
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '256MB'
    SET jit = off
AS $$
DECLARE
    registered vault.masked_column;
    counted    record;
    result     jsonb := '{}';
BEGIN
    FOR registered IN
        SELECT * FROM vault.masked_column AS masked ORDER BY masked.table_name, masked.column_name
    LOOP
        EXECUTE format(
            'SELECT coalesce(sum(grouped.logins), 0) AS logins, count(*) AS groups,
                    coalesce(sum(hashtextextended(grouped.logins || '':'' || grouped.total, 7)), 0) AS hash
             FROM (SELECT count(*) AS logins, sum(%3$s) AS total
                   FROM %1$s AS login
                   LEFT JOIN vault.token_successor AS successor
                       ON $1 IS NULL AND successor.old_token = login.%2$I COLLATE "C"
                   WHERE login.%2$I IS NOT NULL AND ($1 IS NULL OR starts_with(login.%2$I, $2))
                   GROUP BY hashtextextended(coalesce(successor.new_token, login.%2$I COLLATE "C"), 3)) AS grouped',
            registered.table_name, registered.column_name, vault.row_identity(registered.table_name))
        INTO counted
        USING p_version, registered.domain || '_v' || p_version || '_';
        result := result || jsonb_build_object(
            registered.table_name || '.' || registered.column_name,
            jsonb_build_object('rows', counted.logins, 'groups', counted.groups, 'hash', counted.hash::text));
    END LOOP;
    RETURN result;
END;
$$;

-- An SQL expression over `login`: a number made of every column of the table that holds no token.
CREATE FUNCTION vault.row_identity(p_table text) RETURNS text
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('hashtextextended(concat_ws(''|'', %s), 1)',
                  coalesce(string_agg(format('login.%I', attribute.attname), ', ' ORDER BY attribute.attnum), quote_literal('')))
    FROM pg_attribute AS attribute
    WHERE attribute.attrelid = p_table::regclass AND attribute.attnum > 0 AND NOT attribute.attisdropped
      AND NOT EXISTS (SELECT FROM vault.masked_column AS masked
                      WHERE masked.table_name = p_table AND masked.column_name = attribute.attname);
$$;

-- How many originals stand under another token version; all of them for NULL.
CREATE FUNCTION vault.count_originals(p_except integer) RETURNS bigint
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FROM vault.original AS original WHERE original.token_version IS DISTINCT FROM p_except;
$$;

-- How much stands under each key. what: original, row, straddling (groups of rows under two token versions),
-- message, file (ledger), original-by-key and quarantine-by-key (data keys in use), seal (by recovery key).
CREATE FUNCTION vault.rotation_census() RETURNS TABLE (what text, name text, version integer, amount bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
AS $$
DECLARE
    registered vault.masked_column;
BEGIN
    RETURN QUERY SELECT 'original', original.domain, original.token_version, count(*)
        FROM vault.original AS original GROUP BY 2, 3;
    FOR registered IN
        SELECT * FROM vault.masked_column AS masked ORDER BY masked.table_name, masked.column_name
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT ''row'', %3$L, substring(login.prefix from ''[0-9]+$'')::integer, sum(login.amount)::bigint
             FROM (SELECT left(standing.%2$I, -33) AS prefix, count(*) AS amount FROM %1$s AS standing
                   WHERE standing.%2$I IS NOT NULL GROUP BY 1) AS login
             WHERE login.prefix ~ %4$L GROUP BY 3',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            '^' || registered.domain || '_v[1-9][0-9]{0,8}$');
        RETURN QUERY EXECUTE format(
            'SELECT ''straddling'', %3$L, NULL::integer, count(*)
             FROM vault.token_successor AS successor
             WHERE successor.domain = %4$L
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.old_token)
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.new_token)',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            registered.domain);
    END LOOP;
    RETURN QUERY SELECT 'message', message.queue, message.key_version, count(*)
        FROM vault.ingest_message AS message
        WHERE message.received_at >= clock_timestamp() - interval '15 days' GROUP BY 2, 3;
    RETURN QUERY SELECT 'file', 'vault.ingest_file'::text, file.key_version, count(*)
        FROM vault.ingest_file AS file GROUP BY 3;
    RETURN QUERY SELECT 'data key', key.domain, NULL::integer, count(*) FROM vault.data_key AS key GROUP BY 2;
    RETURN QUERY SELECT 'seal', replace(seal.recovery_key::text, '-', ''), NULL::integer, count(*)
        FROM vault.data_key_seal AS seal GROUP BY 2;
    RETURN QUERY SELECT 'quarantined', record.cause, NULL::integer, count(*)
        FROM vault.quarantine AS record WHERE record.resolution IS NULL GROUP BY 2;
END;
$$;

-- begin, go on, end

-- Begins a rotation, or goes on with the unfinished one of the same kind, and keeps others out for this session.
-- p_scope of data-keys: all, older:<timestamp>, or the id of a data key.
CREATE FUNCTION vault.begin_rotation(p_id uuid, p_kind text, p_target integer, p_scope text)
    RETURNS TABLE (id uuid, resumed boolean, place uuid, pass integer, value_sum uuid)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.rotation;
BEGIN
    IF p_id IS NULL OR p_kind IS NULL OR p_kind NOT IN ('recovery-key', 'data-keys', 'token-key') THEN
        RAISE EXCEPTION 'a rotation has an id and is of recovery-key, data-keys or token-key' USING ERRCODE = 'TV020';
    END IF;
    -- Held by the session: gone with it, however it ends. Taken in bad faith, it only delays a rotation.
    IF NOT pg_try_advisory_lock(hashtextextended('tokenvault: rotation', 0)) THEN
        RAISE EXCEPTION 'another rotation is running'
            USING ERRCODE = 'TV010', HINT = 'Wait for it to end; tokenvault rotate token-key status shows how far it is.';
    END IF;
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation WHERE rotation.state = 'running';
    IF FOUND THEN
        IF standing.kind <> p_kind OR standing.target_version IS DISTINCT FROM p_target THEN
            RAISE EXCEPTION 'a rotation of % is unfinished', standing.kind
                USING ERRCODE = 'TV001', HINT = format('Finish it first: tokenvault rotate %s run.', standing.kind);
        END IF;
        UPDATE vault.rotation AS rotation SET updated_at = clock_timestamp() WHERE rotation.id = standing.id;
        PERFORM audit.append('rotate.resume', standing.id::text, NULL, NULL, standing.kind);
        RETURN QUERY SELECT standing.id, true, standing.place, standing.pass, standing.value_sum;
        RETURN;
    END IF;
    IF p_kind = 'token-key' AND NOT EXISTS (
        SELECT FROM vault.key_version AS key
        WHERE key.purpose = 'token' AND key.version = p_target AND key.state = 'active'
    ) THEN
        RAISE EXCEPTION 'token key v% is not active', p_target
            USING ERRCODE = 'TV001', HINT = 'Activate it first: tokenvault keys activate.';
    END IF;
    INSERT INTO vault.rotation (id, kind, target_version) VALUES (p_id, p_kind, p_target);
    IF p_kind = 'data-keys' THEN
        INSERT INTO vault.rotation_scope (rotation, data_key)
        SELECT p_id, key.id FROM vault.data_key AS key
        WHERE CASE
            WHEN p_scope = 'all' THEN true
            WHEN p_scope LIKE 'older:%' THEN key.created_at < substr(p_scope, 7)::timestamptz
            ELSE key.id = p_scope::uuid
        END;
    END IF;
    PERFORM audit.append('rotate.begin', p_id::text, NULL, NULL,
                         p_kind || coalesce(' to v' || p_target, '') || coalesce(', ' || p_scope, ''));
    RETURN QUERY SELECT p_id, false, NULL::uuid, 1, '00000000-0000-0000-0000-000000000000'::uuid;
END;
$$;

-- Raises unless the caller holds the rotation lock and the rotation is unfinished.
CREATE FUNCTION vault.require_rotation(p_rotation uuid, p_kind text) RETURNS vault.rotation
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.rotation;
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running' AND rotation.kind = p_kind;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of % with this id is under way', p_kind USING ERRCODE = 'TV004';
    END IF;
    -- Once more in the transaction, so that a step never runs beside another however sessions are shared.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('tokenvault: rotation', 0)) THEN
        RAISE EXCEPTION 'another rotation is running' USING ERRCODE = 'TV010';
    END IF;
    RETURN standing;
END;
$$;

-- Moves the cursor, if nobody else has, and counts.
CREATE FUNCTION vault.advance_rotation(p_rotation uuid, p_from uuid, p_to uuid, p_values bigint, p_value_sum uuid)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE vault.rotation AS rotation
    SET place = p_to, values_done = rotation.values_done + p_values, updated_at = clock_timestamp(),
        value_sum = coalesce(p_value_sum, rotation.value_sum)
    WHERE rotation.id = p_rotation AND rotation.place IS NOT DISTINCT FROM p_from AND rotation.state = 'running';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another run has moved this rotation on' USING ERRCODE = 'TV010', HINT = 'Run it again.';
    END IF;
END;
$$;

-- Starts another pass from the first token; notes the fingerprint of the rows, once.
CREATE FUNCTION vault.next_rotation_pass(p_rotation uuid, p_rows_before jsonb) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE vault.rotation AS rotation
    SET place = NULL, pass = rotation.pass + 1, updated_at = clock_timestamp(),
        rows_before = coalesce(rotation.rows_before, p_rows_before)
    WHERE rotation.id = p_rotation AND rotation.state = 'running';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation with this id is under way' USING ERRCODE = 'TV004';
    END IF;
END;
$$;

CREATE FUNCTION vault.note_rotation_exceptions(p_rotation uuid, p_tokens uuid[], p_reasons text[]) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.id = p_rotation AND rotation.state = 'running')
    THEN
        RAISE EXCEPTION 'no rotation with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    INSERT INTO vault.rotation_exception (rotation, token, reason)
    SELECT p_rotation, given.token, left(given.reason, 512) FROM unnest(p_tokens, p_reasons) AS given (token, reason)
    ON CONFLICT DO NOTHING;
END;
$$;

CREATE FUNCTION vault.finish_rotation(p_rotation uuid, p_outcome text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ended text;
BEGIN
    PERFORM vault.require_text('the outcome of a rotation', p_outcome, 1024);
    UPDATE vault.rotation AS rotation
    SET state = 'finished', finished_at = clock_timestamp(), updated_at = clock_timestamp(), outcome = p_outcome
    WHERE rotation.id = p_rotation AND rotation.state = 'running'
    RETURNING rotation.kind INTO ended;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    DELETE FROM vault.rotation_scope AS scope WHERE scope.rotation = p_rotation;
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('rotate.end', p_rotation::text, NULL, NULL, ended || ': ' || p_outcome) AS appended;
END;
$$;

-- The newest rotations first.
CREATE FUNCTION vault.rotations(p_limit integer) RETURNS SETOF vault.rotation
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT rotation.* FROM vault.rotation AS rotation ORDER BY rotation.started_at DESC
    LIMIT greatest(coalesce(p_limit, 0), 0);
$$;

CREATE FUNCTION vault.rotation_exceptions(p_rotation uuid) RETURNS TABLE (token uuid, reason text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT exception_.token, exception_.reason FROM vault.rotation_exception AS exception_
    WHERE exception_.rotation = p_rotation ORDER BY exception_.token;
$$;

-- originals

-- The next originals that the rotation has still to do, in order of token: sealed, never opened here.
CREATE FUNCTION vault.rotation_page(p_rotation uuid, p_after uuid, p_limit integer)
    RETURNS TABLE (token uuid, domain text, token_version integer, data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off
    SET enable_sort = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running';
    IF standing.kind = 'token-key' THEN
        RETURN QUERY
            SELECT original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.token > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
              AND original.token_version <> standing.target_version
              AND NOT EXISTS (
                  SELECT FROM vault.token_successor AS successor
                  WHERE successor.old_token = original.domain || '_v' || original.token_version || '_'
                                              || replace(original.token::text, '-', '')
                    AND successor.rotation = p_rotation)
            ORDER BY original.token LIMIT p_limit;
    ELSIF standing.kind = 'data-keys' THEN
        RETURN QUERY
            SELECT original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.token > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
              AND EXISTS (SELECT FROM vault.rotation_scope AS scope
                          WHERE scope.rotation = p_rotation AND scope.data_key = original.data_key)
            ORDER BY original.token LIMIT p_limit;
    END IF;
END;
$$;

-- Originals by token, for checking what stands under a new token already.
CREATE FUNCTION vault.rotation_originals(p_rotation uuid, p_tokens uuid[])
    RETURNS TABLE (token uuid, domain text, token_version integer, data_key uuid, sealed bytea)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT original.token, original.domain, original.token_version, original.data_key, original.sealed
    FROM vault.original AS original
    WHERE original.token = ANY (p_tokens)
      AND EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.id = p_rotation)
    ORDER BY original.token;
$$;

-- A fresh data key of the rotation, with its seals.
CREATE FUNCTION vault.add_rotation_data_key(p_rotation uuid, p_id uuid, p_domain text, p_signing_key uuid,
                                            p_created_at bigint, p_commitment bytea, p_signature bytea,
                                            p_recovery_keys uuid[], p_sealed bytea[])
    RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_id IS NULL OR p_domain IS NULL OR p_signing_key IS NULL OR p_created_at IS NULL
        OR octet_length(p_commitment) IS DISTINCT FROM 32 OR octet_length(p_signature) IS DISTINCT FROM 64
        OR coalesce(cardinality(p_recovery_keys), 0) = 0 OR cardinality(p_recovery_keys) <> cardinality(p_sealed)
    THEN
        RAISE EXCEPTION 'a data key needs an id, a domain, a signature and a seal or more' USING ERRCODE = 'TV020';
    END IF;
    IF NOT EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.id = p_rotation AND rotation.state = 'running')
    THEN
        RAISE EXCEPTION 'no rotation with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    INSERT INTO vault.data_key (id, domain, signing_key, created_at, commitment, signature, run)
    VALUES (p_id, p_domain, p_signing_key, to_timestamp(p_created_at), p_commitment, p_signature, p_rotation);
    INSERT INTO vault.data_key_seal (data_key, recovery_key, sealed)
    SELECT p_id, given.recovery_key, given.sealed
    FROM unnest(p_recovery_keys, p_sealed) AS given (recovery_key, sealed);
END;
$$;

-- data-keys: compare-and-set. An original that somebody else has changed or removed meanwhile is left alone.
CREATE FUNCTION vault.replace_sealed(p_rotation uuid, p_from uuid, p_to uuid, p_value_sum uuid, p_tokens uuid[],
                                     p_old_keys uuid[], p_new_keys uuid[], p_sealed bytea[])
    RETURNS integer
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off
    SET jit = off
AS $$
DECLARE
    replaced integer;
BEGIN
    PERFORM vault.require_rotation(p_rotation, 'data-keys');
    UPDATE vault.original AS original
    SET data_key = given.new_key, sealed = given.sealed
    FROM unnest(p_tokens, p_old_keys, p_new_keys, p_sealed) AS given (token, old_key, new_key, sealed)
    WHERE original.token = given.token AND original.data_key = given.old_key;
    GET DIAGNOSTICS replaced = ROW_COUNT;
    PERFORM vault.advance_rotation(p_rotation, p_from, p_to, replaced, p_value_sum);
    RETURN replaced;
END;
$$;

-- data-keys: quarantined records are sealed too.
CREATE FUNCTION vault.rotation_quarantine_page(p_rotation uuid, p_limit integer)
    RETURNS TABLE (id uuid, data_key uuid, sealed bytea)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT record.id, record.data_key, record.sealed
    FROM vault.quarantine AS record
    JOIN vault.rotation_scope AS scope ON scope.rotation = p_rotation AND scope.data_key = record.data_key
    WHERE NOT EXISTS (SELECT FROM vault.rotation_exception AS exception_
                      WHERE exception_.rotation = p_rotation AND exception_.token = record.id)
    ORDER BY record.id LIMIT p_limit;
$$;

CREATE FUNCTION vault.replace_quarantined(p_rotation uuid, p_ids uuid[], p_old_keys uuid[], p_new_key uuid,
                                          p_sealed bytea[])
    RETURNS integer
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    replaced integer;
BEGIN
    PERFORM vault.require_rotation(p_rotation, 'data-keys');
    UPDATE vault.quarantine AS record
    SET data_key = p_new_key, sealed = given.sealed
    FROM unnest(p_ids, p_old_keys, p_sealed) AS given (id, old_key, sealed)
    WHERE record.id = given.id AND record.data_key = given.old_key;
    GET DIAGNOSTICS replaced = ROW_COUNT;
    RETURN replaced;
END;
$$;

-- data-keys: removes replaced data keys that nothing is sealed under. Not those of an ingest run that may still be at
-- work, which would go on sealing under them; a run without an end counts as over after a week.
CREATE FUNCTION vault.drop_unused_data_keys(p_rotation uuid) RETURNS TABLE (dropped bigint, kept bigint)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unused uuid[];
    gone   uuid[];
BEGIN
    PERFORM vault.require_rotation(p_rotation, 'data-keys');
    SELECT coalesce(array_agg(scope.data_key), '{}') INTO unused
    FROM vault.rotation_scope AS scope
    WHERE scope.rotation = p_rotation
      AND scope.data_key NOT IN (SELECT original.data_key FROM vault.original AS original)
      AND scope.data_key NOT IN (SELECT record.data_key FROM vault.quarantine AS record);
    WITH removed AS (
        DELETE FROM vault.data_key AS key
        WHERE key.id = ANY (unused)
          AND NOT EXISTS (SELECT FROM vault.ingest_run AS run
                          WHERE run.id = key.run AND run.ended_at IS NULL
                            AND run.started_at > clock_timestamp() - interval '7 days')
        RETURNING key.id
    )
    SELECT coalesce(array_agg(removed.id), '{}') INTO gone FROM removed;
    DELETE FROM vault.data_key_seal AS seal WHERE seal.data_key = ANY (gone);
    RETURN QUERY SELECT cardinality(gone)::bigint, (cardinality(unused) - cardinality(gone))::bigint;
END;
$$;

-- token key

-- Adds the new originals beside the old ones, and the pairs that the rows move by. Returns the new tokens that stood
-- already, which the caller opens before it commits.
CREATE FUNCTION vault.store_successors(p_rotation uuid, p_from uuid, p_to uuid, p_value_sum uuid,
                                       p_old_originals uuid[], p_new_originals uuid[], p_domains text[],
                                       p_data_keys uuid[], p_sealed bytea[],
                                       p_old_tokens text[], p_new_tokens text[], p_pair_domains text[],
                                       p_old_versions integer[], p_slices integer[])
    RETURNS TABLE (token uuid)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation := vault.require_rotation(p_rotation, 'token-key');
    inserted uuid[];
BEGIN
    IF cardinality(p_old_tokens) <> cardinality(p_new_tokens) OR cardinality(p_old_originals) <> cardinality(p_sealed)
        OR cardinality(p_old_originals) <> cardinality(p_new_originals)
        OR cardinality(p_old_tokens) <> cardinality(p_old_versions) OR standing.target_version = ANY (p_old_versions)
    THEN
        RAISE EXCEPTION 'successors come as lists of one length, from another version' USING ERRCODE = 'TV020';
    END IF;
    -- created_at is the value's, not the key's.
    WITH new AS (
        INSERT INTO vault.original AS original (token, domain, token_version, data_key, sealed, created_at)
        SELECT given.new_token, given.domain, standing.target_version, given.data_key, given.sealed, old.created_at
        FROM unnest(p_old_originals, p_new_originals, p_domains, p_data_keys, p_sealed)
            AS given (old_token, new_token, domain, data_key, sealed)
        JOIN vault.original AS old ON old.token = given.old_token
        ORDER BY given.domain <> 'ip', given.new_token
        ON CONFLICT DO NOTHING
        RETURNING original.token
    )
    SELECT coalesce(array_agg(new.token), '{}') INTO inserted FROM new;
    INSERT INTO vault.token_successor AS successor (old_token, new_token, domain, old_version, slice, rotation)
    SELECT DISTINCT ON (given.old_token COLLATE "C") given.old_token, given.new_token, given.domain, given.version,
           given.slice, p_rotation
    FROM unnest(p_old_tokens, p_new_tokens, p_pair_domains, p_old_versions, p_slices)
        AS given (old_token, new_token, domain, version, slice)
    ORDER BY given.old_token COLLATE "C"
    ON CONFLICT (old_token) DO UPDATE
    SET new_token = excluded.new_token, slice = excluded.slice, rotation = excluded.rotation
    WHERE successor.rotation IS DISTINCT FROM excluded.rotation;
    PERFORM vault.advance_rotation(p_rotation, p_from, p_to, cardinality(p_old_originals), p_value_sum);
    IF cardinality(inserted) < cardinality(p_new_originals) THEN
        RETURN QUERY SELECT given.token FROM unnest(p_new_originals) AS given (token)
            EXCEPT SELECT own.token FROM unnest(inserted) AS own (token);
    END IF;
END;
$$;

-- Moves all rows of the groups of some slices to their new tokens: whole groups, in one transaction, in every
-- registered table. One pass over a table moves rows whose every token moves; a second the others.
-- Returns how many rows it changed; their fingerprint is added to the rotation's.
CREATE FUNCTION vault.move_rows(p_rotation uuid, p_first_slice integer, p_last_slice integer) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '256MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
DECLARE
    standing   vault.rotation := vault.require_rotation(p_rotation, 'token-key');
    registered record;
    changed    bigint;
    total      bigint := 0;
BEGIN
    FOR registered IN
        SELECT masked.table_name,
               string_agg(format('%1$I = s%2$s.new_token', masked.column_name, masked.place), ', ') AS joint_values,
               string_agg(format('vault.token_successor AS s%s', masked.place), ', ') AS joint_tables,
               string_agg(format('login.%1$I COLLATE "C" = s%2$s.old_token AND s%2$s.domain = %3$L AND s%2$s.rotation = $1 '
                                 'AND s%2$s.slice BETWEEN $2 AND $3', masked.column_name, masked.place, masked.domain),
                          ' AND ') AS joint_condition,
               string_agg(format('%1$I = coalesce(moved.n%2$s, login.%1$I)', masked.column_name, masked.place), ', ')
                   AS single_values,
               string_agg(format('s%1$s.new_token AS n%1$s', masked.place), ', ') AS single_columns,
               string_agg(format('LEFT JOIN vault.token_successor AS s%2$s ON login.%1$I COLLATE "C" = s%2$s.old_token '
                                 'AND s%2$s.domain = %3$L AND s%2$s.rotation = $1 AND s%2$s.slice BETWEEN $2 AND $3',
                                 masked.column_name, masked.place, masked.domain), ' ') AS single_tables,
               string_agg(format('s%s.new_token IS NOT NULL', masked.place), ' OR ') AS single_condition,
               string_agg(format('starts_with(login.%1$I, %2$L)', masked.column_name, masked.domain || '_v')
                          || format(' AND NOT starts_with(login.%1$I, %2$L)', masked.column_name,
                                    masked.domain || '_v' || standing.target_version || '_'), ' OR ') AS old_condition,
               count(*) AS columns
        FROM (SELECT column_.*, row_number() OVER (PARTITION BY column_.table_name ORDER BY column_.column_name) AS place
              FROM vault.masked_column AS column_) AS masked
        GROUP BY masked.table_name
        ORDER BY masked.table_name
    LOOP
        IF registered.columns > 1 THEN
            EXECUTE format('UPDATE %s AS login SET %s FROM %s WHERE %s', registered.table_name, registered.joint_values,
                           registered.joint_tables, registered.joint_condition)
            USING p_rotation, p_first_slice, p_last_slice;
            GET DIAGNOSTICS changed = ROW_COUNT;
            total := total + changed;
        END IF;
        EXECUTE format('UPDATE %1$s AS login SET %2$s
                        FROM (SELECT login.ctid AS place, %3$s FROM %1$s AS login %4$s
                              WHERE (%6$s) AND (%5$s)) AS moved
                        WHERE login.ctid = moved.place',
                       registered.table_name, registered.single_values, registered.single_columns,
                       registered.single_tables, registered.single_condition, registered.old_condition)
        USING p_rotation, p_first_slice, p_last_slice;
        GET DIAGNOSTICS changed = ROW_COUNT;
        total := total + changed;
    END LOOP;
    UPDATE vault.rotation AS rotation
    SET rows_done = rotation.rows_done + total, updated_at = clock_timestamp()
    WHERE rotation.id = p_rotation;
    RETURN total;
END;
$$;

-- Before and between moves: the planner must know how many pairs there are.
CREATE FUNCTION vault.analyze_successors() RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ANALYZE vault.token_successor;
    ANALYZE vault.original (token_version);
END;
$$;

-- How many tokens of other versions than the rotation's stand in rows: one pass over each table.
CREATE FUNCTION vault.old_rows(p_rotation uuid) RETURNS bigint
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    registered record;
    found      bigint;
    total      bigint := 0;
BEGIN
    FOR registered IN
        SELECT masked.table_name,
               string_agg(format('count(*) FILTER (WHERE starts_with(login.%1$I, %2$L) AND NOT starts_with(login.%1$I, %3$L))',
                                 masked.column_name, masked.domain || '_v',
                                 masked.domain || '_v' || rotation.target_version || '_'), ' + ') AS counting
        FROM vault.masked_column AS masked
        CROSS JOIN vault.rotation AS rotation
        WHERE rotation.id = p_rotation AND rotation.target_version IS NOT NULL
        GROUP BY masked.table_name
    LOOP
        EXECUTE format('SELECT %s FROM %s AS login', registered.counting, registered.table_name) INTO found;
        total := total + found;
    END LOOP;
    RETURN total;
END;
$$;

-- How many rows stand under versions other than the rotation's, with a pair (they can be moved) and without.
CREATE FUNCTION vault.rows_to_move(p_rotation uuid) RETURNS TABLE (movable bigint, stuck bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    standing   vault.rotation;
    registered vault.masked_column;
    found      record;
BEGIN
    SELECT rotation.* INTO STRICT standing FROM vault.rotation AS rotation WHERE rotation.id = p_rotation;
    movable := 0;
    stuck := 0;
    FOR registered IN SELECT * FROM vault.masked_column LOOP
        EXECUTE format(
            'SELECT count(*) FILTER (WHERE successor.rotation = $1) AS movable,
                    count(*) FILTER (WHERE successor.rotation IS DISTINCT FROM $1) AS stuck
             FROM %1$s AS login
             LEFT JOIN vault.token_successor AS successor ON successor.old_token = login.%2$I COLLATE "C"
             WHERE starts_with(login.%2$I, $2) AND NOT starts_with(login.%2$I, $3)',
            registered.table_name, registered.column_name)
        INTO found
        USING p_rotation, registered.domain || '_v',
              registered.domain || '_v' || standing.target_version || '_';
        movable := movable + found.movable;
        stuck := stuck + found.stuck;
    END LOOP;
    RETURN NEXT;
END;
$$;

-- Removes old originals whose rows have moved. Called when no row is left to move.
CREATE FUNCTION vault.drop_old_originals(p_rotation uuid) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
    SET jit = off
AS $$
DECLARE
    standing vault.rotation := vault.require_rotation(p_rotation, 'token-key');
    dropped  bigint;
BEGIN
    DELETE FROM vault.original AS original
    USING (SELECT right(successor.old_token, 32)::uuid AS old_token, right(successor.new_token, 32)::uuid AS new_token
           FROM vault.token_successor AS successor WHERE successor.rotation = p_rotation) AS pair
    JOIN vault.original AS new ON new.token = pair.new_token
    WHERE original.token = pair.old_token AND original.token_version <> standing.target_version;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END;
$$;

-- Originals that a rotation of data keys sealed again, for verifying that they open to what they were.
CREATE FUNCTION vault.resealed_originals(p_rotation uuid, p_after uuid, p_limit integer)
    RETURNS TABLE (token uuid, domain text, token_version integer, data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off
    SET enable_sort = off
    SET jit = off
AS $$
BEGIN
    RETURN QUERY
        SELECT original.token, original.domain, original.token_version, original.data_key, original.sealed
        FROM vault.original AS original
        WHERE original.token > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
          AND EXISTS (SELECT FROM vault.data_key AS key WHERE key.id = original.data_key AND key.run = p_rotation)
        ORDER BY original.token LIMIT p_limit;
END;
$$;

-- The pairs that a rotation made, in order of the old token.
CREATE FUNCTION vault.rotation_pairs(p_rotation uuid, p_after text, p_limit integer)
    RETURNS TABLE (old_token text, new_token text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT successor.old_token, successor.new_token FROM vault.token_successor AS successor
    WHERE successor.rotation = p_rotation AND successor.old_token > coalesce(p_after, '')
    ORDER BY successor.old_token LIMIT p_limit;
$$;

-- What still needs a token key: empty when it can be retired. Ledger rows do not hold it up; destroying does.
CREATE FUNCTION vault.token_version_needs(p_version integer) RETURNS TABLE (what text, amount bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT census.what || ' ' || census.name, census.amount
    FROM vault.rotation_census() AS census
    WHERE census.version = p_version AND census.what IN ('original', 'row') AND census.amount > 0
    ORDER BY 1;
$$;

-- Ends the use of an old token key: nothing stands under it, so its pairs go, and ingest makes no more.
CREATE FUNCTION vault.retire_token_version(p_version integer)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key_     vault.key_version;
    needing  text;
BEGIN
    SELECT key.* INTO key_ FROM vault.key_version AS key
    WHERE key.purpose = 'token' AND key.version = p_version FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no token key of this version is registered' USING ERRCODE = 'TV004';
    END IF;
    IF key_.state NOT IN ('deactivated', 'compromised') THEN
        RAISE EXCEPTION 'token key v% is %', p_version, key_.state
            USING ERRCODE = 'TV001', HINT = 'Only a deactivated key is retired.';
    END IF;
    IF EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.state = 'running' AND rotation.kind = 'token-key') THEN
        RAISE EXCEPTION 'a rotation of the token key is unfinished'
            USING ERRCODE = 'TV001', HINT = 'tokenvault rotate token-key run';
    END IF;
    SELECT string_agg(need.amount || ' x ' || need.what, ', ') INTO needing FROM vault.token_version_needs(p_version) AS need;
    IF needing IS NOT NULL THEN
        RAISE EXCEPTION 'token key v% is still needed: %', p_version, needing
            USING ERRCODE = 'TV001', HINT = 'tokenvault rotate token-key run moves what came in meanwhile.';
    END IF;
    DELETE FROM vault.token_successor AS successor WHERE successor.old_version = p_version;
    INSERT INTO vault.retired_key (id) VALUES (key_.id) ON CONFLICT (id) DO UPDATE SET retired_at = clock_timestamp();
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('key.retire', key_.id::text, NULL, NULL, key_.name) AS appended;
END;
$$;

-- Old token versions that may still stand somewhere: ingest writes pairs for them.
CREATE FUNCTION vault.superseded_token_versions() RETURNS SETOF integer
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT key.version FROM vault.key_version AS key
    WHERE key.purpose = 'token' AND key.state IN ('deactivated', 'compromised')
      AND NOT EXISTS (SELECT FROM vault.retired_key AS retired WHERE retired.id = key.id)
    ORDER BY key.version;
$$;

-- Forgets which messages and files were read under a token key: what would come again would be stored again.
CREATE FUNCTION vault.forget_ledger(p_version integer)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    messages bigint;
    files    bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM vault.key_version AS key JOIN vault.retired_key AS retired ON retired.id = key.id
                   WHERE key.purpose = 'token' AND key.version = p_version) THEN
        RAISE EXCEPTION 'only the ledger of a retired token key can be forgotten' USING ERRCODE = 'TV001';
    END IF;
    DELETE FROM vault.ingest_message AS message WHERE message.key_version = p_version;
    GET DIAGNOSTICS messages = ROW_COUNT;
    DELETE FROM vault.ingest_file AS file WHERE file.key_version = p_version;
    GET DIAGNOSTICS files = ROW_COUNT;
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('ledger.forget', 'v' || p_version, NULL, NULL,
                          format('messages %s, files %s', messages, files)) AS appended;
END;
$$;

-- Ingest read a file that was begun under an older token key: from now on it is known by the active one.
CREATE FUNCTION vault.rekey_file(p_id uuid, p_key_version integer, p_prefix_length integer, p_fingerprint bytea)
    RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_id IS NULL OR p_key_version IS NULL OR p_prefix_length IS NULL OR p_prefix_length NOT BETWEEN 0 AND 4096
        OR octet_length(p_fingerprint) IS DISTINCT FROM 16
    THEN
        RAISE EXCEPTION 'a file needs an id, a key version, a prefix of 0 to 4096 bytes and a fingerprint of 16'
            USING ERRCODE = 'TV020';
    END IF;
    UPDATE vault.ingest_file AS file
    SET key_version = p_key_version, prefix_length = p_prefix_length, fingerprint = p_fingerprint,
        updated_at = clock_timestamp()
    WHERE file.id = p_id AND file.key_version < p_key_version;
END;
$$;

-- recovery keys

-- Data keys that one recovery key cannot open yet, with the seals that the caller can open.
CREATE FUNCTION vault.data_keys_without_seal(p_recovery_key uuid, p_domains text[], p_own uuid[], p_after uuid,
                                             p_limit integer)
    RETURNS TABLE (id uuid, domain text, signing_key uuid, created_at bigint, commitment bytea, signature bytea,
                   recovery_key uuid, sealed bytea)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT key.id, key.domain, key.signing_key, extract(epoch FROM key.created_at)::bigint, key.commitment,
           key.signature, seal.recovery_key, seal.sealed
    FROM (
        SELECT lacking.* FROM vault.data_key AS lacking
        WHERE lacking.id > coalesce(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
          AND (p_domains IS NULL OR lacking.domain = ANY (p_domains))
          AND NOT EXISTS (SELECT FROM vault.data_key_seal AS own
                          WHERE own.data_key = lacking.id AND own.recovery_key = p_recovery_key)
        ORDER BY lacking.id LIMIT p_limit
    ) AS key
    LEFT JOIN vault.data_key_seal AS seal ON seal.data_key = key.id AND seal.recovery_key = ANY (p_own)
    ORDER BY key.id;
$$;

CREATE FUNCTION vault.add_seals(p_rotation uuid, p_recovery_key uuid, p_data_keys uuid[], p_sealed bytea[])
    RETURNS integer
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    added integer;
BEGIN
    PERFORM vault.require_rotation(p_rotation, 'recovery-key');
    IF NOT EXISTS (SELECT FROM vault.key_version AS key
                   WHERE key.id = p_recovery_key AND key.purpose = 'recovery' AND key.state = 'active') THEN
        RAISE EXCEPTION 'this recovery key is not registered and active'
            USING ERRCODE = 'TV001', HINT = 'tokenvault keys add recovery, then keys activate.';
    END IF;
    IF cardinality(p_data_keys) <> cardinality(p_sealed) OR EXISTS (
        SELECT FROM unnest(p_sealed) AS given (sealed)
        WHERE given.sealed IS NULL OR octet_length(given.sealed) NOT BETWEEN 81 AND 4096)
    THEN
        RAISE EXCEPTION 'a sealed data key has 81 bytes or more' USING ERRCODE = 'TV020';
    END IF;
    INSERT INTO vault.data_key_seal (data_key, recovery_key, sealed)
    SELECT given.data_key, p_recovery_key, given.sealed
    FROM unnest(p_data_keys, p_sealed) AS given (data_key, sealed)
    JOIN vault.data_key AS key ON key.id = given.data_key
    ORDER BY given.data_key
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE vault.rotation AS rotation
    SET values_done = rotation.values_done + added, updated_at = clock_timestamp()
    WHERE rotation.id = p_rotation;
    RETURN added;
END;
$$;

-- Takes a recovery key that is no longer active off every data key. Refused while it alone opens one.
CREATE FUNCTION vault.retire_recovery_key(p_key uuid)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key_  vault.key_version;
    alone bigint;
    taken bigint;
BEGIN
    SELECT key.* INTO key_ FROM vault.key_version AS key WHERE key.id = p_key AND key.purpose = 'recovery' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no recovery key with this id is registered' USING ERRCODE = 'TV004';
    END IF;
    IF key_.state NOT IN ('deactivated', 'compromised') THEN
        RAISE EXCEPTION 'recovery key % is %', key_.name, key_.state
            USING ERRCODE = 'TV001', HINT = 'Only a deactivated key is retired.';
    END IF;
    SELECT count(*) INTO alone FROM vault.data_key_seal AS seal
    WHERE seal.recovery_key = p_key
      AND NOT EXISTS (SELECT FROM vault.data_key_seal AS other
                      JOIN vault.key_version AS key ON key.id = other.recovery_key AND key.state = 'active'
                      WHERE other.data_key = seal.data_key AND other.recovery_key <> p_key);
    IF alone > 0 THEN
        RAISE EXCEPTION 'recovery key % is still needed: % data keys are sealed to no other active key', key_.name, alone
            USING ERRCODE = 'TV001', HINT = 'tokenvault rotate recovery-key run';
    END IF;
    DELETE FROM vault.data_key_seal AS seal WHERE seal.recovery_key = p_key;
    GET DIAGNOSTICS taken = ROW_COUNT;
    INSERT INTO vault.retired_key (id) VALUES (p_key) ON CONFLICT (id) DO UPDATE SET retired_at = clock_timestamp();
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('key.retire', p_key::text, NULL, NULL, key_.name || ': seals removed ' || taken) AS appended;
END;
$$;

-- key states

-- What 0006 refuses, and more: a token key becomes active only when no older rotation is open; nothing is destroyed that
-- a census finds in use, or before it is retired; nor the ledger's memory with it.
ALTER FUNCTION vault.change_key_state(uuid, text) RENAME TO change_key_state_0006;
CREATE FUNCTION vault.change_key_state(p_id uuid, p_state text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.key_version;
    ledger   bigint;
BEGIN
    SELECT key.* INTO standing FROM vault.key_version AS key WHERE key.id = p_id FOR UPDATE;
    IF standing.purpose = 'token' AND p_state = 'active' AND (
        EXISTS (SELECT FROM vault.superseded_token_versions())
        OR EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.state = 'running' AND rotation.kind = 'token-key'))
    THEN
        RAISE EXCEPTION 'the last rotation of the token key is not at its end'
            USING ERRCODE = 'TV001', HINT = 'tokenvault rotate token-key run, verify and retire come first.';
    END IF;
    IF p_state = 'destroyed' AND standing.state IN ('deactivated', 'compromised')
        AND standing.purpose IN ('token', 'recovery')
        AND NOT EXISTS (SELECT FROM vault.retired_key AS retired WHERE retired.id = p_id)
    THEN
        RAISE EXCEPTION 'key % is not retired', standing.name
            USING ERRCODE = 'TV001',
                  HINT = format('tokenvault rotate %s retire says what needs it, or that nothing does.',
                                CASE standing.purpose WHEN 'token' THEN 'token-key' ELSE 'recovery-key' END);
    END IF;
    IF p_state = 'destroyed' AND standing.purpose = 'token' THEN
        SELECT coalesce(sum(census.amount), 0) INTO ledger FROM vault.rotation_census() AS census
        WHERE census.version = standing.version AND census.what IN ('original', 'row', 'message', 'file');
        IF ledger > 0 THEN
            RAISE EXCEPTION 'key % is still needed by % rows, messages or files', standing.name, ledger
                USING ERRCODE = 'TV001',
                      HINT = 'Messages are forgotten after 15 days; keys destroy --forget-ledger forgets messages and '
                             'files now, and what comes again is then stored again.';
        END IF;
    END IF;
    IF p_state = 'destroyed' AND standing.purpose = 'signing' THEN
        SELECT count(*) INTO ledger FROM vault.data_key AS key WHERE key.signing_key = p_id;
        IF ledger > 0 THEN
            RAISE EXCEPTION 'key % is still needed: it signed % data keys', standing.name, ledger
                USING ERRCODE = 'TV001', HINT = 'tokenvault rotate data-keys run replaces them.';
        END IF;
    END IF;
    RETURN QUERY SELECT changed.audit_sequence, changed.audit_head FROM vault.change_key_state_0006(p_id, p_state) AS changed;
END;
$$;

-- Registers another table's column, so that rotations move its tokens. Grant tokenvault_owner SELECT and UPDATE on it first.
CREATE FUNCTION vault.register_masked_column(p_table text, p_column text, p_domain text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found regclass := to_regclass(p_table);
    named text;
BEGIN
    IF found IS NULL OR p_column IS NULL OR p_domain IS NULL OR p_domain !~ '^[a-z][a-z0-9_]{0,30}$'
        OR NOT EXISTS (SELECT FROM pg_attribute AS attribute
                       WHERE attribute.attrelid = found AND attribute.attname = p_column
                         AND attribute.atttypid IN ('text'::regtype, 'varchar'::regtype) AND NOT attribute.attisdropped)
    THEN
        RAISE EXCEPTION 'a masked column is a text column of a table, and has a domain' USING ERRCODE = 'TV020';
    END IF;
    SELECT format('%I.%I', namespace.nspname, class.relname) INTO named
    FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace WHERE class.oid = found;
    IF named LIKE 'vault.%' OR named LIKE 'audit.%' OR named LIKE 'pg\_%'
        OR NOT has_table_privilege('tokenvault_owner', found, 'SELECT')
        OR NOT has_column_privilege('tokenvault_owner', found, p_column, 'UPDATE')
    THEN
        RAISE EXCEPTION 'tokenvault_owner may not read and update this column'
            USING ERRCODE = 'TV001', HINT = 'As the table''s owner: GRANT SELECT, UPDATE ON it TO tokenvault_owner.';
    END IF;
    INSERT INTO vault.masked_column (table_name, column_name, domain) VALUES (named, p_column, p_domain)
    ON CONFLICT (table_name, column_name) DO UPDATE SET domain = excluded.domain;
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('column.register', named || '.' || quote_ident(p_column), NULL, NULL, p_domain) AS appended;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
REVOKE ALL ON FUNCTION vault.change_key_state_0006(uuid, text) FROM tokenvault_operator;
GRANT INSERT (old_token, new_token, domain, old_version) ON vault.token_successor TO tokenvault_ingest;
GRANT SELECT ON vault.masked_column TO tokenvault_operator;
GRANT EXECUTE ON FUNCTION
    vault.row_fingerprint(integer), vault.rotation_census(), vault.count_originals(integer),
    vault.begin_rotation(uuid, text, integer, text), vault.next_rotation_pass(uuid, jsonb),
    vault.note_rotation_exceptions(uuid, uuid[], text[]), vault.finish_rotation(uuid, text), vault.rotations(integer),
    vault.rotation_exceptions(uuid), vault.rotation_page(uuid, uuid, integer), vault.rotation_originals(uuid, uuid[]),
    vault.add_rotation_data_key(uuid, uuid, text, uuid, bigint, bytea, bytea, uuid[], bytea[]),
    vault.replace_sealed(uuid, uuid, uuid, uuid, uuid[], uuid[], uuid[], bytea[]),
    vault.rotation_quarantine_page(uuid, integer), vault.replace_quarantined(uuid, uuid[], uuid[], uuid, bytea[]),
    vault.drop_unused_data_keys(uuid),
    vault.store_successors(uuid, uuid, uuid, uuid, uuid[], uuid[], text[], uuid[], bytea[], text[], text[], text[],
                           integer[], integer[]),
    vault.move_rows(uuid, integer, integer), vault.analyze_successors(), vault.old_rows(uuid),
    vault.rows_to_move(uuid),
    vault.drop_old_originals(uuid), vault.resealed_originals(uuid, uuid, integer), vault.rotation_pairs(uuid, text, integer),
    vault.token_version_needs(integer), vault.retire_token_version(integer), vault.forget_ledger(integer),
    vault.data_keys_without_seal(uuid, text[], uuid[], uuid, integer),
    vault.add_seals(uuid, uuid, uuid[], bytea[]), vault.retire_recovery_key(uuid),
    vault.change_key_state(uuid, text), vault.register_masked_column(text, text, text)
    TO tokenvault_operator;
GRANT EXECUTE ON FUNCTION vault.rotation_census(), vault.rotations(integer) TO tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.superseded_token_versions(), vault.rekey_file(uuid, integer, integer, bytea)
    TO tokenvault_ingest;

SELECT vault.record_migration(7, 'rotation');

COMMIT;
