import ArgumentParser
import Foundation
import Keys
import Recovery
import Tokenization
import VaultCrypto
import VaultStore

struct RecoverCommand: ParsableCommand {
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

    func run() throws {
        try checkSource()
        let tokens = try finishing == nil ? requestedTokens() : []
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
            let booked = try recovery.request(tokens, reason: reason ?? "", ticket: ticket ?? "")
            Messages.receipt(booked.receipt)
            request = booked.id
            hook = try settle(request, &recovery, settings)
        }
        let counts = try recovery.open(request: request) { token, result in
            switch result {
            case .value(let bytes): try write(token, bytes, to: destination)
            case .absent: Messages.warning("\(token): no value is stored for this token")
            case .unopenable(let reason): Messages.warning("\(token): \(reason)")
            }
        }
        try destination.output.flush()
        if counts.failed > 0 {
            throw Failure(
                .doesNotVerify,
                "\(counts.failed) of \(counts.opened + counts.absent + counts.failed) values cannot be opened")
        }
        if counts.absent > 0 {
            throw Failure(
                .failed,
                "\(counts.absent) of \(counts.opened + counts.absent + counts.failed) tokens have no value in the vault"
            )
        }
    }

    private func write(_ token: String, _ value: [UInt8], to destination: Destination) throws {
        var value = value
        defer { wipe(&value) }
        if output.json {
            var line = JSONLine()
            line.add("token", token)
            line.add("value", String(decoding: value, as: UTF8.self))
            return try destination.output.line(line.text)
        }
        // A line break inside a value would pass for another token's line.
        if destination.isTerminal || value.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            return try destination.output.line("\(token)\t\(escapingControls(String(decoding: value, as: UTF8.self)))")
        }
        try destination.output.write(Array("\(token)\t".utf8) + value + [UInt8(ascii: "\n")])
    }

    private func requestedTokens() throws -> [Token] {
        let texts = try tokens + (source.map(Self.lines) ?? [])
        guard !texts.isEmpty else { throw Failure(.usage, "no token is given; name tokens, or --from FILE") }
        return try texts.enumerated().map { index, text in
            guard let token = Token(text) else {
                throw Failure(.usage, "token \(index + 1) is malformed; a token is DOMAIN_vVERSION_ and 32 hex digits")
            }
            return token
        }
    }

    private static func lines(of path: String) throws -> [String] {
        let data: Data?
        if path == "-" {
            data = FileHandle.standardInput.readDataToEndOfFile()
        } else {
            data = FileManager.default.contents(atPath: path)
        }
        guard let data else { throw Failure(.inputMissing, "cannot read the tokens from \(path)") }
        return String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}

/// Where recovered values go: standard output, or a new file that only its owner can read.
struct Destination {
    let output: StandardOutput
    let isTerminal: Bool

    init(_ path: String?) throws {
        guard let path else {
            output = StandardOutput()
            isTerminal = standardOutputIsTerminal
            return
        }
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw Failure(
                .failed, "cannot create \(path): \(systemError()); --output names a file that does not exist yet")
        }
        output = StandardOutput(descriptor: descriptor, name: path)
        isTerminal = false
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
