package import Foundation
package import Postgres

/// A real PostgreSQL server of the tests' own, started by scripts/private-cluster.sh and gone when the tests end.
package final class PrivateCluster: @unchecked Sendable {
    // @unchecked: the pipes are used under the lock only.
    /// One for the whole test run: scripts/run_tests.py, which runs suites side by side, names the one it has started.
    package static let shared = Result {
        guard let folder = ProcessInfo.processInfo.environment["TOKENVAULT_TEST_CLUSTER"] else {
            return try PrivateCluster(purpose: "pg")
        }
        return PrivateCluster(startedIn: URL(filePath: folder))
    }

    package let folder: URL
    private let process = Process()
    private let ended = DispatchGroup()
    private let commands = Pipe()
    private let answers = Pipe()
    private let lock = NSLock()

    private let port: Int

    /// - Parameter port: matters only where `settings` let it listen on an address.
    package init(purpose: String, settings: String = "", port: Int = 5432) throws {
        self.port = port
        folder = Repository.newFolder(purpose)
        _ = Orphan.isWatched
        process.executableURL = URL(filePath: Repository.path("scripts/private-cluster.sh"))
        process.arguments = [folder.path]
        process.environment = ProcessInfo.processInfo.environment.merging([
            "PRIVATE_CLUSTER_SETTINGS": settings, "PGPORT": "\(port)",
        ]) { $1 }
        process.standardInput = commands
        process.standardOutput = answers
        try process.run(noting: ended)
        guard readAnswer() == "ready" else { throw CommandFailed(description: "the private cluster did not start") }
    }

    /// A cluster that somebody else started and will end.
    private init(startedIn folder: URL) {
        self.folder = folder
        port = 5432
    }

    deinit { stop() }

    /// Ends the server and removes its folder; one that somebody else started is left alone.
    package func stop() {
        try? commands.fileHandleForWriting.close()
        ended.wait()
    }

    /// `stop-fast`, `stop-immediate` (a crash) or `start`.
    package func control(_ command: String) throws {
        lock.lock()
        defer { lock.unlock() }
        try commands.fileHandleForWriting.writeUnlessClosed(Data((command + "\n").utf8))
        guard readAnswer() == "done" else { throw CommandFailed(description: "\(command) failed") }
    }

    package var serverLog: URL { folder.appending(path: "server.log") }
    package var dataFolder: URL { folder.appending(path: "data") }

    package func connectionString(user: String, database: String) -> String {
        "host=\(folder.path)/socket port=\(port) user=\(user) dbname=\(database)"
    }

    package func connect(user: String, database: String) throws -> Connection {
        try Connection.open(connectionString(user: user, database: database))
    }

    /// A new, empty database owned by `vault_admin`.
    package func makeDatabase(_ name: String) throws {
        try psql(user: "postgres", database: "postgres", "CREATE DATABASE \(name) OWNER vault_admin")
    }

    /// A new database with roles, schema and one login role per group (`vault_ingest`, `vault_analyst`, …), made by psql
    /// from `migrations/` as `vault_admin`: once, as the template of all others.
    package func makeVault(_ name: String) throws {
        try alone {
            let template = "vault_template"
            if try psql(
                user: "postgres", database: "postgres", "SELECT 1 FROM pg_database WHERE datname = '\(template)'"
            ).isEmpty {
                try makeTemplate(template)
            }
            try psql(
                user: "postgres", database: "postgres", "CREATE DATABASE \(name) OWNER vault_admin TEMPLATE \(template)"
            )
            // A copy has neither its template's privileges nor its settings.
            try psqlFile(user: "vault_admin", database: name, Repository.path("migrations/roles.sql"))
        }
    }

    private func makeTemplate(_ name: String) throws {
        let unfinished = name + "_unfinished"
        try psql(user: "postgres", database: "postgres", "DROP DATABASE IF EXISTS \(unfinished)")
        try makeDatabase(unfinished)
        let migrations = try FileManager.default.contentsOfDirectory(atPath: Repository.path("migrations"))
            .filter { $0.hasSuffix(".sql") && $0 != "roles.sql" }.sorted()
        for file in ["roles.sql"] + migrations {
            try psqlFile(user: "vault_admin", database: unfinished, Repository.path("migrations/\(file)"))
        }
        try makeMissingLogins()
        try psql(
            user: "postgres", database: "postgres",
            "ALTER DATABASE \(unfinished) RENAME TO \(name); ALTER DATABASE \(name) ALLOW_CONNECTIONS false")
    }

    /// Login roles for tests, one a group, two where a second person is needed. Safe to repeat.
    package func makeLogins() throws { try alone { try makeMissingLogins() } }

    private func makeMissingLogins() throws {
        for (login, groups) in Self.logins {
            let exists = try psql(
                user: "postgres", database: "postgres", "SELECT 1 FROM pg_roles WHERE rolname = '\(login)'")
            guard exists.isEmpty else { continue }
            try psql(
                user: "vault_admin", database: "postgres",
                "CREATE ROLE \(login) LOGIN\(groups.isEmpty ? "" : " IN ROLE \(groups)")")
        }
    }

    /// Does one thing at a time in this cluster, whichever process or thread asks.
    private func alone(_ action: () throws -> Void) throws {
        let descriptor = unsafe open(folder.appending(path: "tests.lock").path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandFailed(description: "the cluster's folder cannot be written") }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX) == 0 else { throw CommandFailed(description: "no lock on the cluster") }
        try action()
    }

    package static let logins: [(login: String, groups: String)] = [
        ("vault_ingest", "tokenvault_ingest"), ("vault_analyst", "tokenvault_analyst"),
        ("vault_recoverer", "tokenvault_recoverer"), ("vault_recoverer2", "tokenvault_recoverer"),
        ("vault_approver", "tokenvault_approver"), ("vault_operator", "tokenvault_operator, tokenvault_ingest"),
        ("vault_auditor", "tokenvault_auditor"), ("vault_nobody", ""),
        ("vault_approver2", "tokenvault_approver"),
        ("vault_breaker", "tokenvault_recoverer, tokenvault_break_glass"),
    ]

    /// The server's own psql: Debian's /usr/bin/psql is a script in front of it that takes seven times as long.
    package static let psqlProgram: String = {
        let folder = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let found = versions.sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }.map { "\(folder)/\($0)/bin/psql" }
        return found.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "/usr/bin/psql"
    }()

    /// Runs SQL by the real psql; unaligned rows without headers come back.
    @discardableResult
    package func psql(user: String, database: String, _ sql: String) throws -> String {
        try Command(
            Self.psqlProgram,
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", connectionString(user: user, database: database)],
            input: Data(sql.utf8)
        ).check().trimmingCharacters(in: .newlines)
    }

    @discardableResult
    package func psqlFile(user: String, database: String, _ path: String) throws -> String {
        try Command(
            Self.psqlProgram,
            [
                "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", path, "-d",
                connectionString(user: user, database: database),
            ]
        ).check()
    }

    private func readAnswer() -> String {
        var line: [UInt8] = []
        while let byte = try? answers.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") {
            line.append(byte)
        }
        return String(decoding: line, as: UTF8.self)
    }
}
