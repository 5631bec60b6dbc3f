-- 0005_recovery: a sealed value leaves the database only after its audit event is committed and flushed.
-- requires: 0004_ingest
--
-- Two calls, in two transactions. One call would not do: a caller could read its result, roll back, and take the
-- audit event with it. And committed is not flushed: a caller may set synchronous_commit = off, so the request
-- forces the flush.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.policy (
    domain           text     PRIMARY KEY,
    approvals_needed integer  NOT NULL DEFAULT 0 CHECK (approvals_needed BETWEEN 0 AND 10),
    values_per_day   integer  NOT NULL DEFAULT 1000 CHECK (values_per_day >= 0),
    request_validity interval NOT NULL DEFAULT '15 minutes'
                     CHECK (request_validity > interval '0' AND request_validity <= interval '30 days'),
    reason_pattern   text     NULL,
    ticket_pattern   text     NULL
);
COMMENT ON TABLE  vault.policy                IS 'What a recovery needs, per domain; * for domains without a row.';
COMMENT ON COLUMN vault.policy.values_per_day IS 'Per requester and UTC day, released or not.';
COMMENT ON COLUMN vault.policy.reason_pattern IS 'Regular expression that the whole reason must match; NULL for any.';
INSERT INTO vault.policy (domain) VALUES ('*'), ('ip'), ('device_id'), ('quarantine');

CREATE TABLE vault.recovery_request (
    id               uuid        PRIMARY KEY,
    kind             text        NOT NULL CHECK (kind IN ('tokens', 'quarantine')),
    requester        name        NOT NULL,
    reason           text        NOT NULL,
    ticket           text        NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    xid              xid8        NOT NULL,
    item_count       integer     NOT NULL CHECK (item_count >= 1),
    approvals_needed integer     NOT NULL
);
COMMENT ON TABLE  vault.recovery_request     IS 'Who asked for which values, why, and until when they may be released.';
COMMENT ON COLUMN vault.recovery_request.xid IS 'The requesting transaction: it may not itself receive anything.';
CREATE INDEX recovery_request_requester ON vault.recovery_request (requester, created_at);

CREATE TABLE vault.recovery_request_item (
    request       uuid    NOT NULL,
    ordinal       integer NOT NULL CHECK (ordinal >= 1),
    token         uuid    NULL,
    domain        text    NOT NULL,
    token_version integer NULL,
    quarantine    uuid    NULL,
    PRIMARY KEY (request, ordinal),
    CHECK ((token IS NULL) <> (quarantine IS NULL) AND (token IS NULL) = (token_version IS NULL))
);
COMMENT ON TABLE vault.recovery_request_item IS 'What a request asks for, in the order asked.';

CREATE TABLE vault.approval (
    request    uuid        NOT NULL REFERENCES vault.recovery_request,
    approver   name        NOT NULL,
    decision   text        NOT NULL CHECK (decision IN ('approve', 'deny')),
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (request, approver)
);
COMMENT ON TABLE vault.approval IS 'Decisions on requests; one denial refuses the request.';

-- Makes COMMIT of this transaction flush, whatever synchronous_commit says: a transaction that removes a file does.
CREATE FUNCTION vault.force_flush() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET default_tablespace = ''
    SET default_table_access_method = heap
AS $$
DECLARE
    scratch text := 'flush_' || pg_current_xact_id()::text;
BEGIN
    EXECUTE format('CREATE TABLE vault.%I ()', scratch);
    EXECUTE format('DROP TABLE vault.%I', scratch);
END;
$$;

