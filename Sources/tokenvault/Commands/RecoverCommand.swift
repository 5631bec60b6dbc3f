import ArgumentParser
import Foundation
import Keys
import Postgres
import Recovery
import Tokenization
import VaultCrypto
import VaultStore

struct RecoverCommand: ParsableCommand, StoppableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Give back the values behind tokens, after the audit log has the reason.",
        discussion: """
            Needs a role in tokenvault_recoverer and a recovery keyring. One audit event a token is committed before anything \
            is released; its receipt goes to standard error before the first value. Prints TOKEN<TAB>VALUE in the order asked.

            Where the policy asks for approvals, the request's id is printed and the exit code is 75; --request ID finishes it \
            once it is approved. --break-glass, for members of tokenvault_break_glass, waits for nobody and is reported loudly.

              tokenvault recover --reason "customer asks for export" --ticket DPO-17 ip_v1_0123456789abcdef0123456789abcdef
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var keyring: RecoveryKeyringOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Why, for the audit log. Never put a personal value here.")
    var reason: String?

    @Option(help: ArgumentHelp("The ticket this belongs to, for the audit log.", valueName: "id"))
    var ticket: String?

    @Option(
        name: .customLong("request"), help: ArgumentHelp("Finish a request made earlier.", valueName: "id"))
    var finishing: String?

    @Flag(help: "In an emergency: at once, without approvals and hours, within a limit of its own.")
    var breakGlass = false

    @Option(
        name: .customLong("from"),
        help: ArgumentHelp("Read tokens from a file, one a line; - is standard input.", valueName: "file"))
    var source: String?

    @Option(
        name: .customLong("output"),
        help: ArgumentHelp("Write to a new file (mode 0600) instead of standard output.", valueName: "file"))
    var outputFile: String?

    @Argument(help: "Tokens, e.g. ip_v1_ and 32 hex digits.")
    var tokens: [String] = []

    func validate() throws {
        guard source == nil || tokens.isEmpty else {
            throw ValidationError("tokens come from the command line or from --from FILE, not from both")
        }
    }

    func run() throws {
        try checkSource()
        var lines = try source.map { try $0 == "-" ? TokenLines() : TokenLines(path: $0) }
        var named = try namedTokens()
        guard finishing != nil || source != nil || named != nil else { throw Self.noToken }
        let settings = try database.settings()
        let keyring = try keyring.load(settings)
        var recovery = Recovery(try database.openChecked(), keyring: keyring)
        if breakGlass { try recovery.askForBreakGlass() }
        let standing = try standingRequest(&recovery)
        let destination = try Destination(outputFile)
        var hook: NotifyHook?
        defer { hook?.finish() }
        let request: UInt128
        if let standing {
            request = standing
        } else {
            let booked = try recovery.request(reason: reason ?? "", ticket: ticket ?? "") {
                limit throws(RecoveryError) in
                if lines != nil { return try lines!.nextPage(limit) }
                return named.take()
            }
            guard let booked else { throw Self.noToken }
            Messages.receipt(booked.receipt)
            request = booked.id
            hook = try settle(request, &recovery, settings)
        }
        let counts = try recovery.open(
            request: request, into: RecoveredLines(destination, json: output.json),
            isStopped: { StopSignal.isRequested })
        if counts.failed > 0 {
            throw Failure(.doesNotVerify, "\(counts.failed) of \(counts.total) values cannot be opened")
        }
        if counts.absent + counts.erased > 0 {
            throw Failure(
                .failed,
                "\(counts.absent) of \(counts.total) tokens have no value in the vault, \(counts.erased) were erased")
        }
    }

    private static let noToken = Failure(.usage, "no token is given; name tokens, or --from FILE")

    private func namedTokens() throws -> BinaryArray? {
        guard !tokens.isEmpty else { return nil }
        var array = BinaryArray(of: .text, capacity: tokens.count * 48)
        for (index, text) in tokens.enumerated() {
            guard Token(text) != nil else {
                throw Failure(.usage, "token \(index + 1) is malformed; a token is DOMAIN_vVERSION_ and 32 hex digits")
            }
            array.append(utf8: text)
        }
        return array
    }
}

/// Where recovered values go: standard output, or a new file that only its owner can read.
struct Destination {
    let output: StandardOutput
    let isTerminal: Bool
    let isFile: Bool

    init(_ path: String?) throws {
        guard let path else {
            output = StandardOutput()
            isTerminal = standardOutputIsTerminal
            isFile = false
            return
        }
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw Failure(
                .failed, "cannot create \(path): \(systemError()); --output names a file that does not exist yet")
        }
        output = StandardOutput(descriptor: descriptor, name: path)
        isTerminal = false
        isFile = true
    }
}

extension RecoveryKeyringOptions {
    func load(_ settings: Settings) throws -> RecoveryKeyring {
        let path = try settings.requiredPath(.recoveryKeyring, flag: recoveryKeyring, option: "recovery-keyring")
        let passphrase = try Passphrase.read(
            file: settings.string(.passphraseFile, flag: passphraseFile), confirm: false, purpose: path)
        return try RecoveryKeyring.load(path: path, passphrase: passphrase)
    }
}
