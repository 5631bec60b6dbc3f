package import Keys
package import Postgres

/// What `public.user_logins` looks like here: our own table, or an adopted one of the original exercise.
package struct LoginTableShape: Equatable, Sendable {
    /// `app_version` is `integer`: 2.3.0 is stored as 2003000.
    package let versionIsInteger: Bool
    /// The table has `masked_ip_net`.
    package let hasNetworkColumn: Bool

    package var columnCount: Int { hasNetworkColumn ? 8 : 7 }
}

/// Originals of one domain sealed under one data key, sorted by token.
package struct OriginalGroup {
    package let domain: String
    package let tokenVersion: UInt32
    package let dataKey: UInt128
    package var tokens: BinaryArray
    package var sealed: BinaryArray

    package init(domain: String, tokenVersion: UInt32, dataKey: UInt128, expected: Int) {
        self.domain = domain
        self.tokenVersion = tokenVersion
        self.dataKey = dataKey
        tokens = BinaryArray(of: .uuid, capacity: expected * 20)
        sealed = BinaryArray(of: .bytea, capacity: expected * 80)
    }
}

/// A message id that stood in the ledger already.
package struct KnownMessage: Sendable {
    /// Position in the call, from 0.
    package let index: Int
    package let keyVersion: UInt32
    package let bodyMAC: [UInt8]
}

/// A file that was read before, as far as its content is committed.
package struct KnownFile: Sendable {
    package let id: UInt128
    package let keyVersion: UInt32
    package let prefixLength: Int
    package let fingerprint: [UInt8]
    package let committedOffset: Int
    package let committedLines: Int
}

/// One refused record, already sealed.
package struct QuarantinedRecord: Sendable {
    package let id: UInt128
    package let source: String
    package let position: String
    package let cause: String
    package let isTruncated: Bool
    package let bodyMAC: [UInt8]
    package let dataKey: UInt128
    package let sealed: [UInt8]

    package init(
        id: UInt128, source: String, position: String, cause: String, isTruncated: Bool, bodyMAC: [UInt8],
        dataKey: UInt128, sealed: [UInt8]
    ) {
        self.id = id
        self.source = source
        self.position = position
        self.cause = cause
        self.isTruncated = isTruncated
        self.bodyMAC = bodyMAC
        self.dataKey = dataKey
        self.sealed = sealed
    }
}

/// What the database counts for one run.
package struct RunState: Sendable {
    package let stored: Int
    package let repeated: Int
    package let quarantined: Int
    /// Of the run's audit event; `nil` while it is under way.
    package let receipt: AuditReceipt?
}

/// Verbs of the ingest role: it inserts, and calls functions; it reads no table.
extension VaultStore {
    package mutating func loginTableShape() throws(PostgresError) -> LoginTableShape {
        let rows = try connection.run(
            Statement(
                "looking at user_logins",
                """
                SELECT bool_or(attname = 'app_version' AND atttypid = 'pg_catalog.int4'::pg_catalog.regtype),
                       bool_or(attname = 'masked_ip_net')
                FROM pg_catalog.pg_attribute
                WHERE attrelid = pg_catalog.to_regclass('public.user_logins') AND attnum > 0 AND NOT attisdropped
                """))
        return LoginTableShape(
            versionIsInteger: rows.bool(row: 0, column: 0) == true,
            hasNetworkColumn: rows.bool(row: 0, column: 1) == true)
    }

    /// - Parameter version: the token key that the run writes under; refused when it is retired.
    package mutating func beginRun(_ run: UInt128, source: String, version: KeyVersion) throws(PostgresError) {
        try connection.run(
            Statement(
                "beginning the run", "SELECT vault.begin_run($1, $2, $3)", .uuid(run), .text(source),
                .int4(Int32(version.number))))
    }

    /// Waits for a transaction that still moves the counts; holds them until the transaction ends.
    package mutating func runState(_ run: UInt128) throws(PostgresError) -> RunState {
        let rows = try connection.run(
            Statement(
                "reading the run's counts",
                "SELECT stored, repeated, quarantined, audit_sequence, audit_head FROM vault.run_state($1)", .uuid(run))
        )
        let receipt = rows.int(row: 0, column: 3).map {
            AuditReceipt(sequence: $0, head: rows.bytes(row: 0, column: 4) ?? [])
        }
        return RunState(
            stored: rows.int(row: 0, column: 0) ?? 0, repeated: rows.int(row: 0, column: 1) ?? 0,
            quarantined: rows.int(row: 0, column: 2) ?? 0, receipt: receipt)
    }

    /// First in each batch's transaction: until its end no original is removed.
    ///
    /// - Returns: how often originals were removed. Where it differs from before, those that were sent may be gone.
    package mutating func enterBatch() throws(PostgresError) -> Int {
        try connection.run(Statement("beginning a batch", "SELECT vault.enter_batch()")).int(row: 0, column: 0) ?? 0
    }

    package mutating func addRunCounts(
        _ run: UInt128, stored: Int, repeated: Int, quarantined: Int
    ) throws(PostgresError) {
        try connection.run(
            Statement(
                "counting", "SELECT vault.add_run_counts($1, $2, $3, $4)", .uuid(run), .int(stored), .int(repeated),
                .int(quarantined)))
    }

    @discardableResult
    package mutating func finishRun(_ run: UInt128, outcome: String) throws(PostgresError) -> AuditReceipt? {
        try audited(
            Statement(
                "ending the run", "SELECT audit_sequence, audit_head FROM vault.finish_run($1, $2)", .uuid(run),
                .text(outcome)))
    }

