import ArgumentParser
import Foundation
import Keys
import Rotation
import VaultStore

struct RotateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Replace keys without losing a value or a duplicate.",
        discussion: """
            plan says what there is to do, run does it (again after an interruption: it goes on where it was), status shows how \
            much stands under which key, verify proves that nothing changed but the keys, retire ends the old key's use. \
            docs/RUNBOOK.md goes through each case. Needs a role in tokenvault_operator, an ingest keyring that holds the old \
            and the new key, and a recovery keyring that may open every domain.
            """,
        subcommands: [RotateRecoveryKey.self, RotateDataKeys.self, RotateTokenKey.self])
}

enum RotateAction: String, ExpressibleByArgument, CaseIterable { case plan, run, status, verify, retire }

struct RotateOptions: ParsableArguments {
    @Argument(help: "plan, run, status, verify or retire.")
    var action: RotateAction

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var ingest: IngestKeyringOption
    @OptionGroup var recovery: RecoveryKeyringOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Values a second at most.")
    var throttle: Int?

    @Option(help: "Values a transaction.")
    var pageSize = 10_000

    @Option(help: "Stop when more originals than this cannot be opened.")
    var maxLeftAlone = 100

    func validate() throws {
        guard (1...100_000).contains(pageSize) else { throw ValidationError("--page-size must be 1 to 100000") }
        guard throttle ?? 1 >= 1 else { throw ValidationError("--throttle must be 1 or more") }
        guard maxLeftAlone >= 0 else { throw ValidationError("--max-left-alone must be 0 or more") }
    }
}

struct RotateRecoveryKey: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recovery-key",
        abstract: "Rewrap data keys for every active recovery key: touches no value.",
        discussion: "retire takes a deactivated recovery key (--key NAME) off every data key.")

    @OptionGroup var options: RotateOptions

    @Option(help: "retire: name of the recovery key.")
    var key: String?

    func run() throws {
        try RotateSession(kind: .recoveryKey, options: options, scope: "all", rowsPerMove: 0, fingerprint: false).act(
            key: key)
    }
}

struct RotateDataKeys: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data-keys",
        abstract: "Re-encrypt originals under fresh data keys, and remove the old ones.")

    @OptionGroup var options: RotateOptions

    @Option(help: "run: only data keys made before this time, e.g. 2026-01-31T00:00:00Z.")
    var olderThan: String?

    @Option(help: "run: only this data key, 32 hex digits.")
    var dataKey: String?

    func run() throws {
        var scope = "all"
        if let olderThan {
            guard (try? Date(olderThan, strategy: .iso8601)) != nil else {
                throw Failure(.usage, "--older-than must be a time such as 2026-01-31T00:00:00Z")
            }
            scope = "older:\(olderThan)"
        }
        if let dataKey {
            guard let id = KeyID(dataKey) else { throw Failure(.usage, "--data-key must be 32 hex digits") }
            scope = id.text
        }
        try RotateSession(kind: .dataKeys, options: options, scope: scope, rowsPerMove: 0, fingerprint: false).act(
            key: nil)
    }
}

struct RotateTokenKey: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token-key",
        abstract: "Re-tokenise: move every duplicate group, whole, to the active token key.")

    @OptionGroup var options: RotateOptions

    @Option(help: "Rows a transaction, about; groups are never split.")
    var rowsPerMove = 4_000_000

    @Flag(inversion: .prefixedNo, help: "Take the fingerprint of all rows before, for verify.")
    var fingerprint = true

    @Option(help: "retire: the old token key, e.g. token-v1; without it, every deactivated one.")
    var key: String?

    @Flag(help: "retire: end ingest runs that write under the old key; what they did not store, the next run stores.")
    var endRuns = false

    func validate() throws {
        guard rowsPerMove >= 1 else { throw ValidationError("--rows-per-move must be 1 or more") }
    }

    func run() throws {
        try RotateSession(
            kind: .tokenKey, options: options, scope: "all", rowsPerMove: rowsPerMove, fingerprint: fingerprint,
            endsRuns: endRuns
        ).act(key: key)
    }
}
