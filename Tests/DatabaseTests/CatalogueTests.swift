import Foundation
import Postgres
import TestSupport
import Testing

/// Something that must not be so, and which verify script finds it.
struct Breakage: Sendable, CustomTestStringConvertible {
    let sql: String
    /// Its verify script, and what that must name.
    let script: String
    let named: String

    var testDescription: String { sql }

    init(_ sql: String, _ script: String, _ named: String) {
        self.sql = sql
        self.script = script
        self.named = named
    }

    static let all = [
        Breakage("ALTER TABLE vault.original DROP COLUMN created_at", "0001", "vault.original"),
        Breakage("ALTER TABLE vault.original ADD COLUMN plaintext text", "0001", "plaintext"),
        Breakage("ALTER TABLE vault.key_version ALTER COLUMN state DROP NOT NULL", "0001", "vault.key_version"),
        Breakage("GRANT SELECT ON vault.original TO tokenvault_ingest", "0001", "tokenvault_ingest SELECT"),
        Breakage("GRANT SELECT (sealed) ON vault.original TO PUBLIC", "0001", "PUBLIC SELECT(sealed)"),
        Breakage("REVOKE INSERT ON vault.original FROM tokenvault_ingest", "0001", "vault.original grants nothing"),
        Breakage("ALTER TABLE vault.data_key OWNER TO vault_admin", "0001", "belongs to vault_admin"),
        Breakage("GRANT USAGE ON SCHEMA vault TO tokenvault_analyst", "0001", "tokenvault_analyst has USAGE"),
        Breakage("GRANT CREATE ON SCHEMA public TO PUBLIC", "0001", "PUBLIC has CREATE on schema public"),
        Breakage("GRANT TEMPORARY ON DATABASE dbt_verify TO PUBLIC", "0001", "PUBLIC has TEMPORARY"),
        Breakage("GRANT tokenvault_owner TO tokenvault_ingest", "0001", "tokenvault_ingest is a member"),
        Breakage(
            "CREATE FUNCTION vault.back_door() RETURNS bytea SECURITY DEFINER LANGUAGE sql AS 'SELECT NULL::bytea'",
            "0001",
            "back_door"),
        Breakage("CREATE TABLE vault.t (i int); GRANT SELECT ON vault.t TO PUBLIC", "0001", "PUBLIC has SELECT on"),
        Breakage("ALTER TABLE audit.event DISABLE TRIGGER append_only", "0002", "audit.event is no longer"),
        Breakage("ALTER TABLE audit.head ENABLE TRIGGER append_only", "0002", "audit.head is no longer"),
        Breakage("DROP TRIGGER append_only ON audit.event", "0002", "audit.event is no longer"),
        Breakage("GRANT EXECUTE ON FUNCTION audit.append TO tokenvault_recoverer", "0002", "audit.append("),
        Breakage("ALTER TABLE audit.event ALTER COLUMN reason TYPE varchar(1)", "0002", "audit.event has the columns"),
        Breakage("GRANT SELECT ON public.user_logins TO tokenvault_ingest", "0003", "tokenvault_ingest SELECT"),
        Breakage("GRANT SELECT ON public.user_logins TO PUBLIC", "0003", "PUBLIC SELECT"),
        Breakage("REVOKE SELECT ON public.user_logins FROM tokenvault_analyst", "0003", "tokenvault_analyst SELECT"),
        Breakage("DROP VIEW public.duplicate_ips", "0003", "public.duplicate_ips is missing"),
        Breakage("ALTER TABLE public.user_logins RENAME COLUMN locale TO place", "0003", "locale"),
        Breakage("GRANT SELECT ON vault.quarantine TO tokenvault_operator", "0004", "tokenvault_operator SELECT,"),
        Breakage("DROP FUNCTION vault.find_file", "0004", "vault.find_file(text) is missing"),
        Breakage(
            "ALTER FUNCTION vault.require_releasable SECURITY DEFINER", "0013", "vault.require_releasable(uuid, text)"),
        Breakage("ALTER FUNCTION vault.release RESET search_path", "0010", "no pinned search_path"),
        Breakage("GRANT EXECUTE ON FUNCTION vault.old_token_places TO tokenvault_ingest", "0017", "old_token_places"),
        Breakage("ALTER TABLE vault.rotation DROP COLUMN files", "0015", "vault.rotation has the columns"),
        Breakage("GRANT SELECT ON vault.token_move TO tokenvault_auditor", "0014", "vault.token_move grants"),
        Breakage("ALTER FUNCTION vault.store_successors SECURITY INVOKER", "0016", "store_successors"),
        Breakage("GRANT EXECUTE ON FUNCTION vault.is_all_moved TO tokenvault_auditor", "0016", "is_all_moved"),
        Breakage("ALTER FUNCTION vault.release SET search_path = public, pg_catalog", "0010", "no pinned search_path"),
        Breakage("GRANT EXECUTE ON FUNCTION vault.release TO tokenvault_operator", "0010", "vault.release("),
        Breakage("GRANT EXECUTE ON FUNCTION vault.release TO PUBLIC", "0010", "vault.release("),
        Breakage(
            "CREATE OR REPLACE FUNCTION vault.require_releasable(p_request uuid, p_kind text) RETURNS void "
                + "LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS 'BEGIN END'", "0013",
            "vault.require_releasable(uuid, text) has another body"),
        Breakage("DROP TABLE vault.approval CASCADE", "0009", "vault.approval is missing"),
        Breakage("GRANT EXECUTE ON FUNCTION vault.set_policy TO tokenvault_recoverer", "0009", "vault.set_policy("),
        Breakage("GRANT EXECUTE ON FUNCTION vault.decide_request TO tokenvault_operator", "0009", "decide_request("),
        Breakage("GRANT UPDATE ON vault.policy TO tokenvault_operator", "0009", "tokenvault_operator UPDATE"),
        Breakage("GRANT INSERT ON vault.approval TO tokenvault_approver", "0009", "tokenvault_approver INSERT"),
        Breakage("GRANT tokenvault_recoverer TO tokenvault_break_glass", "0001", "tokenvault_break_glass is a member"),
    ]
}

