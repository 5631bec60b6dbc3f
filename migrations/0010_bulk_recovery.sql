-- 0010_bulk_recovery: requests for a million tokens, staged page by page in one transaction; erased told from absent.
-- requires: 0009_policy

BEGIN;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.recovery_draft (
    xid        xid8    PRIMARY KEY,
    request    uuid    NOT NULL,
    item_count integer NOT NULL CHECK (item_count >= 0)
);
COMMENT ON TABLE  vault.recovery_draft     IS 'Requests whose tokens are being staged. Never outlives its transaction.';
COMMENT ON COLUMN vault.recovery_draft.xid IS 'The only transaction that may add tokens to it, and book it.';

CREATE FUNCTION vault.refuse_unbooked_draft() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM vault.recovery_draft AS draft WHERE draft.xid = NEW.xid) THEN
        RAISE EXCEPTION 'tokens were staged and not booked'
            USING ERRCODE = 'TV020', HINT = 'Call vault.book_recovery before COMMIT.';
    END IF;
    RETURN NULL;
END;
$$;

CREATE CONSTRAINT TRIGGER booked AFTER INSERT ON vault.recovery_draft
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION vault.refuse_unbooked_draft();

-- Adds tokens, given as text, in this order, to the request that this transaction prepares. Call it as often as needed,
-- then vault.book_recovery. The caller names no request, so nobody can add to another's, or to one that is booked.
-- Holds no lock on the audit log: a slow client stops nobody.
CREATE FUNCTION vault.stage_recovery(p_tokens text[]) RETURNS integer
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own   vault.recovery_draft;
    wrong bigint;
    count integer := coalesce(cardinality(p_tokens), 0);
BEGIN
    SELECT draft.* INTO own FROM vault.recovery_draft AS draft WHERE draft.xid = pg_current_xact_id();
    IF NOT FOUND THEN
        own := ROW(pg_current_xact_id(), gen_random_uuid(), 0);
        INSERT INTO vault.recovery_draft VALUES (own.xid, own.request, own.item_count);
    END IF;
    IF count < 1 OR own.item_count + count > 1000000 OR array_ndims(p_tokens) <> 1 THEN
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
    IF wrong IS NOT NULL OR array_position(p_tokens, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'token % is not a token',
            own.item_count + least(wrong, array_position(p_tokens, NULL)::bigint)
            USING ERRCODE = 'TV020', HINT = 'A token looks like ip_v1_ and 32 hex digits.';
    END IF;

    INSERT INTO vault.recovery_request_item (request, ordinal, token, domain, token_version)
    SELECT own.request, own.item_count + given.place::integer, right(given.token, 32)::uuid, part.matched[1],
           part.matched[2]::integer
    FROM unnest(p_tokens) WITH ORDINALITY AS given (token, place)
    JOIN (
        SELECT listed.prefix, regexp_match(listed.prefix, '^(.*)_v([0-9]+)_$') AS matched
        FROM (SELECT DISTINCT left(token, -32) AS prefix FROM unnest(p_tokens) AS token) AS listed
    ) AS part ON part.prefix = left(given.token, -32);

    UPDATE vault.recovery_draft AS draft SET item_count = own.item_count + count WHERE draft.xid = own.xid;
    RETURN own.item_count + count;
END;
$$;

-- Books what this transaction has staged: one audit event a token, of this action. Internal.
CREATE FUNCTION vault.book_draft(p_action text, p_reason text, p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own     uuid;
    objects text[];
BEGIN
    PERFORM vault.require_text('the reason', p_reason, 1024);
    IF p_ticket IS NOT NULL THEN
        PERFORM vault.require_text('the ticket', p_ticket, 128);
    END IF;
    DELETE FROM vault.recovery_draft AS draft WHERE draft.xid = pg_current_xact_id() RETURNING draft.request INTO own;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no tokens were staged in this transaction'
            USING ERRCODE = 'TV020', HINT = 'Call vault.stage_recovery first, in the same transaction.';
    END IF;

    PERFORM FROM audit.head FOR UPDATE;
    SELECT array_agg(item.domain || '_v' || item.token_version::text || '_' || replace(item.token::text, '-', '')
                     ORDER BY item.ordinal)
    INTO objects
    FROM vault.recovery_request_item AS item
    WHERE item.request = own;

    RETURN QUERY
        SELECT booked.request, booked.audit_sequence, booked.audit_head, booked.approvals_needed, booked.expires_at
        FROM vault.book_request(own, 'tokens', p_action, objects, p_reason, p_ticket) AS booked;
END;
$$;

-- Asks for the originals of the tokens staged in this transaction. Releases nothing: commit, then call vault.release.
CREATE FUNCTION vault.book_recovery(p_reason text, p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT booked.request, booked.audit_sequence, booked.audit_head, booked.approvals_needed, booked.expires_at
    FROM vault.book_draft('recover.request', p_reason, p_ticket) AS booked;
$$;

-- The same for tokens that fit in one call.
CREATE OR REPLACE FUNCTION vault.request_recovery(p_tokens text[], p_reason text, p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vault.stage_recovery(p_tokens);
    RETURN QUERY
        SELECT booked.request, booked.audit_sequence, booked.audit_head, booked.approvals_needed, booked.expires_at
        FROM vault.book_draft('recover.request', p_reason, p_ticket) AS booked;
END;
$$;

-- At most p_limit items after item p_after, in the order asked; NULLs where the vault has no such token, and when it was
-- erased, if it was. Domain and version must match too: another domain's name before the same digits would pick another
-- policy. A page is looked up token by token: to hash the whole vault for each page would take seconds.
DROP FUNCTION vault.release(uuid, integer, integer);
CREATE FUNCTION vault.release(p_request uuid, p_after integer, p_limit integer)
    RETURNS TABLE (ordinal integer, token text, data_key uuid, sealed bytea, erased_at timestamptz)
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
               original.data_key, original.sealed,
               CASE WHEN original.token IS NULL THEN (
                   SELECT erased.erased_at FROM vault.erased_token AS erased WHERE erased.token = item.token) END
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

-- audit list shows these first.
CREATE INDEX event_break_glass ON audit.event (sequence) WHERE action LIKE '%.break-glass';

REVOKE ALL ON FUNCTION
    vault.refuse_unbooked_draft(), vault.stage_recovery(text[]), vault.book_draft(text, text, text),
    vault.book_recovery(text, text), vault.release(uuid, integer, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    vault.stage_recovery(text[]),
    vault.book_recovery(text, text),
    vault.release(uuid, integer, integer)
    TO tokenvault_recoverer;

SELECT vault.record_migration(10, 'bulk_recovery');

COMMIT;
