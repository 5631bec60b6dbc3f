import Postgres
import TestSupport
import Testing
import VaultStore

@Suite("Role matrix")
struct RoleMatrixTests {
    private static let shared = Result { () throws -> TestVault in
        let vault = try TestVault("dbt_roles")
        for group in RoleMatrix.groups {
            let membership = group == "public" ? "" : " IN ROLE tokenvault_\(group)"
            try vault.psql("vault_admin", "CREATE ROLE matrix_\(group) LOGIN\(membership)")
        }
        return vault
    }

    @Test("Every table and view grants what the matrix says, and nothing else")
    func relations() throws {
        var connection = try Self.shared.get().connect("vault_admin")
        let rows = try connection.run(
            Statement(
                "reading privileges",
                """
                SELECT namespace.nspname || '.' || class.relname, substr(login.rolname, 8),
                       array_to_string(ARRAY(
                           SELECT privilege
                           FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
                                             'TRIGGER']) AS privilege
                           WHERE has_table_privilege(login.oid, class.oid, privilege)), ',')
                FROM pg_class AS class
                JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
                CROSS JOIN pg_roles AS login
                WHERE login.rolname LIKE 'matrix\\_%' AND class.relkind IN ('r', 'v', 'm', 'p', 'f')
                  AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                """))
        #expect(matrix(of: rows) == complete(RoleMatrix.relations))
    }

    @Test("Columns are granted one by one only where the matrix says so")
    func columns() throws {
        var connection = try Self.shared.get().connect("vault_admin")
        let rows = try connection.run(
            Statement(
                "reading privileges",
                """
                SELECT namespace.nspname || '.' || class.relname || '.' || attribute.attname, substr(login.rolname, 8),
                       array_to_string(ARRAY(
                           SELECT privilege
                           FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
                           WHERE has_column_privilege(login.oid, class.oid, attribute.attnum, privilege)
                             AND NOT has_table_privilege(login.oid, class.oid, privilege)), ',')
                FROM pg_class AS class
                JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
                JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND NOT attribute.attisdropped
                CROSS JOIN pg_roles AS login
                WHERE login.rolname LIKE 'matrix\\_%' AND class.relkind IN ('r', 'v', 'm', 'p', 'f')
                  AND namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                """))
        let held = matrix(of: rows).filter { !$0.value.values.allSatisfy(\.isEmpty) }
        #expect(held == complete(RoleMatrix.columns))
    }

    @Test("Every function may be called by whom the matrix says, and nobody else")
    func functions() throws {
        var connection = try Self.shared.get().connect("vault_admin")
        let rows = try connection.run(
            Statement(
                "reading privileges",
                """
                SELECT namespace.nspname || '.' || function.proname || '(' || oidvectortypes(function.proargtypes) || ')',
                       substr(login.rolname, 8),
                       CASE WHEN has_function_privilege(login.oid, function.oid, 'EXECUTE') THEN 'EXECUTE' ELSE '' END
                FROM pg_proc AS function
                JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
                CROSS JOIN pg_roles AS login
                WHERE login.rolname LIKE 'matrix\\_%'
                  AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
                """))
        let expected = RoleMatrix.functions.mapValues { callers in
            Dictionary(uniqueKeysWithValues: callers.map { ($0, Set(["EXECUTE"])) })
        }
        #expect(matrix(of: rows) == complete(expected))
    }

    @Test("Every trigger is listed, and every trigger listed is there")
    func triggers() throws {
        let triggers = try Self.shared.get().psql(
            "vault_admin",
            """
            SELECT trigger.tgrelid::regclass || '.' || trigger.tgname FROM pg_trigger AS trigger
            WHERE NOT trigger.tgisinternal
            """)
        #expect(Set(triggers.split(separator: "\n").map(String.init)) == RoleMatrix.triggers)
    }

    @Test("Every schema and the database grant what the matrix says, and nothing else")
    func schemasAndDatabase() throws {
        var connection = try Self.shared.get().connect("vault_admin")
        let schemas = try connection.run(
            Statement(
                "reading privileges",
                """
                SELECT namespace.nspname, substr(login.rolname, 8),
                       array_to_string(ARRAY(
                           SELECT privilege FROM unnest(ARRAY['USAGE', 'CREATE']) AS privilege
                           WHERE has_schema_privilege(login.oid, namespace.oid, privilege)), ',')
                FROM pg_namespace AS namespace CROSS JOIN pg_roles AS login
                WHERE login.rolname LIKE 'matrix\\_%' AND namespace.nspname !~ '^(pg_|information_schema)'
                """))
        #expect(matrix(of: schemas) == complete(RoleMatrix.schemas))
        let database = try connection.run(
            Statement(
                "reading privileges",
                """
                SELECT 'database', substr(login.rolname, 8),
                       array_to_string(ARRAY(
                           SELECT privilege FROM unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) AS privilege
                           WHERE has_database_privilege(login.oid, current_database(), privilege)), ',')
                FROM pg_roles AS login WHERE login.rolname LIKE 'matrix\\_%'
                """))
        #expect(matrix(of: database) == complete(["database": RoleMatrix.database]))
    }

