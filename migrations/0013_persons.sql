-- 0013_persons: linked login roles count as one person among approvers too, a request belongs to the role that made it and not
-- to its name, values leave the primary only, and erasing and rotating run nobody else's code as the owner.
-- requires: 0012_rotation_by_place

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- The default says who inserts, so that book_request stays as it is. Requests from before keep whoever has the name now.
ALTER TABLE vault.recovery_request ADD COLUMN requester_id oid NULL;
COMMENT ON COLUMN vault.recovery_request.requester_id IS 'The login role itself: another one of the same name, made later, is somebody else.';
UPDATE vault.recovery_request AS request SET requester_id = role.oid
FROM pg_catalog.pg_roles AS role WHERE role.rolname = request.requester;
ALTER TABLE vault.recovery_request
    ALTER COLUMN requester_id SET DEFAULT (pg_catalog.quote_ident(session_user)::pg_catalog.regrole::pg_catalog.oid);

-- Login roles of which one can become the other.
CREATE FUNCTION vault.is_one_person(p_one name, p_other name) RETURNS boolean
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p_one = p_other OR vault.is_member(p_one, p_other) OR vault.is_member(p_other, p_one);
$$;

-- How a request stands under what was asked of it and under the policy of now, the stricter of both. Internal.
-- `refusal`: the policy of now forbids it. `is_outside_hours`: it may be released later.
-- An approval counts while the approver is still in the group, may log in, is the same role that approved, is not the requester
-- under another role, and not one who has approved already under another role.
CREATE OR REPLACE FUNCTION vault.request_standing(p_request uuid)
    RETURNS TABLE (approvals_needed integer, approvals integer, is_denied boolean, lapses_at timestamptz, refusal text,
                   is_outside_hours boolean)
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked   vault.recovery_request;
    counted record;
    rule    vault.policy;
BEGIN
    SELECT request.* INTO STRICT asked FROM vault.recovery_request AS request WHERE request.id = p_request;
    approvals_needed := asked.approvals_needed;
    lapses_at := asked.expires_at;
    is_outside_hours := false;
    FOR counted IN
        SELECT part.* FROM vault.recovery_request_domain AS part WHERE part.request = p_request ORDER BY part.domain
    LOOP
        SELECT policy.* INTO rule FROM vault.policy_for(counted.domain) AS policy;
        IF NOT FOUND THEN
            refusal := 'no policy covers this domain any more';
            EXIT;
        END IF;
        lapses_at := least(lapses_at, asked.created_at + rule.request_validity);
        IF rule.reason_pattern IS NOT NULL AND asked.reason !~ ('^(?:' || rule.reason_pattern || ')$')
            OR rule.ticket_pattern IS NOT NULL
               AND (asked.ticket IS NULL OR asked.ticket !~ ('^(?:' || rule.ticket_pattern || ')$'))
        THEN
            refusal := 'reason or ticket no longer has the form that the policy asks for';
        END IF;
        IF asked.break_glass THEN
            IF rule.break_glass_per_day IS NULL THEN
                refusal := 'the policy no longer allows break-glass';
            ELSIF counted.used > rule.break_glass_per_day THEN
                refusal := 'the policy now allows fewer values a day';
            END IF;
        ELSE
            approvals_needed := greatest(approvals_needed, rule.approvals_needed);
            IF counted.used > rule.values_per_day THEN
                refusal := 'the policy now allows fewer values a day';
            END IF;
            IF NOT vault.hours_allow(counted.hours, clock_timestamp())
                OR NOT vault.hours_allow(rule.hours, clock_timestamp())
            THEN
                is_outside_hours := true;
            END IF;
        END IF;
    END LOOP;
    IF NOT FOUND AND refusal IS NULL THEN
        refusal := 'nothing is known of what it asks for';
    END IF;

    WITH valid AS (
        SELECT role.oid AS id, role.rolname AS name
        FROM vault.approval AS decided
        JOIN pg_roles AS role ON role.oid = decided.approver_id
        WHERE decided.request = p_request AND decided.decision = 'approve' AND role.rolcanlogin
          AND vault.is_member(role.rolname, 'tokenvault_approver')
          AND NOT vault.is_one_person(role.rolname, asked.requester)
    )
    SELECT count(*),
           EXISTS (SELECT FROM vault.approval AS decided WHERE decided.request = p_request AND decided.decision = 'deny')
    INTO approvals, is_denied
    FROM valid AS counts
    WHERE NOT EXISTS (SELECT FROM valid AS other
                      WHERE other.id < counts.id AND vault.is_one_person(other.name, counts.name));
    RETURN NEXT;
