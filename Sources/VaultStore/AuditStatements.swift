package import Postgres
internal import VaultCrypto

/// One row of `audit.event`, for people and exports.
package struct AuditEvent: Sendable {
    package let sequence: Int
    package let id: UInt128
    /// Microseconds since 1970-01-01T00:00:00Z.
    package let microseconds: Int
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

/// Which events `audit list` shows. Times are RFC 3339.
package struct AuditFilter: Sendable {
    package var actor: String?
    package var action: String?
    package var object: String?
    package var ticket: String?
    package var since: String?
    package var until: String?

    package init() {}
}

/// Rows of the audit log, in PostgreSQL's binary format.
package struct AuditPage: ~Copyable {
    private static let label = Array("tokenvault/audit-event/1".utf8)
    private let rows: Rows

    init(_ rows: consuming Rows) { self.rows = rows }

    package var count: Int { rows.count }

    package borrowing func sequence(_ row: Int) -> Int? { rows.int(row: row, column: 0) }

    borrowing func leaf(_ row: Int, equals digest: [UInt8]) -> Bool { matches(row, 10, digest) }

    borrowing func head(_ row: Int, equals digest: [UInt8]) -> Bool { matches(row, 11, digest) }

    private borrowing func matches(_ row: Int, _ column: Int, _ digest: [UInt8]) -> Bool {
        rows.withBytes(row: row, column: column) { bytes in
            guard let bytes, bytes.count == digest.count else { return false }
            for index in bytes.indices where bytes[index] != digest[index] { return false }
            return true
        }
    }

    /// The event's encoding, built from the bytes as they came.
    borrowing func appendEncoding(of row: Int, to output: inout [UInt8]) {
        Self.appendLength(Self.label.count, to: &output)
        output += Self.label
        for column in 0...9 {
            if column == 2 {
                appendTime(of: row, to: &output)
                continue
            }
            rows.withBytes(row: row, column: column) { bytes in
                guard let bytes else { return output += [0xFF, 0xFF, 0xFF, 0xFF] }
                Self.appendLength(bytes.count, to: &output)
                unsafe bytes.withUnsafeBufferPointer { unsafe output.append(contentsOf: $0) }
            }
        }
    }

    private borrowing func appendTime(of row: Int, to output: inout [UInt8]) {
        Self.appendLength(8, to: &output)
        let time = UInt64(bitPattern: Int64(rows.microseconds(row: row, column: 2) ?? 0))
        for shift in stride(from: 56, through: 0, by: -8) { output.append(UInt8(truncatingIfNeeded: time >> shift)) }
    }

    private static func appendLength(_ count: Int, to output: inout [UInt8]) {
        for shift in stride(from: 24, through: 0, by: -8) { output.append(UInt8(truncatingIfNeeded: count >> shift)) }
    }

    package borrowing func event(_ row: Int) -> AuditEvent {
        AuditEvent(
            sequence: sequence(row) ?? 0, id: rows.uuid(row: row, column: 1) ?? 0,
            microseconds: rows.microseconds(row: row, column: 2) ?? 0, actor: rows.text(row: row, column: 3) ?? "",
            address: rows.text(row: row, column: 4), action: rows.text(row: row, column: 5) ?? "",
            object: rows.text(row: row, column: 6), reason: rows.text(row: row, column: 7),
            ticket: rows.text(row: row, column: 8), outcome: rows.text(row: row, column: 9),
            leaf: rows.bytes(row: row, column: 10) ?? [], head: rows.bytes(row: row, column: 11) ?? [])
    }
}

/// Verbs of the auditor.
extension VaultStore {
    /// Lends the whole log, oldest first, page by page, as it stands at one moment; with constant memory.
    ///
    /// The server prepares the next page while `body` works on one.
    ///
    /// - Parameter sequence: events after this one; `nil` for really all, however they are numbered.
    /// - Returns: where the log said at that moment that it stands.
    package mutating func readAuditLog(
        after sequence: Int? = nil, _ body: (borrowing AuditPage) throws -> Void
    ) throws -> AuditReceipt {
        try connection.run(
            Statement("reading the audit log", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        do {
            let head = try auditHead()
            try openAuditCursor(after: sequence)
            var pending = Optional(try fetchAuditPage())
            while let statement = pending.take() {
                let page = AuditPage(try connection.receive(statement))
                guard page.count > 0 else { break }
                pending = try fetchAuditPage()
                try body(page)
            }
            connection.rollback()
            return head
        } catch {
            connection.rollback()
            throw error
        }
    }

    private mutating func openAuditCursor(after sequence: Int?) throws(PostgresError) {
        guard let sequence else {
            try connection.run(
                Statement(
                    "reading the audit log",
                    """
                    DECLARE audit_log NO SCROLL CURSOR FOR
                    SELECT sequence, id, happened_at, actor::text, address, action, object, reason, ticket, outcome, leaf, head
                    FROM audit.event ORDER BY sequence
                    """))
            return
        }
        try connection.run(
            Statement(
                "reading the audit log",
                """
                DECLARE audit_log NO SCROLL CURSOR FOR
                SELECT sequence, id, happened_at, actor::text, address, action, object, reason, ticket, outcome, leaf, head
                FROM audit.event WHERE sequence > $1 ORDER BY sequence
                """, .int(sequence)))
    }

    private mutating func fetchAuditPage() throws(PostgresError) -> PendingStatement {
        try connection.send(Statement("reading the audit log", "FETCH FORWARD 5000 FROM audit_log"))
    }

    /// The newest events that pass `filter`, at most `limit`: those of break-glass first, each kind newest first.
    package mutating func latestAuditEvents(_ filter: AuditFilter, limit: Int) throws(PostgresError) -> [AuditEvent] {
        let page = AuditPage(
            try connection.run(
                Statement(
                    "listing the audit log",
                    """
                    WITH wanted AS NOT MATERIALIZED (
                        SELECT sequence, id, happened_at, actor::text, address, action, object, reason, ticket, outcome,
                               leaf, head
                        FROM audit.event
                        WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action = $2)
                          AND ($3::text IS NULL OR object = $3) AND ($4::text IS NULL OR ticket = $4)
                          AND ($5::text IS NULL OR happened_at >= $5::timestamptz)
                          AND ($6::text IS NULL OR happened_at < $6::timestamptz)
                    ), loud AS (
                        SELECT * FROM wanted WHERE action LIKE '%.break-glass' ORDER BY sequence DESC LIMIT $7
                    ), quiet AS (
                        SELECT * FROM wanted WHERE action NOT LIKE '%.break-glass' ORDER BY sequence DESC LIMIT $7
                    )
                    SELECT * FROM (SELECT * FROM loud UNION ALL SELECT * FROM quiet) AS event
                    ORDER BY action LIKE '%.break-glass' DESC, sequence DESC LIMIT $7
                    """, .text(filter.actor), .text(filter.action), .text(filter.object), .text(filter.ticket),
                    .text(filter.since), .text(filter.until), .int(limit))))
        return (0..<page.count).map { page.event($0) }
    }

    /// Where the log says it stands.
    package mutating func auditHead() throws(PostgresError) -> AuditReceipt {
        let rows = try connection.run(
            Statement("reading the head of the audit log", "SELECT sequence, head FROM audit.head"))
        guard rows.count == 1 else { return AuditReceipt(sequence: -1, head: []) }
        return AuditReceipt(sequence: rows.int(row: 0, column: 0) ?? -1, head: rows.bytes(row: 0, column: 1) ?? [])
    }
}
