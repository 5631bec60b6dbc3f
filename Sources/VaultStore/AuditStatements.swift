package import Postgres

/// One row of `audit.event`, whole.
package struct AuditEvent: Sendable {
    package let sequence: Int
    package let id: UInt128
    /// Microseconds since 1970-01-01T00:00:00Z.
    package let microseconds: Int
    package let happenedAt: String
    package let actor: String
    package let address: String?
    package let action: String
    package let object: String?
    package let reason: String?
    package let ticket: String?
    package let outcome: String?
    package let leaf: [UInt8]
    package let head: [UInt8]
}

/// Which events `audit list` shows.
package struct AuditFilter: Sendable {
    package var actor: String?
    package var action: String?
    package var object: String?
    package var ticket: String?
    package var since: String?
    package var until: String?

    package init() {}
}

/// Verbs of the auditor.
extension VaultStore {
    /// Events after `sequence`, oldest first, at most `limit`.
    package mutating func auditEvents(after sequence: Int, limit: Int) throws(PostgresError) -> [AuditEvent] {
        events(
            try connection.run(
                Statement(
                    "reading the audit log",
                    """
                    SELECT sequence, id, (extract(epoch FROM happened_at) * 1000000)::bigint,
                           pg_catalog.to_char(happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                           actor::text, address, action, object, reason, ticket, outcome, leaf, head
                    FROM audit.event WHERE sequence > $1 ORDER BY sequence LIMIT $2
                    """, .int(sequence), .int(limit))))
    }

    /// The newest events that pass `filter`, newest first, at most `limit`.
    package mutating func latestAuditEvents(_ filter: AuditFilter, limit: Int) throws(PostgresError) -> [AuditEvent] {
        events(
            try connection.run(
                Statement(
                    "listing the audit log",
                    """
                    SELECT sequence, id, (extract(epoch FROM happened_at) * 1000000)::bigint,
                           pg_catalog.to_char(happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                           actor::text, address, action, object, reason, ticket, outcome, leaf, head
                    FROM audit.event
                    WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action = $2)
                      AND ($3::text IS NULL OR object = $3) AND ($4::text IS NULL OR ticket = $4)
                      AND ($5::text IS NULL OR happened_at >= $5::timestamptz)
                      AND ($6::text IS NULL OR happened_at < $6::timestamptz)
                    ORDER BY sequence DESC LIMIT $7
                    """, .text(filter.actor), .text(filter.action), .text(filter.object), .text(filter.ticket),
                    .text(filter.since), .text(filter.until), .int(limit))))
    }

    /// Where the log says it stands.
    package mutating func auditHead() throws(PostgresError) -> AuditReceipt {
        let rows = try connection.run(
            Statement("reading the head of the audit log", "SELECT sequence, head FROM audit.head"))
        guard rows.count == 1 else { return AuditReceipt(sequence: -1, head: []) }
        return AuditReceipt(sequence: rows.int(row: 0, column: 0) ?? -1, head: rows.bytes(row: 0, column: 1) ?? [])
    }

    private func events(_ rows: borrowing Rows) -> [AuditEvent] {
        var events: [AuditEvent] = []
        for row in 0..<rows.count {
            events.append(
                AuditEvent(
                    sequence: rows.int(row: row, column: 0) ?? 0, id: rows.uuid(row: row, column: 1) ?? 0,
                    microseconds: rows.int(row: row, column: 2) ?? 0, happenedAt: rows.text(row: row, column: 3) ?? "",
                    actor: rows.text(row: row, column: 4) ?? "", address: rows.text(row: row, column: 5),
                    action: rows.text(row: row, column: 6) ?? "", object: rows.text(row: row, column: 7),
                    reason: rows.text(row: row, column: 8), ticket: rows.text(row: row, column: 9),
                    outcome: rows.text(row: row, column: 10), leaf: rows.bytes(row: row, column: 11) ?? [],
                    head: rows.bytes(row: row, column: 12) ?? []))
        }
        return events
    }
}
