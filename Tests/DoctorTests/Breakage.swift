import Testing

/// One way in which a set-up can be broken.
struct Breakage: Sendable, CustomTestStringConvertible {
    enum Deed: Sendable {
        case sql(String)
        /// With `$V` for the vault's folder, `$D` for the server's.
        case shell(String)
    }

    let deed: Deed
    /// The check that must name it, and how badly.
    let check: String
    let verdict: String
    let named: String
    /// Who finds it.
    let user: String
    /// What undoes it where the remedy is advice, not a command.
    let undo: Deed?

    var testDescription: String {
        switch deed {
        case .sql(let text), .shell(let text): text
        }
    }

    init(
        _ sql: String, _ check: String, _ named: String, verdict: String = "failure", by user: String = "vault_nobody",
        undo: String? = nil
    ) {
        (self.deed, self.check, self.named, self.verdict, self.user) = (.sql(sql), check, named, verdict, user)
        self.undo = undo.map { .sql($0) }
    }

    init(
        shell: String, _ check: String, _ named: String, verdict: String = "failure", by user: String = "vault_ingest",
        undo: String? = nil
    ) {
        (self.deed, self.check, self.named, self.verdict, self.user) = (.shell(shell), check, named, verdict, user)
        self.undo = undo.map { .shell($0) }
    }

    static let all = privileges + roles + code + server + state + files + keyrings + authentication

    private static let privileges = [
        Breakage("GRANT SELECT ON vault.original TO tokenvault_ingest", "privileges", "tokenvault_ingest has SELECT"),
        Breakage(
            "REVOKE INSERT ON vault.original FROM tokenvault_ingest", "privileges", "tokenvault_ingest lacks INSERT"),
        Breakage(
            "GRANT SELECT (sealed) ON vault.original TO PUBLIC", "privileges", "PUBLIC has SELECT on column sealed"),
        Breakage(
            "GRANT SELECT ON vault.quarantine TO tokenvault_operator", "privileges", "tokenvault_operator has SELECT"),
        Breakage(
            "REVOKE SELECT (cause) ON vault.quarantine FROM tokenvault_operator", "privileges",
            "tokenvault_operator lacks SELECT on column cause"),
        Breakage("GRANT SELECT ON audit.event TO vault_nobody", "privileges", "vault_nobody has SELECT on audit.event"),
        Breakage(
            "GRANT SELECT ON audit.event TO tokenvault_auditor WITH GRANT OPTION", "privileges", "with grant option"),
        Breakage(
            "GRANT EXECUTE ON FUNCTION vault.release TO PUBLIC", "privileges", "PUBLIC has EXECUTE on vault.release("),
        Breakage(
            "REVOKE EXECUTE ON FUNCTION vault.begin_run(uuid, text) FROM tokenvault_ingest", "privileges",
            "lacks EXECUTE on vault.begin_run("),
        Breakage("GRANT USAGE ON SCHEMA vault TO tokenvault_analyst", "privileges", "tokenvault_analyst has USAGE"),
        Breakage("REVOKE USAGE ON SCHEMA audit FROM tokenvault_auditor", "privileges", "lacks USAGE on schema audit"),
        Breakage("GRANT CREATE ON SCHEMA public TO PUBLIC", "privileges", "PUBLIC has CREATE on schema public"),
        Breakage(
            "GRANT TEMPORARY ON DATABASE doctor TO PUBLIC", "privileges", "PUBLIC has TEMPORARY on database doctor"),
        Breakage(
            "GRANT SELECT ON public.user_logins TO PUBLIC", "privileges", "PUBLIC has SELECT on public.user_logins"),
        Breakage(
            "REVOKE SELECT ON public.user_logins FROM tokenvault_analyst", "privileges",
            "tokenvault_analyst lacks SELECT"),
        Breakage("REVOKE UPDATE ON vault.key_version FROM tokenvault_owner", "privileges", "itself lacks UPDATE"),
        Breakage("ALTER TABLE vault.data_key OWNER TO vault_admin", "owners", "belongs to vault_admin"),
        Breakage(
            "ALTER FUNCTION vault.own_request(uuid) OWNER TO vault_admin", "owners",
            "vault.own_request(uuid) belongs to vault_admin"),
        Breakage("ALTER SCHEMA audit OWNER TO vault_admin", "owners", "audit belongs to vault_admin"),
        Breakage(
            "REVOKE EXECUTE ON FUNCTION vault.force_flush() FROM tokenvault_owner", "privileges",
            "itself lacks EXECUTE on vault.force_flush()"),
        Breakage(
            "ALTER FUNCTION vault.own_request(uuid) RENAME TO own_request_", "privileges",
            "vault.own_request(uuid) is missing", undo: "ALTER FUNCTION vault.own_request_(uuid) RENAME TO own_request"),
        Breakage(
            "ALTER TABLE vault.ingest_file RENAME TO ingest_file_", "privileges", "vault.ingest_file is missing",
            undo: "ALTER TABLE vault.ingest_file_ RENAME TO ingest_file"),
        Breakage("CREATE TABLE vault.copy (t text)", "privileges", "vault.copy is not part of this release"),
        Breakage(
            "ALTER DEFAULT PRIVILEGES FOR ROLE tokenvault_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
            "default-privileges", "called by everyone"),
        Breakage(
            "ALTER DEFAULT PRIVILEGES FOR ROLE tokenvault_owner IN SCHEMA vault GRANT SELECT ON TABLES TO vault_nobody",
            "default-privileges", "SELECT to vault_nobody"),
    ]

