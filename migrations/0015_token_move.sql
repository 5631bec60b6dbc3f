-- 0015_token_move: pairs of tokens are kept as bits, and pages of a token key's rotation are stored by two sessions.
-- requires: 0014_old_tokens
-- As text a pair was most of what a page wrote, and each step parsed it back. The view vault.rotation_pair gives the text.
-- A page no longer takes the rotation's lock: the cursor's compare-and-set, which the caller does last, keeps pages in order.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- pairs

CREATE TABLE vault.token_move (
    rotation    uuid    NOT NULL,
    old_version integer NOT NULL,
    new_version integer NOT NULL,
    slice       integer NOT NULL,
    domain      text    COLLATE "C" NOT NULL,
    old_bits    uuid    NOT NULL,
    new_bits    uuid    NOT NULL
);
-- The planner's statistics would keep old tokens after the pairs are gone: an empty table keeps its last statistics.
ALTER TABLE vault.token_move ALTER COLUMN old_bits SET STATISTICS 0, ALTER COLUMN new_bits SET STATISTICS 0;
COMMENT ON TABLE  vault.token_move          IS 'Pairs of tokens that rotations made from opened originals; rows move by these.';
COMMENT ON COLUMN vault.token_move.slice    IS '0 to 65535; an address and its network share one, so they move together.';
COMMENT ON COLUMN vault.token_move.old_bits IS 'The 16 bytes of the token that the rotation replaces.';
COMMENT ON COLUMN vault.token_move.new_bits IS 'The 16 bytes of the token of the same value under the new key.';

INSERT INTO vault.token_move (rotation, old_version, new_version, slice, domain, old_bits, new_bits)
SELECT pair.rotation, pair.old_version, substring(pair.new_token FROM '_v([0-9]+)_[0-9a-f]{32}$')::integer, pair.slice,
       pair.domain, right(pair.old_token, 32)::uuid, right(pair.new_token, 32)::uuid
FROM vault.rotation_pair AS pair;

-- Views that read the old table by its name are made again over the new one.
CREATE VIEW vault.token_move_text AS
    SELECT move.rotation, move.old_version, move.slice, move.domain,
           move.domain || '_v' || move.old_version || '_' || encode(uuid_send(move.old_bits), 'hex') AS old_token,
           move.domain || '_v' || move.new_version || '_' || encode(uuid_send(move.new_bits), 'hex') AS new_token
    FROM vault.token_move AS move;
CREATE OR REPLACE VIEW vault.token_pair AS
    SELECT pair.old_token, coalesce(min(pair.new_token) FILTER (WHERE pair.is_proven), min(pair.new_token)) AS new_token,
           min(pair.domain) AS domain, min(pair.old_version) AS old_version, bool_or(pair.is_proven) AS is_proven
    FROM (SELECT made.old_token, made.new_token, made.domain, made.old_version, true AS is_proven
          FROM vault.token_move_text AS made
          UNION ALL
          SELECT noted.old_token, noted.new_token, noted.domain, noted.old_version, false
          FROM vault.token_successor AS noted) AS pair
    GROUP BY pair.old_token;
DROP TABLE vault.rotation_pair;
ALTER VIEW vault.token_move_text RENAME TO rotation_pair;
COMMENT ON VIEW vault.rotation_pair IS 'vault.token_move with tokens as text.';

-- originals

CREATE OR REPLACE FUNCTION vault.rotation_extent(OUT originals bigint, OUT pairs bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pg_relation_size('vault.original'::regclass) / current_setting('block_size')::bigint,
           pg_relation_size('vault.token_move'::regclass) / current_setting('block_size')::bigint;
$$;

-- Later passes: up to p_limit originals that are still to be done, wherever they lie. What was left alone is not among them.
CREATE OR REPLACE FUNCTION vault.rotation_leftovers(p_rotation uuid, p_limit integer)
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
                  SELECT FROM vault.token_move AS move
                  WHERE move.rotation = p_rotation AND move.domain = original.domain AND move.old_bits = original.token)
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

