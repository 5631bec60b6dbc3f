package import Postgres

/// What becomes of the rows that hold an erased token.
package enum MaskedRows: String, Sendable, CaseIterable {
    /// They keep it: duplicates stay visible, the value cannot be recovered.
    case keep
    /// The token becomes NULL, and with an address the token of its network.
    case clear
    /// The rows go.
    case delete
}

/// What becomes of values that other users have, too.
package enum SharedValues: String, Sendable, CaseIterable {
    case keep
    case erase
}

/// One token of an erasure.
package struct ErasureItem: Sendable {
    package let token: String
    /// `waiting`, `erased`, `absent` or `kept`.
    package let state: String
    package let stands: Bool
    package let rows: Int
    package let otherUsers: Int
}

/// An erasure's numbers.
package struct ErasureProgress: Sendable {
    /// Rows of the user it is for.
    package let ownRows: Int
    package let asked: Int
    package let erased: Int
    package let absent: Int
    package let kept: Int
    package let rowsCleared: Int
    package let rowsDeleted: Int
    package let keysDropped: Int
}

/// A begun erasure or expiry. `receipt` is `nil` for a dry run.
package struct BegunErasure: Sendable {
    package let id: UInt128
    package let isResumed: Bool
    package let receipt: AuditReceipt?
}

/// Verbs of the operator who erases. No key is needed.
extension VaultStore {
    /// Begins an erasure, or goes on with the unfinished one asked for in the same words. Exactly one of `tokens` and `user`.
    package mutating func beginErasure(
        _ id: UInt128, tokens: [String]?, user: String?, maskedRows: MaskedRows, shared: SharedValues, reason: String,
        ticket: String, isDryRun: Bool
    ) throws(PostgresError) -> BegunErasure {
        try awaitOtherBeginnings()
        defer { letOthersBegin() }
        return begun(
            try connection.run(
                Statement(
                    "beginning the erasure",
                    """
                    SELECT id, resumed, audit_sequence, audit_head
                    FROM vault.begin_erasure($1, $2, $3, $4, $5, $6, $7, $8)
                    """, .uuid(id), .textArray(tokens), .text(user), .text(maskedRows.rawValue),
                    .text(shared.rawValue), .text(reason), .text(ticket), .bool(isDryRun))))
    }

    /// Begins an expiry, or goes on with the unfinished one.
    ///
    /// - Parameter cutoff: `YYYY-MM-DD`, UTC.
    package mutating func beginExpiry(
        _ id: UInt128, domain: String?, cutoff: String, reason: String, ticket: String?, isDryRun: Bool
    ) throws(PostgresError) -> BegunErasure {
        try awaitOtherBeginnings()
        defer { letOthersBegin() }
        return begun(
            try connection.run(
                Statement(
                    "beginning the expiry",
                    """
                    SELECT id, resumed, audit_sequence, audit_head
                    FROM vault.begin_expiry($1, $2, $3::text::date, $4, $5, $6)
                    """, .uuid(id), .text(domain), .text(cutoff), .text(reason), .text(ticket), .bool(isDryRun))))
    }

    /// The server may still be beginning an erasure whose client was killed: who begins the same one beside it would not
    /// find it, and make another.
    private mutating func awaitOtherBeginnings() throws(PostgresError) {
        try connection.run(
            Statement("waiting for another erasure to begin", "SELECT pg_catalog.pg_advisory_lock(7239120554173)"))
    }

    private mutating func letOthersBegin() {
        // If it fails the session or its transaction did, and the command ends soon: the lock goes with the session.
        _ = try? connection.run(
            Statement("letting other erasures begin", "SELECT pg_catalog.pg_advisory_unlock(7239120554173)"))
    }

