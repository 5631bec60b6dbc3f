-- verify 0003_user_logins: the masked rows and the duplicate views are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, columns, privileges) AS (VALUES
        ('public.user_logins',
         '(its own)',
         'tokenvault_analyst SELECT, tokenvault_ingest INSERT'),
        ('public.duplicate_ips',
         'v token, logins, distinct_users, first_seen, last_seen',
         'tokenvault_analyst SELECT'),
        ('public.duplicate_devices',
         'v token, logins, distinct_users, first_seen, last_seen',
         'tokenvault_analyst SELECT')
    ), actual AS (
        SELECT format('%s.%s', namespace.nspname, class.relname) AS name, pg_get_userbyid(class.relowner) AS owner,
               class.relkind::text || ' ' || (
                   SELECT string_agg(attribute.attname, ', ' ORDER BY attribute.attnum)
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
        WHEN expected.name = 'public.user_logins' THEN foreign_table.wrong
        WHEN actual.owner <> 'tokenvault_owner' THEN expected.name || ' belongs to ' || actual.owner
        WHEN actual.columns <> expected.columns THEN expected.name || ' has the columns ' || actual.columns
        WHEN actual.privileges <> expected.privileges
            THEN expected.name || ' grants ' || coalesce(nullif(actual.privileges, ''), 'nothing')
        END, '; ' ORDER BY expected.name)
    INTO wrong
    FROM expected
    LEFT JOIN actual ON actual.name = expected.name
    -- An adopted table keeps its owner, its shape and its owner's grants to roles that are not tokenvault's.
    CROSS JOIN LATERAL (
        SELECT expected.name || ' grants ' || string_agg(held.privilege, ', ' ORDER BY held.privilege) AS wrong
        FROM (
            SELECT unnest(string_to_array(actual.privileges, ', '))
            EXCEPT
            SELECT unnest(string_to_array(expected.privileges, ', '))
        ) AS held (privilege)
        WHERE held.privilege ~ '^(tokenvault_|PUBLIC )' AND held.privilege <> 'tokenvault_owner SELECT'
          AND held.privilege <> 'tokenvault_owner DELETE'  -- 0008_erasure
          AND held.privilege NOT LIKE 'tokenvault_owner UPDATE(masked\_%'  -- 0007_rotation
    ) AS foreign_table;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'not as migrated: %', wrong USING ERRCODE = 'TV020';
    END IF;

    -- The seven columns of the original exercise, in order; more may follow.
    SELECT string_agg(expected.name, ', ' ORDER BY expected.place) INTO wrong
    FROM (VALUES (1, 'user_id'), (2, 'device_type'), (3, 'masked_ip'), (4, 'masked_device_id'), (5, 'locale'),
                 (6, 'app_version'), (7, 'create_date')) AS expected (place, name)
    LEFT JOIN (
        SELECT row_number() OVER (ORDER BY attribute.attnum) AS place, attribute.attname AS name
        FROM pg_catalog.pg_attribute AS attribute
        JOIN pg_catalog.pg_class AS class ON class.oid = attribute.attrelid AND class.relname = 'user_logins'
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE namespace.nspname = 'public' AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS actual ON actual.place = expected.place
    WHERE actual.name IS DISTINCT FROM expected.name;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'public.user_logins: these columns are not where they belong: %', wrong
            USING ERRCODE = 'TV020';
    END IF;

    SELECT string_agg(missing.privilege, ', ') INTO wrong
    FROM (VALUES ('tokenvault_ingest', 'INSERT'), ('tokenvault_analyst', 'SELECT'), ('tokenvault_owner', 'SELECT'))
        AS required (name, privilege)
    JOIN pg_catalog.pg_class AS class ON class.relname = 'user_logins'
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace AND namespace.nspname = 'public'
    CROSS JOIN LATERAL (SELECT required.name || ' ' || required.privilege AS privilege) AS missing
    WHERE NOT has_table_privilege(required.name, class.oid, required.privilege);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'public.user_logins: these privileges are missing: %', wrong
            USING ERRCODE = 'TV020', HINT = 'GRANT them as the owner of the table.';
    END IF;
END;
$$;
