-- 0008_erasure: originals are removed for good, and nothing stored later passes for what was removed.
-- requires: 0007_rotation
-- The operator calls functions; no key is needed. Functions check their input by hand: a constraint's error would print
-- the row.

BEGIN;

-- As the administrator, who owns an adopted table: erasing may delete rows.
GRANT DELETE ON public.user_logins TO tokenvault_owner;

SET LOCAL ROLE tokenvault_owner;

CREATE TABLE vault.erasure (
    id           uuid        PRIMARY KEY,
    kind         text        NOT NULL CHECK (kind IN ('tokens', 'user', 'retention')),
    masked_rows  text        NOT NULL CHECK (masked_rows IN ('keep', 'clear', 'delete')),
    shared       text        NOT NULL CHECK (shared IN ('keep', 'erase')),
    domain       text        NULL,
    cutoff       date        NULL,
    subject      bytea       NULL CHECK (octet_length(subject) = 32),
    state        text        NOT NULL CHECK (state IN ('planned', 'running', 'finished')),
    started_by   name        NOT NULL DEFAULT session_user,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz NULL,
    own_rows     bigint      NOT NULL DEFAULT 0,
    rows_done    boolean     NOT NULL DEFAULT false,
    asked        bigint      NOT NULL DEFAULT 0,
    erased       bigint      NOT NULL DEFAULT 0,
    absent       bigint      NOT NULL DEFAULT 0,
    kept         bigint      NOT NULL DEFAULT 0,
    rows_cleared bigint      NOT NULL DEFAULT 0,
    rows_deleted bigint      NOT NULL DEFAULT 0,
    keys_dropped bigint      NOT NULL DEFAULT 0,
    CHECK ((kind = 'retention') = (cutoff IS NOT NULL))
);
COMMENT ON TABLE  vault.erasure         IS 'One request to erase and how far it is; never whose.';
COMMENT ON COLUMN vault.erasure.cutoff  IS 'retention: values last seen before this UTC date go.';
COMMENT ON COLUMN vault.erasure.subject IS 'While unfinished: SHA-256 of the id and what was asked, to know it again.';

CREATE TABLE vault.erasure_item (
    erasure     uuid    NOT NULL,
    token       text    COLLATE "C" NOT NULL,
    state       text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'erased', 'absent', 'kept')),
    held        bigint  NOT NULL DEFAULT 0,
    other_users bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (erasure, token)
);
COMMENT ON TABLE  vault.erasure_item             IS 'Tokens of an unfinished erasure; gone when it ends.';
COMMENT ON COLUMN vault.erasure_item.held        IS 'Masked rows that hold the token, or one of the same value.';
COMMENT ON COLUMN vault.erasure_item.other_users IS 'Users other than the one asked for; of a single token, all but one.';

CREATE TABLE vault.erased_token (
    token     uuid        PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erasure   uuid        NOT NULL,
    rotation  uuid        NULL
);
COMMENT ON TABLE  vault.erased_token          IS 'Tombstones: what once had an original. It has one again if vault.original holds it.';
COMMENT ON COLUMN vault.erased_token.rotation IS 'The rotation that had made or sealed the original, for its verify.';

-- Erasing takes this table's lock, ingest shares it: no batch is under way while originals go.
CREATE TABLE vault.erasure_gate (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch     bigint  NOT NULL DEFAULT 0
);
COMMENT ON TABLE vault.erasure_gate IS 'How often originals were removed: what an ingest run remembers ends with it.';
INSERT INTO vault.erasure_gate DEFAULT VALUES;

-- First statement of an ingest batch. Until its transaction ends no original is removed, so that "it stands already" stays
-- true. Returns the epoch: where it differs from the last one, originals that the run has sent may be gone.
-- A table lock, because its queue is fair, and because only the owner can take it: any role could hold an advisory lock.
CREATE FUNCTION vault.enter_batch() RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE vault.erasure_gate IN ROW SHARE MODE;
    RETURN (SELECT gate.epoch FROM vault.erasure_gate AS gate);
END;
$$;

-- what stands where

-- Every registered table with its masked columns and, where it has them, the columns user_id and create_date.
CREATE FUNCTION vault.masked_tables()
    RETURNS TABLE (table_name text, column_names text[], domains text[], user_column text, date_column text)
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- Every token that stands for the value of a given one, itself too: by the pairs of a token key rotation. Pairs that
-- ingest noted count: a planted one makes a value look shared, which keeps it.
CREATE FUNCTION vault.same_value(p_tokens text[]) RETURNS TABLE (token text, member text)
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH newest AS (
        SELECT given.token, coalesce(successor.new_token, given.token COLLATE "C") AS newest
        FROM unnest(p_tokens) AS given (token)
        LEFT JOIN vault.token_successor AS successor ON successor.old_token = given.token COLLATE "C"
    )
    SELECT newest.token, newest.token COLLATE "C" FROM newest
    UNION SELECT newest.token, newest.newest FROM newest
    UNION SELECT newest.token, older.old_token
          FROM newest JOIN vault.token_successor AS older ON older.new_token = newest.newest
    ORDER BY 1, 2;
$$;

