-- 0011_outcome: a run learns what became of a COMMIT whose answer was lost; the quarantine is replayed page by page.
-- requires: 0010_bulk_recovery

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- What is counted for a run of the caller's. Waits for a transaction that still moves the counts, so that the answer is final,
-- and holds them until the caller's transaction ends. The receipt is that of the run's audit event, once it has ended.
CREATE FUNCTION vault.run_state(p_run uuid)
    RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.ingest_run;
BEGIN
    SELECT run.* INTO standing FROM vault.ingest_run AS run
    WHERE run.id = p_run AND run.started_by = session_user FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no run of yours with this id' USING ERRCODE = 'TV004';
    END IF;
    IF standing.ended_at IS NOT NULL THEN
        SELECT event.sequence, event.head INTO audit_sequence, audit_head
        FROM audit.event AS event
        WHERE event.action = 'ingest' AND event.object = p_run::text
        ORDER BY event.sequence DESC
        LIMIT 1;
    END IF;
    stored := standing.stored;
    repeated := standing.repeated;
    quarantined := standing.quarantined;
    RETURN NEXT;
END;
$$;

-- The next records that wait, in the order of their ids, after p_after (NULL: from the first); of p_ids only, unless NULL.
CREATE FUNCTION vault.quarantine_waiting(p_ids uuid[], p_after uuid, p_limit integer)
    RETURNS TABLE (id uuid, created_at timestamptz)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT record.id, record.created_at
    FROM vault.quarantine AS record
    WHERE record.resolution IS NULL AND (p_after IS NULL OR record.id > p_after)
      AND (p_ids IS NULL OR record.id = ANY (p_ids))
    ORDER BY record.id
    LIMIT least(greatest(coalesce(p_limit, 0), 0), 10000);
$$;

REVOKE ALL ON FUNCTION vault.run_state(uuid), vault.quarantine_waiting(uuid[], uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.run_state(uuid) TO tokenvault_ingest;
GRANT EXECUTE ON FUNCTION vault.quarantine_waiting(uuid[], uuid, integer) TO tokenvault_operator;

SELECT vault.record_migration(11, 'outcome');

COMMIT;
