-- 0006_operation: keys, policy, approvals, the quarantine's end, and what there is to see.
-- requires: 0005_recovery

BEGIN;

SET LOCAL ROLE tokenvault_owner;

-- Registers a key's description; never key material. Registering the same key again changes nothing and returns no row.
CREATE FUNCTION vault.register_key(p_id uuid, p_purpose text, p_name text, p_version integer, p_state text,
                                   p_domains text[], p_public_key bytea)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.key_version;
    moment   timestamptz := clock_timestamp();
BEGIN
    PERFORM vault.require_text('the name of a key', p_name, 128);
    IF p_id IS NULL OR p_purpose IS NULL OR p_purpose NOT IN ('token', 'recovery', 'signing', 'checkpoint')
        OR p_state IS NULL OR p_state NOT IN ('pre-activation', 'active')
        OR (p_purpose = 'token') <> (p_version IS NOT NULL) OR coalesce(p_version, 1) < 1
        OR (p_purpose = 'token') <> (p_public_key IS NULL) OR coalesce(octet_length(p_public_key), 32) <> 32
    THEN
        RAISE EXCEPTION 'a key needs an id, a purpose and the state pre-activation or active; a token key a version, '
                        'any other a public key of 32 bytes'
            USING ERRCODE = 'TV020';
    END IF;

    SELECT key.* INTO standing
    FROM vault.key_version AS key
    WHERE key.id = p_id OR key.name = p_name OR (p_purpose = 'token' AND key.version = p_version)
    ORDER BY (key.id = p_id) DESC
    LIMIT 1;
    IF FOUND THEN
        IF standing.id = p_id AND standing.purpose = p_purpose AND standing.name = p_name
            AND standing.version IS NOT DISTINCT FROM p_version AND standing.domains IS NOT DISTINCT FROM p_domains
            AND standing.public_key IS NOT DISTINCT FROM p_public_key
        THEN
            RETURN;
        END IF;
        RAISE EXCEPTION 'another key is registered with this id, name or version'
            USING ERRCODE = 'TV001', HINT = 'tokenvault keys list shows the keys that are registered.';
    END IF;

    INSERT INTO vault.key_version (id, purpose, name, version, state, domains, public_key, created_at, activated_at)
    VALUES (p_id, p_purpose, p_name, p_version, p_state, p_domains, p_public_key, moment,
            CASE WHEN p_state = 'active' THEN moment END);
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('key.register', p_id::text, NULL, NULL, p_purpose || ' ' || p_name || ': ' || p_state)
            AS appended;
END;
$$;

