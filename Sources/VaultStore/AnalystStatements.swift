package import Postgres

/// A value that stands in more than one login row, named by its token.
package struct DuplicateGroup: Sendable {
    package let token: String
    package let logins: Int
    package let users: Int
    package let firstSeen: String
    package let lastSeen: String
}

/// The masked columns of `public.user_logins`.
package enum MaskedColumn: String, CaseIterable, Sendable {
    case ip = "masked_ip"
    case deviceID = "masked_device_id"
    case network = "masked_ip_net"
}

extension VaultStore {
    /// The largest groups of rows that share a token, largest first.
    package mutating func duplicates(
        of column: MaskedColumn, minimum: Int, limit: Int
    ) throws(PostgresError) -> [DuplicateGroup] {
        let rows = try connection.run(duplicateStatement(column, .int(minimum), .int(limit)))
        return (0..<rows.count).map { row in
            DuplicateGroup(
                token: rows.text(row: row, column: 0) ?? "", logins: rows.int(row: row, column: 1) ?? 0,
                users: rows.int(row: row, column: 2) ?? 0, firstSeen: rows.text(row: row, column: 3) ?? "",
                lastSeen: rows.text(row: row, column: 4) ?? "")
        }
    }

    private func duplicateStatement(_ column: MaskedColumn, _ minimum: Parameter, _ limit: Parameter) -> Statement {
        switch column {
        case .ip:
            Statement(
                "finding duplicates",
                """
                SELECT token::text, logins, distinct_users, first_seen::text, last_seen::text FROM public.duplicate_ips
                WHERE logins >= $1 ORDER BY logins DESC, token LIMIT $2
                """, minimum, limit)
        case .deviceID:
            Statement(
                "finding duplicates",
                """
                SELECT token::text, logins, distinct_users, first_seen::text, last_seen::text FROM public.duplicate_devices
                WHERE logins >= $1 ORDER BY logins DESC, token LIMIT $2
                """, minimum, limit)
        case .network:
            Statement(
                "finding duplicates",
                """
                SELECT token::text, logins, distinct_users, first_seen::text, last_seen::text FROM public.duplicate_networks
                WHERE logins >= $1 ORDER BY logins DESC, token LIMIT $2
                """, minimum, limit)
        }
    }
}
