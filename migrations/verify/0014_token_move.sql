-- verify 0014_token_move: the pairs of tokens, and what reads and writes them, are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.analyze_successors()', true, '28759da2b415ba91',
         'tokenvault_operator'),
        ('vault.move_rows(uuid, integer, integer)', true, 'cebb081131f03fbf',
         'tokenvault_operator'),
        ('vault.pass_originals(uuid, uuid, uuid, integer, uuid)', true, '5afa50b73cfde78a',
         'tokenvault_operator'),
        ('vault.rotation_extent()', true, '9083cc338c45e011',
         'tokenvault_operator'),
        ('vault.rotation_leftovers(uuid, integer)', true, '190f525ad026f3fe',
         'tokenvault_operator'),
        ('vault.rotation_pairs(uuid, bigint, bigint)', true, '12a3297a49688028',
         'tokenvault_operator'),
        ('vault.slice_pairs(text, integer, integer)', false, 'cfeda9e6bd3354c9',
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
        ('vault.rotation_pair',
         'v rotation uuid, old_version integer, slice integer, domain text, old_token text, new_token text',
         ''),
        ('vault.token_move',
         'r rotation uuid!, old_version integer!, new_version integer!, slice integer!, domain text!, old_bits uuid!, new_bits uuid!',
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