    package mutating func recordErasurePlan(
        kind: String, reason: String, ticket: String?, outcome: String
    ) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "recording the dry run",
                "SELECT audit_sequence, audit_head FROM vault.record_erasure_plan($1, $2, $3, $4)", .text(kind),
                .text(reason), .text(ticket), .text(outcome)))
    }

    package mutating func erasureItems(_ erasure: UInt128) throws(PostgresError) -> [ErasureItem] {
        let rows = try connection.run(
            Statement(
                "reading what is to be erased",
                "SELECT token, state, stands, held, other_users FROM vault.erasure_items($1)", .uuid(erasure)))
        return (0..<rows.count).map { row in
            ErasureItem(
                token: rows.text(row: row, column: 0) ?? "", state: rows.text(row: row, column: 1) ?? "",
                stands: rows.bool(row: row, column: 2) ?? false, rows: rows.int(row: row, column: 3) ?? 0,
                otherUsers: rows.int(row: row, column: 4) ?? 0)
        }
    }

    package mutating func erasureProgress(_ erasure: UInt128) throws(PostgresError) -> ErasureProgress? {
        let rows = try connection.run(
            Statement(
                "reading how far the erasure is",
                """
                SELECT own_rows, asked, erased, absent, kept, rows_cleared, rows_deleted, keys_dropped
                FROM vault.erasure_progress($1)
                """, .uuid(erasure)))
        guard rows.count == 1 else { return nil }
        return ErasureProgress(
            ownRows: rows.int(row: 0, column: 0) ?? 0, asked: rows.int(row: 0, column: 1) ?? 0,
            erased: rows.int(row: 0, column: 2) ?? 0, absent: rows.int(row: 0, column: 3) ?? 0,
            kept: rows.int(row: 0, column: 4) ?? 0, rowsCleared: rows.int(row: 0, column: 5) ?? 0,
            rowsDeleted: rows.int(row: 0, column: 6) ?? 0, keysDropped: rows.int(row: 0, column: 7) ?? 0)
    }

    /// Erases the next tokens in a transaction of its own.
    ///
    /// - Returns: how many tokens it dealt with, and how many wait.
    package mutating func eraseBatch(
        _ erasure: UInt128, user: String?, limit: Int
    ) throws(PostgresError) -> (handled: Int, remaining: Int) {
        let rows = try connection.run(
            Statement(
                "erasing", "SELECT handled, remaining FROM vault.erase_batch($1, $2, $3)", .uuid(erasure), .text(user),
                .int4(Int32(limit))))
        return (rows.int(row: 0, column: 0) ?? 0, rows.int(row: 0, column: 1) ?? 0)
    }

    /// Clears or deletes the user's own rows.
    package mutating func eraseUserRows(_ erasure: UInt128, user: String?) throws(PostgresError) {
        try connection.run(
            Statement(
                "taking the user's rows out", "SELECT vault.erase_user_rows($1, $2)", .uuid(erasure), .text(user)))
    }

    package mutating func finishErasure(_ erasure: UInt128, user: String?) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "ending the erasure", "SELECT audit_sequence, audit_head FROM vault.finish_erasure($1, $2)",
                .uuid(erasure), .text(user)))
    }

    /// Counts of what may still hold erased values or names their tokens, by name.
    package mutating func erasureRemains(_ erasure: UInt128) throws(PostgresError) -> [String: Int] {
        let rows = try connection.run(
            Statement(
                "counting what is left", "SELECT what, amount FROM vault.erasure_remains($1)", .uuid(erasure)))
        var remains: [String: Int] = [:]
        for row in 0..<rows.count { remains[rows.text(row: row, column: 0) ?? ""] = rows.int(row: row, column: 1) }
        return remains
    }

    /// What a rotation's verify must allow for: its own originals that were erased, all erased since it began, and masked
    /// rows that erasures changed since.
    package mutating func rotationErasures(
        _ rotation: UInt128
    ) throws(PostgresError) -> (own: Int, since: Int, rowChanges: Int) {
        let rows = try connection.run(
            Statement(
                "counting what was erased since", "SELECT own, since, row_changes FROM vault.rotation_erasures($1)",
                .uuid(rotation)))
        guard rows.count == 1 else { return (0, 0, 0) }
        return (
            rows.int(row: 0, column: 0) ?? 0, rows.int(row: 0, column: 1) ?? 0, rows.int(row: 0, column: 2) ?? 0
        )
    }

    private func begun(_ rows: borrowing Rows) -> BegunErasure {
        let head = rows.bytes(row: 0, column: 3)
        return BegunErasure(
            id: rows.uuid(row: 0, column: 0) ?? 0, isResumed: rows.bool(row: 0, column: 1) ?? false,
            receipt: head.map { AuditReceipt(sequence: rows.int(row: 0, column: 2) ?? 0, head: $0) })
    }
}
