-- verify 0006_operation: keys, policy, approvals and status are as migrated and grant nothing else.
-- Reads the catalogue only. Raises TV020 and says what differs.

DO $$
DECLARE
    wrong text;
BEGIN
    WITH expected (name, definer, callers) AS (VALUES
        ('vault.change_key_state(uuid, text)', true,
         'tokenvault_operator'),
        ('vault.decide_request(uuid, text)', true,
         'tokenvault_approver'),
        ('vault.policy_list()', true,
         'tokenvault_approver, tokenvault_auditor, tokenvault_operator, tokenvault_recoverer'),
        ('vault.quarantine_list(integer)', true,
         'tokenvault_auditor, tokenvault_operator, tokenvault_recoverer'),
        ('vault.register_key(uuid, text, text, integer, text, text[], bytea)', true,
         'tokenvault_operator'),
        ('vault.resolve_quarantine(uuid, text, text)', true,
         'tokenvault_operator'),
        ('vault.set_policy(text, integer, integer, interval, text, text)', true,
         'tokenvault_operator'),
        ('vault.status_summary()', true,
         'tokenvault_auditor, tokenvault_operator'),
        ('vault.waiting_requests(integer)', true,
         'tokenvault_approver')
    ), actual AS (
        SELECT format('%s.%s(%s)', namespace.nspname, function.proname, oidvectortypes(function.proargtypes)) AS name,
               function.prosecdef AS definer, pg_get_userbyid(function.proowner) AS owner,
               function.proconfig AS settings,
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
