-- 0001_schema_and_keys: the vault and audit schemas, the originals, and which keys protect them.
-- requires: roles.sql
-- Every migration leaves the role tokenvault_owner set for the rest of its transaction.

BEGIN;

CREATE SCHEMA vault AUTHORIZATION tokenvault_owner;
CREATE SCHEMA audit AUTHORIZATION tokenvault_owner;
SET LOCAL ROLE tokenvault_owner;

-- Works only without IN SCHEMA: a per-schema revoke cannot undo the global grant.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- An existing public.user_logins is adopted untouched, so it must have the shape the product writes.
-- Runs first: a database with another table of that name is refused before anything is changed.
CREATE FUNCTION vault.require_user_logins_shape() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing record;
    wrong text;
BEGIN
    SELECT class.oid, class.relkind, class.relrowsecurity, class.relowner INTO standing
    FROM pg_class AS class
    WHERE class.oid = to_regclass('public.user_logins');
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF standing.relkind NOT IN ('r', 'p') OR standing.relrowsecurity THEN
        RAISE EXCEPTION 'public.user_logins exists and is no ordinary table, or has row security'
            USING ERRCODE = 'TV020', HINT = 'Rename it; migrating again makes the table that tokenvault writes.';
    END IF;
    IF NOT pg_has_role(session_user, standing.relowner, 'USAGE') THEN
        RAISE EXCEPTION 'public.user_logins exists and belongs to role %, so % cannot grant on it',
            pg_get_userbyid(standing.relowner), session_user
            USING ERRCODE = 'TV020', HINT = 'Migrate as the owner of the table, or change its owner.';
    END IF;

    SELECT string_agg(coalesce(expected.name, actual.attname::text), ', ' ORDER BY expected.place, actual.place)
    INTO wrong
    FROM (VALUES
        (1, 'user_id', 128, false), (2, 'device_type', 32, false), (3, 'masked_ip', 256, false),
        (4, 'masked_device_id', 256, false), (5, 'locale', 32, false), (6, 'app_version', 32, true),
        (7, 'create_date', 0, false)
    ) AS expected (place, name, width, integer_too)
    FULL JOIN (
        SELECT row_number() OVER (ORDER BY attribute.attnum) AS place, attribute.*
        FROM pg_attribute AS attribute
        WHERE attribute.attrelid = standing.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ) AS actual ON actual.place = expected.place
    WHERE CASE
        WHEN actual.place IS NULL THEN true
        WHEN expected.place IS NULL THEN actual.attnotnull AND NOT actual.atthasdef AND actual.attidentity = ''
        WHEN actual.attname <> expected.name THEN true
        WHEN actual.attgenerated <> '' OR actual.attidentity = 'a' THEN true
        WHEN actual.attnotnull AND expected.name NOT IN ('user_id', 'create_date') THEN true
        WHEN expected.name = 'create_date' THEN actual.atttypid <> 'date'::regtype
        WHEN expected.integer_too AND actual.atttypid = 'integer'::regtype THEN false
        WHEN actual.atttypid = 'text'::regtype THEN false
        WHEN actual.atttypid <> 'varchar'::regtype THEN true
        ELSE actual.atttypmod <> -1 AND actual.atttypmod - 4 < expected.width
    END;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'public.user_logins exists with another shape; these columns differ: %', wrong
            USING ERRCODE = 'TV020',
                  HINT = 'Expected user_id varchar(128), device_type varchar(32), masked_ip varchar(256), '
                         'masked_device_id varchar(256), locale varchar(32), app_version integer or varchar(32), '
                         'create_date date; nullable but for user_id and create_date. Rename the table, or change it.';
    END IF;
END;
$$;
SELECT vault.require_user_logins_shape();

CREATE TABLE vault.schema_migration (
    number     integer     PRIMARY KEY CHECK (number >= 1),
    name       text        NOT NULL UNIQUE,
    checksum   bytea       NULL CHECK (octet_length(checksum) = 32),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by name        NOT NULL DEFAULT session_user
);
COMMENT ON TABLE  vault.schema_migration          IS 'Which migrations stand in this database.';
COMMENT ON COLUMN vault.schema_migration.checksum IS 'SHA-256 of the file; NULL when it was applied with psql.';

