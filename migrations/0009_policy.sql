-- 0009_policy: policy that holds at release too, decisions that lapse, hours, and break-glass.
-- requires: 0008_erasure
-- docs/decisions/0007-policy-and-approvals.md says why. What stood when a request was made and what stands now both count: the stricter wins.

BEGIN;

SET LOCAL ROLE tokenvault_owner;

ALTER TABLE vault.policy
    ADD COLUMN hours               text    NULL CHECK (length(hours) <= 256),
    ADD COLUMN break_glass_per_day integer NULL CHECK (break_glass_per_day >= 1);
COMMENT ON COLUMN vault.policy.hours               IS 'When values may be asked for and released: Mon-Fri 08:00-18:00 Europe/Berlin; NULL for always.';
COMMENT ON COLUMN vault.policy.break_glass_per_day IS 'Values per requester and UTC day by break-glass; NULL where it is not allowed.';

ALTER TABLE vault.recovery_request
    ADD COLUMN break_glass    boolean NOT NULL DEFAULT false,
    ADD COLUMN audit_sequence bigint  NULL,
    ADD COLUMN audit_head     bytea   NULL;
COMMENT ON COLUMN vault.recovery_request.break_glass    IS 'Asked for at once, without approvals and hours.';
COMMENT ON COLUMN vault.recovery_request.audit_sequence IS 'Receipt of the request''s last audit event.';
CREATE INDEX recovery_request_break_glass ON vault.recovery_request (created_at) WHERE break_glass;

CREATE TABLE vault.recovery_request_domain (
    request    uuid    NOT NULL,
    domain     text    NOT NULL,
    item_count integer NOT NULL CHECK (item_count >= 1),
    used       bigint  NOT NULL,
    hours      text    NULL,
    PRIMARY KEY (request, domain)
);
COMMENT ON TABLE  vault.recovery_request_domain       IS 'How many values of which domain a request asks for: counting a day does not read its items.';
COMMENT ON COLUMN vault.recovery_request_domain.used  IS 'The requester''s values of that day, this request included.';
COMMENT ON COLUMN vault.recovery_request_domain.hours IS 'Of the policy when the request was made.';
INSERT INTO vault.recovery_request_domain (request, domain, item_count, used)
SELECT item.request, item.domain, count(*), count(*) FROM vault.recovery_request_item AS item GROUP BY 1, 2;

ALTER TABLE vault.approval
    ADD COLUMN approver_id oid  NULL,
    ADD COLUMN reason      text NULL;
COMMENT ON COLUMN vault.approval.approver_id IS 'The login role itself: another one of the same name, made later, is somebody else.';
UPDATE vault.approval AS approval SET approver_id = role.oid
FROM pg_catalog.pg_roles AS role WHERE role.rolname = approval.approver;

-- Membership, also where the group does not exist (roles.sql of an older release). Superusers are members of all.
CREATE FUNCTION vault.is_member(p_role name, p_group name) RETURNS boolean
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_roles AS member, pg_roles AS held
        WHERE member.rolname = p_role AND held.rolname = p_group AND pg_has_role(member.oid, held.oid, 'MEMBER'));
$$;

-- The row of the domain, else that of *.
CREATE FUNCTION vault.policy_for(p_domain text) RETURNS SETOF vault.policy
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT policy.* FROM vault.policy AS policy
    WHERE policy.domain IN (p_domain, '*')
    ORDER BY (policy.domain = p_domain) DESC
    LIMIT 1;
$$;

-- hours

-- 1 for Monday to 7, of a list like Mon-Fri,Sun; NULL when it is none. A range may go over the week's end.
CREATE FUNCTION vault.weekdays(p_days text) RETURNS integer[]
    LANGUAGE plpgsql
    IMMUTABLE
    STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names  constant text[] := ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
    listed text;
    ends   text[];
    day    integer;
    last   integer;
    found  integer[] := '{}';
BEGIN
    FOREACH listed IN ARRAY string_to_array(lower(p_days COLLATE "C"), ',') LOOP
        ends := string_to_array(listed, '-');
        day := array_position(names, ends[1]);
        last := array_position(names, ends[cardinality(ends)]);
        IF day IS NULL OR last IS NULL OR cardinality(ends) > 2 THEN
            RETURN NULL;
        END IF;
        found := found || day;
        WHILE day <> last LOOP
            day := day % 7 + 1;
            found := found || day;
        END LOOP;
    END LOOP;
    RETURN found;
