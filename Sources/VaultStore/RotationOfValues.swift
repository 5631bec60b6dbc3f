package import Postgres

/// New originals beside old ones, and the pairs of tokens that rows move by.
package struct SuccessorBatch {
    package private(set) var originals = 0
    private var places = BinaryArray(of: .tid, capacity: 100_000)
    private var old = BinaryArray(of: .uuid, capacity: 200_000)
    private var new = BinaryArray(of: .uuid, capacity: 200_000)
    private var domains = BinaryArray(of: .text, capacity: 100_000)
    private var versions = BinaryArray(of: .int4, capacity: 100_000)
    private var slices = BinaryArray(of: .int4, capacity: 100_000)
    private var dataKeys = BinaryArray(of: .uuid, capacity: 200_000)
    private var sealed = BinaryArray(of: .bytea, capacity: 1_000_000)
    private var oldNetworks = BinaryArray(of: .uuid, capacity: 100_000)
    private var newNetworks = BinaryArray(of: .uuid, capacity: 100_000)
    private var networkDomains = BinaryArray(of: .text, capacity: 100_000)
    private var networkVersions = BinaryArray(of: .int4, capacity: 100_000)
    private var networkSlices = BinaryArray(of: .int4, capacity: 100_000)

    package init() {}

    /// A value's original under its new token. Rows that hold the old token are to hold the new one; tokens of one slice
    /// move in one transaction.
    package mutating func addOriginal(
        old original: SealedOriginal, new bits: UInt128, slice: Int32, dataKey: UInt128, sealed bytes: Span<UInt8>
    ) {
        places.append(original.place.bytes.span)
        old.append(uuid: original.token)
        new.append(uuid: bits)
        domains.append(utf8: original.domain)
        versions.append(int4: Int32(original.version))
        slices.append(int4: slice)
        dataKeys.append(uuid: dataKey)
        sealed.append(bytes)
        originals += 1
    }

    /// The tokens of a derived domain, which has no originals.
    package mutating func addNetwork(
        old: UInt128, new: UInt128, domain: String, oldVersion: UInt32, slice: Int32
    ) {
        oldNetworks.append(uuid: old)
        newNetworks.append(uuid: new)
        networkDomains.append(utf8: domain)
        networkVersions.append(int4: Int32(oldVersion))
        networkSlices.append(int4: slice)
    }

    fileprivate func statement(_ rotation: UInt128) -> Statement {
        Statement(
            "storing originals under their new tokens",
            """
            SELECT token
            FROM vault.store_successors($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            """, .uuid(rotation), .array(places), .array(old), .array(new), .array(domains), .array(versions),
            .array(slices), .array(dataKeys), .array(sealed), .array(oldNetworks), .array(newNetworks),
            .array(networkDomains), .array(networkVersions), .array(networkSlices))
    }
}

/// Originals sealed again under fresh data keys.
package struct ResealedBatch {
    package private(set) var count = 0
    private var places = BinaryArray(of: .tid, capacity: 100_000)
    private var tokens = BinaryArray(of: .uuid, capacity: 200_000)
    private var oldKeys = BinaryArray(of: .uuid, capacity: 200_000)
    private var newKeys = BinaryArray(of: .uuid, capacity: 200_000)
    private var sealed = BinaryArray(of: .bytea, capacity: 1_000_000)

    package init() {}

    package mutating func add(_ original: SealedOriginal, newKey: UInt128, sealed bytes: Span<UInt8>) {
        places.append(original.place.bytes.span)
        tokens.append(uuid: original.token)
        oldKeys.append(uuid: original.dataKey)
        newKeys.append(uuid: newKey)
        sealed.append(bytes)
        count += 1
    }

    fileprivate func statement(
        _ rotation: UInt128, from: UInt128?, to: UInt128?, valueSum: UInt128
    ) -> Statement {
        Statement(
            "replacing sealed originals", "SELECT vault.replace_sealed($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            .uuid(rotation), .uuid(from), .uuid(to), .uuid(valueSum), .array(places), .array(tokens),
            .array(oldKeys), .array(newKeys), .array(sealed))
    }
}

/// Verbs of the rotations that open values: token key and data keys.
extension VaultStore {
    /// Blocks of the tables that are read by place: `vault.original` and the pairs of tokens.
    package mutating func rotationExtent() throws(PostgresError) -> (originals: Int, pairs: Int) {
        let rows = try connection.run(
            Statement("measuring the vault", "SELECT originals, pairs FROM vault.rotation_extent()"))
        return (rows.int(row: 0, column: 0) ?? 0, rows.int(row: 0, column: 1) ?? 0)
    }