@Suite("Catalogue")
struct CatalogueTests {
    private static let shared = Result { try TestVault("dbt_verify") }
    private static let scripts = try? FileManager.default
        .contentsOfDirectory(atPath: Repository.path("migrations/verify")).filter { $0.hasSuffix(".sql") }.sorted()

    @Test("Every migration has a verify script, and all of them pass on a fresh vault, whoever runs them")
    func verifyPasses() throws {
        let vault = try Self.shared.get()
        let scripts = try #require(Self.scripts)
        let migrations = try FileManager.default.contentsOfDirectory(atPath: Repository.path("migrations"))
            .filter { $0.hasSuffix(".sql") && $0 != "roles.sql" }.sorted()
        #expect(scripts == migrations)
        for script in scripts {
            for login in ["vault_admin", "vault_nobody"] {
                try vault.cluster.psqlFile(
                    user: login, database: vault.name, Repository.path("migrations/verify/\(script)"))
            }
        }
    }

    @Test("No function asks the clock of the transaction, which stands still in one held open")
    func clock() throws {
        let vault = try Self.shared.get()
        let asking = """
            SELECT function.oid::regprocedure FROM pg_proc AS function
            WHERE function.pronamespace IN ('vault'::regnamespace, 'audit'::regnamespace)
              AND regexp_replace(function.prosrc, '--[^\\n]*', '', 'g')
                  ~* '\\m(now *\\(|current_(time|date)|local(time|date)|(transaction|statement)_timestamp|timeofday)'
            """
        #expect(try vault.psql("postgres", asking) == "")
        // The search finds one when there is one. Rolled back: other tests look at this vault meanwhile.
        let planted = "CREATE FUNCTION vault.late() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'"
        #expect(try vault.psql("postgres", "BEGIN; \(planted); \(asking); ROLLBACK") == "vault.late()")
    }

    @Test("A verify script fails when something is broken, and names it", arguments: Breakage.all)
    func verifyFails(_ breakage: Breakage) throws {
        let vault = try Self.shared.get()
        let script = try #require(Self.scripts?.first { $0.hasPrefix(breakage.script) })
        let finished = try Command(
            PrivateCluster.psqlProgram,
            [
                "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d",
                vault.cluster.connectionString(user: "postgres", database: vault.name),
            ],
            input: Data(
                """
                BEGIN;
                \(breakage.sql);
                \\echo broken
                \\i \(Repository.path("migrations/verify/\(script)"))
                """.utf8)
        ).run()
        #expect(finished.standardOutput == "broken\n", "\(finished.standardError)")
        #expect(finished.standardError.contains("TV020"), "\(finished.standardError)")
        #expect(finished.standardError.contains(breakage.named), "\(finished.standardError)")
    }

    @Test("Every SECURITY DEFINER function pins its search_path, with pg_temp last, and is closed to PUBLIC")
    func definerFunctions() throws {
        #expect(try unsafeFunctions() == "")
        #expect(
            try unsafeFunctions(
                after: "CREATE FUNCTION vault.f() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1';")
                == "vault.f()")
        #expect(
            try unsafeFunctions(
                after: """
                    CREATE FUNCTION public.f() RETURNS int SECURITY DEFINER SET search_path = pg_temp, pg_catalog
                    LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION public.f() FROM PUBLIC;
                    """) == "f()")
        #expect(
            try unsafeFunctions(after: "GRANT EXECUTE ON FUNCTION vault.release TO PUBLIC;")
                == "vault.release(uuid,integer,integer)")
    }

    @Test("Everything in the vault's schemas belongs to tokenvault_owner, which cannot log in")
    func owners() throws {
        let vault = try Self.shared.get()
        let strangers = try vault.psql(
            "postgres",
            """
            SELECT object FROM (
                SELECT oid::regclass::text, relnamespace, relowner FROM pg_class
                UNION ALL SELECT oid::regprocedure::text, pronamespace, proowner FROM pg_proc
                UNION ALL SELECT oid::regtype::text, typnamespace, typowner FROM pg_type
            ) AS found (object, namespace, owner)
            WHERE namespace IN ('vault'::regnamespace, 'audit'::regnamespace) AND owner <> 'tokenvault_owner'::regrole
            UNION ALL
            SELECT rolname FROM pg_roles
            WHERE rolname LIKE 'tokenvault\\_%'
              AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
            """)
        #expect(strangers == "")
    }

    /// The functions that break the rule, in any schema, after a change that is rolled back.
    private func unsafeFunctions(after change: String = "") throws -> String {
        try Self.shared.get().psql(
            "postgres",
            """
            BEGIN; \(change)
            SELECT function.oid::regprocedure
            FROM pg_proc AS function JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
            WHERE namespace.nspname NOT IN ('pg_catalog', 'information_schema') AND function.prosecdef
              AND ('search_path=pg_catalog, pg_temp' <> ALL (coalesce(function.proconfig, '{}'))
                   OR has_function_privilege('public', function.oid, 'execute'));
            ROLLBACK;
            """)
    }
}
