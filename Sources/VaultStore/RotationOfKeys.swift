package import Keys
package import Postgres

/// Older tokens of one domain, each with the token that stands for the same value now.
package struct SuccessorPairs: Sendable {
    package let domain: String
    package let oldVersion: KeyVersion
    package var pairs: [String: String] = [:]

    package init(domain: String, oldVersion: KeyVersion) {
        self.domain = domain
        self.oldVersion = oldVersion
    }
}

/// Verbs of recovery key rotation and of retiring keys.
extension VaultStore {
    /// Data keys that `key` cannot open yet, with the seals that the keys `own` open.
    package mutating func dataKeysWithoutSeal(
        to key: KeyID, domains: [String]?, own: [KeyID], after: UInt128?, limit: Int
    ) throws(PostgresError) -> [DataKeyRecord] {
        dataKeyRecords(
            try connection.run(
                Statement(
                    "reading data keys to rewrap",
                    """
                    SELECT id, domain, signing_key, created_at, commitment, signature, recovery_key, sealed
                    FROM vault.data_keys_without_seal($1, $2, $3, $4, $5) ORDER BY id
                    """, .uuid(key.uuid), .textArray(domains), .array(Self.uuids(own.map(\.uuid))), .uuid(after),
                    .int4(Int32(limit)))))
    }

    package mutating func addSeals(
        _ rotation: UInt128, to key: KeyID, _ seals: [(dataKey: UInt128, sealed: [UInt8])]
    ) throws(PostgresError) -> Int {
        var sealed = BinaryArray(of: .bytea, capacity: seals.count * 100)
        for seal in seals { sealed.append(seal.sealed.span) }
        return try connection.run(
            Statement(
                "storing rewrapped data keys", "SELECT vault.add_seals($1, $2, $3, $4)", .uuid(rotation),
                .uuid(key.uuid), .array(Self.uuids(seals.map(\.dataKey))), .array(sealed))
        ).int(row: 0, column: 0) ?? 0
    }

    /// Takes a deactivated recovery key off every data key; refused while it alone opens one.
    package mutating func retireRecoveryKey(_ key: KeyID) throws(PostgresError) -> AuditReceipt {
        receipt(
            try connection.run(
                Statement(
                    "retiring a recovery key", "SELECT audit_sequence, audit_head FROM vault.retire_recovery_key($1)",
                    .uuid(key.uuid))))
    }

    /// Ends the use of a deactivated token key; refused while rows or originals stand under it, or an ingest run that writes
    /// under it has no end.
    ///
    /// - Parameter endsRuns: such runs are ended; their next batch is refused.
    package mutating func retireTokenKey(_ version: KeyVersion, endsRuns: Bool) throws(PostgresError) -> AuditReceipt {
        receipt(
            try connection.run(
                Statement(
                    "retiring a token key", "SELECT audit_sequence, audit_head FROM vault.retire_token_version($1, $2)",
                    .int4(Int32(version.number)), .bool(endsRuns))))
    }

    /// Forgets messages and files read under a retired token key: what comes again is stored again.
    package mutating func forgetLedger(_ version: KeyVersion) throws(PostgresError) -> AuditReceipt {
        receipt(
            try connection.run(
                Statement(
                    "forgetting the ledger of a token key",
                    "SELECT audit_sequence, audit_head FROM vault.forget_ledger($1)", .int4(Int32(version.number)))))
    }

    /// Deactivated token versions that may still stand somewhere: ingest writes pairs of tokens for them.
    package mutating func supersededTokenVersions() throws(PostgresError) -> [KeyVersion] {
        let rows = try connection.run(
            Statement("reading token key versions", "SELECT vault.superseded_token_versions()"))
        return (0..<rows.count).compactMap { KeyVersion(UInt32(rows.int(row: $0, column: 0) ?? 0)) }
    }

    /// Notes which old tokens stand for the same value as new ones, so that views count them together.
    ///
    /// Sorted by old token, or two workers deadlock.
    package mutating func insertSuccessors(_ successors: SuccessorPairs) throws(PostgresError) {
        guard !successors.pairs.isEmpty else { return }
        let sorted = successors.pairs.sorted { $0.key < $1.key }
        try connection.run(
            Statement(
                "noting pairs of tokens",
                """
                INSERT INTO vault.token_successor (old_token, new_token, domain, old_version)
                SELECT given.old_token, given.new_token, $3, $4
                FROM unnest($1::text[], $2::text[]) AS given (old_token, new_token)
                WHERE $4 IN (SELECT vault.superseded_token_versions())  -- may be retired since the run began
                ON CONFLICT DO NOTHING
                """, .textArray(sorted.map(\.key)), .textArray(sorted.map(\.value)), .text(successors.domain),
                .int4(Int32(successors.oldVersion.number))))
    }

    /// From now on a file is known by its fingerprint under a newer token key.
    package mutating func rekeyFile(
        _ id: UInt128, keyVersion: UInt32, prefixLength: Int, fingerprint: [UInt8]
    ) throws(PostgresError) {
        try connection.run(
            Statement(
                "entering the file under the new key", "SELECT vault.rekey_file($1, $2, $3, $4)", .uuid(id),
                .int4(Int32(keyVersion)), .int4(Int32(prefixLength)), .bytes(fingerprint)))
    }
}