    /// First pass: the originals to be done in some blocks.
    package mutating func rotationPage(
        _ rotation: UInt128, blocks: Range<Int>
    ) throws(PostgresError) -> [SealedOriginal] {
        sealedOriginals(
            try connection.run(
                Statement(
                    "reading sealed originals",
                    """
                    SELECT place, token, domain, token_version, data_key, sealed
                    FROM vault.rotation_page($1, $2, $3)
                    """, .uuid(rotation), .int(blocks.lowerBound), .int(blocks.upperBound))))
    }

    /// Later passes: originals that are still to be done, wherever they lie.
    package mutating func rotationLeftovers(
        _ rotation: UInt128, limit: Int
    ) throws(PostgresError) -> [SealedOriginal] {
        sealedOriginals(
            try connection.run(
                Statement(
                    "reading sealed originals",
                    """
                    SELECT place, token, domain, token_version, data_key, sealed FROM vault.rotation_leftovers($1, $2)
                    """, .uuid(rotation), .int4(Int32(limit)))))
    }

    package mutating func rotationOriginals(
        _ rotation: UInt128, tokens: [UInt128]
    ) throws(PostgresError) -> [SealedOriginal] {
        sealedOriginals(
            try connection.run(
                Statement(
                    "reading sealed originals",
                    """
                    SELECT NULL, token, domain, token_version, data_key, sealed FROM vault.rotation_originals($1, $2)
                    """, .uuid(rotation), .array(Self.uuids(tokens)))))
    }

    /// Begins to store a page; the caller prepares the next one meanwhile.
    package mutating func sendSuccessors(
        _ rotation: UInt128, _ batch: SuccessorBatch
    ) throws(PostgresError) -> PendingStatement {
        try connection.send(batch.statement(rotation))
    }

    /// - Returns: new tokens that stood already; open them before committing.
    package mutating func successorsStored(_ pending: consuming PendingStatement) throws(PostgresError) -> [UInt128] {
        let rows = try connection.receive(pending)
        return (0..<rows.count).compactMap { rows.uuid(row: $0, column: 0) }
    }

    /// Moves the cursor over a page that this transaction has stored.
    ///
    /// - Throws: ``SQLState/fileAdvancedByAnother`` when it does not stand at `from`.
    package mutating func passOriginals(
        _ rotation: UInt128, from: UInt128?, to: UInt128?, count: Int, valueSum: UInt128
    ) throws(PostgresError) {
        try connection.run(
            Statement(
                "moving the rotation's cursor", "SELECT vault.pass_originals($1, $2, $3, $4, $5)", .uuid(rotation),
                .uuid(from), .uuid(to), .int4(Int32(count)), .uuid(valueSum)))
    }

    /// Begins to store a page; the caller prepares the next one meanwhile.
    package mutating func sendResealed(
        _ rotation: UInt128, from: UInt128?, to: UInt128?, valueSum: UInt128, _ batch: ResealedBatch
    ) throws(PostgresError) -> PendingStatement {
        try connection.send(batch.statement(rotation, from: from, to: to, valueSum: valueSum))
    }

    /// - Returns: how many originals still stood under the data key they were read with, and were replaced.
    package mutating func resealedStored(_ pending: consuming PendingStatement) throws(PostgresError) -> Int {
        try connection.receive(pending).int(row: 0, column: 0) ?? 0
    }

    /// Moves the rows of all groups in some slices, each group whole, in one transaction of its own.
    package mutating func moveRows(_ rotation: UInt128, slices: ClosedRange<Int32>) throws(PostgresError) -> Int {
        try connection.run(
            Statement(
                "moving rows to their new tokens", "SELECT vault.move_rows($1, $2, $3)", .uuid(rotation),
                .int4(slices.lowerBound), .int4(slices.upperBound))
        ).int(row: 0, column: 0) ?? 0
    }

    package mutating func analyzeSuccessors() throws(PostgresError) {
        try connection.run(Statement("counting pairs", "SELECT vault.analyze_successors()"))
    }

    /// Rows of all registered tables, as the planner knows it.
    package mutating func rowsAbout() throws(PostgresError) -> Int {
        try connection.run(Statement("measuring the rows", "SELECT vault.rows_about()")).int(row: 0, column: 0) ?? 0
    }

    /// Tokens of older versions in rows.
    package mutating func oldRows(_ rotation: UInt128) throws(PostgresError) -> Int {
        try connection.run(
            Statement("counting rows under old tokens", "SELECT vault.old_rows($1)", .uuid(rotation))
        ).int(row: 0, column: 0) ?? 0
    }