-- Books the items already written for p_request: policy, budget, request, audit events, flush. Internal.
-- The caller holds the lock on audit.head, so two requests of one person cannot both fit the same budget.
CREATE FUNCTION vault.book_request(p_request uuid, p_kind text, p_action text, p_objects text[], p_reason text,
                                   p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment     timestamptz := clock_timestamp();
    asked      record;
    rule       vault.policy;
    used       bigint;
    approvals  integer := 0;
    validity   interval := interval '30 days';
    receipt    record;
BEGIN
    FOR asked IN
        SELECT item.domain, count(*) AS count
        FROM vault.recovery_request_item AS item
        WHERE item.request = p_request
        GROUP BY item.domain
        ORDER BY item.domain
    LOOP
        SELECT policy.* INTO rule FROM vault.policy AS policy
        WHERE policy.domain IN (asked.domain, '*')
        ORDER BY (policy.domain = asked.domain) DESC
        LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no policy covers this domain'
                USING ERRCODE = 'TV001', HINT = 'Ask an operator: tokenvault policy set.';
        END IF;
        IF rule.reason_pattern IS NOT NULL AND p_reason !~ ('^(?:' || rule.reason_pattern || ')$') THEN
            RAISE EXCEPTION 'the reason does not have the form that the policy asks for' USING ERRCODE = 'TV001';
        END IF;
        IF rule.ticket_pattern IS NOT NULL
            AND (p_ticket IS NULL OR p_ticket !~ ('^(?:' || rule.ticket_pattern || ')$'))
        THEN
            RAISE EXCEPTION 'the ticket does not have the form that the policy asks for' USING ERRCODE = 'TV001';
        END IF;

        SELECT count(*) INTO used
        FROM vault.recovery_request AS earlier
        JOIN vault.recovery_request_item AS item ON item.request = earlier.id
        WHERE earlier.requester = session_user
          AND earlier.created_at >= date_trunc('day', moment, 'UTC')
          AND item.domain = asked.domain;
        IF used + asked.count > rule.values_per_day THEN
            RAISE EXCEPTION 'this request asks for % values; % of % a day are left for you in this domain',
                asked.count, greatest(rule.values_per_day - used, 0), rule.values_per_day
                USING ERRCODE = 'TV001', HINT = 'Ask for fewer, or wait until midnight UTC.';
        END IF;
        approvals := greatest(approvals, rule.approvals_needed);
        validity := least(validity, rule.request_validity);
    END LOOP;

    INSERT INTO vault.recovery_request (id, kind, requester, reason, ticket, created_at, expires_at, xid, item_count,
                                        approvals_needed)
    VALUES (p_request, p_kind, session_user, p_reason, p_ticket, moment, moment + validity, pg_current_xact_id(),
            cardinality(p_objects), approvals);

    SELECT appended.sequence, appended.head INTO STRICT receipt
    FROM audit.append_many(p_action, p_objects, p_reason, p_ticket, NULL) AS appended;
    PERFORM vault.force_flush();

    RETURN QUERY SELECT p_request, receipt.sequence, receipt.head, approvals, moment + validity;
END;
$$;

-- Asks for the originals of tokens, given as text, in this order. One audit event per token.
-- Releases nothing: commit, then call vault.release in another transaction.
CREATE FUNCTION vault.request_recovery(p_tokens text[], p_reason text, p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own   uuid := gen_random_uuid();
    wrong bigint;
BEGIN
    PERFORM vault.require_text('the reason', p_reason, 1024);
    IF p_ticket IS NOT NULL THEN
        PERFORM vault.require_text('the ticket', p_ticket, 128);
    END IF;
    IF coalesce(cardinality(p_tokens), 0) NOT BETWEEN 1 AND 1000000 OR array_ndims(p_tokens) <> 1 THEN
        RAISE EXCEPTION 'a request asks for 1 to 1000000 tokens' USING ERRCODE = 'TV020';
    END IF;
    -- Regular expressions see each distinct prefix once: a million of them would take half a minute.
    SELECT min(CASE WHEN given.prefix ~ '^[a-z][a-z0-9_]{0,30}_v[1-9][0-9]{0,8}_$'
                         AND given.prefix !~ '_v[0-9]+_v[0-9]+_$'
                    THEN given.bad_digits ELSE given.place END)
    INTO wrong
    FROM (
        SELECT left(listed.token, -32) AS prefix, min(listed.place) AS place,
               min(listed.place) FILTER (
                   WHERE length(right(listed.token, 32)) <> 32
                       OR translate(right(listed.token, 32), '0123456789abcdef', '') <> '') AS bad_digits
        FROM unnest(p_tokens) WITH ORDINALITY AS listed (token, place)
        GROUP BY 1
    ) AS given;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'token % of % is not a token', wrong, cardinality(p_tokens)
            USING ERRCODE = 'TV020', HINT = 'A token looks like ip_v1_ and 32 hex digits.';
    END IF;

    PERFORM FROM audit.head FOR UPDATE;
    INSERT INTO vault.recovery_request_item (request, ordinal, token, domain, token_version)
    SELECT own, given.place::integer, right(given.token, 32)::uuid, part.matched[1], part.matched[2]::integer
    FROM unnest(p_tokens) WITH ORDINALITY AS given (token, place)
    JOIN (
        SELECT listed.prefix, regexp_match(listed.prefix, '^(.*)_v([0-9]+)_$') AS matched
        FROM (SELECT DISTINCT left(token, -32) AS prefix FROM unnest(p_tokens) AS token) AS listed
    ) AS part ON part.prefix = left(given.token, -32);

    RETURN QUERY
        SELECT booked.*
        FROM vault.book_request(own, 'tokens', 'recover.request', p_tokens, p_reason, p_ticket) AS booked;
END;
$$;

-- The same for quarantined records: one audit event per record, policy of the domain quarantine.
CREATE FUNCTION vault.request_quarantine(p_ids uuid[], p_reason text, p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own uuid := gen_random_uuid();
BEGIN
    PERFORM vault.require_text('the reason', p_reason, 1024);
    IF p_ticket IS NOT NULL THEN
        PERFORM vault.require_text('the ticket', p_ticket, 128);
    END IF;
    IF coalesce(cardinality(p_ids), 0) NOT BETWEEN 1 AND 1000000 OR array_ndims(p_ids) <> 1
        OR array_position(p_ids, NULL) IS NOT NULL
    THEN
        RAISE EXCEPTION 'a request asks for 1 to 1000000 quarantined records' USING ERRCODE = 'TV020';
    END IF;

    PERFORM FROM audit.head FOR UPDATE;
    INSERT INTO vault.recovery_request_item (request, ordinal, domain, quarantine)
    SELECT own, given.place::integer, 'quarantine', given.id
    FROM unnest(p_ids) WITH ORDINALITY AS given (id, place);

    RETURN QUERY
        SELECT booked.*
        FROM vault.book_request(own, 'quarantine', 'quarantine.request', p_ids::text[], p_reason, p_ticket) AS booked;
END;
$$;

-- The one gate before everything sealed. Raises unless the request was committed by an earlier transaction, is the
-- caller's own, approved and unexpired. Its row is visible only to its own transaction or after its commit, so
-- comparing transaction ids leaves committed ones alone.
CREATE FUNCTION vault.require_releasable(p_request uuid, p_kind text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked     vault.recovery_request;
    approvals bigint;
    denials   bigint;
BEGIN
    SELECT request.* INTO asked
    FROM vault.recovery_request AS request
    WHERE request.id = p_request
      AND request.requester = session_user
      AND request.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
      AND (p_kind IS NULL OR request.kind = p_kind);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no committed request of yours with this id'
            USING ERRCODE = 'TV004', HINT = 'Request first and commit; only the requester receives.';
    END IF;

    SELECT count(*) FILTER (WHERE approval.decision = 'approve'), count(*) FILTER (WHERE approval.decision = 'deny')
    INTO approvals, denials
    FROM vault.approval AS approval
    WHERE approval.request = p_request AND approval.approver <> asked.requester;
    IF denials > 0 THEN
        RAISE EXCEPTION 'this request was denied' USING ERRCODE = 'TV001';
    END IF;
    -- Not now(): that stands still in a transaction held open.
    IF clock_timestamp() >= asked.expires_at THEN
        RAISE EXCEPTION 'this request has expired' USING ERRCODE = 'TV003', HINT = 'Request again.';
    END IF;
    IF approvals < asked.approvals_needed THEN
        RAISE EXCEPTION 'this request has % of % approvals', approvals, asked.approvals_needed
            USING ERRCODE = 'TV002', HINT = 'Try again when it is approved; it must not have expired by then.';
    END IF;
END;
$$;

-- At most p_limit items after item p_after, in the order asked; NULLs where the vault has no such token.
-- Domain and version must match too: another domain's name before the same digits would pick another policy.
-- A page is looked up token by token: to hash the whole vault for each page would take seconds.
CREATE FUNCTION vault.release(p_request uuid, p_after integer, p_limit integer)
    RETURNS TABLE (ordinal integer, token text, data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM vault.require_releasable(p_request, 'tokens');
    RETURN QUERY
        SELECT item.ordinal,
               item.domain || '_v' || item.token_version::text || '_' || replace(item.token::text, '-', ''),
               original.data_key, original.sealed
        FROM (
            SELECT asked.*
            FROM vault.recovery_request_item AS asked
            WHERE asked.request = p_request AND asked.ordinal > coalesce(p_after, 0)
            ORDER BY asked.ordinal
            LIMIT greatest(coalesce(p_limit, 0), 0)
        ) AS item
        LEFT JOIN vault.original AS original
            ON original.token = item.token AND original.domain = item.domain
            AND original.token_version = item.token_version
        ORDER BY item.ordinal;
END;
$$;

CREATE FUNCTION vault.release_quarantine(p_request uuid)
    RETURNS TABLE (ordinal integer, id uuid, source text, record_position text, cause text, truncated boolean,
                   data_key uuid, sealed bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_releasable(p_request, 'quarantine');
    RETURN QUERY
        SELECT item.ordinal, item.quarantine, record.source, record.position, record.cause, record.truncated,
               record.data_key, record.sealed
        FROM vault.recovery_request_item AS item
        LEFT JOIN vault.quarantine AS record ON record.id = item.quarantine
        WHERE item.request = p_request
        ORDER BY item.ordinal;
END;
$$;

-- The data keys that the request's items use, sealed to any of the given recovery keys.
CREATE FUNCTION vault.release_data_keys(p_request uuid, p_recovery_keys uuid[])
    RETURNS TABLE (id uuid, domain text, signing_key uuid, created_at bigint, commitment bytea, signature bytea,
                   recovery_key uuid, sealed bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_releasable(p_request, NULL);
    RETURN QUERY
        WITH used AS (
            SELECT original.data_key
            FROM vault.recovery_request_item AS item
            JOIN vault.original AS original
                ON original.token = item.token AND original.domain = item.domain
                AND original.token_version = item.token_version
            WHERE item.request = p_request
            UNION
            SELECT record.data_key
            FROM vault.recovery_request_item AS item
            JOIN vault.quarantine AS record ON record.id = item.quarantine
            WHERE item.request = p_request
        )
        SELECT key.id, key.domain, key.signing_key, floor(extract(epoch FROM key.created_at))::bigint,
               key.commitment, key.signature, seal.recovery_key, seal.sealed
        FROM used
        JOIN vault.data_key AS key ON key.id = used.data_key
        JOIN vault.data_key_seal AS seal ON seal.data_key = key.id
        WHERE seal.recovery_key = ANY (p_recovery_keys)
        ORDER BY key.id, seal.recovery_key;
END;
$$;

-- What came of a request, in the requester's words. Own requests only; also after they have expired.
CREATE FUNCTION vault.record_outcome(p_request uuid, p_outcome text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.require_text('the outcome', p_outcome, 1024);
    IF NOT EXISTS (
        SELECT FROM vault.recovery_request AS request
        WHERE request.id = p_request AND request.requester = session_user
          AND request.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
    ) THEN
        RAISE EXCEPTION 'no committed request of yours with this id' USING ERRCODE = 'TV004';
    END IF;
    RETURN QUERY
        SELECT appended.sequence, appended.head
        FROM audit.append('recover.outcome', p_request::text, NULL, NULL, p_outcome) AS appended;
END;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.request_recovery(text[], text, text),
    vault.release(uuid, integer, integer)
    TO tokenvault_recoverer;
GRANT EXECUTE ON FUNCTION
    vault.request_quarantine(uuid[], text, text),
    vault.release_quarantine(uuid),
    vault.release_data_keys(uuid, uuid[]),
    vault.record_outcome(uuid, text)
    TO tokenvault_recoverer, tokenvault_operator;

SELECT vault.record_migration(5, 'recovery');

COMMIT;
