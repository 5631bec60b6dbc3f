-- verify 0009_policy: policy, requests, approvals and break-glass are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs. A body is known by the SHA-256 of its text.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, body, callers) AS (VALUES
        ('vault.book_request(uuid, text, text, text[], text, text)', false, '9fc9019c4037e2bf',
         ''),
        ('vault.canonical_hours(text)', false, 'e36ad88e24152876',
         ''),
        ('vault.change_policy(text, jsonb)', true, 'a5fe1f77a4bb12f3',
         'tokenvault_operator'),
        ('vault.decide_request(uuid, text, text)', true, '4edfb8b1b2a18f5f',
         'tokenvault_approver'),
        ('vault.hours_allow(text, timestamp with time zone)', false, 'a14a65204cb6f36a',
         ''),
        ('vault.hours_window(text)', false, 'fc75020076545889',
         ''),
        ('vault.is_member(name, name)', false, '57603d95cd6e9544',
         ''),
        ('vault.policy_for(text)', false, 'b36fc0712142f5e2',
         ''),
        ('vault.policy_list()', true, '1f2849a44d5897f1',
         'tokenvault_approver, tokenvault_auditor, tokenvault_operator, tokenvault_recoverer'),
        ('vault.policy_number(text, jsonb, integer, integer)', false, 'b4803b20e44428e6',
         ''),
        ('vault.policy_pattern(text, jsonb)', false, 'af84dcfd3b9dca27',
         ''),
        ('vault.request_items(uuid, integer, integer)', true, '8923470e0764e64c',
         'tokenvault_approver'),
        ('vault.set_policy(text, integer, integer, interval, text, text)', true, '0f8010919d58d51c',
         'tokenvault_operator'),
        ('vault.status_summary()', true, 'b8b6e0ed23955191',
         'tokenvault_auditor, tokenvault_operator'),
        ('vault.waiting_requests(integer, uuid)', true, '5bba594dc9277f84',
         'tokenvault_approver'),
        ('vault.weekdays(text)', false, 'f50ac1103837da78',
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
        ('vault.approval',
         'r request uuid!, approver name!, decision text!, decided_at timestamp with time zone!, approver_id '
         'oid, reason text',
         ''),
        ('vault.policy',
         'r domain text!, approvals_needed integer!, values_per_day integer!, request_validity interval!, '
         'reason_pattern text, ticket_pattern text, hours text, break_glass_per_day integer',
         ''),
        ('vault.recovery_request_domain',
         'r request uuid!, domain text!, item_count integer!, used bigint!, hours text',
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
