package import Foundation
package import Postgres
import VaultCrypto

/// One file of `migrations/`: `0001_name.sql`.
package struct Migration: Sendable {
    package let number: Int
    package let name: String
    package let script: String

    /// Reads every migration in `folder`, in order.
    package static func load(from folder: URL) throws(MigrationError) -> [Migration] {
        var migrations: [Migration] = []
        for url in try sqlFiles(in: folder) {
            let stem = url.deletingPathExtension().lastPathComponent
            guard let separator = stem.firstIndex(of: "_"), let number = Int(stem[..<separator]) else { continue }
            let name = String(stem[stem.index(after: separator)...])
            migrations.append(Migration(number: number, name: name, script: try read(url)))
        }
        return migrations.sorted { $0.number < $1.number }
    }

    static func sqlFiles(in folder: URL) throws(MigrationError) -> [URL] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else {
            throw .folderMissing(folder.path)
        }
        return names.filter { $0.hasSuffix(".sql") }.sorted().map { folder.appending(path: $0) }
    }

    static func read(_ url: URL) throws(MigrationError) -> String {
        guard let text = try? String(contentsOf: url, encoding: .utf8) else { throw .folderMissing(url.path) }
        return text
    }

    /// SHA-256 of the file, in hexadecimal, as `vault.schema_migration` keeps it.
    var checksum: String { Hex.encode(SHA256.hash(Array(script.utf8))) }

    /// The script without its own BEGIN and COMMIT, which stand alone on their lines for `psql -f`.
    var statements: String {
        script.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { $0 != "BEGIN;" && $0 != "COMMIT;" }.joined(separator: "\n")
    }
}

/// Why the schema could not be brought up to date, or is not what it should be.
package enum MigrationError: Error {
    case folderMissing(String)
    case changedAfterwards(number: Int, name: String)
    case schemaIsNewer(database: Int, program: Int)
    case failed(file: String, reason: String)
    case database(PostgresError)
}

extension MigrationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .folderMissing(let path):
            "cannot read \(path); name the folder with migrations by --migrations or TOKENVAULT_MIGRATIONS"
        case .changedAfterwards(let number, let name):
            "migration \(number) (\(name)) differs from the one that was applied; restore the file, and put the change into a new one"
        case .schemaIsNewer(let database, let program):
            "the database's schema is at \(database), this program knows up to \(program); use the newer release"
        case .failed(let file, let reason): "\(file) failed: \(reason)"
        case .database(let error): "\(error)"
        }
    }
}

/// Brings the schema up to date. For the administrator (`NOSUPERUSER CREATEROLE`).
extension VaultStore {
    /// How far the schema is: the applied migrations' numbers, empty before the first.
    package mutating func appliedMigrations() throws(PostgresError) -> [Int] {
        let exists = try connection.run(
            Statement("looking for the schema", "SELECT pg_catalog.to_regclass('vault.schema_migration') IS NOT NULL"))
        guard exists.bool(row: 0, column: 0) == true else { return [] }
        let rows = try connection.run(
            Statement("reading applied migrations", "SELECT number FROM vault.schema_migration ORDER BY number"))
        return (0..<rows.count).compactMap { rows.int(row: $0, column: 0) }
    }

    /// Makes the group roles. Runs `migrations/roles.sql`; safe to repeat.
    package mutating func createRoles(from folder: URL) throws(MigrationError) {
        let script = try Migration.read(folder.appending(path: "roles.sql"))
        try run(script, file: "roles.sql")
    }

    /// Applies what is missing, each migration in a transaction of its own, one migrating session at a time.
    ///
    /// - Returns: the migrations applied now.
    package mutating func migrate(_ migrations: [Migration]) throws(MigrationError) -> [Migration] {
        do {
            try connection.run(
                Statement("waiting for other migrations", "SELECT pg_catalog.pg_advisory_lock(7239120554172)"))
        } catch { throw .database(error) }
        defer {
            _ = try? connection.run(
                Statement("ending migrations", "SELECT pg_catalog.pg_advisory_unlock(7239120554172)"))
        }
        let applied: Set<Int>
        do { applied = Set(try appliedMigrations()) } catch { throw .database(error) }
        if let newest = applied.max(), let known = migrations.last?.number, newest > known {
            throw .schemaIsNewer(database: newest, program: known)
        }
        for migration in migrations where applied.contains(migration.number) { try checkChecksum(of: migration) }
        let missing = migrations.filter { !applied.contains($0.number) }
        for migration in missing { try apply(migration) }
        return missing
    }

    /// Runs every script of `migrations/verify`; each raises unless the schema and privileges are as they should be.
    ///
    /// - Returns: the names of the scripts, all of which passed.
    package mutating func verifySchema(from folder: URL) throws(MigrationError) -> [String] {
        let files = try Migration.sqlFiles(in: folder.appending(path: "verify"))
        for file in files { try run(try Migration.read(file), file: "verify/\(file.lastPathComponent)") }
        return files.map(\.lastPathComponent)
    }

    private mutating func apply(_ migration: Migration) throws(MigrationError) {
        let file = "migration \(migration.number) (\(migration.name))"
        do { try connection.begin() } catch { throw .database(error) }
        do {
            try run(migration.statements, file: file)
        } catch {
            connection.rollback()
            throw error
        }
        do {
            try recordChecksum(of: migration)
            _ = try connection.commit()
        } catch {
            connection.rollback()
            throw .database(error)
        }
    }

    private mutating func recordChecksum(of migration: Migration) throws(PostgresError) {
        try connection.run(
            Statement(
                "recording a migration's checksum",
                """
                UPDATE vault.schema_migration SET checksum = pg_catalog.sha256($2)
                WHERE number = $1 AND checksum IS NULL
                """, .int4(Int32(migration.number)), .bytes(Array(migration.script.utf8))))
    }

    private mutating func checkChecksum(of migration: Migration) throws(MigrationError) {
        do {
            try recordChecksum(of: migration)  // one applied by psql has none yet
            let rows = try connection.run(
                Statement(
                    "comparing a migration's checksum",
                    "SELECT checksum = pg_catalog.sha256($2) FROM vault.schema_migration WHERE number = $1",
                    .int4(Int32(migration.number)), .bytes(Array(migration.script.utf8))))
            if rows.bool(row: 0, column: 0) == true { return }
        } catch { throw .database(error) }
        throw .changedAfterwards(number: migration.number, name: migration.name)
    }

    /// The scripts speak of the catalogue only, so what they raise may be shown.
    private mutating func run(_ script: String, file: String) throws(MigrationError) {
        do {
            try connection.runTrustedScript("running a script", script)
        } catch {
            guard case .refused(_, let state, _, let message, let hint) = error, !state.meansOutdatedServer(message)
            else {
                throw .database(error)
            }
            throw .failed(file: file, reason: "\(message) (SQLSTATE \(state.code))" + (hint.map { "; \($0)" } ?? ""))
        }
    }
}
