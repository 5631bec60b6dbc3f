import Postgres
import VaultStore

/// The server: does it keep what it commits, and keep values out of its log.
enum ServerChecks {
    /// The oldest release whose functions the migrations use.
    private static let oldestVersion = 130_000

    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        checkVersion(store.serverVersion, &findings)
        if try store.isStandby() {
            findings.failure(
                "standby", "the server is a read-only standby: nothing can be stored or recovered here",
                .advice("connect to the primary (libpq: target_session_attrs=read-write)"))
        }
        findings.close("standby", "the server takes writes")
        let database = try store.quotedDatabase()
        let settings = try store.settings(watched)
        checkDurability(settings, database, &findings)
        checkLogging(settings, database, &findings)
        try checkRoleSettings(&store, &findings)
        try checkForeignCode(&store, settings, &findings)
        check(route: store.route, &findings)
        for session in try store.unencryptedSessions() {
            findings.warning(
                "tls", "a session of \(session) has no TLS",
                .advice("in pg_hba.conf, replace `host` by `hostssl` for its address, and reload the server"))
        }
        findings.close("tls", store.route.isLocal ? "the connection is local" : "the connection has TLS")
    }

    private static let watched = [
        "fsync", "full_page_writes", "synchronous_commit", "max_prepared_transactions", "default_transaction_read_only",
        "session_replication_role", "log_statement", "log_min_duration_statement", "log_min_duration_sample",
        "log_transaction_sample_rate", "log_parameter_max_length", "log_parameter_max_length_on_error",
        "log_error_verbosity", "auto_explain.log_min_duration", "auto_explain.log_parameter_max_length",
        "pg_stat_statements.track_utility", "pgaudit.log_parameter",
    ]

    static func checkVersion(_ version: Int, _ findings: inout Findings) {
        let text = "PostgreSQL \(version / 10_000).\(version % 10_000)"
        if version < oldestVersion {
            findings.failure(
                "server-version", "\(text) is too old", .advice("use PostgreSQL 13 or newer; 15 is tested"))
        }
        findings.close("server-version", text)
    }

    private static func checkDurability(_ settings: [String: String], _ database: String, _ findings: inout Findings) {
        for name in ["fsync", "full_page_writes"] where settings[name] == "off" {
            findings.failure(
                "durability",
                "\(name) is off: a crash of the server's host can lose committed audit events and originals",
                .sql("ALTER SYSTEM SET \(name) = on; SELECT pg_reload_conf();", as: .superuser))
        }
        if settings["synchronous_commit"] == "off" {
            findings.warning(
                "durability", "synchronous_commit is off by default here; tokenvault's sessions set it, others do not",
                .sql("ALTER DATABASE \(database) SET synchronous_commit = on;", as: .administrator))
        }
        if settings["default_transaction_read_only"] == "on" {
            findings.failure(
                "durability", "default_transaction_read_only is on: nothing can be stored",
                .sql(
                    "SET default_transaction_read_only = off; "
                        + "ALTER DATABASE \(database) SET default_transaction_read_only = off;", as: .administrator))
        }
        if settings["session_replication_role"].map({ $0 != "origin" }) == true {
            findings.failure(
                "durability", "session_replication_role is not origin: triggers do not fire",
                .sql("ALTER DATABASE \(database) RESET session_replication_role;", as: .superuser))
        }
        findings.close("durability", "fsync, full_page_writes and synchronous_commit are on")
        if settings["max_prepared_transactions"].map({ $0 != "0" }) == true {
            findings.warning(
                "prepared-transactions",
                "max_prepared_transactions is not 0: a prepared transaction can hold the audit log's head after its session ended",
                .advice("set max_prepared_transactions = 0 in postgresql.conf and restart the server"))
        }
    }

    static func checkLogging(_ settings: [String: String], _ database: String, _ findings: inout Findings) {
        func isTimed(_ name: String) -> Bool { settings[name].map { $0 != "-1" } == true }
        let statements =
            ["mod", "all"].contains(settings["log_statement"]) || isTimed("log_min_duration_statement")
            || isTimed("log_min_duration_sample") || settings["log_transaction_sample_rate"].map { $0 != "0" } == true
        if let length = settings["log_parameter_max_length"], length != "0" {
            let remedy = Finding.Remedy.sql(
                "ALTER DATABASE \(database) SET log_parameter_max_length = 0;", as: .superuser)
            if statements {
                findings.failure(
                    "statement-logging",
                    "the server logs statements with their parameters: tokens, user ids, sealed bytes, reasons", remedy)
            } else {
                findings.warning(
                    "statement-logging",
                    "log_parameter_max_length is not 0: parameters reach the log as soon as statements are logged",
                    remedy)
            }
        }
        if let length = settings["log_parameter_max_length_on_error"], length != "0" {
            findings.failure(
                "statement-logging",
                "log_parameter_max_length_on_error is not 0: a failed statement logs its parameters",
                .sql("ALTER DATABASE \(database) SET log_parameter_max_length_on_error = 0;", as: .superuser))
        }
        if let verbosity = settings["log_error_verbosity"], verbosity != "terse" {
            findings.warning(
                "statement-logging", "log_error_verbosity is \(verbosity): a constraint error logs the row",
                .sql("ALTER DATABASE \(database) SET log_error_verbosity = terse;", as: .superuser))
        }
        if isTimed("auto_explain.log_min_duration"),
            settings["auto_explain.log_parameter_max_length"].map({ $0 != "0" }) == true
        {
            findings.failure(
                "statement-logging", "auto_explain logs parameters",
                .sql("ALTER DATABASE \(database) SET auto_explain.log_parameter_max_length = 0;", as: .superuser))
        }
        if settings["pgaudit.log_parameter"] == "on" {
            findings.failure(
                "statement-logging", "pgaudit logs parameters",
                .sql("ALTER DATABASE \(database) SET pgaudit.log_parameter = off;", as: .superuser))
        }
        if settings["pg_stat_statements.track_utility"] == "on" {
            findings.warning(
                "statement-logging", "pg_stat_statements keeps texts of CREATE ROLE and ALTER ROLE, passwords included",
                .sql("ALTER DATABASE \(database) SET pg_stat_statements.track_utility = off;", as: .superuser))
        }
        findings.close("statement-logging", "parameters and rows stay out of the server's log")
    }

    /// What a role may set for itself, if anything.
    static let rightForRoles = [
        "log_parameter_max_length": "0", "log_parameter_max_length_on_error": "0", "log_error_verbosity": "terse",
        "synchronous_commit": "on", "session_replication_role": "origin", "default_transaction_read_only": "off",
        "pgaudit.log_parameter": "off",
    ]

    /// A role's own settings win over the database's, and other sessions' cannot be seen otherwise.
    private static func checkRoleSettings(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        for setting in try store.roleSettings() {
            guard let right = rightForRoles[setting.name], setting.value != right else { continue }
            let place = setting.database.map { " IN DATABASE \($0)" } ?? ""
            findings.failure(
                "role-settings", "\(setting.role) runs with \(setting.name) = \(setting.value)\(place.lowercased())",
                .sql("ALTER ROLE \(setting.role)\(place) RESET \(setting.name);", as: .superuser))
        }
        findings.close("role-settings", "no role overrides the settings above")
    }

    private static func checkForeignCode(
        _ store: inout VaultStore, _ settings: [String: String], _ findings: inout Findings
    ) throws(PostgresError) {
        for item in try store.foreignCode() {
            switch item.kind {
            case "event trigger":
                findings.warning(
                    "event-triggers", "event trigger \(item.name) runs code in every migration",
                    .sql("ALTER EVENT TRIGGER \(item.name) DISABLE;", as: .superuser))
            case "language":
                findings.warning(
                    "languages", "language \(item.name) is untrusted: its functions act as the server's user",
                    .sql("DROP LANGUAGE \(item.name);", as: .superuser))
            default:
                findings.warning(
                    "prepared-transactions", "prepared transaction \(item.name) waits, and keeps its locks",
                    .sql("ROLLBACK PREPARED \(item.name);", as: .superuser))
            }
        }
        findings.close("event-triggers", "no event trigger is enabled")
        findings.close("languages", "no untrusted language is installed")
        findings.close("prepared-transactions", "prepared transactions are off")
    }

    static func check(route: Route, _ findings: inout Findings) {
        guard !route.isLocal else { return }
        if !route.usesTLS {
            findings.failure(
                "tls", "the connection to \(route.host) has no TLS",
                .advice("put sslmode=verify-full into the connection string, and hostssl into pg_hba.conf"))
        } else if route.sslMode != "verify-full" {
            findings.warning(
                "tls",
                "the connection to \(route.host) has TLS, but sslmode=\(route.sslMode) does not check who answers",
                .advice("put sslmode=verify-full and sslrootcert=FILE into the connection string"))
        }
    }
}