END;
$$;

-- One window: days, hour and minute of its begin and end, time zone; NULL when it has not that form.
CREATE FUNCTION vault.hours_window(p_window text) RETURNS text[]
    LANGUAGE sql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT regexp_match(btrim(p_window),
        '^([A-Za-z,-]+) +([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9]) +([A-Za-z0-9_+/-]+)$');
$$;

-- Whether the clock of each window's own zone stands within one of them. A window may go over midnight: it then belongs to
-- the day on which it begins. What cannot be read allows nothing.
CREATE FUNCTION vault.hours_allow(p_hours text, p_moment timestamptz) RETURNS boolean
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed text;
    part   text[];
    days   integer[];
    place  timestamp;
    day    integer;
    minute integer;
    opens  integer;
    closes integer;
BEGIN
    IF p_hours IS NULL THEN
        RETURN true;
    END IF;
    FOREACH listed IN ARRAY string_to_array(p_hours, ';') LOOP
        part := vault.hours_window(listed);
        days := vault.weekdays(part[1]);
        place := p_moment AT TIME ZONE part[6];
        day := extract(isodow FROM place);
        minute := extract(hour FROM place) * 60 + extract(minute FROM place);
        opens := part[2]::integer * 60 + part[3]::integer;
        closes := part[4]::integer * 60 + part[5]::integer;
        IF opens < closes AND day = ANY (days) AND minute >= opens AND minute < closes THEN
            RETURN true;
        END IF;
        IF opens > closes AND (day = ANY (days) AND minute >= opens
                               OR (day + 5) % 7 + 1 = ANY (days) AND minute < closes) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END;
$$;

-- Refuses hours that make no sense; gives their one spelling.
-- Zones are named by place, or UTC: what EST means is up to the session's timezone_abbreviations.
CREATE FUNCTION vault.canonical_hours(p_hours text) RETURNS text
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed text;
    part   text[];
    zone   text;
    said   text[] := '{}';
BEGIN
    FOREACH listed IN ARRAY string_to_array(p_hours, ';') LOOP
        part := vault.hours_window(listed);
        IF part IS NULL OR vault.weekdays(part[1]) IS NULL OR length(p_hours) > 256
            OR part[2] || part[3] > '2359' OR part[4] || part[5] > '2400' OR part[2] || part[3] = part[4] || part[5]
        THEN
            RAISE EXCEPTION 'hours have the form Mon-Fri 08:00-18:00 Europe/Berlin'
                USING ERRCODE = 'TV020', HINT = 'Days are Mon to Sun, ranges and lists; several windows are separated by ;';
        END IF;
        SELECT min(known.name) INTO zone
        FROM pg_timezone_names AS known
        WHERE lower(known.name) = lower(part[6]) AND (known.name = 'UTC' OR strpos(known.name, '/') > 0);
        IF zone IS NULL THEN
            RAISE EXCEPTION 'the hours name no time zone that the server knows'
                USING ERRCODE = 'TV020', HINT = 'Name a place, e.g. Europe/Berlin, or UTC.';
        END IF;
        said := said || format('%s %s:%s-%s:%s %s', replace(initcap(replace(part[1], ',', ', ')), ', ', ','),
                               part[2], part[3], part[4], part[5], zone);
    END LOOP;
    IF cardinality(said) = 0 THEN
        RAISE EXCEPTION 'hours have the form Mon-Fri 08:00-18:00 Europe/Berlin' USING ERRCODE = 'TV020';
    END IF;
    RETURN array_to_string(said, '; ');
END;
$$;

-- requests

