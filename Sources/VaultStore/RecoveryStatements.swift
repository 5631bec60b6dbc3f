package import Keys
package import Postgres

/// A committed request to recover values, with the receipt of its last audit event.
package struct RecoveryRequest: Sendable {
    package let id: UInt128
    package let receipt: AuditReceipt
    package let approvalsNeeded: Int
}

/// Where the audit log stood after an event. Kept outside the database, it proves that the event was there.
package struct AuditReceipt: Sendable, Equatable {
    package let sequence: Int
    package let head: [UInt8]

    package init(sequence: Int, head: [UInt8]) {
        self.sequence = sequence
        self.head = head
    }
}

/// A page of what the vault hands out for a request, lent item by item, without copies.
package struct ReleasedPage: ~Copyable {
    private let rows: Rows

    init(_ rows: consuming Rows) { self.rows = rows }

    package var count: Int { rows.count }

    /// Lends one item: the token's text, and what is sealed under it; `nil` where the vault holds none.
    package borrowing func withItem<R, E: Error>(
        _ index: Int, _ body: (_ token: Span<UInt8>, _ sealed: Span<UInt8>?) throws(E) -> R
    ) throws(E) -> R {
        try rows.withBytes(row: index, column: 1) { token throws(E) in
            guard let token else { return try body(Span(), nil) }
            return try rows.withBytes(row: index, column: 3) { sealed throws(E) in try body(token, sealed) }
        }
    }

    package borrowing func dataKey(_ index: Int) -> UInt128? { rows.uuid(row: index, column: 2) }

    /// Whether the original behind the token was erased.
    package borrowing func isErased(_ index: Int) -> Bool { rows.int(row: index, column: 4) != nil }
}

/// A page that the server is working on.
package struct PendingPage: ~Copyable {
    let statement: PendingStatement
}

/// One quarantined record handed out for a request.
package struct ReleasedRecord: Sendable {
    package let id: UInt128
    package let source: String
    package let position: String
    package let cause: String
    package let isTruncated: Bool
    package let dataKey: UInt128
    package let sealed: [UInt8]
}

/// Verbs of the recoverer. The order — request, commit, release — is enforced by the database.
extension VaultStore {
    /// Adds tokens, as text, to the request that the open transaction prepares.
    package mutating func stageRecovery(_ tokens: consuming BinaryArray) throws(PostgresError) {
        try connection.run(
            Statement("requesting recovery", "SELECT vault.stage_recovery($1)", .array(tokens)))
    }

    /// Records why the tokens staged in the open transaction are to be recovered: one audit event a token. Commit, and
    /// they are flushed as well.
    package mutating func bookRecovery(reason: String, ticket: String) throws(PostgresError) -> RecoveryRequest {
        try request(
            Statement(
                "requesting recovery",
                "SELECT request, audit_sequence, audit_head, approvals_needed FROM vault.book_recovery($1, $2)",
                .text(reason), .text(ticket)))
    }

    package mutating func requestQuarantine(
        ids: [UInt128], reason: String, ticket: String
    ) throws(PostgresError) -> RecoveryRequest {
        var array = BinaryArray(of: .uuid, capacity: ids.count * 20)
        for id in ids { array.append(uuid: id) }
        return try request(
            Statement(
                "requesting quarantined records",
                "SELECT request, audit_sequence, audit_head, approvals_needed FROM vault.request_quarantine($1, $2, $3)",
                .array(array), .text(reason), .text(ticket)))
    }

    private mutating func request(_ statement: Statement) throws(PostgresError) -> RecoveryRequest {
        let rows = try connection.run(statement)
        guard rows.count == 1, let id = rows.uuid(row: 0, column: 0) else {
            throw .connectionLost(during: statement.purpose.description)
        }
        return RecoveryRequest(
            id: id,
            receipt: AuditReceipt(
                sequence: rows.int(row: 0, column: 1) ?? 0, head: rows.bytes(row: 0, column: 2) ?? []),
            approvalsNeeded: rows.int(row: 0, column: 3) ?? 0)
    }

