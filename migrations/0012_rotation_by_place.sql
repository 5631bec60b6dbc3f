-- 0012_rotation_by_place: rotations read and write originals in the order they lie in, and nothing is written under a
-- retired token key.
-- requires: 0011_outcome
-- A page is a range of blocks of vault.original: neighbours on disk, read and written once. By token, each page touched
-- every block of the table. Pairs of tokens made by a rotation have a table without an index: rows move by hash joins.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- pairs

CREATE TABLE vault.rotation_pair (
    rotation    uuid    NOT NULL,
    old_version integer NOT NULL,
    slice       integer NOT NULL,
    domain      text    COLLATE "C" NOT NULL,
    old_token   text    COLLATE "C" NOT NULL,
    new_token   text    COLLATE "C" NOT NULL
);
-- The planner's statistics would keep old tokens after the pairs are gone: an empty table keeps its last statistics.
ALTER TABLE vault.rotation_pair ALTER COLUMN old_token SET STATISTICS 0, ALTER COLUMN new_token SET STATISTICS 0;
COMMENT ON TABLE  vault.rotation_pair       IS 'Pairs of tokens that rotations made from opened originals; rows move by these.';
COMMENT ON COLUMN vault.rotation_pair.slice IS '0 to 65535; an address and its network share one, so they move together.';

INSERT INTO vault.rotation_pair (rotation, old_version, slice, domain, old_token, new_token)
SELECT noted.rotation, noted.old_version, noted.slice, noted.domain, noted.old_token, noted.new_token
FROM vault.token_successor AS noted WHERE noted.rotation IS NOT NULL;
DELETE FROM vault.token_successor AS noted WHERE noted.rotation IS NOT NULL;
ALTER TABLE vault.token_successor DROP COLUMN slice, DROP COLUMN rotation;
COMMENT ON TABLE vault.token_successor IS 'Pairs of tokens that ingest notes for the duplicate views; no row moves by these.';

-- What is known of each old token. A pair of a rotation goes before one that ingest noted; a network may stand twice.
CREATE VIEW vault.token_pair AS
    SELECT pair.old_token, coalesce(min(pair.new_token) FILTER (WHERE pair.is_proven), min(pair.new_token)) AS new_token,
           min(pair.domain) AS domain, min(pair.old_version) AS old_version, bool_or(pair.is_proven) AS is_proven
    FROM (SELECT made.old_token, made.new_token, made.domain, made.old_version, true AS is_proven
          FROM vault.rotation_pair AS made
          UNION ALL
          SELECT noted.old_token, noted.new_token, noted.domain, noted.old_version, false
          FROM vault.token_successor AS noted) AS pair
    GROUP BY pair.old_token;
COMMENT ON VIEW vault.token_pair IS 'While two token keys are in use: which tokens stand for one value.';

-- A rotation under way goes on from its first block, or with what it has not paired yet.
COMMENT ON COLUMN vault.rotation.place IS 'Cursor. Low 64 bits: the blocks of vault.original before this are done; others: erasures.';
UPDATE vault.rotation AS rotation
SET place = NULL, pass = rotation.pass + (rotation.kind = 'token-key')::integer
WHERE rotation.state = 'running';

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
                   LEFT JOIN vault.token_pair AS successor ON successor.old_token = standing.%2$I COLLATE "C"
                   WHERE standing.%2$I IS NOT NULL) AS login
             GROUP BY login.token
             HAVING count(*) > 1',
            wanted.name, wanted.masked, kind);
    END LOOP;
END;
$$;

-- fingerprints and census: as in 0007, over all pairs

CREATE OR REPLACE FUNCTION vault.row_fingerprint(p_version integer) RETURNS jsonb
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
                   LEFT JOIN vault.token_pair AS successor
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


CREATE OR REPLACE FUNCTION vault.rotation_census() RETURNS TABLE (what text, name text, version integer, amount bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET jit = off
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
            'SELECT CASE WHEN login.erased THEN ''erased row'' ELSE ''row'' END, %3$L,
                    substring(login.prefix from ''[0-9]+$'')::integer, sum(login.amount)::bigint
             FROM (SELECT left(login.%2$I, -33) AS prefix, %5$s AS erased, count(*) AS amount FROM %1$s AS login
                   WHERE login.%2$I IS NOT NULL GROUP BY 1, 2) AS login
             WHERE login.prefix ~ %4$L GROUP BY 1, 3',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            '^' || registered.domain || '_v[1-9][0-9]{0,8}$',
            vault.irreversible_condition(registered.table_name, registered.column_name, registered.domain));
        RETURN QUERY EXECUTE format(
            'SELECT ''straddling'', %3$L, NULL::integer, count(*)
             FROM vault.token_pair AS successor
             WHERE starts_with(successor.old_token, %4$L)
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.old_token)
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.new_token)',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            registered.domain || '_v');
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


