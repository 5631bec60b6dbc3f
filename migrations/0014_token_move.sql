-- 0014_token_move: pairs of tokens are kept as bits, and pages of a token key's rotation are stored by two sessions.
-- requires: 0013_persons
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.store_successors(uuid, tid[], uuid[], uuid[], text[], integer[], integer[], uuid[], bytea[], uuid[], uuid[], text[],
                           integer[], integer[]),
    vault.pass_originals(uuid, uuid, uuid, integer, uuid)
    TO tokenvault_operator;

SELECT vault.record_migration(14, 'token_move');

COMMIT;