-- Of each value, given as its tokens: masked rows that hold it, and users who have it, p_user not counted.
CREATE FUNCTION vault.token_rows(p_tokens text[], p_members text[], p_user text)
    RETURNS TABLE (token text, held bigint, users bigint)
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    rows_ text;
BEGIN
    SELECT string_agg(format('SELECT pair.token, %s AS who FROM %s AS login
                              JOIN unnest($1, $2) AS pair (token, member) ON login.%I COLLATE "C" = pair.member COLLATE "C"',
                             coalesce('login.' || quote_ident(masked.user_column) || '::text', 'NULL::text'),
                             masked.table_name, named.name), ' UNION ALL ')
    INTO rows_
    FROM vault.masked_tables() AS masked CROSS JOIN LATERAL unnest(masked.column_names) AS named (name);
    IF rows_ IS NOT NULL THEN
        RETURN QUERY EXECUTE format(
            'SELECT found.token, count(*), count(DISTINCT found.who) FILTER (WHERE found.who IS DISTINCT FROM $3)
             FROM (%s) AS found GROUP BY found.token', rows_)
        USING p_tokens, p_members, p_user;
    END IF;
END;
$$;

-- Tokens of values that a row dated p_since or later holds, under any token of the value. Only rows that hold one of
-- p_among, unless it is NULL.
CREATE FUNCTION vault.tokens_seen(p_since date, p_among text[]) RETURNS SETOF text
    LANGUAGE plpgsql
    STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET work_mem = '128MB'
AS $$
DECLARE
    rows_ text;
BEGIN
    SELECT string_agg(format('SELECT login.%I::text COLLATE "C" AS token FROM %s AS login
                              WHERE login.%I >= $1 AND login.%1$I %4$s',
                             named.name, masked.table_name, masked.date_column,
                             CASE WHEN p_among IS NULL THEN 'IS NOT NULL' ELSE '= ANY ($2)' END), ' UNION ')
    INTO rows_
    FROM vault.masked_tables() AS masked CROSS JOIN LATERAL unnest(masked.column_names) AS named (name)
    WHERE masked.date_column IS NOT NULL;
    IF rows_ IS NOT NULL THEN
        RETURN QUERY EXECUTE format(
            'WITH seen AS (%s), newest AS (
                 SELECT coalesce(successor.new_token, seen.token) AS token FROM seen
                 LEFT JOIN vault.token_successor AS successor ON successor.old_token = seen.token)
             SELECT seen.token FROM seen
             UNION SELECT newest.token FROM newest
             UNION SELECT older.old_token FROM newest
                   JOIN vault.token_successor AS older ON older.new_token = newest.token', rows_)
        USING p_since, p_among;
    END IF;
END;
$$;

-- begin

-- How an unfinished erasure knows that it is asked for again. Salted by its id; gone when it ends.
CREATE FUNCTION vault.erasure_subject(p_id uuid, p_kind text, p_asked text) RETURNS bytea
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(uuid_send(p_id) || convert_to(p_kind || ':' || p_asked, 'UTF8'));
$$;

-- Begins an erasure of tokens, or of the values in one user's rows; or goes on with the unfinished one that was asked
-- for in the same words. Removes nothing yet. A dry run writes no event: its caller rolls back.
CREATE FUNCTION vault.begin_erasure(p_id uuid, p_tokens text[], p_user text, p_masked_rows text, p_shared text,
                                    p_reason text, p_ticket text, p_dry_run boolean)
    RETURNS TABLE (id uuid, resumed boolean, audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    kind_    text := CASE WHEN p_user IS NULL THEN 'tokens' ELSE 'user' END;
    asked_   text := p_user;
    wanted   text[] := p_tokens;
    standing vault.erasure;
    masked   record;
    ofuser   text[];
    counted  bigint;
    own      bigint := 0;
    total    integer;
    receipt  record;
BEGIN
    PERFORM vault.require_text('the reason', p_reason, 1024);
    PERFORM vault.require_text('the ticket', p_ticket, 128);
    IF p_id IS NULL OR p_masked_rows IS NULL OR p_masked_rows NOT IN ('keep', 'clear', 'delete')
        OR p_shared IS NULL OR p_shared NOT IN ('keep', 'erase') OR (p_tokens IS NULL) = (p_user IS NULL)
    THEN
        RAISE EXCEPTION 'an erasure is of tokens or of a user; masked rows keep, clear or delete; shared keep or erase'
            USING ERRCODE = 'TV020';
    END IF;
    IF p_user IS NOT NULL THEN
        PERFORM vault.require_text('the user id', p_user, 128);
    ELSE
        IF coalesce(cardinality(p_tokens), 0) NOT BETWEEN 1 AND 100000 OR array_ndims(p_tokens) <> 1 THEN
            RAISE EXCEPTION 'an erasure is of 1 to 100000 tokens' USING ERRCODE = 'TV020';
        END IF;
        IF EXISTS (SELECT FROM unnest(p_tokens) AS given (token)
                   WHERE given.token IS NULL OR given.token !~ '^[a-z][a-z0-9_]{0,30}_v[1-9][0-9]{0,8}_[0-9a-f]{32}$') THEN
            RAISE EXCEPTION 'a token is malformed'
                USING ERRCODE = 'TV020', HINT = 'A token looks like ip_v1_ and 32 hex digits.';
        END IF;
        SELECT string_agg(DISTINCT given.token COLLATE "C", ',' ORDER BY given.token COLLATE "C") INTO asked_
        FROM unnest(p_tokens) AS given (token);
    END IF;

    SELECT erasure.* INTO standing FROM vault.erasure AS erasure
    WHERE erasure.state = 'running' AND erasure.kind = kind_
      AND erasure.subject = vault.erasure_subject(erasure.id, kind_, asked_)
    FOR UPDATE;
    IF FOUND THEN
        IF (standing.masked_rows, standing.shared) <> (p_masked_rows, p_shared) THEN
            RAISE EXCEPTION 'this erasure was begun with masked rows % and shared %', standing.masked_rows, standing.shared
                USING ERRCODE = 'TV001', HINT = 'Finish it with the same options, then run it with others.';
        END IF;
        IF NOT p_dry_run THEN
            SELECT appended.sequence, appended.head INTO receipt
            FROM audit.append('erase.resume', standing.id::text, p_reason, p_ticket, NULL) AS appended;
            RETURN QUERY SELECT standing.id, true, receipt.sequence, receipt.head;
        ELSE
            RETURN QUERY SELECT standing.id, true, NULL::bigint, NULL::bytea;
        END IF;
        RETURN;
    END IF;

    FOR masked IN SELECT * FROM vault.masked_tables() LOOP
        IF p_masked_rows = 'delete' AND NOT has_table_privilege('tokenvault_owner', masked.table_name, 'DELETE') THEN
            RAISE EXCEPTION 'tokenvault_owner may not delete from %', masked.table_name
                USING ERRCODE = 'TV001', HINT = 'As its owner: GRANT DELETE ON it TO tokenvault_owner; or clear the rows.';
        END IF;
        IF p_masked_rows <> 'keep' AND EXISTS (
            SELECT FROM pg_attribute AS attribute
            WHERE attribute.attrelid = masked.table_name::regclass AND attribute.attname = ANY (masked.column_names)
              AND attribute.attnotnull)
        THEN
            RAISE EXCEPTION 'a masked column of % may not be NULL, so it cannot be cleared', masked.table_name
                USING ERRCODE = 'TV001', HINT = 'As its owner: ALTER TABLE … ALTER COLUMN … DROP NOT NULL.';
        END IF;
    END LOOP;

    IF p_user IS NOT NULL THEN
        wanted := '{}';
        FOR masked IN SELECT * FROM vault.masked_tables() AS table_ WHERE table_.user_column IS NOT NULL LOOP
            EXECUTE format(
                'SELECT count(*), array_agg(DISTINCT held.token) FILTER (WHERE held.place = 1 OR held.token IS NOT NULL)
                 FROM %1$s AS login CROSS JOIN LATERAL unnest(ARRAY[%2$s]::text[]) WITH ORDINALITY AS held (token, place)
                 WHERE login.%3$I = $1',
                masked.table_name,
                (SELECT string_agg(format('login.%I', named.name), ', ') FROM unnest(masked.column_names) AS named (name)),
                masked.user_column)
            INTO counted, ofuser USING p_user;
            own := own + counted / cardinality(masked.column_names);
            wanted := wanted || coalesce(ofuser, '{}');
        END LOOP;
        -- Networks have no originals: they go with their rows.
        SELECT coalesce(array_agg(given.token), '{}') INTO wanted
        FROM unnest(wanted) AS given (token)
        WHERE given.token ~ '^[a-z][a-z0-9_]{0,30}_v[1-9][0-9]{0,8}_[0-9a-f]{32}$' AND NOT starts_with(given.token, 'ip_net_v');
    END IF;

    INSERT INTO vault.erasure (id, kind, masked_rows, shared, subject, state, own_rows)
    VALUES (p_id, kind_, p_masked_rows, p_shared, vault.erasure_subject(p_id, kind_, asked_),
            CASE WHEN p_dry_run THEN 'planned' ELSE 'running' END, own);
    INSERT INTO vault.erasure_item (erasure, token)
    SELECT DISTINCT p_id, same.member FROM vault.same_value(wanted) AS same;
    GET DIAGNOSTICS total = ROW_COUNT;
    SELECT array_agg(same.token), array_agg(same.member) INTO wanted, ofuser
    FROM vault.same_value(ARRAY(SELECT item.token FROM vault.erasure_item AS item WHERE item.erasure = p_id)) AS same;
    UPDATE vault.erasure_item AS item
    SET held = counts.held, other_users = greatest(counts.users - CASE kind_ WHEN 'tokens' THEN 1 ELSE 0 END, 0)
    FROM vault.token_rows(wanted, ofuser, p_user) AS counts
    WHERE item.erasure = p_id AND item.token = counts.token;
    IF p_shared = 'keep' THEN
        UPDATE vault.erasure_item AS item SET state = 'kept' WHERE item.erasure = p_id AND item.other_users > 0;
    END IF;
    UPDATE vault.erasure AS erasure
    SET asked = total,
        kept = (SELECT count(*) FROM vault.erasure_item AS item WHERE item.erasure = p_id AND item.state = 'kept')
    WHERE erasure.id = p_id;

    IF p_dry_run THEN
        RETURN QUERY SELECT p_id, false, NULL::bigint, NULL::bytea;
        RETURN;
    END IF;
    IF total > 0 THEN
        PERFORM FROM audit.append_many(
            'erase.request', ARRAY(SELECT item.token FROM vault.erasure_item AS item WHERE item.erasure = p_id ORDER BY 1),
            p_reason, p_ticket, NULL);
    END IF;
    SELECT appended.sequence, appended.head INTO receipt
    FROM audit.append('erase.begin', p_id::text, p_reason, p_ticket,
                      format('%s: tokens %s, masked rows %s, shared %s',
                             CASE kind_ WHEN 'user' THEN format('one user, rows %s', own) ELSE 'tokens' END,
                             total, p_masked_rows, p_shared)) AS appended;
    RETURN QUERY SELECT p_id, false, receipt.sequence, receipt.head;
END;
$$;

-- Begins the expiry of originals that were stored before the UTC date p_cutoff and that no row of that date or later
-- holds; p_domain NULL for every domain. Goes on with an unfinished expiry, whatever it was asked for.
CREATE FUNCTION vault.begin_expiry(p_id uuid, p_domain text, p_cutoff date, p_reason text, p_ticket text,
                                   p_dry_run boolean)
    RETURNS TABLE (id uuid, resumed boolean, asked bigint, seen_since bigint, audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
    SET jit = off
AS $$
DECLARE
    standing vault.erasure;
    stored   bigint;
    seen     bigint;
    receipt  record;
BEGIN
    PERFORM vault.require_text('the reason', p_reason, 1024);
    IF p_ticket IS NOT NULL THEN
        PERFORM vault.require_text('the ticket', p_ticket, 128);
    END IF;
    IF p_id IS NULL OR p_cutoff IS NULL OR p_cutoff > (clock_timestamp() AT TIME ZONE 'UTC')::date
        OR p_domain IS NOT NULL AND p_domain !~ '^[a-z][a-z0-9_]{0,30}$'
    THEN
        RAISE EXCEPTION 'an expiry has a date that is not in the future, and a domain or none' USING ERRCODE = 'TV020';
    END IF;
    -- Each batch would send the rotation back a page; and its new originals are not all there yet.
    IF EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.state = 'running' AND rotation.kind = 'token-key') THEN
        RAISE EXCEPTION 'a rotation of the token key is unfinished'
            USING ERRCODE = 'TV010', HINT = 'Let it end, or finish it: tokenvault rotate token-key run. Erasing does not wait.';
    END IF;
    SELECT erasure.* INTO standing FROM vault.erasure AS erasure
    WHERE erasure.state = 'running' AND erasure.kind = 'retention' ORDER BY erasure.started_at LIMIT 1 FOR UPDATE;
    IF FOUND THEN
        IF NOT p_dry_run THEN
            SELECT appended.sequence, appended.head INTO receipt
            FROM audit.append('expire.resume', standing.id::text, p_reason, p_ticket, NULL) AS appended;
            RETURN QUERY SELECT standing.id, true, standing.asked, standing.kept, receipt.sequence, receipt.head;
        ELSE
            RETURN QUERY SELECT standing.id, true, standing.asked, standing.kept, NULL::bigint, NULL::bytea;
        END IF;
        RETURN;
    END IF;

    INSERT INTO vault.erasure (id, kind, masked_rows, shared, domain, cutoff, state)
    VALUES (p_id, 'retention', 'keep', 'erase', p_domain, p_cutoff, CASE WHEN p_dry_run THEN 'planned' ELSE 'running' END);
    INSERT INTO vault.erasure_item (erasure, token)
    SELECT p_id, original.domain || '_v' || original.token_version || '_' || replace(original.token::text, '-', '')
    FROM vault.original AS original
    WHERE original.created_at < p_cutoff::timestamp AT TIME ZONE 'UTC' AND (p_domain IS NULL OR original.domain = p_domain);
    GET DIAGNOSTICS stored = ROW_COUNT;
    DELETE FROM vault.erasure_item AS item
    USING vault.tokens_seen(p_cutoff, NULL) AS recent (token)
    WHERE item.erasure = p_id AND item.token = recent.token COLLATE "C";
    GET DIAGNOSTICS seen = ROW_COUNT;
    UPDATE vault.erasure AS erasure SET asked = stored - seen, kept = seen WHERE erasure.id = p_id;
    IF p_dry_run THEN
        RETURN QUERY SELECT p_id, false, stored - seen, seen, NULL::bigint, NULL::bytea;
        RETURN;
    END IF;
    SELECT appended.sequence, appended.head INTO receipt
    FROM audit.append('expire.begin', p_id::text, p_reason, p_ticket,
                      format('%s last seen before %s: originals %s, kept because seen since %s',
                             coalesce(p_domain, 'every domain'), p_cutoff, stored - seen, seen)) AS appended;
    RETURN QUERY SELECT p_id, false, stored - seen, seen, receipt.sequence, receipt.head;
END;
$$;

-- A dry run was made: what it said, in numbers.
CREATE FUNCTION vault.record_erasure_plan(p_kind text, p_reason text, p_ticket text, p_outcome text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_kind IS NULL OR p_kind NOT IN ('erase', 'expire') THEN
        RAISE EXCEPTION 'a plan is to erase or to expire' USING ERRCODE = 'TV020';
    END IF;
    PERFORM vault.require_text('the reason', p_reason, 1024);
    PERFORM vault.require_text('the outcome', p_outcome, 1024);
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append(p_kind || '.plan', NULL, p_reason, p_ticket, p_outcome) AS appended;
END;
$$;

-- One erasure's numbers.
CREATE FUNCTION vault.erasure_progress(p_erasure uuid) RETURNS SETOF vault.erasure
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT erasure.* FROM vault.erasure AS erasure WHERE erasure.id = p_erasure;
$$;

-- The tokens of an unfinished erasure, and what becomes of each.
CREATE FUNCTION vault.erasure_items(p_erasure uuid)
    RETURNS TABLE (token text, state text, stands boolean, held bigint, other_users bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT item.token, item.state,
           EXISTS (SELECT FROM vault.original AS original
                   WHERE original.token = right(item.token, 32)::uuid
                     AND original.domain || '_v' || original.token_version || '_' = left(item.token, -32)),
           item.held, item.other_users
    FROM vault.erasure_item AS item
    WHERE item.erasure = p_erasure
    ORDER BY item.token;
$$;

-- steps

-- Holds the erasure's row for this transaction. Raises unless it is unfinished and p_user is whom it was begun for.
CREATE FUNCTION vault.require_erasure(p_erasure uuid, p_user text) RETURNS vault.erasure
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing vault.erasure;
BEGIN
    SELECT erasure.* INTO standing FROM vault.erasure AS erasure
    WHERE erasure.id = p_erasure AND erasure.state = 'running' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no erasure with this id is under way' USING ERRCODE = 'TV004';
    END IF;
    IF standing.kind = 'user' AND standing.subject IS DISTINCT FROM vault.erasure_subject(p_erasure, 'user', p_user) THEN
        RAISE EXCEPTION 'this erasure was begun for another user' USING ERRCODE = 'TV001';
    END IF;
    RETURN standing;
END;
$$;

-- Clears these tokens in every registered table, with the network of an address; or deletes the rows. Rows of p_user are
-- left to vault.erase_user_rows; rows of others are then cleared, never deleted.
CREATE FUNCTION vault.take_out_tokens(p_tokens text[], p_delete boolean, p_user text)
    RETURNS TABLE (cleared bigint, deleted bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    masked   record;
    holding  text;
    changes  text;
    affected bigint;
BEGIN
    cleared := 0;
    deleted := 0;
    FOR masked IN SELECT * FROM vault.masked_tables() LOOP
        SELECT string_agg(format('login.%I = ANY ($1)', named.name), ' OR ')
        INTO holding FROM unnest(masked.column_names) AS named (name);
        IF p_delete AND p_user IS NULL THEN
            EXECUTE format('DELETE FROM %s AS login WHERE %s', masked.table_name, holding) USING p_tokens;
            GET DIAGNOSTICS affected = ROW_COUNT;
            deleted := deleted + affected;
        ELSE
            SELECT string_agg(format('%1$I = CASE WHEN login.%1$I = ANY ($1)%2$s THEN NULL ELSE login.%1$I END', own.name, (
                       SELECT string_agg(format(' OR login.%I = ANY ($1)', base.name), '')
                       FROM unnest(masked.column_names, masked.domains) AS base (name, domain)
                       WHERE own.domain = 'ip_net' AND base.domain = 'ip')), ', ')
            INTO changes FROM unnest(masked.column_names, masked.domains) AS own (name, domain);
            EXECUTE format('UPDATE %s AS login SET %s WHERE (%s)%s', masked.table_name, changes, holding,
                           CASE WHEN p_user IS NOT NULL AND masked.user_column IS NOT NULL
                                THEN format(' AND login.%I IS DISTINCT FROM $2', masked.user_column) ELSE '' END)
            USING p_tokens, p_user;
            GET DIAGNOSTICS affected = ROW_COUNT;
            cleared := cleared + affected;
        END IF;
    END LOOP;
    RETURN NEXT;
END;
$$;

-- Removes pairs of erased tokens, but for those whose old token a kept row holds: the views count by them, and the
-- rotation moves the row by them. Those go when the old key is retired.
CREATE FUNCTION vault.drop_pairs(p_tokens text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    doomed text[];
    held   text;
BEGIN
    SELECT array_agg(successor.old_token) INTO doomed FROM vault.token_successor AS successor
    WHERE successor.old_token = ANY (p_tokens) OR successor.new_token = ANY (p_tokens);
    IF doomed IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format('SELECT login.%I::text FROM %s AS login WHERE login.%1$I = ANY ($1)', named.name,
                             masked.table_name), ' UNION ALL ')
    INTO held
    FROM vault.masked_tables() AS masked CROSS JOIN LATERAL unnest(masked.column_names) AS named (name);
    EXECUTE format('DELETE FROM vault.token_successor AS successor
                    WHERE successor.old_token = ANY ($1) AND successor.old_token NOT IN (%s)',
                   coalesce(held, 'SELECT NULL WHERE false'))
    USING doomed;
END;
$$;

-- Erases the next p_limit tokens, in one transaction: originals, pairs, masked rows, tombstones. No ingest batch is under
-- way meanwhile, and a rotation of the token key does its page in hand again. Waits 5 seconds at most for any lock.
CREATE FUNCTION vault.erase_batch(p_erasure uuid, p_user text, p_limit integer) RETURNS TABLE (handled integer, remaining bigint)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '5s'
    SET plan_cache_mode = force_custom_plan
    SET jit = off
AS $$
DECLARE
    standing vault.erasure;
    batch    text[];
    tokens   text[];
    owners   text[];
    members  text[];
    settled  text[] := '{}';
    spared   text[];
    rows_    record;
    gone     bigint;
    missing  bigint;
    zero     CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    standing := vault.require_erasure(p_erasure, p_user);
    LOCK TABLE vault.erasure_gate IN EXCLUSIVE MODE;
    SELECT array_agg(next.token) INTO batch
    FROM (SELECT item.token FROM vault.erasure_item AS item
          WHERE item.erasure = p_erasure AND item.state = 'waiting'
          ORDER BY item.token LIMIT least(greatest(coalesce(p_limit, 1), 1), 100000)) AS next;
    IF batch IS NULL THEN
        RETURN QUERY SELECT 0, 0::bigint;
        RETURN;
    END IF;

    tokens := batch;
    LOOP
        SELECT array_agg(same.token), array_agg(same.member) INTO owners, members FROM vault.same_value(tokens) AS same;
        EXIT WHEN members IS NULL OR members = settled;
        settled := members;

        -- What came in since the erasure began may have made a value another user's too, or a recent one.
        IF standing.kind = 'retention' THEN
            SELECT array_agg(DISTINCT same.token) INTO spared
            FROM unnest(owners, members) AS same (token, member)
            JOIN vault.tokens_seen(standing.cutoff, members) AS seen (token) ON seen.token = same.member;
        ELSIF standing.shared = 'keep' THEN
            SELECT array_agg(counts.token) INTO spared FROM vault.token_rows(owners, members, p_user) AS counts
            WHERE counts.users > CASE standing.kind WHEN 'tokens' THEN 1 ELSE 0 END;
        END IF;
        IF spared IS NOT NULL THEN
            UPDATE vault.erasure_item AS item SET state = 'kept', other_users = greatest(item.other_users, 1)
            WHERE item.erasure = p_erasure AND item.token = ANY (spared);
            UPDATE vault.erasure AS erasure SET kept = erasure.kept + cardinality(spared) WHERE erasure.id = p_erasure;
            tokens := ARRAY(SELECT given.token FROM unnest(tokens) AS given (token) WHERE given.token <> ALL (spared));
            spared := NULL;
            SELECT array_agg(same.token), array_agg(same.member) INTO owners, members FROM vault.same_value(tokens) AS same;
            EXIT WHEN members IS NULL;
            settled := members;
        END IF;

        IF standing.masked_rows <> 'keep' THEN
            SELECT * INTO rows_ FROM vault.take_out_tokens(members, standing.masked_rows = 'delete',
                                                           CASE standing.kind WHEN 'user' THEN p_user END);
            UPDATE vault.erasure AS erasure
            SET rows_cleared = erasure.rows_cleared + rows_.cleared, rows_deleted = erasure.rows_deleted + rows_.deleted
            WHERE erasure.id = p_erasure;
        END IF;

        -- A rotation that has read these originals and not yet committed its page must not put new ones beside them: its
        -- cursor moves back to the original before it, which is as true as where it was, so its compare-and-set fails.
        -- After the rows, not before: moving rows holds their locks first and takes this one last.
        UPDATE vault.rotation AS rotation
        SET place = CASE WHEN rotation.place IS NULL THEN zero ELSE (
            SELECT original.token FROM vault.original AS original
            WHERE original.token < rotation.place ORDER BY original.token DESC LIMIT 1) END
        WHERE rotation.state = 'running' AND rotation.kind = 'token-key';
    END LOOP;

    WITH removed AS (
        DELETE FROM vault.original AS original
        USING (SELECT DISTINCT right(given.token, 32)::uuid AS token, left(given.token, -32) AS prefix
               FROM unnest(members) AS given (token)) AS named
        WHERE original.token = named.token
          AND original.domain || '_v' || original.token_version || '_' = named.prefix
        RETURNING original.token, named.prefix, original.data_key
    ), marked AS (
        INSERT INTO vault.erased_token AS tombstone (token, erasure, rotation)
        SELECT removed.token, p_erasure, coalesce(
                   (SELECT successor.rotation FROM vault.token_successor AS successor
                    WHERE successor.new_token = removed.prefix || replace(removed.token::text, '-', '')
                      AND successor.rotation IS NOT NULL LIMIT 1),
                   (SELECT rotation.id FROM vault.data_key AS key JOIN vault.rotation AS rotation ON rotation.id = key.run
                    WHERE key.id = removed.data_key AND rotation.kind = 'data-keys'))
        FROM removed ORDER BY removed.token
        ON CONFLICT (token) DO UPDATE
        SET erased_at = excluded.erased_at, erasure = excluded.erasure,
            rotation = coalesce(excluded.rotation, tombstone.rotation)
        RETURNING tombstone.token
    )
    SELECT count(*) INTO gone FROM marked;
    PERFORM vault.drop_pairs(members);
    UPDATE vault.erasure_gate AS gate SET epoch = gate.epoch + 1;

    IF standing.kind = 'retention' THEN
        DELETE FROM vault.erasure_item AS item WHERE item.erasure = p_erasure AND item.token = ANY (batch);
        missing := 0;
    ELSE
        UPDATE vault.erasure_item AS item
        SET state = CASE WHEN EXISTS (SELECT FROM vault.erased_token AS tombstone
                                      WHERE tombstone.token = right(item.token, 32)::uuid AND tombstone.erasure = p_erasure)
                         THEN 'erased' ELSE 'absent' END
        WHERE item.erasure = p_erasure AND item.token = ANY (tokens) AND item.state = 'waiting';
        SELECT count(*) INTO missing FROM vault.erasure_item AS item
        WHERE item.erasure = p_erasure AND item.token = ANY (tokens) AND item.state = 'absent';
    END IF;
    UPDATE vault.erasure AS erasure
    SET erased = erasure.erased + gone, absent = erasure.absent + missing
    WHERE erasure.id = p_erasure;
    RETURN QUERY SELECT cardinality(batch), (SELECT count(*) FROM vault.erasure_item AS item
                                             WHERE item.erasure = p_erasure AND item.state = 'waiting');
END;
$$;

-- Clears or deletes the user's own rows, after the tokens. Shared values go from them, too.
CREATE FUNCTION vault.erase_user_rows(p_erasure uuid, p_user text) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '5s'
    SET jit = off
AS $$
DECLARE
    standing vault.erasure := vault.require_erasure(p_erasure, p_user);
    masked   record;
    affected bigint;
    total    bigint := 0;
BEGIN
    IF standing.kind <> 'user' OR standing.masked_rows = 'keep' THEN
        RETURN 0;
    END IF;
    FOR masked IN SELECT * FROM vault.masked_tables() AS table_ WHERE table_.user_column IS NOT NULL LOOP
        IF standing.masked_rows = 'delete' THEN
            EXECUTE format('DELETE FROM %s AS login WHERE login.%I = $1', masked.table_name, masked.user_column) USING p_user;
        ELSE
            EXECUTE format('UPDATE %s AS login SET %s WHERE login.%I = $1 AND num_nonnulls(%s) > 0', masked.table_name,
                           (SELECT string_agg(format('%I = NULL', own.name), ', ') FROM unnest(masked.column_names) AS own (name)),
                           masked.user_column,
                           (SELECT string_agg(format('login.%I', own.name), ', ') FROM unnest(masked.column_names) AS own (name)))
            USING p_user;
        END IF;
        GET DIAGNOSTICS affected = ROW_COUNT;
        total := total + affected;
    END LOOP;
    UPDATE vault.erasure AS erasure
    SET rows_done = true,
        rows_cleared = erasure.rows_cleared + CASE standing.masked_rows WHEN 'clear' THEN total ELSE 0 END,
        rows_deleted = erasure.rows_deleted + CASE standing.masked_rows WHEN 'delete' THEN total ELSE 0 END
    WHERE erasure.id = p_erasure;
    RETURN total;
END;
$$;

-- Ends an erasure: data keys that nothing is sealed under go, with their seals. Not those of a rotation under way, or of an
-- ingest run that may be, which would go on sealing under them; a run without an end counts as over after a week.
CREATE FUNCTION vault.finish_erasure(p_erasure uuid, p_user text)
    RETURNS TABLE (audit_sequence bigint, audit_head bytea)
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
AS $$
DECLARE
    standing vault.erasure := vault.require_erasure(p_erasure, p_user);
    dropped  bigint;
BEGIN
    IF EXISTS (SELECT FROM vault.erasure_item AS item WHERE item.erasure = p_erasure AND item.state = 'waiting')
        OR standing.kind = 'user' AND standing.masked_rows <> 'keep' AND NOT standing.rows_done
    THEN
        RAISE EXCEPTION 'this erasure is not at its end' USING ERRCODE = 'TV001';
    END IF;
    WITH removed AS (
        DELETE FROM vault.data_key AS key
        WHERE key.id NOT IN (SELECT original.data_key FROM vault.original AS original)
          AND key.id NOT IN (SELECT record.data_key FROM vault.quarantine AS record WHERE record.sealed IS NOT NULL)
          AND NOT EXISTS (SELECT FROM vault.ingest_run AS run
                          WHERE run.id = key.run AND run.ended_at IS NULL
                            AND run.started_at > clock_timestamp() - interval '7 days')
          AND NOT EXISTS (SELECT FROM vault.rotation AS rotation WHERE rotation.id = key.run AND rotation.state = 'running')
        RETURNING key.id
    ), unsealed AS (
        DELETE FROM vault.data_key_seal AS seal USING removed WHERE seal.data_key = removed.id
    )
    SELECT count(*) INTO dropped FROM removed;
    DELETE FROM vault.erasure_item AS item WHERE item.erasure = p_erasure;
    UPDATE vault.erasure AS erasure
    SET state = 'finished', finished_at = clock_timestamp(), subject = NULL, keys_dropped = dropped
    WHERE erasure.id = p_erasure;
    RETURN QUERY SELECT appended.sequence, appended.head
        FROM audit.append(CASE standing.kind WHEN 'retention' THEN 'expire.end' ELSE 'erase.end' END, p_erasure::text, NULL, NULL,
                          format('originals removed %s, not there %s, kept %s, rows cleared %s, rows deleted %s, data keys removed %s',
                                 standing.erased, standing.absent, standing.kept, standing.rows_cleared,
                                 standing.rows_deleted, dropped)) AS appended;
END;
$$;

-- What may still hold an erased value and cannot be searched without keys, and what names its token.
CREATE FUNCTION vault.erasure_remains(p_erasure uuid) RETURNS TABLE (what text, amount bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'quarantine', count(*) FROM vault.quarantine AS record WHERE record.sealed IS NOT NULL
    UNION ALL
    SELECT 'requests', count(*) FROM vault.recovery_request_item AS item
    WHERE item.token IN (SELECT tombstone.token FROM vault.erased_token AS tombstone WHERE tombstone.erasure = p_erasure)
    UNION ALL
    SELECT 'unused data keys', count(*) FROM vault.data_key AS key
    WHERE NOT EXISTS (SELECT FROM vault.original AS original WHERE original.data_key = key.id)
      AND NOT EXISTS (SELECT FROM vault.quarantine AS record WHERE record.data_key = key.id AND record.sealed IS NOT NULL)
    UNION ALL
    SELECT 'unfinished erasures', count(*) FROM vault.erasure AS erasure
    WHERE erasure.state = 'running' AND erasure.id <> p_erasure;
$$;

-- rotations after an erasure

-- Tokens that no key can open any more, as hex digits: erased and not come in again.
CREATE FUNCTION vault.irreversible_tokens() RETURNS SETOF text
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(tombstone.token::text, '-', '') FROM vault.erased_token AS tombstone
    WHERE NOT EXISTS (SELECT FROM vault.original AS original WHERE original.token = tombstone.token);
$$;

-- An SQL condition over `login`: this column's token was erased, or the address whose network it is. Such a row cannot
-- move to another token key, and needs none.
CREATE FUNCTION vault.irreversible_condition(p_table text, p_column text, p_domain text) RETURNS text
    LANGUAGE sql
    STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM vault.erased_token) THEN
        '(' || string_agg(format('coalesce(right(login.%I, 32) IN (SELECT vault.irreversible_tokens()), false)',
                                 masked.column_name), ' OR ') || ')'
        ELSE 'false' END
    FROM vault.masked_column AS masked
    WHERE masked.table_name = p_table
      AND (masked.column_name = p_column OR p_domain = 'ip_net' AND masked.domain = 'ip');
$$;

-- What a rotation's verify must allow for: originals of the rotation that were erased, all erased since it began, and
-- masked rows that erasures have changed since.
CREATE FUNCTION vault.rotation_erasures(p_rotation uuid) RETURNS TABLE (own bigint, since bigint, row_changes bigint)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT count(*) FROM vault.erased_token AS tombstone WHERE tombstone.rotation = p_rotation),
           (SELECT count(*) FROM vault.erased_token AS tombstone WHERE tombstone.erased_at >= rotation.started_at),
           (SELECT coalesce(sum(erasure.rows_cleared + erasure.rows_deleted), 0)::bigint FROM vault.erasure AS erasure
            WHERE coalesce(erasure.finished_at, clock_timestamp()) >= rotation.started_at)
    FROM vault.rotation AS rotation WHERE rotation.id = p_rotation;
$$;

-- The quarantine

ALTER TABLE vault.quarantine ALTER COLUMN sealed DROP NOT NULL;
COMMENT ON COLUMN vault.quarantine.sealed IS 'NULL when discarded: a record may hold anybody''s values.';

-- As in 0007; rows of erased values are counted apart, under 'erased row': they need no key.
CREATE OR REPLACE FUNCTION vault.rotation_census() RETURNS TABLE (what text, name text, version integer, amount bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '128MB'
AS $$
DECLARE
    registered vault.masked_column;
BEGIN
    RETURN QUERY SELECT 'original', original.domain, original.token_version, count(*)
        FROM vault.original AS original GROUP BY 2, 3;
    FOR registered IN
        SELECT * FROM vault.masked_column AS masked ORDER BY masked.table_name, masked.column_name
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT CASE WHEN login.erased THEN ''erased row'' ELSE ''row'' END, %3$L,
                    substring(login.prefix from ''[0-9]+$'')::integer, sum(login.amount)::bigint
             FROM (SELECT left(login.%2$I, -33) AS prefix, %5$s AS erased, count(*) AS amount FROM %1$s AS login
                   WHERE login.%2$I IS NOT NULL GROUP BY 1, 2) AS login
             WHERE login.prefix ~ %4$L GROUP BY 1, 3',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            '^' || registered.domain || '_v[1-9][0-9]{0,8}$',
            vault.irreversible_condition(registered.table_name, registered.column_name, registered.domain));
        RETURN QUERY EXECUTE format(
            'SELECT ''straddling'', %3$L, NULL::integer, count(*)
             FROM vault.token_successor AS successor
             WHERE successor.domain = %4$L
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.old_token)
               AND EXISTS (SELECT FROM %1$s AS login WHERE login.%2$I = successor.new_token)',
            registered.table_name, registered.column_name, registered.table_name || '.' || registered.column_name,
            registered.domain);
    END LOOP;
    RETURN QUERY SELECT 'message', message.queue, message.key_version, count(*)
        FROM vault.ingest_message AS message
        WHERE message.received_at >= clock_timestamp() - interval '15 days' GROUP BY 2, 3;
    RETURN QUERY SELECT 'file', 'vault.ingest_file'::text, file.key_version, count(*)
        FROM vault.ingest_file AS file GROUP BY 3;
    RETURN QUERY SELECT 'data key', key.domain, NULL::integer, count(*) FROM vault.data_key AS key GROUP BY 2;
    RETURN QUERY SELECT 'seal', replace(seal.recovery_key::text, '-', ''), NULL::integer, count(*)
        FROM vault.data_key_seal AS seal GROUP BY 2;
    RETURN QUERY SELECT 'quarantined', record.cause, NULL::integer, count(*)
        FROM vault.quarantine AS record WHERE record.resolution IS NULL GROUP BY 2;
END;
$$;

-- As in 0007; rows of erased values are not stuck: they stay under their old token for good.
CREATE OR REPLACE FUNCTION vault.rows_to_move(p_rotation uuid) RETURNS TABLE (movable bigint, stuck bigint)
    LANGUAGE plpgsql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
DECLARE
    standing   vault.rotation;
    registered vault.masked_column;
    found      record;
BEGIN
    SELECT rotation.* INTO STRICT standing FROM vault.rotation AS rotation WHERE rotation.id = p_rotation;
    movable := 0;
    stuck := 0;
    FOR registered IN SELECT * FROM vault.masked_column LOOP
        EXECUTE format(
            'SELECT count(*) FILTER (WHERE successor.rotation = $1) AS movable,
                    count(*) FILTER (WHERE successor.rotation IS DISTINCT FROM $1 AND NOT %3$s) AS stuck
             FROM %1$s AS login
             LEFT JOIN vault.token_successor AS successor ON successor.old_token = login.%2$I COLLATE "C"
             WHERE starts_with(login.%2$I, $2) AND NOT starts_with(login.%2$I, $3)',
            registered.table_name, registered.column_name,
            vault.irreversible_condition(registered.table_name, registered.column_name, registered.domain))
        INTO found
        USING p_rotation, registered.domain || '_v',
              registered.domain || '_v' || standing.target_version || '_';
        movable := movable + found.movable;
        stuck := stuck + found.stuck;
    END LOOP;
    RETURN NEXT;
END;
$$;

-- As in 0006, but a discarded record is deleted, whatever became of it before; what is known of it stays. A replayed record
-- keeps its sealed copy until it is discarded.
CREATE OR REPLACE FUNCTION vault.resolve_quarantine(p_id uuid, p_resolution text, p_reason text)
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
    SET resolution = coalesce(record.resolution, p_resolution),
        resolved_at = coalesce(record.resolved_at, clock_timestamp()),
        resolved_by = coalesce(record.resolved_by, session_user),
        sealed = CASE p_resolution WHEN 'discarded' THEN NULL ELSE record.sealed END
    WHERE record.id = p_id
      AND (record.resolution IS NULL OR p_resolution = 'discarded' AND record.sealed IS NOT NULL);
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

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.enter_batch() TO tokenvault_ingest;
GRANT EXECUTE ON FUNCTION
    vault.begin_erasure(uuid, text[], text, text, text, text, text, boolean),
    vault.begin_expiry(uuid, text, date, text, text, boolean),
    vault.record_erasure_plan(text, text, text, text),
    vault.erasure_progress(uuid), vault.erasure_items(uuid), vault.erase_batch(uuid, text, integer),
    vault.erase_user_rows(uuid, text), vault.finish_erasure(uuid, text), vault.erasure_remains(uuid),
    vault.rotation_erasures(uuid)
    TO tokenvault_operator;

SELECT vault.record_migration(8, 'erasure');

COMMIT;