-- begin, go on

-- As in 0007; a run that goes on looks again at what an earlier one left alone, which may be mended by now.
CREATE OR REPLACE FUNCTION vault.begin_rotation(p_id uuid, p_kind text, p_target integer, p_scope text)
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
        DELETE FROM vault.rotation_exception AS exception_ WHERE exception_.rotation = standing.id;
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

-- Starts another pass, or notes the fingerprint of the rows before the first.
CREATE OR REPLACE FUNCTION vault.next_rotation_pass(p_rotation uuid, p_rows_before jsonb) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE vault.rotation AS rotation
    SET place = NULL, pass = rotation.pass + (p_rows_before IS NULL)::integer, updated_at = clock_timestamp(),
        rows_before = coalesce(rotation.rows_before, p_rows_before)
    WHERE rotation.id = p_rotation AND rotation.state = 'running';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation with this id is under way' USING ERRCODE = 'TV004';
    END IF;
END;
$$;


-- originals

DROP FUNCTION vault.rotation_page(uuid, uuid, integer);
DROP FUNCTION vault.replace_sealed(uuid, uuid, uuid, uuid, uuid[], uuid[], uuid[], bytea[]);
DROP FUNCTION vault.store_successors(uuid, uuid, uuid, uuid, uuid[], uuid[], text[], uuid[], bytea[], text[], text[], text[],
                                     integer[], integer[]);
DROP FUNCTION vault.rotation_pairs(uuid, text, integer);
DROP FUNCTION vault.retire_token_version(integer);

