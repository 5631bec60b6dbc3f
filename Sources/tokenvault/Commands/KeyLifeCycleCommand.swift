import ArgumentParser
import Foundation
import Keys
import Postgres
import VaultCrypto
import VaultStore

/// The files and the session that a key's life goes on in.
///
/// A new key is in its keyring, read back and used, before the database knows of it. A state changes in the database first,
/// which refuses what must not be, and then in the keyring; each step is skipped where it is done, so a command that was cut
/// in between is simply run again.
struct KeyLifeCycle: ~Copyable {
    var store: VaultStore
    let ingestPath: String
    var ingest: IngestKeyring

    private init(store: consuming VaultStore, ingestPath: String, ingest: consuming IngestKeyring) {
        self.store = store
        self.ingestPath = ingestPath
        self.ingest = ingest
    }

    static func open(_ database: DatabaseOptions, _ option: IngestKeyringOption) throws -> KeyLifeCycle {
        let path = try database.settings().requiredPath(
            .ingestKeyring, flag: option.ingestKeyring, option: "ingest-keyring")
        let ingest = try IngestKeyring.load(path: path)
        return KeyLifeCycle(store: try database.openChecked(), ingestPath: path, ingest: ingest)
    }

    mutating func registered(_ name: String) throws -> RegisteredKey {
        guard let key = try store.keyStates().first(where: { $0.name == name }) else {
            throw Failure(.usage, "no key of that name is registered; `tokenvault keys list` shows those that are")
        }
        return key
    }

    mutating func change(_ key: RegisteredKey, to state: KeyState) throws {
        guard key.state != state.rawValue else { return }
        try store.changeKeyState(key.id, to: state)
        Messages.note("\(key.name): \(key.state) to \(state.rawValue)")
    }

    func save() throws {
        try ingest.save(path: ingestPath, replacing: true)
        Messages.note("\(ingestPath): written, read back and used; install it on every ingest host")
    }
}

