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

/// A refused record that waits to be replayed or discarded.
package struct WaitingRecord: Sendable {
    package let id: UInt128
    /// When it was refused: `YYYY-MM-DDTHH:MM:SSZ`.
    package let created: String
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

    /// The next records that wait, after `after`, in the order of their ids; of `ids` only, unless `nil`.
    package mutating func quarantineWaiting(
        _ ids: [UInt128]?, after: UInt128?, limit: Int
    ) throws(PostgresError) -> [WaitingRecord] {
        let wanted = ids.map { ids -> Parameter in
            var array = BinaryArray(of: .uuid, capacity: ids.count * 20)
            for id in ids { array.append(uuid: id) }
            return .array(array)
        }
        let rows = try connection.run(
            Statement(
                "looking for what waits in the quarantine",
                """
                SELECT id, pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                FROM vault.quarantine_waiting($1, $2, $3)
                """, wanted ?? .noUUIDs, .uuid(after), .int4(Int32(limit))))
        return (0..<rows.count).map { row in
            WaitingRecord(id: rows.uuid(row: row, column: 0) ?? 0, created: rows.text(row: row, column: 1) ?? "")
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
