-- verify 0004_ingest: the ledger, files, runs and the quarantine are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, columns, privileges) AS (VALUES
        ('vault.ingest_message',
         'r queue text!, message_id text!, key_version integer!, body_mac bytea!, '
         'received_at timestamp with time zone!',
         ''),
        ('vault.ingest_file',
         'r id uuid!, name text!, key_version integer!, prefix_length integer!, fingerprint bytea!, '
         'committed_offset bigint!, committed_lines bigint!, created_at timestamp with time zone!, '
         'updated_at timestamp with time zone!',
         ''),
        ('vault.quarantine',
         'r id uuid!, run uuid, source text!, position text!, cause text!, truncated boolean!, body_mac bytea!, '
         'data_key uuid!, sealed bytea, created_at timestamp with time zone!, resolution text, '
         'resolved_at timestamp with time zone, resolved_by name',
         'tokenvault_ingest INSERT(body_mac), tokenvault_ingest INSERT(cause), '
         'tokenvault_ingest INSERT(created_at), tokenvault_ingest INSERT(data_key), '
         'tokenvault_ingest INSERT(id), tokenvault_ingest INSERT(position), tokenvault_ingest INSERT(run), '
         'tokenvault_ingest INSERT(sealed), tokenvault_ingest INSERT(source), '
         'tokenvault_ingest INSERT(truncated), tokenvault_operator SELECT(body_mac), '
         'tokenvault_operator SELECT(cause), tokenvault_operator SELECT(created_at), '
         'tokenvault_operator SELECT(data_key), tokenvault_operator SELECT(id), '
         'tokenvault_operator SELECT(position), tokenvault_operator SELECT(resolution), '
         'tokenvault_operator SELECT(resolved_at), tokenvault_operator SELECT(resolved_by), '
         'tokenvault_operator SELECT(run), tokenvault_operator SELECT(source), '
         'tokenvault_operator SELECT(truncated)')
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
        ('vault.advance_file(uuid, bigint, bigint, bigint)', true, 'b17cea397ebe75ad',
         'tokenvault_ingest'),
        ('vault.begin_run(uuid, text)', true, '76d18085ffa60420',
         'tokenvault_ingest'),
        ('vault.claim_messages(text, text[], integer, bytea[])', true, '9606dceba3945534',
         'tokenvault_ingest'),
        ('vault.find_file(text)', true, '7d1a6ea91446592d',
         'tokenvault_ingest'),
        ('vault.finish_run(uuid, text)', true, '31a9b5cd296099a8',
         'tokenvault_ingest'),
        ('vault.record_tokenize(text, integer, text)', true, '97b77515bdae7092',
         'tokenvault_ingest, tokenvault_operator, tokenvault_recoverer'),
        ('vault.register_file(uuid, text, integer, integer, bytea)', true, '8391d108ffbe92f5',
         'tokenvault_ingest'),
        ('vault.require_text(text, text, integer)', false, '777c78d326fe090d', '')
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
