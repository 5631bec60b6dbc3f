package import Keys
package import Postgres

/// One row of `vault.key_version`: what the database knows about a key. Never key material.
package struct RegisteredKey: Sendable {
    package let id: KeyID
    package let purpose: String
    package let name: String
    package let version: Int?
    package let state: String
    package let domains: [String]?
    package let created: String
    package let activated: String?
}

extension VaultStore {
    @discardableResult
    package mutating func registerKey(_ key: KeyDescription) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "registering a key",
                "SELECT audit_sequence, audit_head FROM vault.register_key($1, $2, $3, $4, $5, $6, $7)",
                .uuid(key.id.uuid), .text(key.purpose.rawValue), .text(key.name),
                .int4(key.version.map { Int32($0.number) }), .text(key.state.rawValue), .textArray(key.domains),
                .bytes(key.publicKey)))
    }

    @discardableResult
    package mutating func changeKeyState(_ id: KeyID, to state: KeyState) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "changing a key's state", "SELECT audit_sequence, audit_head FROM vault.change_key_state($1, $2)",
                .uuid(id.uuid), .text(state.rawValue)
            ))
    }

    package mutating func keyStates() throws(PostgresError) -> [RegisteredKey] {
        let rows = try connection.run(
            Statement(
                "listing keys",
                """
                SELECT id, purpose, name, version, state, pg_catalog.array_to_string(domains, ','),
                       pg_catalog.to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       pg_catalog.to_char(activated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                FROM vault.key_states() ORDER BY purpose, version, name
                """))
        return (0..<rows.count).map { row in
            RegisteredKey(
                id: KeyID(uuid: rows.uuid(row: row, column: 0) ?? 0), purpose: rows.text(row: row, column: 1) ?? "",
                name: rows.text(row: row, column: 2) ?? "", version: rows.int(row: row, column: 3),
                state: rows.text(row: row, column: 4) ?? "",
                domains: rows.text(row: row, column: 5).map { $0.split(separator: ",").map(String.init) },
                created: rows.text(row: row, column: 6) ?? "", activated: rows.text(row: row, column: 7))
        }
    }
}