DROP FUNCTION vault.store_successors(uuid, uuid, uuid, uuid, tid[], uuid[], uuid[], text[], uuid[], bytea[], text[], text[], text[],
                                     integer[], integer[]);

-- token key: adds the new originals of a page beside the old ones, and the pairs that the rows move by: one for each
-- original, and one for each network given. Returns the new tokens that stood already, which the caller opens.
-- The caller then moves the cursor (pass_originals), in the same transaction. Commits without waiting for the disk: 0012.
-- It waits for no lock for long: who holds it may wait for the caller's other session (VACUUM FULL beside two writers).
CREATE FUNCTION vault.store_successors(p_rotation uuid, p_places tid[], p_old_bits uuid[], p_new_bits uuid[],
                                       p_domains text[], p_old_versions integer[], p_slices integer[], p_data_keys uuid[],
                                       p_sealed bytea[], p_old_networks uuid[], p_new_networks uuid[],
                                       p_network_domains text[], p_network_versions integer[], p_network_slices integer[])
    RETURNS TABLE (token uuid)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET lock_timeout = '5s'
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
    inserted uuid[];
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running' AND rotation.kind = 'token-key';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of token-key with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    IF EXISTS (SELECT FROM unnest(ARRAY[cardinality(p_places), cardinality(p_new_bits), cardinality(p_domains),
                                        cardinality(p_old_versions), cardinality(p_slices), cardinality(p_data_keys),
                                        cardinality(p_sealed)]) AS given (length)
               WHERE given.length IS DISTINCT FROM cardinality(p_old_bits))
        OR EXISTS (SELECT FROM unnest(ARRAY[cardinality(p_new_networks), cardinality(p_network_domains),
                                            cardinality(p_network_versions), cardinality(p_network_slices)]) AS given (length)
                   WHERE given.length IS DISTINCT FROM cardinality(p_old_networks))
        OR standing.target_version = ANY (p_old_versions) OR standing.target_version = ANY (p_network_versions)
    THEN
        RAISE EXCEPTION 'successors come as lists of one length, from another version' USING ERRCODE = 'TV020';
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO vault.token_move (rotation, old_version, new_version, slice, domain, old_bits, new_bits)
    SELECT p_rotation, given.version, standing.target_version, given.slice, given.domain, given.old_bits, given.new_bits
    FROM unnest(p_old_bits, p_new_bits, p_domains, p_old_versions, p_slices)
        AS given (old_bits, new_bits, domain, version, slice);
    INSERT INTO vault.token_move (rotation, old_version, new_version, slice, domain, old_bits, new_bits)
    SELECT p_rotation, given.version, standing.target_version, given.slice, given.domain, given.old_bits, given.new_bits
    FROM unnest(p_old_networks, p_new_networks, p_network_domains, p_network_versions, p_network_slices)
        AS given (old_bits, new_bits, domain, version, slice);
    -- created_at is the value's, not the key's.
    WITH new AS (
        INSERT INTO vault.original AS original (token, domain, token_version, data_key, sealed, created_at)
        SELECT given.new_bits, given.domain, standing.target_version, given.data_key, given.sealed, old.created_at
        FROM unnest(p_places, p_old_bits, p_new_bits, p_domains, p_data_keys, p_sealed)
            AS given (place, old_bits, new_bits, domain, data_key, sealed)
        JOIN vault.original AS old ON old.ctid = given.place AND old.token = given.old_bits
        ORDER BY given.new_bits
        ON CONFLICT DO NOTHING
        RETURNING original.token
    )
    SELECT coalesce(array_agg(new.token), '{}') INTO inserted FROM new;
    IF cardinality(inserted) < cardinality(p_new_bits) THEN
        IF EXISTS (
            SELECT FROM unnest(p_places, p_old_bits) AS given (place, old_bits)
            WHERE NOT EXISTS (SELECT FROM vault.original AS old WHERE old.ctid = given.place AND old.token = given.old_bits)
        ) THEN
            RAISE EXCEPTION 'an original was changed or removed meanwhile' USING ERRCODE = 'TV010', HINT = 'Run it again.';
        END IF;
        RETURN QUERY SELECT given.token FROM unnest(p_new_bits) AS given (token)
            EXCEPT SELECT own.token FROM unnest(inserted) AS own (token);
    END IF;
