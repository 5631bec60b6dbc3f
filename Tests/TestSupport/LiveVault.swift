package import Foundation

/// A vault as an operator would set it up, in a database of its own: schema, roles, login roles, keyrings; driven by the
/// real program.
package struct LiveVault: Sendable {
    package let cluster: PrivateCluster
    package let database: String
    /// Keyrings, passphrase and records of this vault. Mode 0700.
    package let folder: URL

    /// - Parameter name: of the database; letters, digits, underscores.
    package init(_ name: String, on cluster: PrivateCluster? = nil, makeKeys: Bool = true) throws {
        try self.init(adopting: name, on: try cluster ?? PrivateCluster.shared.get())
        try self.cluster.makeVault(name)
        if makeKeys { try tokenvault("vault_operator", ["keys", "generate"]).succeeded() }
    }

    /// A folder and a passphrase for a database that stands already.
    package init(adopting name: String, on cluster: PrivateCluster) throws {
        self.cluster = cluster
        database = name
        folder = try Repository.temporaryFolder("vault")
        let passphrase = folder.appending(path: "passphrase")
        try Data("correct horse battery staple\n".utf8).write(to: passphrase)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: passphrase.path)
    }

    package func remove() { try? FileManager.default.removeItem(at: folder) }

    package var environment: [String: String] {
        [
            "TOKENVAULT_INGEST_KEYRING": folder.appending(path: "ingest.keyring").path,
            "TOKENVAULT_RECOVERY_KEYRING": folder.appending(path: "recovery.keyring").path,
            "TOKENVAULT_PASSPHRASE_FILE": folder.appending(path: "passphrase").path,
            "TOKENVAULT_MIGRATIONS": Repository.path("migrations"),
            "SWIFT_BACKTRACE": "enable=no",
        ]
    }

    /// The program as `user`, ready to run.
    package func command(
        _ user: String, _ arguments: [String], input: String = "", environment extra: [String: String] = [:]
    ) -> Command {
        var all = environment
        all["TOKENVAULT_DATABASE"] = cluster.connectionString(user: user, database: database)
        all.merge(extra) { $1 }
        return Command(Repository.tokenvault, arguments, environment: all, input: Data(input.utf8))
    }

    package func tokenvault(
        _ user: String, _ arguments: [String], input: String = "", environment: [String: String] = [:]
    ) throws -> Finished {
        try command(user, arguments, input: input, environment: environment).run()
    }

    /// Rows of a query by the superuser, for checking what really stands there.
    package func query(_ sql: String) throws -> String {
        try cluster.psql(user: "postgres", database: database, sql)
    }

    /// Writes `text` to a file of this vault's folder.
    package func file(_ name: String, _ text: String) throws -> String {
        let url = folder.appending(path: name)
        try Data(text.utf8).write(to: url)
        return url.path
    }

    /// Records as scripts/make_records.py prints them.
    package static func records(_ count: Int, _ options: [String] = []) throws -> String {
        try Command("/usr/bin/env", ["python3", Repository.path("scripts/make_records.py"), "\(count)"] + options)
            .check()
    }
}

extension Finished {
    /// Throws unless the program exited with 0.
    @discardableResult
    package func succeeded() throws -> Finished {
        guard status == 0, !wasKilled else { throw CommandFailed(description: "exit \(status): \(standardError)") }
        return self
    }
}
