package import Postgres

/// How a request stands: facts for those who decide on it and for its requester. Tokens and values are not among them.
package struct RequestStanding: Sendable {
    package enum State: String, Sendable { case waiting, approved, denied, lapsed }

    package let id: UInt128
    package let requester: String
    /// `tokens` or `quarantine`.
    package let kind: String
    package let reason: String
    package let ticket: String?
    package let created: String?
    /// When approvals and request lapse.
    package let lapses: String
    package let itemCount: Int
    /// Values asked for, by domain.
    package let counts: [String: Int]
    package let approvals: Int
    package let approvalsNeeded: Int
    package let state: State
    package let isBreakGlass: Bool
    /// Of the request's last audit event; only its requester gets it.
    package let receipt: AuditReceipt?
}

/// What a decision led to.
package struct RequestDecision: Sendable {
    package let receipt: AuditReceipt
    package let approvals: Int
    package let approvalsNeeded: Int
}

/// Verbs of the approver.
extension VaultStore {
    /// Requests that wait for a decision, oldest first; or the one named, unless it has lapsed.
    package mutating func requestsToDecide(
        limit: Int, request: UInt128? = nil
    ) throws(PostgresError) -> [RequestStanding] {
        let rows = try connection.run(
            Statement(
                "reading requests",
                """
                SELECT request, requester::text, kind, reason, ticket,
                       pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       pg_catalog.to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), item_count,
                       (SELECT pg_catalog.string_agg(part.key || '=' || part.value, ' ')
                        FROM pg_catalog.jsonb_each_text(counts) AS part),
                       approvals, approvals_needed, state, break_glass
                FROM vault.waiting_requests($1, $2)
                """, .int4(Int32(clamping: limit)), .uuid(request)))
        return (0..<rows.count).map { row in
            RequestStanding(
                id: rows.uuid(row: row, column: 0) ?? 0, requester: rows.text(row: row, column: 1) ?? "",
                kind: rows.text(row: row, column: 2) ?? "", reason: rows.text(row: row, column: 3) ?? "",
                ticket: rows.text(row: row, column: 4), created: rows.text(row: row, column: 5),
                lapses: rows.text(row: row, column: 6) ?? "", itemCount: rows.int(row: row, column: 7) ?? 0,
                counts: counts(rows.text(row: row, column: 8)), approvals: rows.int(row: row, column: 9) ?? 0,
                approvalsNeeded: rows.int(row: row, column: 10) ?? 0,
                state: rows.text(row: row, column: 11).flatMap(RequestStanding.State.init) ?? .waiting,
                isBreakGlass: rows.bool(row: row, column: 12) ?? false, receipt: nil)
        }
    }

    /// The tokens (or ids of quarantined records) after item `after` that a request asks for; never a value.
    package mutating func requestItems(
        _ request: UInt128, after: Int, limit: Int
    ) throws(PostgresError) -> [(ordinal: Int, item: String)] {
        let rows = try connection.run(
            Statement(
                "reading what a request asks for", "SELECT ordinal, item FROM vault.request_items($1, $2, $3)",
                .uuid(request), .int4(Int32(clamping: after)), .int4(Int32(clamping: limit))))
        return (0..<rows.count).map { (rows.int(row: $0, column: 0) ?? 0, rows.text(row: $0, column: 1) ?? "") }
    }

    /// - Parameter decision: `approve` or `deny`.
    package mutating func decide(
        _ request: UInt128, _ decision: String, reason: String?
    ) throws(PostgresError) -> RequestDecision {
        let rows = try connection.run(
            Statement(
                "deciding on a request",
                "SELECT audit_sequence, audit_head, approvals, approvals_needed FROM vault.decide_request($1, $2, $3)",
                .uuid(request), .text(decision), .text(reason)))
        return RequestDecision(
            receipt: AuditReceipt(
                sequence: rows.int(row: 0, column: 0) ?? 0, head: rows.bytes(row: 0, column: 1) ?? []),
            approvals: rows.int(row: 0, column: 2) ?? 0, approvalsNeeded: rows.int(row: 0, column: 3) ?? 0)
    }
}

/// Verbs of the requester.
extension VaultStore {
    /// How a request of one's own stands; refused for anybody else's.
    package mutating func ownRequest(_ request: UInt128) throws(PostgresError) -> RequestStanding {
        let rows = try connection.run(
            Statement(
                "reading a request",
                """
                SELECT kind, reason, ticket,
                       pg_catalog.to_char(lapses_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), item_count,
                       (SELECT pg_catalog.string_agg(part.key || '=' || part.value, ' ')
                        FROM pg_catalog.jsonb_each_text(counts) AS part),
                       approvals, approvals_needed, state, break_glass, audit_sequence, audit_head
                FROM vault.own_request($1)
                """, .uuid(request)))
        var receipt: AuditReceipt?
        if let sequence = rows.int(row: 0, column: 10), let head = rows.bytes(row: 0, column: 11) {
            receipt = AuditReceipt(sequence: sequence, head: head)
        }
        return RequestStanding(
            id: request, requester: user, kind: rows.text(row: 0, column: 0) ?? "",
            reason: rows.text(row: 0, column: 1) ?? "", ticket: rows.text(row: 0, column: 2), created: nil,
            lapses: rows.text(row: 0, column: 3) ?? "", itemCount: rows.int(row: 0, column: 4) ?? 0,
            counts: counts(rows.text(row: 0, column: 5)), approvals: rows.int(row: 0, column: 6) ?? 0,
            approvalsNeeded: rows.int(row: 0, column: 7) ?? 0,
            state: rows.text(row: 0, column: 8).flatMap(RequestStanding.State.init) ?? .waiting,
            isBreakGlass: rows.bool(row: 0, column: 9) ?? false, receipt: receipt)
    }

    /// Makes every request of this session break-glass. The database decides whether the role and the policy allow it.
    package mutating func askForBreakGlass() throws(PostgresError) {
        try connection.run(
            Statement(
                "asking for break-glass", "SELECT pg_catalog.set_config('tokenvault.break_glass', 'on', false)"))
    }
}

/// `domain=count` pairs, separated by spaces: neither has one.
private func counts(_ text: String?) -> [String: Int] {
    (text ?? "").split(separator: " ").reduce(into: [:]) { counts, pair in
        let parts = pair.split(separator: "=")
        if parts.count == 2 { counts[String(parts[0])] = Int(parts[1]) }
    }
}
