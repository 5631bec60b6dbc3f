import ArgumentParser
import Erasure
import Foundation
import Tokenization
import VaultStore

struct EraseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "erase",
        abstract: "Remove originals for good, and the tokens of rows on request.",
        discussion: """
            Needs a role in tokenvault_operator, and no key. Of a user id: the values in that user's rows. Values that other \
            users have too are kept unless --shared erase, and the receipt names them. The same command goes on with an erasure \
            that was interrupted, and does nothing a second time. A value that comes in again is stored again, as new.

            Rows keep their tokens (duplicates stay visible, the value is gone) unless --masked-rows clear sets them to NULL, \
            with the network of an address, or --masked-rows delete deletes the rows. Of a user, every token in the user's own \
            rows is cleared, shared ones too; rows of others are never deleted. Cleared rows keep the user id and the other \
            columns.

            Arguments can be seen in the process list and the shell's history. A user id is personal: give it by \
            --user-id-file FILE, or --user-id - for standard input. It is never printed nor put into the audit log, which \
            names the tokens.

            The receipt says what was removed, kept and why, and what still holds it: backups until when (backup_retention_days), \
            and more.

              tokenvault erase --dry-run --reason "erasure request" --ticket DPO-18 --user-id-file id.txt --masked-rows delete
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var why: ReasonOptions

    @Option(
        name: .customLong("user-id"),
        help: ArgumentHelp("Erase the values in this user's rows; - reads the id from standard input.", valueName: "id")
    )
    var userID: String?

    @Option(
        name: .customLong("user-id-file"),
        help: ArgumentHelp("The same, with the id read from a file's first line.", valueName: "file"))
    var userIDFile: String?

    @Option(
        name: .customLong("from"),
        help: ArgumentHelp("Read tokens from a file, one a line; - is standard input.", valueName: "file"))
    var source: String?

    @Option(
        name: .customLong("masked-rows"),
        help: ArgumentHelp("Rows that hold an erased token.", valueName: "keep|clear|delete"))
    var maskedRows: MaskedRows = .keep

    @Option(help: ArgumentHelp("Values that other users have, too.", valueName: "keep|erase"))
    var shared: SharedValues = .keep

    @Flag(name: .customLong("dry-run"), help: "Say what would happen; change nothing. Audited.")
    var isDryRun = false

    @Option(name: .customLong("batch-size"), help: "Tokens a transaction, 1 to 100000.")
    var batchSize = 5_000

    @Argument(help: "Tokens, e.g. ip_v1_ and 32 hex digits.")
    var tokens: [String] = []

    func validate() throws {
        let users = [userID, userIDFile].compactMap { $0 }.count
        guard users + (tokens.isEmpty && source == nil ? 0 : 1) == 1 else {
            throw ValidationError("name tokens (or --from FILE), or one user by --user-id or --user-id-file")
        }
        guard (1...100_000).contains(batchSize) else { throw ValidationError("--batch-size is 1 to 100000") }
    }

    func run() throws {
        let settings = try database.settings()
        let backups = try BackupRetention(settings)
        let request = ErasureRequest(
            subject: try subject(), maskedRows: maskedRows, shared: shared, reason: why.reason, ticket: why.ticket)
        var run = try database.erasure(settings, batchSize: batchSize)
        let report = try isDryRun ? run.plan(request) : run.erase(request)
        Messages.progressEnd()
        Messages.receipt(report.receipt)
        let receipt = ErasureReceipt(
            report: report, maskedRows: maskedRows, isUser: userID != nil || userIDFile != nil, backups: backups)
        try receipt.print(json: output.json)
    }

    private func subject() throws -> ErasureRequest.Subject {
        if let userIDFile { return .user(try Self.userID(in: Self.lines(of: userIDFile, "the user id"))) }
        if let userID { return .user(userID == "-" ? try Self.userID(in: Self.lines(of: "-", "the user id")) : userID) }
        let texts = try tokens + (source.map { try Self.lines(of: $0, "the tokens") } ?? [])
        guard !texts.isEmpty else { throw Failure(.usage, "no token is given; name tokens, or --from FILE") }
        for (index, text) in texts.enumerated() where Token(text) == nil {
            throw Failure(.usage, "token \(index + 1) is malformed; a token is DOMAIN_vVERSION_ and 32 hex digits")
        }
        return .tokens(texts)
    }

    private static func userID(in lines: [String]) throws -> String {
        guard lines.count == 1 else {
            throw Failure(.usage, "one user id is expected, on one line; nothing was erased")
        }
        return lines[0]
    }

    private static func lines(of path: String, _ what: String) throws -> [String] {
        let data =
            path == "-"
            ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: path)
        guard let data else { throw Failure(.inputMissing, "cannot read \(what) from \(path)") }
        return String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}

extension MaskedRows: ExpressibleByArgument {}
extension SharedValues: ExpressibleByArgument {}