-- Length, in blocks, of the tables that rotations read by place.
CREATE FUNCTION vault.rotation_extent(OUT originals bigint, OUT pairs bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_relation_size('vault.original'::regclass) / current_setting('block_size')::bigint,
           pg_relation_size('vault.rotation_pair'::regclass) / current_setting('block_size')::bigint;
$$;

-- First pass: the originals in blocks p_from to p_to - 1 that the rotation has to do: sealed, never opened here.
CREATE FUNCTION vault.rotation_page(p_rotation uuid, p_from bigint, p_to bigint)
    RETURNS TABLE (place tid, token uuid, domain text, token_version integer, data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
    first    tid := format('(%s,0)', p_from)::tid;
    beyond   tid := format('(%s,0)', p_to)::tid;
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running';
    IF standing.kind = 'token-key' THEN
        RETURN QUERY
            SELECT original.ctid, original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.ctid >= first AND original.ctid < beyond
              AND original.token_version <> standing.target_version;
    ELSIF standing.kind = 'data-keys' THEN
        RETURN QUERY
            SELECT original.ctid, original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.ctid >= first AND original.ctid < beyond
              AND original.data_key IN (SELECT scope.data_key FROM vault.rotation_scope AS scope
                                        WHERE scope.rotation = p_rotation);
    END IF;
END;
$$;

-- Later passes: up to p_limit originals that are still to be done, wherever they lie. What was left alone is not among them.
CREATE FUNCTION vault.rotation_leftovers(p_rotation uuid, p_limit integer)
    RETURNS TABLE (place tid, token uuid, domain text, token_version integer, data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running';
    IF standing.kind = 'token-key' THEN
        RETURN QUERY
            SELECT original.ctid, original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.token_version <> standing.target_version
              AND NOT EXISTS (SELECT FROM vault.rotation_exception AS exception_
                              WHERE exception_.rotation = p_rotation AND exception_.token = original.token)
              AND NOT EXISTS (
                  SELECT FROM vault.rotation_pair AS pair
                  WHERE pair.rotation = p_rotation AND pair.domain = original.domain
                    AND right(pair.old_token, 32)::uuid = original.token)
            LIMIT p_limit;
    ELSIF standing.kind = 'data-keys' THEN
        RETURN QUERY
            SELECT original.ctid, original.token, original.domain, original.token_version, original.data_key, original.sealed
            FROM vault.original AS original
            WHERE original.data_key IN (SELECT scope.data_key FROM vault.rotation_scope AS scope
                                        WHERE scope.rotation = p_rotation)
              AND NOT EXISTS (SELECT FROM vault.rotation_exception AS exception_
                              WHERE exception_.rotation = p_rotation AND exception_.token = original.token)
            LIMIT p_limit;
    END IF;
END;
$$;

-- Pages of a rotation commit without waiting for the disk: after a crash of the server the cursor and what it stands for
-- are lost together, and the next run does them again. What removes anything old is a later, durable commit, and that
-- flushes all before it.

-- data-keys: compare-and-set. An original that somebody else has changed or removed meanwhile is left alone.
CREATE FUNCTION vault.replace_sealed(p_rotation uuid, p_from uuid, p_to uuid, p_value_sum uuid, p_places tid[],
                                     p_tokens uuid[], p_old_keys uuid[], p_new_keys uuid[], p_sealed bytea[])
    RETURNS integer
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
DECLARE
    replaced integer;
BEGIN
    PERFORM vault.require_rotation(p_rotation, 'data-keys');
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE vault.original AS original
    SET data_key = given.new_key, sealed = given.sealed
    FROM unnest(p_places, p_tokens, p_old_keys, p_new_keys, p_sealed) AS given (place, token, old_key, new_key, sealed)
    WHERE original.ctid = given.place AND original.token = given.token AND original.data_key = given.old_key;
    GET DIAGNOSTICS replaced = ROW_COUNT;
    PERFORM vault.advance_rotation(p_rotation, p_from, p_to, replaced, p_value_sum);
    RETURN replaced;
END;
$$;

-- token key: adds the new originals beside the old ones, and the pairs that the rows move by. Returns the new tokens that
-- stood already, which the caller opens before it commits.
CREATE FUNCTION vault.store_successors(p_rotation uuid, p_from uuid, p_to uuid, p_value_sum uuid, p_places tid[],
                                       p_old_originals uuid[], p_new_originals uuid[], p_domains text[],
                                       p_data_keys uuid[], p_sealed bytea[],
                                       p_old_tokens text[], p_new_tokens text[], p_pair_domains text[],
                                       p_old_versions integer[], p_slices integer[])
    RETURNS TABLE (token uuid)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation := vault.require_rotation(p_rotation, 'token-key');
    found_   bigint;
    inserted uuid[];
BEGIN
    IF cardinality(p_old_tokens) <> cardinality(p_new_tokens) OR cardinality(p_old_originals) <> cardinality(p_sealed)
        OR cardinality(p_old_originals) <> cardinality(p_new_originals)
        OR cardinality(p_old_originals) <> cardinality(p_places)
        OR cardinality(p_old_tokens) <> cardinality(p_old_versions) OR standing.target_version = ANY (p_old_versions)
    THEN
        RAISE EXCEPTION 'successors come as lists of one length, from another version' USING ERRCODE = 'TV020';
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    -- created_at is the value's, not the key's.
    WITH old AS MATERIALIZED (
        SELECT given.new_token, given.domain, given.data_key, given.sealed, original.created_at
        FROM unnest(p_places, p_old_originals, p_new_originals, p_domains, p_data_keys, p_sealed)
            AS given (place, old_token, new_token, domain, data_key, sealed)
        JOIN vault.original AS original ON original.ctid = given.place AND original.token = given.old_token
    ), new AS (
        INSERT INTO vault.original AS original (token, domain, token_version, data_key, sealed, created_at)
        SELECT old.new_token, old.domain, standing.target_version, old.data_key, old.sealed, old.created_at
        FROM old
        ORDER BY old.domain <> 'ip', old.new_token
        ON CONFLICT DO NOTHING
        RETURNING original.token
    )
    SELECT (SELECT count(*) FROM old), (SELECT coalesce(array_agg(new.token), '{}') FROM new) INTO found_, inserted;
    IF found_ <> cardinality(p_old_originals) THEN
        RAISE EXCEPTION 'an original was changed or removed meanwhile' USING ERRCODE = 'TV010', HINT = 'Run it again.';
    END IF;
    INSERT INTO vault.rotation_pair (rotation, old_version, slice, domain, old_token, new_token)
    SELECT p_rotation, given.version, given.slice, given.domain, given.old_token, given.new_token
    FROM unnest(p_old_tokens, p_new_tokens, p_pair_domains, p_old_versions, p_slices)
        AS given (old_token, new_token, domain, version, slice);
    PERFORM vault.advance_rotation(p_rotation, p_from, p_to, cardinality(p_old_originals), p_value_sum);
    IF cardinality(inserted) < cardinality(p_new_originals) THEN
        RETURN QUERY SELECT given.token FROM unnest(p_new_originals) AS given (token)
            EXCEPT SELECT own.token FROM unnest(inserted) AS own (token);
    END IF;
END;
$$;

-- How many rows stand under versions other than the rotation's, with a pair (they can be moved) and without.
CREATE OR REPLACE FUNCTION vault.rows_to_move(p_rotation uuid) RETURNS TABLE (movable bigint, stuck bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
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
            'SELECT count(*) FILTER (WHERE successor.is_proven) AS movable,
                    count(*) FILTER (WHERE successor.is_proven IS NOT TRUE AND NOT %3$s) AS stuck
             FROM %1$s AS login
             LEFT JOIN vault.token_pair AS successor ON successor.old_token = login.%2$I COLLATE "C"
             WHERE starts_with(login.%2$I, $1) AND NOT starts_with(login.%2$I, $2)',
            registered.table_name, registered.column_name,
            vault.irreversible_condition(registered.table_name, registered.column_name, registered.domain))
        INTO found
        USING registered.domain || '_v',
              registered.domain || '_v' || standing.target_version || '_';
        movable := movable + found.movable;
        stuck := stuck + found.stuck;
    END LOOP;
    RETURN NEXT;
END;
$$;

-- Moves all rows of the groups of some slices to their new tokens: whole groups, in one transaction, in every
-- registered table. One pass over a table moves rows whose every token moves; a second the others.
-- Returns how many rows it changed.
CREATE OR REPLACE FUNCTION vault.move_rows(p_rotation uuid, p_first_slice integer, p_last_slice integer) RETURNS bigint
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
               string_agg(format('vault.rotation_pair AS s%s', masked.place), ', ') AS joint_tables,
               string_agg(format('login.%1$I COLLATE "C" = s%2$s.old_token AND s%2$s.domain = %3$L '
                                 'AND s%2$s.slice BETWEEN $1 AND $2', masked.column_name, masked.place, masked.domain),
                          ' AND ') AS joint_condition,
               string_agg(format('%1$I = coalesce(moved.n%2$s, login.%1$I)', masked.column_name, masked.place), ', ')
                   AS single_values,
               string_agg(format('s%1$s.new_token AS n%1$s', masked.place), ', ') AS single_columns,
               string_agg(format('LEFT JOIN vault.rotation_pair AS s%2$s ON login.%1$I COLLATE "C" = s%2$s.old_token '
                                 'AND s%2$s.domain = %3$L AND s%2$s.slice BETWEEN $1 AND $2',
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
            USING p_first_slice, p_last_slice;
            GET DIAGNOSTICS changed = ROW_COUNT;
            total := total + changed;
        END IF;
        EXECUTE format('UPDATE %1$s AS login SET %2$s
                        FROM (SELECT login.ctid AS place, %3$s FROM %1$s AS login %4$s
                              WHERE login.xmin <> $3 AND (%6$s) AND (%5$s)) AS moved
                        WHERE login.ctid = moved.place',
                       registered.table_name, registered.single_values, registered.single_columns,
                       registered.single_tables, registered.single_condition, registered.old_condition)
        USING p_first_slice, p_last_slice, pg_current_xact_id()::xid;
        GET DIAGNOSTICS changed = ROW_COUNT;
        total := total + changed;
    END LOOP;
    UPDATE vault.rotation AS rotation
    SET rows_done = rotation.rows_done + total, updated_at = clock_timestamp()
    WHERE rotation.id = p_rotation;
    RETURN total;
END;
$$;

CREATE OR REPLACE FUNCTION vault.analyze_successors() RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ANALYZE vault.rotation_pair;
END;
$$;

-- Rows that the registered tables hold, as the planner knows it: for cutting moves to size.
CREATE FUNCTION vault.rows_about() RETURNS bigint
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(CASE
        WHEN class.relpages > 0 AND class.reltuples > 0
            THEN class.reltuples / class.relpages * (pg_relation_size(class.oid) / current_setting('block_size')::bigint)
        ELSE pg_relation_size(class.oid) / 250 END), 0)::bigint
    FROM pg_class AS class
    WHERE class.oid IN (SELECT masked.table_name::regclass FROM vault.masked_column AS masked);
$$;

-- Removes old originals whose rows have moved. Called when no row is left to move.
CREATE OR REPLACE FUNCTION vault.drop_old_originals(p_rotation uuid) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '256MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
DECLARE
    standing vault.rotation := vault.require_rotation(p_rotation, 'token-key');
    dropped  bigint;
BEGIN
    DELETE FROM vault.original AS original
    USING (SELECT pair.domain, right(pair.old_token, 32)::uuid AS old_token, right(pair.new_token, 32)::uuid AS new_token
           FROM vault.rotation_pair AS pair
           WHERE pair.rotation = p_rotation) AS pair
    JOIN vault.original AS new ON new.token = pair.new_token AND new.token_version = standing.target_version
    WHERE original.token = pair.old_token AND original.domain = pair.domain
      AND original.token_version <> standing.target_version;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END;
$$;

-- The pairs that a rotation made, in blocks p_from to p_to - 1 of their table.
CREATE FUNCTION vault.rotation_pairs(p_rotation uuid, p_from bigint, p_to bigint)
    RETURNS TABLE (old_token text, new_token text)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
        SELECT pair.old_token, pair.new_token FROM vault.rotation_pair AS pair
        WHERE pair.ctid >= format('(%s,0)', p_from)::tid AND pair.ctid < format('(%s,0)', p_to)::tid
          AND pair.rotation = p_rotation;
END;
$$;

-- erasures: as in 0008, with the pairs of rotations in their own table

CREATE OR REPLACE FUNCTION vault.same_value(p_tokens text[]) RETURNS TABLE (token text, member text)
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH newest AS (
        SELECT given.token, coalesce(successor.new_token, given.token COLLATE "C") AS newest
        FROM unnest(p_tokens) AS given (token)
        LEFT JOIN (SELECT made.old_token, made.new_token FROM vault.rotation_pair AS made
                   UNION ALL SELECT noted.old_token, noted.new_token FROM vault.token_successor AS noted) AS successor ON successor.old_token = given.token COLLATE "C"
    )
    SELECT newest.token, newest.token COLLATE "C" FROM newest
    UNION SELECT newest.token, newest.newest FROM newest
    UNION SELECT newest.token, older.old_token
          FROM newest JOIN (SELECT made.old_token, made.new_token FROM vault.rotation_pair AS made
                   UNION ALL SELECT noted.old_token, noted.new_token FROM vault.token_successor AS noted) AS older ON older.new_token = newest.newest
    ORDER BY 1, 2;
$$;

CREATE OR REPLACE FUNCTION vault.tokens_seen(p_since date, p_among text[]) RETURNS SETOF text
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET work_mem = '128MB'
AS $$
DECLARE
    rows_ text;
BEGIN
    SELECT string_agg(format('SELECT login.%I::text COLLATE "C" AS token FROM %s AS login
                              WHERE login.%I >= $1 AND login.%1$I %4$s',
                             named.name, masked.table_name, masked.date_column,
                             CASE WHEN p_among IS NULL THEN 'IS NOT NULL' ELSE '= ANY ($2)' END), ' UNION ')
    INTO rows_
    FROM vault.masked_tables() AS masked CROSS JOIN LATERAL unnest(masked.column_names) AS named (name)
    WHERE masked.date_column IS NOT NULL;
    IF rows_ IS NOT NULL THEN
        RETURN QUERY EXECUTE format(
            'WITH seen AS (%s), newest AS (
                 SELECT coalesce(successor.new_token, seen.token) AS token FROM seen
                 LEFT JOIN (SELECT made.old_token, made.new_token FROM vault.rotation_pair AS made
                   UNION ALL SELECT noted.old_token, noted.new_token FROM vault.token_successor AS noted) AS successor ON successor.old_token = seen.token)
             SELECT seen.token FROM seen
             UNION SELECT newest.token FROM newest
             UNION SELECT older.old_token FROM newest
                   JOIN (SELECT made.old_token, made.new_token FROM vault.rotation_pair AS made
                   UNION ALL SELECT noted.old_token, noted.new_token FROM vault.token_successor AS noted) AS older ON older.new_token = newest.token', rows_)
        USING p_since, p_among;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION vault.drop_pairs(p_tokens text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    doomed text[];
    held   text;
BEGIN
    SELECT array_agg(successor.old_token) INTO doomed FROM (SELECT made.old_token, made.new_token FROM vault.rotation_pair AS made
                   UNION ALL SELECT noted.old_token, noted.new_token FROM vault.token_successor AS noted) AS successor
    WHERE successor.old_token = ANY (p_tokens) OR successor.new_token = ANY (p_tokens);
    IF doomed IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format('SELECT login.%I::text FROM %s AS login WHERE login.%1$I = ANY ($1)', named.name,
                             masked.table_name), ' UNION ALL ')
    INTO held
    FROM vault.masked_tables() AS masked CROSS JOIN LATERAL unnest(masked.column_names) AS named (name);
    EXECUTE format('DELETE FROM vault.token_successor AS successor
                    WHERE successor.old_token = ANY ($1) AND successor.old_token NOT IN (%s)',
                   coalesce(held, 'SELECT NULL WHERE false'))
    USING doomed;
    EXECUTE format('DELETE FROM vault.rotation_pair AS pair
                    WHERE pair.old_token = ANY ($1) AND pair.old_token NOT IN (%s)',
                   coalesce(held, 'SELECT NULL WHERE false'))
    USING doomed;
END;
$$;

CREATE OR REPLACE FUNCTION vault.erase_batch(p_erasure uuid, p_user text, p_limit integer) RETURNS TABLE (handled integer, remaining bigint)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '5s'
    SET plan_cache_mode = force_custom_plan
    SET jit = off
AS $$
DECLARE
    standing vault.erasure;
    batch    text[];
    tokens   text[];
    owners   text[];
    members  text[];
    settled  text[] := '{}';
    spared   text[];
    rows_    record;
    gone     bigint;
    missing  bigint;
    zero     CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    standing := vault.require_erasure(p_erasure, p_user);
    LOCK TABLE vault.erasure_gate IN EXCLUSIVE MODE;
    SELECT array_agg(next.token) INTO batch
    FROM (SELECT item.token FROM vault.erasure_item AS item
          WHERE item.erasure = p_erasure AND item.state = 'waiting'
          ORDER BY item.token LIMIT least(greatest(coalesce(p_limit, 1), 1), 100000)) AS next;
    IF batch IS NULL THEN
        RETURN QUERY SELECT 0, 0::bigint;
        RETURN;
    END IF;

    tokens := batch;
    LOOP
        SELECT array_agg(same.token), array_agg(same.member) INTO owners, members FROM vault.same_value(tokens) AS same;
        EXIT WHEN members IS NULL OR members = settled;
        settled := members;

        -- What came in since the erasure began may have made a value another user's too, or a recent one.
        IF standing.kind = 'retention' THEN
            SELECT array_agg(DISTINCT same.token) INTO spared
            FROM unnest(owners, members) AS same (token, member)
            JOIN vault.tokens_seen(standing.cutoff, members) AS seen (token) ON seen.token = same.member;
        ELSIF standing.shared = 'keep' THEN
            SELECT array_agg(counts.token) INTO spared FROM vault.token_rows(owners, members, p_user) AS counts
            WHERE counts.users > CASE standing.kind WHEN 'tokens' THEN 1 ELSE 0 END;
        END IF;
        IF spared IS NOT NULL THEN
            UPDATE vault.erasure_item AS item SET state = 'kept', other_users = greatest(item.other_users, 1)
            WHERE item.erasure = p_erasure AND item.token = ANY (spared);
            UPDATE vault.erasure AS erasure SET kept = erasure.kept + cardinality(spared) WHERE erasure.id = p_erasure;
            tokens := ARRAY(SELECT given.token FROM unnest(tokens) AS given (token) WHERE given.token <> ALL (spared));
            spared := NULL;
            SELECT array_agg(same.token), array_agg(same.member) INTO owners, members FROM vault.same_value(tokens) AS same;
            EXIT WHEN members IS NULL;
            settled := members;
        END IF;

        IF standing.masked_rows <> 'keep' THEN
            SELECT * INTO rows_ FROM vault.take_out_tokens(members, standing.masked_rows = 'delete',
                                                           CASE standing.kind WHEN 'user' THEN p_user END);
            UPDATE vault.erasure AS erasure
            SET rows_cleared = erasure.rows_cleared + rows_.cleared, rows_deleted = erasure.rows_deleted + rows_.deleted
            WHERE erasure.id = p_erasure;
        END IF;

        -- A rotation that has read these originals and not yet committed its page must not put new ones beside them: the upper
        -- half of its cursor counts on, so its compare-and-set fails, and it reads the page again.
        -- After the rows, not before: moving rows holds their locks first and takes this one last.
        UPDATE vault.rotation AS rotation
        SET place = (lpad(to_hex(('x' || left(replace(coalesce(rotation.place, zero)::text, '-', ''), 16))::bit(64)::bigint + 1),
                          16, '0') || right(replace(coalesce(rotation.place, zero)::text, '-', ''), 16))::uuid
        WHERE rotation.state = 'running' AND rotation.kind = 'token-key';
    END LOOP;

    WITH removed AS (
        DELETE FROM vault.original AS original
        USING (SELECT DISTINCT right(given.token, 32)::uuid AS token, left(given.token, -32) AS prefix
               FROM unnest(members) AS given (token)) AS named
        WHERE original.token = named.token
          AND original.domain || '_v' || original.token_version || '_' = named.prefix
        RETURNING original.token, named.prefix, original.data_key
    ), made AS (
        SELECT pair.new_token, min(pair.rotation::text)::uuid AS rotation FROM vault.rotation_pair AS pair
        WHERE pair.new_token = ANY (members) GROUP BY pair.new_token
    ), marked AS (
        INSERT INTO vault.erased_token AS tombstone (token, erasure, rotation)
        SELECT removed.token, p_erasure, coalesce(
                   (SELECT made.rotation FROM made
                    WHERE made.new_token = removed.prefix || replace(removed.token::text, '-', '')),
                   (SELECT rotation.id FROM vault.data_key AS key JOIN vault.rotation AS rotation ON rotation.id = key.run
                    WHERE key.id = removed.data_key AND rotation.kind = 'data-keys'))
        FROM removed ORDER BY removed.token
        ON CONFLICT (token) DO UPDATE
        SET erased_at = excluded.erased_at, erasure = excluded.erasure,
            rotation = coalesce(excluded.rotation, tombstone.rotation)
        RETURNING tombstone.token
    )
    SELECT count(*) INTO gone FROM marked;
    PERFORM vault.drop_pairs(members);
    UPDATE vault.erasure_gate AS gate SET epoch = gate.epoch + 1;

    IF standing.kind = 'retention' THEN
        DELETE FROM vault.erasure_item AS item WHERE item.erasure = p_erasure AND item.token = ANY (batch);
        missing := 0;
    ELSE
        UPDATE vault.erasure_item AS item
        SET state = CASE WHEN EXISTS (SELECT FROM vault.erased_token AS tombstone
                                      WHERE tombstone.token = right(item.token, 32)::uuid AND tombstone.erasure = p_erasure)
                         THEN 'erased' ELSE 'absent' END
        WHERE item.erasure = p_erasure AND item.token = ANY (tokens) AND item.state = 'waiting';
        SELECT count(*) INTO missing FROM vault.erasure_item AS item
        WHERE item.erasure = p_erasure AND item.token = ANY (tokens) AND item.state = 'absent';
    END IF;
    UPDATE vault.erasure AS erasure
    SET erased = erasure.erased + gone, absent = erasure.absent + missing
    WHERE erasure.id = p_erasure;
    RETURN QUERY SELECT cardinality(batch), (SELECT count(*) FROM vault.erasure_item AS item
                                             WHERE item.erasure = p_erasure AND item.state = 'waiting');
END;
$$;

-- nothing under a retired key

ALTER TABLE vault.ingest_run ADD COLUMN token_version integer NULL, ADD COLUMN progressed_at timestamptz NULL;
COMMENT ON COLUMN vault.ingest_run.token_version IS 'Token key that the run writes under; NULL for one begun before 0012.';
COMMENT ON COLUMN vault.ingest_run.progressed_at IS 'When its last batch was stored.';

-- Raises when the token key that a run writes under is retired. Keeps it from being retired until the transaction ends.
CREATE FUNCTION vault.require_token_version(p_version integer, p_begun timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM vault.key_version AS key
    WHERE key.purpose = 'token' AND (key.version = p_version OR p_version IS NULL)
    ORDER BY key.version FOR KEY SHARE;
    -- A statement of its own: its snapshot sees what was committed while this one waited for the lock.
    IF EXISTS (
        SELECT FROM vault.key_version AS key
        LEFT JOIN vault.retired_key AS retired ON retired.id = key.id
        WHERE key.purpose = 'token'
          AND CASE WHEN p_version IS NULL THEN retired.retired_at > p_begun
                   ELSE key.version = p_version AND (retired.id IS NOT NULL OR key.state = 'destroyed') END
    ) THEN
        RAISE EXCEPTION 'token key v% is retired: nothing is stored under it any more', coalesce(p_version::text, '?')
            USING ERRCODE = 'TV001',
                  HINT = 'Install the newest ingest keyring on this host and run ingest again; it goes on where this run was.';
    END IF;
END;
$$;

-- As before; the run says which token key it writes under.
CREATE FUNCTION vault.begin_run(p_run uuid, p_source text, p_token_version integer) RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_token_version IS NULL OR p_token_version < 1 THEN
        RAISE EXCEPTION 'a run needs the version of its token key' USING ERRCODE = 'TV020';
    END IF;
    PERFORM vault.require_token_version(p_token_version, NULL);
    PERFORM vault.begin_run(p_run, p_source);
    UPDATE vault.ingest_run AS run SET token_version = p_token_version WHERE run.id = p_run;
END;
$$;

-- Locks the run's row until the transaction ends: call it last, or parallel batches of one run wait in line.
CREATE OR REPLACE FUNCTION vault.add_run_counts(p_run uuid, p_stored bigint, p_repeated bigint, p_quarantined bigint)
    RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own vault.ingest_run;
BEGIN
    IF p_stored IS NULL OR p_repeated IS NULL OR p_quarantined IS NULL OR least(p_stored, p_repeated, p_quarantined) < 0
    THEN
        RAISE EXCEPTION 'counts of a batch are numbers from 0' USING ERRCODE = 'TV020';
    END IF;
    SELECT run.* INTO own FROM vault.ingest_run AS run WHERE run.id = p_run;
    PERFORM vault.require_token_version(own.token_version, own.started_at);
    UPDATE vault.ingest_run AS run
    SET stored = run.stored + p_stored, repeated = run.repeated + p_repeated,
        quarantined = run.quarantined + p_quarantined, progressed_at = clock_timestamp()
    WHERE run.id = p_run AND run.started_by = session_user AND run.ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no run of yours with this id is under way'
            USING ERRCODE = 'TV004', HINT = 'An operator may have ended it; run ingest again, it goes on where this run was.';
    END IF;
END;
$$;

-- Ends the use of an old token key: nothing stands under it, so its pairs go, ingest makes no more, and batches that
-- would still be written under it are refused. An ingest run under it that has no end yet holds this up, for a day after
-- its last batch, unless p_end_runs ends it: what such a run does not store is stored by the next.
CREATE FUNCTION vault.retire_token_version(p_version integer, p_end_runs boolean)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key_    vault.key_version;
    needing text;
    open_   text;
    ended   integer;
BEGIN
    -- Waits for the batches that are being committed under this key, and keeps others out.
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
    SELECT count(*), string_agg(format('%s of %s by %s', replace(run.id::text, '-', ''),
                                       to_char(run.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), run.started_by),
                                ', ' ORDER BY run.started_at)
    INTO ended, open_
    FROM vault.ingest_run AS run
    WHERE run.ended_at IS NULL
      AND coalesce(run.progressed_at, run.started_at) > clock_timestamp() - interval '24 hours'
      AND (run.token_version = p_version
           OR run.token_version IS NULL AND run.started_at < coalesce(key_.deactivated_at, key_.compromised_at, clock_timestamp()));
    IF ended > 0 AND p_end_runs IS NOT TRUE THEN
        RAISE EXCEPTION 'an ingest run that writes under token key v% has no end yet: run %', p_version, left(open_, 400)
            USING ERRCODE = 'TV010',
                  HINT = 'Let it end, then rotate token-key run and retire again. If its process is gone or it is to stop: '
                         'rotate token-key retire --end-runs.';
    END IF;
    UPDATE vault.ingest_run AS run
    SET ended_at = clock_timestamp(), outcome = format('ended by %s: token key v%s is retired', session_user, p_version)
    WHERE run.ended_at IS NULL
      AND (run.token_version = p_version
           OR run.token_version IS NULL AND run.started_at < coalesce(key_.deactivated_at, key_.compromised_at, clock_timestamp()));
    GET DIAGNOSTICS ended = ROW_COUNT;
    -- Truncated, so that no old token stays in dead rows; ingest waits for that, and then finds the key retired.
    IF EXISTS (SELECT FROM vault.rotation_pair AS pair WHERE pair.old_version <> p_version) THEN
        DELETE FROM vault.rotation_pair AS pair WHERE pair.old_version = p_version;
    ELSE
        TRUNCATE vault.rotation_pair;
    END IF;
    LOCK TABLE vault.token_successor IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM vault.token_successor AS noted WHERE noted.old_version <> p_version) THEN
        DELETE FROM vault.token_successor AS noted WHERE noted.old_version = p_version;
    ELSE
        TRUNCATE vault.token_successor;
    END IF;
    INSERT INTO vault.retired_key (id) VALUES (key_.id) ON CONFLICT (id) DO UPDATE SET retired_at = clock_timestamp();
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('key.retire', key_.id::text, NULL, NULL,
                          key_.name || CASE WHEN ended > 0 THEN ': ingest runs ended ' || ended ELSE '' END) AS appended;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.rotation_extent(), vault.rotation_page(uuid, bigint, bigint), vault.rotation_leftovers(uuid, integer),
    vault.replace_sealed(uuid, uuid, uuid, uuid, tid[], uuid[], uuid[], uuid[], bytea[]),
    vault.store_successors(uuid, uuid, uuid, uuid, tid[], uuid[], uuid[], text[], uuid[], bytea[], text[], text[], text[],
                           integer[], integer[]),
    vault.rotation_pairs(uuid, bigint, bigint), vault.rows_about(), vault.retire_token_version(integer, boolean)
    TO tokenvault_operator;
GRANT EXECUTE ON FUNCTION vault.begin_run(uuid, text, integer) TO tokenvault_ingest;

SELECT vault.record_migration(12, 'rotation_by_place');

COMMIT;
