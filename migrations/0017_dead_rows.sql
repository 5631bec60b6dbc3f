-- 0017_dead_rows: a table that was written anew while an older transaction was open may hold old tokens in dead rows.
-- requires: 0016_rotation_end
-- VACUUM FULL copies what such a transaction, of any database of the server, may still see. Another file was taken for proof.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- Where tokens of other versions than a rotation's may be, beside rows and originals. kind: pair, request, tombstone, erasure,
-- exception, event, record (quarantined, MACs by the old key), statistics (amount: tokens), file (amount: bytes; written anew
-- since the rotation ended, with no older transaction open: 0).
CREATE OR REPLACE FUNCTION vault.old_token_places(p_rotation uuid) RETURNS TABLE (kind text, place text, amount bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    standing vault.rotation;
    ended    xid;  -- the transaction that wrote the row last
    target   integer;
    token_   CONSTANT text := '[a-z][a-z0-9_]{0,30}_v([1-9][0-9]{0,8})_[0-9a-f]{32}';
BEGIN
    SELECT rotation.* INTO standing FROM vault.rotation AS rotation
    WHERE rotation.id = p_rotation AND rotation.kind = 'token-key';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no rotation of the token key has this id' USING ERRCODE = 'TV004';
    END IF;
    SELECT rotation.xmin INTO ended FROM vault.rotation AS rotation WHERE rotation.id = p_rotation;
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

    -- Dead rows that some open transaction may still see are copied as well. relfrozenxid says which transaction was the oldest.
    RETURN QUERY
        SELECT 'file', held.name,
               CASE WHEN (standing.files ->> held.name)::bigint <> held.file::bigint AND age(class.relfrozenxid) < age(ended)
                    THEN 0 ELSE pg_relation_size(class.oid) END
        FROM vault.token_files() AS held
        JOIN pg_class AS class ON class.oid = held.name::regclass;
END;
$$;

SELECT vault.record_migration(17, 'dead_rows');

COMMIT;