    /// Rows of older versions: those that a pair can move, and those that none can.
    package mutating func rowsToMove(_ rotation: UInt128) throws(PostgresError) -> (movable: Int, stuck: Int) {
        let rows = try connection.run(
            Statement("counting rows to move", "SELECT movable, stuck FROM vault.rows_to_move($1)", .uuid(rotation)))
        return (rows.int(row: 0, column: 0) ?? 0, rows.int(row: 0, column: 1) ?? 0)
    }

    package mutating func dropOldOriginals(_ rotation: UInt128) throws(PostgresError) -> Int {
        try connection.run(
            Statement("removing old originals", "SELECT vault.drop_old_originals($1)", .uuid(rotation))
        ).int(row: 0, column: 0) ?? 0
    }

    /// Begins the same in a transaction that stays open; rows move in another session meanwhile.
    package mutating func sendRemovalOfOldOriginals(_ rotation: UInt128) throws(PostgresError) -> PendingStatement {
        try connection.send(
            Statement("removing old originals", "SELECT vault.drop_old_originals($1)", .uuid(rotation)))
    }

    package mutating func oldOriginalsRemoved(_ pending: consuming PendingStatement) throws(PostgresError) -> Int {
        try connection.receive(pending).int(row: 0, column: 0) ?? 0
    }

    /// Whether no original and no row is left under another key than the rotation's.
    package mutating func isAllMoved(_ rotation: UInt128) throws(PostgresError) -> Bool {
        try connection.run(
            Statement("looking for what is left", "SELECT vault.is_all_moved($1)", .uuid(rotation))
        ).bool(row: 0, column: 0) ?? false
    }

    /// Pairs of tokens that a rotation made, in some blocks of their table.
    package mutating func rotationPairs(
        _ rotation: UInt128, blocks: Range<Int>
    ) throws(PostgresError) -> [(old: String, new: String)] {
        let rows = try connection.run(
            Statement(
                "reading pairs of tokens", "SELECT old_token, new_token FROM vault.rotation_pairs($1, $2, $3)",
                .uuid(rotation), .int(blocks.lowerBound), .int(blocks.upperBound)))
        return (0..<rows.count).map { (rows.text(row: $0, column: 0) ?? "", rows.text(row: $0, column: 1) ?? "") }
    }

    /// Originals that a rotation of data keys sealed again.
    package mutating func resealedOriginals(
        _ rotation: UInt128, after token: UInt128?, limit: Int
    ) throws(PostgresError) -> [SealedOriginal] {
        sealedOriginals(
            try connection.run(
                Statement(
                    "reading sealed originals",
                    """
                    SELECT NULL, token, domain, token_version, data_key, sealed
                    FROM vault.resealed_originals($1, $2, $3)
                    """, .uuid(rotation), .uuid(token), .int4(Int32(limit)))))
    }

    package mutating func rotationQuarantinePage(
        _ rotation: UInt128, limit: Int
    ) throws(PostgresError) -> [(id: UInt128, dataKey: UInt128, sealed: [UInt8])] {
        let rows = try connection.run(
            Statement(
                "reading quarantined records",
                "SELECT id, data_key, sealed FROM vault.rotation_quarantine_page($1, $2)", .uuid(rotation),
                .int4(Int32(limit))))
        return (0..<rows.count).map { row in
            (
                rows.uuid(row: row, column: 0) ?? 0, rows.uuid(row: row, column: 1) ?? 0,
                rows.bytes(row: row, column: 2) ?? []
            )
        }
    }

    package mutating func replaceQuarantined(
        _ rotation: UInt128, _ records: [(id: UInt128, oldKey: UInt128, sealed: [UInt8])], newKey: UInt128
    ) throws(PostgresError) {
        var sealed = BinaryArray(of: .bytea, capacity: records.count * 300)
        for record in records { sealed.append(record.sealed.span) }
        try connection.run(
            Statement(
                "replacing quarantined records", "SELECT vault.replace_quarantined($1, $2, $3, $4, $5)",
                .uuid(rotation), .array(Self.uuids(records.map(\.id))), .array(Self.uuids(records.map(\.oldKey))),
                .uuid(newKey), .array(sealed)))
    }

    /// Removes replaced data keys that nothing is sealed under; keeps those of ingest runs that may be at work.
    package mutating func dropUnusedDataKeys(
        _ rotation: UInt128
    ) throws(PostgresError) -> (dropped: Int, kept: Int) {
        let rows = try connection.run(
            Statement(
                "removing unused data keys", "SELECT dropped, kept FROM vault.drop_unused_data_keys($1)",
                .uuid(rotation)))
        return (rows.int(row: 0, column: 0) ?? 0, rows.int(row: 0, column: 1) ?? 0)
    }
}
