-- 0015_old_tokens: says where old tokens are left after a rotation of the token key, and leaves fewer of them.
-- requires: 0014_token_move
-- Rows, originals and pairs are counted by the census. Here is the rest: requests, tombstones, statistics, the log, and tables
-- that were not written anew since: what a VACUUM without FULL takes away stays readable in its page.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

ALTER TABLE vault.rotation ADD COLUMN files jsonb NULL;
COMMENT ON COLUMN vault.rotation.files IS 'By table: the file that it lay in when its rotation ended. Another one holds nothing from then.';

-- The tables (leaves of partitioned ones) in which rotations replace tokens, with their files on disk.
CREATE FUNCTION vault.token_files() RETURNS TABLE (name text, file oid)
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

CREATE OR REPLACE FUNCTION vault.finish_rotation(p_rotation uuid, p_outcome text)
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
    SET state = 'finished', finished_at = clock_timestamp(), updated_at = clock_timestamp(), outcome = p_outcome,
        files = (SELECT jsonb_object_agg(held.name, held.file::bigint) FROM vault.token_files() AS held
                 WHERE rotation.kind = 'token-key')
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

-- Where tokens of other versions than a rotation's may be, beside rows and originals. kind: pair, request, tombstone, erasure,
-- exception, event, record (quarantined, MACs by the old key), statistics (amount: tokens), file (amount: bytes; written anew
-- since the rotation ended: 0).
CREATE FUNCTION vault.old_token_places(p_rotation uuid) RETURNS TABLE (kind text, place text, amount bigint)
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

-- As in 0012; forgets what rotations left alone and is gone since.
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

-- As in 0007; the MACs of quarantined records go with the key that made them.
CREATE OR REPLACE FUNCTION vault.change_key_state(p_id uuid, p_state text)
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
    -- MACs of quarantined records tell nothing any more, but to somebody who has kept the key.
    IF p_state = 'destroyed' AND standing.purpose = 'token' THEN
        UPDATE vault.quarantine AS record SET body_mac = uuid_send(gen_random_uuid())
        WHERE record.created_at < (SELECT retired.retired_at FROM vault.retired_key AS retired WHERE retired.id = p_id);
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.old_token_places(uuid) TO tokenvault_operator, tokenvault_auditor;

SELECT vault.record_migration(15, 'old_tokens');

COMMIT;
