package import Postgres

/// One line of pg_hba.conf, as the file stands now.
package struct AuthenticationRule: Sendable {
    package let line: Int
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc` or `hostnogssenc`.
    package let type: String
    /// `all`, a name of this database, … and never `replication` alone.
    package let databases: [String]
    /// An address, or `all`, `samehost`, `samenet`; `nil` for `local`.
    package let address: String?
    package let method: String
    /// What is wrong with the line. Where the server cannot read it, all else is empty; else the line has no effect.
    package let fault: String?
}

extension VaultStore {
    /// The lines of pg_hba.conf that concern this database, or cannot be read. Superusers, or who was granted the view
    /// and its function.
    package mutating func authenticationRules() throws(PostgresError) -> [AuthenticationRule] {
        let rows = try connection.run(
            Statement(
                "reading pg_hba.conf",
                """
                SELECT rule.line_number, rule.type, pg_catalog.array_to_string(rule.database, ','), rule.address,
                       rule.auth_method, rule.error
                FROM pg_catalog.pg_hba_file_rules AS rule
                WHERE rule.error IS NOT NULL
                   OR EXISTS (SELECT FROM pg_catalog.unnest(rule.database) AS wanted (name)
                              WHERE wanted.name IN ('all', 'sameuser', 'samerole', 'samegroup',
                                                    pg_catalog.current_database())
                                 OR wanted.name ~ '^[+/]')
                ORDER BY rule.line_number
                """))
        return (0..<rows.count).map { row in
            AuthenticationRule(
                line: rows.int(row: row, column: 0) ?? 0, type: rows.text(row: row, column: 1) ?? "",
                databases: (rows.text(row: row, column: 2) ?? "").split(separator: ",").map(String.init),
                address: rows.text(row: row, column: 3), method: rows.text(row: row, column: 4) ?? "",
                fault: rows.text(row: row, column: 5))
        }
    }

    /// Where the server keeps its data. Superusers and members of `pg_read_all_settings`.
    package mutating func dataFolder() throws(PostgresError) -> String? {
        let rows = try connection.run(
            Statement("asking for the data folder", "SELECT pg_catalog.current_setting('data_directory')"))
        return rows.text(row: 0, column: 0)
    }
}
