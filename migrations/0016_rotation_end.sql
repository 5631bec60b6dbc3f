-- 0016_rotation_end: a rotation of the token key ends beside the move of its last rows.
-- requires: 0015_old_tokens
-- Old originals are removed by a second session of the run while the rows of the last slice move in the first. That
-- transaction looks, when the move is committed, whether anything is left; only then it commits, together with the end.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- originals: as in 0014. Old ones are found by their place: IS NOT DISTINCT FROM, which no index serves, keeps the planner
-- from searching the primary key for each.

-- token key: adds the new originals of a page beside the old ones, and the pairs that the rows move by: one for each
-- original, and one for each network given. Returns the new tokens that stood already, which the caller opens.
-- The caller then moves the cursor (pass_originals), in the same transaction. Commits without waiting for the disk: 0012.
-- It waits for no lock for long: who holds it may wait for the caller's other session (VACUUM FULL beside two writers).
CREATE OR REPLACE FUNCTION vault.store_successors(p_rotation uuid, p_places tid[], p_old_bits uuid[], p_new_bits uuid[],
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
    added    bigint;
    already  uuid[];
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
    -- INSERT without ON CONFLICT, which costs half: what stands is left out, and what another session adds in the same moment
    -- ends in the second branch. created_at is the value's, not the key's.
    SELECT coalesce(array_agg(given.token), '{}') INTO already
    FROM unnest(p_new_bits) AS given (token)
    JOIN vault.original AS original ON original.token = given.token;
    BEGIN
        INSERT INTO vault.original (token, domain, token_version, data_key, sealed, created_at)
        SELECT given.new_bits, given.domain, standing.target_version, given.data_key, given.sealed, old.created_at
        FROM unnest(p_places, p_old_bits, p_new_bits, p_domains, p_data_keys, p_sealed)
            AS given (place, old_bits, new_bits, domain, data_key, sealed)
        JOIN vault.original AS old ON old.ctid = given.place AND old.token IS NOT DISTINCT FROM given.old_bits
        WHERE given.new_bits <> ALL (already)
        ORDER BY given.new_bits;
        GET DIAGNOSTICS added = ROW_COUNT;
    EXCEPTION WHEN unique_violation THEN
        WITH new AS (
            INSERT INTO vault.original AS original (token, domain, token_version, data_key, sealed, created_at)
            SELECT given.new_bits, given.domain, standing.target_version, given.data_key, given.sealed, old.created_at
            FROM unnest(p_places, p_old_bits, p_new_bits, p_domains, p_data_keys, p_sealed)
                AS given (place, old_bits, new_bits, domain, data_key, sealed)
            JOIN vault.original AS old ON old.ctid = given.place AND old.token IS NOT DISTINCT FROM given.old_bits
            ORDER BY given.new_bits
            ON CONFLICT DO NOTHING
            RETURNING original.token
        )
        SELECT count(*), coalesce(array_agg(new.token), '{}') INTO added, inserted FROM new;
        already := ARRAY(SELECT given.token FROM unnest(p_new_bits) AS given (token)
                         EXCEPT SELECT own.token FROM unnest(inserted) AS own (token));
    END;
    IF added < cardinality(p_new_bits) THEN
        IF EXISTS (
            SELECT FROM unnest(p_places, p_old_bits) AS given (place, old_bits)
            WHERE NOT EXISTS (SELECT FROM vault.original AS old
                              WHERE old.ctid = given.place AND old.token IS NOT DISTINCT FROM given.old_bits)
        ) THEN
            RAISE EXCEPTION 'an original was changed or removed meanwhile' USING ERRCODE = 'TV010', HINT = 'Run it again.';
        END IF;
        RETURN QUERY SELECT stood.token FROM unnest(already) AS stood (token);
    END IF;
END;
$$;

-- end

-- Removes old originals that have new ones. Commit it only when no row is left under them: vault.is_all_moved.
-- It takes no lock of the rotation, which the run's own session holds; and it waits for no lock for long, as in 0014.
CREATE OR REPLACE FUNCTION vault.drop_old_originals(p_rotation uuid) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '256MB'
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET lock_timeout = '5s'
    SET jit = off
AS $$
DECLARE
    target  integer;
    dropped bigint;
BEGIN
    SELECT rotation.target_version INTO target FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running' AND rotation.kind = 'token-key';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of token-key with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    DELETE FROM vault.original AS original
    USING vault.token_move AS move
    JOIN vault.original AS new ON new.token = move.new_bits AND new.token_version = target
    WHERE original.token = move.old_bits AND original.domain = move.domain AND new.domain = move.domain
      AND move.rotation = p_rotation AND original.token_version <> target;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END;
$$;

-- Whether no original and no row is under another version than the rotation's: it can end, in this transaction.
CREATE FUNCTION vault.is_all_moved(p_rotation uuid) RETURNS boolean
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    target     integer;
    registered record;
    unmoved    bigint;
BEGIN
    SELECT rotation.target_version INTO target FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.state = 'running' AND rotation.kind = 'token-key';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of token-key with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    IF EXISTS (SELECT FROM vault.original AS original WHERE original.token_version <> target) THEN
        RETURN false;
    END IF;
    -- Counts, because only a count is shared among workers. The condition of vault.old_rows, turned round: it ends sooner.
    FOR registered IN
        SELECT masked.table_name,
               string_agg(format('NOT starts_with(login.%1$I, %2$L) AND starts_with(login.%1$I, %3$L)', masked.column_name,
                                 masked.domain || '_v' || target || '_', masked.domain || '_v'), ' OR ') AS condition
        FROM vault.masked_column AS masked
        GROUP BY masked.table_name
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS login WHERE %s', registered.table_name, registered.condition)
        INTO unmoved;
        IF unmoved > 0 THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.is_all_moved(uuid) TO tokenvault_operator;

SELECT vault.record_migration(16, 'rotation_end');

COMMIT;
