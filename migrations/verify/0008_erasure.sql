-- verify 0008_erasure: what erasures read and write is as migrated and grants nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.begin_erasure(uuid, text[], text, text, text, text, text, boolean)', true, '30daecf854cc0fca',
         'tokenvault_operator'),
        ('vault.begin_expiry(uuid, text, date, text, text, boolean)', true, 'e20ea20c4b29985b',
         'tokenvault_operator'),
        ('vault.enter_batch()', true, '2cf77ac8da84d9ef',
         'tokenvault_ingest'),
        ('vault.erase_user_rows(uuid, text)', true, '7a74f3bf92146ea7',
         'tokenvault_operator'),
        ('vault.erasure_items(uuid)', true, '6e29e40b8efac1db',
         'tokenvault_operator'),
        ('vault.erasure_progress(uuid)', true, '985152988348af04',
         'tokenvault_operator'),
        ('vault.erasure_remains(uuid)', true, '6785df4c2f1cfd72',
         'tokenvault_operator'),
        ('vault.erasure_subject(uuid, text, text)', false, '372924ccfee5bd1d',
         ''),
        ('vault.finish_erasure(uuid, text)', true, '8e6f46204036da01',
         'tokenvault_operator'),
        ('vault.irreversible_condition(text, text, text)', false, 'f4a1b2923ed0db9b',
         ''),
        ('vault.irreversible_tokens()', false, 'baec82b6aee25722',
         ''),
        ('vault.record_erasure_plan(text, text, text, text)', true, '74498f6c8308e839',
         'tokenvault_operator'),
        ('vault.require_erasure(uuid, text)', false, '2becd6de59848471',
         ''),
        ('vault.resolve_quarantine(uuid, text, text)', true, 'ff7d89f77efb731d',
         'tokenvault_operator'),
        ('vault.rotation_erasures(uuid)', true, 'ca7fb0f45f1a2151',
         'tokenvault_operator'),
        ('vault.take_out_tokens(text[], boolean, text)', false, 'e0a4c986e822c28b',
         ''),
        ('vault.token_rows(text[], text[], text)', false, '7e1142efdc172d9f',
         '')
    ), actual AS (
        SELECT format('%s.%s(%s)', namespace.nspname, function.proname, oidvectortypes(function.proargtypes)) AS name,
               function.prosecdef AS definer, pg_get_userbyid(function.proowner) AS owner,
               function.proconfig AS settings,
               left(encode(sha256(convert_to(function.prosrc, 'UTF8')), 'hex'), 16) AS body,
               CASE WHEN function.proacl IS NULL THEN 'PUBLIC' ELSE coalesce((
                   SELECT string_agg(coalesce(role.rolname, 'PUBLIC'), ', '
                                     ORDER BY coalesce(role.rolname, 'PUBLIC') COLLATE "C")
                   FROM aclexplode(function.proacl) AS entry
                   LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = entry.grantee
                   WHERE entry.grantee <> function.proowner
               ), '') END AS callers
        FROM pg_catalog.pg_proc AS function
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
    )
    SELECT string_agg(CASE
        WHEN actual.name IS NULL THEN expected.name || ' is missing'
        WHEN actual.owner <> 'tokenvault_owner' THEN expected.name || ' belongs to ' || actual.owner
        WHEN actual.definer <> expected.definer THEN expected.name || ' runs as someone else'
        WHEN actual.definer AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(actual.settings, '{}'))
            THEN expected.name || ' has no pinned search_path'
        WHEN actual.body <> expected.body THEN expected.name || ' has another body: ' || actual.body
        WHEN actual.callers <> expected.callers
            THEN expected.name || ' may be called by ' || coalesce(nullif(actual.callers, ''), 'nobody')
        END, '; ' ORDER BY expected.name)
    INTO wrong
    FROM expected
    LEFT JOIN actual ON actual.name = expected.name;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'not as migrated: %', wrong USING ERRCODE = 'TV020';
    END IF;
END;
$$;


DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, columns, privileges) AS (VALUES
        ('vault.erased_token',
         'r token uuid!, erased_at timestamp with time zone!, erasure uuid!, rotation uuid',
         ''),
        ('vault.erasure',
         'r id uuid!, kind text!, masked_rows text!, shared text!, domain text, cutoff date, subject bytea, state text!, started_by name!, started_at timestamp with time zone!, finished_at timestamp with time zone, own_rows bigint!, rows_done boolean!, asked bigint!, erased bigint!, absent bigint!, kept bigint!, rows_cleared bigint!, rows_deleted bigint!, keys_dropped bigint!',
         ''),
        ('vault.erasure_gate',
         'r singleton boolean!, epoch bigint!',
         ''),
        ('vault.erasure_item',
         'r erasure uuid!, token text!, state text!, held bigint!, other_users bigint!',
         '')
    ), actual AS (
        SELECT format('%s.%s', namespace.nspname, class.relname) AS name, pg_get_userbyid(class.relowner) AS owner,
               class.relkind::text || ' ' || (
                   SELECT string_agg(format('%s %s%s', attribute.attname,
                                            format_type(attribute.atttypid, attribute.atttypmod),
                                            CASE WHEN attribute.attnotnull THEN '!' ELSE '' END),
                                     ', ' ORDER BY attribute.attnum)
                   FROM pg_catalog.pg_attribute AS attribute
                   WHERE attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
               ) AS columns,
               coalesce((
                   SELECT string_agg(held.privilege, ', ' ORDER BY held.privilege COLLATE "C")
                   FROM (
                       SELECT format('%s %s%s', coalesce(role.rolname, 'PUBLIC'), entry.privilege_type, granted.suffix)
                       FROM (
                           SELECT class.relacl AS list, '' AS suffix
                           UNION ALL
                           SELECT attribute.attacl, format('(%s)', attribute.attname)
                           FROM pg_catalog.pg_attribute AS attribute
                           WHERE attribute.attrelid = class.oid
                       ) AS granted
                       CROSS JOIN LATERAL aclexplode(granted.list) AS entry
                       LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = entry.grantee
                       WHERE entry.grantee <> class.relowner
                   ) AS held (privilege)
               ), '') AS privileges
        FROM pg_catalog.pg_class AS class
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    )
    SELECT string_agg(CASE
        WHEN actual.name IS NULL THEN expected.name || ' is missing'
        WHEN actual.owner <> 'tokenvault_owner' THEN expected.name || ' belongs to ' || actual.owner
        WHEN actual.columns <> expected.columns THEN expected.name || ' has the columns ' || actual.columns
        WHEN actual.privileges <> expected.privileges
            THEN expected.name || ' grants ' || coalesce(nullif(actual.privileges, ''), 'nothing')
        END, '; ' ORDER BY expected.name)
    INTO wrong
    FROM expected
    LEFT JOIN actual ON actual.name = expected.name;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'not as migrated: %', wrong USING ERRCODE = 'TV020';
    END IF;
END;
$$;