extension KeysCommand {
    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key: token, recovery or signing.",
            discussion: """
                token: a new version in the ingest keyring, not yet in use; `keys activate` puts it to use. recovery: a key pair \
                in the recovery keyring named by --recovery-keyring, which is made if it does not exist; its public half goes \
                into the ingest keyring. signing: a new signing key for the ingest keyring, trusted by the recovery keyring.
                """)

        enum Purpose: String, ExpressibleByArgument { case token, recovery, signing }

        @Argument(help: "token, recovery or signing.")
        var purpose: Purpose

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption
        @OptionGroup var recovery: RecoveryKeyringOptions

        @Option(help: "Name of a recovery or signing key.")
        var name: String?

        @Option(parsing: .upToNextOption, help: "Domains that a recovery key may open; all without it.")
        var domains: [String] = []

        func run() throws {
            var life = try KeyLifeCycle.open(database, ingest)
            switch purpose {
            case .token: try addToken(&life)
            case .recovery: try addRecovery(&life, name: try requiredName())
            case .signing: try addSigning(&life, name: try requiredName())
            }
        }

        private func requiredName() throws -> String {
            guard let name else { throw Failure(.usage, "--name must name the new key") }
            return name
        }

        private func addToken(_ life: inout KeyLifeCycle) throws {
            let standing = try life.store.keyStates().compactMap(\.version).max() ?? 0
            let last = Int(life.ingest.tokenKeyVersions.last?.number ?? 0)
            // A version that was made but not registered, because the command was cut, is used instead of a new one.
            if last <= standing {
                _ = try life.ingest.addTokenKey(version: KeyVersion(UInt32(standing + 1)))
                try life.save()
            }
            try register(&life) { $0.purpose == .token }
        }

        private func addRecovery(_ life: inout KeyLifeCycle, name: String) throws {
            let settings = try database.settings()
            let path = try settings.requiredPath(
                .recoveryKeyring, flag: recovery.recoveryKeyring, option: "recovery-keyring")
            let limit = domains.isEmpty ? nil : domains
            let key: RecoveryPublicKey
            if FileManager.default.fileExists(atPath: path) {
                var keyring = try recovery.load(settings)
                if let made = keyring.publicKeys.first(where: { $0.name == name }) {
                    key = made
                } else {
                    key = try keyring.addKey(name: name, domains: limit)
                    try keyring.save(path: path, replacing: true)
                }
            } else {
                let passphrase = try Passphrase.read(
                    file: settings.string(.passphraseFile, flag: recovery.passphraseFile), confirm: true, purpose: path)
                var keyring = try RecoveryKeyring.generate(name: name, domains: limit, passphrase: passphrase)
                try keyring.trust(signingKey: life.ingest.signingPublicKey)
                try keyring.save(path: path)
                key = keyring.publicKeys[0]
            }
            if !life.ingest.recoveryKeys.contains(where: { $0.id == key.id }) {
                try life.ingest.addRecoveryKey(key)
                try life.save()
            }
            try register(&life) { $0.id == key.id }
            Messages.note("new data keys are sealed to it; `tokenvault rotate recovery-key run` seals the old ones")
        }

        private func addSigning(_ life: inout KeyLifeCycle, name: String) throws {
            let settings = try database.settings()
            let path = try settings.requiredPath(
                .recoveryKeyring, flag: recovery.recoveryKeyring, option: "recovery-keyring")
            var keyring = try recovery.load(settings)
            let key =
                life.ingest.signingPublicKey.name == name
                ? life.ingest.signingPublicKey : try life.ingest.replaceSigningKey(name: name)
            if !keyring.signingKeys.contains(where: { $0.id == key.id }) {
                try keyring.trust(signingKey: key)  // first: nobody signs with it before it is believed
                try keyring.save(path: path, replacing: true)
            }
            try life.save()
            try register(&life) { $0.id == key.id }
        }

        private func register(_ life: inout KeyLifeCycle, _ isNew: (KeyDescription) -> Bool) throws {
            let known = Set(try life.store.keyStates().map(\.id))
            for key in life.ingest.descriptions where isNew(key) && !known.contains(key.id) {
                try life.store.registerKey(key)
                Messages.note("made \(key.purpose.rawValue) key \(key.name) (\(key.id.text)), \(key.state.rawValue)")
            }
        }
    }

    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a token key to use; the one before it is deactivated.",
            discussion: "From now on ingest makes tokens with it; `tokenvault rotate token-key run` moves the old ones."
        )

        @Argument(help: "Name of the key, e.g. token-v2.")
        var name: String

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption

        func run() throws {
            var life = try KeyLifeCycle.open(database, ingest)
            let key = try life.registered(name)
            guard key.purpose == "token", let version = key.version.flatMap({ KeyVersion(UInt32($0)) }) else {
                throw Failure(.usage, "only a token key is activated; recovery and signing keys are active when added")
            }
            guard life.ingest.tokenKeyVersions.contains(version) else {
                throw KeyringError.unknownTokenKey(version, known: life.ingest.tokenKeyVersions)
            }
            let before = try life.store.keyStates().filter {
                $0.purpose == "token" && $0.state == "active" && $0.name != name
            }
            var notes: [String] = []
            if key.state != "active" || !before.isEmpty {
                _ = try life.store.transaction { store throws(PostgresError) in
                    if key.state != "active" { try store.changeKeyState(key.id, to: .active) }
                    for old in before { try store.changeKeyState(old.id, to: .deactivated) }
                }
                notes = ["\(name): active"] + before.map { "\($0.name): deactivated" }
            }
            if life.ingest.activeTokenKey != version {
                try life.ingest.activateTokenKey(version)
                try life.save()
            }
            for note in notes { Messages.note(note) }
        }
    }

    struct Retire: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deactivate a recovery or signing key, or mark any key as compromised.",
            discussion: "What it protects still opens. A token key is deactivated by activating its successor.")

        @Argument(help: "Name of the key.")
        var name: String

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption

        @Flag(help: "Somebody else may hold it.")
        var compromised = false

        func run() throws {
            var life = try KeyLifeCycle.open(database, ingest)
            let key = try life.registered(name)
            let state: KeyState = compromised ? .compromised : .deactivated
            if key.purpose == "token", !compromised || key.state == "active" {
                throw Failure(
                    .refused, "a token key is deactivated by activating its successor: `tokenvault keys activate`")
            }
            let held = life.ingest.recoveryKeys.first { $0.id == key.id }
            var isChanged = false
            if let held, held.state != state {
                try life.ingest.changeRecoveryKey(key.id, to: state)  // refuses to leave a domain without a reader
                isChanged = true
            }
            if key.purpose == "token", let version = key.version.flatMap({ KeyVersion(UInt32($0)) }),
                life.ingest.descriptions.contains(where: { $0.id == key.id && $0.state != .compromised })
            {
                try life.ingest.markTokenKeyCompromised(version)
                isChanged = true
            }
            try life.change(key, to: state)
            if isChanged { try life.save() }
        }
    }

    struct Destroy: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a retired key for good.",
            discussion: """
                Refused while a census finds anything that needs the key. Copies of the keyring elsewhere (backups, other hosts) \
                still hold it: destroy those too.
                """)

        @Argument(help: "Name of the key.")
        var name: String

        @Option(help: "The key's name once more.")
        var confirm: String

        @Flag(help: "token: forget which messages and files were read under it; what comes again is stored again.")
        var forgetLedger = false

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var ingest: IngestKeyringOption
        @OptionGroup var recovery: RecoveryKeyringOptions

        func run() throws {
            guard confirm == name else {
                throw Failure(.usage, "--confirm must repeat the key's name; nothing was destroyed")
            }
            var life = try KeyLifeCycle.open(database, ingest)
            let key = try life.registered(name)
            let version = key.version.flatMap { KeyVersion(UInt32($0)) }
            if forgetLedger, let version, key.state != "destroyed" {
                let receipt = try life.store.forgetLedger(version)
                Messages.note("audit receipt: \(receipt.text)")
            }
            try life.change(key, to: .destroyed)
            if let version, life.ingest.tokenKeyVersions.contains(version) {
                try life.ingest.destroyTokenKey(version)
                try life.save()
            }
            if life.ingest.recoveryKeys.contains(where: { $0.id == key.id }) {
                try life.ingest.changeRecoveryKey(key.id, to: .destroyed)
                try life.save()
            }
            try removeFromRecoveryKeyring(key)
        }

        /// Only a keyring that was named, and that holds more than this key.
        private func removeFromRecoveryKeyring(_ key: RegisteredKey) throws {
            let settings = try database.settings()
            guard key.purpose != "token",
                let path = settings.string(.recoveryKeyring, flag: recovery.recoveryKeyring),
                try RecoveryKeyring.describe(path: path).contains(where: { $0.id == key.id })
            else { return }
            var keyring = try recovery.load(settings)
            if key.purpose == "recovery" {
                guard keyring.recoveryKeyIDs.count > 1 else {
                    Messages.note("\(path) holds this key only: delete the file, and its backups")
                    return
                }
                let state = keyring.publicKeys.first { $0.id == key.id }?.state
                if state == .active { try keyring.changeRecoveryKey(key.id, to: .deactivated) }
                try keyring.changeRecoveryKey(key.id, to: .destroyed)
            } else {
                let state = keyring.signingKeys.first { $0.id == key.id }?.state
                if state == .active { try keyring.changeSigningKey(key.id, to: .deactivated) }
                try keyring.changeSigningKey(key.id, to: .destroyed)
            }
            try keyring.save(path: path, replacing: true)
            Messages.note("\(path): \(key.name) is gone from it")
        }
    }

    struct ChangePassphrase: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "change-passphrase",
            abstract: "Lock a recovery keyring with another passphrase.",
            discussion: "Copies of the old file still open with the old passphrase.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var recovery: RecoveryKeyringOptions

        @Option(help: ArgumentHelp("File with the new passphrase; without it a terminal is asked.", valueName: "file"))
        var newPassphraseFile: String?

        func run() throws {
            let settings = try database.settings()
            let path = try settings.requiredPath(
                .recoveryKeyring, flag: recovery.recoveryKeyring, option: "recovery-keyring")
            var keyring = try recovery.load(settings)
            let passphrase = try Passphrase.read(
                file: newPassphraseFile, confirm: true, purpose: "\(path), the new one")
            try keyring.changePassphrase(to: passphrase)
            try keyring.save(path: path, replacing: true)
            Messages.note("\(path): locked with the new passphrase, read back and used")
        }
    }
}