    private static let roles = [
        Breakage("ALTER ROLE tokenvault_recoverer LOGIN", "groups", "tokenvault_recoverer has LOGIN"),
        Breakage(
            "ALTER ROLE tokenvault_break_glass RENAME TO kept", "groups", "role tokenvault_break_glass is missing",
            undo: "ALTER ROLE kept RENAME TO tokenvault_break_glass"),
        Breakage("ALTER ROLE tokenvault_owner SUPERUSER", "groups", "tokenvault_owner has SUPERUSER"),
        Breakage("GRANT tokenvault_owner TO tokenvault_ingest", "groups", "tokenvault_ingest is a member of"),
        Breakage(
            "GRANT tokenvault_break_glass TO vault_nobody", "logins", "which gives it nothing", verdict: "warning"),
        Breakage("ALTER ROLE vault_recoverer SUPERUSER", "logins", "vault_recoverer has SUPERUSER"),
        Breakage("GRANT tokenvault_auditor TO vault_auditor WITH ADMIN OPTION", "logins", "may make others members"),
        Breakage("GRANT SELECT ON public.user_logins TO vault_ingest", "logins", "may read public.user_logins back"),
    ]

    private static let code = [
        Breakage("ALTER FUNCTION vault.release RESET search_path", "functions", "without a pinned search_path"),
        Breakage(
            "ALTER FUNCTION vault.begin_run(uuid, text) SECURITY INVOKER", "functions", "no longer runs as its owner"),
        Breakage(
            """
            CREATE FUNCTION vault.back_door() RETURNS bytea SECURITY DEFINER LANGUAGE sql AS 'SELECT NULL::bytea';
            ALTER FUNCTION vault.back_door() OWNER TO tokenvault_owner
            """, "privileges", "vault.back_door() is not part of this release"),
        Breakage(
            """
            CREATE FUNCTION public.f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1';
            ALTER FUNCTION public.f() OWNER TO tokenvault_owner
            """, "functions", "public.f(), outside the vault's schemas"),
        Breakage("ALTER TABLE audit.event DISABLE TRIGGER append_only", "triggers", "its trigger is off"),
        Breakage(
            "ALTER TABLE vault.recovery_draft DISABLE TRIGGER booked", "triggers",
            "booked on vault.recovery_draft is off"),
        Breakage(
            "ALTER TRIGGER booked ON vault.recovery_draft RENAME TO other", "triggers",
            "trigger booked on vault.recovery_draft is missing",
            undo: "ALTER TRIGGER other ON vault.recovery_draft RENAME TO booked"),
        Breakage(
            "CREATE TRIGGER spy AFTER INSERT ON public.user_logins EXECUTE FUNCTION audit.refuse_change()", "triggers",
            "trigger spy on public.user_logins", verdict: "warning"),
        Breakage(
            "ALTER FUNCTION vault.begin_run(uuid, text) SET session_replication_role = replica", "functions",
            "runs with session_replication_role=replica"),
        Breakage("DROP TRIGGER append_only ON audit.head", "triggers", "its trigger is missing"),
        Breakage(
            "CREATE TRIGGER spy AFTER INSERT ON vault.original EXECUTE FUNCTION audit.refuse_change()", "triggers",
            "trigger spy on vault.original"),
        Breakage(
            "CREATE RULE spy AS ON INSERT TO vault.original DO ALSO NOTHING", "triggers", "rule spy on vault.original"),
        Breakage(
            "ALTER FUNCTION vault.require_releasable SECURITY DEFINER", "schema",
            "vault.require_releasable(uuid, text)",
            undo: "ALTER FUNCTION vault.require_releasable SECURITY INVOKER"),
        Breakage(
            "UPDATE vault.schema_migration SET checksum = sha256('other') WHERE number = 3", "migrations",
            "3 (user_logins) is not the file", by: "vault_admin",
            undo: "UPDATE vault.schema_migration SET checksum = NULL"),
        Breakage(
            "INSERT INTO vault.schema_migration (number, name) VALUES (9999, 'later')", "migrations",
            "9999 (later) is not in the folder", by: "vault_admin",
            undo: "DELETE FROM vault.schema_migration WHERE number = 9999"),
        Breakage(
            "INSERT INTO vault.schema_migration (number, name) VALUES (9999, 'later')", "schema-version",
            "the schema is at 9999", by: "vault_ingest",
            undo: "DELETE FROM vault.schema_migration WHERE number = 9999"),
    ]