    /// Enters message ids into the ledger; returns those that stood there already.
    package mutating func claimMessages(
        queue: String, ids: [String], keyVersion: UInt32, bodyMACs: [[UInt8]]
    ) throws(PostgresError) -> [KnownMessage] {
        var macs = BinaryArray(of: .bytea, capacity: bodyMACs.count * 20)
        for mac in bodyMACs { macs.append(mac.span) }
        let rows = try connection.run(
            Statement(
                "entering messages into the ledger",
                "SELECT ordinal, key_version, body_mac FROM vault.claim_messages($1, $2, $3, $4)",
                .text(queue), .textArray(ids), .int4(Int32(keyVersion)), .array(macs)))
        return (0..<rows.count).map { row in
            KnownMessage(
                index: (rows.int(row: row, column: 0) ?? 0) - 1, keyVersion: UInt32(rows.int(row: row, column: 1) ?? 0),
                bodyMAC: rows.bytes(row: row, column: 2) ?? [])
        }
    }

    package mutating func findFiles(named name: String) throws(PostgresError) -> [KnownFile] {
        let rows = try connection.run(
            Statement(
                "looking for the file in the ledger",
                """
                SELECT id, key_version, prefix_length, fingerprint, committed_offset, committed_lines
                FROM vault.find_file($1)
                """, .text(name)))
        return (0..<rows.count).map { row in
            KnownFile(
                id: rows.uuid(row: row, column: 0) ?? 0, keyVersion: UInt32(rows.int(row: row, column: 1) ?? 0),
                prefixLength: rows.int(row: row, column: 2) ?? 0, fingerprint: rows.bytes(row: row, column: 3) ?? [],
                committedOffset: rows.int(row: row, column: 4) ?? 0, committedLines: rows.int(row: row, column: 5) ?? 0)
        }
    }

    package mutating func registerFile(
        _ id: UInt128, name: String, keyVersion: UInt32, prefixLength: Int, fingerprint: [UInt8]
    ) throws(PostgresError) {
        try connection.run(
            Statement(
                "entering the file into the ledger", "SELECT vault.register_file($1, $2, $3, $4, $5)",
                .uuid(id), .text(name), .int4(Int32(keyVersion)), .int4(Int32(prefixLength)), .bytes(fingerprint)))
    }

    /// Moves the file's committed offset, if nobody else has.
    package mutating func advanceFile(_ id: UInt128, from: Int, to: Int, lines: Int) throws(PostgresError) {
        try connection.run(
            Statement(
                "advancing the file's offset", "SELECT vault.advance_file($1, $2, $3, $4)",
                .uuid(id), .int(from), .int(to), .int(lines)))
    }

    /// - Parameter rows: in the column order of the exercise, `masked_ip_net` last where the table has it.
    package mutating func copyLogins(_ rows: CopyRows, shape: LoginTableShape) throws(PostgresError) {
        let purpose: StaticString = "inserting login rows"
        let statement =
            shape.hasNetworkColumn
            ? Statement(
                purpose,
                """
                COPY public.user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                    masked_ip_net) FROM STDIN (FORMAT binary)
                """)
            : Statement(
                purpose,
                """
                COPY public.user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
                FROM STDIN (FORMAT binary)
                """)
        try connection.copyIn(statement, rows)
    }

    /// Begins to insert originals not yet in the vault; an original that stands is never overwritten. The caller prepares
    /// the next batch meanwhile.
    ///
    /// Tokens must be sorted, or two workers deadlock.
    package mutating func sendOriginals(_ group: OriginalGroup) throws(PostgresError) -> PendingStatement {
        try connection.send(
            Statement(
                "inserting originals",
                """
                INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
                SELECT new.token, $3, $4, $5, new.sealed FROM unnest($1::uuid[], $2::bytea[]) AS new (token, sealed)
                ON CONFLICT DO NOTHING
                """, .array(group.tokens), .array(group.sealed), .text(group.domain),
                .int4(Int32(group.tokenVersion)), .uuid(group.dataKey)))
    }

    /// Whether the server has answered; nothing to wait for then.
    package mutating func isAnswered(_ statement: borrowing PendingStatement) -> Bool {
        connection.isAnswered(statement)
    }

    /// Waits until the originals that were sent are inserted.
    package mutating func originalsInserted(_ statement: consuming PendingStatement) throws(PostgresError) {
        _ = try connection.receive(statement)
    }

    package mutating func insertQuarantined(_ record: QuarantinedRecord, run: UInt128?) throws(PostgresError) {
        try connection.run(
            Statement(
                "putting a record into the quarantine",
                """
                INSERT INTO vault.quarantine (id, run, source, position, cause, truncated, body_mac, data_key, sealed)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
                """, .uuid(record.id), .uuid(run), .text(record.source), .text(record.position), .text(record.cause),
                .bool(record.isTruncated), .bytes(record.bodyMAC), .uuid(record.dataKey), .bytes(record.sealed)))
    }

    @discardableResult
    package mutating func recordTokenize(domain: String, count: Int, reason: String) throws(PostgresError)
        -> AuditReceipt?
    {
        try audited(
            Statement(
                "recording the tokenization",
                "SELECT audit_sequence, audit_head FROM vault.record_tokenize($1, $2, $3)", .text(domain),
                .int4(Int32(count)), .text(reason)))
    }
}
