package import Postgres

/// The state of the vault itself, for `doctor`. Each needs a role; SQLSTATE 42501 without.
extension VaultStore {
    /// How many data keys are sealed to no recovery key that is still in use. Operator or administrator.
    package mutating func dataKeysNobodyOpens() throws(PostgresError) -> (lost: Int, all: Int) {
        let rows = try connection.run(
            Statement(
                "counting data keys without a seal",
                """
                SELECT count(*) FILTER (WHERE NOT EXISTS (
                           SELECT FROM vault.data_key_seal AS seal
                           JOIN vault.key_version AS reader ON reader.id = seal.recovery_key
                           WHERE seal.data_key = key.id AND reader.purpose = 'recovery' AND reader.state = 'active')),
                       count(*)
                FROM vault.data_key AS key
                """))
        return (lost: rows.int(row: 0, column: 0) ?? 0, all: rows.int(row: 0, column: 1) ?? 0)
    }

    /// Domains of data keys. Operator or administrator.
    package mutating func domainsInUse() throws(PostgresError) -> [String] {
        let rows = try connection.run(
            Statement("listing domains", "SELECT DISTINCT key.domain FROM vault.data_key AS key ORDER BY 1"))
        return (0..<rows.count).compactMap { rows.text(row: $0, column: 0) }
    }

    /// Kind, state and start of rotations that have not ended. Operator or auditor.
    package mutating func unfinishedRotations() throws(PostgresError) -> [String] {
        let rows = try connection.run(
            Statement(
                "looking for unfinished rotations",
                """
                SELECT rotation.kind || ' since '
                       || pg_catalog.to_char(rotation.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
                FROM vault.rotations(100) AS rotation WHERE rotation.finished_at IS NULL ORDER BY rotation.started_at
                """))
        return (0..<rows.count).compactMap { rows.text(row: $0, column: 0) }
    }

    /// Ingest runs that began more than a day ago and have no end. Operator.
    package mutating func runsWithoutEnd() throws(PostgresError) -> Int {
        let rows = try connection.run(
            Statement(
                "looking for runs without an end",
                """
                SELECT count(*) FROM vault.ingest_run AS run
                WHERE run.ended_at IS NULL AND run.started_at < pg_catalog.clock_timestamp() - interval '1 day'
                """))
        return rows.int(row: 0, column: 0) ?? 0
    }

    /// Ledger entries that the next run from a queue should have removed. Administrator.
    package mutating func messagesPastTheirTime() throws(PostgresError) -> Int {
        let rows = try connection.run(
            Statement(
                "looking for old messages",
                """
                SELECT count(*) FROM vault.ingest_message AS message
                WHERE message.received_at < pg_catalog.clock_timestamp() - interval '16 days'
                """))
        return rows.int(row: 0, column: 0) ?? 0
    }

    /// Records that wait in the quarantine, at most 10,000. Recoverer, operator or auditor.
    package mutating func quarantineWaiting() throws(PostgresError) -> Int {
        let rows = try connection.run(
            Statement(
                "counting the quarantine",
                """
                SELECT count(*) FROM vault.quarantine_list(10000) AS record WHERE record.resolution IS NULL
                """))
        return rows.int(row: 0, column: 0) ?? 0
    }

    /// The migrations applied, and whether each is the file of this release. Administrator.
    package mutating func migrationFaults(_ migrations: [Migration]) throws(PostgresError) -> [String] {
        let rows = try connection.run(
            Statement(
                "reading applied migrations",
                "SELECT number, name, pg_catalog.encode(checksum, 'hex') FROM vault.schema_migration ORDER BY number"))
        var faults: [String] = []
        var applied: Set<Int> = []
        for row in 0..<rows.count {
            let number = rows.int(row: row, column: 0) ?? 0
            applied.insert(number)
            guard let known = migrations.first(where: { $0.number == number }) else {
                faults.append("\(number) (\(rows.text(row: row, column: 1) ?? "")) is not in the folder")
                continue
            }
            guard let checksum = rows.text(row: row, column: 2) else { continue }
            if checksum != known.checksum {
                faults.append("\(number) (\(known.name)) is not the file that was applied")
            }
        }
        faults += migrations.filter { !applied.contains($0.number) }.map { "\($0.number) (\($0.name)) is not applied" }
        return faults
    }
}