    private static let server = [
        Breakage("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf()", "durability", "fsync is off"),
        Breakage(
            "ALTER SYSTEM SET full_page_writes = off; SELECT pg_reload_conf()", "durability", "full_page_writes is off"),
        Breakage(
            "ALTER DATABASE doctor SET synchronous_commit = off", "durability", "synchronous_commit is off",
            verdict: "warning"),
        Breakage(
            "ALTER DATABASE doctor SET default_transaction_read_only = on", "durability", "nothing can be stored"),
        Breakage(
            "ALTER DATABASE doctor SET session_replication_role = replica", "durability", "triggers do not fire"),
        Breakage(
            "ALTER DATABASE doctor SET log_parameter_max_length = -1", "statement-logging", "as soon as statements",
            verdict: "warning"),
        Breakage(
            """
            ALTER DATABASE doctor SET log_parameter_max_length = -1;
            ALTER SYSTEM SET log_min_duration_statement = 0; SELECT pg_reload_conf()
            """, "statement-logging", "with their parameters"),
        Breakage(
            "ALTER DATABASE doctor SET log_parameter_max_length_on_error = -1", "statement-logging",
            "a failed statement"),
        Breakage(
            "ALTER DATABASE doctor SET log_error_verbosity = verbose", "statement-logging", "logs the row",
            verdict: "warning"),
        Breakage(
            "ALTER ROLE vault_ingest SET log_parameter_max_length = 100", "role-settings", "vault_ingest runs with"),
        Breakage(
            "ALTER ROLE vault_admin IN DATABASE doctor SET session_replication_role = replica", "role-settings",
            "vault_admin runs with session_replication_role"),
        Breakage(
            "ALTER ROLE vault_ingest SET log_parameter_max_length_on_error = 1", "role-settings",
            "vault_ingest runs with log_parameter_max_length_on_error = 1"),
        Breakage(
            "ALTER ROLE vault_ingest SET log_error_verbosity = verbose", "role-settings",
            "vault_ingest runs with log_error_verbosity = verbose"),
        Breakage(
            "ALTER ROLE vault_recoverer SET synchronous_commit = off", "role-settings",
            "vault_recoverer runs with synchronous_commit = off"),
        Breakage(
            "ALTER ROLE vault_recoverer IN DATABASE doctor SET default_transaction_read_only = on", "role-settings",
            "vault_recoverer runs with default_transaction_read_only = on in database doctor"),
        Breakage(
            "ALTER ROLE vault_ingest SET pgaudit.log_parameter = on", "role-settings",
            "vault_ingest runs with pgaudit.log_parameter = on"),
        Breakage(
            "CREATE LANGUAGE plforeign HANDLER plpgsql_call_handler", "languages", "plforeign", verdict: "warning"),
        Breakage(
            """
            CREATE FUNCTION public.spy() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION public.spy()
            """, "event-triggers", "event trigger spy", verdict: "warning"),
    ]

