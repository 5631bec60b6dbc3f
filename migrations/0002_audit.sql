-- 0002_audit: an append-only, hash-chained log. Encoding and chain: docs/FORMATS.md, section 8.
-- requires: 0001_schema_and_keys

BEGIN;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE audit.event (
    sequence    bigint      PRIMARY KEY CHECK (sequence >= 1),
    id          uuid        NOT NULL,
    happened_at timestamptz NOT NULL,
    actor       name        NOT NULL,
    address     text        NULL,
    action      text        NOT NULL,
    object      text        NULL,
    reason      text        NULL,
    ticket      text        NULL,
    outcome     text        NULL,
    leaf        bytea       NOT NULL CHECK (octet_length(leaf) = 32),
    head        bytea       NOT NULL CHECK (octet_length(head) = 32)
);
COMMENT ON TABLE  audit.event         IS 'Who did what, when and why; each row is bound to all rows before it.';
COMMENT ON COLUMN audit.event.actor   IS 'The login role (session_user), whatever role it had set.';
COMMENT ON COLUMN audit.event.address IS 'host(inet) of the client; NULL over a Unix socket.';
COMMENT ON COLUMN audit.event.leaf    IS 'SHA-256(00 || encoding of the event).';
COMMENT ON COLUMN audit.event.head    IS 'SHA-256(02 || head of the event before || leaf).';

CREATE TABLE audit.head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    sequence  bigint  NOT NULL,
    head      bytea   NOT NULL CHECK (octet_length(head) = 32)
);
COMMENT ON TABLE audit.head IS 'The newest event. Its row lock puts all appenders in one line.';
INSERT INTO audit.head (sequence, head) VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE FUNCTION audit.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % of %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'TV001';
END;
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.event
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit.head
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
-- Also where session_replication_role is 'replica'.
ALTER TABLE audit.event ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE audit.head ENABLE ALWAYS TRIGGER append_only;

-- One field of the encoding: u32 length and bytes; NULL is the length FFFFFFFF.
CREATE FUNCTION audit.field(p_bytes bytea) RETURNS bytea
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT coalesce(pg_catalog.int4send(pg_catalog.octet_length(p_bytes)) OPERATOR(pg_catalog.||) p_bytes,
                    pg_catalog.int4send(-1));
$$;

-- Stable, as convert_to is: declared immutable, it would not be inlined, and 1,000,000 calls would take 40 s.
CREATE FUNCTION audit.field(p_text text) RETURNS bytea
    LANGUAGE sql
    STABLE
AS $$
    SELECT audit.field(pg_catalog.convert_to(p_text, 'UTF8'));
$$;

-- Appends one event per object, in order, and moves the head. Internal: called by functions that run as the owner.
-- Everything but the chain itself is set-based, so that a request for 1,000,000 tokens takes seconds.
CREATE FUNCTION audit.append_many(p_action text, p_objects text[], p_reason text, p_ticket text, p_outcome text)
    RETURNS TABLE (sequence bigint, head bytea)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing  bigint;
    chain     bytea;
    moment    timestamptz;
    client    text := host(inet_client_addr());
    who       bytea;  -- the parts of the encoding that all events of this call share
    why       bytea;
    ids       uuid[];
    leaves    bytea[];
    leaf      bytea;
    heads     bytea[] := '{}';
    done      integer := 0;
BEGIN
    IF coalesce(cardinality(p_objects), 0) = 0 THEN
        RAISE EXCEPTION 'an audit event needs an object, or NULL as one' USING ERRCODE = 'TV020';
    END IF;

    SELECT last.sequence, last.head INTO STRICT standing, chain FROM audit.head AS last FOR UPDATE;
    moment := clock_timestamp();
    who := audit.field(int8send((extract(epoch FROM moment) * 1000000)::bigint))
        || audit.field(session_user::text) || audit.field(client) || audit.field(p_action);
    why := audit.field(p_reason) || audit.field(p_ticket) || audit.field(p_outcome);

    SELECT array_agg(event.id ORDER BY event.place),
           array_agg(sha256('\x00'::bytea || audit.field('tokenvault/audit-event/1'::text)
                            || audit.field(int8send(standing + event.place)) || audit.field(uuid_send(event.id))
                            || who || audit.field(event.object) || why) ORDER BY event.place)
    INTO ids, leaves
    FROM (
        SELECT given.object, given.place, gen_random_uuid() AS id
        FROM unnest(p_objects) WITH ORDINALITY AS given (object, place)
    ) AS event;

    FOREACH leaf IN ARRAY leaves LOOP
        done := done + 1;
        chain := sha256('\x02'::bytea || chain || leaf);
        heads[done] := chain;
    END LOOP;

    INSERT INTO audit.event (sequence, id, happened_at, actor, address, action, object, reason, ticket, outcome,
                             leaf, head)
    SELECT standing + made.place, made.id, moment, session_user, client, p_action, made.object, p_reason,
           p_ticket, p_outcome, made.leaf, made.head
    FROM unnest(p_objects, ids, leaves, heads) WITH ORDINALITY AS made (object, id, leaf, head, place);

    UPDATE audit.head AS last SET sequence = standing + done, head = chain;

    RETURN QUERY SELECT standing + done, chain;
END;
$$;

CREATE FUNCTION audit.append(p_action text, p_object text, p_reason text, p_ticket text, p_outcome text)
    RETURNS TABLE (sequence bigint, head bytea)
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT appended.sequence, appended.head
    FROM audit.append_many(p_action, ARRAY[p_object], p_reason, p_ticket, p_outcome) AS appended;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO tokenvault_auditor;
GRANT SELECT ON audit.event, audit.head TO tokenvault_auditor;

SELECT vault.record_migration(2, 'audit');

COMMIT;
