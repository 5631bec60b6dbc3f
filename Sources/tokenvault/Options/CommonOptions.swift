import ArgumentParser
import Foundation
import Postgres
import VaultStore

/// Options of every command that speaks with the database.
struct DatabaseOptions: ParsableArguments {
    @Option(
        name: .customLong("database"),
        help: ArgumentHelp(
            "libpq connection string or URL (TOKENVAULT_DATABASE). Without it libpq's PG… variables count.",
            discussion:
                "Refused with a password in it: everybody on this host can read arguments. Passwords belong in PGPASSFILE.",
            valueName: "conninfo"))
    var database: String?

    @Option(help: ArgumentHelp("Configuration file (TOKENVAULT_CONFIG).", valueName: "file"))
    var config: String?

    func validate() throws {
        guard let database, ConnectionString.holdsPassword(database) else { return }
        throw ValidationError(
            "--database holds a password, which everybody on this host can read: change it, and keep it in a file of mode 0600 named by PGPASSFILE, in a service file (service=NAME), or at least in TOKENVAULT_DATABASE"
        )
    }

    func settings() throws -> Settings { try Settings.load(path: config) }

    /// Connects to a primary, for commands that write or read the vault.
    ///
    /// - Parameter attempts: for jobs that nobody watches; a server that restarts or has no connection to spare is tried again.
    func open(_ limits: SessionLimits = .interactive, attempts: Int = 1) throws -> VaultStore {
        let conninfo = try settings().string(.database, flag: database) ?? ""
        var pause = 0.2
        for _ in 1..<attempts {
            do throws(PostgresError) {
                return try VaultStore.open(conninfo, limits: limits, shouldStop: { StopSignal.isRequested })
            } catch {
                guard case .unreachable = error, !StopSignal.isRequested else { throw error }
            }
            Thread.sleep(forTimeInterval: Double.random(in: pause / 2...pause))
            pause *= 3
        }
        return try VaultStore.open(conninfo, limits: limits, shouldStop: { StopSignal.isRequested })
    }

    /// Time-outs for batches: TOKENVAULT_STATEMENT_TIMEOUT_SECONDS and TOKENVAULT_LOCK_TIMEOUT_SECONDS, or the built-in ones.
    func batchLimits() throws -> SessionLimits {
        let settings = try settings()
        var limits = SessionLimits.batch
        limits.isExplicit =
            settings.text(.statementTimeoutSeconds, flag: nil) != nil
            || settings.text(.lockTimeoutSeconds, flag: nil) != nil
        limits.statementSeconds = try settings.integer(
            .statementTimeoutSeconds, flag: nil, in: 0...86_400, builtIn: limits.statementSeconds)
        limits.lockSeconds = try settings.integer(
            .lockTimeoutSeconds, flag: nil, in: 0...86_400, builtIn: limits.lockSeconds)
        limits.shouldStop = { StopSignal.isRequested }
        return limits
    }

    /// Connects, and refuses a schema that this release does not know.
    func openChecked(_ limits: SessionLimits = .interactive, attempts: Int = 1) throws -> VaultStore {
        var store = try open(limits, attempts: attempts)
        try store.requireWritable()
        let version = try store.schemaVersion()
        guard version == VaultStore.requiredSchemaVersion else {
            throw Failure(
                .badConfiguration,
                "the database's schema is at \(version), this program needs \(VaultStore.requiredSchemaVersion); run `tokenvault database migrate` or the matching release"
            )
        }
        return store
    }
}

struct OutputOptions: ParsableArguments {
    @Flag(help: "Print results as JSON, one object a line.")
    var json = false
}

struct IngestKeyringOption: ParsableArguments {
    @Option(help: ArgumentHelp("Ingest keyring (TOKENVAULT_INGEST_KEYRING).", valueName: "file"))
    var ingestKeyring: String?
}

struct RecoveryKeyringOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Recovery keyring (TOKENVAULT_RECOVERY_KEYRING).", valueName: "file"))
    var recoveryKeyring: String?

    @Option(
        help: ArgumentHelp(
            "File that holds the passphrase (TOKENVAULT_PASSPHRASE_FILE). Without it a terminal is asked.",
            valueName: "file"))
    var passphraseFile: String?
}

/// Why a value is needed; both are kept in the audit log.
struct ReasonOptions: ParsableArguments {
    @Option(help: "Why, for the audit log. Never put a personal value here.")
    var reason: String

    @Option(help: ArgumentHelp("The ticket this belongs to, for the audit log.", valueName: "id"))
    var ticket: String
}