-- Moves a key along NIST SP 800-57's states. Destroyed only when nothing needs it any more.
CREATE FUNCTION vault.change_key_state(p_id uuid, p_state text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.key_version;
    needing  bigint := 0;
    moment   timestamptz := clock_timestamp();
BEGIN
    SELECT key.* INTO standing FROM vault.key_version AS key WHERE key.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no key with this id is registered' USING ERRCODE = 'TV004';
    END IF;
    IF p_state IS NULL OR p_state NOT IN ('pre-activation', 'active', 'deactivated', 'compromised', 'destroyed') THEN
        RAISE EXCEPTION 'no such key state' USING ERRCODE = 'TV020';
    END IF;
    IF (standing.state, p_state) NOT IN (
        ('pre-activation', 'active'), ('pre-activation', 'compromised'), ('pre-activation', 'destroyed'),
        ('active', 'deactivated'), ('active', 'compromised'),
        ('deactivated', 'compromised'), ('deactivated', 'destroyed'),
        ('compromised', 'destroyed')
    ) THEN
        RAISE EXCEPTION 'key % is %; it cannot become %', standing.name, standing.state, p_state
            USING ERRCODE = 'TV001', HINT = 'active: deactivate before destroying; no key goes back.';
    END IF;

    IF p_state = 'destroyed' AND standing.purpose = 'token' THEN
        SELECT count(*) INTO needing FROM vault.original AS original WHERE original.token_version = standing.version;
    ELSIF p_state = 'destroyed' AND standing.purpose = 'recovery' THEN
        SELECT count(*) INTO needing
        FROM vault.data_key_seal AS seal
        WHERE seal.recovery_key = p_id
          AND NOT EXISTS (
              SELECT FROM vault.data_key_seal AS other
              JOIN vault.key_version AS key ON key.id = other.recovery_key AND key.state <> 'destroyed'
              WHERE other.data_key = seal.data_key AND other.recovery_key <> p_id
          );
    END IF;
    IF needing > 0 THEN
        RAISE EXCEPTION 'key % is still needed by % %', standing.name, needing,
            CASE standing.purpose WHEN 'token' THEN 'originals' ELSE 'data keys that no other key opens' END
            USING ERRCODE = 'TV001', HINT = 'Finish the rotation of what it protects first.';
    END IF;

    UPDATE vault.key_version AS key
    SET state = p_state,
        activated_at = CASE WHEN p_state = 'active' THEN moment ELSE key.activated_at END,
        deactivated_at = CASE WHEN p_state = 'deactivated' THEN moment ELSE key.deactivated_at END,
        compromised_at = CASE WHEN p_state = 'compromised' THEN moment ELSE key.compromised_at END,
        destroyed_at = CASE WHEN p_state = 'destroyed' THEN moment ELSE key.destroyed_at END
    WHERE key.id = p_id;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('key.state', p_id::text, NULL, NULL,
                          standing.name || ': ' || standing.state || ' to ' || p_state) AS appended;
END;
$$;

CREATE FUNCTION vault.policy_list()
    RETURNS TABLE (domain text, approvals_needed integer, values_per_day integer, request_validity interval,
                   reason_pattern text, ticket_pattern text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT policy.domain, policy.approvals_needed, policy.values_per_day, policy.request_validity,
           policy.reason_pattern, policy.ticket_pattern
    FROM vault.policy AS policy
    ORDER BY policy.domain COLLATE "C";
$$;

-- Sets all of a domain's policy. Open requests keep the approvals and the end they were given.
CREATE FUNCTION vault.set_policy(p_domain text, p_approvals_needed integer, p_values_per_day integer,
                                 p_request_validity interval, p_reason_pattern text, p_ticket_pattern text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_domain IS NULL OR (p_domain <> '*' AND p_domain !~ '^[a-z][a-z0-9_]{0,30}$')
        OR p_approvals_needed IS NULL OR p_approvals_needed NOT BETWEEN 0 AND 10
        OR p_values_per_day IS NULL OR p_values_per_day < 0
        OR p_request_validity IS NULL OR p_request_validity <= interval '0' OR p_request_validity > interval '30 days'
        OR length(p_reason_pattern) > 256 OR length(p_ticket_pattern) > 256
    THEN
        RAISE EXCEPTION 'a policy has a domain or *, 0 to 10 approvals, values a day from 0, a validity up to 30 days, '
                        'patterns up to 256 characters'
            USING ERRCODE = 'TV020';
    END IF;
    BEGIN
        PERFORM '' ~ ('^(?:' || coalesce(p_reason_pattern, '') || ')$'),
                '' ~ ('^(?:' || coalesce(p_ticket_pattern, '') || ')$');
    EXCEPTION WHEN invalid_regular_expression THEN
        RAISE EXCEPTION 'a pattern is not a regular expression' USING ERRCODE = 'TV020';
    END;

    INSERT INTO vault.policy AS policy (domain, approvals_needed, values_per_day, request_validity, reason_pattern,
                                        ticket_pattern)
    VALUES (p_domain, p_approvals_needed, p_values_per_day, p_request_validity, p_reason_pattern, p_ticket_pattern)
    ON CONFLICT (domain) DO UPDATE
    SET approvals_needed = excluded.approvals_needed, values_per_day = excluded.values_per_day,
        request_validity = excluded.request_validity, reason_pattern = excluded.reason_pattern,
        ticket_pattern = excluded.ticket_pattern;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('policy.set', p_domain, NULL, NULL,
                          format('approvals %s, values a day %s, validity %s, reason pattern %s, ticket pattern %s',
                                 p_approvals_needed, p_values_per_day, p_request_validity,
                                 coalesce(p_reason_pattern, 'none'), coalesce(p_ticket_pattern, 'none'))) AS appended;
END;
$$;

-- Requests that wait for a decision, so that an approver sees what they approve; tokens, never values.
CREATE FUNCTION vault.waiting_requests(p_limit integer)
    RETURNS TABLE (request uuid, kind text, requester name, reason text, ticket text, created_at timestamptz,
                   expires_at timestamptz, item_count integer, domains text[], approvals_needed integer,
                   approvals integer)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT request.id, request.kind, request.requester, request.reason, request.ticket, request.created_at,
           request.expires_at, request.item_count,
           ARRAY(SELECT DISTINCT item.domain FROM vault.recovery_request_item AS item
                 WHERE item.request = request.id ORDER BY item.domain),
           request.approvals_needed, decided.approvals::integer
    FROM vault.recovery_request AS request
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE approval.decision = 'approve') AS approvals,
               count(*) FILTER (WHERE approval.decision = 'deny') AS denials
        FROM vault.approval AS approval
        WHERE approval.request = request.id
    ) AS decided
    WHERE request.expires_at > clock_timestamp() AND decided.denials = 0
      AND decided.approvals < request.approvals_needed
    ORDER BY request.created_at
    LIMIT greatest(coalesce(p_limit, 0), 0);
$$;

-- Approves or denies another login's request; once per approver. Flushed, because a release may follow at once.
CREATE FUNCTION vault.decide_request(p_request uuid, p_decision text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked vault.recovery_request;
BEGIN
    IF p_decision IS NULL OR p_decision NOT IN ('approve', 'deny') THEN
        RAISE EXCEPTION 'a decision is approve or deny' USING ERRCODE = 'TV020';
    END IF;
    SELECT request.* INTO asked FROM vault.recovery_request AS request WHERE request.id = p_request;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no request with this id' USING ERRCODE = 'TV004';
    END IF;
    IF asked.requester = session_user THEN
        RAISE EXCEPTION 'nobody decides on a request of their own' USING ERRCODE = 'TV001';
    END IF;
    IF clock_timestamp() >= asked.expires_at THEN
        RAISE EXCEPTION 'this request has expired' USING ERRCODE = 'TV003';
    END IF;
    INSERT INTO vault.approval (request, approver, decision) VALUES (p_request, session_user, p_decision)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'you have decided on this request already' USING ERRCODE = 'TV001';
    END IF;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('recover.' || p_decision, p_request::text, NULL, NULL, NULL) AS appended;
    PERFORM vault.force_flush();
END;
$$;

-- Ends a quarantined record's wait, once. The sealed record stays.
CREATE FUNCTION vault.resolve_quarantine(p_id uuid, p_resolution text, p_reason text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_resolution IS NULL OR p_resolution NOT IN ('replayed', 'discarded') THEN
        RAISE EXCEPTION 'a resolution is replayed or discarded' USING ERRCODE = 'TV020';
    END IF;
    PERFORM vault.require_text('the reason', p_reason, 1024);
    UPDATE vault.quarantine AS record
    SET resolution = p_resolution, resolved_at = clock_timestamp(), resolved_by = session_user
    WHERE record.id = p_id AND record.resolution IS NULL;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM vault.quarantine AS record WHERE record.id = p_id) THEN
            RAISE EXCEPTION 'this record is replayed or discarded already' USING ERRCODE = 'TV001';
        END IF;
        RAISE EXCEPTION 'no quarantined record with this id' USING ERRCODE = 'TV004';
    END IF;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append(CASE p_resolution WHEN 'replayed' THEN 'quarantine.replay' ELSE 'quarantine.discard' END,
                          p_id::text, p_reason, NULL, p_resolution) AS appended;
END;
$$;

-- The newest records first; all that is known but the record itself.
CREATE FUNCTION vault.quarantine_list(p_limit integer)
    RETURNS TABLE (id uuid, source text, record_position text, cause text, truncated boolean, created_at timestamptz,
                   resolution text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT record.id, record.source, record.position, record.cause, record.truncated, record.created_at,
           record.resolution
    FROM vault.quarantine AS record
    ORDER BY record.created_at DESC, record.id
    LIMIT greatest(coalesce(p_limit, 0), 0);
$$;

CREATE FUNCTION vault.status_summary() RETURNS jsonb
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'schema_version', vault.schema_version(),
        'originals', (
            SELECT coalesce(jsonb_agg(to_jsonb(census) ORDER BY census.domain, census.token_version), '[]')
            FROM (SELECT original.domain, original.token_version, count(*) AS count
                  FROM vault.original AS original GROUP BY 1, 2) AS census),
        'quarantine_waiting', (
            SELECT count(*) FROM vault.quarantine AS record WHERE record.resolution IS NULL),
        'runs', (
            SELECT coalesce(jsonb_agg(to_jsonb(latest) ORDER BY latest.started_at DESC), '[]')
            FROM (SELECT run.* FROM vault.ingest_run AS run ORDER BY run.started_at DESC LIMIT 5) AS latest),
        'audit_events', (SELECT last.sequence FROM audit.head AS last),
        'keys', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('purpose', key.purpose, 'name', key.name,
                                                         'version', key.version, 'state', key.state)
                                      ORDER BY key.purpose, key.version, key.name), '[]')
            FROM vault.key_version AS key));
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.register_key(uuid, text, text, integer, text, text[], bytea),
    vault.change_key_state(uuid, text),
    vault.set_policy(text, integer, integer, interval, text, text),
    vault.resolve_quarantine(uuid, text, text)
    TO tokenvault_operator;
GRANT EXECUTE ON FUNCTION vault.policy_list()
    TO tokenvault_recoverer, tokenvault_approver, tokenvault_operator, tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.waiting_requests(integer), vault.decide_request(uuid, text) TO tokenvault_approver;
GRANT EXECUTE ON FUNCTION vault.quarantine_list(integer)
    TO tokenvault_operator, tokenvault_recoverer, tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.status_summary() TO tokenvault_operator, tokenvault_auditor;

SELECT vault.record_migration(6, 'operation');

COMMIT;