    private static let state = [
        Breakage(
            "UPDATE vault.key_version SET state = 'deactivated' WHERE purpose = 'token'", "keys",
            "no token key is active",
            by: "vault_auditor", undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'token'"),
        Breakage(
            "UPDATE vault.key_version SET state = 'compromised' WHERE purpose = 'recovery'", "keys",
            "no recovery key is active", by: "vault_auditor",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'recovery'"),
        Breakage(
            "UPDATE vault.key_version SET state = 'compromised' WHERE purpose = 'signing'", "keys",
            "no signing key is active", by: "vault_auditor",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'signing'"),
        Breakage(
            "UPDATE vault.key_version SET state = 'compromised' WHERE purpose = 'recovery'", "keys", "is compromised",
            verdict: "warning", by: "vault_auditor",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'recovery'"),
        Breakage(
            "UPDATE vault.key_version SET domains = '{device_id}' WHERE purpose = 'recovery'", "seals",
            "may open domain ip",
            by: "vault_operator", undo: "UPDATE vault.key_version SET domains = NULL WHERE purpose = 'recovery'"),
        Breakage(
            "CREATE TABLE public.kept AS SELECT * FROM vault.data_key_seal; DELETE FROM vault.data_key_seal", "seals",
            "sealed to no active recovery key", by: "vault_operator",
            undo: "INSERT INTO vault.data_key_seal SELECT * FROM public.kept; DROP TABLE public.kept"),
        Breakage(
            """
            INSERT INTO vault.rotation (id, kind, state)
            VALUES ('00000000-0000-0000-0000-000000000001', 'data-keys', 'running')
            """, "rotation", "data-keys since", verdict: "warning", by: "vault_auditor",
            undo: "DELETE FROM vault.rotation"),
        Breakage(
            """
            INSERT INTO vault.ingest_run (id, source, started_at)
            VALUES ('00000000-0000-0000-0000-000000000001', 'x', now() - interval '2 days')
            """, "runs", "1 ingest runs", verdict: "warning", by: "vault_operator",
            undo: "DELETE FROM vault.ingest_run WHERE source = 'x'"),
        Breakage(
            """
            INSERT INTO vault.ingest_message (queue, message_id, key_version, body_mac, received_at)
            VALUES ('q', 'm', 1, decode(repeat('00', 16), 'hex'), now() - interval '20 days')
            """, "messages", "1 queue messages", verdict: "warning", by: "vault_admin",
            undo: "DELETE FROM vault.ingest_message"),
        Breakage(
            """
            INSERT INTO vault.quarantine (id, source, position, cause, body_mac, data_key, sealed)
            VALUES ('00000000-0000-0000-0000-000000000001', 'q', 'm', 'malformed_json', decode(repeat('00', 16), 'hex'),
                    '00000000-0000-0000-0000-000000000001', decode(repeat('00', 60), 'hex'))
            """, "quarantine", "1 refused records", verdict: "warning", by: "vault_recoverer",
            undo: "DELETE FROM vault.quarantine"),
    ]

    private static let files = [
        Breakage(shell: "chmod 644 $V/ingest.keyring", "ingest-keyring", "has mode 0644"),
        Breakage(shell: "chmod 640 $V/passphrase", "passphrase-file", "has mode 0640"),
        Breakage(shell: "chmod 777 $V", "ingest-keyring", "others may replace"),
        Breakage(
            shell: "ln $V/ingest.keyring $V/second", "ingest-keyring", "has a second name", verdict: "warning",
            undo: "rm $V/second"),
        Breakage(
            shell: "mv $V/ingest.keyring $V/real; ln -s real $V/ingest.keyring", "ingest-keyring", "is a symbolic link",
            undo: "mv $V/real $V/ingest.keyring"),
        Breakage(
            shell: "mv $V/ingest.keyring $V/real", "ingest-keyring", "there is no file",
            undo: "mv $V/real $V/ingest.keyring"),
    ]

    private static let keyrings = [
        Breakage(
            "UPDATE vault.key_version SET state = 'deactivated' WHERE purpose = 'token'", "keyring-database",
            "is active in the ingest keyring, and deactivated in the database: tokens", by: "vault_ingest",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'token'"),
        Breakage(
            "UPDATE vault.key_version SET state = 'compromised' WHERE purpose = 'recovery'", "keyring-database",
            "compromised in the database: new data keys", by: "vault_ingest",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'recovery'"),
        Breakage(
            "UPDATE vault.key_version SET state = 'deactivated' WHERE purpose = 'signing'", "keyring-database",
            "deactivated in the database: nothing that it signs", by: "vault_ingest",
            undo: "UPDATE vault.key_version SET state = 'active' WHERE purpose = 'signing'"),
        Breakage(
            "CREATE TABLE public.kept AS SELECT * FROM vault.key_version; DELETE FROM vault.key_version",
            "keyring-database", "is unknown to this database", by: "vault_ingest",
            undo: "INSERT INTO vault.key_version SELECT * FROM public.kept; DROP TABLE public.kept"),
        Breakage(
            """
            INSERT INTO vault.key_version (id, purpose, name, version, state)
            VALUES ('00000000-0000-0000-0000-000000000001', 'token', 'token-v9', 9, 'active')
            """, "keyring-database", "token-v9 is active in the database, and not in the ingest keyring",
            by: "vault_ingest", undo: "DELETE FROM vault.key_version WHERE version = 9"),
        Breakage(
            """
            INSERT INTO vault.key_version (id, purpose, name, state, public_key)
            VALUES ('00000000-0000-0000-0000-000000000001', 'recovery', 'other', 'active', sha256('x'))
            """, "keyring-database", "recovery key other is active in the database, and the ingest keyring does not",
            verdict: "warning", by: "vault_ingest", undo: "DELETE FROM vault.key_version WHERE name = 'other'"),
    ]

    /// Lines of pg_hba.conf that would let somebody in whom nobody made sure of.
    private static let authentication = [
        ("local all all trust", "every user of the server's host is any role", "warning"),
        ("host all all 10.0.0.0/8 trust", "trusts 10.0.0.0: whoever reaches the server is any role", "failure"),
        ("host all all 127.0.0.1/32 trust", "trusts 127.0.0.1: every user of the server's host", "warning"),
        ("hostssl doctor all 10.0.0.0/8 ident", "believes what 10.0.0.0 says about its users", "failure"),
        ("host all all 10.0.0.0/8 password", "which the server then sees, and the network, too", "failure"),
        ("hostssl all all 10.0.0.0/8 password", "which the server then sees", "warning"),
        ("hostssl all all 10.0.0.0/8 md5", "allows md5 for 10.0.0.0", "warning"),
        ("host all all all scram-sha-256", "lets all in without TLS", "warning"),
        ("host all all 10.0.0.0/8 nonsense", "cannot be read", "failure"),
    ].map { (line, named, verdict) in
        Breakage(
            shell: "echo '\(line)' >>$D/pg_hba.conf", "client-authentication", named, verdict: verdict, by: "postgres",
            undo: Patient.authentication)
    }
}
