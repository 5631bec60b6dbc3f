-- verify 0015_old_tokens: what ends a rotation, and where it replaces tokens, is as migrated and grants nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.change_key_state(uuid, text)', true, '66d4d4a95ee54af5',
         'tokenvault_operator'),
        ('vault.finish_rotation(uuid, text)', true, '76bcb6d36b8ae754',
         'tokenvault_operator'),
        ('vault.retire_token_version(integer, boolean)', true, 'b2a4b23ba85ab459',
         'tokenvault_operator'),
        ('vault.token_files()', false, '152fc1899ac5dcf1',
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
        ('vault.rotation',
         'r id uuid!, kind text!, target_version integer, state text!, started_by name!, started_at timestamp with time zone!, updated_at timestamp with time zone!, finished_at timestamp with time zone, place uuid, pass integer!, values_done bigint!, rows_done bigint!, value_sum uuid!, rows_moved jsonb!, rows_before jsonb, outcome text, files jsonb',
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
