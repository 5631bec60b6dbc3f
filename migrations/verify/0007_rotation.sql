-- verify 0007_rotation: what rotations read and write is as migrated and grants nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.add_rotation_data_key(uuid, uuid, text, uuid, bigint, bytea, bytea, uuid[], bytea[])', true, 'f80949fcc65db8d9',
         'tokenvault_operator'),
        ('vault.add_seals(uuid, uuid, uuid[], bytea[])', true, '62ca2eccdeb868f9',
         'tokenvault_operator'),
        ('vault.advance_rotation(uuid, uuid, uuid, bigint, uuid)', false, 'ccef905d87bf685e',
         ''),
        ('vault.change_key_state_0006(uuid, text)', true, '9d58f00a228c213f',
         ''),
        ('vault.count_originals(integer)', true, '5b52aa74f4b22f6f',
         'tokenvault_operator'),
        ('vault.data_keys_without_seal(uuid, text[], uuid[], uuid, integer)', true, '5c17f025f9d30c88',
         'tokenvault_operator'),
        ('vault.drop_unused_data_keys(uuid)', true, '0a79d2ff95b959a7',
         'tokenvault_operator'),
        ('vault.forget_ledger(integer)', true, '9f7ad57311ca6628',
         'tokenvault_operator'),
        ('vault.note_rotation_exceptions(uuid, uuid[], text[])', true, 'c6f37ad5b39c7309',
         'tokenvault_operator'),
        ('vault.old_rows(uuid)', true, '861b00b20da558b0',
         'tokenvault_operator'),
        ('vault.rekey_file(uuid, integer, integer, bytea)', true, '06300a7b1e8b7396',
         'tokenvault_ingest'),
        ('vault.replace_quarantined(uuid, uuid[], uuid[], uuid, bytea[])', true, '9401f4138274d0cf',
         'tokenvault_operator'),
        ('vault.resealed_originals(uuid, uuid, integer)', true, '9ea0b955f807eae5',
         'tokenvault_operator'),
        ('vault.retire_recovery_key(uuid)', true, '0c66d3a66d24d148',
         'tokenvault_operator'),
        ('vault.rotation_exceptions(uuid)', true, 'dcb00bdf909bac95',
         'tokenvault_operator'),
        ('vault.rotation_originals(uuid, uuid[])', true, 'd9c081274c033d64',
         'tokenvault_operator'),
        ('vault.rotation_quarantine_page(uuid, integer)', true, '7a8e83ac5f214532',
         'tokenvault_operator'),
        ('vault.rotations(integer)', true, '500e5f4f8f2b62d8',
         'tokenvault_auditor, tokenvault_operator'),
        ('vault.row_identity(text)', false, 'eb7f1d3738927420',
         ''),
        ('vault.superseded_token_versions()', true, '3387edcf66d527f2',
         'tokenvault_ingest'),
        ('vault.token_version_needs(integer)', true, 'a23386e76478d63a',
         'tokenvault_operator')
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
        ('vault.masked_column',
         'r table_name text!, column_name text!, domain text!',
         'tokenvault_operator SELECT'),
        ('vault.retired_key',
         'r id uuid!, retired_at timestamp with time zone!',
         ''),
        ('vault.rotation_exception',
         'r rotation uuid!, token uuid!, reason text!',
         ''),
        ('vault.rotation_scope',
         'r rotation uuid!, data_key uuid!',
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
