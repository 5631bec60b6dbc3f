package import Postgres

/// Where tokens of older versions may still be after a rotation of the token key, beside rows and originals.
package struct OldTokenPlace: Sendable {
    package enum Kind: String, Sendable {
        case pair, request, tombstone, erasure, exception, event, record, statistics, file
    }

    package let kind: Kind
    /// A table, or a column of one.
    package let name: String
    /// Tokens; of a file, bytes that were written before the rotation ended.
    package let amount: Int
}

extension VaultStore {
    package mutating func oldTokenPlaces(_ rotation: UInt128) throws(PostgresError) -> [OldTokenPlace] {
        let rows = try connection.run(
            Statement(
                "looking for old tokens",
                """
                SELECT kind, place, sum(amount)::bigint FROM vault.old_token_places($1) GROUP BY 1, 2 ORDER BY 1, 2
                """, .uuid(rotation)))
        return (0..<rows.count).compactMap { row in
            OldTokenPlace.Kind(rawValue: rows.text(row: row, column: 0) ?? "").map {
                OldTokenPlace(
                    kind: $0, name: rows.text(row: row, column: 1) ?? "", amount: rows.int(row: row, column: 2) ?? 0)
            }
        }
    }
}
