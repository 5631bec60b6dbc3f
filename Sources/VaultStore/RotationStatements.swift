package import Keys
package import Postgres

/// What is rotated (design, section 8).
package enum RotationKind: String, Sendable, CaseIterable {
    case recoveryKey = "recovery-key"
    case dataKeys = "data-keys"
    case tokenKey = "token-key"
}

/// A rotation as the database knows it.
package struct RotationRecord: Sendable {
    package let id: UInt128
    package let kind: String
    package let target: Int?
    package let isFinished: Bool
    package let startedBy: String
    package let started: String
    package let finished: String?
    /// Cursor. Its low 64 bits are, in the first pass, the number of the first block of `vault.original` that is not done;
    /// the others change when an erasure has taken originals out, so that a page read before is not stored.
    package let place: UInt128?
    package let pass: Int
    package let valuesDone: Int
    package let rowsDone: Int
    package let valueSum: UInt128
    package let rowsBefore: String?
    package let outcome: String?
}

/// Where a row lies on disk: its block and its place there (PostgreSQL's `ctid`), until it is changed.
package struct RowPlace: Sendable {
    let bytes: [UInt8]
}

/// A sealed original, handed out to a rotation.
package struct SealedOriginal: Sendable {
    package let place: RowPlace
    package let token: UInt128
    package let domain: String
    package let version: UInt32
    package let dataKey: UInt128
    package let sealed: [UInt8]
}

/// One line of the census: how much stands under a key.
package struct CensusEntry: Sendable {
    package let what: String
    package let name: String
    package let version: Int?
    package let amount: Int
}

/// Verbs that every rotation needs.
extension VaultStore {
    /// Begins a rotation or goes on with the unfinished one; keeps others out while this session lives.
    package mutating func beginRotation(
        _ kind: RotationKind, target: KeyVersion?, scope: String?, id: UInt128
    ) throws(PostgresError) -> UInt128 {
        let rows = try connection.run(
            Statement(
                "beginning the rotation", "SELECT id FROM vault.begin_rotation($1, $2, $3, $4)", .uuid(id),
                .text(kind.rawValue), .int4(target.map { Int32($0.number) }), .text(scope)))
        return rows.uuid(row: 0, column: 0) ?? id
    }

    /// The newest rotations first.
    package mutating func rotations(limit: Int) throws(PostgresError) -> [RotationRecord] {
        let rows = try connection.run(
            Statement(
                "reading the rotations",
                """
                SELECT id, kind, target_version, state = 'finished', started_by::text,
                       pg_catalog.to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       pg_catalog.to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       place, pass, values_done, rows_done, value_sum, rows_before::text, outcome
                FROM vault.rotations($1)
                """, .int4(Int32(limit))))
        return (0..<rows.count).map { row in
            RotationRecord(
                id: rows.uuid(row: row, column: 0) ?? 0, kind: rows.text(row: row, column: 1) ?? "",
                target: rows.int(row: row, column: 2), isFinished: rows.bool(row: row, column: 3) ?? false,
                startedBy: rows.text(row: row, column: 4) ?? "", started: rows.text(row: row, column: 5) ?? "",
                finished: rows.text(row: row, column: 6), place: rows.uuid(row: row, column: 7),
                pass: rows.int(row: row, column: 8) ?? 1, valuesDone: rows.int(row: row, column: 9) ?? 0,
                rowsDone: rows.int(row: row, column: 10) ?? 0, valueSum: rows.uuid(row: row, column: 11) ?? 0,
                rowsBefore: rows.text(row: row, column: 12), outcome: rows.text(row: row, column: 13))
        }
    }

    /// Starts another pass from the first token. `rowsBefore` is kept from the first call that gives it.
    package mutating func nextRotationPass(_ rotation: UInt128, rowsBefore: String?) throws(PostgresError) {
        try connection.run(
            Statement(
                "starting a pass", "SELECT vault.next_rotation_pass($1, $2::jsonb)", .uuid(rotation), .text(rowsBefore))
        )
    }

    package mutating func finishRotation(_ rotation: UInt128, outcome: String) throws(PostgresError) -> AuditReceipt {
        receipt(
            try connection.run(
                Statement(
                    "ending the rotation", "SELECT audit_sequence, audit_head FROM vault.finish_rotation($1, $2)",
                    .uuid(rotation), .text(outcome))))
    }

    package mutating func noteRotationExceptions(
        _ rotation: UInt128, _ exceptions: [(token: UInt128, reason: String)]
    ) throws(PostgresError) {
        var tokens = BinaryArray(of: .uuid, capacity: exceptions.count * 20)
        for exception in exceptions { tokens.append(uuid: exception.token) }
        try connection.run(
            Statement(
                "noting what was left alone", "SELECT vault.note_rotation_exceptions($1, $2, $3)", .uuid(rotation),
                .array(tokens), .textArray(exceptions.map(\.reason))))
    }

