import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Migrations with psql", .serialized)
struct MigrationTests {
    private static let exercise = """
        CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
            masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
        INSERT INTO public.user_logins VALUES ('u1', 'ios', 'm1', 'm2', NULL, 2003000, '2026-01-02');
        """
    private let cluster: PrivateCluster

    init() throws { cluster = try PrivateCluster.shared.get() }

    private func files() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: Repository.path("migrations"))
            .filter { $0.hasSuffix(".sql") && $0 != "roles.sql" }.sorted().map { Repository.path("migrations/\($0)") }
    }

    private func migrate(_ database: String) throws {
        try cluster.psqlFile(user: "vault_admin", database: database, Repository.path("migrations/roles.sql"))
        for file in try files() { try cluster.psqlFile(user: "vault_admin", database: database, file) }
    }

    private func verify(_ database: String) throws {
        for file in try files() {
            try cluster.psqlFile(
                user: "vault_admin", database: database, file.replacing("migrations/", with: "migrations/verify/"))
        }
    }

    @Test("The administrator of these tests is no superuser")
    func administrator() throws {
        let attributes = try cluster.psql(
            user: "postgres", database: "postgres",
            "SELECT rolsuper, rolcreatedb, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = 'vault_admin'")
        #expect(attributes == "f|f|f|t")
    }

    @Test("The table of the original exercise is adopted: same file, same rows, same owner, no column more")
    func adoption() throws {
        try cluster.makeDatabase("dbt_adopt")
        let look = """
            SELECT pg_relation_filenode('public.user_logins'), relowner::regrole, relnatts, relhasindex, relhastriggers
            FROM pg_class WHERE oid = 'public.user_logins'::regclass; TABLE public.user_logins;
            """
        try cluster.psql(user: "vault_admin", database: "dbt_adopt", Self.exercise)
        let before = try cluster.psql(user: "vault_admin", database: "dbt_adopt", look)
        try migrate("dbt_adopt")
        #expect(try cluster.psql(user: "vault_admin", database: "dbt_adopt", look) == before)
        try verify("dbt_adopt")
        try cluster.makeLogins()
        try cluster.psql(
            user: "vault_ingest", database: "dbt_adopt",
            "INSERT INTO public.user_logins VALUES ('u2', 'ios', 'm1', 'm2', NULL, 2003000, '2026-01-05')")
        for (view, token) in [("duplicate_ips", "m1"), ("duplicate_devices", "m2")] {
            let rows = try cluster.psql(user: "vault_analyst", database: "dbt_adopt", "TABLE public.\(view)")
            #expect(rows == "\(token)|2|2|2026-01-02|2026-01-05")
        }
    }

    @Test(
        "A table of that name with another shape, owner or kind is refused before anything is changed",
        arguments: [
            "CREATE TABLE public.user_logins (user_id varchar(128))",
            exercise.replacing("integer", with: "bigint"),
            exercise.replacing("locale varchar(32)", with: "locale varchar(31)"),
            exercise.replacing("locale varchar(32)", with: "locale varchar(32) NOT NULL DEFAULT 'x'"),
            exercise.replacing(
                "masked_ip varchar(256),\n    masked_device_id varchar(256)",
                with: "masked_device_id varchar(256),\n    masked_ip varchar(256)"),
            exercise.replacing("create_date date", with: "create_date date, more int NOT NULL DEFAULT 1")
                + "ALTER TABLE public.user_logins ALTER more DROP DEFAULT",
            "CREATE VIEW public.user_logins AS SELECT 1 AS user_id",
            exercise + "ALTER TABLE public.user_logins ENABLE ROW LEVEL SECURITY",
        ])
    func otherShape(_ table: String) throws {
        try refused(table, by: "vault_admin")
    }

    @Test("A table of that name that belongs to someone else is refused before anything is changed")
    func otherOwner() throws {
        try refused(Self.exercise, by: "postgres")
    }

    private func refused(_ table: String, by login: String) throws {
        let database = "dbt_shape_\(UInt32.random(in: 0...UInt32.max))"
        try cluster.makeDatabase(database)
        try cluster.psql(
            user: login, database: database,
            table.replacing("'u1', 'ios', 'm1', 'm2', NULL", with: "'u1', 'ios', 'm1', 'm2', 'en'"))
        try cluster.psqlFile(user: "vault_admin", database: database, Repository.path("migrations/roles.sql"))
        let vault = TestVault(existing: database, on: cluster)
        let finished = try vault.session("vault_admin", "\\i \(try files()[0])")
        #expect(finished.states.first == "TV020", "\(finished.standardError)")
        #expect(
            try vault.psql("postgres", "SELECT count(*) FROM pg_namespace WHERE nspname IN ('vault', 'audit')") == "0")
    }

    @Test("roles.sql may run again, before and after the migrations, and changes nothing")
    func rolesAgain() throws {
        let vault = try TestVault("dbt_again")
        let look = """
            SELECT datacl FROM pg_database WHERE datname = 'dbt_again'; SELECT nspname, nspacl FROM pg_namespace ORDER BY 1;
            SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members
            WHERE roleid::regrole::text LIKE 'tokenvault%' AND member = 'vault_admin'::regrole ORDER BY 1, 2;
            """
        let before = try vault.psql("postgres", look)
        try vault.cluster.psqlFile(user: "vault_admin", database: "dbt_again", Repository.path("migrations/roles.sql"))
        #expect(try vault.psql("postgres", look) == before)
        try verify("dbt_again")
    }

    @Test("A group role that has more than a group may have is refused")
    func unsafeGroup() throws {
        let cluster = try PrivateCluster(purpose: "dbg")
        defer { cluster.stop() }
        try cluster.psql(user: "postgres", database: "postgres", "CREATE ROLE tokenvault_ingest LOGIN")
        let vault = TestVault(existing: "tokenvault", on: cluster)
        let finished = try vault.session("vault_admin", "\\i \(Repository.path("migrations/roles.sql"))")
        #expect(finished.states == ["TV020"])
        #expect(try vault.psql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'tokenvault_owner'") == "0")
    }

    @Test("An administrator who may keeps values out of the server's log, for every session of the database")
    func logSettings() throws {
        let cluster = try PrivateCluster(purpose: "dbg", settings: "log_statement = all")
        defer { cluster.stop() }
        try cluster.psql(
            user: "postgres", database: "postgres",
            "GRANT SET ON PARAMETER log_parameter_max_length, log_parameter_max_length_on_error, log_error_verbosity "
                + "TO vault_admin")
        let vault = try TestVault("dbt_log", on: cluster)
        var connection = try vault.connect("vault_nobody")
        let rows = try connection.run(
            Statement(
                "reading settings",
                """
                SELECT current_setting('log_parameter_max_length'), current_setting('log_parameter_max_length_on_error'),
                       current_setting('log_error_verbosity'), length($1)
                """, .text("not-for-the-log")))
        #expect((0..<3).map { rows.text(row: 0, column: $0) } == ["0", "0", "terse"])
        var elsewhere = try cluster.connect(user: "vault_nobody", database: "postgres")
        try elsewhere.run(Statement("reading", "SELECT length($1)", .text("seen-in-the-log")))
        let log = try String(contentsOf: cluster.serverLog, encoding: .utf8)
        #expect(log.contains("seen-in-the-log"), "without the settings the value is logged")
        #expect(!log.contains("not-for-the-log"))
    }

    @Test("A migration applied twice or out of order is refused whole")
    func order() throws {
        let vault = try TestVault("dbt_order")
        #expect(try vault.psql("vault_ingest", "SELECT vault.schema_version()") == String(try files().count))
        let third = try String(contentsOfFile: files()[2], encoding: .utf8)
        let again = try vault.session(
            "vault_admin", third.replacing("CREATE VIEW", with: "CREATE OR REPLACE VIEW"))
        #expect(again.states.contains("TV020"), "\(again.standardError)")
        let gap = try vault.session("vault_admin", "BEGIN; SELECT vault.record_migration(99, 'later'); COMMIT;")
        #expect(gap.states == ["TV020"])
    }
}
