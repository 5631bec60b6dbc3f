import ArgumentParser
import Foundation
import Keys
import Postgres
import VaultCrypto
import VaultStore

struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Make keyrings, list keys, and change what they may do.",
        subcommands: [
            Generate.self, Add.self, List.self, Activate.self, Retire.self, Destroy.self, ChangePassphrase.self,
        ])

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an ingest keyring and a recovery keyring, and register their keys.",
            discussion: """
                Needs a role in tokenvault_operator. The ingest keyring belongs on the ingest host, the recovery keyring with \
                its analyst and nowhere else: the ingest keyring holds its public half only.
                """)

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption
        @OptionGroup var recovery: RecoveryKeyringOptions

        @Option(help: "Name of the recovery key, e.g. the analyst's.")
        var recoveryName = "recovery-1"

        @Option(help: "Name of the ingest host's signing key.")
        var signingName = "ingest-1"

        @Option(parsing: .upToNextOption, help: "Domains that the recovery key may open; all without it.")
        var domains: [String] = []

        func run() throws {
            let settings = try database.settings()
            let ingestPath = try settings.requiredPath(
                .ingestKeyring, flag: ingest.ingestKeyring, option: "ingest-keyring")
            let recoveryPath = try settings.requiredPath(
                .recoveryKeyring, flag: recovery.recoveryKeyring, option: "recovery-keyring")
            for path in [ingestPath, recoveryPath] where FileManager.default.fileExists(atPath: path) {
                throw Failure(.refused, "\(path) exists; a keyring is never overwritten, name another file")
            }
            var store = try database.openChecked()
            let passphrase = try Passphrase.read(
                file: settings.string(.passphraseFile, flag: recovery.passphraseFile), confirm: true,
                purpose: recoveryPath)

            var recoveryKeyring = try RecoveryKeyring.generate(
                name: recoveryName, domains: domains.isEmpty ? nil : domains, passphrase: passphrase)
            let ingestKeyring = try IngestKeyring.generate(
                recoveryKeys: recoveryKeyring.publicKeys, signingKeyName: signingName)
            try recoveryKeyring.trust(signingKey: ingestKeyring.signingPublicKey)
            try ingestKeyring.save(path: ingestPath)
            try recoveryKeyring.save(path: recoveryPath)
            let descriptions = ingestKeyring.descriptions
            var receipt: AuditReceipt?
            do {
                _ = try store.transaction { store throws(PostgresError) in
                    for key in descriptions { receipt = try store.registerKey(key) }
                }
            } catch {
                for path in [ingestPath, recoveryPath] { _ = unsafe unlink(path) }  // nothing depends on them yet
                throw error
            }
            Messages.receipt(receipt)
            for key in descriptions { Messages.note("made \(key.purpose.rawValue) key \(key.name) (\(key.id.text))") }
            Messages.note(
                "\(ingestPath): for the ingest host; \(recoveryPath): for its owner only, with its passphrase")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the registered keys: purpose, version, state, fingerprint.",
            discussion:
                "With --ingest-keyring or --recovery-keyring, lists what a file holds instead; no passphrase is needed."
        )

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var ingest: IngestKeyringOption
        @Option(help: ArgumentHelp("List this recovery keyring instead.", valueName: "file"))
        var recoveryKeyring: String?

        func run() throws {
            let standardOutput = StandardOutput()
            var table = Table("PURPOSE", "NAME", "VERSION", "STATE", "FINGERPRINT", "DOMAINS", "SINCE")
            for key in try rows() {
                let domains = key.domains?.joined(separator: ",")
                if output.json {
                    var line = JSONLine()
                    line.add("purpose", key.purpose)
                    line.add("name", key.name)
                    line.add("version", key.version)
                    line.add("state", key.state)
                    line.add("fingerprint", key.fingerprint)
                    line.add("domains", key.domains)
                    line.add("created", key.created)
                    try standardOutput.line(line.text)
                } else {
                    let version = key.version.map { "v\($0)" } ?? "-"
                    table.add(
                        key.purpose, key.name, version, key.state, key.fingerprint, domains ?? "all", key.created)
                }
            }
            if !output.json { for line in table.lines { try standardOutput.line(line) } }
            try standardOutput.flush()
        }

        private struct Row {
            let purpose, name: String
            let version: Int?
            let state, fingerprint: String
            let domains: [String]?
            let created: String
        }

        private func rows() throws -> [Row] {
            if let path = ingest.ingestKeyring { return try IngestKeyring.load(path: path).descriptions.map(row) }
            if let path = recoveryKeyring { return try RecoveryKeyring.describe(path: path).map(row) }
            var store = try database.open()
            return try store.keyStates().map { key in
                Row(
                    purpose: key.purpose, name: key.name, version: key.version, state: key.state,
                    fingerprint: key.id.text, domains: key.domains, created: key.created)
            }
        }

        private func row(_ key: KeyDescription) -> Row {
            Row(
                purpose: key.purpose.rawValue, name: key.name, version: key.version.map { Int($0.number) },
                state: key.state.rawValue, fingerprint: key.id.text, domains: key.domains, created: key.created)
        }
    }
}
