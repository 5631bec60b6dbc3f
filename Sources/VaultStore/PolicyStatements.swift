package import Postgres

/// What recoveries of one domain need. `*` stands for every domain without a row of its own.
package struct PolicyRow: Sendable {
    package let domain: String
    package let approvalsNeeded: Int
    /// Per requester and UTC day, released or not.
    package let valuesPerDay: Int
    package let validitySeconds: Int
    /// `nil` for any.
    package let reasonPattern: String?
    package let ticketPattern: String?
    /// `nil` for always.
    package let hours: String?
    /// `nil` where break-glass is not allowed.
    package let breakGlassPerDay: Int?
}

extension VaultStore {
    package mutating func policies() throws(PostgresError) -> [PolicyRow] {
        let rows = try connection.run(
            Statement(
                "reading the policy",
                """
                SELECT domain, approvals_needed, values_per_day, extract(epoch FROM request_validity)::bigint,
                       reason_pattern, ticket_pattern, hours, break_glass_per_day
                FROM vault.policy_list()
                """))
        return (0..<rows.count).map { row in
            PolicyRow(
                domain: rows.text(row: row, column: 0) ?? "", approvalsNeeded: rows.int(row: row, column: 1) ?? 0,
                valuesPerDay: rows.int(row: row, column: 2) ?? 0, validitySeconds: rows.int(row: row, column: 3) ?? 0,
                reasonPattern: rows.text(row: row, column: 4), ticketPattern: rows.text(row: row, column: 5),
                hours: rows.text(row: row, column: 6), breakGlassPerDay: rows.int(row: row, column: 7))
        }
    }

    /// Changes what `changes` names and leaves the rest. Audited with old and new.
    ///
    /// - Parameter changes: a JSON object with the keys of `vault.change_policy`.
    /// - Returns: `nil` when nothing differs.
    package mutating func changePolicy(domain: String, changes: String) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "changing the policy",
                "SELECT audit_sequence, audit_head FROM vault.change_policy($1, $2::text::jsonb)",
                .text(domain), .text(changes)))
    }
}