END;
$$;

-- The one gate before everything sealed. Raises unless the request was committed by an earlier transaction, is the
-- caller's own, approved, unexpired and within the policy of now. Its row is visible only to its own transaction or after its
-- commit, so comparing transaction ids leaves committed ones alone.
CREATE OR REPLACE FUNCTION vault.require_releasable(p_request uuid, p_kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked    vault.recovery_request;
    standing record;
BEGIN
    -- A replica may be behind, even on purpose: it would miss a denial, a lost approval, a stricter policy or an erasure.
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'values are released by the primary server only'
            USING ERRCODE = 'TV001', HINT = 'Connect to the primary; this is a replica.';
    END IF;
    SELECT request.* INTO asked
    FROM vault.recovery_request AS request
    WHERE request.id = p_request
      AND request.requester = session_user
      AND request.requester_id = quote_ident(session_user)::regrole::oid
      AND request.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
      AND (p_kind IS NULL OR request.kind = p_kind);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no committed request of yours with this id'
            USING ERRCODE = 'TV004', HINT = 'Request first and commit; only the requester receives.';
    END IF;

    SELECT now_standing.* INTO STRICT standing FROM vault.request_standing(p_request) AS now_standing;
    IF standing.is_denied THEN
        RAISE EXCEPTION 'this request was denied' USING ERRCODE = 'TV001';
    END IF;
    -- Not now(): that stands still in a transaction held open.
    IF clock_timestamp() >= standing.lapses_at THEN
        RAISE EXCEPTION 'this request has expired' USING ERRCODE = 'TV003', HINT = 'Request again.';
    END IF;
    -- An older snapshot would hide a denial, a lost approval or a stricter policy.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'values are released in READ COMMITTED transactions only'
            USING ERRCODE = 'TV001', HINT = 'A transaction that sees an older state could miss a denial.';
    END IF;
    IF asked.break_glass AND NOT vault.is_member(session_user, 'tokenvault_break_glass') THEN
        RAISE EXCEPTION 'break-glass needs membership in tokenvault_break_glass' USING ERRCODE = 'TV001';
    END IF;
    IF standing.refusal IS NOT NULL THEN
        RAISE EXCEPTION 'the policy forbids this request: %', standing.refusal
            USING ERRCODE = 'TV001', HINT = 'The policy changed after the request; tokenvault policy show prints it.';
    END IF;
    IF standing.approvals < standing.approvals_needed THEN
        RAISE EXCEPTION 'this request has % of % approvals', standing.approvals, standing.approvals_needed
            USING ERRCODE = 'TV002', HINT = 'Try again when it is approved; it must not have expired by then.';
    END IF;
    IF standing.is_outside_hours THEN
        RAISE EXCEPTION 'the policy allows no recovery at this hour'
            USING ERRCODE = 'TV001', HINT = 'tokenvault policy show prints the hours; the request may be finished then.';
    END IF;
END;
$$;

-- How a request of one's own stands, with the receipt of its last audit event. Releases nothing.
CREATE OR REPLACE FUNCTION vault.own_request(p_request uuid)
    RETURNS TABLE (kind text, item_count integer, break_glass boolean, counts jsonb, reason text, ticket text,
                   approvals_needed integer, approvals integer, state text, lapses_at timestamptz,
                   audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT asked.kind, asked.item_count, asked.break_glass,
               (SELECT jsonb_object_agg(counted.domain, counted.item_count)
                FROM vault.recovery_request_domain AS counted WHERE counted.request = asked.id),
               asked.reason, asked.ticket, standing.approvals_needed, standing.approvals,
               CASE WHEN standing.is_denied THEN 'denied' WHEN clock_timestamp() >= standing.lapses_at THEN 'lapsed'
                    WHEN standing.approvals < standing.approvals_needed THEN 'waiting' ELSE 'approved' END,
               standing.lapses_at, asked.audit_sequence, asked.audit_head
        FROM vault.recovery_request AS asked
        CROSS JOIN LATERAL vault.request_standing(asked.id) AS standing
        WHERE asked.id = p_request AND asked.requester = session_user
          AND asked.requester_id = quote_ident(session_user)::regrole::oid
          AND asked.xid IS DISTINCT FROM pg_current_xact_id_if_assigned();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no committed request of yours with this id'
            USING ERRCODE = 'TV004', HINT = 'Only the requester receives.';
    END IF;
END;
$$;

-- registered tables

-- Rotations and erasures change registered tables as tokenvault_owner, and a trigger runs as whoever changes the table. So
-- raises unless it is a table, its owner is a member of tokenvault_owner, nobody else may put triggers on it, and every
-- trigger that stands runs a function of such a member. Superusers are members of all.
CREATE FUNCTION vault.require_trusted_table(p_table text) RETURNS void
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing pg_class;
    reason   text;
BEGIN
    SELECT class.* INTO standing FROM pg_class AS class WHERE class.oid = to_regclass(p_table);
    reason := CASE
        WHEN NOT FOUND OR standing.relkind NOT IN ('r', 'p') THEN 'it is not a table'
        WHEN NOT pg_has_role(standing.relowner, 'tokenvault_owner', 'MEMBER')
            THEN 'its owner is no member of tokenvault_owner and could run code as it'
        WHEN EXISTS (SELECT FROM aclexplode(standing.relacl) AS entry
                     WHERE entry.privilege_type = 'TRIGGER'
                       AND (entry.grantee = 0 OR NOT pg_has_role(entry.grantee, 'tokenvault_owner', 'MEMBER')))
            THEN 'the privilege TRIGGER on it is held by others than tokenvault_owner, who could run code as it'
        WHEN EXISTS (SELECT FROM pg_trigger AS trigger JOIN pg_proc AS function ON function.oid = trigger.tgfoid
                     WHERE trigger.tgrelid = standing.oid AND NOT trigger.tgisinternal
                       AND NOT pg_has_role(function.proowner, 'tokenvault_owner', 'MEMBER'))
            THEN 'a trigger on it runs a function of somebody who is no member of tokenvault_owner'
        END;
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'table % is not changed: %', p_table, reason
            USING ERRCODE = 'TV001', HINT = 'As its owner: REVOKE TRIGGER, drop the trigger, or ALTER TABLE … OWNER TO tokenvault_owner.';
    END IF;
END;
$$;

-- Every registered table with its masked columns and, where it has them, the columns user_id and create_date.
CREATE OR REPLACE FUNCTION vault.masked_tables()
    RETURNS TABLE (table_name text, column_names text[], domains text[], user_column text, date_column text)
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_trusted_table(listed.table_name)
    FROM (SELECT DISTINCT registered.table_name FROM vault.masked_column AS registered) AS listed;
    RETURN QUERY
        SELECT masked.table_name, array_agg(masked.column_name ORDER BY masked.column_name),
               array_agg(masked.domain ORDER BY masked.column_name),
               (SELECT attribute.attname::text FROM pg_attribute AS attribute
                WHERE attribute.attrelid = to_regclass(masked.table_name) AND attribute.attname = 'user_id'
                  AND attribute.atttypid IN ('text'::regtype, 'varchar'::regtype) AND NOT attribute.attisdropped),
               (SELECT attribute.attname::text FROM pg_attribute AS attribute
                WHERE attribute.attrelid = to_regclass(masked.table_name) AND attribute.attname = 'create_date'
                  AND attribute.atttypid = 'date'::regtype AND NOT attribute.attisdropped)
        FROM vault.masked_column AS masked
        GROUP BY masked.table_name
        ORDER BY masked.table_name;
END;
$$;

CREATE OR REPLACE FUNCTION vault.require_rotation(p_rotation uuid, p_kind text) RETURNS vault.rotation
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
    IF p_kind = 'token-key' THEN
        PERFORM vault.require_trusted_table(listed.table_name)
        FROM (SELECT DISTINCT registered.table_name FROM vault.masked_column AS registered) AS listed;
    END IF;
    RETURN standing;
END;
$$;

-- Registers another table's column, so that rotations move its tokens. Grant tokenvault_owner SELECT and UPDATE on it first.
CREATE OR REPLACE FUNCTION vault.register_masked_column(p_table text, p_column text, p_domain text)
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
    PERFORM vault.require_trusted_table(named);
    INSERT INTO vault.masked_column (table_name, column_name, domain) VALUES (named, p_column, p_domain)
    ON CONFLICT (table_name, column_name) DO UPDATE SET domain = excluded.domain;
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append('column.register', named || '.' || quote_ident(p_column), NULL, NULL, p_domain) AS appended;
END;
$$;

REVOKE ALL ON FUNCTION vault.is_one_person(name, name), vault.require_trusted_table(text) FROM PUBLIC;

SELECT vault.record_migration(13, 'persons');

COMMIT;