    @Test("Privileges hold when really tried", arguments: RoleMatrix.groups)
    func reallyTried(_ group: String) throws {
        var connection = try Self.shared.get().connect("matrix_\(group)")
        for (relation, grants) in RoleMatrix.relations {
            let held = grants[group] ?? []
            let byColumn = RoleMatrix.columns.contains { $0.key.hasPrefix("\(relation).") && $0.value[group] != nil }
            for (privilege, script) in [
                ("SELECT", "SELECT * FROM \(relation) LIMIT 0"),
                ("INSERT", "INSERT INTO \(relation) SELECT FROM generate_series(1, 0)"),
                ("UPDATE", update(relation)),
                ("DELETE", "DELETE FROM \(relation) WHERE false"),
                ("TRUNCATE", "BEGIN; TRUNCATE \(relation); ROLLBACK"),
                ("LOCK", "BEGIN; LOCK TABLE \(relation) IN ACCESS EXCLUSIVE MODE; ROLLBACK"),
                ("TRIGGER", "CREATE TRIGGER t AFTER INSERT ON \(relation) EXECUTE FUNCTION audit.refuse_change()"),
                ("OWN", "ALTER TABLE \(relation) SET SCHEMA public"),
            ] where !held.contains(privilege) && !(byColumn && privilege == "INSERT") {
                let state = connection.refusal(of: script)
                connection.rollback()
                // What no view can do fails before it is forbidden.
                let isView =
                    relation.hasPrefix("public.duplicate")
                    || ["vault.token_pair", "vault.rotation_pair"].contains(relation)
                #expect(
                    state == "42501" || isView && ["42809", "55000"].contains(state),
                    "\(group): \(privilege) on \(relation): \(state ?? "done")")
            }
        }
    }

    @Test("Nobody may shadow, impersonate, or step around", arguments: RoleMatrix.groups)
    func forbiddenActs(_ group: String) throws {
        var connection = try Self.shared.get().connect("matrix_\(group)")
        for act in [
            "CREATE TEMP TABLE t (i int)", "CREATE TABLE public.t (i int)", "CREATE SCHEMA mine",
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE vault.t (i int)", "CREATE TABLE audit.t (i int)",
            "SET ROLE tokenvault_owner", "SET ROLE vault_admin", "SET SESSION AUTHORIZATION vault_admin",
            "SET session_replication_role = replica", "ALTER ROLE matrix_\(group) SUPERUSER",
            "GRANT tokenvault_owner TO matrix_\(group)", "CREATE ROLE another",
            "ALTER TABLE audit.event DISABLE TRIGGER ALL", "DROP TABLE audit.event", "DROP SCHEMA vault CASCADE",
            "CREATE OR REPLACE FUNCTION audit.field(text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
            "ALTER FUNCTION vault.release(uuid, int, int) SECURITY INVOKER",
            "ALTER DEFAULT PRIVILEGES FOR ROLE tokenvault_owner GRANT ALL ON TABLES TO PUBLIC",
            "COPY (SELECT 1) TO PROGRAM 'true'", "COPY (SELECT 1) TO '/tmp/tokenvault-test'",
            "SELECT pg_read_file('/etc/passwd')", "CREATE EXTENSION file_fdw",
        ] {
            let state = connection.refusal(of: act)
            #expect(state == "42501", "\(group): \(act)")
        }
    }

    /// An UPDATE of the relation's first column, whatever it is called.
    private func update(_ relation: String) -> String {
        """
        DO $$ BEGIN
            EXECUTE (SELECT format('UPDATE \(relation) SET %I = %I WHERE false', attribute.attname, attribute.attname)
                     FROM pg_attribute AS attribute
                     JOIN pg_class AS class ON class.oid = attribute.attrelid AND attribute.attnum = 1
                     JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
                     WHERE namespace.nspname || '.' || class.relname = '\(relation)');
        END $$
        """
    }

    /// Object → login → privileges, of rows (object, login, list).
    private func matrix(of rows: borrowing Rows) -> [String: [String: Set<String>]] {
        var matrix: [String: [String: Set<String>]] = [:]
        for row in 0..<rows.count {
            let list = rows.text(row: row, column: 2)!.split(separator: ",").map(String.init)
            matrix[rows.text(row: row, column: 0)!, default: [:]][rows.text(row: row, column: 1)!] = Set(list)
        }
        return matrix
    }

    /// The same shape for what is expected: groups without a grant have the empty set.
    private func complete(_ expected: [String: [String: Set<String>]]) -> [String: [String: Set<String>]] {
        expected.mapValues { grants in
            Dictionary(uniqueKeysWithValues: RoleMatrix.groups.map { ($0, grants[$0] ?? []) })
        }
    }
}