CREATE FUNCTION vault.record_migration(p_number integer, p_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing integer;
BEGIN
    LOCK TABLE vault.schema_migration IN EXCLUSIVE MODE;
    SELECT coalesce(max(migration.number), 0) INTO standing FROM vault.schema_migration AS migration;
    IF p_number <> standing + 1 THEN
        RAISE EXCEPTION 'migration % cannot follow migration %', p_number, standing
            USING ERRCODE = 'TV020', HINT = 'Apply the files of migrations/ in order, each once.';
    END IF;
    INSERT INTO vault.schema_migration (number, name) VALUES (p_number, p_name);
END;
$$;

CREATE FUNCTION vault.schema_version() RETURNS integer
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max(migration.number), 0) FROM vault.schema_migration AS migration;
$$;

CREATE TABLE vault.key_version (
    id             uuid        PRIMARY KEY,
    purpose        text        NOT NULL CHECK (purpose IN ('token', 'recovery', 'signing', 'checkpoint')),
    name           text        NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    version        integer     NULL CHECK (version >= 1),
    state          text        NOT NULL
                   CHECK (state IN ('pre-activation', 'active', 'deactivated', 'compromised', 'destroyed')),
    domains        text[]      NULL,
    public_key     bytea       NULL CHECK (octet_length(public_key) = 32),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    activated_at   timestamptz NULL,
    deactivated_at timestamptz NULL,
    compromised_at timestamptz NULL,
    destroyed_at   timestamptz NULL,
    CHECK ((purpose = 'token') = (version IS NOT NULL)),
    CHECK ((purpose = 'token') = (public_key IS NULL))
);
COMMENT ON TABLE  vault.key_version         IS 'State and dates of every key; never key material.';
COMMENT ON COLUMN vault.key_version.id      IS 'Fingerprint of the key: docs/FORMATS.md, section 4.';
COMMENT ON COLUMN vault.key_version.domains IS 'Domains a recovery key may open; NULL for all.';
CREATE UNIQUE INDEX key_version_token_version ON vault.key_version (version) WHERE purpose = 'token';

CREATE TABLE vault.data_key (
    id          uuid        PRIMARY KEY,
    domain      text        NOT NULL,
    signing_key uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    commitment  bytea       NOT NULL CHECK (octet_length(commitment) = 32),
    signature   bytea       NOT NULL CHECK (octet_length(signature) = 64),
    run         uuid        NULL
);
COMMENT ON TABLE  vault.data_key            IS 'One per domain and run; the key itself stands sealed in data_key_seal.';
COMMENT ON COLUMN vault.data_key.created_at IS 'Whole seconds: part of what the signature covers.';

CREATE TABLE vault.data_key_seal (
    data_key     uuid  NOT NULL,
    recovery_key uuid  NOT NULL,
    sealed       bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 81 AND 4096),
    PRIMARY KEY (data_key, recovery_key)
);
COMMENT ON TABLE vault.data_key_seal IS 'A data key sealed to one recovery key: docs/FORMATS.md, section 5.';

-- No foreign keys and no second index: both cost the ingest path more than everything else here.
CREATE TABLE vault.original (
    token         uuid        PRIMARY KEY,
    domain        text        NOT NULL,
    token_version integer     NOT NULL CHECK (token_version >= 1),
    data_key      uuid        NOT NULL,
    sealed        bytea       NOT NULL CHECK (octet_length(sealed) BETWEEN 42 AND 4096),
    created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  vault.original        IS 'One row per distinct token: the sealed value it stands for.';
COMMENT ON COLUMN vault.original.token  IS 'The 16 bytes of the token; its text form names domain and version too.';
COMMENT ON COLUMN vault.original.sealed IS 'Sealed value: docs/FORMATS.md, section 6.';

CREATE FUNCTION vault.key_states()
    RETURNS TABLE (id uuid, purpose text, name text, version integer, state text, domains text[],
                   created_at timestamptz, activated_at timestamptz)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT key.id, key.purpose, key.name, key.version, key.state, key.domains, key.created_at, key.activated_at
    FROM vault.key_version AS key
    ORDER BY key.purpose, key.version, key.created_at, key.id;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;
GRANT USAGE ON SCHEMA vault
    TO tokenvault_ingest, tokenvault_recoverer, tokenvault_approver, tokenvault_operator, tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.schema_version()
    TO tokenvault_ingest, tokenvault_recoverer, tokenvault_approver, tokenvault_operator, tokenvault_auditor;
GRANT EXECUTE ON FUNCTION vault.key_states()
    TO tokenvault_ingest, tokenvault_recoverer, tokenvault_operator, tokenvault_auditor;
GRANT INSERT ON vault.original, vault.data_key, vault.data_key_seal TO tokenvault_ingest;
GRANT SELECT ON vault.key_version, vault.data_key, vault.data_key_seal TO tokenvault_operator;

SELECT vault.record_migration(1, 'schema_and_keys');

COMMIT;