END;
$$;

-- Moves the cursor over a page whose successors this transaction has stored; the page before it is committed by now.
CREATE FUNCTION vault.pass_originals(p_rotation uuid, p_from uuid, p_to uuid, p_values integer, p_value_sum uuid)
    RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT vault.advance_rotation(p_rotation, p_from, p_to, p_values, p_value_sum);
$$;

CREATE OR REPLACE FUNCTION vault.analyze_successors() RETURNS void
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ANALYZE vault.token_move;
END;
$$;

-- The pairs of some slices of a domain, as text. ROWS says that they are few, which no statistics may say otherwise: so
-- the planner hashes pairs, and changes rows in the order they lie in; not the other way round.
CREATE FUNCTION vault.slice_pairs(p_domain text, p_first_slice integer, p_last_slice integer)
    RETURNS TABLE (old_token text, new_token text)
    LANGUAGE plpgsql
    STABLE
    ROWS 1
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT pair.old_token, pair.new_token FROM vault.rotation_pair AS pair
        WHERE pair.domain = p_domain AND pair.slice BETWEEN p_first_slice AND p_last_slice;
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
    any_left   boolean;
    total      bigint := 0;
BEGIN
    FOR registered IN
        SELECT masked.table_name,
               string_agg(format('%1$I = s%2$s.new_token', masked.column_name, masked.place), ', ') AS joint_values,
               string_agg(format('%s AS s%s', masked.pairs, masked.place), ', ') AS joint_tables,
               string_agg(format('login.%1$I COLLATE "C" = s%2$s.old_token', masked.column_name, masked.place), ' AND ')
                   AS joint_condition,
               string_agg(format('%1$I = coalesce(moved.n%2$s, login.%1$I)', masked.column_name, masked.place), ', ')
                   AS single_values,
               string_agg(format('s%1$s.new_token AS n%1$s', masked.place), ', ') AS single_columns,
               string_agg(format('LEFT JOIN %3$s AS s%2$s ON login.%1$I COLLATE "C" = s%2$s.old_token',
                                 masked.column_name, masked.place, masked.pairs), ' ') AS single_tables,
               string_agg(format('s%s.new_token IS NOT NULL', masked.place), ' OR ') AS single_condition,
               string_agg(format('starts_with(login.%1$I, %2$L)', masked.column_name, masked.domain || '_v')
                          || format(' AND NOT starts_with(login.%1$I, %2$L)', masked.column_name,
                                    masked.domain || '_v' || standing.target_version || '_'), ' OR ') AS old_condition,
               count(*) AS columns
        FROM (SELECT column_.*, row_number() OVER (PARTITION BY column_.table_name ORDER BY column_.column_name) AS place,
                     format('vault.slice_pairs(%L, $1, $2)', column_.domain) AS pairs
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
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS login WHERE login.xmin <> $1 AND (%s))', registered.table_name,
                       registered.old_condition)
        INTO any_left
        USING pg_current_xact_id()::xid;
        CONTINUE WHEN NOT any_left;
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
    USING vault.token_move AS move
    JOIN vault.original AS new ON new.token = move.new_bits AND new.token_version = standing.target_version
    WHERE original.token = move.old_bits AND original.domain = move.domain AND new.domain = move.domain
      AND move.rotation = p_rotation AND original.token_version <> standing.target_version;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END;
$$;

