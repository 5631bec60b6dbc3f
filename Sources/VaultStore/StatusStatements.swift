package import Postgres

/// What `status` shows.
package struct StatusSummary: Sendable {
    /// One JSON object; `break_glass` is its first member.
    package let json: String
    /// Break-glass requests that may still be released.
    package let breakGlassOpen: Int
    /// Break-glass requests of the last seven days.
    package let breakGlassRecent: Int
}

/// Verb of the operator and the auditor.
extension VaultStore {
    package mutating func statusSummary() throws(PostgresError) -> StatusSummary {
        let rows = try connection.run(
            Statement(
                "reading the status",
                """
                SELECT '{"break_glass": ' || (summary -> 'break_glass')::text || ', '
                       || pg_catalog.substr((summary - 'break_glass')::text, 2),
                       (summary #>> '{break_glass,open}')::integer, (summary #>> '{break_glass,last_7_days}')::integer
                FROM vault.status_summary() AS summary
                """))
        return StatusSummary(
            json: rows.text(row: 0, column: 0) ?? "{}", breakGlassOpen: rows.int(row: 0, column: 1) ?? 0,
            breakGlassRecent: rows.int(row: 0, column: 2) ?? 0)
    }
}
