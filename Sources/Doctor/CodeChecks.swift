import Postgres
import VaultStore

/// Functions, triggers and default privileges: what runs inside the database, as whom, and for whom.
enum CodeChecks {
    private static let searchPath = "search_path=pg_catalog, pg_temp"

    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let functions = try store.functions()
        for function in functions { check(function, &findings) }
        findings.close(
            "functions", "\(functions.count) functions, their search_path pinned where they run as the owner")
        let code = try store.codeOnTables()
        checkAppendOnly(code, &findings)
        checkOwn(code, &findings)
        checkForeign(code, &findings)
        findings.close("triggers", "the log refuses changes, and no other trigger or rule stands on the vault's tables")
        try checkDefaults(&store, &findings)
    }

    private static func check(_ function: FunctionFacts, _ findings: inout Findings) {
        guard function.isVaults else {
            findings.failure(
                "functions", "\(function.name), outside the vault's schemas, runs as tokenvault_owner",
                .sql("ALTER FUNCTION \(function.name) SECURITY INVOKER;", as: .administrator))
            return
        }
        guard RoleMatrix.functions[function.name] != nil else { return }  // reported with the privileges
        if function.runsAsOwner, !function.settings.contains(searchPath) {
            findings.failure(
                "functions", "\(function.name) runs as its owner without a pinned search_path",
                .sql("ALTER FUNCTION \(function.name) SET search_path = pg_catalog, pg_temp;", as: .administrator))
        }
        if !function.runsAsOwner, RoleMatrix.functions[function.name]?.isEmpty == false {
            findings.failure(
                "functions", "\(function.name) no longer runs as its owner, so its callers cannot use it",
                .sql("ALTER FUNCTION \(function.name) SECURITY DEFINER;", as: .administrator))
        }
        for setting in function.settings where !setting.hasPrefix("search_path=") && !setting.hasPrefix("work_mem=") {
            let name = setting.prefix { $0 != "=" }
            if ["session_replication_role", "row_security", "role"].contains(String(name)) {
                findings.failure(
                    "functions", "\(function.name) runs with \(setting)",
                    .sql(
                        "ALTER FUNCTION \(function.name) RESET \(name);",
                        as: name == "session_replication_role" ? .superuser : .administrator))
            }
        }
    }

    private static func checkAppendOnly(_ code: [TableCode], _ findings: inout Findings) {
        for guarded in RoleMatrix.appendOnly {
            let found = code.first {
                $0.table == guarded.table && $0.name == "append_only" && $0.type == guarded.type
                    && $0.calls == "audit.refuse_change"
            }
            let enable = "ALTER TABLE \(guarded.table) ENABLE ALWAYS TRIGGER append_only;"
            let advice = " Someone may have changed the log: run `tokenvault audit verify`"
            guard let found else {
                findings.failure(
                    "triggers", "\(guarded.table) is no longer append-only: its trigger is missing.\(advice)",
                    .sql(
                        "CREATE OR REPLACE TRIGGER append_only BEFORE \(guarded.events) ON \(guarded.table) "
                            + "FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change(); " + enable,
                        as: .administrator))
                continue
            }
            if found.enabled != "A" {
                findings.failure(
                    "triggers", "\(guarded.table) is no longer append-only: its trigger is off.\(advice)",
                    .sql(enable, as: .administrator))
            }
        }
    }

    /// Triggers of the vault's own that are off or gone, beside those of the log.
    private static func checkOwn(_ code: [TableCode], _ findings: inout Findings) {
        let logs = RoleMatrix.appendOnly.map { "\($0.table).append_only" }
        for path in RoleMatrix.triggers.subtracting(logs).sorted() {
            let dot = path.lastIndex(of: ".") ?? path.startIndex
            let (table, name) = (path[..<dot], path[path.index(after: dot)...])
            guard let found = code.first(where: { $0.table == table && $0.name == name && $0.kind == "trigger" }) else {
                findings.failure(
                    "triggers", "trigger \(name) on \(table) is missing",
                    .advice("run its CREATE TRIGGER from the folder migrations again, as tokenvault_owner"))
                continue
            }
            if found.enabled == "D" || found.enabled == "R" {
                findings.failure(
                    "triggers", "trigger \(name) on \(table) is off",
                    .sql("ALTER TABLE \(table) ENABLE TRIGGER \(name);", as: .administrator))
            }
        }
    }

    private static func checkForeign(_ code: [TableCode], _ findings: inout Findings) {
        for item in code {
            if item.kind == "trigger", RoleMatrix.triggers.contains("\(item.table).\(item.name)") { continue }
            let message =
                "\(item.kind) \(item.name) on \(item.table) is not the vault's, and sees what is written there"
            let remedy = Finding.Remedy.sql(
                "DROP \(item.kind.uppercased()) \(item.name) ON \(item.table);", as: .administrator)
            if item.table.hasPrefix("public.") {
                findings.warning("triggers", message, remedy)
            } else {
                findings.failure("triggers", message, remedy)
            }
        }
    }

    private static func checkDefaults(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let rules = try store.defaultPrivileges()
        let objects = ["r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS"]
        let closed = rules.contains { $0.schema == nil && $0.kind == "f" }
        if !closed {
            findings.failure(
                "default-privileges", "a new function of tokenvault_owner could be called by everyone",
                .sql(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE tokenvault_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
                    as: .administrator))
        }
        for rule in rules {
            guard let grantee = rule.grantee else { continue }
            let place = rule.schema.map { " IN SCHEMA \($0)" } ?? ""
            let kind = objects[rule.kind] ?? "TABLES"
            findings.failure(
                "default-privileges",
                "new \(kind.lowercased()) of tokenvault_owner would grant \(rule.privilege) to \(grantee)",
                .sql(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE tokenvault_owner\(place) REVOKE \(rule.privilege) ON \(kind) "
                        + "FROM \(grantee);", as: .administrator))
        }
        findings.close("default-privileges", "new objects of tokenvault_owner grant nothing to others")
    }
}