-- The pairs that a rotation made, in blocks p_from to p_to - 1 of their table.
CREATE OR REPLACE FUNCTION vault.rotation_pairs(p_rotation uuid, p_from bigint, p_to bigint)
    RETURNS TABLE (old_token text, new_token text)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
        SELECT move.domain || '_v' || move.old_version || '_' || encode(uuid_send(move.old_bits), 'hex'),
               move.domain || '_v' || move.new_version || '_' || encode(uuid_send(move.new_bits), 'hex')
        FROM vault.token_move AS move
        WHERE move.ctid >= format('(%s,0)', p_from)::tid AND move.ctid < format('(%s,0)', p_to)::tid
          AND move.rotation = p_rotation;
END;
$$;

-- As in 0014, over vault.token_move.
CREATE OR REPLACE FUNCTION vault.retire_token_version(p_version integer, p_end_runs boolean)
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
    IF EXISTS (SELECT FROM vault.token_move AS move WHERE move.old_version <> p_version) THEN
        DELETE FROM vault.token_move AS move WHERE move.old_version = p_version;
    ELSE
        TRUNCATE vault.token_move;
    END IF;
    LOCK TABLE vault.token_successor IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM vault.token_successor AS noted WHERE noted.old_version <> p_version) THEN
        DELETE FROM vault.token_successor AS noted WHERE noted.old_version = p_version;
    ELSE
        TRUNCATE vault.token_successor;
    END IF;
    -- What was left alone once and does not stand any more.
    DELETE FROM vault.rotation_exception AS exception_
    WHERE NOT EXISTS (SELECT FROM vault.original AS original WHERE original.token = exception_.token)
      AND NOT EXISTS (SELECT FROM vault.quarantine AS record WHERE record.id = exception_.token);
    INSERT INTO vault.retired_key (id) VALUES (key_.id) ON CONFLICT (id) DO UPDATE SET retired_at = clock_timestamp();
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('key.retire', key_.id::text, NULL, NULL,
                          key_.name || CASE WHEN ended > 0 THEN ': ingest runs ended ' || ended ELSE '' END) AS appended;
END;
$$;

-- The tables (leaves of partitioned ones) in which rotations replace tokens, with their files on disk.
CREATE OR REPLACE FUNCTION vault.token_files() RETURNS TABLE (name text, file oid)
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', namespace.nspname, class.relname), pg_relation_filenode(class.oid)
    FROM (SELECT 'vault.original'::regclass AS id UNION SELECT 'vault.token_move'::regclass
          UNION SELECT 'vault.token_successor'::regclass UNION SELECT 'vault.rotation_exception'::regclass
          UNION SELECT 'vault.erasure_item'::regclass UNION SELECT 'pg_catalog.pg_statistic'::regclass
          UNION SELECT coalesce(leaf.relid, named.id)
                FROM (SELECT DISTINCT masked.table_name::regclass AS id FROM vault.masked_column AS masked) AS named
                LEFT JOIN LATERAL pg_partition_tree(named.id) AS leaf ON leaf.isleaf) AS held
    JOIN pg_class AS class ON class.oid = held.id
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace;
$$;