    /// Asks for `limit` sealed values of a committed request, in the order asked, after item `after` (from 0).
    package mutating func sendRelease(
        request: UInt128, after: Int, limit: Int
    ) throws(PostgresError) -> PendingPage {
        PendingPage(
            statement: try connection.send(
                Statement(
                    "releasing sealed values",
                    "SELECT ordinal, token, data_key, sealed, erased_at FROM vault.release($1, $2, $3)",
                    .uuid(request), .int4(Int32(after)), .int4(Int32(limit)))))
    }

    /// Waits for the page that was asked for last.
    package mutating func receive(_ page: consuming PendingPage) throws(PostgresError) -> ReleasedPage {
        ReleasedPage(try connection.receive(page.statement))
    }

    package mutating func releaseQuarantined(request: UInt128) throws(PostgresError) -> [ReleasedRecord] {
        let rows = try connection.run(
            Statement(
                "releasing quarantined records",
                """
                SELECT id, source, record_position, cause, truncated, data_key, sealed
                FROM vault.release_quarantine($1) WHERE sealed IS NOT NULL
                """, .uuid(request)))
        return (0..<rows.count).map { row in
            ReleasedRecord(
                id: rows.uuid(row: row, column: 0) ?? 0, source: rows.text(row: row, column: 1) ?? "",
                position: rows.text(row: row, column: 2) ?? "", cause: rows.text(row: row, column: 3) ?? "",
                isTruncated: rows.bool(row: row, column: 4) ?? false, dataKey: rows.uuid(row: row, column: 5) ?? 0,
                sealed: rows.bytes(row: row, column: 6) ?? [])
        }
    }

    /// The data keys that a request's items use, each with its seals to `recoveryKeys`.
    package mutating func releaseDataKeys(
        request: UInt128, recoveryKeys: [KeyID]
    ) throws(PostgresError) -> [DataKeyRecord] {
        var ids = BinaryArray(of: .uuid, capacity: recoveryKeys.count * 20)
        for id in recoveryKeys { ids.append(uuid: id.uuid) }
        let rows = try connection.run(
            Statement(
                "releasing sealed data keys",
                """
                SELECT id, domain, signing_key, created_at, commitment, signature, recovery_key, sealed
                FROM vault.release_data_keys($1, $2) ORDER BY id
                """, .uuid(request), .array(ids)))
        return dataKeyRecords(rows)
    }

    @discardableResult
    package mutating func recordOutcome(request: UInt128, outcome: String) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "recording the outcome", "SELECT audit_sequence, audit_head FROM vault.record_outcome($1, $2)",
                .uuid(request), .text(outcome)))
    }

    /// Folds rows of (data key × seal), ordered by data key, into records. A data key without a seal for us has none.
    func dataKeyRecords(_ rows: borrowing Rows) -> [DataKeyRecord] {
        var records: [DataKeyRecord] = []
        for row in 0..<rows.count {
            let id = rows.uuid(row: row, column: 0) ?? 0
            var seals = records.last.map { $0.id == id ? $0.seals : [] } ?? []
            if let recoveryKey = rows.uuid(row: row, column: 6), let sealed = rows.bytes(row: row, column: 7) {
                seals.append(DataKeySeal(recoveryKey: KeyID(uuid: recoveryKey), sealed: sealed))
            }
            if records.last?.id == id { records.removeLast() }
            records.append(
                DataKeyRecord(
                    id: id, domain: rows.text(row: row, column: 1) ?? "",
                    createdAt: Int64(rows.int(row: row, column: 3) ?? 0),
                    signingKey: KeyID(uuid: rows.uuid(row: row, column: 2) ?? 0),
                    commitment: rows.bytes(row: row, column: 4) ?? [], signature: rows.bytes(row: row, column: 5) ?? [],
                    seals: seals))
        }
        return records
    }
}
