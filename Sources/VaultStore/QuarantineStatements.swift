package import Postgres

/// A refused record as it is listed: where it came from and why, never what it says.
package struct QuarantineEntry: Sendable {
    package let id: UInt128
    package let source: String
    package let position: String
    package let cause: String
    package let isTruncated: Bool
    package let created: String
    package let resolution: String?
}

extension VaultStore {
    package mutating func quarantineList(limit: Int) throws(PostgresError) -> [QuarantineEntry] {
        let rows = try connection.run(
            Statement(
                "listing the quarantine",
                """
                SELECT id, source, record_position, cause, truncated,
                       pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), resolution
                FROM vault.quarantine_list($1)
                """, .int4(Int32(limit))))
        return (0..<rows.count).map { row in
            QuarantineEntry(
                id: rows.uuid(row: row, column: 0) ?? 0, source: rows.text(row: row, column: 1) ?? "",
                position: rows.text(row: row, column: 2) ?? "", cause: rows.text(row: row, column: 3) ?? "",
                isTruncated: rows.bool(row: row, column: 4) ?? false, created: rows.text(row: row, column: 5) ?? "",
                resolution: rows.text(row: row, column: 6))
        }
    }

    /// Marks a waiting record as replayed or discarded; refused when somebody else already has.
    @discardableResult
    package mutating func resolveQuarantine(
        _ id: UInt128, resolution: String, reason: String
    ) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "resolving a quarantined record",
                "SELECT audit_sequence, audit_head FROM vault.resolve_quarantine($1, $2, $3)", .uuid(id),
                .text(resolution), .text(reason)))
    }
}
