-- verify 0001_schema_and_keys: the schemas, keys and originals are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, columns, privileges) AS (VALUES
        ('vault.schema_migration',
         'r number integer!, name text!, checksum bytea, applied_at timestamp with time zone!, applied_by name!',
         ''),
        ('vault.key_version',
         'r id uuid!, purpose text!, name text!, version integer, state text!, domains text[], public_key bytea, '
         'created_at timestamp with time zone!, activated_at timestamp with time zone, '
         'deactivated_at timestamp with time zone, compromised_at timestamp with time zone, '
         'destroyed_at timestamp with time zone',
         'tokenvault_operator SELECT'),
        ('vault.data_key',
         'r id uuid!, domain text!, signing_key uuid!, created_at timestamp with time zone!, commitment bytea!, '
         'signature bytea!, run uuid',
         'tokenvault_ingest INSERT, tokenvault_operator SELECT'),
        ('vault.data_key_seal',
         'r data_key uuid!, recovery_key uuid!, sealed bytea!',
         'tokenvault_ingest INSERT, tokenvault_operator SELECT'),
        ('vault.original',
         'r token uuid!, domain text!, token_version integer!, data_key uuid!, sealed bytea!, '
         'created_at timestamp with time zone!',
         'tokenvault_ingest INSERT')
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

    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.key_states()', true, 'ebcf0ab0a5dfbe27',
         'tokenvault_auditor, tokenvault_ingest, tokenvault_operator, tokenvault_recoverer'),
        ('vault.record_migration(integer, text)', false, '4672c2b7158973bb', ''),
        ('vault.require_user_logins_shape()', false, 'fc1632f7567ffb0e', ''),
        ('vault.schema_version()', true, 'cf97c9a75213587e',
         'tokenvault_approver, tokenvault_auditor, tokenvault_ingest, tokenvault_operator, tokenvault_recoverer')
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

    -- Holds for objects of later migrations too.
    SELECT string_agg(format('%s has %s on schema %s', coalesce(role.rolname, 'PUBLIC'), entry.privilege_type,
                             namespace.nspname), '; ')
    INTO wrong
    FROM pg_catalog.pg_namespace AS namespace
    CROSS JOIN LATERAL aclexplode(namespace.nspacl) AS entry
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = entry.grantee
    WHERE (namespace.nspname, coalesce(role.rolname, 'PUBLIC'), entry.privilege_type) NOT IN (
        SELECT 'vault', allowed.name, 'USAGE'
        FROM unnest(ARRAY['tokenvault_ingest', 'tokenvault_recoverer', 'tokenvault_approver', 'tokenvault_operator',
                          'tokenvault_auditor']) AS allowed (name)
        UNION ALL SELECT 'audit', 'tokenvault_auditor', 'USAGE'
        UNION ALL SELECT schema.name, 'tokenvault_owner', granted.privilege
        FROM unnest(ARRAY['vault', 'audit']) AS schema (name), unnest(ARRAY['USAGE', 'CREATE']) AS granted (privilege)
      )
      AND (namespace.nspname IN ('vault', 'audit')
           OR namespace.nspname = 'public' AND entry.privilege_type = 'CREATE'
              AND (entry.grantee = 0 OR role.rolname LIKE 'tokenvault\_%' AND role.rolname <> 'tokenvault_owner'));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'excess privilege: %', wrong USING ERRCODE = 'TV020';
    END IF;

    SELECT string_agg(held.name, '; ' ORDER BY held.name) INTO wrong
    FROM (
        SELECT format('PUBLIC has %s on %s', entry.privilege_type, class.oid::regclass)
        FROM pg_catalog.pg_class AS class
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
        CROSS JOIN LATERAL aclexplode(class.relacl) AS entry
        WHERE namespace.nspname IN ('vault', 'audit') AND entry.grantee = 0
        UNION ALL
        SELECT format('PUBLIC may call %s', function.oid::regprocedure)
        FROM pg_catalog.pg_proc AS function
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
        WHERE namespace.nspname IN ('vault', 'audit')
          AND has_function_privilege('public', function.oid, 'EXECUTE')
        UNION ALL
        SELECT format('%s has no pinned search_path', function.oid::regprocedure)
        FROM pg_catalog.pg_proc AS function
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = function.pronamespace
        WHERE namespace.nspname IN ('vault', 'audit') AND function.prosecdef
          AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(function.proconfig, '{}'))
        UNION ALL
        SELECT format('PUBLIC has %s on the database', entry.privilege_type)
        FROM pg_catalog.pg_database AS database
        CROSS JOIN LATERAL aclexplode(coalesce(database.datacl, acldefault('d', database.datdba))) AS entry
        WHERE database.datname = current_database() AND entry.grantee = 0 AND entry.privilege_type <> 'CONNECT'
    ) AS held (name);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'excess privilege: %', wrong USING ERRCODE = 'TV020';
    END IF;

    SELECT string_agg(format('%s is a member of %s', member.rolname, held.rolname), '; ') INTO wrong
    FROM pg_catalog.pg_auth_members AS membership
    JOIN pg_catalog.pg_roles AS member ON member.oid = membership.member
    JOIN pg_catalog.pg_roles AS held ON held.oid = membership.roleid
    WHERE member.rolname IN ('tokenvault_owner', 'tokenvault_ingest', 'tokenvault_analyst', 'tokenvault_recoverer',
                             'tokenvault_approver', 'tokenvault_operator', 'tokenvault_auditor', 'tokenvault_break_glass');
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'excess privilege: %', wrong
            USING ERRCODE = 'TV020', HINT = 'Groups hold no other role; REVOKE it.';
    END IF;
END;
$$;