-- Books the items already written for p_request: policy, budget, request, audit events, flush. Internal.
-- All of it under the lock on audit.head, so two requests of one person cannot both fit the same budget, and a policy does
-- not change in between. A session asks for break-glass by SET tokenvault.break_glass = 'on': anybody may say so, and only a
-- member of tokenvault_break_glass gets it.
CREATE OR REPLACE FUNCTION vault.book_request(p_request uuid, p_kind text, p_action text, p_objects text[], p_reason text,
                                              p_ticket text)
    RETURNS TABLE (request uuid, audit_sequence bigint, audit_head bytea, approvals_needed integer,
                   expires_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    urgent     boolean := coalesce(current_setting('tokenvault.break_glass', true), '') = 'on';
    moment     timestamptz;
    asked      record;
    rule       vault.policy;
    used       bigint;
    most       bigint;
    domains    integer := 0;
    approvals  integer := 0;
    validity   interval := interval '30 days';
    receipt    record;
BEGIN
    PERFORM FROM audit.head FOR UPDATE;
    moment := clock_timestamp();
    IF urgent AND NOT (vault.is_member(session_user, 'tokenvault_break_glass')
                       AND vault.is_member(session_user, 'tokenvault_recoverer')) THEN
        RAISE EXCEPTION 'break-glass needs membership in tokenvault_break_glass, besides tokenvault_recoverer'
            USING ERRCODE = 'TV001', HINT = 'Ask without it, or ask the administrator: GRANT tokenvault_break_glass TO ….';
    END IF;
    IF urgent AND p_kind <> 'tokens' THEN
        RAISE EXCEPTION 'break-glass gives values back, not quarantined records' USING ERRCODE = 'TV001';
    END IF;

    FOR asked IN
        SELECT item.domain, count(*) AS count
        FROM vault.recovery_request_item AS item
        WHERE item.request = p_request
        GROUP BY item.domain
        ORDER BY item.domain
    LOOP
        domains := domains + 1;
        IF domains > 64 THEN
            RAISE EXCEPTION 'a request asks for values of at most 64 domains' USING ERRCODE = 'TV020';
        END IF;
        SELECT policy.* INTO rule FROM vault.policy_for(asked.domain) AS policy;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no policy covers this domain'
                USING ERRCODE = 'TV001', HINT = 'Ask an operator: tokenvault policy set.';
        END IF;
        IF rule.reason_pattern IS NOT NULL AND p_reason !~ ('^(?:' || rule.reason_pattern || ')$') THEN
            RAISE EXCEPTION 'the reason does not have the form that the policy asks for'
                USING ERRCODE = 'TV001', HINT = 'tokenvault policy show prints it.';
        END IF;
        IF rule.ticket_pattern IS NOT NULL
            AND (p_ticket IS NULL OR p_ticket !~ ('^(?:' || rule.ticket_pattern || ')$'))
        THEN
            RAISE EXCEPTION 'the ticket does not have the form that the policy asks for'
                USING ERRCODE = 'TV001', HINT = 'tokenvault policy show prints it.';
        END IF;
        IF urgent AND rule.break_glass_per_day IS NULL THEN
            RAISE EXCEPTION 'the policy of domain % allows no break-glass', asked.domain
                USING ERRCODE = 'TV001', HINT = 'Ask without it; an operator can allow it: tokenvault policy set.';
        END IF;
        IF NOT urgent AND NOT vault.hours_allow(rule.hours, moment) THEN
            RAISE EXCEPTION 'the policy of domain % allows no recovery at this hour', asked.domain
                USING ERRCODE = 'TV001', HINT = 'Allowed: ' || rule.hours;
        END IF;

        SELECT coalesce(sum(counted.item_count), 0) INTO used
        FROM vault.recovery_request AS earlier
        JOIN vault.recovery_request_domain AS counted ON counted.request = earlier.id
        WHERE earlier.requester = session_user
          AND earlier.created_at >= date_trunc('day', moment, 'UTC')
          AND earlier.break_glass = urgent
          AND counted.domain = asked.domain;
        most := CASE WHEN urgent THEN rule.break_glass_per_day ELSE rule.values_per_day END;
        IF used + asked.count > most THEN
            RAISE EXCEPTION 'this request asks for % values; % of % a day are left for you in this domain',
                asked.count, greatest(most - used, 0), most
                USING ERRCODE = 'TV001', HINT = 'Ask for fewer, or wait until midnight UTC.';
        END IF;
        INSERT INTO vault.recovery_request_domain (request, domain, item_count, used, hours)
        VALUES (p_request, asked.domain, asked.count, used + asked.count, CASE WHEN urgent THEN NULL ELSE rule.hours END);
        IF NOT urgent THEN
            approvals := greatest(approvals, rule.approvals_needed);
        END IF;
        validity := least(validity, rule.request_validity);
    END LOOP;
    IF domains = 0 THEN
        RAISE EXCEPTION 'a request asks for something' USING ERRCODE = 'TV020';
    END IF;

    SELECT appended.sequence, appended.head INTO STRICT receipt
    FROM audit.append_many(CASE WHEN urgent THEN 'recover.break-glass' ELSE p_action END, p_objects, p_reason, p_ticket,
                           NULL) AS appended;
    INSERT INTO vault.recovery_request (id, kind, requester, reason, ticket, created_at, expires_at, xid, item_count,
                                        approvals_needed, break_glass, audit_sequence, audit_head)
    VALUES (p_request, p_kind, session_user, p_reason, p_ticket, moment, moment + validity, pg_current_xact_id(),
            cardinality(p_objects), approvals, urgent, receipt.sequence, receipt.head);
    PERFORM vault.force_flush();

    RETURN QUERY SELECT p_request, receipt.sequence, receipt.head, approvals, moment + validity;
END;
$$;

-- How a request stands under what was asked of it and under the policy of now, the stricter of both. Internal.
-- `refusal`: the policy of now forbids it. `is_outside_hours`: it may be released later.
-- An approval counts while the approver is still in the group, may log in, and is the same role that approved.
CREATE FUNCTION vault.request_standing(p_request uuid)
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

    SELECT count(*) FILTER (WHERE decided.decision = 'approve' AND EXISTS (
               SELECT FROM pg_roles AS role
               WHERE role.oid = decided.approver_id AND role.rolcanlogin
                 AND vault.is_member(role.rolname, 'tokenvault_approver')
                 AND NOT vault.is_member(role.rolname, asked.requester)
                 AND NOT vault.is_member(asked.requester, role.rolname))),
           count(*) FILTER (WHERE decided.decision = 'deny') > 0
    INTO approvals, is_denied
    FROM vault.approval AS decided
    WHERE decided.request = p_request AND decided.approver <> asked.requester;
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
CREATE FUNCTION vault.own_request(p_request uuid)
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
          AND asked.xid IS DISTINCT FROM pg_current_xact_id_if_assigned();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no committed request of yours with this id'
            USING ERRCODE = 'TV004', HINT = 'Only the requester receives.';
    END IF;
END;
$$;

-- approvals

DROP FUNCTION vault.waiting_requests(integer);
DROP FUNCTION vault.decide_request(uuid, text);

-- Requests that wait for a decision, or one request that has not lapsed, so that an approver sees what they decide on.
CREATE FUNCTION vault.waiting_requests(p_limit integer, p_request uuid DEFAULT NULL)
    RETURNS TABLE (request uuid, kind text, requester name, reason text, ticket text, created_at timestamptz,
                   expires_at timestamptz, item_count integer, domains text[], approvals_needed integer,
                   approvals integer, counts jsonb, state text, break_glass boolean)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT asked.id, asked.kind, asked.requester, asked.reason, asked.ticket, asked.created_at, standing.lapses_at,
           asked.item_count, parts.domains, standing.approvals_needed, standing.approvals, parts.counts,
           CASE WHEN standing.is_denied THEN 'denied' WHEN standing.approvals < standing.approvals_needed THEN 'waiting'
                ELSE 'approved' END,
           asked.break_glass
    FROM vault.recovery_request AS asked
    CROSS JOIN LATERAL vault.request_standing(asked.id) AS standing
    CROSS JOIN LATERAL (
        SELECT array_agg(counted.domain ORDER BY counted.domain) AS domains,
               jsonb_object_agg(counted.domain, counted.item_count) AS counts
        FROM vault.recovery_request_domain AS counted
        WHERE counted.request = asked.id
    ) AS parts
    WHERE asked.expires_at > clock_timestamp() AND standing.lapses_at > clock_timestamp()
      AND CASE WHEN p_request IS NULL
               THEN NOT standing.is_denied AND standing.approvals < standing.approvals_needed
               ELSE asked.id = p_request END
    ORDER BY asked.created_at, asked.id
    LIMIT greatest(coalesce(p_limit, 0), 0);
$$;

-- What a request that has not lapsed asks for: tokens, or ids of quarantined records; never a value.
CREATE FUNCTION vault.request_items(p_request uuid, p_after integer, p_limit integer)
    RETURNS TABLE (ordinal integer, item text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT asked.ordinal,
           coalesce(asked.domain || '_v' || asked.token_version::text || '_' || replace(asked.token::text, '-', ''),
                    replace(asked.quarantine::text, '-', ''))
    FROM vault.recovery_request AS request
    JOIN vault.recovery_request_item AS asked ON asked.request = request.id
    WHERE request.id = p_request AND request.expires_at > clock_timestamp() AND asked.ordinal > coalesce(p_after, 0)
    ORDER BY asked.ordinal
    LIMIT greatest(coalesce(p_limit, 0), 0);
$$;

-- Approves or denies another person's request. One denial ends it; who approved may still deny. Flushed, because a release
-- may follow at once. Two login roles of which one is a member of the other count as one person.
CREATE FUNCTION vault.decide_request(p_request uuid, p_decision text, p_reason text DEFAULT NULL)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea, approvals integer, approvals_needed integer)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked    vault.recovery_request;
    standing record;
    receipt  record;
BEGIN
    IF p_decision IS NULL OR p_decision NOT IN ('approve', 'deny') THEN
        RAISE EXCEPTION 'a decision is approve or deny' USING ERRCODE = 'TV020';
    END IF;
    IF p_reason IS NOT NULL THEN
        PERFORM vault.require_text('the reason', p_reason, 1024);
    END IF;
    SELECT request.* INTO asked FROM vault.recovery_request AS request WHERE request.id = p_request FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no request with this id' USING ERRCODE = 'TV004';
    END IF;
    IF asked.requester = session_user OR vault.is_member(session_user, asked.requester)
        OR vault.is_member(asked.requester, session_user)
    THEN
        RAISE EXCEPTION 'nobody decides on a request of their own'
            USING ERRCODE = 'TV001', HINT = 'A login role that can become the requester''s counts as the requester.';
    END IF;
    IF NOT vault.is_member(session_user, 'tokenvault_approver') THEN
        RAISE EXCEPTION 'only members of tokenvault_approver decide' USING ERRCODE = 'TV001';
    END IF;
    SELECT now_standing.* INTO STRICT standing FROM vault.request_standing(p_request) AS now_standing;
    IF clock_timestamp() >= standing.lapses_at THEN
        RAISE EXCEPTION 'this request has expired' USING ERRCODE = 'TV003';
    END IF;
    IF standing.is_denied THEN
        RAISE EXCEPTION 'this request was denied; nothing brings it back'
            USING ERRCODE = 'TV001', HINT = 'The requester may ask again.';
    END IF;
    INSERT INTO vault.approval AS decided (request, approver, decision, approver_id, reason)
    VALUES (p_request, session_user, p_decision,
            (SELECT role.oid FROM pg_roles AS role WHERE role.rolname = session_user), p_reason)
    ON CONFLICT (request, approver) DO UPDATE
    SET decision = excluded.decision, approver_id = excluded.approver_id, reason = excluded.reason,
        decided_at = clock_timestamp()
    WHERE decided.decision = 'approve'
      AND (excluded.decision = 'deny' OR decided.approver_id IS DISTINCT FROM excluded.approver_id);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'you have decided on this request already' USING ERRCODE = 'TV001';
    END IF;
    SELECT appended.sequence, appended.head INTO STRICT receipt
    FROM audit.append('recover.' || p_decision, p_request::text, p_reason, NULL, NULL) AS appended;
    PERFORM vault.force_flush();
    RETURN QUERY
        SELECT receipt.sequence, receipt.head, decided.approvals, decided.approvals_needed
        FROM vault.request_standing(p_request) AS decided;
END;
$$;

-- policy

DROP FUNCTION vault.policy_list();
CREATE FUNCTION vault.policy_list()
    RETURNS TABLE (domain text, approvals_needed integer, values_per_day integer, request_validity interval,
                   reason_pattern text, ticket_pattern text, hours text, break_glass_per_day integer)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT policy.domain, policy.approvals_needed, policy.values_per_day, policy.request_validity,
           policy.reason_pattern, policy.ticket_pattern, policy.hours, policy.break_glass_per_day
    FROM vault.policy AS policy
    ORDER BY policy.domain COLLATE "C";
$$;

CREATE FUNCTION vault.policy_number(p_name text, p_value jsonb, p_least integer, p_most integer) RETURNS integer
    LANGUAGE plpgsql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number numeric;
BEGIN
    IF jsonb_typeof(p_value) = 'number' THEN
        number := p_value::numeric;
    END IF;
    IF number IS NULL OR number <> trunc(number) OR number NOT BETWEEN p_least AND p_most THEN
        RAISE EXCEPTION '% must be a whole number from % to %', p_name, p_least, p_most USING ERRCODE = 'TV020';
    END IF;
    RETURN number;
END;
$$;

-- A pattern must be an expression by itself and within ^(?:…)$: a)|(b would be one only there, and match anything.
CREATE FUNCTION vault.policy_pattern(p_name text, p_value jsonb) RETURNS text
    LANGUAGE plpgsql
    IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pattern text := p_value #>> '{}';
BEGIN
    IF jsonb_typeof(p_value) NOT IN ('string', 'null') OR length(pattern) NOT BETWEEN 1 AND 256 THEN
        RAISE EXCEPTION '% must be a regular expression of 1 to 256 characters', p_name USING ERRCODE = 'TV020';
    END IF;
    PERFORM '' ~ pattern, '' ~ ('^(?:' || pattern || ')$');
    RETURN pattern;
EXCEPTION WHEN invalid_regular_expression THEN
    RAISE EXCEPTION '% is not a regular expression', p_name
        USING ERRCODE = 'TV020', HINT = 'PostgreSQL''s, without leading options; it must match the whole text.';
END;
$$;

-- Changes what p_changes names in a domain's policy, and leaves the rest. A domain without a row starts from that of *.
-- Keys: approvals, values_per_day, validity_seconds, reason_pattern, ticket_pattern, hours, break_glass_per_day; null takes a
-- pattern, hours or break-glass away. The event names old and new of what differs; no row and no event where nothing does.
CREATE FUNCTION vault.change_policy(p_domain text, p_changes jsonb)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.policy;
    wanted   vault.policy;
    named    record;
    differs  jsonb;
    receipt  record;
BEGIN
    IF p_domain IS NULL OR (p_domain <> '*' AND p_domain !~ '^[a-z][a-z0-9_]{0,30}$') THEN
        RAISE EXCEPTION 'a policy is for a domain (a-z, 0-9, _; at most 31 characters) or for *' USING ERRCODE = 'TV020';
    END IF;
    IF p_changes IS NULL OR jsonb_typeof(p_changes) <> 'object' THEN
        RAISE EXCEPTION 'changes of a policy are a JSON object' USING ERRCODE = 'TV020';
    END IF;

    -- Requests are booked under the same lock.
    PERFORM FROM audit.head FOR UPDATE;
    SELECT policy.* INTO standing FROM vault.policy_for(p_domain) AS policy;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no policy for *, from which this one could start' USING ERRCODE = 'TV004';
    END IF;
    wanted := standing;
    wanted.domain := p_domain;
    FOR named IN SELECT given.key, given.value FROM jsonb_each(p_changes) AS given LOOP
        CASE named.key
            WHEN 'approvals' THEN wanted.approvals_needed := vault.policy_number('approvals', named.value, 0, 10);
            WHEN 'values_per_day' THEN
                wanted.values_per_day := vault.policy_number('values a day', named.value, 0, 2147483647);
            WHEN 'validity_seconds' THEN
                wanted.request_validity :=
                    make_interval(secs => vault.policy_number('the validity in seconds', named.value, 1, 2592000));
            WHEN 'reason_pattern' THEN wanted.reason_pattern := vault.policy_pattern('the reason pattern', named.value);
            WHEN 'ticket_pattern' THEN wanted.ticket_pattern := vault.policy_pattern('the ticket pattern', named.value);
            WHEN 'hours' THEN
                wanted.hours := CASE WHEN jsonb_typeof(named.value) <> 'null'
                                     THEN vault.canonical_hours(named.value #>> '{}') END;
            WHEN 'break_glass_per_day' THEN
                wanted.break_glass_per_day := CASE WHEN jsonb_typeof(named.value) <> 'null' THEN
                    vault.policy_number('break-glass values a day', named.value, 1, 2147483647) END;
            ELSE RAISE EXCEPTION 'a policy has no such setting' USING ERRCODE = 'TV020';
        END CASE;
    END LOOP;
    IF p_domain = 'quarantine' AND wanted.break_glass_per_day IS NOT NULL AND p_changes ? 'break_glass_per_day' THEN
        RAISE EXCEPTION 'break-glass gives values back, not quarantined records' USING ERRCODE = 'TV020';
    END IF;

    SELECT jsonb_object_agg(said.name, jsonb_build_object('old', said.old, 'new', said.new)) INTO differs
    FROM (VALUES
        ('domain', to_jsonb(standing.domain), to_jsonb(wanted.domain)),
        ('approvals', to_jsonb(standing.approvals_needed), to_jsonb(wanted.approvals_needed)),
        ('values_per_day', to_jsonb(standing.values_per_day), to_jsonb(wanted.values_per_day)),
        ('validity_seconds', to_jsonb(extract(epoch FROM standing.request_validity)::integer),
                             to_jsonb(extract(epoch FROM wanted.request_validity)::integer)),
        ('reason_pattern', to_jsonb(standing.reason_pattern), to_jsonb(wanted.reason_pattern)),
        ('ticket_pattern', to_jsonb(standing.ticket_pattern), to_jsonb(wanted.ticket_pattern)),
        ('hours', to_jsonb(standing.hours), to_jsonb(wanted.hours)),
        ('break_glass_per_day', to_jsonb(standing.break_glass_per_day), to_jsonb(wanted.break_glass_per_day))
    ) AS said (name, old, new)
    WHERE said.old IS DISTINCT FROM said.new;
    IF differs IS NULL THEN
        RETURN;
    END IF;

    INSERT INTO vault.policy AS policy (domain, approvals_needed, values_per_day, request_validity, reason_pattern,
                                        ticket_pattern, hours, break_glass_per_day)
    VALUES (wanted.domain, wanted.approvals_needed, wanted.values_per_day, wanted.request_validity, wanted.reason_pattern,
            wanted.ticket_pattern, wanted.hours, wanted.break_glass_per_day)
    ON CONFLICT (domain) DO UPDATE
    SET approvals_needed = excluded.approvals_needed, values_per_day = excluded.values_per_day,
        request_validity = excluded.request_validity, reason_pattern = excluded.reason_pattern,
        ticket_pattern = excluded.ticket_pattern, hours = excluded.hours,
        break_glass_per_day = excluded.break_glass_per_day;
    SELECT appended.sequence, appended.head INTO STRICT receipt
    FROM audit.append('policy.set', p_domain, NULL, NULL, differs::text) AS appended;
    PERFORM vault.force_flush();
    RETURN QUERY SELECT receipt.sequence, receipt.head;
END;
$$;

-- The six settings of 0005 at once; hours and break-glass stay as they are.
CREATE OR REPLACE FUNCTION vault.set_policy(p_domain text, p_approvals_needed integer, p_values_per_day integer,
                                            p_request_validity interval, p_reason_pattern text, p_ticket_pattern text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT changed.audit_sequence, changed.audit_head
    FROM vault.change_policy(p_domain, jsonb_build_object(
        'approvals', p_approvals_needed, 'values_per_day', p_values_per_day,
        'validity_seconds', extract(epoch FROM p_request_validity),
        'reason_pattern', p_reason_pattern, 'ticket_pattern', p_ticket_pattern)) AS changed;
$$;

CREATE OR REPLACE FUNCTION vault.status_summary() RETURNS jsonb
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'break_glass', (
            SELECT jsonb_build_object(
                'open', count(*) FILTER (WHERE used.open), 'last_7_days', count(*),
                'uses', coalesce(jsonb_agg(to_jsonb(used) - 'place' ORDER BY used.requested_at DESC)
                                 FILTER (WHERE used.place <= 20), '[]'))
            FROM (SELECT replace(asked.id::text, '-', '') AS request, asked.requester, asked.created_at AS requested_at,
                         asked.reason, asked.ticket, asked.item_count AS values,
                         standing.lapses_at > clock_timestamp() AND NOT standing.is_denied AS open,
                         row_number() OVER (ORDER BY asked.created_at DESC) AS place
                  FROM vault.recovery_request AS asked
                  CROSS JOIN LATERAL vault.request_standing(asked.id) AS standing
                  WHERE asked.break_glass
                    AND (asked.created_at > clock_timestamp() - interval '7 days'
                         OR asked.expires_at > clock_timestamp())) AS used),
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
GRANT EXECUTE ON FUNCTION vault.own_request(uuid) TO tokenvault_recoverer, tokenvault_operator;
GRANT EXECUTE ON FUNCTION
    vault.waiting_requests(integer, uuid), vault.request_items(uuid, integer, integer),
    vault.decide_request(uuid, text, text)
    TO tokenvault_approver;
GRANT EXECUTE ON FUNCTION vault.policy_list()
    TO tokenvault_recoverer, tokenvault_approver, tokenvault_operator, tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.change_policy(text, jsonb) TO tokenvault_operator;

SELECT vault.record_migration(9, 'policy');

COMMIT;
