-- verify 0012_rotation_by_place: what rotations read and write by place is as migrated and grants nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.add_run_counts(uuid, bigint, bigint, bigint)', true, 'b51f1c65d15c0eb1',
         'tokenvault_ingest'),
        ('vault.begin_rotation(uuid, text, integer, text)', true, 'd3107e86dbc99b8c',
         'tokenvault_operator'),
        ('vault.begin_run(uuid, text, integer)', true, '7daa0397250a9278',
         'tokenvault_ingest'),
        ('vault.drop_pairs(text[])', false, 'e094dd33d8d880eb',
         ''),
        ('vault.erase_batch(uuid, text, integer)', true, '939bb67593f17958',
         'tokenvault_operator'),
        ('vault.next_rotation_pass(uuid, jsonb)', true, '85be20921565829a',
         'tokenvault_operator'),
        ('vault.replace_sealed(uuid, uuid, uuid, uuid, tid[], uuid[], uuid[], uuid[], bytea[])', true, 'ef7a96a7812ed428',
         'tokenvault_operator'),
        ('vault.require_token_version(integer, timestamp with time zone)', false, '49cd974251a20550',
         ''),
        ('vault.rotation_census()', true, '3569182788593f0c',
         'tokenvault_auditor, tokenvault_operator'),
        ('vault.rotation_page(uuid, bigint, bigint)', true, '9e3ae452e1435925',
         'tokenvault_operator'),
        ('vault.row_fingerprint(integer)', true, '3823cc88950c2b19',
         'tokenvault_operator'),
        ('vault.rows_about()', true, '0d184546951bbcef',
         'tokenvault_operator'),
        ('vault.rows_to_move(uuid)', true, 'b9e5d4155c8f6dd1',
         'tokenvault_operator'),
        ('vault.same_value(text[])', false, '3e20342c45c09a8b',
         ''),
        ('vault.tokens_seen(date, text[])', false, '61469e1ec1fce4b4',
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
        ('vault.ingest_run',
         'r id uuid!, source text!, started_by name!, started_at timestamp with time zone!, ended_at timestamp with time zone, outcome text, stored bigint!, repeated bigint!, quarantined bigint!, token_version integer, progressed_at timestamp with time zone',
         'tokenvault_operator SELECT'),
        ('vault.token_pair',
         'v old_token text, new_token text, domain text, old_version integer, is_proven boolean',
         ''),
        ('vault.token_successor',
         'r old_token text!, new_token text!, domain text!, old_version integer!',
         'tokenvault_ingest INSERT(domain), tokenvault_ingest INSERT(new_token), tokenvault_ingest INSERT(old_token), tokenvault_ingest INSERT(old_version)')
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
