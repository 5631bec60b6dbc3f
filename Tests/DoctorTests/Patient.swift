import Foundation
import TestSupport
import Testing

/// One line of `tokenvault doctor --json`.
struct Line: Decodable, CustomStringConvertible {
    let check: String
    let verdict: String
    let message: String
    let remedy: String?
    let remedy_kind: String?
    let run_as: String?

    static func all(_ finished: Finished) throws -> [Line] {
        try finished.standardOutput.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    var isWrong: Bool { verdict == "warning" || verdict == "failure" }
    var description: String { "\(verdict) \(check): \(message)" }
}

/// A vault in order, on a server of its own: `doctor` looks at settings of the whole server.
struct Patient: Sendable {
    static let shared = Result { try Patient() }

    let vault: LiveVault

    private init() throws {
        let cluster = try PrivateCluster(
            purpose: "doctor",
            settings: """
                max_prepared_transactions = 0
                log_parameter_max_length = 0
                log_error_verbosity = terse
                """)
        vault = try LiveVault("doctor", on: cluster)
        let roles = PrivateCluster.logins.map(\.login) + ["vault_admin", "postgres"]
        try shell(
            Self.authentication + "; for role in \(roles.joined(separator: " ")); do "
                + "echo \"tests $(id -un) $role\" >>$D/pg_ident.conf; done")
        _ = try vault.query("SELECT pg_reload_conf()")
    }

    /// Writes a pg_hba.conf that is in order: the tests' own user is every role, and nobody else is any.
    static let authentication = "echo 'local all all peer map=tests' >$D/pg_hba.conf"

    /// With `$V` for the vault's folder, `$D` for the server's.
    func shell(_ text: String) throws {
        try Command(
            "/bin/sh", ["-c", text], environment: ["V": vault.folder.path, "D": vault.cluster.dataFolder.path]
        ).check()
    }

    /// As on the ingest host: no recovery keyring.
    func examine(_ user: String, environment extra: [String: String] = [:]) throws -> (status: Int32, lines: [Line]) {
        var environment = ["TOKENVAULT_RECOVERY_KEYRING": ""]
        environment.merge(extra) { $1 }
        let finished = try vault.tokenvault(user, ["doctor", "--json"], environment: environment)
        #expect(finished.standardError == "")
        return (finished.status, try Line.all(finished))
    }

    /// Does what the remedies say, as whom they say.
    func mend(_ lines: [Line]) throws {
        for line in lines where line.isWrong {
            let remedy = try #require(line.remedy, "\(line) has no remedy")
            switch line.remedy_kind {
            case "sql":
                let user = line.run_as == "superuser" ? "postgres" : "vault_admin"
                try vault.cluster.psql(user: user, database: vault.database, remedy)
            case "shell": try Command("/bin/sh", ["-c", remedy]).check()
            default: continue
            }
        }
    }
}
