import ArgumentParser
import Foundation
import Keys
import Tokenization
import VaultCrypto
import VaultStore

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Print the tokens of values read from standard input, one a line.",
        discussion: """
            For finding the rows of a known value. Prints a line for each value: its tokens under every version that the ingest \
            keyring holds, oldest first, separated by tabs. Needs the ingest keyring; nothing is stored, and the audit log gets one event \
            with the number of values, before any token is printed. Values are never arguments: others could read those.
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var keyring: IngestKeyringOption
    @OptionGroup var output: OutputOptions

    @Option(help: "ip, ip_net or device_id.")
    var domain: String

    @Option(help: "Why, for the audit log. Never put a personal value here.")
    var reason: String

    func run() throws {
        guard let kind = ["ip": ValueKind.ip, "ip_net": .ip, "device_id": .opaque][domain] else {
            throw Failure(.usage, "--domain must be ip, ip_net or device_id")
        }
        let settings = try database.settings()
        let path = try settings.requiredPath(.ingestKeyring, flag: keyring.ingestKeyring, option: "ingest-keyring")
        let keyring = try IngestKeyring.load(path: path)
        var store = try database.openChecked()
        let values = try normalizedValues(kind)
        Messages.receipt(try store.recordTokenize(domain: domain, count: values.count, reason: reason))

        let standardOutput = StandardOutput()
        var tokens = values.map { _ in [String]() }
        for version in keyring.tokenKeyVersions {
            let tokenizer = try Tokenizer(
                domain: domain, version: version, subkey: try keyring.subkey(.token(domain: domain), version: version))
            for (index, value) in values.enumerated() { tokens[index].append(tokenizer.token(of: value).text) }
        }
        for (index, tokens) in tokens.enumerated() {
            if output.json {
                var line = JSONLine()
                line.add("line", index + 1)
                line.add("tokens", tokens)
                try standardOutput.line(line.text)
            } else {
                try standardOutput.line(tokens.joined(separator: "\t"))
            }
        }
        try standardOutput.flush()
    }

    private func normalizedValues(_ kind: ValueKind) throws -> [NormalizedValue] {
        var input = [UInt8](FileHandle.standardInput.readDataToEndOfFile())
        defer { wipe(&input) }
        var values: [NormalizedValue] = []
        let lines = input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !(line.isEmpty && index == lines.count - 1) {
            do throws(NormalizationError) {
                let value = try NormalizedValue(line.span, kind: kind)
                values.append(domain == "ip_net" ? value.network ?? value : value)
            } catch {
                throw Failure(.failed, "line \(index + 1): \(error); no token was printed")
            }
        }
        guard !values.isEmpty else { throw Failure(.inputMissing, "standard input holds no value; give one a line") }
        return values
    }
}
