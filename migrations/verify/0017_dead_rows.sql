-- verify 0017_dead_rows: what says where old tokens are left is as migrated and grants nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.old_token_places(uuid)', true, '5ea4b9488ae32071',
         'tokenvault_auditor, tokenvault_operator')
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
