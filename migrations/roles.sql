-- roles: the group roles of tokenvault, and what PUBLIC loses in this database.
-- Not a migration: roles outlive any one database, and another team may own them. Safe to run again.
-- Run as the NOSUPERUSER CREATEROLE administrator that owns the database. One DO block, so all or nothing.
-- Login roles for people and jobs: docs/ROLES.md.

DO $$
DECLARE
    wanted record;
BEGIN
    PERFORM set_config('client_min_messages', 'warning', true);

    FOR wanted IN
        SELECT * FROM (VALUES
            ('tokenvault_owner',     'owns the schemas vault and audit; nobody logs in as it'),
            ('tokenvault_ingest',    'nightly job: inserts, reads nothing back'),
            ('tokenvault_analyst',   'reads masked rows and the duplicate views'),
            ('tokenvault_recoverer', 'requests recoveries and receives sealed values'),
            ('tokenvault_break_glass', 'may recover at once, loudly; for members of tokenvault_recoverer'),
            ('tokenvault_approver',  'approves or denies recoveries of others'),
            ('tokenvault_operator',  'registers keys, sets policy, settles the quarantine'),
            ('tokenvault_auditor',   'reads the audit log')
        ) AS group_role (name, purpose)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS role WHERE role.rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted.name);
                EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, 'tokenvault: ' || wanted.purpose);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- made meanwhile, for another database of the same server
            END;
        ELSIF EXISTS (
            SELECT FROM pg_catalog.pg_roles AS role
            WHERE role.rolname = wanted.name
              AND (role.rolcanlogin OR role.rolsuper OR role.rolcreaterole OR role.rolcreatedb
                   OR role.rolreplication OR role.rolbypassrls)
        ) THEN
            RAISE EXCEPTION 'role % exists and has more than a group role may have', wanted.name
                USING ERRCODE = 'TV020',
                      HINT = 'Take LOGIN, SUPERUSER, CREATEROLE, CREATEDB, REPLICATION, BYPASSRLS from it, or drop it.';
        END IF;
    END LOOP;

    -- Migrations make objects that this role owns, so the administrator must be able to become it.
    -- From PostgreSQL 16 on, the membership that comes with making a role does not allow SET ROLE yet.
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_auth_members AS membership
        WHERE membership.roleid = 'tokenvault_owner'::regrole
          AND membership.member = (SELECT role.oid FROM pg_catalog.pg_roles AS role WHERE role.rolname = current_user)
          AND coalesce(to_jsonb(membership) ->> 'set_option', 'true') = 'true'
          AND coalesce(to_jsonb(membership) ->> 'inherit_option', 'true') = 'true'
    ) THEN
        BEGIN
            EXECUTE format('GRANT tokenvault_owner TO %I', current_user);
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END IF;

    -- TEMP would let a caller shadow tables; CREATE in public would let it shadow functions and operators.
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE, CREATE ON SCHEMA public TO tokenvault_owner;

    -- Bind values and "Failing row contains" must not reach the server log. A group's settings are not inherited by
    -- its members, so the database carries them. Only some administrators may: `tokenvault doctor` reports the rest.
    BEGIN
        EXECUTE format('ALTER DATABASE %I SET log_parameter_max_length = 0', current_database());
        EXECUTE format('ALTER DATABASE %I SET log_parameter_max_length_on_error = 0', current_database());
        EXECUTE format('ALTER DATABASE %I SET log_error_verbosity = terse', current_database());
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING 'this administrator may not set log_parameter_max_length = 0 and log_error_verbosity = terse'
            USING HINT = 'Set both in the server''s configuration (on RDS: in the parameter group).';
    END;
END;
$$;