    /// Originals that a rotation left alone, with the reason.
    package mutating func rotationExceptions(
        _ rotation: UInt128
    ) throws(PostgresError) -> [(token: UInt128, reason: String)] {
        let rows = try connection.run(
            Statement(
                "reading what was left alone", "SELECT token, reason FROM vault.rotation_exceptions($1)",
                .uuid(rotation)))
        return (0..<rows.count).map { row in
            (rows.uuid(row: row, column: 0) ?? 0, rows.text(row: row, column: 1) ?? "")
        }
    }

    /// How much stands under each key.
    package mutating func rotationCensus() throws(PostgresError) -> [CensusEntry] {
        let rows = try connection.run(
            Statement(
                "taking the census",
                "SELECT what, name, version, amount FROM vault.rotation_census() ORDER BY what, name, version"))
        return (0..<rows.count).map { row in
            CensusEntry(
                what: rows.text(row: row, column: 0) ?? "", name: rows.text(row: row, column: 1) ?? "",
                version: rows.int(row: row, column: 2), amount: rows.int(row: row, column: 3) ?? 0)
        }
    }

    /// How many originals stand under another token version than this; all for `nil`.
    package mutating func countOriginals(except version: KeyVersion?) throws(PostgresError) -> Int {
        try connection.run(
            Statement(
                "counting originals", "SELECT vault.count_originals($1)", .int4(version.map { Int32($0.number) }))
        ).int(row: 0, column: 0) ?? 0
    }

    /// Rows, groups and a fingerprint of which rows stand together, by column, as a JSON object.
    package mutating func rowFingerprint(version: KeyVersion?) throws(PostgresError) -> String {
        let rows = try connection.run(
            Statement(
                "taking the fingerprint of the rows", "SELECT vault.row_fingerprint($1)::text",
                .int4(version.map { Int32($0.number) })))
        return rows.text(row: 0, column: 0) ?? "{}"
    }

    /// Data keys by id, each with its seals to `recoveryKeys`.
    package mutating func dataKeys(
        _ ids: [UInt128], recoveryKeys: [KeyID]
    ) throws(PostgresError) -> [DataKeyRecord] {
        let rows = try connection.run(
            Statement(
                "reading sealed data keys",
                """
                SELECT key.id, key.domain, key.signing_key, extract(epoch FROM key.created_at)::bigint, key.commitment,
                       key.signature, seal.recovery_key, seal.sealed
                FROM vault.data_key AS key
                LEFT JOIN vault.data_key_seal AS seal ON seal.data_key = key.id AND seal.recovery_key = ANY ($2)
                WHERE key.id = ANY ($1) ORDER BY key.id
                """, .array(Self.uuids(ids)), .array(Self.uuids(recoveryKeys.map(\.uuid)))))
        return dataKeyRecords(rows)
    }

    /// Stores a fresh data key of a rotation.
    package mutating func addRotationDataKey(
        _ record: DataKeyRecord, rotation: UInt128
    ) throws(PostgresError) {
        var sealed = BinaryArray(of: .bytea, capacity: record.seals.count * 100)
        for seal in record.seals { sealed.append(seal.sealed.span) }
        try connection.run(
            Statement(
                "storing a data key", "SELECT vault.add_rotation_data_key($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                .uuid(rotation), .uuid(record.id), .text(record.domain), .uuid(record.signingKey.uuid),
                .int(Int(record.createdAt)), .bytes(record.commitment), .bytes(record.signature),
                .array(Self.uuids(record.seals.map(\.recoveryKey.uuid))), .array(sealed)))
    }

    static func uuids(_ ids: [UInt128]) -> BinaryArray {
        var array = BinaryArray(of: .uuid, capacity: ids.count * 20)
        for id in ids { array.append(uuid: id) }
        return array
    }

    func receipt(_ rows: borrowing Rows) -> AuditReceipt {
        guard rows.count > 0 else { return AuditReceipt(sequence: 0, head: []) }
        return AuditReceipt(sequence: rows.int(row: 0, column: 0) ?? 0, head: rows.bytes(row: 0, column: 1) ?? [])
    }

    /// - Parameter rows: ctid, token, domain, token version, data key, sealed.
    func sealedOriginals(_ rows: borrowing Rows) -> [SealedOriginal] {
        var originals: [SealedOriginal] = []
        originals.reserveCapacity(rows.count)
        for row in 0..<rows.count {
            originals.append(
                SealedOriginal(
                    place: RowPlace(bytes: rows.bytes(row: row, column: 0) ?? []),
                    token: rows.uuid(row: row, column: 1) ?? 0, domain: rows.text(row: row, column: 2) ?? "",
                    version: UInt32(rows.int(row: row, column: 3) ?? 0), dataKey: rows.uuid(row: row, column: 4) ?? 0,
                    sealed: rows.bytes(row: row, column: 5) ?? []))
        }
        return originals
    }
}