CREATE OR REPLACE FUNCTION vault.old_token_places(p_rotation uuid) RETURNS TABLE (kind text, place text, amount bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
    target   integer;
    token_   CONSTANT text := '[a-z][a-z0-9_]{0,30}_v([1-9][0-9]{0,8})_[0-9a-f]{32}';
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.kind = 'token-key';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of the token key has this id' USING ERRCODE = 'TV004';
    END IF;
    target := standing.target_version;

    RETURN QUERY SELECT 'pair', 'vault.token_move', count(*) FROM vault.token_move AS move
        WHERE move.old_version < target;
    RETURN QUERY SELECT 'pair', 'vault.token_successor', count(*) FROM vault.token_successor AS noted
        WHERE noted.old_version < target;
    RETURN QUERY SELECT 'request', 'vault.recovery_request_item', count(DISTINCT item.token)
        FROM vault.recovery_request_item AS item WHERE item.token_version < target;
    -- A tombstone has no version: what was erased before the end may be under either.
    RETURN QUERY SELECT 'tombstone', 'vault.erased_token', count(*) FROM vault.erased_token AS tombstone
        WHERE tombstone.erased_at <= coalesce(standing.finished_at, 'infinity');
    RETURN QUERY SELECT 'erasure', 'vault.erasure_item', count(*) FROM vault.erasure_item AS item
        WHERE substring(item.token FROM '^' || token_ || '$')::integer < target;
    RETURN QUERY SELECT 'exception', 'vault.rotation_exception', count(DISTINCT exception_.token)
        FROM vault.rotation_exception AS exception_
        WHERE NOT EXISTS (SELECT FROM vault.quarantine AS record WHERE record.id = exception_.token)
          AND NOT EXISTS (SELECT FROM vault.original AS original
                          WHERE original.token = exception_.token AND original.token_version >= target);
    RETURN QUERY SELECT 'event', 'audit.event', count(*) FROM audit.event AS event
        WHERE substring(event.object FROM '^' || token_ || '$')::integer < target;
    RETURN QUERY SELECT 'record', 'vault.quarantine', count(*) FROM vault.quarantine AS record
        WHERE record.created_at <= coalesce(standing.finished_at, 'infinity')
          AND EXISTS (SELECT FROM vault.key_version AS key
                      WHERE key.purpose = 'token' AND key.version < target AND key.state <> 'destroyed');

    RETURN QUERY
        SELECT 'statistics', format('%I.%I.%I', known.schemaname, known.tablename, known.attname),
               (SELECT count(*) FROM regexp_matches(concat(known.most_common_vals::text, known.histogram_bounds::text), token_, 'g')
                    AS found (parts)
                WHERE found.parts[1]::integer < target)
        FROM pg_stats AS known
        JOIN vault.masked_column AS masked
            ON masked.table_name = format('%I.%I', known.schemaname, known.tablename) AND masked.column_name = known.attname;
    RETURN QUERY
        SELECT 'statistics', format('%I.%I', known.statistics_schemaname, known.statistics_name), count(*)
        FROM pg_stats_ext AS known
        JOIN (SELECT DISTINCT masked.table_name FROM vault.masked_column AS masked) AS masked
            ON masked.table_name = format('%I.%I', known.schemaname, known.tablename)
        CROSS JOIN LATERAL regexp_matches(known.most_common_vals::text, token_, 'g') AS found (parts)
        WHERE found.parts[1]::integer < target
        GROUP BY 2;
    -- Of originals the statistics hold 16 bytes without a version: those that no original has are old.
    RETURN QUERY
        SELECT 'statistics', 'vault.original.token', count(*)
        FROM pg_stats AS known
        CROSS JOIN LATERAL regexp_matches(concat(known.most_common_vals::text, known.histogram_bounds::text),
                                          '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'g') AS found (token)
        WHERE known.schemaname = 'vault' AND known.tablename = 'original' AND known.attname = 'token'
          AND NOT EXISTS (SELECT FROM vault.original AS original
                          WHERE original.token = found.token[1]::uuid AND original.token_version >= target);

    RETURN QUERY
        SELECT 'file', held.name,
               CASE WHEN (standing.files ->> held.name)::bigint <> held.file::bigint THEN 0
                    ELSE pg_relation_size(held.name::regclass) END
        FROM vault.token_files() AS held;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.store_successors(uuid, tid[], uuid[], uuid[], text[], integer[], integer[], uuid[], bytea[], uuid[], uuid[], text[],
                           integer[], integer[]),
    vault.pass_originals(uuid, uuid, uuid, integer, uuid)
    TO tokenvault_operator;

SELECT vault.record_migration(15, 'token_move');

COMMIT;
