package import Postgres

/// What `tokenvault doctor` reads: the catalogue and settings, which any role may see, and the vault's own state, as far
/// as the session's role may.
extension VaultStore {
    /// Connects as ``open(_:)`` does, but to a standby too, and leaves the session's settings as the role has them.
    package static func openForInspection(_ database: String) throws(PostgresError) -> VaultStore {
        VaultStore(try Connection.open(database))
    }

    /// The session's route to the server.
    package var route: Route { connection.route }

    /// 150020 is 15.20.
    package var serverVersion: Int { connection.serverVersion }

    package mutating func isStandby() throws(PostgresError) -> Bool {
        let rows = try connection.run(
            Statement("asking for the server's state", "SELECT pg_catalog.pg_is_in_recovery()"))
        return rows.bool(row: 0, column: 0) == true
    }

    /// Fails where the server cannot load its own procedural language, as after an upgrade of its files.
    package mutating func tryProceduralLanguage() throws(PostgresError) {
        try connection.runTrustedScript("running a PL/pgSQL block", "DO $$ BEGIN NULL; END $$")
    }

    /// Microseconds since 1970 by the server's clock.
    package mutating func serverClock() throws(PostgresError) -> Int {
        let rows = try connection.run(
            Statement(
                "reading the server's clock",
                "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint"))
        return rows.int(row: 0, column: 0) ?? 0
    }

    /// The session's values of settings; those that the server does not know are absent.
    package mutating func settings(_ names: [String]) throws(PostgresError) -> [String: String] {
        let rows = try connection.run(
            Statement(
                "reading settings",
                """
                SELECT wanted.name, pg_catalog.current_setting(wanted.name, true)
                FROM pg_catalog.unnest($1) AS wanted (name)
                WHERE pg_catalog.current_setting(wanted.name, true) IS NOT NULL
                """, .textArray(names)))
        var values: [String: String] = [:]
        for row in 0..<rows.count { values[rows.text(row: row, column: 0) ?? ""] = rows.text(row: row, column: 1) }
        return values
    }

    package struct RoleSetting: Sendable {
        package let role: String
        /// `nil` for every database.
        package let database: String?
        package let name: String
        package let value: String
    }

    /// Settings that single roles have in this database, whatever the database itself says.
    package mutating func roleSettings() throws(PostgresError) -> [RoleSetting] {
        let rows = try connection.run(
            Statement(
                "reading the settings of roles",
                """
                SELECT pg_catalog.quote_ident(role.rolname), pg_catalog.quote_ident(database.datname),
                       pg_catalog.split_part(entry.text, '=', 1),
                       pg_catalog.substr(entry.text, pg_catalog.strpos(entry.text, '=') + 1)
                FROM pg_catalog.pg_db_role_setting AS setting
                JOIN pg_catalog.pg_roles AS role ON role.oid = setting.setrole
                LEFT JOIN pg_catalog.pg_database AS database ON database.oid = setting.setdatabase
                CROSS JOIN LATERAL pg_catalog.unnest(setting.setconfig) AS entry (text)
                WHERE setting.setdatabase = 0 OR database.datname = pg_catalog.current_database()
                ORDER BY 1, 2, 3
                """))
        return (0..<rows.count).map { row in
            RoleSetting(
                role: rows.text(row: row, column: 0) ?? "", database: rows.text(row: row, column: 1),
                name: rows.text(row: row, column: 2) ?? "", value: rows.text(row: row, column: 3) ?? "")
        }
    }

    /// This database's name, quoted for SQL.
    package mutating func quotedDatabase() throws(PostgresError) -> String {
        let rows = try connection.run(
            Statement(
                "reading the database's name", "SELECT pg_catalog.quote_ident(pg_catalog.current_database())"))
        return rows.text(row: 0, column: 0) ?? ""
    }

    /// Enabled event triggers, untrusted languages and prepared transactions: kind and quoted name.
    package mutating func foreignCode() throws(PostgresError) -> [(kind: String, name: String)] {
        let rows = try connection.run(
            Statement(
                "looking for foreign code",
                """
                SELECT 'event trigger', pg_catalog.quote_ident(trigger.evtname)
                FROM pg_catalog.pg_event_trigger AS trigger WHERE trigger.evtenabled <> 'D'
                UNION ALL
                SELECT 'language', pg_catalog.quote_ident(language.lanname)
                FROM pg_catalog.pg_language AS language
                WHERE language.lanispl AND NOT language.lanpltrusted
                UNION ALL
                SELECT 'prepared transaction', pg_catalog.quote_literal(prepared.gid)
                FROM pg_catalog.pg_prepared_xacts AS prepared
                WHERE prepared.database = pg_catalog.current_database()
                ORDER BY 1, 2
                """))
        return (0..<rows.count).map { row in
            (kind: rows.text(row: row, column: 0) ?? "", name: rows.text(row: row, column: 1) ?? "")
        }
    }

    /// Other sessions of this database that came over a network without TLS: role and address.
    ///
    /// Only roles in `pg_monitor` see where others come from.
    package mutating func unencryptedSessions() throws(PostgresError) -> [String] {
        let rows = try connection.run(
            Statement(
                "looking for sessions without TLS",
                """
                SELECT DISTINCT activity.usename || ' from ' || pg_catalog.host(activity.client_addr)
                FROM pg_catalog.pg_stat_activity AS activity
                JOIN pg_catalog.pg_stat_ssl AS transport ON transport.pid = activity.pid
                WHERE activity.datname = pg_catalog.current_database() AND NOT transport.ssl
                  AND NOT activity.client_addr <<= '127.0.0.0/8' AND activity.client_addr <> '::1'
                ORDER BY 1
                """))
        return (0..<rows.count).compactMap { rows.text(row: $0, column: 0) }
    }
}
